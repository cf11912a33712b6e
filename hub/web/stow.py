"""/dicom-web/studies for systems that store instances (STOW-RS, PS3.18 10.5), with a token of the role `sender` of one channel.

The body is read as it comes and never held: see hub/adapters/pacs/dicomweb_in.py. Nothing can be retrieved here.
"""

from __future__ import annotations

import orjson
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hub.adapters.pacs.dicomweb_in import DICOM_JSON, Answer, Door, Taking
from hub.codecs.dicom.uid import is_uid
from hub.domain.errors import Unreadable
from hub.web import sent
from hub.web.auth import ApiRoute, allow, principal_of
from hub.web.context import hub_of
from hub.web.errors import ProblemError

PATH = "/dicom-web/studies"
TAKEN = (DICOM_JSON, "application/json", "application/*", "*/*")


class StowRoute(ApiRoute):
    """Bodies as large as the sender's channel lets them be: pixels are dropped as they come."""

    def check_media_type(self, request: Request) -> None:
        door = _door(request)[1]  # who may not send at all need not be told how
        try:
            door.begin(request.headers.get("content-type", ""), "", "")
        except Unreadable as error:
            raise ProblemError(415, error.reason) from None
        accepted = request.headers.get("accept", "*/*")
        if not any(one.partition(";")[0].strip().lower() in TAKEN for one in accepted.split(",")):
            raise ProblemError(406, f"the answer is {DICOM_JSON}")

    def max_body(self, request: Request) -> int:
        return _door(request)[1].settings.max_body


router = APIRouter(route_class=StowRoute, include_in_schema=False)


@router.post(PATH)
@allow("sender")
async def store(request: Request) -> Response:
    """Instances of any studies."""
    return await _take(request, "")


@router.post(PATH + "/{study}")
@allow("sender")
async def store_of_study(request: Request, study: str) -> Response:
    """Instances of one study."""
    if not is_uid(study):
        raise ProblemError(400, "the address has no Study Instance UID")
    return await _take(request, study)


async def _take(request: Request, study: str) -> Response:
    channel, door = _door(request)
    taking = door.begin(request.headers.get("content-type", ""), study, principal_of(request).name)
    try:
        await sent.within(door.settings.body_seconds, _read(request, taking))
    except Unreadable as error:
        raise ProblemError(400, f"{error.reason}; nothing was taken", code=error.code) from None
    return await run_in_threadpool(_stored, request, channel, door, taking)


async def _read(request: Request, taking: Taking) -> None:
    async for chunk in request.stream():
        taking.feed(chunk)
    taking.end()


def _door(request: Request) -> tuple[str, Door]:
    return sent.door_of(request, Door, "STOW-RS")


def _stored(request: Request, channel: str, door: Door, taking: Taking) -> Response:
    doors = hub_of(request).doors
    assert doors is not None
    found: Answer = door.take(taking, doors)
    sent.record(request, channel, found.stored)
    headers = {"Cache-Control": "no-store", **found.headers}
    if found.document is None:
        return PlainTextResponse(f"{found.text}\n", found.status, headers=headers)
    return Response(orjson.dumps(found.document), found.status, headers=headers, media_type=DICOM_JSON)
