"""Issue "ERP and PACS", done when 1: four systems, each by its own protocols, and every step of a patient's journey in each."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import servers
from tests.e2e.back_office import BackOffice
from tests.e2e.doors import Hospital
from tests.e2e.travellers import Heard, Traveller

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
PATIENTS = int(os.environ.get("HUB_E2E_PATIENTS", "24"))
AT_ONCE = 24  # on their way


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
def house(
    tmp_path: Path, mariadb: servers.MariaDB, postgres: servers.Postgres, emr: servers.FhirServer, cap: servers.Cap
) -> Iterator[Hospital]:
    with Hospital(tmp_path, mariadb, postgres, emr, back=BackOffice(cap)) as made:
        yield made


def test_a_journey_through_all_four(house: Hospital) -> None:
    people = travellers(house, PATIENTS, 30_000_000)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for journey in [pool.submit(one.travel) for one in people]:
            journey.result()
    house.settle(600)
    tell(people)
    nothing_is_stuck(house)


def travellers(house: Hospital, count: int, base: int) -> list[Traveller]:
    assert isinstance(house.back, BackOffice)
    heard = Heard(house.crm)
    return [Traveller(at, base, house, house.back, heard) for at in range(count)]


def tell(people: Sequence[Traveller]) -> None:
    """How long it took from each step to the CRM."""
    for step in people[0].took:
        times = sorted(one.took[step] for one in people)
        p95 = times[min(len(times) - 1, int(0.95 * len(times)))]
        print(f"{step:12} p50 {statistics.median(times):6.2f} s   p95 {p95:6.2f} s   max {times[-1]:6.2f} s")


def nothing_is_stuck(house: Hospital) -> None:
    for name, counts in house.hub.status()["channels"].items():
        stuck = {state: counts[state] for state in ("dead", "uncertain", "refused", "ignored") if counts[state]}
        assert not stuck, (name, stuck)
