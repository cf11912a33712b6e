"""Issue "legacy doors", done when 1: a hospital with all its doors up at once is one hospital, and its patients are each one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.e2e.doors import Hospital
from tests.e2e.guests import Guest, guests
from tests.e2e.truths import (
    at,
    etag,
    fhir_booking,
    fhir_mobile,
    fhir_versions,
    kinds,
    nothing_is_stuck,
    webhooks_in_order,
)

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
TOLD = Counter(("Encounter", "Appointment", "ServiceRequest", "DiagnosticReport", "MedicationRequest", "Procedure", "Payment"))
EVERYTHING = (
    TOLD
    - Counter(("Payment",))
    + Counter(("Patient", "Condition", "Observation", "RelatedPerson", "Practitioner", "AllergyIntolerance", "Coverage"))
)


@pytest.fixture
def emr() -> Iterator[servers.FhirServer]:
    """Of the test's own: all that is there is asked for."""
    try:
        server = servers.FhirServer().start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture
def house(tmp_path: Path, mariadb: servers.MariaDB, postgres: servers.Postgres, emr: servers.FhirServer) -> Iterator[Hospital]:
    with Hospital(tmp_path, mariadb, postgres, emr) as made:
        yield made


@pytest.fixture
def house_on_postgresql(
    tmp_path: Path, mariadb: servers.MariaDB, postgres: servers.Postgres, postgres_url: str, emr: servers.FhirServer
) -> Iterator[Hospital]:
    """The hub's own database is PostgreSQL, too: more than one process writes."""
    with Hospital(tmp_path, mariadb, postgres, emr, postgres_url) as made:
        yield made


def test_a_journey_told_by_every_door(house: Hospital) -> None:
    """Twenty people, told in parts by all systems at once; two of them are found to be one; then the front office speaks."""
    *people, again = guests(21, 10_000_000)
    tell(house, [*people, again], 7)
    again.merged_into(house, people[0])
    for guest in people[1:]:
        house.until(lambda guest=guest: whole(house, guest), f"all of patient {guest.at} is there")  # type: ignore[misc]
    house.until(lambda: merged(house, people[0]), "two numbers are one patient")
    for guest in people[1:]:
        house.until(lambda guest=guest: house.emr_patients(guest.number), "the EMR has him")  # type: ignore[misc]
        guest.charted(house)
    house.settle()
    nothing_is_stuck(house)
    for guest in people[1:]:
        one_patient_one_timeline(house, guest)
        one_patient_by_fhir(house, guest)
        webhooks_in_order(house, guest)
    assert house.patient(again.number) == house.patient(people[0].number)
    the_front_office_changes(house, people[3])


def test_the_hub_is_killed_in_the_middle(house_on_postgresql: Hospital) -> None:
    house = house_on_postgresql
    people = guests(8, 20_000_000)
    tell(house, people[:5], 8)
    house.kill()
    tell(house, people[5:], 9)
    house.until(lambda: any(whole(house, guest) for guest in people) if house.ready() else False, "somebody is there")
    house.kill()
    house.until(house.ready, "the hub is ready again")
    for guest in people:
        house.until(lambda guest=guest: whole(house, guest), f"all of patient {guest.at} is there")  # type: ignore[misc]
    house.settle()
    nothing_is_stuck(house)
    for guest in people:
        one_patient_one_timeline(house, guest)
        webhooks_in_order(house, guest)


# -- telling --------------------------------------------------------------------------------------------------------------


def tell(house: Hospital, people: list[Guest], seed: int) -> None:
    """Everything that is said of them, by everybody at once, in no order."""
    sayings = [saying for guest in people for saying in guest.sayings()]
    random.Random(seed).shuffle(sayings)
    for told, saying in enumerate(sayings):
        saying(house)
        if told == len(sayings) // 3:
            house.drop("lab", [guest.result() for guest in people[::2]])
        if told == len(sayings) // 2:
            house.drop("lab", [guest.result() for guest in people])  # the whole day again, as laboratories write it
            house.drop("cashier", [guest.payment() for guest in people])


def whole(house: Hospital, guest: Guest) -> bool:
    """Whether all is there that was said of him."""
    return kinds(house.timeline(guest.number)) == TOLD


def merged(house: Hospital, guest: Guest) -> bool:
    return kinds(house.timeline(guest.number)) == TOLD + TOLD


# -- what must be true ----------------------------------------------------------------------------------------------------


def one_patient_one_timeline(house: Hospital, guest: Guest) -> None:
    """What a CRM developer sees: each thing once, with what each door said of it, and all of it about that one visit."""
    patient = house.patient(guest.number)
    assert patient is not None
    assert patient["resource"]["name"][0]["text"] == guest.name
    assert [one["value"] for one in patient["resource"]["telecom"]] == [guest.e164]
    timeline = house.timeline(guest.number)
    assert kinds(timeline) == TOLD
    assert [one["kind"] for one in timeline if one["kind"] != "ServiceRequest"] == [
        "Appointment", "Payment", "DiagnosticReport", "MedicationRequest", "Procedure", "Encounter",
    ]  # the latest first  # fmt: skip
    found = {one["kind"]: one for one in timeline}
    said = {kind: one["resource"] for kind, one in found.items()}
    visit = said["Encounter"]
    assert [one["value"] for one in visit["identifier"]] == [guest.visit]
    assert (visit["status"], visit["state"], visit["class"]) == ("arrived", "registered", "AMB")  # both doors of the OCS
    assert (visit["visitKind"], visit["location"]) == ("new-patient", "OPD 101")  # the table's, the message's
    assert at(visit["period"]["start"]) == guest.came
    assert (said["Appointment"]["status"], at(said["Appointment"]["start"])) == ("booked", guest.booked)
    assert said["Appointment"]["reason"]["display"] == "당뇨 추적"
    assert said["ServiceRequest"]["code"] == {"code": "L0101", "display": "혈당 검사 뷁"}
    assert said["DiagnosticReport"]["basedOn"]["reference"] == f"ServiceRequest/{found['ServiceRequest']['id']}"
    assert said["MedicationRequest"]["code"]["display"] == "메트포르민(뷁)"
    assert said["Procedure"]["code"]["display"] == "피부 절개"
    assert said["Payment"]["amount"] == {"value": str(15_000 + guest.at), "currency": "KRW"}
    for kind in TOLD - Counter(("Encounter", "Appointment")):
        assert said[kind]["encounter"]["reference"] == f"Encounter/{found['Encounter']['id']}", kind


def one_patient_by_fhir(house: Hospital, guest: Guest) -> None:
    """The same by the FHIR façade: one Patient, and $everything of him."""
    bundle = house.api.get("/fhir/R4/Patient", identifier=f"urn:oid:1.2.410.100110.10|{guest.number}")
    [patient] = [entry["resource"] for entry in bundle["entry"]]
    everything = house.api.get(f"/fhir/R4/Patient/{patient['id']}/$everything", _count=100)
    resources = [entry["resource"] for entry in everything["entry"]]
    assert Counter(one["resourceType"] for one in resources) == EVERYTHING
    found = {one["resourceType"]: one for one in resources}
    assert patient["name"][0]["text"] == guest.name
    assert found["Condition"]["code"]["coding"][0]["display"] == "제2형 당뇨병(똠방각하)"
    assert found["Condition"]["encounter"]["reference"] == f"Encounter/{found['Encounter']['id']}"
    assert found["Observation"]["valueQuantity"]["value"] == 100 + guest.at
    assert found["Encounter"]["reasonCode"][0]["text"] == "갈증과 다뇨"
    assert found["AllergyIntolerance"]["code"]["text"] == "페니실린"
    assert found["Coverage"]["subscriberId"] == f"S{guest.number}"
    assert found["RelatedPerson"]["name"][0]["text"] == f"{guest.person.family}영자"


def the_front_office_changes(house: Hospital, guest: Guest) -> None:
    """A new phone and another day: to each system that is to have them, to none twice, and back from none as a change."""
    patient = house.patient(guest.number)
    assert patient is not None
    booking = next(one for one in house.timeline(guest.number) if one["kind"] == "Appointment")
    before = len(house.crm.received), len(house.peer.received), fhir_versions(house, guest)
    assert rows_written(house) == [[], [], [], []]
    number, day = "010-7777-8888", guest.booked + timedelta(days=2)
    mobile = [{"system": "phone", "use": "mobile", "value": number}]
    house.api.patch(f"/api/v1/patients/{patient['id']}", {"telecom": mobile}, if_match=etag(house, "patients", patient["id"]))
    moved = {"start": day.isoformat(), "end": (day + timedelta(minutes=30)).isoformat()}
    house.api.patch(f"/api/v1/appointments/{booking['id']}", moved, if_match=etag(house, "appointments", booking["id"]))
    house.until(lambda: fhir_mobile(house, guest).replace("-", "").endswith("77778888"), "the EMR has the phone")
    house.until(lambda: len(house.peer.received) == before[1] + 2, "the OCS has both")
    house.until(lambda: all(rows_written(house)), "both databases have both")
    house.until(lambda: at(fhir_booking(house, guest)["start"]) == day, "the EMR has the day")
    house.settle()  # the OCS's program has taken the rows over into its own tables, which are read meanwhile
    guest.told_again(house, number)  # and says by message what his details are now
    house.settle()
    assert [event for event, _ in house.peer.received[before[1] :]] == ["ADT^A08", "SIU^S13"]
    assert house.peer.patients[guest.number]["phone"].replace("-", "").endswith("77778888")
    assert fhir_versions(house, guest) == before[2] + 1
    assert (fhir_booking(house, guest)["status"], at(fhir_booking(house, guest)["start"])) == ("booked", day)
    assert rows_written(house) == [
        [(guest.number, guest.name.encode("cp949").hex().upper(), number)],
        [(guest.booking, f"{day:%Y%m%d}", f"{day:%H%M}", "U")],
        [(guest.number, guest.name, "01077778888")],
        [(guest.booking, guest.number, day.replace(tzinfo=None))],
    ]
    assert house.maria_rows(f"SELECT RSVDATE, RSVTIME FROM OPD_RESERVE WHERE RSVNO = '{guest.booking}'") == [
        (f"{day:%Y%m%d}", f"{day:%H%M}")
    ]
    told = house.crm.received[before[0] :]
    assert [one.type for one in told[:3]] == ["patient.updated", "appointment.updated", "appointment.updated"]
    assert [one.data["resource"].get("status") for one in told] == [None, "pending", *["booked"] * (len(told) - 2)]
    assert told[0].data["changed"] == ["telecom", "telecom.mobile"]
    # whichever door of the OCS confirms first; only its message knows under which number we asked
    assert {name for one in told[2:] for name in one.data["changed"]} <= {"status", "identifier"}
    nothing_is_stuck(house)
    appointment = house.api.get(f"/api/v1/appointments/{booking['id']}")
    assert (appointment["resource"]["status"], at(appointment["resource"]["start"])) == ("booked", day)
    webhooks_in_order(house, guest)


def rows_written(house: Hospital) -> list[list[tuple[Any, ...]]]:
    """What stands in the interface tables of the OCS and of the EMR."""
    return [
        list(house.maria_rows("SELECT PANO, HEX(SNAME), HPHONE FROM IF_PHONE")),
        list(house.maria_rows("SELECT RSVNO, RSVDATE, RSVTIME, GBN FROM IF_RESERVE")),
        house.pg("SELECT pt_no, pt_name, mobile FROM emr_if_contact"),
        house.pg("SELECT booking_no, pt_no, starts_at FROM emr_if_booking"),
    ]
