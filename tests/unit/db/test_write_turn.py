"""The write turn of SQLite: one at a time among threads and processes, given back by the dead, intake first."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from hub.db.engine import WriteTurn, write_turn

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys
from pathlib import Path
from hub.db.engine import WriteTurn
with WriteTurn(Path(sys.argv[1])).take(urgent=sys.argv[2] == "urgent"):
    print("mine", flush=True)
    sys.stdin.read()
"""
COUNTER = """
import sys
from pathlib import Path
from hub.db.engine import WriteTurn
turn, file = WriteTurn(Path(sys.argv[1])), Path(sys.argv[1]) / "n"
for _ in range(100):
    with turn.take():
        file.write_text(str(int(file.read_text()) + 1))
"""


def spawn(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@contextmanager
def holder(folder: Path, how: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that has the turn."""
    process = spawn(HOLDER, str(folder), how)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "mine\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def has_turn_within(turn: WriteTurn, seconds: float, *, urgent: bool = False) -> bool:
    got = threading.Event()

    def wait() -> None:
        with turn.take(urgent=urgent):
            got.set()

    threading.Thread(target=wait, daemon=True).start()
    return got.wait(seconds)


def test_threads_take_turns(tmp_path: Path) -> None:
    turn, inside, most = WriteTurn(tmp_path), 0, 0

    def write() -> None:
        nonlocal inside, most
        for _ in range(50):
            with turn.take(urgent=threading.get_ident() % 2 == 0):
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (inside, most) == (0, 1)


def test_processes_take_turns(tmp_path: Path) -> None:
    (tmp_path / "n").write_text("0")
    processes = [spawn(COUNTER, str(tmp_path)) for _ in range(3)]
    assert [p.communicate(timeout=30)[1] is None and p.returncode for p in processes] == [0, 0, 0]
    assert (tmp_path / "n").read_text() == "300"


@pytest.mark.parametrize("how", ["", "urgent"])
def test_a_killed_process_gives_its_turn_back(tmp_path: Path, how: str) -> None:
    turn = WriteTurn(tmp_path)
    with holder(tmp_path, how) as process:
        assert not has_turn_within(turn, 0.2)
        os.kill(process.pid, 9)
        assert has_turn_within(turn, 5)


def test_an_error_gives_the_turn_back(tmp_path: Path) -> None:
    turn = WriteTurn(tmp_path)
    with pytest.raises(ZeroDivisionError), turn.take():
        raise ZeroDivisionError
    assert has_turn_within(turn, 5)


def test_intake_waits_for_one_at_most(tmp_path: Path) -> None:
    """Of many who queue, one stands at the turn and the others at the gate, which the urgent pass by; that one lets them by."""
    turn, order = WriteTurn(tmp_path), []

    def write(name: str, urgent: bool) -> None:
        with turn.take(urgent=urgent):
            order.append(name)
            time.sleep(0.01)

    with holder(tmp_path) as process:
        crowd = [threading.Thread(target=write, args=("apply", False)) for _ in range(8)]
        for thread in crowd:
            thread.start()
        time.sleep(0.3)
        urgent = threading.Thread(target=write, args=("intake", True))
        urgent.start()
        time.sleep(0.3)
        process.kill()
        for thread in [*crowd, urgent]:
            thread.join(10)
    assert order.index("intake") == 0
    assert len(order) == 9


def test_haste_without_end_starves_nobody(tmp_path: Path) -> None:
    """Between two turns of one who is not urgent, each of three in haste has a few, and no more."""
    turn, done, hasty = WriteTurn(tmp_path), threading.Event(), 0

    def intake() -> None:
        nonlocal hasty
        while not done.is_set() and hasty < 400:
            with turn.take(urgent=True):
                hasty += 1
                time.sleep(0.002)
            time.sleep(0.001)

    crowd = [threading.Thread(target=intake) for _ in range(3)]
    for thread in crowd:
        thread.start()
    try:
        while hasty < 10:
            time.sleep(0.001)
        passed: list[int] = []
        while len(passed) < 20:
            at = hasty
            with turn.take():
                passed.append(hasty - at)
                time.sleep(0.001)
    finally:
        done.set()
        for thread in crowd:
            thread.join(10)
    assert len(passed) == 20
    assert sum(passed) <= 20 * 2 * len(crowd)
    assert max(passed) <= 8 * len(crowd)


def test_the_gate_opens_when_one_dies_at_the_door(tmp_path: Path) -> None:
    """Killed while it gave its turn away: the door is not left shut to intake."""
    turn = WriteTurn(tmp_path)
    with holder(tmp_path) as first:
        hasty = threading.Event()

        def intake() -> None:
            with turn.take(urgent=True):
                hasty.wait(10)

        in_haste = threading.Thread(target=intake)
        waiting = spawn(HOLDER, str(tmp_path), "")
        try:
            time.sleep(0.5)
            in_haste.start()
            time.sleep(0.1)
            first.kill()
            time.sleep(0.1)
        finally:
            waiting.kill()
            waiting.communicate()
            hasty.set()
            in_haste.join(10)
    assert has_turn_within(turn, 5, urgent=True)
    assert has_turn_within(turn, 5)


def test_only_a_sqlite_file_needs_a_turn(tmp_path: Path) -> None:
    assert write_turn(make_url(f"sqlite:///{tmp_path}/hub.db")) is not None
    assert write_turn(make_url("sqlite://")) is None
    assert write_turn(make_url("postgresql+psycopg://hub@db/hub")) is None
