"""`hub run` beside an EMR's FHIR server that is being written to, killed with -9 meanwhile: each version is one message at most,
the last one of each patient is in the hub."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.cli.common import database
from hub.config import load
from tests import servers
from tests.chaos.hub_process import Hub

NAMES = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞")
SYSTEM = "urn:oid:1.2.410.99999.3"
SECONDS = 5.0  # of writing
CHANNEL = """
[channels.emr-pull]
adapter = "emr.fhir_pull"
system = "emr"
url = "{url}"
kinds = ["Patient"]
identifier_systems = {{ HOSP = "{system}" }}
count = 10
overlap_seconds = 2
poll_seconds = 0.1
"""


@pytest.fixture
def emr() -> Iterator[servers.FhirServer]:
    """One of its own: what stands in it is counted."""
    try:
        server = servers.FhirServer().start()
    except servers.NotInstalledError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    yield server
    server.stop()


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def rows(hub: Hub, sql: str) -> list[tuple[Any, ...]]:
    with database(load(hub.config)) as engine, engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def write(url: str, writer: int, end: float, latest: dict[str, tuple[str, str]]) -> None:
    """New patients, and changes of those that it made; `latest`: id -> number and version."""
    rnd = random.Random(writer)
    mine: list[dict[str, Any]] = []
    with httpx.Client(base_url=url, timeout=10) as http:
        while time.monotonic() < end:
            number = f"{writer}-{len(mine):04d}"
            if mine and rnd.random() < 0.5:
                known = rnd.randrange(len(mine))
                changed = mine[known] | {"name": [{"text": rnd.choice(NAMES)}]}
                made = http.put(f"/Patient/{changed['id']}", json=changed).raise_for_status().json()
                mine[known] = made
            else:
                body = {
                    "resourceType": "Patient",
                    "identifier": [{"system": SYSTEM, "value": number}],
                    "name": [{"text": NAMES[writer]}],
                }
                made = http.post("/Patient", json=body).raise_for_status().json()
                mine.append(made)
            latest[made["id"]] = made["identifier"][0]["value"], made["meta"]["versionId"]
            time.sleep(0.02)


def versions(told: list[Any]) -> list[str]:
    """Of control ids, without how often the resource had changed: `Patient/1/4.3` is version 4."""
    return [str(one).rpartition(".")[0] for (one,) in told]


def test_no_version_twice_and_no_last_one_lost(tmp_path: Path, emr: servers.FhirServer) -> None:
    hub = Hub(tmp_path / "hub", "http://127.0.0.1:9/hooks", None, None)
    with hub.config.open("a", encoding="utf-8") as config:
        config.write(CHANNEL.format(url=emr.url, system=SYSTEM))
    latest: dict[str, tuple[str, str]] = {}
    end = time.monotonic() + SECONDS
    writers = [threading.Thread(target=write, args=(emr.url, n, end, latest)) for n in range(3)]
    hub.start()
    try:
        for writer in writers:
            writer.start()
        until(lambda: "poll" in hub.family().values())
        time.sleep(1.0)
        hub.kill("all", random.Random(1))
        hub.start()
        until(lambda: "poll" in hub.family().values())
        poller = next(pid for pid, role in hub.family().items() if role == "poll")
        os.kill(poller, signal.SIGKILL)  # and that one alone, which the supervisor starts again
        for writer in writers:
            writer.join(30)
        wanted = {f"Patient/{id_}/{version}" for id_, (_, version) in latest.items()}
        told = "SELECT control_id FROM message WHERE channel = 'emr-pull'"
        until(lambda: wanted <= set(versions(rows(hub, told))))
        until(lambda: len(rows(hub, "SELECT value FROM identifier WHERE kind = 'Patient' AND assigner = 'HOSP'")) == len(latest))
        time.sleep(0.5)
        assert len(latest) > 30
        controls = versions(rows(hub, told))
        assert len(controls) == len(set(controls))
        names = {str(one) for (one,) in rows(hub, "SELECT value FROM term WHERE kind = 'name'")}
        assert {name for name in NAMES if any(found.startswith(name) for found in names)} == set(NAMES)
    finally:
        for writer in writers:
            writer.join(30)
        hub.end()
