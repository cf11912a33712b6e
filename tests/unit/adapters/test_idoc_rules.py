"""What an IDoc must say of itself, and what its message is: control record, numbers, money, a site's own segments and types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.adapters.erp import idoc_in
from hub.adapters.erp.idoc_rules import Rules, tables
from hub.codecs.sap.idoc import Idoc, Segment
from hub.domain.errors import Misconfigured, Unmappable
from hub.domain.facts import Fact, Key
from hub.mapping import Context, load_maps
from hub.simulator.idoc import bill, control, customer
from hub.sync.polled import read_row

MAPS = load_maps()


def rules(**more: Any) -> Rules:
    table = {
        "folder": "/nowhere", "assigner": "HOSP", "client": "100", "senders": ["LS/SAPCLNT100"], "receivers": ["LS/HUB"],
        "number_digits": 8,
    }  # fmt: skip
    return Rules(idoc_in.Settings.from_table({**table, **more}), "erp")


def facts(idoc: Idoc, **more: Any) -> list[Any]:
    received = rules(**more).received(idoc, b"")
    assert received.refused is None
    event, row = read_row(received.body)
    return MAPS.map_row(event, row, Context("HOSP", "erp", "Asia/Seoul")).facts


@pytest.mark.parametrize(("field", "value", "reason"), [
    ("MANDT", "800", "EDI_DC40-MANDT: not client 100"), ("DOCNUM", "0000000000000000", "EDI_DC40-DOCNUM"),
    ("DOCNUM", "ABC", "EDI_DC40-DOCNUM"), ("DIRECT", "2", "EDI_DC40-DIRECT"), ("MESTYP", "MATMAS", "EDI_DC40-MESTYP: not one of"),
    ("IDOCTYP", "DEBMAS01", "EDI_DC40-IDOCTYP: not one of DEBMAS06, DEBMAS07"), ("CIMTYP", "ZDEB", "EDI_DC40-CIMTYP"),
    ("SNDPRN", "OTHER", "EDI_DC40-SNDPRN"), ("SNDPRT", "KU", "EDI_DC40-SNDPRN"), ("RCVPRN", "PI", "EDI_DC40-RCVPRN"),
    ("TEST", "X", "EDI_DC40-TEST"),
])  # fmt: skip
def test_a_control_record_that_is_not_as_configured_is_refused_with_the_field(field: str, value: str, reason: str) -> None:
    idoc = customer("0000012345", "0000000000000001", NAME1="홍길동")
    idoc.control[field] = value
    received = rules().received(idoc, b"the bytes")
    assert received.refused is not None
    assert received.refused.startswith(reason)
    assert received.body == b"the bytes"
    assert received.patient is None


def test_what_is_configured_is_taken() -> None:
    idoc = customer("0000012345", "0000000000000001", NAME1="홍길동")
    idoc.control |= {"TEST": "X", "CIMTYP": "ZDEB", "MESTYP": "ZDEBMAS", "IDOCTYP": "ZDEBMAS01"}
    received = rules(test=True, extensions=["ZDEB"], idoc_types={"ZDEBMAS": ["ZDEBMAS01"]}).received(idoc, b"")
    assert received.refused is None
    assert (received.type, received.control_id, received.sender) == ("idoc.ZDEBMAS", "0000000000000001", "SAPCLNT100|100")
    assert received.patient == Key("HOSP", "00012345")


def test_a_customer_is_a_patient() -> None:
    (fact,) = facts(customer("0000012345", "1", NAME1="홍길동", TELF2="010-1234-5678", STCD1="870504-1999999"))
    assert (fact.kind, fact.key) == ("Patient", Key("HOSP", "00012345"))
    assert fact.values["telecom"][0]["value"] == "+821012345678"
    assert "870504" not in repr(fact.values)


@pytest.mark.parametrize(("total", "currency", "kind", "form", "value"), [
    ("12000", "KRW", "INVO", "external", "12000"), ("12000-", "KRW", "INVO", "external", "-12000"),
    ("120.00", "KRW", "INVO", "internal", "12000"), ("12000", "KRW", "CRME", "external", "-12000"),
    ("19.9", "USD", "INVO", "external", "19.90"), ("12000-", "KRW", "CRME", "external", "-12000"),
])  # fmt: skip
def test_money_of_a_bill(total: str, currency: str, kind: str, form: str, value: str) -> None:
    found: list[Fact] = facts(bill("90001", "7", "0000012345", total, currency, kind), amounts=form)
    assert [fact.kind for fact in found] == ["Invoice", "ChargeItem"]
    assert found[0].values["total"] == found[1].values["amount"] == {"value": value, "currency": currency}
    assert found[1].values["type"] == ("CR" if kind == "CRME" else "CG")
    assert found[1].values["invoice"] == {"identifier": {"assigner": "HOSP:billing", "value": "90001"}}
    assert found[0].patient == found[1].patient == Key("HOSP", "00012345")


@pytest.mark.parametrize(("gross", "less", "total"), [("10000", "1000-", "9000"), ("10000-", "1000", "9000-")])
def test_the_lines_of_a_credit_memo_come_to_its_total(gross: str, less: str, total: str) -> None:
    """Its amounts stand in it as if they were billed, a discount with a minus; or with a sign of their own, the total too."""
    idoc = bill("90001", "7", "0000012345", total, kind="CRME")
    lines = [Segment("E1EDP01", {"POSEX": str(at), "NETWR": value}) for at, value in enumerate((gross, less), 1)]
    idoc.segments[:] = [one for one in idoc.segments if one.name != "E1EDP01"] + lines
    invoice, *charges = facts(idoc)
    assert invoice.values["total"]["value"] == "-9000"
    assert [one.values["amount"]["value"] for one in charges] == ["-10000", "1000"]


@pytest.mark.parametrize("digits", [0, 8])
@pytest.mark.parametrize("number", ["8013011234567", "801301-1234567", "0013013234567"])
def test_a_registration_number_is_no_number_of_a_patient(number: str, digits: int) -> None:
    received = rules(number_digits=digits).received(customer(number, "0000000000000001", NAME1="홍길동"), b"")
    assert received.patient is None
    event, row = read_row(received.body)
    with pytest.raises(Unmappable, match="no number for the Patient"):
        MAPS.map_row(event, row, Context("HOSP", "erp", "Asia/Seoul"))


@pytest.mark.parametrize(
    ("total", "currency"), [("120.00", "KRW"), ("12,000", "KRW"), ("1", "XXX"), ("1", ""), ("9" * 23, "KRW")]
)
def test_money_that_nobody_can_tell_is_refused_with_its_place(total: str, currency: str) -> None:
    received = rules().received(bill("90001", "7", "12345", total, currency), b"")
    assert received.refused is not None
    assert received.refused.startswith("E1EDP26-BETRG: ")


def test_a_site_keeps_bills_of_insurers_out(tmp_path: Path) -> None:
    """As docs/erp-idoc.md shows it: by the numbers of who is no patient, or by what the bill says of itself."""
    (tmp_path / "sap.toml").write_text(
        'source = "row"\n[block.idoc-invoice]\nwhen = { path = "PATIENT_NUMBER", not_in = ["00066666"] }\n'
        '[block.idoc-charge]\nwhen = { path = "PATIENT_NUMBER", not_in = ["00066666"] }\n'
    )
    maps = load_maps([tmp_path])
    for number, kinds in (("12345", ["Invoice", "ChargeItem"]), ("66666", [])):
        received = rules().received(bill("90001", "7", number, "12000"), b"")
        event, row = read_row(received.body)
        found: list[Any] = maps.map_row(event, row, Context("HOSP", "erp", "Asia/Seoul")).facts
        assert [one.kind for one in found] == kinds


def test_a_business_partner_is_a_patient() -> None:
    person = Segment("E101_EI_STRUC_CENTRAL_PERSON", {"FIRSTNAME": "길동", "LASTNAME": "홍", "BIRTHDATE": "19870504", "SEX": "2"})
    data = Segment("E101US_EI_BUPA_CENTRAL_DATA", {}, [person])
    central = Segment("E101BUS_EI_CENTRAL_DATA", {}, [Segment("E101BUS_EI_BUPA_CENTRAL", {}, [data])])
    head = Segment(
        "E101BUS_EI_HEADER", {}, [Segment("E101BUS_EI_INSTANCE", {"BPARTNER": "0000012345", "BPARTNERGUID": "A" * 32})]
    )
    idoc = Idoc(
        control("BUPA_INBOUND_MAIN_SAVE_M", "BUPA_INBOUND_MAIN_SAVE_M03", "9"),
        [Segment("E101BUS_EI_EXTERN", {}, [head, central])],
    )
    assert rules().received(idoc, b"").patient == Key("HOSP", "00012345")
    (fact,) = facts(idoc)
    assert fact.key == Key("HOSP", "00012345")
    assert fact.values["name"][0]["text"] == "홍길동"
    assert (fact.values["birthDate"], fact.values["gender"]) == ("1987-05-04", "male")


def test_an_order_of_a_patient_is_to_be_billed_and_of_somebody_else_nothing() -> None:
    idoc = bill("4711", "8", "0000012345", "5000")
    idoc.control |= {"MESTYP": "ORDERS", "IDOCTYP": "ORDERS05"}
    (order,) = facts(idoc)
    assert (order.kind, order.values["category"], order.patient) == ("ServiceRequest", "billing", Key("HOSP", "00012345"))
    assert facts(idoc, patient_role="WE") == []


def test_segments_of_a_site(tmp_path: Path) -> None:
    file = tmp_path / "segments.toml"
    file.write_text('[segments]\nZ1PATIENT = "MRN 10 VIP 1"\n', encoding="utf-8")
    assert tables(file)["Z1PATIENT"] == (("MRN", 10), ("VIP", 1))
    for wrong in (
        "",
        "[segments]\nZ1 = 'MRN'",
        "[segments]\nZ1 = 'A 1 A 2'",
        "[segments]\nZ1 = 'A 1001'",
        "[segments]\nZ1 = 3",
        "x =",
    ):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(Misconfigured, match=r"segments of segments.toml: .*write \[segments\]"):
            tables(file)
    with pytest.raises(Misconfigured, match="No such file"):
        tables(tmp_path / "none.toml")


@pytest.mark.parametrize("more", [{"senders": ["SAPCLNT100"]}, {"receivers": ["LS/"]}, {"client": "10"}, {"number_digits": 11}])
def test_settings_that_are_wrong_are_told(more: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        rules(**more)


@pytest.mark.parametrize(
    ("more", "instead"),
    [
        ({"patient_role": "XX"}, "AG sold-to, RG payer"),
        ({"patient_role": ""}, "AG sold-to"),
        ({"message_types": ["DEBMAS", "FOO"]}, "known here: ALEAUD, .*DEBMAS"),
    ],
)
def test_a_role_or_a_type_that_no_idoc_has_is_told_with_those_that_are(more: dict[str, Any], instead: str) -> None:
    with pytest.raises(Misconfigured, match=instead):
        rules(**more)


def test_a_sites_own_role_and_type_are_taken() -> None:
    rules(patient_role="ZP", message_types=["ZPATIENT"], idoc_types={"ZPATIENT": ["ZPATIENT01"]})
