"""Imaging orders that are still to be done, as a worklist asks for them: by an index that has only these (hub/db/tables.py)."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Select, select, text, tuple_

from hub.db.tables import OPEN_IMAGING, identifier, resource
from hub.db.views.patients import ResourceRow, as_resource, many
from hub.domain.ports import Order, Person, Wanted

HOLDERS = 200  # patients who have one number, of whichever assigner


def to_image(conn: Connection, wanted: Wanted, *, after: tuple[int, str] | None, limit: int) -> list[Order]:
    """The earliest first. `after`: the place of the last one already seen."""
    statement = select(resource).where(text(OPEN_IMAGING), resource.c.patient_id.is_not(None))  # literally: of the index
    if wanted.start is not None:
        statement = statement.where(resource.c.sort_at >= wanted.start)
    if wanted.end is not None:
        statement = statement.where(resource.c.sort_at < wanted.end)
    if after is not None:
        statement = statement.where(tuple_(resource.c.sort_at, resource.c.id) > tuple_(*after))
    if wanted.order:
        statement = statement.where(_of("ServiceRequest", wanted.order, resource.c.id))
    if wanted.patient:
        statement = statement.where(_of("Patient", wanted.patient, resource.c.patient_id))
    rows = [as_resource(row) for row in conn.execute(statement.order_by(resource.c.sort_at, resource.c.id).limit(limit))]
    return _with_patients(conn, rows)


def _of(kind: str, number: str, column: ColumnElement[str]) -> ColumnElement[bool]:
    holders: Select[tuple[str]] = select(identifier.c.resource_id).where(identifier.c.kind == kind, identifier.c.value == number)
    return column.in_(holders.limit(HOLDERS))


def _with_patients(conn: Connection, rows: list[ResourceRow]) -> list[Order]:
    people = many(conn, sorted({str(row.patient_id) for row in rows}))
    return [
        Order(row.id, row.data, Person(str(row.patient_id), people[str(row.patient_id)].data), (row.sort_at, row.id))
        for row in rows
    ]
