"""Logging in with a token, logging out, choosing a language."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.audit.actions import Action
from hub.db.auth import SESSION_LIFE
from hub.web.auth import COOKIE, EVERYONE, ConsoleRoute, SecureRoute, allow, check_csrf, client_ip, denied, principal_of, public
from hub.web.console.texts import LANGUAGES
from hub.web.console.view import LANGUAGE_COOKIE, page
from hub.web.context import hub_of
from hub.web.errors import ProblemError

open_router = APIRouter(route_class=SecureRoute, include_in_schema=False)
router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
YEAR = 365 * 24 * 3600


@open_router.get("/login")
@public
def form(request: Request, next: str = "/") -> Response:  # noqa: A002 - the parameter's name in the URL
    """The log-in form."""
    return page(request, "login.html", problem="", next=local_path(next))


@open_router.post("/login")
@public
def login(
    request: Request,
    token: Annotated[str, Form(max_length=200)] = "",
    next: Annotated[str, Form(max_length=500)] = "/",  # noqa: A002
) -> Response:
    """A session for a token; five failures a minute from one address, then it has to wait."""
    hub, address = hub_of(request), client_ip(request)
    throttle, now = request.app.state.logins, hub.clock()
    _same_origin(request)
    if throttle.tired(address, now):
        return page(request, "login.html", 429, problem="login_throttled", next=local_path(next))
    found = hub.access.authenticate(token.strip(), now=now)
    if found is None or found.role not in EVERYONE:  # a system that sends has nothing to look at
        throttle.failed(address, now)
        denied(hub, request, "token", why="login")
        return page(request, "login.html", 401, problem="login_failed", next=local_path(next))
    cookie, _ = hub.access.open_session(found, now=now)
    hub.audit.append(Action.SESSION_OPENED, actor=f"token:{found.name}", detail={"ip": address})
    response = RedirectResponse(local_path(next), 303)
    response.set_cookie(
        COOKIE, cookie, max_age=SESSION_LIFE // 1_000_000, httponly=True, samesite="strict", secure=hub.https, path="/"
    )
    return response


@router.post("/logout")
@allow(*EVERYONE)
def logout(request: Request, csrf: Annotated[str, Form(max_length=100)] = "") -> Response:
    """Ends the session, here and in the browser."""
    check_csrf(request, csrf)
    hub, who = hub_of(request), principal_of(request)
    hub.access.close_session(request.cookies.get(COOKIE, ""))
    hub.audit.append(Action.SESSION_CLOSED, actor=who.actor, detail={"ip": who.ip})
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=hub.https, path="/")
    return response


@open_router.get("/language/{code}")
@public
def choose_language(request: Request, code: str, next: str = "/") -> Response:  # noqa: A002
    """Remembers the language in a cookie and goes back."""
    response = RedirectResponse(local_path(next), 303)
    if code in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, code, max_age=YEAR, samesite="lax", secure=hub_of(request).https, httponly=True)
    return response


def local_path(text: str) -> str:
    """A path of this site, else "/": nobody is sent elsewhere after logging in."""
    parts = urlsplit(text)
    safe = text.startswith("/") and not text.startswith("//") and "\\" not in text and not parts.netloc and text.isprintable()
    return text if safe else "/"


def _same_origin(request: Request) -> None:
    """A log-in form posted from another site is refused (browsers send Origin with every POST).

    A sandboxed frame sends `null`; our own pages do not, because of their Referrer-Policy (Fetch §3.2).
    """
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        raise ProblemError(403, "this form comes from another site", code="origin")
