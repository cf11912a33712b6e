"""A number under which something was told of before anybody told whose it is: one person, whichever comes first."""

from __future__ import annotations

import orjson
import pytest

from hub.domain.facts import Fact, Key
from tests.house import House, patient, visit


@pytest.fixture
def house() -> House:
    made = House()
    made.tell(patient("1"))
    return made


def of_emr(*others: str, **values: object) -> Fact:
    """The EMR's patient E7, with further numbers."""
    said = {"identifier": [{"assigner": "H", "value": n} for n in others], **values}
    return Fact(
        "Patient", Key("emr", "E7"), said, dict.fromkeys(said, "identifier"), other_keys=tuple(Key("H", n) for n in others)
    )


def of_e7(fact: Fact) -> Fact:
    fact.patient = Key("emr", "E7")
    return fact


def active(house: House) -> list[str]:
    return [str(row["id"]) for row in house.store.rows("resource", kind="Patient", status="active")]


def test_an_unknown_patients_visit_comes_first_and_then_he_turns_out_to_be_known(house: House) -> None:
    house.tell(of_e7(visit("V9", "")), system="emr")
    assert len(active(house)) == 2
    applied = house.tell(of_emr("1", gender="male"), system="emr")
    assert applied.changes[0].type == "patient.merged"
    assert active(house) == [house.id("1")] == [house.owner("V9")]
    assert orjson.loads(house.row("1")["data"])["gender"] == "male"
    house.tell(of_e7(visit("V10", "")), system="emr")
    assert house.owner("V10") == house.id("1")


def test_he_is_known_by_the_other_number_only(house: House) -> None:
    house.tell(visit("V9", "77"))
    house.tell(patient("1", "77"))
    assert active(house) == [house.id("1")] == [house.owner("V9")]


def test_a_visit_of_a_known_patient_is_not_taken_away_for_somebody_unknown(house: House) -> None:
    house.tell(visit("V1", "1"))
    applied = house.tell(of_e7(visit("V1", "", location="5W")), system="emr")
    assert applied.notes == ["encounter_of_an_unknown_patient"]
    assert (house.owner("V1"), house.doc("V1", "Encounter")["location"]) == (house.id("1"), "5W")
    assert active(house) == [house.id("1")]


def test_two_who_are_both_known_are_never_made_one_by_a_list_of_numbers(house: House) -> None:
    house.tell(patient("2"))
    applied = house.tell(patient("1", "2"))
    assert "identifier_points_elsewhere" in applied.notes
    assert len(active(house)) == 2


def test_an_id_that_a_fhir_server_gave_is_no_number_of_his(house: House) -> None:
    fact = visit("V9", "")
    fact.patient = Key("H:emr:fhir", "Patient/7")
    house.tell(fact, system="emr")
    [stranger] = [row for row in house.store.rows("resource", kind="Patient") if row["id"] != house.id("1")]
    assert orjson.loads(stranger["data"]) == {}
