"""The first page: channels with live counts and lag; one channel with its blocked lanes; pause, resume, ping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.db.views import channels, peer
from hub.domain.errors import HubError, NotFound
from hub.web import render
from hub.web.api.bodies import audit_reason
from hub.web.api.channels import known, list_channels
from hub.web.auth import EVERYONE, ConsoleRoute, allow, check_csrf, principal_of
from hub.web.console.view import page
from hub.web.context import hub_of

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
Csrf = Annotated[str, Form(max_length=100)]
ReasonText = Annotated[str, Form(min_length=3, max_length=200), AfterValidator(audit_reason)]


@router.get("/")
@allow(*EVERYONE)
def home(request: Request) -> Response:
    """Channels; a front-end's token has none to see and is led to the patients."""
    if principal_of(request).role == "crm":
        return RedirectResponse("/patients", 303)
    hub = hub_of(request)
    with hub.engine.connect() as conn:
        alerts = channels.alerts(conn)
    found = list_channels(hub)
    groups = [
        (title, [one for one in found if one["direction"] == direction])
        for title, direction in (("inbound", "in"), ("outbound", "out"), ("former", ""))
    ]
    return page(request, "channels.html", groups=[group for group in groups if group[1]], alerts=alerts)


@router.get("/console/status")
@allow("operator", "auditor")
def status(request: Request) -> Response:
    """What the page of channels asks for every two seconds."""
    return render.answer({"channels": list_channels(hub_of(request))})


@router.get("/channels/{name}")
@allow("operator", "auditor")
def one(request: Request, name: str) -> Response:
    """One channel."""
    return _show(request, name)


@router.post("/channels/{name}/pause")
@allow("operator")
def pause(request: Request, name: str, reason: ReasonText, csrf: Csrf = "") -> Response:
    """Pause with a reason."""
    check_csrf(request, csrf)
    known(request, name).operations.pause(name, reason=reason, actor=principal_of(request).actor)
    return RedirectResponse(f"/channels/{name}", 303)


@router.post("/channels/{name}/resume")
@allow("operator")
def resume(request: Request, name: str, reason: ReasonText, csrf: Csrf = "") -> Response:
    """Resume with a reason."""
    check_csrf(request, csrf)
    known(request, name).operations.resume(name, reason=reason, actor=principal_of(request).actor)
    return RedirectResponse(f"/channels/{name}", 303)


@router.post("/channels/{name}/ping")
@allow("operator")
def ping(request: Request, name: str, csrf: Csrf = "") -> Response:
    """Ask the target; its answer, or why there is none, stands on the page."""
    check_csrf(request, csrf)
    hub = known(request, name)
    try:
        said: dict[str, Any] = {"ok": True, "text": hub.operations.ping(name, actor=principal_of(request).actor)}
    except HubError as error:
        said = {"ok": False, "text": error.reason}
    return _show(request, name, said)


def _show(request: Request, name: str, said: dict[str, Any] | None = None) -> Response:
    settings = next((one.settings for one in hub_of(request).channels() if one.name == name), {})
    for found in list_channels(hub_of(request)):
        if found["name"] == name:
            return page(request, "channel.html", channel=found, said=said, settings=settings, peer=_peer(request, found))
    raise NotFound("there is no such channel")


def _peer(request: Request, channel: Mapping[str, object]) -> peer.Peer:
    """The system behind a channel, as its newest messages show it."""
    with hub_of(request).engine.connect() as conn:
        return peer.of_channel(conn, str(channel["name"]), str(channel["direction"] or "in"))
