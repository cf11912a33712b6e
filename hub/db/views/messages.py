"""Messages as people search them, and the story of one: state, answer, attempts, what it caused, audit.

A message's state stands in `work` while there is work (the row without `barrier`), afterwards in `outcome`. The newest
come first; pages go backwards by id. Time bounds are turned into id bounds, because ids grow with time and `at` bears
no index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import Column, ColumnElement, Connection, Row, Select, and_, func, literal_column, or_, select

from hub.audit.actions import Action
from hub.db.tables import answered, attempt, change, entry, identifier, message, outcome, resource, work
from hub.db.views import plain
from hub.domain.lifecycle import Answer, Outcome, State

OPEN_STATES = frozenset({State.QUEUED, State.IN_FLIGHT, State.UNCERTAIN, State.DEAD})
CLOCK_SLACK = 300_000_000  # µs by which neighbouring ids may disagree in time: several processes number and store


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; "" and None mean anything. `since` and `until` in µs, `type` may be a prefix ("ADT")."""

    patient_no: str = ""
    control_id: str = ""
    type: str = ""
    state: str = ""  # a State or an Outcome
    channel: str = ""
    direction: str = ""
    since: int | None = None
    until: int | None = None
    resource_id: str = ""


@dataclass(slots=True)
class MessageRow:
    """One message as listed. `reason` is free of patient data."""

    id: int
    channel: str
    direction: str
    at: int
    sender: str
    control_id: str
    type: str
    patient_no: str
    lane: str
    state: str
    outcome: str
    reason: str
    attempts: int
    due: int
    code: str
    charset: str
    answer_owed: bool
    cause: int | None
    change_id: int | None
    resource_id: str | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def find(conn: Connection, query: Query, *, before: int | None = None, limit: int = 50) -> list[MessageRow]:
    """The newest `limit` messages that match, with an id below `before`."""
    statement = rows()
    if before is not None:
        statement = statement.where(message.c.id < before)
    for column, value in (
        (message.c.control_id, query.control_id),
        (message.c.channel, query.channel),
        (message.c.direction, query.direction),
        (message.c.resource_id, query.resource_id),
    ):
        if value:
            statement = statement.where(column == value)
    if query.control_id:
        statement = statement.where(_filled(message.c.control_id))
    if query.type:
        statement = statement.where(message.c.type.startswith(query.type, autoescape=True))
    if query.patient_no:
        statement = statement.where(message.c.id.in_(_of_patient(query)))
    if query.state:
        statement = _with_state(statement, query.state)
    if query.since is not None:
        statement = statement.where(message.c.id >= first_id_at(conn, query.since - CLOCK_SLACK), message.c.at >= query.since)
    if query.until is not None:
        statement = statement.where(message.c.id < first_id_at(conn, query.until + CLOCK_SLACK), message.c.at < query.until)
    return [as_message(row) for row in conn.execute(statement.order_by(message.c.id.desc()).limit(limit))]


def get(conn: Connection, message_id: int) -> MessageRow | None:
    """One message."""
    row = conn.execute(rows().where(message.c.id == message_id)).first()
    return None if row is None else as_message(row)


def body(conn: Connection, message_id: int) -> bytes | None:
    """The sealed bytes as stored; None for what is built at send time, and once purged."""
    sealed = conn.execute(select(message.c.body).where(message.c.id == message_id)).scalar()
    return None if sealed is None else bytes(sealed)


def answer_state(conn: Connection, row: MessageRow) -> Answer:
    """Whether the sender got its answer. `answered` has one row for each run of ids; runs do not overlap."""
    if not row.answer_owed:
        return Answer.NOT_OWED
    run = conn.execute(
        select(answered).where(answered.c.first_id <= row.id).order_by(answered.c.first_id.desc()).limit(1)
    ).first()
    if run is None or run.last_id < row.id:
        return Answer.OWED
    return Answer.UNDELIVERED if row.id in orjson.loads(run.undelivered) else Answer.SENT


def attempts(conn: Connection, message_id: int) -> list[dict[str, Any]]:
    """Every attempt to deliver it, in order: n, at, verdict, detail, and whether bytes were kept."""
    rows = conn.execute(
        select(
            attempt.c.n,
            attempt.c.at,
            attempt.c.verdict,
            attempt.c.detail,
            attempt.c.sent.is_not(None).label("has_sent"),
            attempt.c.answer.is_not(None).label("has_answer"),
        )
        .where(attempt.c.message_id == message_id)
        .order_by(attempt.c.at, attempt.c.n)
    )
    return [plain(row._mapping) for row in rows]


def changes_of(conn: Connection, message_id: int, *, limit: int = 200) -> list[dict[str, Any]]:
    """What applying this message changed."""
    rows = conn.execute(select(change).where(change.c.message_id == message_id).order_by(change.c.id).limit(limit))
    return [
        {
            "id": row.id, "at": row.at, "type": row.type, "kind": row.kind, "resource_id": row.resource_id,
            "patient_id": row.patient_id, "version": row.version, "fields": orjson.loads(row.fields), "origin": row.origin,
        }
        for row in rows
    ]  # fmt: skip


def carriers(conn: Connection, changes: Sequence[tuple[int, str]]) -> list[MessageRow]:
    """The outbound messages that carry these changes, given as (change id, resource id)."""
    if not changes:
        return []
    statement = rows().where(
        message.c.resource_id.in_({resource_id for _, resource_id in changes}),
        message.c.change_id.in_([change_id for change_id, _ in changes]),
        message.c.direction == "out",
    )
    return [as_message(row) for row in conn.execute(statement.order_by(message.c.id))]


def passed(conn: Connection, message_id: int) -> list[MessageRow]:
    """The outbound messages by which this one went on as it came: the audit entry of its storing names them."""
    stored = select(entry.c.detail).where(entry.c.message_id == message_id, entry.c.action == Action.MESSAGE_STORED)
    ids = [pair[0] for (detail,) in conn.execute(stored) for pair in orjson.loads(detail).get("passed", ())]
    if not ids:
        return []
    return [as_message(row) for row in conn.execute(rows().where(message.c.id.in_(ids)).order_by(message.c.id))]


def audit_of(conn: Connection, message_id: int, *, limit: int = 200) -> list[dict[str, Any]]:
    """The audit entries about this message, oldest first."""
    rows = conn.execute(select(entry).where(entry.c.message_id == message_id).order_by(entry.c.id).limit(limit))
    return [plain(row._mapping) | {"detail": orjson.loads(row.detail)} for row in rows]


def first_id_at(conn: Connection, at: int) -> int:
    """The smallest message id whose time is not before `at`, found by halving: about 2·log2(n) look-ups by primary key."""
    low = conn.execute(select(func.min(message.c.id))).scalar()
    high = conn.execute(select(func.max(message.c.id))).scalar()
    if low is None or high is None:
        return 0
    high += 1
    while low < high:
        middle = (low + high) // 2
        row = conn.execute(
            select(message.c.id, message.c.at).where(message.c.id >= middle).order_by(message.c.id).limit(1)
        ).first()
        if row is None or row.at >= at:
            high = middle
        else:
            low = row.id + 1
    return int(low)


def rows() -> Select[Any]:
    """Every message with its state, from work or outcome: a SELECT to be narrowed, read with `as_message`."""
    return (
        select(
            message.c.id, message.c.channel, message.c.direction, message.c.at, message.c.sender, message.c.control_id,
            message.c.type, message.c.patient_no, message.c.lane, message.c.code, message.c.charset, message.c.answer_owed,
            message.c.cause, message.c.change_id, message.c.resource_id,
            func.coalesce(work.c.state, outcome.c.state, "").label("state"),
            func.coalesce(outcome.c.outcome, "").label("outcome"),
            func.coalesce(work.c.reason, outcome.c.reason, "").label("reason"),
            func.coalesce(work.c.attempts, 0).label("attempts"),
            func.coalesce(work.c.due, 0).label("due"),
        )
        .select_from(message)
        .outerjoin(work, and_(work.c.message_id == message.c.id, work.c.barrier.is_(False)))
        .outerjoin(outcome, outcome.c.message_id == message.c.id)
    )  # fmt: skip


def as_message(row: Row[Any]) -> MessageRow:
    """A row of `rows()`."""
    values = plain(row._mapping)
    if values["state"] in OPEN_STATES:
        values["outcome"] = ""  # an outcome from before a replay is history
    values["answer_owed"] = bool(values["answer_owed"])
    return MessageRow(**values)


def _with_state(statement: Select[Any], state: str) -> Select[Any]:
    """Open states start from the small table `work`, so that finding the dead ones does not read the history."""
    if state in OPEN_STATES:
        return statement.where(
            message.c.id.in_(select(work.c.message_id).where(work.c.state == state, work.c.barrier.is_(False)))
        )
    wanted = outcome.c.outcome == state if state in set(Outcome) else outcome.c.state == state
    return statement.where(work.c.message_id.is_(None), wanted)


def _filled(column: Column[Any]) -> ColumnElement[bool]:
    """In the words of the index, which has only such rows: no parameter says so to a planner (sqlite.org/partialindex.html)."""
    return column != literal_column("''")


def _of_patient(query: Query) -> Select[Any]:
    """Ids of messages that came for this number, and of those that went out for the patient who bears it."""
    patients = select(identifier.c.resource_id).where(identifier.c.kind == "Patient", identifier.c.value == query.patient_no)
    owned = select(resource.c.id).where(or_(resource.c.patient_id.in_(patients), resource.c.id.in_(patients)))
    came = select(message.c.id).where(message.c.patient_no == query.patient_no, _filled(message.c.patient_no))
    went = select(message.c.id).where(message.c.resource_id.in_(owned))
    return select(came.union(went).subquery().c.id)
