"""Issue "ERP and PACS", done when 1: four systems, each by its own protocols, and every step of a patient's journey in each.

With HUB_E2E_PATIENTS=1000 it is the whole dose; `make test` sends a few.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import servers
from tests.e2e.back_office import BackOffice
from tests.e2e.doors import Hospital
from tests.e2e.front_office import every_change_arrives_once
from tests.e2e.travellers import Heard, Traveller
from tests.e2e.truths import nothing_is_stuck, webhooks_in_order

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
PATIENTS = int(os.environ.get("HUB_E2E_PATIENTS", "12"))
AT_ONCE = 16  # on their way


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
    tmp_path: Path,
    mariadb: servers.MariaDB,
    postgres: servers.Postgres,
    emr: servers.FhirServer,
    cap: servers.Cap,
    orthanc: servers.Orthanc,
) -> Iterator[Hospital]:
    with Hospital(tmp_path, mariadb, postgres, emr, back=BackOffice(cap, orthanc)) as made:
        yield made


@pytest.fixture
def house_on_postgresql(
    tmp_path: Path,
    mariadb: servers.MariaDB,
    postgres: servers.Postgres,
    postgres_url: str,
    emr: servers.FhirServer,
    cap: servers.Cap,
    orthanc: servers.Orthanc,
) -> Iterator[Hospital]:
    """The hub's own database is PostgreSQL, too: more than one process writes."""
    with Hospital(tmp_path, mariadb, postgres, emr, postgres_url, back=BackOffice(cap, orthanc)) as made:
        yield made


def test_a_journey_through_all_four(house: Hospital) -> None:
    people = travellers(house, PATIENTS, 30_000_000)
    began = time.monotonic()
    at_once(Traveller.travel, people)
    house.settle(600)
    say_how_long(people, time.monotonic() - began)
    nothing_is_stuck(house)
    at_once(Traveller.arrived, people)
    for one in people[:10]:
        one.tells_its_story()
        webhooks_in_order(house, one)
    every_change_arrives_once(house, people[:100])
    nothing_is_stuck(house)


def test_the_hub_is_killed_in_the_middle(house_on_postgresql: Hospital) -> None:
    """-9 to every process of it while some are ordered for and others are imaged: nobody is lost, nothing is doubled."""
    house = house_on_postgresql
    people = travellers(house, 8, 40_000_000)
    with ThreadPoolExecutor(1) as aside:
        journeys = aside.submit(at_once, Traveller.travel, people)
        house.until(lambda: journeys.done() or sum("ordered" in one.took for one in people) > 2, "some are on their way")
        house.kill()
        journeys.result()
    house.settle(120)
    nothing_is_stuck(house)
    for one in people:
        one.arrived()
        webhooks_in_order(house, one)


def travellers(house: Hospital, count: int, base: int) -> list[Traveller]:
    assert isinstance(house.back, BackOffice)
    heard = Heard(house.crm)
    return [Traveller(at, base, house, house.back, heard) for at in range(count)]


def at_once(act: Callable[[Traveller], None], people: Sequence[Traveller]) -> None:
    """What the first of them raised, where one did."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        doing = [pool.submit(act, one) for one in people]
        try:
            for one in doing:
                one.result()
        finally:
            pool.shutdown(cancel_futures=True)


def say_how_long(people: Sequence[Traveller], seconds: float) -> None:
    """From each step to the CRM's webhook."""
    print(f"\n{len(people)} patients in {seconds:.0f} s")
    for step in people[0].took:
        times = sorted(one.took[step] for one in people)
        p95 = times[min(len(times) - 1, int(0.95 * len(times)))]
        print(f"{step:12} p50 {statistics.median(times):6.2f} s   p95 {p95:6.2f} s   max {times[-1]:6.2f} s")
