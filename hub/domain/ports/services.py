"""What API, console and command line ask of the core, and what the core asks of its store: clock, keys, audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

Clock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Written:
    """What a front-office write did."""

    resource_id: str
    version: int
    change_ids: tuple[int, ...] = ()


class FrontOffice(Protocol):
    """What a CRM front-end may change. Each call is one transaction, applied at once through the same core as messages.

    `actor` is "token:<name>". `expected` is the version of the If-Match header; another current version raises Stale.
    `values` hold canonical fields as in hub/domain/model.py; None deletes a field. Unknown ids raise NotFound; a field
    that the authority rules do not let the CRM set raises Refused with code "not_allowed" and the field in its reason.
    """

    def create_patient(self, values: dict[str, Any], *, actor: str) -> Written: ...

    def change_patient(self, patient_id: str, values: dict[str, Any], *, expected: int, actor: str) -> Written: ...

    def book(self, patient_id: str, values: dict[str, Any], *, actor: str) -> Written: ...

    def change_appointment(self, appointment_id: str, values: dict[str, Any], *, expected: int, actor: str) -> Written: ...

    def cancel_appointment(self, appointment_id: str, *, expected: int, actor: str, reason: str = "") -> Written: ...


class Operations(Protocol):
    """What an operator may do; each is audited with its reason. IllegalStep where the life-cycle has no such step."""

    def replay(self, message_id: int, *, reason: str, actor: str) -> None: ...

    def discard(self, message_id: int, *, reason: str, actor: str) -> None: ...

    def settle(self, message_id: int, *, acted: bool, reason: str, actor: str) -> None:
        """An UNCERTAIN message: a person found out whether the target acted (confirm) or not (deny)."""
        ...

    def pause(self, channel: str, *, reason: str, actor: str) -> None: ...

    def resume(self, channel: str, *, reason: str, actor: str) -> None: ...

    def ping(self, channel: str, *, actor: str) -> str: ...


class AuditWriter(Protocol):
    """Appends one entry of its own transaction; acts with a transaction write theirs inside it."""

    def append(
        self,
        action: str,
        *,
        actor: str,
        channel: str = "",
        message_id: int | None = None,
        resource_id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None: ...


class Keys(Protocol):
    """The hub's secrets in use. `seal`/`open_` are AEAD with the row as associated data; `digest` is keyed."""

    def seal(self, table: str, row: int | str, plain: bytes) -> bytes: ...

    def open_(self, table: str, row: int | str, sealed: bytes) -> bytes: ...

    def digest(self, data: bytes) -> bytes:
        """16 bytes, keyed (HMAC-SHA-256, truncated): equal for equal data, says nothing of it without the key."""
        ...
