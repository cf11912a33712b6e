"""Patients and what belongs to them, as the API and the console read them: search, resources, timeline, history, lineage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, func, select, tuple_

from hub.db.tables import change, identifier, link_history, message, resource, source_record, term
from hub.db.views import plain
from hub.domain import search as forms
from hub.domain.model import Kind

TIMELINE_KINDS: tuple[Kind, ...] = (
    "Encounter", "Appointment", "ServiceRequest", "DiagnosticReport", "MedicationRequest", "Procedure", "DocumentReference",
    "ImagingStudy", "Invoice", "Payment",
)  # fmt: skip
_LAST_CHARACTER = "\U0010ffff"


@dataclass(slots=True)
class ResourceRow:
    """One canonical resource with its document."""

    id: str
    kind: str
    patient_id: str | None
    version: int
    status: str  # active | merged | removed
    sort_at: int
    created_at: int
    updated_at: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Search:
    """What to search patients by; "" means anything. All that is given must match."""

    identifier: str = ""  # "assigner|value" or "value"
    name: str = ""
    phone: str = ""
    birth_date: str = ""

    def is_empty(self) -> bool:
        """Nothing was asked."""
        return not (self.identifier or self.name or self.phone or self.birth_date)


def get(conn: Connection, resource_id: str, kind: str | None = None) -> ResourceRow | None:
    """One resource, of `kind` where that is given."""
    statement = select(resource).where(resource.c.id == resource_id)
    if kind is not None:
        statement = statement.where(resource.c.kind == kind)
    row = conn.execute(statement).first()
    return None if row is None else as_resource(row)


def many(conn: Connection, ids: Sequence[str]) -> dict[str, ResourceRow]:
    """Resources by id."""
    rows = conn.execute(select(resource).where(resource.c.id.in_(list(ids))))
    return {row.id: as_resource(row) for row in rows}


def find(conn: Connection, query: Search, *, after: str = "", limit: int = 50) -> list[ResourceRow]:
    """Active patients that match all of `query`, by id (oldest first), beginning behind the id `after`.

    What cannot be normalised into something to search by (a name of punctuation) matches nobody: a search never widens.
    """
    if query.is_empty():
        return []
    statement = select(resource).where(resource.c.kind == "Patient", resource.c.status == "active", resource.c.id > after)
    if query.identifier:
        assigner, bar, value = query.identifier.rpartition("|")
        wanted = select(identifier.c.resource_id).where(identifier.c.kind == "Patient", identifier.c.value == value)
        if bar:
            wanted = wanted.where(identifier.c.assigner == assigner)
        statement = statement.where(resource.c.id.in_(wanted))
    for kind, typed, prefix in (
        (forms.NAME, query.name, forms.name_prefix(query.name)),
        (forms.PHONE, query.phone, forms.phone_prefix(query.phone)),
        (forms.BIRTH_DATE, query.birth_date, forms.birth_date(query.birth_date)),
    ):
        if not typed:
            continue
        if not prefix:
            return []
        statement = statement.where(resource.c.id.in_(_bearers(kind, prefix)))
    return [as_resource(row) for row in conn.execute(statement.order_by(resource.c.id).limit(limit))]


def of_patient(
    conn: Connection, patient_id: str, kinds: Sequence[str], *, before: tuple[int, str] | None = None, limit: int = 50
) -> list[ResourceRow]:
    """What belongs to a patient, the latest (by start) first; `before`: (sort_at, id) of the last one already seen."""
    statement = select(resource).where(
        resource.c.patient_id == patient_id, resource.c.kind.in_(list(kinds)), resource.c.status == "active"
    )
    if before is not None:
        statement = statement.where(tuple_(resource.c.sort_at, resource.c.id) < tuple_(*before))
    rows = conn.execute(statement.order_by(resource.c.sort_at.desc(), resource.c.id.desc()).limit(limit))
    return [as_resource(row) for row in rows]


def history(conn: Connection, resource_id: str, *, before: int | None = None, limit: int = 50) -> list[dict[str, Any]]:
    """Every version of a resource, the newest first: the change that made it and the whole document after it."""
    statement = select(change).where(change.c.resource_id == resource_id)
    if before is not None:
        statement = statement.where(change.c.version < before)
    rows = conn.execute(statement.order_by(change.c.version.desc()).limit(limit))
    return [plain(row._mapping) | {"fields": orjson.loads(row.fields), "data": orjson.loads(row.data)} for row in rows]


def links(conn: Connection, resource_id: str) -> list[dict[str, Any]]:
    """Merges, unmerges, moves and links that touched this resource, oldest first."""
    columns = [
        link_history.c[name]
        for name in ("id", "at", "act", "kind", "assigner", "value", "from_id", "to_id", "message_id", "actor")
    ]
    left = select(*columns).where(link_history.c.from_id == resource_id)
    right = select(*columns).where(link_history.c.to_id == resource_id)
    rows = conn.execute(left.union(right).order_by("id").limit(500))
    return [plain(row._mapping) for row in rows]


def lineage(conn: Connection, one: ResourceRow) -> list[dict[str, Any]]:
    """For each field of a document, who says what of it: `chosen` marks the source whose value the document holds.

    Values are shown as the source said them; path, message, map version and time say where each came from.
    """
    records = [
        (row, orjson.loads(row.data), orjson.loads(row.lineage))
        for row in conn.execute(
            select(source_record).where(source_record.c.resource_id == one.id).order_by(source_record.c.event_at.desc())
        )
    ]
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in one.data}
    for row, data, origin in records:
        for name in sorted(data):
            field = name.partition(".")[0]  # contact points are told slot by slot: telecom.mobile
            told.setdefault(field, []).append(_said(row, name, data[name], origin, one.data.get(field)))
    return [{"field": field, "value": one.data.get(field), "sources": said} for field, said in told.items()]


def sources(conn: Connection, resource_id: str) -> list[dict[str, Any]]:
    """The source records linked to a resource: which system knows it under which number, and when it last spoke."""
    rows = conn.execute(
        select(
            source_record.c.system,
            source_record.c.key,
            source_record.c.channel,
            source_record.c.event_at,
            source_record.c.message_id,
        )
        .where(source_record.c.resource_id == resource_id)
        .order_by(source_record.c.system, source_record.c.key)
    )
    return [plain(row._mapping) for row in rows]


def message_exists(conn: Connection, message_id: int) -> bool:
    """Whether a message of that id is (still) kept."""
    return conn.execute(select(message.c.id).where(message.c.id == message_id)).first() is not None


def count(conn: Connection) -> int:
    """How many active patients there are."""
    return int(
        conn.execute(
            select(func.count()).select_from(resource).where(resource.c.kind == "Patient", resource.c.status == "active")
        ).scalar_one()
    )


def as_resource(row: Row[Any]) -> ResourceRow:
    """A row of `resource` with its document read."""
    return ResourceRow(
        row.id,
        row.kind,
        row.patient_id,
        row.version,
        row.status,
        row.sort_at,
        row.created_at,
        row.updated_at,
        orjson.loads(row.data),
    )


def _said(row: Row[Any], name: str, value: Any, origin: dict[str, Any], golden: Any) -> dict[str, Any]:
    """What one source said of one field or slot."""
    path, message_id, map_version, at = (*origin.get(name, ()), None, None, None, None)[:4]
    return {
        "system": row.system, "key": row.key, "channel": row.channel, "slot": name, "value": value,
        "chosen": _holds(golden, value), "path": path, "messageId": message_id, "mapVersion": map_version,
        "at": at if at is not None else row.event_at,
    }  # fmt: skip


def _holds(golden: Any, said: Any) -> bool:
    """The document's value is, or (for lists) has a part of, what this source said."""
    if said is None or golden is None:
        return False
    if isinstance(golden, list):
        return any(item in golden for item in (said if isinstance(said, list) else [said]))
    return bool(golden == said)


def _bearers(kind: str, prefix: str) -> Any:
    """Patients with a term that begins with `prefix`, by a range of code points: text is ordered by its bytes."""
    return select(term.c.patient_id).where(term.c.kind == kind, term.c.value >= prefix, term.c.value < prefix + _LAST_CHARACTER)
