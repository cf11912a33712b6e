"""Lists that are of no patient: master data by its numbers, slots by their start. And who sent the hospital its patients.

Every list begins with an index and looks at `WINDOW` rows a page at most: what no index leads to (a department, a status)
narrows what was looked at, so a page may be shorter than its limit and still have a next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, exists, select, text, tuple_

from hub.db.tables import identifier, resource
from hub.db.views.patients import ResourceRow, as_resource
from hub.domain.model import Kind
from hub.domain.referral import MARKS, referral

WINDOW = 2_000
Matches = Callable[[Mapping[str, Any]], bool]
Number = tuple[str, str]  # assigner, value
Start = tuple[int, str]  # µs, id


class Numbered(NamedTuple):
    """A page of master data."""

    rows: list[ResourceRow]
    after: Number | None  # where the next page begins; None on the last


class Started(NamedTuple):
    """A page of what has a start."""

    rows: list[ResourceRow]
    after: Start | None


def by_number(conn: Connection, kind: Kind, matches: Matches, *, after: Number | None, limit: int) -> Numbered:
    """Resources of a kind by assigner and number, each once: at the first of its numbers."""
    other = identifier.alias()
    earlier = exists().where(
        other.c.resource_id == identifier.c.resource_id,
        other.c.kind == kind,
        tuple_(other.c.assigner, other.c.value) < tuple_(identifier.c.assigner, identifier.c.value),
    )
    statement = (
        select(resource, identifier.c.assigner, identifier.c.value)
        .join(resource, resource.c.id == identifier.c.resource_id)
        .where(identifier.c.kind == kind, resource.c.status == "active", ~earlier)
        .order_by(identifier.c.assigner, identifier.c.value)
        .limit(WINDOW)
    )
    if after is not None:
        statement = statement.where(tuple_(identifier.c.assigner, identifier.c.value) > tuple_(*after))
    found: list[ResourceRow] = []
    looked = 0
    last: Number | None = None
    for row in conn.execute(statement):
        looked += 1
        last = (row.assigner, row.value)
        one = as_resource(row)
        if matches(one.data):
            found.append(one)
            if len(found) == limit:
                return Numbered(found, last)
    return Numbered(found, last if looked == WINDOW else None)


def by_start(
    conn: Connection, kind: Kind, matches: Matches, *, start: int | None, end: int | None, after: Start | None, limit: int,
    like: str = "",
) -> Started:  # fmt: skip
    """Resources of a kind that begin from `start` to before `end` (µs), the earliest first. `like`: what their text holds."""
    window = select(resource.c.sort_at, resource.c.id).where(
        resource.c.kind == kind,
        text("resource.sort_at > 0"),  # literally: what the index has a place for
    )
    if start is not None:
        window = window.where(resource.c.sort_at >= start)
    if end is not None:
        window = window.where(resource.c.sort_at < end)
    if after is not None:
        window = window.where(tuple_(resource.c.sort_at, resource.c.id) > tuple_(*after))
    window = window.order_by(resource.c.sort_at, resource.c.id)
    edge = conn.execute(window.offset(WINDOW - 1).limit(1)).first()  # of the index alone
    statement = window.with_only_columns(resource).where(resource.c.status == "active")
    if edge is not None:
        statement = statement.where(and_(tuple_(resource.c.sort_at, resource.c.id) <= tuple_(edge.sort_at, edge.id)))
    if like:
        statement = statement.where(resource.c.data.like(f"%{like}%"))
    found: list[ResourceRow] = []
    for row in conn.execute(statement):
        one = as_resource(row)
        if matches(one.data):
            found.append(one)
            if len(found) == limit:
                return Started(found, (one.sort_at, one.id))
    return Started(found, None if edge is None else (edge.sort_at, edge.id))


def referrals(conn: Connection, *, start: int | None, end: int | None, after: Start | None, limit: int) -> Started:
    """Visits that a doctor or hospital is named for as who sent the patient, and letters of referral, the earliest first."""
    parts = [
        by_start(
            conn, kind, lambda data, kind=kind: bool(referral(kind, data)),  # type: ignore[misc]
            start=start, end=end, after=after, limit=limit, like=mark,
        )
        for kind, mark in MARKS.items()
    ]  # fmt: skip
    ends = [part.after for part in parts if part.after is not None]
    upto = min(ends) if ends else None
    rows = sorted((row for part in parts for row in part.rows), key=_start)
    page = [row for row in rows if upto is None or _start(row) <= upto]
    if len(page) > limit:
        return Started(page[:limit], _start(page[limit - 1]))
    return Started(page, upto)


def _start(row: ResourceRow) -> Start:
    return row.sort_at, row.id
