"""One system told of one thing by two doors (its messages and its tables): late at one is not late at the other."""

from __future__ import annotations

import orjson
import pytest

from hub.domain.facts import Fact, Key
from tests.house import House, patient, phone, visit

SECOND = 1 / 60  # of House's minutes


@pytest.fixture
def house() -> House:
    made = House()
    made.tell(patient("1"), at=1)
    return made


def test_what_a_late_message_says_and_the_table_never_said_is_heard(house: House) -> None:
    house.tell(visit("V1", "1", status="in-progress", visitKind="first"), at=12, channel="ocs-visits")
    applied = house.tell(visit("V1", "1", status="arrived", location="OPD 101"), at=10)
    assert [c.type for c in applied.changes] == ["encounter.updated"]
    assert (house.doc("V1", "Encounter")["location"], house.doc("V1", "Encounter")["status"]) == ("OPD 101", "in-progress")
    assert orjson.loads(house.source("V1", "Encounter")["lineage"])["location"][3] < 11 * 60_000_000


def test_it_makes_the_record_no_older(house: House) -> None:
    house.tell(visit("V1", "1", status="in-progress"), at=12, channel="ocs-visits")
    house.tell(visit("V1", "1", location="OPD 101"), at=10)
    assert house.tell(visit("V1", "1", status="arrived", location="OPD 203"), at=11).stale == 1
    assert house.doc("V1", "Encounter")["location"] == "OPD 101"
    assert house.doc("V1", "Encounter")["status"] == "in-progress"


def test_a_late_message_of_the_same_door_is_stale_whatever_it_says(house: House) -> None:
    house.tell(visit("V1", "1", status="in-progress"), at=12)
    applied = house.tell(visit("V1", "1", location="OPD 101"), at=10)
    assert (applied.stale, applied.changes) == (1, [])


def test_a_late_word_moves_no_visit_and_takes_no_contact_point_away(house: House) -> None:
    house.tell(patient("2"), at=2)
    house.tell(visit("V1", "1", status="in-progress"), patient("1", telecom=[phone("+821")]), at=12, channel="ocs-visits")
    house.tell(visit("V1", "2", location="OPD 101"), patient("1", telecom=[phone("+829", "home")]), at=10)
    assert house.owner("V1") == house.id("1")
    assert house.doc("1")["telecom"] == [phone("+821"), phone("+829", "home")]


def test_a_time_told_to_the_second_is_any_moment_of_it(house: House) -> None:
    house.tell(visit("V1", "1", status="in-progress"), at=10 + 30.5 * SECOND, channel="ocs-visits")
    applied = house.tell(visit("V1", "1", status="finished"), at=10.5)  # said at 30.9, as the message's clock cannot say
    assert applied.stale == 0
    assert house.doc("V1", "Encounter")["status"] == "finished"
    assert house.tell(visit("V1", "1", status="arrived"), at=10 + 29 * SECOND).stale == 1
    assert house.tell(visit("V1", "1", status="arrived"), at=10 + 30.2 * SECOND, channel="ocs-visits").stale == 1


def test_numbers_that_one_door_knows_are_not_taken_away_by_the_other(house: House) -> None:
    filler, placer = {"assigner": "H", "value": "A1", "type": "FILL"}, {"assigner": "HUB", "value": "x", "type": "PLAC"}
    house.tell(booking("A1", identifier=[filler]), channel="ocs-bookings")
    house.tell(booking("A1", identifier=[placer, filler]))
    for numbers, channel in (([filler], "ocs-bookings"), ([placer, filler], ""), ([filler, placer], "ocs-bookings")):
        assert house.tell(booking("A1", identifier=numbers), channel=channel).changes == []
    house.tell(booking("A1", identifier=[filler]))  # the door that told of it takes it back
    assert house.doc("A1", "Appointment")["identifier"] == [filler]


DAY, OTHER_DAY = "2026-12-01T10:30:00+09:00", "2026-12-03T10:30:00+09:00"


@pytest.fixture
def moved(house: House) -> House:
    """A booking of the OCS's that the front office has moved: it waits for the OCS's word."""
    house.tell(booking("A1", start=DAY, status="booked"))
    office, id_ = house.office, house.id("A1", "Appointment")
    office.change_appointment(id_, {"start": "2026-12-03T01:30:00Z"}, expected=1, actor="token:desk")
    assert house.doc("A1", "Appointment")["status"] == "pending"
    house.minute = 40_000_000  # the front office's clock is the real one: what follows is later
    return house


def test_the_owner_confirms_a_moved_booking_by_what_it_always_said(moved: House) -> None:
    applied = moved.tell(booking("A1", start=OTHER_DAY, status="booked"))
    assert applied.changes[-1].fields[-1] == "status"
    assert moved.doc("A1", "Appointment")["status"] == "booked"


def test_the_former_time_again_confirms_nothing(moved: House) -> None:
    moved.tell(booking("A1", start=DAY, status="booked"))
    moved.tell(booking("A1", status="booked"))
    assert moved.doc("A1", "Appointment")["status"] == "pending"


def booking(number: str, **values: object) -> Fact:
    return Fact("Appointment", Key("H", number), values, dict.fromkeys(values, "SCH"), patient=Key("H", "1"))
