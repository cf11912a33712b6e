"""What several resources of the API share: reading one row or answering 404, pages by start time, answers to writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Header
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import patients
from hub.db.views.patients import ResourceRow
from hub.domain.errors import NotFound
from hub.web import render
from hub.web.access import record
from hub.web.context import WebHub, hub_of
from hub.web.params import write_cursor

IfMatch = Annotated[str | None, Header(alias="If-Match", description='The ETag that you read: "v3"')]
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", description="An ETag: 304 where it still stands")]


def the(conn: Connection, kind: str, resource_id: str) -> ResourceRow:
    """The resource. Raises NotFound."""
    row = patients.get(conn, resource_id, kind)
    if row is None:
        raise NotFound(f"there is no such {kind}")
    return row


def must_exist(hub: WebHub, kind: str, resource_id: str) -> ResourceRow:
    """As `the`, with a connection of its own."""
    with hub.engine.connect() as conn:
        return the(conn, kind, resource_id)


def after_write(request: Request, kind: str, resource_id: str, status: int = 200, location: str = "") -> Response:
    """The resource as it stands after a write: the writer sees it, so it is recorded as read."""
    row = must_exist(hub_of(request), kind, resource_id)
    record(request, Action.PATIENT_READ, row.patient_id or row.id, what=f"{kind}.written")
    return render.versioned(row, status, {"Location": location} if location else None)


def next_by_start(name: str, rows: Sequence[ResourceRow], limit: int) -> str | None:
    """The cursor behind the last row of a list ordered by start; None on the last page."""
    return write_cursor(name, rows[-1].sort_at, rows[-1].id) if len(rows) == limit else None


def as_pair(position: tuple[Any, ...] | None) -> tuple[int, str] | None:
    """(start, id) of a cursor."""
    return None if position is None else (position[0], position[1])
