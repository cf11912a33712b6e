"""Deleting what is no longer needed: bodies of messages by age and class, and windows whose time is over.

Only what is over is touched: a message with work left (queued, in flight, uncertain, dead) has a row in `work` and stays
whole, however old. The message itself, its outcome and its audit entries stay; its bytes and those of its attempts go.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, func, or_, select, update

from hub.db.tables import attempt, dedupe, message, outcome, session, work
from hub.db.views.messages import first_id_at
from hub.domain.ids import now_us
from hub.domain.lifecycle import Outcome, State

DAY = 86_400 * 1_000_000  # µs
STEP = 2_000  # message ids looked at in one transaction, so that nobody waits for it
CLASSES: dict[str, ColumnElement[bool]] = {
    "done": and_(outcome.c.state == State.DONE, outcome.c.outcome != Outcome.IGNORED),
    "ignored": and_(outcome.c.state == State.DONE, outcome.c.outcome == Outcome.IGNORED),
    "refused": outcome.c.state == State.REFUSED,
    "discarded": outcome.c.state == State.DISCARDED,
}


def purge(
    engine: Engine, days: Mapping[str, int], *, dedupe_days: int, dry_run: bool = False, now: int | None = None
) -> dict[str, int]:
    """Erase bodies older than `days[class]`; returns how many by class, and how many dedupe rows and sessions went.

    `dedupe_days`: the longest window of any channel. `dry_run`: only count.
    """
    at = now_us() if now is None else now
    gone = {name: _bodies(engine, name, at - days[name] * DAY, dry_run) for name in CLASSES}
    gone["dedupe"] = _rows(engine, dedupe.c.at < at - dedupe_days * DAY, "dedupe", dry_run)
    gone["sessions"] = _rows(engine, session.c.expires_at < at, "session", dry_run)
    return gone


def _bodies(engine: Engine, name: str, before: int, dry_run: bool) -> int:
    with engine.connect() as connection:
        low = connection.execute(select(func.min(message.c.id))).scalar()
        high = first_id_at(connection, before)
    total = 0
    while low is not None and low < high:
        with engine.begin() as connection:
            total += _step(connection, name, low, min(low + STEP, high), before, dry_run)
        low += STEP
    return total


def _step(connection: Connection, name: str, low: int, high: int, before: int, dry_run: bool) -> int:
    """Ids low … high-1."""
    kept = or_(
        message.c.body.is_not(None),
        select(attempt.c.n)
        .where(attempt.c.message_id == message.c.id, or_(attempt.c.sent.is_not(None), attempt.c.answer.is_not(None)))
        .exists(),
    )
    found = connection.execute(
        select(message.c.id)
        .join(outcome, outcome.c.message_id == message.c.id)
        .where(message.c.id >= low, message.c.id < high, message.c.at < before, CLASSES[name], kept)
        .where(message.c.id.not_in(select(work.c.message_id).where(work.c.message_id >= low, work.c.message_id < high)))
    )
    ids = list(found.scalars())
    if ids and not dry_run:
        connection.execute(update(message).where(message.c.id.in_(ids)).values(body=None))
        connection.execute(update(attempt).where(attempt.c.message_id.in_(ids)).values(sent=None, answer=None))
    return len(ids)


def _rows(engine: Engine, which: ColumnElement[bool], name: str, dry_run: bool) -> int:
    table = {"dedupe": dedupe, "session": session}[name]
    with engine.begin() as connection:
        count = connection.execute(select(func.count()).select_from(table).where(which)).scalar_one()
        if count and not dry_run:
            connection.execute(delete(table).where(which))
    return int(count)
