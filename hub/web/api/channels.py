"""/api/v1/channels: counts, lag and blocked lanes of each; pause, resume, ping."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.db.views import channels
from hub.domain.errors import NotFound
from hub.web import render
from hub.web.api.bodies import Reason
from hub.web.auth import ApiRoute, allow, principal_of
from hub.web.context import WebHub, hub_of

router = APIRouter(prefix="/api/v1", tags=["Channels"], route_class=ApiRoute)


@router.get("/channels", summary="All channels with their counts")
@allow("operator", "auditor")
def every(request: Request) -> Response:
    """Counts by state, how long the oldest message waits, lanes that stand still and behind which message, breaker."""
    return render.page(list_channels(hub_of(request)), None)


@router.get("/channels/{name}", summary="One channel")
@allow("operator", "auditor")
def read(request: Request, name: str) -> Response:
    """As in the list."""
    for one in list_channels(hub_of(request)):
        if one["name"] == name:
            return render.answer(one)
    raise NotFound("there is no such channel")


@router.post("/channels/{name}/pause", summary="Pause a channel")
@allow("operator")
def pause(request: Request, name: str, body: Reason) -> Response:
    """In: messages are still stored and answered, and wait. Out: nothing is sent. The reason goes into the audit log."""
    hub = known(request, name)
    hub.operations.pause(name, reason=body.reason, actor=principal_of(request).actor)
    return read(request, name)


@router.post("/channels/{name}/resume", summary="Resume a channel")
@allow("operator")
def resume(request: Request, name: str, body: Reason) -> Response:
    """Also a channel that the hub itself has stopped."""
    hub = known(request, name)
    hub.operations.resume(name, reason=body.reason, actor=principal_of(request).actor)
    return read(request, name)


@router.post("/channels/{name}/ping", summary="Ask a target whether it is there")
@allow("operator")
def ping(request: Request, name: str) -> Response:
    """What the target said, in a line; a problem document where it is not there."""
    hub = known(request, name)
    return render.answer({"channel": name, "said": hub.operations.ping(name, actor=principal_of(request).actor)})


def list_channels(hub: WebHub) -> list[dict[str, object]]:
    """Every configured channel, and those that still hold messages, with status."""
    infos = {one.name: one for one in hub.channels()}
    with hub.engine.connect() as conn:
        rows = channels.status(conn, infos, skipping=hub.skipping(), now=hub.clock())
    unknown = {"system": "", "adapter": "", "direction": "", "on_dead": "block", "title": "", "enabled": False}
    found = []
    for row in rows:
        info = asdict(infos[row.channel]) if row.channel in infos else {"name": row.channel, **unknown}
        info["onDead"] = info.pop("on_dead")
        info.pop("settings", None)  # for the console's page of one channel
        found.append(render.channel(row, info))
    return found


def known(request: Request, name: str) -> WebHub:
    """The hub, if it has that channel. Raises NotFound."""
    hub = hub_of(request)
    if all(one.name != name for one in hub.channels()):
        raise NotFound("there is no such channel")
    return hub
