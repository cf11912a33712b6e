"""/api/v1/audit: who saw or changed what, and the signed checkpoints. Reading the log is written into the log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import audit
from hub.web import render
from hub.web.access import record
from hub.web.auth import ApiRoute, allow
from hub.web.context import hub_of
from hub.web.params import CursorText, Limit, TimeText, read_cursor, read_time, write_cursor

router = APIRouter(prefix="/api/v1/audit", tags=["Audit"], route_class=ApiRoute)
Text = Annotated[str, Query(max_length=200)]


@router.get("/entries", summary="Entries of the audit log, the newest first")
@allow("auditor")
def entries(
    request: Request,
    actor: Text = "",
    action: Annotated[str, Query(max_length=200, description='"patient.read", or a beginning: "patient."')] = "",
    resourceId: Annotated[str, Query(max_length=64, description="Also finds searches that listed this patient")] = "",  # noqa: N803
    messageId: Annotated[int | None, Query(ge=0, le=2**63 - 1)] = None,  # noqa: N803
    channel: Text = "",
    since: TimeText = "",
    until: TimeText = "",
    cursor: CursorText = "",
    limit: Limit = 50,
) -> Response:
    """Entries hold ids, codes, field names and keyed digests, no data of a patient."""
    query = audit.Query(actor, action, resourceId, messageId, channel, read_time("since", since), read_time("until", until))
    rows, following = find(request, query, cursor, limit)
    return render.page([render.entry(row) for row in rows], following)


@router.get("/checkpoints", summary="Signed heads of the audit log, the newest first")
@allow("auditor")
def checkpoints(request: Request, cursor: CursorText = "", limit: Limit = 50) -> Response:
    """`note` is the signed note: keep it elsewhere, and the log up to `size` cannot be altered unnoticed."""
    position = read_cursor("checkpoints", cursor, (int,))
    with hub_of(request).engine.connect() as conn:
        rows = audit.checkpoints(conn, before=position[0] if position else None, limit=limit)
    following = write_cursor("checkpoints", rows[-1]["size"]) if len(rows) == limit else None
    return render.page([{**row, "at": render.iso(row["at"])} for row in rows], following)


def find(request: Request, query: audit.Query, cursor: str, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """A page of entries and the cursor behind it, recorded as read."""
    position = read_cursor("entries", cursor, (int,))
    with hub_of(request).engine.connect() as conn:
        rows = audit.entries(conn, query, before=position[0] if position else None, limit=limit)
    record(request, Action.AUDIT_READ, None, what="entries", count=len(rows))
    return rows, write_cursor("entries", rows[-1]["id"]) if len(rows) == limit else None
