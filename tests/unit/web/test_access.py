"""Who may do what: every route unauthenticated, every route with every role, tokens, sessions, body limits, throttling."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from sqlalchemy import select
from starlette.testclient import TestClient

from hub.db import tables as t
from hub.db.auth import ROLES
from hub.web.app import API_ROUTERS, ROUTERS, WebHub
from hub.web.auth import COOKIE, MAX_BODY, PUBLIC, ApiRoute, Denials
from tests import web_kit
from tests.web_kit import BOOKING, HONG, VISIT

As = Callable[[str], TestClient]
FILL = {
    "patient_id": HONG, "appointment_id": BOOKING, "encounter_id": VISIT, "message_id": "2", "change_id": "1", "name": "crm-out",
    "token_id": "nobody", "code": "en", "kind": "Patient", "resource_id": HONG, "version": "1", "operation": "$everything",
    "study": "1.2.410.1",
}  # fmt: skip

# What each role may reach, written down a second time: whoever opens a route must say so here too.
PATIENTS_READ = {"crm", "operator", "admin"}
PATIENTS_WRITE = {"crm", "admin"}
WATCH = {"operator", "auditor", "admin"}
OPERATE = {"operator", "admin"}
OWNED = (
    "orders", "results", "observations", "medications", "conditions", "procedures", "allergies", "documents",
    "imaging-studies", "charges", "invoices", "payments", "accounts",
)  # fmt: skip
MASTER = ("practitioners", "organizations", "catalogue", "schedules", "slots", "locations", "tests")
API_MATRIX: dict[str, set[str]] = {
    "POST /patients/search": PATIENTS_READ, "GET /patients": PATIENTS_READ, "POST /patients": PATIENTS_WRITE,
    "GET /patients/{patient_id}": PATIENTS_READ, "PATCH /patients/{patient_id}": PATIENTS_WRITE,
    "GET /patients/{patient_id}/relationships": PATIENTS_READ, "GET /patients/{patient_id}/coverages": PATIENTS_READ,
    "GET /patients/{patient_id}/encounters": PATIENTS_READ, "GET /patients/{patient_id}/appointments": PATIENTS_READ,
    "POST /patients/{patient_id}/appointments": PATIENTS_WRITE, "GET /patients/{patient_id}/timeline": PATIENTS_READ,
    "GET /patients/{patient_id}/history": PATIENTS_READ, "GET /patients/{patient_id}/lineage": PATIENTS_READ,
    "GET /patients/{patient_id}/sync": PATIENTS_READ,
    "GET /appointments/{appointment_id}": PATIENTS_READ, "GET /appointments/{appointment_id}/lineage": PATIENTS_READ,
    "PATCH /appointments/{appointment_id}": PATIENTS_WRITE, "POST /appointments/{appointment_id}/cancel": PATIENTS_WRITE,
    "DELETE /appointments/{appointment_id}": PATIENTS_WRITE,
    "GET /encounters/{encounter_id}": PATIENTS_READ, "GET /encounters/{encounter_id}/lineage": PATIENTS_READ,
    **{f"GET /patients/{{patient_id}}/{name}": PATIENTS_READ for name in OWNED},
    **{f"GET /{name}/{{resource_id}}{part}": PATIENTS_READ for name in (*OWNED, *MASTER) for part in ("", "/lineage")},
    **{f"GET /{name}": PATIENTS_READ for name in (*MASTER, "referrals", "referrers")},
    "GET /changes": PATIENTS_WRITE, "GET /snapshot": PATIENTS_WRITE, "GET /changes/{change_id}": PATIENTS_READ,
    "GET /changes/{change_id}/deliveries": PATIENTS_READ,
    "GET /channels": WATCH, "GET /channels/{name}": WATCH, "POST /channels/{name}/pause": OPERATE,
    "POST /channels/{name}/resume": OPERATE, "POST /channels/{name}/ping": OPERATE,
    "POST /messages/search": WATCH, "GET /messages": WATCH, "GET /messages/{message_id}": WATCH,
    "POST /messages/{message_id}/replay": OPERATE, "POST /messages/{message_id}/discard": OPERATE,
    "POST /messages/{message_id}/settle": OPERATE,
    "GET /audit/entries": {"auditor", "admin"}, "GET /audit/checkpoints": {"auditor", "admin"},
    "GET /tokens": {"admin"}, "POST /tokens": {"admin"}, "DELETE /tokens/{token_id}": {"admin"},
}  # fmt: skip


def routes(routers: tuple[APIRouter, ...]) -> Iterator[tuple[str, str, APIRoute]]:
    """(method, path with ids filled in, route) of every route there is."""
    for router in routers:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in sorted(route.methods or ()):
                yield method, re.sub(r"\{(\w+)\}", lambda match: FILL[match.group(1)], route.path), route


CLOSED = [(m, p, r) for m, p, r in routes(ROUTERS) if getattr(r.endpoint, "hub_roles", None) != PUBLIC]
NAMES = [f"{method} {path}" for method, path, _ in CLOSED]


@pytest.fixture(scope="module")
def stranger(filled: Path) -> Iterator[TestClient]:
    """A client without a token: one for all routes, since whoever is turned away changes nothing."""
    engine = web_kit.engine_for(f"sqlite:///{filled}?mode=ro&uri=true")
    with web_kit.api(web_kit.make_hub(engine, audit=NoAudit())) as client:
        yield client
    engine.dispose()


class NoAudit:
    def append(self, action: str, **_: object) -> None:
        assert action == "access.denied"


@pytest.mark.parametrize(("method", "path", "route"), CLOSED, ids=NAMES)
def test_nobody_comes_in_without_a_token(stranger: TestClient, method: str, path: str, route: APIRoute) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer hub_wrong"},
        {"Authorization": "Basic aHViOmh1Yg=="},
        {"Cookie": f"{COOKIE}=x"},
    ):
        answer = stranger.request(method, path, content=b"{broken", headers={"Content-Type": "application/json", **headers})
        assert answer.status_code == 401, (headers, answer.text)
        assert "홍길동" not in answer.text
        if isinstance(route, ApiRoute):
            told = answer.json()
            assert (told.get("detail") or told["issue"][0]["diagnostics"]) == "a valid bearer token is needed"
            assert answer.headers["www-authenticate"].startswith("Basic" if route.basic else "Bearer")


def test_only_these_routes_are_open() -> None:
    found = {
        f"{method} {path}" for method, path, route in routes(ROUTERS) if getattr(route.endpoint, "hub_roles", None) == PUBLIC
    }
    assert found == {
        "GET /login", "POST /login", "GET /language/en", "GET /healthz", "GET /readyz", "GET /metrics", "GET /docs",
        "GET /api/v1/openapi.json", "GET /fhir/R4/metadata",
    }  # fmt: skip


def test_every_api_route_stands_in_the_matrix() -> None:
    found = {f"{method} {route.path.removeprefix('/api/v1')}" for method, _, route in routes(API_ROUTERS)}
    assert found == set(API_MATRIX)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reaches_what_it_may(as_role: As, role: str) -> None:
    for method, path, route in routes(API_ROUTERS):
        may = role in API_MATRIX[f"{method} {route.path.removeprefix('/api/v1')}"]
        answer = as_role(role).request(method, path)  # without body or If-Match: nothing is changed
        assert (answer.status_code != 403) == may, (method, path, answer.status_code)
        assert answer.status_code not in (401, 500), (method, path, answer.text)


def test_a_route_that_does_not_say_who_may_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="who may call it"):
        APIRouter(route_class=ApiRoute).get("/api/v1/oops")(lambda: None)


def test_a_session_is_no_key_to_the_api_and_a_token_none_to_the_console(hub: WebHub) -> None:
    client, secret = web_kit.api(hub), web_kit.token_for(hub, "admin")
    assert client.post("/login", data={"token": secret}).status_code == 303
    assert client.get("/api/v1/channels").status_code == 401
    assert web_kit.api(hub, secret).get("/messages").status_code == 401


def test_revoked_and_expired_tokens_are_as_unknown_as_any(hub: WebHub) -> None:
    secret = web_kit.token_for(hub, "crm", "old")
    client = web_kit.api(hub, secret)
    assert client.get(f"/api/v1/patients/{HONG}").status_code == 200
    hub.access.revoke_token("old", now=hub.clock())
    gone = client.get(f"/api/v1/patients/{HONG}")
    unknown = web_kit.api(hub, "hub_nobody").get(f"/api/v1/patients/{HONG}")
    assert (gone.status_code, gone.json()) == (unknown.status_code, unknown.json())
    _, late = hub.access.create_token("late", "crm", now=0, expires_at=1)
    assert web_kit.api(hub, late).get(f"/api/v1/patients/{HONG}").status_code == 401


def test_tokens_are_stored_as_hashes_only(hub: WebHub, as_role: As) -> None:
    made = as_role("admin").post("/api/v1/tokens", json={"name": "call-centre", "role": "crm"})
    secret = made.json()["secret"]
    assert made.status_code == 201
    assert re.fullmatch(r"hub_[\w-]{43}", secret)
    with hub.engine.connect() as conn:
        stored = str([tuple(row) for row in conn.execute(select(t.token))])
    assert secret not in stored
    assert secret not in as_role("admin").get("/api/v1/tokens").text
    assert secret not in str(hub.audit.entries())  # type: ignore[attr-defined]
    again = as_role("admin").post("/api/v1/tokens", json={"name": "call-centre", "role": "crm"})
    assert (again.status_code, again.json()["code"]) == (422, "name_taken")
    assert as_role("admin").delete(f"/api/v1/tokens/{made.json()['id']}").json()["revokedAt"]
    assert web_kit.api(hub, secret).get(f"/api/v1/patients/{HONG}").status_code == 401
    assert {"token.created", "token.revoked"} <= set(hub.audit.actions())  # type: ignore[attr-defined]


def test_authentication_comes_before_the_body(hub: WebHub, as_role: As) -> None:
    huge = b"[" * (MAX_BODY + 1)
    json = {"Content-Type": "application/json"}
    assert web_kit.api(hub).post("/api/v1/patients", content=huge, headers=json).status_code == 401
    answer = as_role("crm").post("/api/v1/patients", content=huge, headers=json)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")

    def endless() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 10_000 + 2):
            yield b" " * 10_000

    chunked = as_role("crm").post("/api/v1/patients", content=endless(), headers=json)
    assert (chunked.status_code, chunked.json()["code"]) == (413, "too_large")


def test_denials_are_written_down_but_not_without_end(hub: WebHub, as_role: As) -> None:
    as_role("auditor").get(f"/api/v1/patients/{HONG}")
    last = hub.audit.entries()[-1]  # type: ignore[attr-defined]
    assert (last["action"], last["actor"], last["detail"]["why"]) == ("access.denied", "token:auditor-1", "role")
    client = web_kit.api(hub, "hub_nobody")
    for _ in range(50):
        client.get("/api/v1/patients")
    assert hub.audit.actions().count("access.denied") <= 11  # type: ignore[attr-defined]


def test_a_flood_of_denials_is_counted_and_hides_no_other(hub: WebHub, as_role: As) -> None:
    flood = web_kit.api(hub, "hub_nobody")
    for _ in range(150):
        flood.get("/api/v1/patients")
    as_role("auditor").get(f"/api/v1/patients/{HONG}")  # the same address, another token
    entries = [one for one in hub.audit.entries() if one["action"] == "access.denied"]  # type: ignore[attr-defined]
    assert [one["detail"].get("times", 1) for one in entries] == [1] * 10 + [90, 1]
    assert (entries[-1]["actor"], entries[-1]["detail"]["why"]) == ("token:auditor-1", "role")


def test_what_was_not_written_is_told_with_the_next_one() -> None:
    denials, kind = Denials(most=2, seconds=60), ("10.0.0.1", "token", "unknown")
    assert [denials.count(kind, n) for n in range(30)] == [1, 1] + [0] * 17 + [18] + [0] * 10
    assert denials.count(kind, 61_000_000) == 11
    assert denials.count(kind, 61_000_001) == 1


@pytest.mark.parametrize(
    ("address", "written"), [("10.20.30.40", "10.20.30.40"), ("::1", "0000:0000:0000:0000:0000:0000:0000:0001")]
)
def test_addresses_of_both_kinds_are_written_down(hub: WebHub, address: str, written: str) -> None:
    client = web_kit.api(hub, web_kit.token_for(hub, "crm"), client=(address, 50000))
    assert client.get(f"/api/v1/patients/{HONG}").status_code == 200
    assert hub.audit.entries()[-1]["detail"]["ip"] == written  # type: ignore[attr-defined]


def test_login_tires_of_wrong_tokens(hub: WebHub) -> None:
    client, secret = web_kit.api(hub), web_kit.token_for(hub, "operator")
    for _ in range(5):
        assert client.post("/login", data={"token": "hub_wrong"}).status_code == 401
    assert client.post("/login", data={"token": secret}).status_code == 429


def test_the_session_cookie_and_its_csrf_word(hub: WebHub) -> None:
    client, secret = web_kit.api(hub), web_kit.token_for(hub, "operator")
    answer = client.post("/login", data={"token": secret, "next": "/messages"})
    assert answer.headers["location"] == "/messages"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert client.post("/channels/crm-out/pause", data={"reason": "maintenance"}).status_code == 403
    assert client.post("/channels/crm-out/pause", data={"reason": "maintenance", "csrf": "guess"}).status_code == 403
    page = client.get("/channels/crm-out").text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)
    assert csrf
    assert client.post("/channels/crm-out/pause", data={"reason": "maintenance", "csrf": csrf.group(1)}).status_code == 303
    assert hub.operations.calls[-1] == ("pause", "crm-out", "maintenance", "token:operator-1")  # type: ignore[attr-defined]
    assert client.post("/logout", data={"csrf": csrf.group(1)}).status_code == 303
    assert client.get("/messages", headers={"Accept": "text/html"}).headers["location"] == "/login?next=/messages"


def test_cookies_are_secure_where_the_hub_speaks_https(engine: Any) -> None:
    hub = web_kit.make_hub(engine, https=True)
    answer = web_kit.api(hub, base_url="https://testserver").post("/login", data={"token": web_kit.token_for(hub, "admin")})
    assert "secure" in answer.headers["set-cookie"].lower()


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"])
def test_nobody_is_sent_elsewhere_after_logging_in(hub: WebHub, target: str) -> None:
    answer = web_kit.api(hub).post("/login", data={"token": web_kit.token_for(hub, "admin"), "next": target})
    assert answer.headers["location"] == "/"
    assert web_kit.api(hub).get("/language/en", params={"next": target}).headers["location"] == "/"


def test_a_login_form_of_another_site_is_refused(hub: WebHub) -> None:
    secret = web_kit.token_for(hub, "admin")
    for origin in ("https://evil.example", "null"):
        answer = web_kit.api(hub).post("/login", data={"token": secret}, headers={"Origin": origin})
        assert answer.status_code == 403
    ours = web_kit.api(hub).post("/login", data={"token": secret}, headers={"Origin": "http://testserver"})
    assert ours.status_code == 303
    policy = web_kit.api(hub).get("/login").headers["referrer-policy"]
    assert policy == "same-origin"  # with no-referrer, browsers send Origin: null from our own form


def test_headers_of_every_answer(hub: WebHub) -> None:
    for path in ("/login", "/static/hub.css", "/healthz", "/api/v1/patients", "/nowhere"):
        headers = web_kit.api(hub).get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
