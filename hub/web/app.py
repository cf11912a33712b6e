"""The web application: API, console and health in one FastAPI, made from a WebHub. Nothing is loaded from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub import __version__
from hub.web import errors, idoc, ops, stow
from hub.web.api import appointments, audit, changes, channels, clinical, lists, messages, patients, tokens
from hub.web.api import docs as api_docs
from hub.web.auth import Denials, Throttle
from hub.web.console import pages
from hub.web.context import ChannelInfo, Explain, WebHub
from hub.web.fhir import answers as fhir_answers
from hub.web.fhir import receive as fhir_receive
from hub.web.fhir import routes as fhir

__all__ = ["ChannelInfo", "Explain", "WebHub", "create_app"]

API_ROUTERS: tuple[APIRouter, ...] = (
    patients.router, appointments.router, clinical.router, lists.router, changes.router, channels.router, messages.router,
    audit.router, tokens.router,
)  # fmt: skip
STATIC = Path(__file__).parent / "console" / "static"
ROUTERS: tuple[APIRouter, ...] = (
    *API_ROUTERS,
    fhir_receive.router,
    fhir.router,
    idoc.router,
    stow.router,
    ops.router,
    api_docs.router,
    *pages.ROUTERS,
)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # no-referrer would turn the Origin of our own log-in form into null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(hub: WebHub) -> FastAPI:
    """The ASGI application. It owns nothing that must be closed."""
    app = FastAPI(
        title="Hospital Hub",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.hub = hub
    app.state.logins = Throttle(most=5, seconds=60)
    app.state.denials = Denials(most=10, seconds=60)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    errors.install(app, fhir_answers.or_page(pages.error_page))
    app.add_middleware(Waking, written=hub.written)
    app.add_middleware(SecureHeaders)
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    return app


def openapi(app: FastAPI) -> dict[str, Any]:
    """OpenAPI 3.1 of /api/v1, with the bearer scheme, the roles of each call and the problem document."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title="Hospital Hub API",
            version="1",
            description=api_docs.DESCRIPTION,
            routes=[route for router in API_ROUTERS for route in router.routes],
        )
        app.openapi_schema = api_docs.complete(schema, API_ROUTERS)
    return app.openapi_schema


class SecureHeaders:
    """Headers of every answer: nothing from elsewhere runs in our pages, nobody frames them. Plain ASGI, no body touched."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Adds what the answer does not say itself."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers)


class Waking:
    """A write that went well is told to the workers at once: what it made is committed by then. Plain ASGI."""

    def __init__(self, app: ASGIApp, written: Callable[[], None]) -> None:
        self.app = app
        self.written = written

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Looks at the method and the status only."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self.written()
            await send(message)

        await self.app(scope, receive, watched)
