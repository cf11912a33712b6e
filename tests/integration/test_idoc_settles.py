"""A whole hub between SAP and the CRM by IDoc: patients out as customers, SAP's word of each back, bills in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from typer.testing import CliRunner

from hub.bootstrap import open_hub
from hub.bootstrap.poll import Poller
from hub.cli import app
from hub.codecs.sap import idoc_flat, idoc_xml
from hub.codecs.sap.idoc import Idoc
from hub.config import load
from hub.db import schema
from hub.db.crypt import KeyRing
from hub.db.engine import make_engine, parse_url
from hub.db.views import changes, messages
from hub.domain.lifecycle import UNCONFIRMED
from hub.domain.store import Lease
from hub.simulator.idoc import bill, customer, status
from hub.testing.home import _empty

CONFIG = """[hub]
name = "test hub"
assigner = "HOSP"
[database]
url = { file = "database" }
[channels.sap-in]
adapter = "erp.idoc_in"
system = "erp"
folder = "from-sap"
ready = "rename"
charset = "cp949"
number_digits = 8
[channels.sap-out]
adapter = "erp.idoc_out"
system = "erp"
folder = "to-sap"
receiver = "LS/SAPCLNT100"
charset = "cp949"
[channels.sap-in2]
adapter = "erp.idoc_in"
system = "pacs"
folder = "from-other"
ready = "rename"
"""


class House:
    def __init__(self, folder: Path, url: str = "sqlite:///hub.db") -> None:
        self.folder = folder
        for name in ("from-sap", "to-sap", "from-other"):
            (folder / name).mkdir()
        (folder / "hub.toml").write_text(CONFIG, encoding="utf-8")
        (folder / "database").write_text(url, encoding="utf-8")
        KeyRing.create(folder / "secrets")
        if url.startswith("sqlite"):
            (folder / "hub.db").write_bytes(_empty())
        else:
            engine = make_engine(parse_url(url))
            schema.upgrade(engine)
            engine.dispose()
        self.hub = open_hub(load(folder / "hub.toml"))
        self._applier, self._courier = self.hub.applier(), self.hub.courier()
        self._in, self._out = self._lease("in"), self._lease("out")
        self._n = 0

    def _lease(self, direction: str) -> Lease:
        with self.hub.store.transaction() as tx:
            lease = tx.take("test", direction, range(self.hub.buckets), 99, 600)
        assert lease is not None
        return lease

    def drop(self, *idocs: Idoc, where: str = "from-sap", xml: bool = False) -> None:
        self._n += 1
        body = idoc_xml.write(list(idocs)) if xml else b"".join(idoc_flat.write(i, idoc_flat.Format.of("cp949")) for i in idocs)
        (self.folder / where / f"{self._n:04d}.txt").write_bytes(body)

    def poll(self, channel: str = "sap-in") -> None:
        Poller(self.hub, self.hub.config.channels[channel], lambda: None).round()
        while self._applier.step(self._in):
            continue

    def deliver(self) -> None:
        while self._courier.step(self._out, wait=0.05) or self._courier.busy:
            continue

    def sent(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "to-sap").glob("*.txt"))

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self.hub.store.snapshot() as tx:
            return tx.many(sql, *parameters)

    def message(self, message_id: int) -> Any:
        with self.hub.engine.connect() as connection:
            return messages.get(connection, message_id)

    def new_patient(self, number: str) -> int:
        """By SAP's own word, and so not told back; then changed by the front office. The message that carries the change."""
        self.drop(customer(number, f"{int(number):016d}", NAME1="홍길동", TELF2="010-1111-2222"))
        self.poll()
        return self.change(number, "+821099998888")

    def change(self, number: str, phone: str) -> int:
        ((id_, version),) = self.rows(
            "SELECT r.id, r.version FROM resource r JOIN identifier i ON i.resource_id = r.id WHERE i.value = ?", number
        )
        values = {"telecom": [{"system": "phone", "value": phone, "use": "mobile"}]}
        self.hub.front_office.change_patient(id_, values, expected=version, actor="token:test")
        self.deliver()
        ((message_id,),) = self.rows("SELECT max(id) FROM message WHERE direction = 'out' AND resource_id = ?", id_)
        return int(message_id)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.hub.close()


@pytest.fixture
def either(tmp_path: Path, database_url: str) -> Iterator[House]:
    made = House(tmp_path, database_url if database_url.startswith("postgres") else "sqlite:///hub.db")
    yield made
    made.hub.close()


def about(message_id: int) -> str:
    return f"{message_id:016d}"


def test_what_sap_took_is_not_confirmed_until_it_says_53(house: House) -> None:
    message_id = house.new_patient("00012345")
    assert [name.rpartition("-")[0] for name in house.sent()] == [f"DEBMAS-{about(message_id)}"]
    written = (house.folder / "to-sap" / house.sent()[0]).read_bytes()
    assert idoc_flat.read(written, idoc_flat.Format.of("cp949"))["DOCNUM"] == about(message_id)
    assert house.message(message_id).reason == UNCONFIRMED
    house.drop(status("900", about(message_id), "64"))
    house.poll()
    assert house.message(message_id).reason == UNCONFIRMED
    house.drop(status("901", about(message_id), "53"), xml=True)
    house.poll()
    one = house.message(message_id)
    assert (one.state, one.outcome, one.reason) == ("done", "delivered", "")
    said = [(v, d) for v, d in house.rows("SELECT verdict, detail FROM attempt WHERE message_id = ? ORDER BY n", message_id)]
    assert [v for v, _ in said] == ["delivered", "taken", "confirmed"]
    assert [d for _, d in said[1:]] == ["SAP 64", "SAP 53"]
    assert house.rows("SELECT count(*) FROM alert") == [(0,)]


def test_what_sap_turns_down_is_a_dead_letter_with_its_reason_and_holds_up_nobody(house: House) -> None:
    message_id = house.new_patient("00012345")
    house.drop(status("900", about(message_id), "51", "F2 163", "환자 홍길동 없음"))
    house.poll()
    one = house.message(message_id)
    assert (one.state, one.outcome, one.reason) == ("dead", "", "SAP 51 F2 163")
    everywhere = house.rows("SELECT reason FROM work UNION ALL SELECT detail FROM attempt UNION ALL SELECT detail FROM entry")
    assert not any("홍길동" in str(text) for (text,) in everywhere)
    second = house.change("00012345", "+821077776666")  # the same patient: his lane goes on
    assert len(house.sent()) == 2
    house.hub.operations.replay(message_id, reason="customer was locked", actor="token:test")
    house.deliver()
    assert len(house.sent()) == 3  # a person wanted it: it goes out once more, under its number
    assert house.message(message_id).reason == house.message(second).reason == UNCONFIRMED
    house.drop(status("901", about(message_id), "53"))
    house.poll()
    assert house.message(message_id).reason == ""


@pytest.mark.parametrize(("minutes", "end"), [(-10, ("done", UNCONFIRMED)), (0, ("dead", "SAP 51 F2 164"))])
def test_a_second_word_of_the_first_sending_leaves_the_replay_alone(either: House, minutes: int, end: tuple[str, str]) -> None:
    """SAP may turn one IDoc down twice (ALEAUD and STATUS); both sendings have one number, so the word's own time decides."""
    message_id = either.new_patient("00012345")
    either.drop(status("900", about(message_id), "51", "F2 163"))
    either.poll()
    either.hub.operations.replay(message_id, reason="customer was locked", actor="token:test")
    either.deliver()
    again = status("901", about(message_id), "51", "F2 164")
    made = datetime.now(ZoneInfo("Asia/Seoul")) + timedelta(minutes=minutes)
    again.control |= {"CREDAT": f"{made:%Y%m%d}", "CRETIM": f"{made:%H%M%S}"}
    either.drop(again)
    either.poll()
    one = either.message(message_id)
    assert (one.state, one.reason) == end
    said = either.rows("SELECT detail FROM attempt WHERE message_id = ? ORDER BY n DESC", message_id)
    assert said[0] == ("SAP 51 F2 164",)  # to be seen either way


def test_the_receivers_of_a_change_are_told_in_sap_s_words(house: House) -> None:
    message_id = house.new_patient("00012345")

    def codes() -> tuple[str, str, str]:
        with house.hub.engine.connect() as connection:
            row = messages.get(connection, message_id)
            assert row is not None
            assert row.change_id is not None
            change = changes.get(connection, row.change_id)
            assert change is not None
            (one,) = changes.deliveries(connection, change)
        return one["state"], one["code"], one["lastAnswer"]["detail"].partition(" (")[0]

    assert codes() == ("sent", "O01", f"DOCNUM {about(message_id)} written")
    house.drop(status("900", about(message_id), "51", "F2 163"))
    house.poll()
    assert codes() == ("refused", "F01", "SAP 51 F2 163")
    shown = CliRunner().invoke(app, ["show", str(message_id), "--config", str(house.folder / "hub.toml"), "--json"])
    assert shown.exit_code == 0, shown.output
    (header,) = orjson.loads(shown.stdout)["receivers"]
    assert (header["code"], header["receivers"][0]["target"], header["receivers"][0]["codeName"]) == (
        "F01",
        "sap-out",
        "rejected",
    )
    assert "Receivers" in CliRunner().invoke(app, ["show", str(message_id), "--config", str(house.folder / "hub.toml")]).output
    house.drop(status("901", about(message_id), "53"))
    house.poll()
    assert codes() == ("confirmed", "F02", "SAP 53")


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "together"])
def test_53_after_51_is_done(either: House, together: bool) -> None:
    """Somebody at SAP saw to it and processed the IDoc again."""
    message_id = either.new_patient("00012345")
    for number, code in enumerate(("51", "64", "53", "53", "51"), 900):
        either.drop(status(str(number), about(message_id), code))
        if not together:
            either.poll()
    either.poll()
    said = either.rows("SELECT detail FROM attempt WHERE message_id = ? ORDER BY n", message_id)[1:]
    assert said == [("SAP 51",), ("SAP 64",), ("SAP 53",), ("SAP 53",), ("SAP 51",)]
    one = either.message(message_id)
    assert (one.state, one.outcome, one.reason) == ("done", "delivered", "")
    assert either.rows("SELECT sum(n) FROM tally WHERE channel = 'sap-out' AND state = 'delivered'") == [(1,)]
    assert either.rows("SELECT count(*) FROM work") == [(0,)]


@pytest.mark.parametrize(("code", "end"), [("53", ("done", "")), ("51", ("dead", "SAP 51 F2 163"))])
def test_an_answer_that_is_quicker_than_our_own_writing(either: House, code: str, end: tuple[str, str]) -> None:
    """SAP posts while the delivery's result is still in the worker's hands."""
    write = either._courier._write

    def late(lease: Any, results: Any, claimed: Any, channels: Any) -> None:
        for result in results:
            either.drop(
                status(f"9{result.work.message_id}", about(result.work.message_id), code, "F2 163" if code == "51" else "")
            )
            either.poll()
        write(lease, results, claimed, channels)

    either._courier._write = late  # type: ignore[method-assign]
    one = either.message(either.new_patient("00012345"))
    assert (one.state, one.reason) == end


def test_a_status_of_nobody_is_kept_and_told(house: House) -> None:
    message_id = house.new_patient("00012345")
    house.drop(status("900", about(999), "53"), status("901", "", "53"), status("902", "NOT-A-NUMBER", "53"))
    house.poll()
    assert house.message(message_id).reason == UNCONFIRMED
    alerts = house.rows("SELECT kind, channel FROM alert WHERE cleared_at IS NULL")
    assert alerts == [("status_unknown", "sap-in")] * 3
    reasons = house.rows("SELECT o.reason FROM outcome o JOIN message m ON m.id = o.message_id WHERE m.type = 'idoc.ALEAUD'")
    assert reasons == [("status_unknown",)] * 3


def test_another_system_settles_nothing_of_sap_s(house: House) -> None:
    message_id = house.new_patient("00012345")
    house.drop(status("900", about(message_id), "53"), where="from-other")
    house.poll("sap-in2")
    assert house.message(message_id).reason == UNCONFIRMED


def test_the_same_number_again_is_one_message_and_with_other_content_an_alert(house: House) -> None:
    first = bill("90001", "0000000000000777", "0000012345", "12000")
    house.drop(customer("0000012345", "1", NAME1="홍길동"), first)
    house.drop(first)
    house.poll()
    assert house.rows("SELECT count(*) FROM message WHERE type = 'idoc.INVOIC'") == [(1,)]
    house.drop(bill("90001", "0000000000000777", "0000012345", "13000"))
    house.poll()
    assert house.rows("SELECT kind FROM alert") == [("control_id_reused",)]
    (total,) = house.rows("SELECT data FROM resource WHERE kind = 'Invoice'")
    assert '"value":"13000"' in total[0].replace(" ", "")


def test_what_is_refused_is_kept_with_its_place_and_its_neighbours_are_taken(house: House) -> None:
    wrong = customer("0000000001", "2", NAME1="뷁")
    wrong.control["DIRECT"] = "2"
    house.drop(customer("0000000002", "3", NAME1="펲시콜라"), wrong, customer("0000000003", "4", NAME1="똠방각하"))
    house.poll()
    refused = house.rows("SELECT reason FROM outcome WHERE state = 'refused'")
    assert len(refused) == 1
    assert "IDoc 2 at byte" in refused[0][0]
    assert "EDI_DC40-DIRECT" in refused[0][0]
    names = {name for (name,) in house.rows("SELECT data FROM resource WHERE kind = 'Patient'")}
    assert sum("펲시콜라" in n or "똠방각하" in n for n in names) == 2
    assert list((house.folder / "from-sap" / "done").glob("*.reason"))


def test_an_older_customer_record_is_stale(house: House) -> None:
    newer = customer("0000012345", "5", NAME1="남궁민수")
    newer.control |= {"CREDAT": "20261122", "CRETIM": "120000"}
    older = customer("0000012345", "6", NAME1="홍길동")
    older.control |= {"SERIAL": "20261122110000000001"}
    house.drop(newer)
    house.poll()
    house.drop(older)
    house.poll()
    assert house.rows("SELECT outcome FROM outcome ORDER BY message_id") == [("applied",), ("stale",)]
    (data,) = house.rows("SELECT data FROM resource WHERE kind = 'Patient'")
    assert "남궁민수" in data[0]


def test_what_sap_repeats_of_what_it_was_told_is_no_news(house: House) -> None:
    house.new_patient("00012345")
    ((id_, version),) = house.rows(
        "SELECT r.id, r.version FROM resource r JOIN identifier i ON i.resource_id = r.id WHERE i.value = '00012345'"
    )
    address = {
        "text": "서울 강남구 테헤란로 1",
        "line": ["테헤란로 1"],
        "city": "서울",
        "postalCode": "06236",
        "country": "KR",
        "use": "home",
    }
    house.hub.front_office.change_patient(id_, {"address": [address]}, expected=version, actor="token:test")
    house.deliver()
    sent = house.sent()
    before = house.rows("SELECT count(*) FROM change")
    again = {"NAME1": "홍길동", "TELF2": "010-9999-8888", "STRAS": "테헤란로 1", "ORT01": "서울", "PSTLZ": "06236", "LAND1": "KR"}
    house.drop(customer("0000012345", "88", **again))
    house.poll()
    house.deliver()
    assert house.rows("SELECT count(*) FROM change") == before
    assert house.sent() == sent


def test_files_that_are_no_idocs_stand_among_what_was_refused(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Half a document, one with a DTD, one that is empty: as over HTTP, each is a row, and the log says why in one line."""
    whole = idoc_xml.write([bill("0090000001", "7001", "0000012345", "12000")])
    entity = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><INVOIC02>&e;</INVOIC02>'
    for name, body in (("1-00012345.xml", whole[:900]), ("2.xml", entity), ("3.txt", b""), ("4.txt", b"\xff\xfe" * 300)):
        (house.folder / "from-sap" / name).write_bytes(body)
    house.poll()
    found = house.rows("SELECT o.state, o.reason FROM outcome o JOIN message m ON m.id = o.message_id ORDER BY m.id")
    assert {state for state, _ in found} == {"refused"}
    assert [reason.partition(",")[0] for _, reason in found[:3]] == [
        "a file: no well-formed XML",
        "a file: XML with what no IDoc has: DTDForbidden",
        "a file: the file is empty",
    ]
    told = [str(vars(r)["reason"]) for r in caplog.records if r.getMessage() == "a file ended in error"]
    assert len(told) == len(found) == 4
    assert not any("\n" in one or one.endswith(":") or "00012345" in one for one in told)
