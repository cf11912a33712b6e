"""/sap/idoc for SAP's XML-HTTP port: IDocs by POST, with a token of the role `sender` that one channel names.

SAP can log on by user and password only (SM59, type G): the token's name and the token; who can, sends it as a bearer token.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from hub.adapters.erp.idoc_http_in import Answer, Door
from hub.audit.actions import Action
from hub.web.auth import ApiRoute, allow, principal_of
from hub.web.context import hub_of
from hub.web.errors import ProblemError

PATH = "/sap/idoc"
MEDIA_TYPES = ("text/xml", "application/xml", "application/x-sap.idoc")


class IdocRoute(ApiRoute):
    """Bodies are XML, as large as the sender's channel lets them be."""

    basic = True

    def check_media_type(self, request: Request) -> None:
        _door(request)  # who may not send at all need not be told how
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and media not in MEDIA_TYPES:
            raise ProblemError(415, f"send the body as {MEDIA_TYPES[0]}", headers={"Accept-Post": MEDIA_TYPES[0]})

    def max_body(self, request: Request) -> int:
        return _door(request)[1].settings.max_body


router = APIRouter(route_class=IdocRoute, include_in_schema=False)


@router.get(PATH)
@allow("sender")
def look(request: Request) -> Response:
    """SM59's connection test."""
    return PlainTextResponse(f"IDocs of {_door(request)[0]} are taken here by POST\n", headers={"Cache-Control": "no-store"})


@router.post(PATH)
@allow("sender")
async def take(request: Request) -> Response:
    """One IDoc or a packet of them."""
    channel, door = _door(request)
    try:
        body = await asyncio.wait_for(request.body(), door.settings.body_seconds)
    except TimeoutError:
        late = "the body did not come in time; nothing was taken"
        raise ProblemError(408, late, code="timeout", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise ProblemError(400, "the connection ended in the middle of the body; nothing was taken", code="cut") from None
    return await run_in_threadpool(_stored, request, channel, door, body)


def _door(request: Request) -> tuple[str, Door]:
    who, doors = principal_of(request), hub_of(request).doors
    found = doors.of_token(who.name) if doors is not None else None
    if found is None or not isinstance(found[1], Door):
        raise ProblemError(403, "no channel of IDocs names this token: write it into its tokens", code="no_channel")
    return found


def _stored(request: Request, channel: str, door: Door, body: bytes) -> Response:
    hub, who = hub_of(request), principal_of(request)
    assert hub.doors is not None
    found: Answer = door.take(body, hub.doors)
    if found.stored:
        detail = {"ip": who.ip, "count": len(found.stored), "first": min(found.stored), "last": max(found.stored)}
        hub.audit.append(Action.MESSAGE_RECEIVED, actor=who.actor, channel=channel, detail=detail)
    return PlainTextResponse(f"{found.text}\n", found.status, headers={"Cache-Control": "no-store", **found.headers})
