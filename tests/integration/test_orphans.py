"""What a killed worker held is worked on at once; what a living one holds is left alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hub.bootstrap.orphans import Orphans
from hub.domain.lifecycle import State
from hub.domain.rows import WorkState
from hub.domain.store import Lease, LeaseLost
from hub.sync.owner import owner_name
from tests.hub_kit import Kit, adt


@pytest.fixture
def dead() -> str:
    """The name of a worker whose process has ended."""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    place, _, thread, role = owner_name("out").rsplit(":", 3)
    return f"{place}:{child.pid}:{thread}:{role}"


def hand_over(kit: Kit, owner: str, in_flight: int) -> None:
    """`owner` holds every lease, and has claimed one message that is on its way for two more minutes."""
    with kit.hub.store.transaction() as tx:
        for lease in kit.leases.values():
            tx.release(lease)
        for direction in ("in", "out"):
            assert tx.take(owner, direction, range(kit.hub.buckets), 99, 600)
        tx.write([WorkState(in_flight, State.IN_FLIGHT, 1, tx.now + 120_000_000, "")])


def waiting(kit: Kit) -> int:
    return int(kit.rows("SELECT message_id FROM work WHERE direction = 'out' ORDER BY message_id")[0][0])


def test_leases_and_claims_of_a_dead_worker_are_free_at_once(kit: Kit, dead: str) -> None:
    kit.receive(adt("A04", "100"))
    kit.apply()
    hand_over(kit, dead, waiting(kit))
    woken: list[str] = []
    orphans = Orphans(kit.hub.store, woken.append)
    assert orphans.look() == [dead]
    assert orphans.look() == []
    assert woken == ["in", "out"]
    kit.leases = {d: kit._take(d) for d in ("in", "out")}
    kit.deliver()
    assert "patient.created" in kit.target().types()
    assert kit.rows("SELECT 1 FROM work") == []


def test_what_a_living_worker_holds_stays_with_it(kit: Kit) -> None:
    kit.receive(adt("A04", "100"))
    kit.apply()
    hand_over(kit, owner_name("out"), waiting(kit))
    assert Orphans(kit.hub.store).look() == []
    assert kit.rows("SELECT COUNT(*) FROM lease WHERE owner = ?", owner_name("out")) == [(2 * kit.hub.buckets,)]
    assert kit.rows("SELECT COUNT(*) FROM work WHERE state = 'in_flight' AND due > 0") == [(1,)]


def test_a_worker_buried_by_mistake_writes_nothing_any_more(kit: Kit, dead: str) -> None:
    """The fencing token and the owner's name are looked at in each of its transactions."""
    kit.receive(adt("A04", "100"))
    kit.apply()
    hand_over(kit, dead, waiting(kit))
    token = int(kit.rows("SELECT MAX(token) FROM lease WHERE owner = ?", dead)[0][0])
    names = tuple(r[0] for r in kit.rows("SELECT name FROM lease WHERE owner = ? ORDER BY name", dead) if r[0].startswith("out:"))
    Orphans(kit.hub.store).look()
    with pytest.raises(LeaseLost):
        kit.courier.step(Lease(dead, names, token))
    assert kit.target().sent == []
