"""Issue "legacy doors", done when 1: a hospital with all its doors up at once is one hospital, and its patients are each one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.e2e.doors import Hospital
from tests.e2e.guests import Guest, guests

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
TOLD = Counter(("Encounter", "Appointment", "ServiceRequest", "DiagnosticReport", "Procedure", "Payment"))


@pytest.fixture
def house(
    tmp_path: Path, mariadb: servers.MariaDB, postgres: servers.Postgres, fhir_server: servers.FhirServer
) -> Iterator[Hospital]:
    with Hospital(tmp_path, mariadb, postgres, fhir_server) as made:
        yield made


def tell(house: Hospital, people: list[Guest], seed: int) -> None:
    """Everything that is said of them, by everybody at once, in no order."""
    sayings = [saying for guest in people for saying in guest.sayings()]
    random.Random(seed).shuffle(sayings)
    half = len(people) // 2
    for at, saying in enumerate(sayings):
        saying(house)
        if at == len(sayings) // 3:
            house.drop("lab", [guest.result() for guest in people[:half]])
        if at == len(sayings) // 2:
            house.drop("lab", [guest.result() for guest in people])  # the whole day again, as laboratories write it
            house.drop("cashier", [guest.payment() for guest in people])


def whole(house: Hospital, guest: Guest) -> bool:
    """Whether all is there that was said of him."""
    return Counter(one["kind"] for one in house.timeline(guest.number)) == TOLD


def only(timeline: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one thing of a kind."""
    [found] = [one for one in timeline if one["kind"] == kind]
    return found


def test_a_journey_told_by_every_door(house: Hospital) -> None:
    people = guests(20, 10_000_000)
    tell(house, people, 7)
    for guest in people:
        house.until(lambda guest=guest: whole(house, guest), f"all of patient {guest.at} is there")  # type: ignore[misc]
    house.settle()
    nothing_is_stuck(house)
    for guest in people:
        one_patient_one_timeline(house, guest)


def nothing_is_stuck(house: Hospital) -> None:
    for name, counts in house.hub.status()["channels"].items():
        stuck = {state: counts[state] for state in ("dead", "uncertain", "refused", "ignored") if counts[state]}
        assert not stuck, (name, stuck)


def one_patient_one_timeline(house: Hospital, guest: Guest) -> None:
    patient = house.patient(guest.number)
    assert patient is not None
    assert patient["resource"]["name"][0]["text"] == guest.name
    assert [one["value"] for one in patient["resource"]["telecom"]] == [guest.e164]
    timeline = house.timeline(guest.number)
    assert Counter(one["kind"] for one in timeline) == TOLD
    visit = only(timeline, "Encounter")
    assert visit["resource"]["status"] == "arrived"
    assert visit["resource"]["visitKind"] == "new-patient"
    assert visit["resource"]["location"] == "OPD 101"
    for one in timeline:
        if one["kind"] not in ("Encounter", "Appointment"):
            assert one["resource"]["encounter"]["reference"] == f"Encounter/{visit['id']}", one["kind"]
