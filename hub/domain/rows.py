"""Rows that the hot path writes, as plain tuples: a name a table, a field a column (hub/db/tables.py).

`Tx.write` takes them in any number and order and writes each kind set-wise. A verb in the name says that it is not an
insert: `…Done` deletes, `…State` updates. Values that the database fills in itself (entry ids, transaction ids) are absent.
"""

from __future__ import annotations

from typing import NamedTuple

FOREVER = 9_000_000_000_000_000  # µs, the year 2255: `due` of what waits for a person and holds its lane back


class MessageRow(NamedTuple):
    id: int
    channel: str
    direction: str
    at: int
    sender: str
    control_id: str
    type: str
    patient_no: str
    lane: str
    bucket: int
    body: bytes | None
    charset: str
    answer_owed: bool
    code: str
    cause: int | None
    change_id: int | None
    resource_id: str | None


class WorkRow(NamedTuple):
    direction: str
    bucket: int
    message_id: int
    lane: str
    channel: str
    state: str
    barrier: bool
    paired: bool
    attempts: int
    due: int
    reason: str
    at: int


class WorkDone(NamedTuple):
    """Deletes every work row of the message, its barrier too."""

    message_id: int


class WorkState(NamedTuple):
    """Sets where a message's work stands."""

    message_id: int
    state: str
    attempts: int
    due: int
    reason: str


class WorkBucket(NamedTuple):
    """Sets the bucket of a message's work that is in one lane only."""

    message_id: int
    bucket: int


class DedupeRow(NamedTuple):
    channel: str
    sender: str
    control_id: str
    digest: bytes
    message_id: int
    code: str
    at: int


class DedupeNew(DedupeRow):
    """A DedupeRow that is taken to be the first: inserts; if another listener was first, the transaction is rolled back."""

    __slots__ = ()


class AnsweredRow(NamedTuple):
    first_id: int
    last_id: int
    undelivered: str


class OutcomeRow(NamedTuple):
    message_id: int
    state: str
    outcome: str
    reason: str
    at: int


class TallyRow(NamedTuple):
    """Adds `n`."""

    channel: str
    state: str
    shard: int
    n: int


class AttemptRow(NamedTuple):
    message_id: int
    n: int
    at: int
    verdict: str
    detail: str
    sent: bytes | None
    answer: bytes | None


class SourceRow(NamedTuple):
    """Inserts or replaces."""

    kind: str
    system: str
    key: str
    resource_id: str
    patient_key: str | None
    data: str
    lineage: str
    event_at: int
    message_id: int | None
    channel: str


class SourceTouched(NamedTuple):
    """The source said the same again, later. Inserts or replaces."""

    kind: str
    system: str
    key: str
    event_at: int


class ResourceRow(NamedTuple):
    """Inserts or replaces; `created_at` of an existing one stands."""

    id: str
    kind: str
    patient_id: str | None
    patient_key: str | None
    version: int
    status: str
    sort_at: int
    data: str
    created_at: int
    updated_at: int


class IdentifierNew(NamedTuple):
    """Inserts; if another worker was first, the transaction is rolled back and tried again."""

    kind: str
    assigner: str
    value: str
    resource_id: str
    home_id: str
    type: str


class IdentifierRow(NamedTuple):
    """Inserts or points anew; `home_id` of an existing one stands."""

    kind: str
    assigner: str
    value: str
    resource_id: str
    home_id: str
    type: str


class AwaitedRow(NamedTuple):
    """This resource names another thing by a number that nothing is known under yet. Inserts, unless it is there."""

    kind: str
    assigner: str
    value: str
    resource_id: str


class AwaitedGone(NamedTuple):
    """It is known now: nobody waits for this number any more."""

    kind: str
    assigner: str
    value: str


class TermRow(NamedTuple):
    kind: str
    value: str
    patient_id: str


class TermsGone(NamedTuple):
    """Deletes all search terms of a patient, before the new ones."""

    patient_id: str


class ChangeRow(NamedTuple):
    id: int
    at: int
    type: str
    kind: str
    resource_id: str
    patient_id: str | None
    version: int
    fields: str
    data: str
    message_id: int | None
    origin: str


class LinkHistoryRow(NamedTuple):
    at: int
    act: str
    kind: str
    assigner: str
    value: str
    from_id: str
    to_id: str
    message_id: int | None
    actor: str


class LinkKeyRow(NamedTuple):
    channel: str
    resource_id: str
    peer_id: str
    etag: str
    updated_at: int


class SentFieldRow(NamedTuple):
    system: str
    resource_id: str
    field: str
    value: str
    at: int


class MarkRow(NamedTuple):
    """What a polled source was last seen to hold under a key. Inserts or replaces."""

    channel: str
    key: bytes
    value: bytes
    n: int  # how often it changed; 0: a place that a source has come to
    name: bytes | None
    at: int


class MarkNew(MarkRow):
    """A MarkRow that is the first under its key: inserts; if somebody else was first, the transaction is rolled back."""

    __slots__ = ()


class EntryDraft(NamedTuple):
    """One audit entry, written in the transaction of the act."""

    at: int
    action: str
    actor: str
    channel: str
    message_id: int | None
    resource_id: str | None
    detail: str


class AlertRow(NamedTuple):
    at: int
    kind: str
    channel: str
    text: str
    cleared_at: int | None


Row = (
    MessageRow | WorkRow | WorkDone | WorkState | WorkBucket | DedupeRow | DedupeNew | AnsweredRow
    | OutcomeRow | TallyRow | AttemptRow | SourceRow | SourceTouched | ResourceRow | IdentifierNew
    | IdentifierRow | AwaitedRow | AwaitedGone | TermRow | TermsGone | ChangeRow | LinkHistoryRow
    | LinkKeyRow | SentFieldRow | MarkNew | MarkRow | EntryDraft | AlertRow
)  # fmt: skip
