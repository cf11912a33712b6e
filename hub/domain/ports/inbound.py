"""Messages on their way in: what a listener hands to intake, what intake says of it, and what a listener is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hub.domain.facts import Key
from hub.domain.rows import MarkRow


class Verdict(StrEnum):
    """What intake says of a message that came in."""

    STORED = "stored"  # committed durably (or known already): answer positively
    TRY_AGAIN = "try_again"  # our store is down, busy or full: nothing kept
    NEVER = "never"  # unreadable or not for us: kept as REFUSED, a resend changes nothing


@dataclass(slots=True)
class Received:
    """One message as a listener hands it to intake. `body` is the bytes as received, without transport framing."""

    channel: str
    body: bytes
    sender: str  # MSH-3|MSH-4 (or the like): whose control ids these are
    control_id: str
    type: str  # "ADT^A08"
    patient: Key | None  # cheap read of the first patient number, for lane and search
    other_patient: Key | None = None  # merges and moves: the second lane
    content: bytes = b""  # what makes two messages "the same": body without MSH-7
    answer_owed: bool = True
    code: str = ""  # the answer's code, kept for a replay
    refused: str | None = None  # a reason: keep the bytes as REFUSED
    charset: str = ""
    filtered: bool = False  # the channel's `accept` list does not have it: DONE, ignored
    later: bool = False  # one of many that nobody waits for: what is live goes before it
    followed: bool = False  # nobody is told that it was stored before what follows it is: its commit need not wait for the disk
    mark: MarkRow | None = None  # a polled source: what is now known of it, in the commit that stores this
    mark_before: int | None = None  # n of the mark that it was compared with (0: none): stored only while that one stands


@dataclass(slots=True)
class Receipt:
    """Intake's answer to a Received."""

    verdict: Verdict
    message_id: int | None = None
    duplicate_of: int | None = None  # the same message again: nothing was stored, the first answer stands
    code: str = ""  # the stored answer's code where it is a duplicate
    reused: bool = False  # same control id, other content: stored, and an alert was raised
    reason: str = ""


class Intake(Protocol):
    """What a listener hands its messages to. Blocking: one durable commit for the whole batch, receipts in order."""

    def store(self, batch: Sequence[Received]) -> list[Receipt]: ...

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None:
        """The answers to messages first_id … last_id went out, but for `undelivered`. Recorded with the next commit."""
        ...


@dataclass(frozen=True, slots=True)
class ListenerHealth:
    """What a listener says of itself for the console."""

    address: str
    connections: int


class Listener(Protocol):
    """An inbound channel: runs inside the listener's asyncio loop."""

    async def start(self, intake: Intake) -> None: ...

    async def stop(self) -> None: ...

    def health(self) -> ListenerHealth: ...


class Recalled(NamedTuple):
    """What a channel remembers of a thing; n: how often that changed, 0: it knows nothing of it."""

    n: int
    what: Mapping[str, Any]


class Memory(Protocol):
    """What a channel must still know of things after a restart, or on another hub process. Blocking; TryAgain: no store."""

    def recall(self, name: str) -> Recalled: ...

    def mark(self, name: str, n: int, what: Mapping[str, Any]) -> MarkRow:
        """For `Received.mark`, beside `mark_before = n - 1`: remembered with the commit of that message."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A listener, or a door at the web's address, that decides by what it was told before. Given before `start` and first use."""

    def remember_in(self, memory: Memory) -> None: ...
