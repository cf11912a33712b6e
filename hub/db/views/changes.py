"""The delta feed, the snapshot that begins it, and how far each change has got with each target.

The feed runs in the order (tx, id) and, on PostgreSQL, only below the oldest transaction still running
(`pg_snapshot_xmin`): a reader that continues from the last position it saw misses nothing, however many writers there
are. SQLite has one writer at a time, tx is 0, and ids are given out in the order of commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import BigInteger, Connection, Row, Text, cast, func, or_, select, tuple_

from hub.db.tables import change, message, resource
from hub.db.views import messages, receivers
from hub.db.views.messages import MessageRow
from hub.db.views.patients import ResourceRow, as_resource
from hub.domain.lifecycle import UNCONFIRMED, State

SYNC_STATES = {
    State.QUEUED: "pending",
    State.IN_FLIGHT: "sent",
    State.UNCERTAIN: "sent",
    State.DONE: "confirmed",
    State.DEAD: "refused",
    State.DISCARDED: "refused",
    State.REFUSED: "refused",
}


class Position(NamedTuple):
    """A place in the feed: everything up to and including it was seen."""

    tx: int
    id: int


START = Position(-1, -1)


@dataclass(slots=True)
class ChangeRow:
    """One change: what it made of the resource."""

    id: int
    tx: int
    at: int
    type: str
    kind: str
    resource_id: str
    patient_id: str | None
    version: int
    fields: list[str]
    data: dict[str, Any]
    message_id: int | None
    origin: str


def feed(
    conn: Connection, after: Position, *, limit: int = 100, kinds: Sequence[str] = (), patient_id: str = ""
) -> list[ChangeRow]:
    """The next changes behind `after`, in the feed's order."""
    statement = select(change).where(tuple_(change.c.tx, change.c.id) > tuple_(after.tx, after.id))
    if conn.dialect.name == "postgresql":
        statement = statement.where(change.c.tx < _oldest_running())
    if kinds:
        statement = statement.where(change.c.kind.in_(list(kinds)))
    if patient_id:
        statement = statement.where(change.c.patient_id == patient_id)
    return [as_change(row) for row in conn.execute(statement.order_by(change.c.tx, change.c.id).limit(limit))]


def head(conn: Connection) -> Position:
    """The place that the feed has reached: what comes behind it is not, or not surely, in what this connection reads now."""
    if conn.dialect.name == "postgresql":
        return Position(int(conn.execute(select(_oldest_running())).scalar_one()) - 1, 2**62)
    newest = conn.execute(select(change.c.tx, change.c.id).order_by(change.c.tx.desc(), change.c.id.desc()).limit(1)).first()
    return START if newest is None else Position(newest.tx, newest.id)


def snapshot(conn: Connection, kinds: Sequence[str], *, after: str = "", limit: int = 100) -> list[ResourceRow]:
    """Resources of `kinds` in the order of their ids, also those merged away, behind the id `after`."""
    statement = select(resource).where(resource.c.kind.in_(list(kinds)), resource.c.id > after)
    return [as_resource(row) for row in conn.execute(statement.order_by(resource.c.id).limit(limit))]


def get(conn: Connection, change_id: int) -> ChangeRow | None:
    """One change."""
    row = conn.execute(select(change).where(change.c.id == change_id)).first()
    return None if row is None else as_change(row)


def deliveries(conn: Connection, one: ChangeRow) -> list[dict[str, Any]]:
    """How far a change has got with each target, with its code (hub/domain/receivers.py) and the last answer."""
    rows = messages.carriers(conn, [(one.id, one.resource_id)])
    told = {r["messageId"]: r for found in receivers.of_rows(conn, [(one.id, one.type)], rows) for r in found["receivers"]}
    return [{**sync_state(row), **{k: told[row.id][k] for k in ("code", "codeName", "lastAnswer")}} for row in rows]


def sync_of_patient(conn: Connection, patient_id: str) -> list[dict[str, Any]]:
    """The latest word for each resource of a patient and each target."""
    owned = select(resource.c.id).where(or_(resource.c.patient_id == patient_id, resource.c.id == patient_id))
    newest = (
        select(func.max(message.c.id))
        .where(message.c.resource_id.in_(owned), message.c.direction == "out")
        .group_by(message.c.resource_id, message.c.channel)
    )
    found = conn.execute(messages.rows().where(message.c.id.in_(newest)).order_by(message.c.channel, message.c.id)).all()
    return [sync_state(messages.as_message(row)) for row in found]


def sync_state(row: MessageRow) -> dict[str, Any]:
    """pending, sent, confirmed or refused (with the reason), of one outbound message."""
    return {
        "target": row.channel, "state": _state(row), "type": row.type,
        "changeId": row.change_id, "resourceId": row.resource_id, "messageId": row.id, "attempts": row.attempts,
        "reason": row.reason, "messageState": row.state,
    }  # fmt: skip


def _state(row: MessageRow) -> str:
    if row.reason == UNCONFIRMED:
        return "sent"
    return SYNC_STATES[State(row.state)] if row.state else "pending"


def as_change(row: Row[Any]) -> ChangeRow:
    """A row of `change` with its JSON read."""
    return ChangeRow(
        row.id, row.tx, row.at, row.type, row.kind, row.resource_id, row.patient_id, row.version,
        orjson.loads(row.fields), orjson.loads(row.data), row.message_id, row.origin,
    )  # fmt: skip


def _oldest_running() -> Any:
    return cast(cast(func.pg_snapshot_xmin(func.pg_current_snapshot()), Text), BigInteger)
