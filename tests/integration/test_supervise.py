"""Processes of one hub: none outlives its supervisor, and one that is killed comes back within two seconds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.chaos.hub_process import Hub

KINDS = ["sqlite", pytest.param("celery", marks=[pytest.mark.postgres, pytest.mark.redis])]


@pytest.fixture(params=KINDS)
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hub]:
    """A running hub, all of its processes up."""
    database = broker = None
    roles = {"supervisor", "listen", "web", "apply", "deliver", "keep"}
    if request.param == "celery":
        redis: servers.Redis = request.getfixturevalue("redis")
        database, broker = request.getfixturevalue("postgres_url"), redis.url
        roles = {"supervisor", "listen", "web", "celery apply", "celery deliver", "keep"}
    made = Hub(tmp_path, "http://127.0.0.1:9/hooks", database, broker)
    made.start()
    try:
        until(lambda: made.listening() and set(made.family().values()) == roles, 90)
        until(lambda: len(made.family()) == (8 if broker else 6), 90)  # each Celery worker has a process of its pool
        yield made
    finally:
        made.end()


def until(what: Callable[[], bool], seconds: float) -> float:
    """Seconds until it came to pass."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, "it did not come to pass"
        time.sleep(0.05)
    return time.monotonic() - began


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return True


def test_no_process_outlives_its_supervisor(hub: Hub) -> None:
    family = hub.family()
    assert hub.process is not None
    hub.process.kill()
    try:
        until(lambda: all(gone(pid) for pid in family), 5)
    finally:
        for pid in family:
            if not gone(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_child_that_is_killed_is_started_again_within_two_seconds(hub: Hub) -> None:
    """Started: how long Python then takes to load depends on what else the machine does."""
    for role in ("listen", "celery deliver" if "celery deliver" in hub.family().values() else "deliver"):
        old = min(pid for pid, one in hub.family().items() if one == role)
        os.kill(old, signal.SIGKILL)
        until(lambda role=role, old=old: any(one == role and pid > old for pid, one in hub.family().items()), 2)
    until(hub.listening, 90)
