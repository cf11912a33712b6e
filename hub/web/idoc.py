"""/sap/idoc for SAP's XML-HTTP port: IDocs by POST, with a token of the role `sender` that one channel names.

SAP can log on by user and password only (SM59, type G): the token's name and the token; who can, sends it as a bearer token.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hub.adapters.erp.idoc_http_in import Answer, Door
from hub.web import sent
from hub.web.auth import ApiRoute, allow
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
    body = await sent.within(door.settings.body_seconds, request.body())
    return await run_in_threadpool(_stored, request, channel, door, body)


def _door(request: Request) -> tuple[str, Door]:
    return sent.door_of(request, Door, "IDocs")


def _stored(request: Request, channel: str, door: Door, body: bytes) -> Response:
    doors = hub_of(request).doors
    assert doors is not None
    found: Answer = door.take(body, doors)
    sent.record(request, channel, found.stored)
    return PlainTextResponse(f"{found.text}\n", found.status, headers={"Cache-Control": "no-store", **found.headers})
