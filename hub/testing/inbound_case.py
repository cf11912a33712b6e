"""What the contract suite must know of an inbound adapter: one case each, as `CASES = [...]` in the module that runs it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from hub.domain.errors import HubError, Misconfigured, NotDelivered, Refused
from hub.simulator.faults import Fault

Seen = type[HubError] | tuple[type[HubError], ...] | None

# What a fault at the source means to whoever asks it. A question changes nothing, so no outcome is ever unknown: it is asked
# again. None: the answer is good all the same.
POLL_EXPECTED: Mapping[Fault, Seen] = {
    Fault.CLOSED: NotDelivered,
    Fault.HANG_UP: NotDelivered,
    Fault.HALF_OPEN: NotDelivered,
    Fault.TLS_WRONG: Misconfigured,
    Fault.SILENT: NotDelivered,
    Fault.ANSWER_LOST: NotDelivered,
    Fault.ANSWER_CUT: NotDelivered,
    Fault.WRONG_ANSWER: (NotDelivered, Misconfigured),
    Fault.GARBAGE: NotDelivered,
    Fault.SLOW: NotDelivered,
    Fault.REFUSE: (Misconfigured, Refused),
    Fault.BUSY: NotDelivered,
    Fault.CLOSE_AFTER: None,
}


@dataclass(frozen=True)
class PolledCase:
    """One adapter that asks, and its simulated or real source.

    `table` is what hub.toml would say, with time-outs of about half a second. `tell(peer, n)`: the n-th patient is at the source
    from now on, with the number `number(n)`, and personal values that are canaries. `maps`: an overlay, where the shipped maps do
    not know what comes. `expected` overrides POLL_EXPECTED.
    """

    name: str
    module: ModuleType  # MANIFEST, Settings, build
    peer: Callable[[ssl.SSLContext | None], Any]  # not started yet
    table: Callable[[Any], dict[str, Any]]
    tell: Callable[[Any, int], None]
    number: Callable[[int], str]
    maps: str = ""
    system: str = "ocs"
    expected: Mapping[Fault, Seen] = field(default_factory=dict)
    faults: Collection[Fault] = tuple(Fault)  # those that its peer can show
    arm: Callable[[Any, Fault], None] = lambda peer, fault: peer.misbehave(fault, None)
    timeout: float = 0.5  # seconds that one call waits for an answer

    def expect(self, fault: Fault) -> Seen:
        return self.expected.get(fault, POLL_EXPECTED[fault])

    def channel(self, peer: Any, **more: Any) -> dict[str, Any]:
        """The channel's table of hub.toml."""
        return {"adapter": self.module.MANIFEST.name, "system": self.system, **self.table(peer), **more}


@dataclass(frozen=True)
class ListenedCase:
    """One adapter that is sent to. What the suite does to it is done by a sender: see hub.testing.listened.

    `frame(n)`: the bytes of the n-th patient's message, number `number(n)`. `answers(received)`: of the bytes that came back, how
    many whole answers; `positive`: whether the first says that the message is stored. `garbage`: bytes of another protocol.
    """

    name: str
    module: ModuleType
    table: dict[str, Any]  # with port = 0
    frame: Callable[[int], bytes]
    number: Callable[[int], str]
    answers: Callable[[bytes], int]
    positive: Callable[[bytes], bool]
    maps: str = ""
    system: str = "ocs"
    tls: Mapping[str, str] = field(default_factory=lambda: {"certificate": "tls_cert", "key": "tls_key"})  # the settings' names
    garbage: bytes = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"
    patience: float = 5.0  # seconds that a sender waits
    greeting: bytes = b""  # what a sender says first, once a connection; its answer counts as none

    def channel(self, **more: Any) -> dict[str, Any]:
        return {"adapter": self.module.MANIFEST.name, "system": self.system, **self.table, **more}
