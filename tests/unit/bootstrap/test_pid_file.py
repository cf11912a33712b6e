"""One hub a folder: who holds the pid file, and what becomes of it when its holder ends, cleanly or not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hub.bootstrap.pid_file import PidFile
from hub.domain.errors import HubError


def test_a_second_holder_is_refused_by_the_first_ones_number_and_may_come_later(tmp_path: Path) -> None:
    path = tmp_path / "hub.pid"
    first = PidFile(path)
    assert path.read_text() == f"{os.getpid()}\n"
    with pytest.raises(HubError, match=f"process {os.getpid()} runs this folder already") as refused:
        PidFile(path)
    assert refused.value.code == "already_running"
    assert path.exists()
    first.release()
    assert not path.exists()
    PidFile(path).release()


def test_a_pid_that_is_not_ours_stays(tmp_path: Path) -> None:
    path = tmp_path / "hub.pid"
    mine = PidFile(path)
    path.write_text("1\n")
    mine.release()
    assert path.read_text() == "1\n"


def test_a_child_neither_frees_nor_keeps_what_its_parent_holds(tmp_path: Path) -> None:
    """The parent is killed at once (SIGKILL); its child, which said `forked`, lives on."""
    path, (told, tell), (freed, free) = tmp_path / "hub.pid", os.pipe(), os.pipe()
    parent = os.fork()
    if not parent:
        mine = PidFile(path)
        if not os.fork():
            os.close(free)
            mine.forked()
            os.write(tell, b"x")
            os.read(freed, 1)  # until the test ends
            os._exit(0)
        signal.pause()
    os.close(freed)
    assert os.read(told, 1) == b"x"
    with pytest.raises(HubError, match=f"process {parent} runs"):
        PidFile(path)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    PidFile(path).release()
    for end in (told, tell, free):
        os.close(end)
