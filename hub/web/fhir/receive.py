"""/fhir/R4 for systems that send: bundles to the base address, resources by PUT, POST and DELETE (rest-hook subscriptions).

Only with a token of the role `sender`, whose name the settings of one inbound channel say (docs/fhir-in.md). Every other
token is told that the façade is read only. Media type, size and time of a body are bounded before anything reads it.
"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hub.adapters.emr.fhir_in import Answer, Door, Sent
from hub.codecs.fhir import MEDIA_TYPE, is_id
from hub.web.auth import ApiRoute, allow, principal_of
from hub.web.context import hub_of
from hub.web.errors import ProblemError
from hub.web.fhir.answers import PREFIX, answer, base_of, negotiate
from hub.web.sent import record, within

MEDIA_TYPES = (MEDIA_TYPE, "application/json", "application/json+fhir")
READ_ONLY = "this façade is read only for this token; write by /api/v1, or send with a token of the role sender"


class SenderRoute(ApiRoute):
    """Bodies are FHIR JSON, as large as the sender's channel lets them be."""

    def check_media_type(self, request: Request) -> None:
        _door(request)  # who may not send at all need not be told how
        if request.method == "DELETE":
            return
        media, _, rest = request.headers.get("content-type", "").partition(";")
        if media.strip().lower() not in MEDIA_TYPES:
            raise ProblemError(415, f"send the body as {MEDIA_TYPE}", headers={"Accept-Post": MEDIA_TYPE})
        if "charset=" in rest.replace(" ", "").lower() and "utf-8" not in rest.lower():
            raise ProblemError(415, "FHIR JSON is UTF-8")

    def max_body(self, _request: Request) -> int:
        return _door(_request)[1].settings.max_body


router = APIRouter(prefix=PREFIX, route_class=SenderRoute)


@router.post("")
@router.post("/")
@allow("sender", "crm", "operator")
async def bundle(request: Request) -> Response:
    """A transaction or batch; or one resource, from a subscription that knows one address only."""
    return await _take(request, "", "")


@router.post("/{kind}")
@allow("sender", "crm", "operator")
async def create(request: Request, kind: str) -> Response:
    """A resource that the sender made."""
    return await _take(request, kind, "")


@router.put("/{kind}/{resource_id}")
@allow("sender", "crm", "operator")
async def update(request: Request, kind: str, resource_id: str) -> Response:
    """A resource as it stands at the sender."""
    return await _take(request, kind, resource_id)


@router.delete("/{kind}/{resource_id}")
@allow("sender", "crm", "operator")
async def delete(request: Request, kind: str, resource_id: str) -> Response:
    """A resource that the sender has no more."""
    return await _take(request, kind, resource_id)


async def _take(request: Request, kind: str, resource_id: str) -> Response:
    channel, door = _door(request)
    negotiate(request)
    if resource_id and not is_id(resource_id):
        raise ProblemError(400, "an id has 1 to 64 letters, digits, - and .")
    body = await within(door.settings.body_seconds, request.body())
    who = principal_of(request)
    sent = Sent(request.method, body, who.name, kind, resource_id, request.headers.get("if-none-exist", ""))
    return await run_in_threadpool(_stored, request, channel, door, sent)


def _door(request: Request) -> tuple[str, Door]:
    who, doors = principal_of(request), hub_of(request).doors
    found = doors.of_token(who.name) if doors is not None and who.role == "sender" else None
    if found is not None and not isinstance(found[1], Door):
        raise ProblemError(403, "the channel of this token takes no FHIR here", code="no_channel")
    if found is None and who.role == "sender":
        raise ProblemError(403, "no inbound channel names this token: write it into its tokens", code="no_channel")
    if found is None:
        raise ProblemError(405, READ_ONLY, headers={"Allow": "GET"})
    return found


def _stored(request: Request, channel: str, door: Door, sent: Sent) -> Response:
    doors = hub_of(request).doors
    assert doors is not None
    found: Answer = door.take(sent, doors)
    record(request, channel, found.stored)
    headers = dict(found.headers)
    if "Location" in headers:
        headers["Location"] = f"{base_of(request)}/{headers['Location']}"
    if found.document is None:
        return Response(status_code=found.status, headers={"Cache-Control": "no-store", **headers})
    return answer(found.document, found.status, headers)
