"""/api/v1: orders, results, medication, diagnoses, charges … of a patient, and one of each with ETag and lineage: read only.

What they have in common is one table; each line of it makes the same three calls. They belong to the hospital's systems.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import patients
from hub.web import render
from hub.web.access import record
from hub.web.api.common import IfNoneMatch, as_pair, must_exist, next_by_start, the
from hub.web.api.resources import RESOURCES, Resource
from hub.web.auth import ApiRoute, allow
from hub.web.context import hub_of
from hub.web.params import CursorText, Limit, etag, read_cursor

router = APIRouter(prefix="/api/v1", tags=["Clinical and financial"], route_class=ApiRoute)


def _list_of(resource: Resource) -> Callable[..., Response]:
    @allow("crm", "operator")
    def listed(request: Request, patient_id: str, cursor: CursorText = "", limit: Limit = 50) -> Response:
        """Of all systems, those of a merged patient too."""
        position = read_cursor(resource.path, cursor, (int, str))
        with hub_of(request).engine.connect() as conn:
            the(conn, "Patient", patient_id)
            rows = patients.of_patient(conn, patient_id, (resource.kind,), before=as_pair(position), limit=limit)
        record(request, Action.PATIENT_READ, patient_id, what=resource.path)
        return render.page([render.resource(row) for row in rows], next_by_start(resource.path, rows, limit))

    return listed


def _one_of(resource: Resource) -> Callable[..., Response]:
    @allow("crm", "operator")
    def read(request: Request, resource_id: str, if_none_match: IfNoneMatch = None) -> Response:
        """With its version as ETag."""
        row = must_exist(hub_of(request), resource.kind, resource_id)
        record(request, Action.RESOURCE_READ, row.id, what=resource.kind, **_whose(row.patient_id))
        if if_none_match == etag(row.version):
            return Response(status_code=304, headers={"ETag": etag(row.version)})
        return render.versioned(row)

    return read


def _lineage_of(resource: Resource) -> Callable[..., Response]:
    @allow("crm", "operator")
    def lineage(request: Request, resource_id: str) -> Response:
        """As for patients."""
        with hub_of(request).engine.connect() as conn:
            row = the(conn, resource.kind, resource_id)
            fields = patients.lineage(conn, row)
        record(request, Action.RESOURCE_READ, row.id, what="lineage", **_whose(row.patient_id))
        return render.answer({"id": row.id, "version": row.version, "fields": render.lineage(fields)})

    return lineage


def _whose(patient_id: str | None) -> dict[str, str]:
    return {"patient": patient_id} if patient_id else {}


for _resource in RESOURCES:
    _name = _resource.path
    if _resource.owned:
        router.add_api_route(
            f"/patients/{{patient_id}}/{_name}", _list_of(_resource), methods=["GET"], name=f"patient_{_name}",
            summary=f"A patient's {_name}, the latest first",
        )  # fmt: skip
    router.add_api_route(
        f"/{_name}/{{resource_id}}", _one_of(_resource), methods=["GET"], name=f"read_{_name}", summary=f"Read {_resource.one}"
    )
    router.add_api_route(
        f"/{_name}/{{resource_id}}/lineage", _lineage_of(_resource), methods=["GET"], name=f"lineage_{_name}",
        summary=f"Where each value of {_resource.one} came from",
    )  # fmt: skip
