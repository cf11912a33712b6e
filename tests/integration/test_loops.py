"""A loop that is told to stop finishes what is on its way, takes nothing new, and gives its lease back."""

import threading
import time

import pytest

from hub.domain.ports import Delivered, Outbound
from hub.domain.store import Lease
from hub.sync.loops import DeliverStepper, Loop
from tests.hub_kit import Kit, adt


def test_stopping_ends_in_time_under_load(kit: Kit) -> None:
    for number in range(60):
        kit.receive(adt("A28", str(number)))
    kit.apply()
    with kit.hub.store.transaction() as tx:
        tx.release(kit.leases["out"])
    sent: list[int] = []

    def slowly(message: Outbound) -> Delivered:
        time.sleep(0.05)
        sent.append(message.message_id)
        return Delivered(detail="204")

    kit.target().send = slowly
    kit.hub.targets()["crm"].threads = 2
    stop = threading.Event()
    loop = Loop(kit.hub.store, DeliverStepper(kit.hub.courier()), kit.hub.buckets, kit.hub.buckets)
    thread = threading.Thread(target=loop.run, args=(stop.is_set,))
    thread.start()
    time.sleep(0.3)
    began = time.monotonic()
    stop.set()
    thread.join(8)
    assert not thread.is_alive()
    assert time.monotonic() - began < 7
    assert sent
    held = kit.rows("SELECT COUNT(*) FROM lease WHERE owner NOT IN ('', 'kit')")
    assert held == [(0,)]
    assert kit.rows("SELECT COUNT(*) FROM work WHERE state = 'in_flight'") == [(0,)]


class Torn:
    """A step that SIGTERM or a time limit ends from outside."""

    direction = "in"
    taking = True

    def step(self, _lease: Lease) -> int:
        raise SystemExit

    def busy(self) -> bool:
        return False

    def close(self) -> None:
        return


def test_who_is_torn_out_of_a_step_gives_its_lease_back_as_one_who_died(kit: Kit) -> None:
    kit.receive(adt("A28", "1"))
    with kit.hub.store.transaction() as tx:
        tx.release(kit.leases["in"])
    with pytest.raises(SystemExit):
        Loop(kit.hub.store, Torn(), kit.hub.buckets, kit.hub.buckets).drain(lambda _moved: True)
    with kit.hub.store.transaction() as tx:
        lease = tx.take("next", "in", range(kit.hub.buckets), kit.hub.buckets, 10.0)
    assert lease is not None
    assert lease.inherited
