"""`hub run` beside an SAP service in which clerks work, killed with -9 meanwhile: no message twice, each last word is there."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from hub.cli.common import database
from hub.config import load
from tests.chaos.hub_process import Hub
from tests.contract.erp_in_cases import KEY, SET, number, partner
from tests.contract.sap_peer import SapPeer

SECONDS = 3.0  # of work
CHANNEL = """
[channels.sap]
adapter = "erp.odata_in"
system = "erp"
url = "{url}"
set = "A_BusinessPartner"
identification_type = "ZMRN"
page = 7
overlap_seconds = 2
poll_seconds = 0.1
"""


@pytest.fixture
def peer() -> Iterator[SapPeer]:
    made = SapPeer()
    made.keys[SET], made.sets[SET] = KEY, {}
    made.start()
    yield made
    made.stop()


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def rows(hub: Hub, sql: str) -> list[tuple[Any, ...]]:
    with database(load(hub.config)) as engine, engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def mails(hub: Hub) -> set[str]:
    """Those that the hub's patients have."""
    found = [orjson.loads(data) for (data,) in rows(hub, "SELECT data FROM resource WHERE kind = 'Patient'")]
    return {point["value"] for one in found for point in one["telecom"] if point["system"] == "email"}


def clerk(peer: SapPeer, end: float, latest: dict[str, str]) -> None:
    """New partners, and changes of those that there are; `latest`: patient number -> e-mail."""
    dice = random.Random(1)
    while time.monotonic() < end:
        n = dice.randrange(1, len(latest) + 2)
        now = datetime.now(ZoneInfo("Asia/Seoul"))
        made = partner(n, now.strftime("%Y-%m-%d"), now.strftime("PT%HH%MM%SS"))
        mail = f"{time.monotonic_ns()}@patient.example"
        made["to_BusinessPartnerAddress"][0]["to_EmailAddress"] = {"results": [{"EmailAddress": mail}]}
        peer.put(SET, KEY, made)
        latest[number(n)] = mail
        time.sleep(0.01)


def test_no_word_twice_and_no_last_one_lost(tmp_path: Path, peer: SapPeer) -> None:
    hub = Hub(tmp_path / "hub", "http://127.0.0.1:9/hooks", None, None)
    with hub.config.open("a", encoding="utf-8") as config:
        config.write(CHANNEL.format(url=peer.url))
    latest: dict[str, str] = {}
    writer = threading.Thread(target=clerk, args=(peer, time.monotonic() + SECONDS, latest))
    hub.start()
    try:
        writer.start()
        until(lambda: "poll" in hub.family().values())
        time.sleep(1.0)
        hub.kill("all", random.Random(1))
        hub.start()
        until(lambda: "poll" in hub.family().values())
        poller = next(pid for pid, role in hub.family().items() if role == "poll")
        os.kill(poller, signal.SIGKILL)  # and that one alone, which the supervisor starts again
        writer.join(30)
        until(lambda: mails(hub) == set(latest.values()))
        told = [str(one) for (one,) in rows(hub, "SELECT control_id FROM message WHERE channel = 'sap'")]
        assert len(told) == len(set(told))
        assert len(latest) > 10
    finally:
        writer.join(30)
        hub.end()
