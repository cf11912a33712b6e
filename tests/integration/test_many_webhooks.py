"""Webhooks by one thread over real sockets: all of them, once, in order per patient; what a reload does to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from hub.adapters.crm.webhook import Settings, WebhookTarget
from hub.config import Secret, load
from hub.domain.ports import Delivered, Outbound
from hub.simulator.crm import CrmPeer
from hub.simulator.faults import Fault
from hub.sync.deliver import Courier
from tests.hub_kit import Kit, adt


@pytest.fixture
def crm() -> Iterator[CrmPeer]:
    peer = CrmPeer()
    peer.start()
    yield peer
    peer.stop()


def posts_to(peer: CrmPeer, kit: Kit, seconds: float = 5.0) -> WebhookTarget:
    target = WebhookTarget(Settings(url=peer.url, secrets=(Secret(peer.secrets[0]),), timeout_seconds=seconds))
    kit.hub.targets()["crm"].target = target
    return target


def versions(peer: CrmPeer) -> dict[str, list[int]]:
    """By resource, in the order in which they came."""
    found: dict[str, list[int]] = {}
    for event in peer.received:
        found.setdefault(event.data["id"], []).append(event.data["version"])
    return found


def test_all_go_out_once_and_each_patients_in_order(kit: Kit, crm: CrmPeer) -> None:
    target = posts_to(crm, kit)
    for number in range(40):
        kit.receive(adt("A28", str(number)), *(adt("A31", str(number), phone=f"010-1111-{n:04}") for n in range(4)))
    kit.apply()
    waiting = kit.rows("SELECT COUNT(*) FROM work WHERE channel = 'crm'")[0][0]
    kit.deliver()
    target.close()
    assert waiting >= 40
    assert len(crm.received) == waiting
    assert crm.counts["duplicate"] == 0
    assert all(seen == sorted(set(seen)) for seen in versions(crm).values())
    assert kit.rows("SELECT COUNT(*) FROM work WHERE channel = 'crm'") == [(0,)]


def test_lost_answers_and_refused_connections_lose_and_invert_nothing(kit: Kit, crm: CrmPeer) -> None:
    target = posts_to(crm, kit, seconds=0.3)
    kit.hub.targets()["crm"].breaker.failures_to_open = 1000
    kit.hub.targets()["crm"].retry = type(kit.hub.targets()["crm"].retry)(0.01, 0.02, 1000)
    for number in range(6):
        kit.receive(adt("A28", str(number)), *(adt("A31", str(number), phone=f"010-2222-{n:04}") for n in range(3)))
    kit.apply()
    faults = [Fault.ANSWER_LOST, Fault.HANG_UP, Fault.GARBAGE, Fault.BUSY]
    ends = time.monotonic() + 20
    while time.monotonic() < ends and kit.rows("SELECT COUNT(*) FROM work WHERE channel = 'crm'") != [(0,)]:
        if faults:
            crm.misbehave(faults.pop())
        else:
            crm.behave()
        for _ in range(10):
            kit.courier.step(kit.leases["out"])
    target.close()
    assert kit.rows("SELECT state FROM work WHERE channel = 'crm'") == []
    assert all(seen == sorted(seen) for seen in versions(crm).values())


def test_a_reload_closes_the_target_that_it_replaces_after_its_last_answer(kit: Kit) -> None:
    old, going, go = kit.target(), threading.Event(), threading.Event()
    closed: list[bool] = []

    def slowly(_message: Outbound) -> Delivered:
        going.set()
        go.wait(5)
        return Delivered(detail="204")

    old.send = slowly  # type: ignore[method-assign]
    old.close = lambda: closed.append(go.is_set())  # type: ignore[method-assign]
    kit.receive(adt("A28", "1"))
    kit.apply()
    kit.courier.step(kit.leases["out"])
    assert going.wait(5)
    changed(kit)
    kit.courier.step(kit.leases["out"], wait=0.01)
    assert closed == []
    go.set()
    ends = time.monotonic() + 5
    while (kit.courier.busy or not closed) and time.monotonic() < ends:
        kit.courier.step(kit.leases["out"])
    assert closed == [True]
    assert kit.rows("SELECT COUNT(*) FROM work WHERE channel = 'crm'") == [(0,)]


def test_a_reload_lets_webhooks_on_their_way_end_and_closes_their_connections(kit: Kit, crm: CrmPeer) -> None:
    target = posts_to(crm, kit)
    closed: list[int] = []
    close = target.close
    target.close = lambda: (closed.append(len(crm.received)), close())[1]  # type: ignore[method-assign]
    kit.receive(adt("A28", "1"), adt("A28", "2"))
    kit.apply()
    kit.courier.step(kit.leases["out"])
    kit.courier.step(kit.leases["out"], wait=0.0)  # they are out, and nobody has read the answers
    changed(kit)
    ends = time.monotonic() + 5
    while (kit.courier.busy or not closed) and time.monotonic() < ends:
        kit.courier.step(kit.leases["out"])
    assert closed
    assert len(crm.received) <= 2
    assert crm.counts["duplicate"] == 0


def test_what_waits_for_a_channel_that_is_gone_holds_nobody_back(kit: Kit) -> None:
    for number in range(8):
        kit.receive(adt("A28", str(number)))
    kit.apply()
    with kit.hub.store.transaction() as tx:
        tx.execute("UPDATE work SET channel = 'gone' WHERE channel = 'crm'")
    kit.receive(adt("A28", "9"))
    kit.apply()
    kit.courier = Courier(kit.hub.store, kit.hub.keys, kit.hub.targets, capacity=2)
    kit.deliver()
    assert [m.resource_id for m in kit.target().sent] == [kit.patient_id("9")]
    assert kit.rows("SELECT COUNT(*) FROM work WHERE channel = 'gone' AND state = 'queued'") == [(8,)]


def changed(kit: Kit) -> None:
    """The crm channel of a reloaded configuration is another one, and posts to nobody."""
    path = kit.hub.config.path
    path.write_text(path.read_text(encoding="utf-8").replace("max_attempts = 3", "max_attempts = 5", 1), encoding="utf-8")
    kit.hub.reload(load(path))
