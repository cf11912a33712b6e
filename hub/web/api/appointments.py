"""/api/v1/appointments and /api/v1/encounters: one booking or visit; a booking is changed and cancelled with If-Match."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import patients
from hub.web import render
from hub.web.access import record
from hub.web.api.bodies import AppointmentPatch, CancelIn
from hub.web.api.common import IfMatch, IfNoneMatch, after_write, must_exist, the
from hub.web.auth import ApiRoute, allow, principal_of
from hub.web.context import hub_of
from hub.web.idempotency import IdempotencyKey, RawBody, once
from hub.web.params import etag, expected_version, merge_patch

router = APIRouter(prefix="/api/v1", tags=["Appointments and encounters"], route_class=ApiRoute)


@router.get("/appointments/{appointment_id}", summary="Read an appointment")
@allow("crm", "operator")
def read(request: Request, appointment_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """With its version as ETag."""
    return _read(request, "Appointment", appointment_id, Action.APPOINTMENT_READ, if_none_match)


@router.get("/encounters/{encounter_id}", summary="Read an encounter")
@allow("crm", "operator")
def read_encounter(request: Request, encounter_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """A visit. Visits belong to the hospital's systems: a front-end reads them only."""
    return _read(request, "Encounter", encounter_id, Action.ENCOUNTER_READ, if_none_match)


@router.get("/appointments/{appointment_id}/lineage", summary="Where each value of an appointment came from")
@allow("crm", "operator")
def lineage(request: Request, appointment_id: str) -> Response:
    """As for patients."""
    return _lineage(request, "Appointment", appointment_id, Action.APPOINTMENT_READ)


@router.get("/encounters/{encounter_id}/lineage", summary="Where each value of an encounter came from")
@allow("crm", "operator")
def encounter_lineage(request: Request, encounter_id: str) -> Response:
    """As for patients."""
    return _lineage(request, "Encounter", encounter_id, Action.ENCOUNTER_READ)


@router.patch("/appointments/{appointment_id}", summary="Move or change an appointment (JSON merge patch)")
@allow("crm")
def change(
    request: Request,
    appointment_id: str,
    body: AppointmentPatch,
    raw: RawBody,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """application/merge-patch+json (RFC 7396) with If-Match, as for patients."""
    expected = expected_version(if_match)
    hub = hub_of(request)

    def act() -> Response:
        before = must_exist(hub, "Appointment", appointment_id).data
        values = {
            name: merge_patch(before.get(name), value) if isinstance(value, dict) else value
            for name, value in body.values().items()
        }
        hub.front_office.change_appointment(appointment_id, values, expected=expected, actor=principal_of(request).actor)
        return after_write(request, "Appointment", appointment_id)

    return once(request, idempotency_key, raw, act)


@router.post("/appointments/{appointment_id}/cancel", summary="Cancel an appointment, with a reason")
@allow("crm")
def cancel(
    request: Request,
    appointment_id: str,
    body: CancelIn,
    raw: RawBody,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """With If-Match. The appointment stays, with status cancelled."""
    return _cancel(request, appointment_id, body.reason, raw, if_match, idempotency_key)


@router.delete("/appointments/{appointment_id}", summary="Cancel an appointment")
@allow("crm")
def delete(
    request: Request, appointment_id: str, raw: RawBody, if_match: IfMatch = None, idempotency_key: IdempotencyKey = None
) -> Response:
    """As cancel, without a reason."""
    return _cancel(request, appointment_id, "", raw, if_match, idempotency_key)


def _cancel(request: Request, appointment_id: str, reason: str, raw: bytes, if_match: str | None, key: str | None) -> Response:
    expected = expected_version(if_match)
    hub = hub_of(request)

    def act() -> Response:
        must_exist(hub, "Appointment", appointment_id)
        hub.front_office.cancel_appointment(appointment_id, expected=expected, actor=principal_of(request).actor, reason=reason)
        return after_write(request, "Appointment", appointment_id)

    return once(request, key, raw, act)


def _read(request: Request, kind: str, resource_id: str, action: Action, if_none_match: str | None) -> Response:
    row = must_exist(hub_of(request), kind, resource_id)
    record(request, action, row.id, what=kind, patient=row.patient_id)
    if if_none_match == etag(row.version):
        return Response(status_code=304, headers={"ETag": etag(row.version)})
    return render.versioned(row)


def _lineage(request: Request, kind: str, resource_id: str, action: Action) -> Response:
    with hub_of(request).engine.connect() as conn:
        row = the(conn, kind, resource_id)
        fields = patients.lineage(conn, row)
    record(request, action, row.id, what="lineage", patient=row.patient_id)
    return render.answer({"id": row.id, "version": row.version, "fields": render.lineage(fields)})
