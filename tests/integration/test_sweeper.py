"""The sweeper works on what no worker took, for a turn at a time: then a worker that is back gets the lease."""

from __future__ import annotations

import threading

import pytest

from hub.bootstrap import sweeper
from hub.bootstrap.sweeper import Sweeper
from hub.bootstrap.watchdog import Beat
from tests.hub_kit import Kit, adt


@pytest.fixture
def left(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Kit:
    """More than one step's worth of messages, and nobody who works on them."""
    monkeypatch.setattr(sweeper, "PATIENCE_US", 0)
    for number in range(250):
        kit.receive(adt("A28", str(number)))
    with kit.hub.store.transaction() as tx:
        for direction in ("in", "out"):
            if direction in kit.leases:
                tx.release(kit.leases.pop(direction))
    return kit


def waiting(kit: Kit) -> int:
    return int(kit.rows("SELECT COUNT(*) FROM work WHERE direction = 'in'")[0][0])


def owners(kit: Kit) -> list[str]:
    with kit.hub.store.transaction() as tx:
        return tx.owners()


def test_first_it_wakes_the_workers_then_it_works_and_tells_those_who_deliver(left: Kit) -> None:
    woken: list[str] = []
    one, stop = Sweeper(left.hub, woken.append, Beat()), threading.Event()
    one._sweep("in", stop)
    assert (woken, waiting(left)) == (["in"], 250)
    one._sweep("in", stop)
    assert (woken, waiting(left), owners(left)) == (["in", "in", "out"], 0, [])


def test_its_turn_ends_while_there_is_more(left: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "TURN_SECONDS", 0.0)
    one, stop = Sweeper(left.hub, None, Beat()), threading.Event()
    for _ in range(2):
        one._sweep("in", stop)
    after_a_turn = waiting(left)
    assert 0 < after_a_turn < 250
    assert owners(left) == []
    one._sweep("in", stop)  # a worker has its chance first
    assert waiting(left) == after_a_turn
