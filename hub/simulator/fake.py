"""A target without a network: takes messages in memory and misbehaves on request, exactly as the Target port promises.

For tests of whatever delivers. The contract suite holds it to the same table as the real adapters, so that a test
against it proves something.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.ports import Delivered, Manifest, Outbound
from hub.simulator.faults import Fault

MANIFEST = Manifest(name="fake", title="In-memory target", direction="out", system="crm", protocol="none", handles=("*",))
_UNREACHED = frozenset({Fault.CLOSED, Fault.HANG_UP})
_LOST_AFTER = frozenset({Fault.ANSWER_LOST, Fault.ANSWER_CUT, Fault.WRONG_ANSWER, Fault.GARBAGE, Fault.SLOW})
_LOST_BEFORE = frozenset({Fault.SILENT, Fault.HALF_OPEN})


@dataclass
class FakePeer:
    """What stands behind the target: steered like `hub.simulator.faults.Peer`. `received`: message ids acted on, each once."""

    received: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _faults: list[Fault] = field(default_factory=list)
    _standing: Fault | None = None

    def start(self) -> FakePeer:
        return self

    def stop(self) -> None:
        self.misbehave(Fault.CLOSED, None)

    def misbehave(self, fault: Fault, times: int | None = 1) -> None:
        """Show `fault` at the next `times` messages, or until `behave` where None; CLOSED always stays."""
        with self.lock:
            if times is None or fault is Fault.CLOSED:
                self._standing = fault
            else:
                self._faults += [fault] * times

    def behave(self) -> None:
        with self.lock:
            self._faults.clear()
            self._standing = None

    def take(self, message_id: int) -> None:
        """Act on a message, or raise what the hub would see of the fault that is due."""
        with self.lock:
            fault = self._faults.pop(0) if self._faults else self._standing
            if fault is not None:
                self.counts[str(fault)] += 1
            if fault is None or fault is Fault.CLOSE_AFTER or fault in _LOST_AFTER:
                if message_id in self.received:
                    self.counts["duplicate"] += 1
                else:
                    self.received.append(message_id)
        error = _seen(fault)
        if error is not None:
            raise error


def _seen(fault: Fault | None) -> HubError | None:
    if fault in _UNREACHED:
        return NotDelivered("the fake is not there", code="unreachable", reached=False)
    if fault is Fault.TLS_WRONG:
        return Misconfigured("the fake's certificate is not trusted", code="tls_untrusted")
    if fault in _LOST_BEFORE or fault in _LOST_AFTER:
        return OutcomeUnknown("the fake gave no answer", code="no_answer")
    if fault is Fault.REFUSE:
        return Refused("the fake says no", code="refused")
    if fault is Fault.BUSY:
        return NotDelivered("the fake is busy", code="busy", retry_after=7.0)
    return None


class FakeTarget:
    """Target over a FakePeer. `seconds`: how long each send takes."""

    def __init__(self, peer: FakePeer, *, resend_is_safe: bool = True, seconds: float = 0.0) -> None:
        self.peer, self.resend_is_safe, self._seconds = peer, resend_is_safe, seconds
        self.closed = False

    def send(self, message: Outbound) -> Delivered:
        if self._seconds:
            time.sleep(self._seconds)
        self.peer.take(message.message_id)
        return Delivered(peer_id=f"fake-{message.resource_id}", sent=b"%d" % message.message_id, answer=b"ok", detail="ok")

    def find(self, message: Outbound) -> Delivered | None:
        with self.peer.lock:
            return Delivered(detail="found") if message.message_id in self.peer.received else None

    def ping(self) -> str:
        error = _seen(self.peer._standing)
        if error is not None:
            raise error
        return "the fake is there"

    def close(self) -> None:
        self.closed = True
