"""What a system says because we wrote it there is no news, and takes nothing away that its form has no room for."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hub.domain.facts import Fact, Key
from hub.domain.rows import SentFieldRow
from hub.sync.canon import CROSSING
from tests.house import MINUTE, House, patient, phone

NINE, TEN, ELEVEN = (f"2026-12-01T{hour}:00:00+09:00" for hour in ("09", "10", "11"))


@pytest.fixture
def house() -> House:
    return House()


def sent(house: House, resource_id: str, at: int, system: str = "ocs", **fields: Any) -> None:
    """As a delivery leaves it: what that system was told of a field, and when that changed (minutes)."""
    with house.store.transaction() as tx:
        tx.write(
            [SentFieldRow(system, resource_id, name, orjson.dumps(value).decode(), at * MINUTE) for name, value in fields.items()]
        )


def test_a_name_that_comes_back_without_its_parts_keeps_them(house: House) -> None:
    whole = [{"text": "홍길동", "family": "홍", "given": ["길동"], "representation": "IDE"}]
    house.tell(patient("1", name=whole))
    sent(house, house.id("1"), 1, name=whole)
    applied = house.tell(patient("1", name=[{"text": "홍길동"}]))
    assert applied.changes == []
    assert house.doc("1")["name"] == whole
    assert [c.fields for c in house.tell(patient("1", name=[{"text": "홍길순"}])).changes] == [["name"]]


def test_a_phone_that_comes_back_cut_is_the_one_that_was_sent(house: House) -> None:
    house.tell(patient("1", telecom=[phone("+821011110000")]))
    sent(house, house.id("1"), 2, **{"telecom.mobile": phone("+821022220000")})
    house.tell(patient("1", telecom=[phone("+82102222")]))
    assert house.doc("1")["telecom"] == [phone("+821022220000")]


def test_an_echo_in_the_peers_own_form_does_not_take_the_place_of_what_it_repeats(house: House) -> None:
    """What a message says is as old as its event; the peer was told when it was applied, which is later."""
    house.tell(patient("1", telecom=[phone("+821011110000")]), at=10)
    national = phone("010-1111-0000")
    sent(house, house.id("1"), 20, system="erp", **{"telecom.mobile": national})
    applied = house.tell(patient("1", telecom=[national]), system="erp", at=30)
    assert applied.changes == []
    assert house.doc("1")["telecom"] == [phone("+821011110000")]
    house.tell(patient("1", telecom=[phone("+821033330000")]), system="erp", at=40)
    assert house.doc("1")["telecom"] == [phone("+821033330000")]


def test_what_stands_spelt_another_way_is_no_change_even_before_anybody_knows_that_it_was_sent(house: House) -> None:
    """A poll that reads what we have just written, before the delivery's outcome is committed."""
    house.tell(patient("1", telecom=[{**phone("+821011110000"), "raw": "010-1111-0000"}]), at=10)
    house.tell(patient("1", telecom=[phone("+821099990000")]), system="erp", at=5)
    applied = house.tell(patient("1", telecom=[{**phone("+821011110000"), "raw": "01011110000"}]), system="erp", at=20)
    assert applied.changes == []
    assert house.doc("1")["telecom"] == [{**phone("+821011110000"), "raw": "010-1111-0000"}]


def test_an_echo_that_crossed_the_next_delivery_takes_nothing_back(house: House) -> None:
    """The EMR is read between our two writes: it says the first one's word when it has had the second's already."""
    house.tell(patient("1", telecom=[phone("+821011110000")]), at=10)
    house.tell(patient("1", telecom=[phone("+821011110000")]), system="emr", at=11)
    for number, at in (("+821022220000", 20), ("+821033330000", 30)):
        house.tell(patient("1", telecom=[phone(number)]), at=at)
    second = house.store.rows("change")[-1]["at"]
    with house.store.transaction() as tx:
        tx.write([SentFieldRow("emr", house.id("1"), "telecom.mobile", orjson.dumps(phone("+821033330000")).decode(), second)])
    assert house.tell(patient("1", telecom=[phone("+821022220000")]), system="emr", at=31).changes == []
    assert house.doc("1")["telecom"] == [phone("+821033330000")]
    later = second + 2 * CROSSING
    house.store.clock = lambda: later
    house.tell(patient("1", telecom=[phone("+821011110000")]), system="emr", at=later // MINUTE)
    assert house.doc("1")["telecom"] == [phone("+821011110000")]  # nobody said that a moment ago: it is the EMR's own word


def row(booking_id: str, start: str, **more: Any) -> Fact:
    """A booking as a table has it into which we wrote it."""
    values = {"start": start, **more}
    return Fact("Appointment", Key("HUB", booking_id), values, dict.fromkeys(values, "ROW"), patient=Key("H", "1"))


@pytest.fixture
def booked(house: House) -> str:
    """A booking of the front office at nine, moved to ten, of which only the first is in the table yet."""
    house.tell(patient("1"))
    written = house.office.book(house.id("1"), {"start": NINE, "minutes": 30}, actor="token:t")
    sent(house, written.resource_id, 1, start=NINE, minutes=30, status="pending")
    house.office.change_appointment(written.resource_id, {"start": TEN}, expected=written.version, actor="token:t")
    return written.resource_id


def start(house: House, booking: str) -> str:
    [found] = house.store.rows("resource", id=booking)
    return str(orjson.loads(found["data"])["start"])


def test_a_row_read_before_the_next_change_is_written_does_not_take_that_change_back(house: House, booked: str) -> None:
    applied = house.tell(row(booked, NINE, status="pending"), at=10**9)
    assert applied.changes == []
    assert start(house, booked) == TEN


def test_what_the_system_itself_changes_in_that_row_is_news(house: House, booked: str) -> None:
    house.tell(row(booked, NINE), at=10**9)
    applied = house.tell(row(booked, ELEVEN, status="booked"), at=10**9 + 1)
    assert [(c.type, c.fields) for c in applied.changes] == [("appointment.updated", ["start", "status"])]
    assert start(house, booked) == ELEVEN
