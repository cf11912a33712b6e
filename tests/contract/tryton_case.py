"""Tryton's parties against the simulated Tryton: those that it knows, and those that it gets to know."""

from __future__ import annotations

import ssl
from typing import Any

from hub.adapters.erp import tryton
from hub.config import Secret
from hub.domain.errors import NotDelivered
from hub.simulator.faults import Fault
from hub.simulator.tryton import DATABASE, PASSWORD, USER, TrytonPeer
from tests.contract.case import NUMBER, Case, Expect, patient_updated

TIMEOUT = 0.5
DONE = Expect(None, acted=True)
# Faults of a new connection meet a read: tried again at once, or given up when it took all the time there is
RETRIED = {Fault.HANG_UP: DONE, Fault.HALF_OPEN: Expect(NotDelivered, acted=False)}
LOST = (Fault.ANSWER_LOST, Fault.ANSWER_CUT, Fault.WRONG_ANSWER, Fault.GARBAGE, Fault.SLOW)
FOUND = dict.fromkeys(LOST, DONE)  # a create whose answer was lost is looked up by its identifier at once


def _empty(tls: ssl.SSLContext | None) -> TrytonPeer:
    peer = TrytonPeer(tls=tls)
    peer.faults_at_writes = True
    return peer


def _known(tls: ssl.SSLContext | None) -> TrytonPeer:
    peer = _empty(tls)
    for n in range(100):
        mechanisms = [["create", [{"type": "mobile", "value": "010-1111-2222"}]]]
        peer.add_party(f"{NUMBER}-{n}", "홍길동", contact_mechanisms=mechanisms)
    return peer


def table(peer: TrytonPeer) -> dict[str, Any]:
    """What hub.toml says of it."""
    return {"url": peer.url, "database": DATABASE, "user": USER, "password": Secret(PASSWORD), "timeout_seconds": TIMEOUT}


def _case(name: str, peer: Any, expected: dict[Fault, Expect]) -> Case:
    return Case(
        name=name,
        module=tryton,
        peer=peer,
        table=lambda peer: {**table(peer), "create": True},
        message=patient_updated,
        effects=lambda peer: len(peer.received),
        expected=expected,
        same_bytes=False,  # the second time there is nothing to write
        timeout=TIMEOUT,
    )


CASES = [_case("erp.tryton-known", _known, RETRIED), _case("erp.tryton-new", _empty, RETRIED | FOUND)]
