"""A message on which the map hangs: its worker is killed, and after three of them it is dead and its neighbours go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.bootstrap.child import Child, fork
from hub.bootstrap.signals import Signals
from hub.bootstrap.watchdog import Beat, Watched
from hub.domain.store import Lease
from hub.worker import DRAIN_SECONDS, FINISH_SECONDS, VISIBILITY_SECONDS, settings
from tests import servers
from tests.hub_kit import adt
from tests.integration.test_hub_run import answers, hub, init, status, until

# `hub run` as it is, but for a step's limit and for a map function that never comes back.
MAP = """
import threading
import time
from hub.bootstrap import channels
usual = channels.Hl7Mapper.__call__
def mapped(self, body, *rest):
    if b"HANGS" in body:
        time.sleep(1000)
    return usual(self, body, *rest)
channels.Hl7Mapper.__call__ = mapped
"""
RUN = """
import sys
import hanging_map
from hub.bootstrap import supervise, sweeper
from hub.cli import main
supervise.STEP_SECONDS = 1.0
sweeper.Sweeper._work = lambda *_: None  # it wakes the workers, and leaves the work to them
usual = supervise.spawn
supervise.spawn = lambda command, env: usual(["hanging_worker" if word == "hub.worker" else word for word in command], env)
sys.argv = ["hub", "run", "--config", sys.argv[1], "--log-format", "json"]
main()
"""
WORKER = """
import hanging_map
from hub.worker import app
app.conf.update(task_soft_time_limit=None, task_time_limit=2)
"""


def start(folder: Path, ports: tuple[int, int]) -> subprocess.Popen[bytes]:
    for name, text in (("hanging_map", MAP), ("hanging_worker", WORKER)):
        (folder / f"{name}.py").write_text(text)
    with (folder / "run.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(folder / "hub.toml")],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(folder)},
            preexec_fn=lambda: servers.die_with(signal.SIGKILL),  # noqa: PLW1509 - a call into libc that takes no lock
        )
    until(lambda: process.poll() is None and answers(ports[0]), 60)
    return process


def counts(folder: Path) -> tuple[int, int]:
    channel = status(folder)["channels"]["ocs-in"]
    return channel["done"], channel["dead"]


class Slow:
    direction = "in"
    taking = True

    def __init__(self, beat: Beat) -> None:
        self.beat = beat
        self.seen = 0.0

    def step(self, lease: Lease) -> int:
        time.sleep(0.05)
        self.seen = self.beat.seconds()
        return 7

    def busy(self) -> bool:
        return False

    def close(self) -> None:
        return


def test_a_step_is_seen_while_it_goes_on_and_not_after_it() -> None:
    beat = Beat()
    slow = Slow(beat)
    assert Watched(slow, beat).step(Lease("o", ("in:0",), 1)) == 7
    assert slow.seen >= 0.05
    assert beat.seconds() == 0.0


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[Signals]:
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # pytest's own threads hold nothing that these children want
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)}
    made = Signals()
    yield made
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_child_is_killed_only_where_its_step_hangs_and_is_started_again(signals: Signals) -> None:
    beat = Beat()

    def work() -> int:
        beat.begin()
        time.sleep(60)
        return 0

    one = Child("apply", lambda: fork("apply", work), (Beat(), beat))
    one.start()
    until(lambda: beat.seconds() > 0.1)
    first = one.pid
    one.end_if_hanging(5.0)
    assert one.ended() is None
    one.end_if_hanging(0.05)
    until(one.revive)
    assert one.pid not in (0, first)
    assert one.deaths == 1
    one.wait(signals, time.monotonic())
    assert one.ended() is None
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_child_tells_its_exit_code_and_hears_a_signal_that_came_before_it_was_ready(signals: Signals) -> None:
    def obey() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        signals.forked()
        os.kill(os.getpid(), signal.SIGHUP)
        signals.wait(5.0)
        return 40 + 2 * signals.stop + signals.reload

    one = Child("keep", lambda: fork("keep", obey))
    one.start()
    codes: list[int | None] = []
    until(lambda: codes.append(one.ended()) or codes[-1] is not None)  # type: ignore[func-returns-value]
    assert codes[-1] == 43
    assert not signals.stop


def nine_and_one_that_hangs(folder: Path, ports: tuple[int, int], seconds: float) -> str:
    """The log of a hub that came through it."""
    bodies = [adt("A04", f"{n}", name="HANGS^길동" if n == 5 else "홍^길동", control=f"W{n}") for n in range(1, 11)]
    (folder / "feed.hl7").write_bytes(b"".join(bodies))
    process = start(folder, ports)
    try:
        hub(folder, "send", folder / "feed.hl7", "--channel", "ocs-in", "--json")
        until(lambda: counts(folder) == (9, 1), seconds)
    finally:
        servers.stop(process)
    assert process.returncode == 0
    return (folder / "run.log").read_text()


@pytest.mark.slow
def test_a_message_on_which_the_map_hangs_ends_dead_and_its_neighbours_are_applied(tmp_path: Path) -> None:
    _, ports = init(tmp_path)
    log = nine_and_one_that_hangs(tmp_path, ports, 60)
    assert 3 <= log.count("a step never ended") <= 5, log
    assert "길동" not in log


# `hub run` as it is, but for a step's limit and for one call that hangs once, as soon as a file says so.
HANG_ONCE = """
import pathlib, sys, time
from hub.bootstrap import keeper, runtime, supervise
from hub.cli import main
from hub.sync import deliver
config, owner, name = sys.argv[1:]
supervise.STEP_SECONDS = 1.5
flag = pathlib.Path(config).with_name("hang")
cls = {"Listeners": runtime.Listeners, "Keeper": keeper.Keeper, "Courier": deliver.Courier}[owner]
usual = getattr(cls, name)
def hanging(self, *args, **more):
    if flag.exists():
        flag.unlink()
        time.sleep(1000)
    return usual(self, *args, **more)
setattr(cls, name, hanging)
sys.argv = ["hub", "run", "--config", config, "--log-format", "json"]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("role", "owner", "name"), [("listen", "Listeners", "_watch"), ("keep", "Keeper", "_tidy"), ("deliver", "Courier", "step")]
)
def test_a_role_that_hangs_is_started_again(tmp_path: Path, role: str, owner: str, name: str) -> None:
    _, ports = init(tmp_path)
    with (tmp_path / "run.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", HANG_ONCE, str(tmp_path / "hub.toml"), owner, name],
            stdout=log,
            stderr=log,
            preexec_fn=lambda: servers.die_with(signal.SIGKILL),  # noqa: PLW1509 - as above
        )
    try:
        until(lambda: process.poll() is None and answers(ports[0]), 60)
        (tmp_path / "hang").touch()
        until(lambda: f'"role":"{role}"' in (tmp_path / "run.log").read_text().replace(" ", ""), 20)
        (tmp_path / "feed.hl7").write_bytes(adt("A04", "1", control="W1"))
        until(lambda: answers(ports[0]), 20)
        hub(tmp_path, "send", tmp_path / "feed.hl7", "--channel", "ocs-in", "--json")
        until(lambda: counts(tmp_path) == (1, 0), 20)
    finally:
        servers.stop(process)
    said = (tmp_path / "run.log").read_text()
    assert said.count("a step never ended") == 1, said
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.redis
def test_so_it_does_where_celery_kills_the_task(tmp_path: Path, postgres_url: str, redis: servers.Redis) -> None:
    _, ports = init(tmp_path, "--database", postgres_url, "--broker", redis.url)
    log = nine_and_one_that_hangs(tmp_path, ports, 120)
    assert "ForkPoolWorker" in log  # whose process Celery's hard limit killed
    assert log.count("ready: ") == 1
    assert "길동" not in log


def test_a_drain_that_goes_well_ends_before_celery_would_kill_it() -> None:
    limits = settings("redis://127.0.0.1/0")
    assert DRAIN_SECONDS + FINISH_SECONDS < limits["task_soft_time_limit"] < limits["task_time_limit"] < VISIBILITY_SECONDS
