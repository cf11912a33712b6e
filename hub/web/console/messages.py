"""Messages: search (by POST, so that no patient number stands in a URL), and one message's story with replay and discard."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Form, Query
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.web import render
from hub.web.api.bodies import audit_reason
from hub.web.api.messages import STATES, MessageSearch, find, tell
from hub.web.auth import ConsoleRoute, allow, check_csrf, principal_of
from hub.web.console.view import page, soft
from hub.web.context import hub_of
from hub.web.params import RowId

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
Word = Annotated[str, Form(max_length=200)]
Filter = Annotated[str, Query(max_length=200)]
ReasonText = Annotated[str, Form(min_length=3, max_length=200), AfterValidator(audit_reason)]
PAGE = 50


@router.get("/messages")
@allow("operator", "auditor")
def latest(request: Request, channel: Filter = "", state: Filter = "") -> Response:
    """The newest messages, by channel and state where a link says so."""
    return _list(request, MessageSearch(channel=channel, state=state if state in STATES else "", limit=PAGE))


@router.post("/messages")
@allow("operator", "auditor")
def search(
    request: Request,
    csrf: Annotated[str, Form(max_length=100)] = "",
    patient: Word = "",
    control_id: Word = "",
    type: Word = "",  # noqa: A002 - the field's name in the form
    state: Word = "",
    channel: Word = "",
    since: Word = "",
    until: Word = "",
    cursor: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    """A search, or the next page of one."""
    check_csrf(request, csrf)
    wanted = MessageSearch(
        patient=patient, controlId=control_id, type=type, state=state if state in STATES else "", channel=channel, since=since,
        until=until, cursor=cursor, limit=PAGE,
    )  # fmt: skip
    return _list(request, wanted)


@router.get("/messages/{message_id}")
@allow("operator", "auditor")
def one(request: Request, message_id: RowId, done: bool = False) -> Response:
    """One message's story."""
    story = tell(request, message_id)
    if "content" in story:
        story["content"]["facts"] = soft(story["content"]["facts"])
    return page(request, "message.html", story=story, done=done)


@router.post("/messages/{message_id}/replay")
@allow("operator")
def replay(request: Request, message_id: RowId, reason: ReasonText, csrf: Word = "") -> Response:
    """Back into its lane."""
    check_csrf(request, csrf)
    hub_of(request).operations.replay(message_id, reason=reason, actor=principal_of(request).actor)
    return RedirectResponse(f"/messages/{message_id}?done=1", 303)


@router.post("/messages/{message_id}/discard")
@allow("operator")
def discard(request: Request, message_id: RowId, reason: ReasonText, csrf: Word = "") -> Response:
    """Given up."""
    check_csrf(request, csrf)
    hub_of(request).operations.discard(message_id, reason=reason, actor=principal_of(request).actor)
    return RedirectResponse(f"/messages/{message_id}?done=1", 303)


@router.post("/messages/{message_id}/settle")
@allow("operator")
def settle(request: Request, message_id: RowId, reason: ReasonText, acted: Annotated[bool, Form()], csrf: Word = "") -> Response:
    """A person found out whether the target acted."""
    check_csrf(request, csrf)
    hub_of(request).operations.settle(message_id, acted=acted, reason=reason, actor=principal_of(request).actor)
    return RedirectResponse(f"/messages/{message_id}?done=1", 303)


def _list(request: Request, wanted: MessageSearch) -> Response:
    hub = hub_of(request)
    shown = wanted.model_copy()
    zone = ZoneInfo(hub.timezone)
    wanted.since, wanted.until = _with_offset(wanted.since, zone), _with_offset(wanted.until, zone)
    rows, following = find(request, wanted)
    return page(
        request, "messages.html", rows=[render.message(row) for row in rows], following=following, search=shown, states=STATES,
        channels=sorted(channel.name for channel in hub.channels()),
    )  # fmt: skip


def _with_offset(text: str, zone: ZoneInfo) -> str:
    """What a date field of the browser gives is the hospital's time."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).isoformat()
