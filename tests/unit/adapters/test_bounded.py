"""Calls into a driver that may hang: each has an end, and what hangs is left behind, counted, and tidied up when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.domain.errors import NotDelivered
from hub.transport import odbc_write
from hub.transport.bounded import MOST_LEFT_BEHIND, Bounded, NeverEndedError, left_behind
from hub.transport.odbc_write import Session


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_call_gives_and_raises_what_the_work_does() -> None:
    ended = threading.Event()
    bounded = Bounded("test", ended.set)
    assert bounded.call(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        bounded.call(lambda: 1 // 0, 5)
    bounded.end()
    assert ended.wait(5)


def test_a_call_that_hangs_is_left_behind_until_it_ends() -> None:
    hang, ended = threading.Event(), threading.Event()
    bounded = Bounded("test", ended.set)
    before = left_behind()
    with pytest.raises(NeverEndedError):
        bounded.call(hang.wait, 0.02)
    assert left_behind() == before + 1
    assert not ended.is_set()
    hang.set()
    assert ended.wait(5)
    until(lambda: left_behind() == before)


def test_with_too_many_left_behind_nothing_more_is_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(odbc_write, "left_behind", lambda: MOST_LEFT_BEHIND)
    session = Session("DRIVER={x}", "mariadb", utf8=True, connect_seconds=1, seconds=1, ghosts=set())
    with pytest.raises(NotDelivered, match="hangs in too many calls") as caught:
        session.query("SELECT 1")
    assert caught.value.reached is False
