"""A patient as SAP's customer: what goes out, what is left alone, what is refused; and a replay told from a retry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.adapters.erp import idoc_out
from hub.adapters.erp.idoc_message import Prepared, prepared
from hub.codecs.sap import idoc_flat
from hub.domain.errors import Misconfigured, Refused
from hub.domain.ports import Delivered, Outbound
from hub.testing.case import patient, patient_updated

BASE = {"folder": "/nowhere", "receiver": "LS/SAPCLNT100", "assigner": "HOSP", "timezone": "Asia/Seoul", "client": "100"}


def settings(**more: Any) -> idoc_out.Settings:
    return idoc_out.Settings.from_table({**BASE, **more})


def made(message: Outbound, **more: Any) -> Prepared:
    found = prepared(message, settings(**more))
    assert isinstance(found, Prepared)
    return found


def message(number: str = "12345", **more: Any) -> Outbound:
    record = patient(number)
    return patient_updated(1, **{"resource": record, "patient": record, "changed": ["telecom.mobile"], **more})


def test_what_the_message_is_not_about_is_left_alone() -> None:
    one = made(message())
    fields = one.idoc.segments[0].fields
    told = {name: value for name, value in fields.items() if value != "/"}
    assert told == {"MSGFN": "005", "KUNNR": "0000012345", "TELF2": "010-9999-8888"}
    assert one.sent == {"telecom.mobile": {"system": "phone", "use": "mobile", "value": "010-9999-8888"}}


def test_a_new_patient_is_told_whole() -> None:
    record = patient("12345") | {"language": "ko"}
    one = made(message(resource=record, type="patient.created", changed=[]), account_group="ZPAT")
    fields = one.idoc.segments[0].fields
    wanted = {"MSGFN": "009", "KTOKD": "ZPAT", "NAME1": "홍길동", "STRAS": "테헤란로 1", "ORT01": "카나리아시", "PSTLZ": "06236",
              "LAND1": "KR", "SPRAS_ISO": "KO", "STKZN": "X"}  # fmt: skip
    assert {name: fields[name] for name in wanted} == wanted
    body = idoc_flat.write(one.idoc, idoc_flat.Format())
    assert idoc_flat.read(body, idoc_flat.Format()).segments[0].fields["NAME1"] == "홍길동"


def test_what_is_gone_goes_out_empty() -> None:
    record = patient("12345") | {"telecom": [], "address": []}
    fields = made(message(resource=record, changed=["telecom.mobile", "address", "name"])).idoc.segments[0].fields
    assert (fields["TELF2"], fields["STRAS"], fields["LAND1"], fields["NAME1"]) == ("", "", "", "홍길동")
    assert fields["TELF1"] == "/"


def test_the_control_record_names_the_message() -> None:
    control = made(message()).idoc.control
    assert (control["DOCNUM"], control["ARCKEY"]) == (f"{1001:016d}", "HUB-1001")
    assert (control["SNDPRT"], control["SNDPRN"], control["RCVPRN"], control["MANDT"]) == ("LS", "HUB", "SAPCLNT100", "100")
    assert control["SERIAL"].startswith(control["CREDAT"] + control["CRETIM"])
    assert len(control["SERIAL"]) == 20


@pytest.mark.parametrize(("more", "detail"), [
    ({"changed": ["birthDate"]}, "no field of a customer"), ({"resource": patient("1") | {"replacedBy": "x"}}, "merged"),
    ({"resource": {"prospect": True, "name": [{"text": "x"}]}}, "a prospect without a number"),
])  # fmt: skip
def test_there_may_be_nothing_to_do(more: dict[str, Any], detail: str) -> None:
    found = prepared(message(**more), settings())
    assert isinstance(found, Delivered)
    assert detail in found.detail
    assert found.confirms


@pytest.mark.parametrize("numbers", [[], [{"assigner": "HOSP", "value": "12345"}]])
def test_whom_nobody_has_named_waits_and_is_told_whole_when_his_name_comes(numbers: list[dict[str, str]]) -> None:
    """A bill of an insurer's, or of a patient whose registration comes later: no dead letter, then a whole customer."""
    waits = prepared(message(type="patient.created", changed=[], resource={"identifier": numbers}), settings())
    assert isinstance(waits, Delivered)
    assert waits.detail == "nothing to do yet: a patient without a name"
    about = message(changed=["name"] if numbers else ["identifier", "name"])
    about.peer_id, about.peer_etag = waits.peer_id or None, waits.peer_etag
    found = prepared(about, settings(account_group="ZPAT"))
    assert isinstance(found, Prepared)
    fields = found.idoc.segments[0].fields
    assert (fields["MSGFN"], fields["KTOKD"], fields["NAME1"], fields["ORT01"]) == ("009", "ZPAT", "홍길동", "카나리아시")


def test_whom_sap_knows_loses_his_name_there() -> None:
    one = made(message(resource=patient("1") | {"name": []}, changed=["name"], peer_id="1", peer_etag="7.1"))
    assert one.idoc.segments[0].fields["NAME1"] == ""


@pytest.mark.parametrize(("record", "code"), [
    (patient("CANARY-00012345"), "too_long"), (patient("1") | {"identifier": []}, "no_number"),
    (patient("1") | {"name": [{"text": "가" * 36}]}, "too_long"),
    (patient("1") | {"address": [{"text": "x", "country": "XXX"}]}, "unknown_code"),
])  # fmt: skip
def test_nothing_is_cut(record: dict[str, Any], code: str) -> None:
    with pytest.raises(Refused) as caught:
        prepared(message(resource=record, changed=["name", "address"]), settings())
    assert caught.value.code == code
    assert "CANARY" not in str(caught.value)


def test_a_retry_is_one_file_and_a_replay_another(tmp_path: Path) -> None:
    target = idoc_out.build(settings(folder=str(tmp_path)))
    first = target.send(message())
    assert "written" in first.detail
    assert "was there before" in target.send(message()).detail  # a worker died after the rename
    for path in tmp_path.glob("*.txt"):  # SAP has taken it
        path.unlink()
    assert "was there before" in target.send(message()).detail
    again = target.send(message(peer_id=first.peer_id, peer_etag=first.peer_etag))
    assert "written" in again.detail
    assert "was there before" in target.send(message(peer_id=first.peer_id, peer_etag=first.peer_etag)).detail
    assert "written" in target.send(message(peer_id=again.peer_id, peer_etag=again.peer_etag)).detail
    newer = message(message_id=2000, peer_id=again.peer_id, peer_etag=again.peer_etag)
    assert [p.name for p in tmp_path.glob("*2000*")] == []
    target.send(newer)
    assert [p.name.rpartition("-")[0] for p in tmp_path.glob("*2000*")] == [f"DEBMAS-{2000:016d}"]
    reborn = message(resource=patient("54321"), changed=["name"])  # a database from a backup gives numbers out again
    assert "written" in target.send(reborn).detail


@pytest.mark.parametrize("more", [
    {"receiver": "SAP"}, {"sender": "LS/TOOLONGNAME1"}, {"client": "1"}, {"receiver_port": "ELEVENCHARS"}, {"charset": "klingon"},
    {"prefix": "a/b"}, {"form": "csv"},
])  # fmt: skip
def test_settings_that_are_wrong_are_told(more: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        settings(**more)
