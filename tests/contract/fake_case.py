"""The in-memory target, held to the same contract as the adapters that it stands in for."""

from __future__ import annotations

from hub.simulator import fake
from hub.simulator.fake import FakePeer, FakeTarget
from tests.contract.case import Case, patient_updated


def _case(name: str, *, safe: bool) -> Case:
    return Case(
        name=name,
        module=fake,
        peer=lambda _tls: FakePeer(),
        table=lambda _peer: {},
        message=patient_updated,
        effects=lambda peer: len(peer.received),
        target=lambda peer: FakeTarget(peer, resend_is_safe=safe),
    )


CASES = [_case("fake", safe=True), _case("fake-asked", safe=False)]
