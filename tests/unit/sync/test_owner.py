"""Whether the worker behind a lease is alive: never guessed, because two workers on one lane would be the worse mistake."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from hub.sync.owner import is_dead, owner_name


def of_pid(pid: int) -> str:
    place, _, thread, role = owner_name("out").rsplit(":", 3)
    return f"{place}:{pid}:{thread}:{role}"


def test_this_process_is_alive() -> None:
    assert not is_dead(owner_name("in"))


def test_a_process_that_ended_is_dead_before_and_after_it_was_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not is_dead(of_pid(child.pid))
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still a zombie
    assert is_dead(of_pid(child.pid))
    child.wait()
    child.stdin.close()
    assert is_dead(of_pid(child.pid))


def test_of_another_users_process_nothing_is_concluded_but_that_it_lives() -> None:
    assert not is_dead(of_pid(1))


HERE = owner_name("out").split(":")[0]


@pytest.mark.parametrize(
    "owner", ["", "kit", "elsewhere/00000000:999999999:1:out", "elsewhere:999999999:1:out", f"{HERE}:x:1:out"]
)
def test_of_other_places_and_other_names_nothing_is_known(owner: str) -> None:
    assert not is_dead(owner)
