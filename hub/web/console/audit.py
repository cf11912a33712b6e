"""The audit page: who saw or changed what, and the signed checkpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import audit
from hub.web import render
from hub.web.api.audit import find
from hub.web.auth import ConsoleRoute, allow
from hub.web.console.view import page
from hub.web.context import hub_of

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
Filter = Annotated[str, Query(max_length=200)]
PAGE = 50


@router.get("/audit")
@allow("auditor")
def entries(
    request: Request, actor: Filter = "", action: Filter = "", resource: Filter = "", message: Filter = "",
    cursor: Annotated[str, Query(max_length=400)] = "",
) -> Response:  # fmt: skip
    """Filters hold ids and names of tokens, nothing of a patient."""
    number = message.strip()
    message_id = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else None
    query = audit.Query(actor.strip(), action.strip(), resource.strip(), message_id)
    rows, following = find(request, query, cursor, PAGE)
    with hub_of(request).engine.connect() as conn:
        heads = audit.checkpoints(conn, limit=5)
    shown = {"actor": actor, "action": action, "resource": resource, "message": message}
    return page(
        request, "audit.html", rows=[render.entry(row) for row in rows], following=following, search=shown, heads=heads,
        actions=sorted(Action),
    )  # fmt: skip
