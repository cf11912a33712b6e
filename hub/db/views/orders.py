"""Imaging orders that are still to be done, as a worklist asks for them: by an index that has only these (hub/db/tables.py).

The index goes by what is said of the order itself. Where modalities tell no steps (MPPS) and nobody closes orders, only what came
of it says that it was done; that is looked up for those within the asked days (docs/adr/0166).
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Select, String, and_, literal, or_, select, text, tuple_

from hub.db.tables import OPEN_IMAGING, identifier, resource
from hub.db.views.patients import ResourceRow, as_resource, many
from hub.domain.ports import Order, Person, Wanted

HOLDERS = 200  # patients who have one number, of whichever assigner
EARLIER = 31 * 86_400_000_000  # µs: so long before the scheduled day an order's study or report is looked for


def to_image(conn: Connection, wanted: Wanted, *, after: tuple[int, str] | None, limit: int) -> list[Order]:
    """The earliest first. `after`: the place of the last one already seen. Who asks by an order's number is told of it though
    it was imaged: another part of it may be to come, or a repetition."""
    statement = select(resource).where(text(OPEN_IMAGING), resource.c.patient_id.is_not(None))  # literally: of the index
    if wanted.start is not None:
        statement = statement.where(resource.c.sort_at >= wanted.start)
    if wanted.end is not None:
        statement = statement.where(resource.c.sort_at < wanted.end)
    if after is not None:
        statement = statement.where(tuple_(resource.c.sort_at, resource.c.id) > tuple_(*after))
    if wanted.order:
        statement = statement.where(_of("ServiceRequest", wanted.order, resource.c.id))
    else:
        statement = statement.where(~_is_done())
    if wanted.patient:
        statement = statement.where(_of("Patient", wanted.patient, resource.c.patient_id))
    rows = [as_resource(row) for row in conn.execute(statement.order_by(resource.c.sort_at, resource.c.id).limit(limit))]
    return _with_patients(conn, rows)


def _is_done() -> ColumnElement[bool]:
    """Whether the order of the row was imaged where no modality says how far it is (told apart first: of studies there are
    few), or finally reported."""
    imaged = and_(~resource.c.data.contains('"state":"'), _names_it("ImagingStudy", "available"))
    return or_(imaged, _names_it("DiagnosticReport", "final", "amended", "corrected"))


def _names_it(kind: str, *statuses: str) -> ColumnElement[bool]:
    """Whether a resource of the order's patient, of one of these statuses, is based on the order."""
    found = resource.alias()
    order = literal('%"ServiceRequest/', String).concat(resource.c.id).concat('"%')
    return (
        select(found.c.id)
        .where(
            found.c.patient_id == resource.c.patient_id,
            found.c.kind == kind,
            found.c.sort_at >= resource.c.sort_at - EARLIER,
            found.c.status == "active",
            found.c.data.like(order),
            or_(*(found.c.data.contains(f'"status":"{status}"') for status in statuses)),
        )
        .correlate(resource)
        .exists()
    )


def _of(kind: str, number: str, column: ColumnElement[str]) -> ColumnElement[bool]:
    holders: Select[tuple[str]] = select(identifier.c.resource_id).where(identifier.c.kind == kind, identifier.c.value == number)
    return column.in_(holders.limit(HOLDERS))


def _with_patients(conn: Connection, rows: list[ResourceRow]) -> list[Order]:
    people = many(conn, sorted({str(row.patient_id) for row in rows}))
    return [
        Order(row.id, row.data, Person(str(row.patient_id), people[str(row.patient_id)].data), (row.sort_at, row.id))
        for row in rows
    ]
