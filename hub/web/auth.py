"""Who asks, and may they: decided from the headers alone, before a byte of the body is read.

Deny by default: a route without `@allow(...)` cannot be made at all. API routes take a bearer token, console routes a
session cookie, never the other way round, so a browser that is logged in cannot be made to call the API (CSRF).
Forms of the console carry the session's CSRF word; cookies are HttpOnly and SameSite=Strict.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import threading
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hub.audit.actions import Action
from hub.db.auth import ROLES, Role, TokenRow
from hub.web.context import WebHub, hub_of
from hub.web.errors import ProblemError

COOKIE = "hub_session"
MAX_BODY = 1_000_000  # bytes; the largest thing a front-end has to say is one patient
JSON_TYPES = ("application/json", "application/merge-patch+json")
FORM_TYPES = ("application/x-www-form-urlencoded",)
PUBLIC = "public"
EVERYONE: tuple[Role, ...] = tuple(role for role in ROLES if role != "sender")  # who looks at something
ADMIN: Role = "admin"

F = TypeVar("F", bound=Callable[..., Any])
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `csrf` only with a browser's session; `ip` as the connection says."""

    token_id: str
    name: str
    role: Role
    ip: str
    csrf: str = ""

    @property
    def actor(self) -> str:
        """As the audit log names them."""
        return f"token:{self.name}"


def allow(*roles: Role) -> Callable[[F], F]:
    """Declares which roles may call a route; admin always may. `allow()` alone means admin only."""

    def mark(endpoint: F) -> F:
        cast(Any, endpoint).hub_roles = frozenset(roles) | {ADMIN}
        return endpoint

    return mark


def public(endpoint: F) -> F:
    """Declares a route that anybody may call: log-in, health, static files. Never one that shows data."""
    cast(Any, endpoint).hub_roles = PUBLIC
    return endpoint


def principal_of(request: Request) -> Principal:
    """Who asks, once SecureRoute has let them in."""
    return cast(Principal, request.state.principal)


class SecureRoute(APIRoute):
    """A route that authenticates, checks the role and bounds the body before anything else happens."""

    def check_media_type(self, request: Request) -> None:
        """Raises ProblemError 415 where the body is not of a kind that this route reads."""
        _check_media_type(request)

    def max_body(self, _request: Request) -> int:
        """Bytes that a body may have."""
        return MAX_BODY

    def get_route_handler(self) -> Handler:
        roles = getattr(self.endpoint, "hub_roles", None)
        if roles is None:
            raise TypeError(f"{self.path} says with neither @allow nor @public who may call it")
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if roles != PUBLIC:
                refusal = await run_in_threadpool(self.admit, request, roles)
                if refusal is not None:
                    return refusal
            self.check_media_type(request)
            most = self.max_body(request)
            return await inner(Request(request.scope, _bounded(request.receive, request.headers.get("content-length"), most)))

        return handle

    @abstractmethod
    def admit(self, request: Request, roles: frozenset[str]) -> Response | None:
        """None: come in, `request.state.principal` is set. Raises ProblemError 401 or 403, or answers (a redirect)."""
        ...


class ApiRoute(SecureRoute):
    """Bearer token (RFC 6750)."""

    basic = False  # True: also user and password (RFC 7617), a token's name and the token, for systems that know nothing else

    def admit(self, request: Request, roles: frozenset[str]) -> Response | None:
        hub = hub_of(request)
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        user = ""
        if scheme.lower() == "basic" and self.basic:
            user, secret = _user_and_password(secret)
        known = scheme.lower() == "bearer" or user
        token = hub.access.authenticate(secret.strip(), now=hub.clock()) if known else None
        if token is None or (user and token.name != user):
            if secret:
                denied(hub, request, "token", why="unknown")
            asked = 'Basic realm="hub", charset="UTF-8"' if self.basic else "Bearer"
            raise ProblemError(401, "a valid bearer token is needed", headers={"WWW-Authenticate": asked})
        _let_in(hub, request, token, roles)
        return None


class ConsoleRoute(SecureRoute):
    """Session cookie; without one, pages lead to the log-in."""

    def admit(self, request: Request, roles: frozenset[str]) -> Response | None:
        hub = hub_of(request)
        cookie = request.cookies.get(COOKIE, "")
        session = hub.access.session(cookie, now=hub.clock()) if cookie else None
        if session is None:
            if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
                return RedirectResponse(f"/login?next={request.url.path}", 303)
            raise ProblemError(401, "log in first")
        _let_in(hub, request, session.token, roles, session.csrf)
        return None


def _user_and_password(text: str) -> tuple[str, str]:
    """RFC 7617 §2; two empty texts where it is none."""
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", ""
    return (user, password) if colon and user else ("", "")


def check_csrf(request: Request, word: str) -> None:
    """A form must carry the session's word. Raises ProblemError 403."""
    if not hmac.compare_digest(principal_of(request).csrf.encode(), word.encode()):
        raise ProblemError(403, "this form is not of this session: load the page again", code="csrf")


def client_ip(request: Request) -> str:
    """The address that the connection came from; IPv6 written out, so that it is one word in the audit log."""
    host = request.client.host if request.client else "unknown"
    return ipaddress.IPv6Address(host.partition("%")[0]).exploded if ":" in host else host


class Throttle:
    """At most `most` failures an address within `seconds`; kept in memory, because forgetting it harms nobody."""

    def __init__(self, most: int = 5, seconds: float = 60.0) -> None:
        self._most, self._life = most, int(seconds * 1_000_000)
        self._failures: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def tired(self, address: str, now: int) -> bool:
        """Whether this address has failed too often lately."""
        with self._lock:
            return len(self._recent(address, now)) >= self._most

    def failed(self, address: str, now: int) -> None:
        """Count one failure."""
        with self._lock:
            if len(self._failures) > 10_000:
                self._failures.clear()
            self._failures[address] = [*self._recent(address, now), now]

    def _recent(self, address: str, now: int) -> list[int]:
        return [at for at in self._failures.get(address, ()) if at > now - self._life][-self._most :]


class Denials:
    """Which denials get an entry of their own: the first `most` of a kind within `seconds`; of a flood the 100th, 1000th …
    and the next after it, each saying how many it stands for. A kind is an address, an actor and a reason, so that a flood
    from one hides no other."""

    def __init__(self, most: int = 10, seconds: float = 60.0) -> None:
        self._most, self._life = most, int(seconds * 1_000_000)
        self._kinds: dict[tuple[str, str, str], tuple[int, int, int]] = {}  # since, how many, how many are written
        self._lock = threading.Lock()

    def count(self, kind: tuple[str, str, str], now: int) -> int:
        """How many denials the entry for this one stands for; 0: none is to be written."""
        with self._lock:
            if len(self._kinds) > 10_000:
                self._kinds.clear()
            since, seen, written = self._kinds.get(kind, (now, 0, 0))
            if now - since > self._life:
                self._kinds[kind] = (now, 1, 1)
                return seen - written + 1  # what was not written yet is told with this one
            seen += 1
            big = self._most
            while big < seen:
                big *= 10
            due = seen - written if seen <= self._most or seen == big else 0
            self._kinds[kind] = (since, seen, written + due)
            return due


def denied(hub: WebHub, request: Request, actor: str, *, why: str) -> None:
    """Writes down that somebody was turned away; of a flood, how many times."""
    denials: Denials = request.app.state.denials
    address = client_ip(request)
    times = denials.count((address, actor, why), hub.clock())
    if not times:
        return
    path = getattr(request.scope.get("route"), "path", "").strip("/").replace("{", ":").replace("}", "") or "root"
    detail: dict[str, Any] = {"ip": address, "why": why, "method": request.method, "route": path}
    hub.audit.append(Action.ACCESS_DENIED, actor=actor, detail=detail | ({"times": times} if times > 1 else {}))


def _let_in(hub: WebHub, request: Request, token: TokenRow, roles: frozenset[str], csrf: str = "") -> None:
    if token.role not in roles:
        denied(hub, request, f"token:{token.name}", why="role")
        raise ProblemError(403, "the role of this token may not do this")
    request.state.principal = Principal(token.id, token.name, token.role, client_ip(request), csrf)


def _check_media_type(request: Request) -> None:
    """What has a body is JSON for the API (patches too), a form for the console."""
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = JSON_TYPES if request.url.path.startswith("/api/") else FORM_TYPES
    if media not in wanted:
        raise ProblemError(415, f"send the body as {wanted[0]}", headers={"Accept-Patch": "application/merge-patch+json"})


def _bounded(receive: Receive, content_length: str | None, most: int) -> Receive:
    """`receive` that stops a body beyond `most` bytes, said in Content-Length or found while reading."""
    # FastAPI passes on no other kind from here; closed, because whoever sends too much would go on sending it
    too_large = HTTPException(413, f"a body has at most {most} bytes", {"Connection": "close"})
    if content_length is not None and content_length.isdigit() and int(content_length) > most:
        raise too_large
    read = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal read
        part = await receive()
        read += len(part.get("body", b""))
        if read > most:
            raise too_large
        return part

    return bounded
