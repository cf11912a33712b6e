"""Messages on their way out: what a target is given, what it gives back, and what a target is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from hub.domain.errors import HubError, Refused


@dataclass(slots=True)
class Outbound:
    """One message on its way to a target, with all that an adapter needs to build it now, from the current state.

    For a webhook `event` is the event's body as stored. For a system of record `resource` is the *current* canonical
    document, `changed` the fields that this message is about, `patient` the current golden record it belongs to.
    """

    message_id: int
    channel: str
    type: str  # "patient.updated", "appointment.created", …
    at: int  # µs: when the change was made
    attempt: int
    kind: str
    resource_id: str
    version: int
    resource: dict[str, Any]
    changed: list[str]
    patient_id: str
    patient: dict[str, Any]
    event: dict[str, Any] | None = None
    peer_id: str | None = None  # how the target names this resource, learnt from an earlier delivery
    peer_etag: str | None = None
    patient_peer_id: str | None = None
    body: bytes | None = None  # passed through: the message as it was received; then there is no resource
    charset: str = ""  # of `body`, a Python codec
    # Where `changed` names slots of a list (telecom.mobile), so that others' entries beside ours can be told from ours:
    said: Mapping[str, Any] = field(default_factory=dict)  # canonical field -> value that the target's system was last sent
    before: Mapping[str, Any] = field(default_factory=dict)  # the document before this change; {} where it is not kept

    @property
    def as_received(self) -> bytes:
        """What is passed through. Raises Refused where retention has erased it, or where this is a change."""
        if self.body is None:
            raise Refused("there is no body to pass on: it was erased, or this is a change", code="no_body")
        return self.body


@dataclass(slots=True)
class Delivered:
    """The target confirmed. What it told us of itself is kept for the next time."""

    peer_id: str | None = None
    peer_etag: str | None = None
    sent: bytes = b""  # bytes as sent, kept encrypted with the attempt
    answer: bytes = b""  # bytes as answered
    detail: str = ""  # free of patient data: "201", "AA"
    sent_fields: Mapping[str, Any] = field(default_factory=dict)  # canonical field -> value as sent: recognises its echo
    confirms: bool = True  # False: the target took it but has not decided yet


class Target(Protocol):
    """An outbound channel, built from its settings. Thread-safe; blocking; every call bounded in time.

    `send` returns Delivered or raises one of NotDelivered, OutcomeUnknown, Refused, Misconfigured: nothing else.
    """

    resend_is_safe: bool

    def send(self, message: Outbound) -> Delivered: ...

    def find(self, message: Outbound) -> Delivered | None:
        """After OutcomeUnknown, where a resend is not safe: did the target act? None: it did not."""
        ...

    def ping(self) -> str:
        """Ask the target whether it is there: a line for people. Raises as `send` does."""
        ...

    def close(self) -> None: ...


class Lines(Protocol):
    """Many messages on their way to one target at once. Driven by one thread; no call blocks or raises.

    Only for targets whose `resend_is_safe`.
    """

    def fileno(self) -> int:
        """Readable as soon as `turn` has something to do."""
        ...

    def begin(self, message: Outbound) -> None:
        """Takes it on; it goes out with the next `turn`."""
        ...

    def turn(self) -> list[tuple[Outbound, Delivered | HubError]]:
        """Sends and reads what can be sent and read now; what ended. To be called every moment, for the time-outs."""
        ...

    def close(self) -> None:
        """What is still on its way is given up: nobody knows what became of it."""
        ...


@runtime_checkable
class ManyAtOnce(Protocol):
    """A target that needs no thread a message."""

    at_once: int  # how many messages may be on their way

    def lines(self, most: int) -> Lines:
        """Up to `most` messages on their way at once."""
        ...


@runtime_checkable
class OfFiles(Protocol):
    """A target that is built of more than its channel's settings: a map file."""

    def outdated(self) -> bool:
        """Whether those files say something else now; asked at a reload."""
        ...
