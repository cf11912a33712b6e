"""The API's documentation: openapi.json completed with roles and problems, and a page of our own that shows it.

No Swagger, no CDN: hospital networks are closed. The page is public, since it holds no data.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from hub.domain.model import KINDS
from hub.domain.receivers import CODES
from hub.web.auth import SecureRoute, public
from hub.web.errors import PROBLEM_JSON

router = APIRouter(route_class=SecureRoute, include_in_schema=False)
STATIC = Path(__file__).parent.parent / "console" / "static"

DESCRIPTION = """One API for CRM front-ends: patients and what belongs to them, as the hospital's systems together know them.

Send `Authorization: Bearer hub_…`. Every error is `application/problem+json` (RFC 9457) with a `code` for machines and,
where a field is wrong, `errors` with a pointer to it. Lists come in pages: repeat the call with `cursor` = `next` until
`next` is null. Reads carry an `ETag`; changes need it as `If-Match`. Times are ISO 8601. Every read of a patient leaves
an access record."""

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "for machines: not_found, stale, invalid, not_allowed …"},
        "detail": {"type": "string"},
        "current": {"type": "integer", "description": "412: the version that stands"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "in": {"enum": ["body", "query", "path", "header"]},
                    "pointer": {"type": "string", "description": "JSON pointer: #/telecom/0/value"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
_TEXT: dict[str, Any] = {"type": "string"}
_WHEN: dict[str, Any] = {"type": "string", "format": "date-time"}
_NUMBER: dict[str, Any] = {"type": "integer"}
_RESOURCE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": _TEXT, "kind": {"enum": list(KINDS)}, "patientId": _TEXT, "version": _NUMBER,
        "status": {"enum": ["active", "merged", "removed"]}, "createdAt": _WHEN, "updatedAt": _WHEN,
        "replacedBy": {"type": "object", "properties": {"id": _TEXT, "href": _TEXT}},
        "resource": {"type": "object", "description": "the document, see docs/api.md"},
    },
}  # fmt: skip
_CHANGE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": _NUMBER, "at": _WHEN, "type": _TEXT, "kind": _TEXT, "resourceId": _TEXT, "patientId": _TEXT, "version": _NUMBER,
        "changed": {"type": "array", "items": _TEXT}, "resource": {"type": "object"}, "messageId": _NUMBER, "origin": _TEXT,
    },
}  # fmt: skip
_DELIVERY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "target": _TEXT, "state": {"enum": ["pending", "sent", "confirmed", "refused"]}, "type": _TEXT, "changeId": _NUMBER,
        "resourceId": _TEXT, "messageId": _NUMBER, "attempts": _NUMBER, "reason": _TEXT, "messageState": _TEXT,
        "code": {"enum": [one.code for one in CODES]}, "codeName": _TEXT,
        "lastAnswer": {"type": "object", "properties": {"at": _WHEN, "n": _NUMBER, "verdict": _TEXT, "detail": _TEXT}},
    },
}  # fmt: skip
_ONE_RESOURCE = ("/patients/{patient_id}", "/appointments/{appointment_id}", "/encounters/{encounter_id}", "/cancel")
_LISTS = {
    "/patients": "Resource", "/patients/search": "Resource", "/relationships": "Resource", "/coverages": "Resource",
    "/encounters": "Resource", "/appointments": "Resource", "/timeline": "Resource", "/snapshot": "Resource",
    "/practitioners": "Resource", "/organizations": "Resource", "/catalogue": "Resource", "/schedules": "Resource",
    "/slots": "Resource", "/locations": "Resource", "/tests": "Resource",
    "/changes": "Change", "/sync": "Delivery", "/deliveries": "Delivery",
}  # fmt: skip
_PROBLEMS = {
    "400": "The body is no JSON, or the cursor is none of this list", "401": "No valid token", "403": "The role may not do this",
    "404": "There is no such thing", "412": "Somebody was faster: read again", "422": "Something sent is wrong; see `errors`",
    "428": "If-Match is missing",
}  # fmt: skip


@router.get("/api/v1/openapi.json")
@public
def openapi_json(request: Request) -> Response:
    """The machine-readable description."""
    return Response(orjson.dumps(request.app.openapi()), media_type="application/json")


@router.get("/docs")
@public
def docs_page() -> Response:
    """The same for people."""
    return FileResponse(STATIC / "docs.html", media_type="text/html; charset=utf-8")


def complete(schema: dict[str, Any], routers: Iterable[APIRouter]) -> dict[str, Any]:
    """Adds to FastAPI's schema what it does not know: the token, who may call what, and how errors look."""
    components = schema.setdefault("components", {})
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "hub_…"}}
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM_SCHEMA
    schemas |= {"Resource": _RESOURCE_SCHEMA, "Change": _CHANGE_SCHEMA, "Delivery": _DELIVERY_SCHEMA}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schema["security"] = [{"token": []}]
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                for method in route.methods or ():
                    _complete_call(schema["paths"][route.path_format][method.lower()], route, method)
    return schema


def _answer_schema(path: str, method: str) -> dict[str, Any] | None:
    """What a successful answer holds; None where prose says it better."""
    path = path.removeprefix("/api/v1")
    if path.endswith(_ONE_RESOURCE) or (method == "POST" and path.endswith(("/patients", "/appointments"))):
        return {"$ref": "#/components/schemas/Resource"}
    if path == "/changes/{change_id}":
        return {"$ref": "#/components/schemas/Change"}
    for tail, kind in _LISTS.items():
        if path == tail or ("}" in path and path.endswith("}" + tail)):
            items = {"type": "array", "items": {"$ref": f"#/components/schemas/{kind}"}}
            return {"type": "object", "properties": {"items": items, "next": {"type": "string"}}}
    return None


def _complete_call(call: dict[str, Any], route: APIRoute, method: str) -> None:
    call["x-roles"] = sorted(route.endpoint.hub_roles)  # type: ignore[attr-defined]
    schema = _answer_schema(route.path, method)
    done = next(status for status in call["responses"] if status.startswith("2"))
    call["responses"][done] = {"description": "Done", "content": {"application/json": {"schema": schema or {"type": "object"}}}}
    with_body = "requestBody" in call
    if method == "PATCH" and with_body:
        content = call["requestBody"]["content"]
        content["application/merge-patch+json"] = content.pop("application/json")
    wanted = {"401", "403", "422"} | ({"400"} if with_body else set()) | ({"404"} if "{" in route.path else set())
    if any(one["name"] == "If-Match" for one in call.get("parameters", ())):
        wanted |= {"412", "428"}
    problem = {"content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    for status in sorted(wanted):
        call["responses"][status] = {"description": _PROBLEMS[status], **problem}
