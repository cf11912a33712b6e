"""Errors, named by what the hub does next.

    HubError
    ├── NotDelivered     the peer did not act            -> the same message again, later
    ├── OutcomeUnknown   the peer may have acted         -> again where that is safe, else ask the peer, else a person
    ├── Refused          the peer said no                -> dead letter
    ├── Misconfigured    nothing can work until changed  -> the channel stops and says so once
    ├── TryAgain         our own store is busy or down   -> the row stays as it is; the sender is told to resend
    ├── Unreadable       what came in cannot be read     -> REFUSED, the bytes are kept, a negative answer
    ├── Unmappable       it reads, but cannot be mapped  -> DEAD, for a person
    ├── Stale            somebody else was faster        -> 412 and the current version
    └── NotFound         there is no such thing          -> 404

Every text in here is written by us: no error ever holds a value of a patient (name, number, phone, body). What a peer
answered goes, encrypted, into the attempt's record, never into `str(error)`.
"""

from __future__ import annotations

from dataclasses import dataclass


class HubError(Exception):
    """Base of all; `code` is for machines (snake_case), `str(self)` for people, free of patient data."""

    code = "hub_error"
    sent: bytes = b""  # bytes as they went out, kept encrypted with the attempt
    answer: bytes = b""  # what the peer answered, kept encrypted with the attempt: never part of str(error)

    def __init__(self, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        if code is not None:
            self.code = code


class NotDelivered(HubError):
    """The peer provably did not act: refused connection, 429, 503, AE that a table calls temporary."""

    code = "not_delivered"

    def __init__(self, reason: str, *, code: str | None = None, retry_after: float | None = None, reached: bool = True) -> None:
        """`retry_after`: seconds the peer asked us to wait; `reached` False: the target itself never heard of us."""
        super().__init__(reason, code=code)
        self.retry_after = retry_after
        self.reached = reached


class OutcomeUnknown(HubError):
    """The request went out and no trustworthy answer came back: the peer may have acted."""

    code = "outcome_unknown"


class Refused(HubError):
    """The peer understood and said no; sending the same again changes nothing."""

    code = "refused"


class Misconfigured(HubError):
    """The set-up is wrong (credentials, URL, map, certificate): the channel stops until somebody changes it."""

    code = "misconfigured"


class TryAgain(HubError):
    """Our own store is down, busy or full: nothing was kept, the sender shall send again."""

    code = "try_again"


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a message, for ERR-2/ERR-3 and for people: `PID[1]-5(2).1` or a byte offset."""

    segment: str = ""
    occurrence: int = 1
    field: int | None = None
    repetition: int | None = None
    component: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        text = f"{self.segment}[{self.occurrence}]" if self.segment else ""
        if self.field is not None:
            text += f"-{self.field}"
        if self.repetition is not None:
            text += f"({self.repetition})"
        if self.component is not None:
            text += f".{self.component}"
        if self.offset is not None:
            text += f" at byte {self.offset}"
        return text.strip()


class Unreadable(HubError):
    """What came in cannot be read. `hl7` is the code of HL7 table 0357 (100 … 207) that the answer carries in ERR-3."""

    code = "unreadable"

    def __init__(self, reason: str, *, where: Where | None = None, hl7: int = 207, code: str | None = None) -> None:
        super().__init__(reason, code=code)
        self.where = where or Where()
        self.hl7 = hl7


class Unmappable(HubError):
    """The message reads but a map cannot make facts of it; `where` names the field, never its value."""

    code = "unmappable"

    def __init__(self, reason: str, *, where: str = "", code: str | None = None) -> None:
        super().__init__(f"{where}: {reason}" if where else reason, code=code)
        self.where = where


class Stale(HubError):
    """A write that was made for an older version than the one that stands."""

    code = "stale"

    def __init__(self, reason: str, *, current: int) -> None:
        super().__init__(reason)
        self.current = current


class NotFound(HubError):
    """There is no such resource, message or channel."""

    code = "not_found"
