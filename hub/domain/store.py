"""The store as the core sees it: transactions that read by sets of keys and write by sets of rows.

`hub/db/store.py` fulfils it on SQLite and PostgreSQL. Everything in one `with store.transaction()` commits together or
not at all; leaving the block by an exception rolls back. A store that is down, busy or full raises TryAgain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from hub.domain.errors import TryAgain
from hub.domain.rows import Row

BEHIND = 1000  # added to a bucket's number: of its lanes, what may wait until nothing else is there (hub/sync/turns.py)


class Lease(NamedTuple):
    """The right to work on some buckets of one direction, until a time by the database's clock; `token` fences it.

    `inherited`: its last holder did not give it back cleanly, so what it was at may have killed it.
    """

    owner: str
    names: tuple[str, ...]
    token: int
    inherited: bool = False


class LeaseLost(Exception):
    """Another worker holds these buckets now: whatever this transaction did must not stand."""


class InboundWork(NamedTuple):
    """One message whose turn it is."""

    message_id: int
    channel: str
    lane: str
    bucket: int
    attempts: int
    at: int
    type: str
    sender: str
    control_id: str
    body: bytes | None  # sealed; None once purged
    paired: bool


class OutboundWork(NamedTuple):
    """One outbound message whose turn it is, with the change that it carries."""

    message_id: int
    channel: str
    lane: str
    bucket: int
    attempts: int
    state: str  # queued, or in_flight where a worker was lost on the way
    type: str
    at: int
    change_id: int | None
    resource_id: str | None


class ChannelStateRow(NamedTuple):
    channel: str
    paused: bool
    stopped: str
    breaker: str
    breaker_until: int
    failures: int


class Tx(Protocol):
    """One open transaction. Rows come back as tuples in the order of the columns that the method names."""

    @property
    def now(self) -> int:
        """The database's clock at the start of the transaction, µs."""
        ...

    def ids(self, name: str, count: int) -> Sequence[int]:
        """`count` fresh ids of the counter `name` (message, change), ascending."""
        ...

    def write(self, rows: Iterable[Row]) -> None:
        """Writes rows of any kinds, set-wise, in an order that does not depend on the caller."""
        ...

    def hold(self, lease: Lease, seconds: float) -> None:
        """Extends the lease within this transaction; raises LeaseLost if somebody else has it."""
        ...

    def take(self, owner: str, direction: str, buckets: Sequence[int], most: int, seconds: float) -> Lease | None:
        """Takes up to `most` buckets that are free or whose lease ran out; None where there is none."""
        ...

    def release(self, lease: Lease, *, clean: bool = True) -> None:
        """Gives it back. Not `clean`: something is still on its way, and whoever takes it next treats that as lost."""
        ...

    def owners(self) -> list[str]:
        """Who holds leases that have not run out."""
        ...

    def bury(self, owner: str) -> None:
        """Frees all leases of a worker that is known to have ended; what it had in flight is due at once, as lost."""
        ...

    def arrivals(
        self, keys: Sequence[tuple[str, str, str]], count: int, *, presume: bool = False
    ) -> tuple[list[tuple[str, str, str, bytes, int, str, int]] | None, Sequence[int]]:
        """All that intake asks, in one round trip: what came before, and `count` fresh message ids.

        (channel, sender, control id) -> rows with digest, message id, answer code and when that was, µs.
        `presume`: where asking costs a round trip, None instead of rows, and nothing is taken to have come before: the
        commit raises Conflict if that is not so.
        """
        ...

    def due_inbound(self, buckets: Sequence[int], paused: Sequence[str], limit: int, later: int = 0) -> list[InboundWork]:
        """Up to `limit`, and besides up to `later` of what may wait, which has BEHIND added to its bucket."""
        ...

    def due_outbound(self, buckets: Sequence[int], barred: Sequence[str], limit: int, later: int = 0) -> list[OutboundWork]:
        """As `due_inbound`. Locks nothing: the caller holds the lease of the buckets and marks what it takes."""
        ...

    def ahead(self, direction: str, places: Sequence[tuple[str, int]]) -> list[tuple[int, str, int, str]]:
        """What waits before these (lane, message id) in their lanes: message id, lane, bucket, channel."""
        ...

    def loaded(self, most: int) -> dict[str, int]:
        """Direction -> how many of what may wait do wait; not counted further than `most`."""
        ...

    def first_loaded(self, direction: str, most: int) -> set[int]:
        """Message ids of what may wait and does, or is being tried: the first `most` of each bucket."""
        ...

    def arrived(self, since: int) -> int:
        """How many messages came in after `since` (µs) from somebody who waits for an answer: repetitions, what has no control
        id and what has no sender (polled) not counted."""
        ...

    def neglected(self, direction: str, buckets: int, older_than: int) -> list[int]:
        """Buckets that nobody has a lease of, with something due since `older_than`."""
        ...

    def identifiers(self, keys: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str, str, str, str]]:
        """(kind, assigner, value) -> kind, assigner, value, resource id, home id, type."""
        ...

    def identifiers_of(self, resource_ids: Sequence[str]) -> list[tuple[str, str, str, str, str, str]]:
        """All identifiers that point to, or are at home with, these resources."""
        ...

    def awaiting(self, keys: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str, str]]:
        """(kind, assigner, value) -> these, and the id of each resource that names a thing by that number in vain."""
        ...

    def marks(self, channel: str, keys: Sequence[bytes]) -> list[tuple[bytes, bytes, int, int]]:
        """key, value, n and time (µs) of the marks of a polled source. Locks them in key order, except in a snapshot."""
        ...

    def confirm(self, versions: Mapping[str, tuple[int, str | None]], written: Collection[str]) -> None:
        """Locks these resources (`written` ones for writing) in key order.

        `versions`: id -> version and patient id as read. Raises Conflict where one has another version or owner now.
        """
        ...

    def resources(self, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        """Locks them in key order, except in a snapshot.

        id, kind, patient_id, patient_key, version, status, sort_at, data, created_at.
        """
        ...

    def children(self, patient_ids: Sequence[str], kinds: Sequence[str]) -> list[tuple[Any, ...]]:
        """What belongs to these patients, columns as `resources`."""
        ...

    def sources(self, resource_ids: Sequence[str]) -> list[tuple[Any, ...]]:
        """kind, system, key, resource_id, patient_key, data, lineage, event_at, message_id, channel."""
        ...

    def heard(self, keys: Sequence[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
        """(kind, system, key) of source records -> these, resource_id, message_id, event_at; version, patient_id of a Patient."""
        ...

    def changes(self, ids: Sequence[int]) -> list[tuple[Any, ...]]:
        """id, at, type, kind, resource_id, patient_id, version, fields, data, message_id, origin."""
        ...

    def link_keys(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, str, str]]:
        """(channel, resource id) -> channel, resource id, peer id, etag."""
        ...

    def told(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, str, str, int]]:
        """(system, resource id) -> system, resource id, field, value (JSON) last sent, at."""
        ...

    def at_version(self, pairs: Sequence[tuple[str, int]]) -> list[tuple[str, int, str]]:
        """(resource id, version) -> these, data (JSON), of those versions that are kept."""
        ...

    def versions(self, resource_id: str, since: int) -> list[tuple[int, str, str]]:
        """at, origin, data (JSON) of its newest versions that were made after `since` (µs), at most 20, the newest first."""
        ...

    def channel_states(self) -> list[ChannelStateRow]: ...

    def set_channel_state(self, channel: str, **columns: Any) -> None: ...

    def work_of(self, message_id: int) -> tuple[str, str, str, int, int] | None:
        """direction, channel, state, attempts, change id or 0 of the main work row; locked."""
        ...

    def replay_lane_ready(self, message_id: int) -> bool:
        """False while an earlier message of its lane waits for a person."""
        ...

    def one(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        """A rare read in plain SQL with `?` marks, for what is not on the hot path."""
        ...

    def many(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """As `one`, all rows."""
        ...

    def execute(self, sql: str, *parameters: Any) -> int:
        """A rare write in plain SQL with `?` marks; returns the number of rows."""
        ...


class Conflict(TryAgain):
    """What a plan was computed from was changed by somebody else meanwhile: read and compute again."""

    code = "conflict"


class Store(Protocol):
    def snapshot(self) -> AbstractContextManager[Tx]:
        """One consistent view for reading only: it waits for no writer and makes none wait."""
        ...

    def transaction(self, *, urgent: bool = False, durable: bool = True) -> AbstractContextManager[Tx]:
        """`urgent`: intake goes first where there is only one writer (SQLite).

        `durable`: leaving the block waits for the disk. Needed before anything is said to the outside: an answer, a
        delivery. Without it a power cut may take back the last moments, never leave them half done.
        """
        ...
