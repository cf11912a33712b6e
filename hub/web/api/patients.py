"""/api/v1/patients: search, read, create a prospect, change; what belongs to a patient; where its values came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import changes, patients
from hub.db.views.patients import Search
from hub.web import render
from hub.web.access import record, record_many
from hub.web.api.bodies import AppointmentIn, PatientIn, PatientPatch, PatientSearch
from hub.web.api.common import IfMatch, IfNoneMatch, after_write, as_pair, must_exist, next_by_start, the
from hub.web.auth import ApiRoute, allow, principal_of
from hub.web.context import hub_of
from hub.web.errors import ProblemError, error_at
from hub.web.idempotency import IdempotencyKey, RawBody, once
from hub.web.params import CursorText, Limit, etag, expected_version, merge_patch, read_cursor, write_cursor

router = APIRouter(prefix="/api/v1", tags=["Patients"], route_class=ApiRoute)


@router.post("/patients/search", summary="Search patients (preferred: nothing of a patient in a URL)")
@allow("crm", "operator")
def search(request: Request, body: PatientSearch) -> Response:
    """All criteria given must match. Names match by prefix, in Hangul, Hanja or Latin letters, family or given name
    first; phones by the whole number or its last four or more digits; birthDate as YYYY-MM-DD, YYYY-MM, YYYY."""
    query = Search(body.identifier, body.name, body.phone, body.birthDate)
    return _search(request, query, body.cursor, body.limit, "body")


@router.get("/patients", summary="Search patients by query string")
@allow("crm", "operator")
def search_by_url(
    request: Request,
    identifier: Annotated[str, Query(max_length=200, description="assigner|value, or value alone")] = "",
    name: Annotated[str, Query(max_length=200, description="Begins with")] = "",
    phone: Annotated[str, Query(max_length=40, description="Whole number, or its last 4 or more digits")] = "",
    birthDate: Annotated[str, Query(max_length=10)] = "",  # noqa: N803 - the parameter's name in the API
    cursor: CursorText = "",
    limit: Limit = 50,
) -> Response:
    """As POST /patients/search. Proxies and browsers keep URLs: use that one wherever you can."""
    return _search(request, Search(identifier, name, phone, birthDate), cursor, limit, "query")


@router.post("/patients", status_code=201, summary="Create a prospect")
@allow("crm")
def create(request: Request, body: PatientIn, raw: RawBody, idempotency_key: IdempotencyKey = None) -> Response:
    """Somebody who has not been here yet. Send an Idempotency-Key, so that a repeat after a lost answer makes no second one."""
    hub = hub_of(request)

    def act() -> Response:
        written = hub.front_office.create_patient(body.values(), actor=principal_of(request).actor)
        return after_write(request, "Patient", written.resource_id, 201, f"/api/v1/patients/{written.resource_id}")

    return once(request, idempotency_key, raw, act)


@router.get("/patients/{patient_id}", summary="Read a patient")
@allow("crm", "operator")
def read(request: Request, patient_id: str, if_none_match: IfNoneMatch = None) -> Response:
    """The golden record, with its version as ETag. A merged patient is still answered: `status` is "merged", and
    `replacedBy` (and a Link header) lead to the survivor."""
    row = must_exist(hub_of(request), "Patient", patient_id)
    record(request, Action.PATIENT_READ, row.id, what="patient")
    if if_none_match == etag(row.version):
        return Response(status_code=304, headers={"ETag": etag(row.version)})
    return render.versioned(row)


@router.patch("/patients/{patient_id}", summary="Change a patient (JSON merge patch)")
@allow("crm")
def change(
    request: Request,
    patient_id: str,
    body: PatientPatch,
    raw: RawBody,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """application/merge-patch+json (RFC 7396): fields sent replace, null deletes, lists as a whole. If-Match is demanded
    (428); a stale one gets 412 with the current version. A field that the hospital's rules do not let a CRM set: 422."""
    expected = expected_version(if_match)
    hub = hub_of(request)

    def act() -> Response:
        must_exist(hub, "Patient", patient_id)
        hub.front_office.change_patient(patient_id, body.values(), expected=expected, actor=principal_of(request).actor)
        return after_write(request, "Patient", patient_id)

    return once(request, idempotency_key, raw, act)


@router.get("/patients/{patient_id}/relationships", summary="Who is who to a patient")
@allow("crm", "operator")
def relationships(request: Request, patient_id: str, cursor: CursorText = "", limit: Limit = 100) -> Response:
    """Relationships, each with the person or practitioner it leads to under `related`."""
    hub = hub_of(request)
    position = read_cursor("relationships", cursor, (int, str))
    with hub.engine.connect() as conn:
        the(conn, "Patient", patient_id)
        rows = patients.of_patient(conn, patient_id, ("Relationship",), before=as_pair(position), limit=limit)
        others = patients.many(conn, [_id_in(row.data.get("related")) for row in rows])
    record(request, Action.PATIENT_READ, patient_id, what="relationships")
    items = []
    for row in rows:
        item = render.resource(row)
        other = others.get(_id_in(row.data.get("related")))
        item["related"] = render.resource(other) if other else None
        items.append(item)
    return render.page(items, next_by_start("relationships", rows, limit))


@router.get("/patients/{patient_id}/coverages", summary="A patient's insurance")
@allow("crm", "operator")
def coverages(request: Request, patient_id: str, cursor: CursorText = "", limit: Limit = 50) -> Response:
    """Coverage as the hospital's systems know it (HL7 IN1)."""
    return _belongings(request, patient_id, ("Coverage",), "coverages", cursor, limit)


@router.get("/patients/{patient_id}/encounters", summary="A patient's visits, the latest first")
@allow("crm", "operator")
def encounters(request: Request, patient_id: str, cursor: CursorText = "", limit: Limit = 50) -> Response:
    """Visits of all systems; one visit told by two systems is one Encounter."""
    return _belongings(request, patient_id, ("Encounter",), "encounters", cursor, limit)


@router.get("/patients/{patient_id}/appointments", summary="A patient's bookings, the latest first")
@allow("crm", "operator")
def appointments(request: Request, patient_id: str, cursor: CursorText = "", limit: Limit = 50) -> Response:
    """Bookings, also those not yet confirmed (`pending`) and those cancelled."""
    return _belongings(request, patient_id, ("Appointment",), "appointments", cursor, limit)


@router.post("/patients/{patient_id}/appointments", status_code=201, summary="Book an appointment")
@allow("crm")
def book(
    request: Request, patient_id: str, body: AppointmentIn, raw: RawBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Pending until the system that owns the calendar confirms it: follow its state by webhook, feed or deliveries."""
    hub = hub_of(request)

    def act() -> Response:
        must_exist(hub, "Patient", patient_id)
        written = hub.front_office.book(patient_id, merge_patch({}, body.values()), actor=principal_of(request).actor)
        return after_write(request, "Appointment", written.resource_id, 201, f"/api/v1/appointments/{written.resource_id}")

    return once(request, idempotency_key, raw, act)


@router.get("/patients/{patient_id}/timeline", summary="What happened with a patient, the latest first")
@allow("crm", "operator")
def timeline(request: Request, patient_id: str, cursor: CursorText = "", limit: Limit = 50) -> Response:
    """Visits, bookings, orders, results, prescriptions, procedures, documents, bills and payments, by their start."""
    return _belongings(request, patient_id, patients.TIMELINE_KINDS, "timeline", cursor, limit)


@router.get("/patients/{patient_id}/history", summary="Every version of a patient, the newest first")
@allow("crm", "operator")
def history(request: Request, patient_id: str, cursor: CursorText = "", limit: Limit = 50) -> Response:
    """Each version with the whole document, the fields changed, and what caused it; merges and moves beside them."""
    hub = hub_of(request)
    position = read_cursor("history", cursor, (int,))
    with hub.engine.connect() as conn:
        the(conn, "Patient", patient_id)
        rows = patients.history(conn, patient_id, before=position[0] if position else None, limit=limit)
        links = [] if position else patients.links(conn, patient_id)
    record(request, Action.PATIENT_READ, patient_id, what="history")
    items = [
        {
            "changeId": row["id"], "at": render.iso(row["at"]), "type": row["type"], "version": row["version"],
            "changed": row["fields"], "resource": row["data"], "messageId": row["message_id"], "origin": row["origin"],
        }
        for row in rows
    ]  # fmt: skip
    following = write_cursor("history", rows[-1]["version"]) if len(rows) == limit else None
    return render.answer({"items": items, "next": following, "links": [_link(one) for one in links]})


@router.get("/patients/{patient_id}/lineage", summary="Where each value of a patient came from")
@allow("crm", "operator")
def lineage(request: Request, patient_id: str) -> Response:
    """For each field: the value that stands, and what every source says, with message, path, map version and time."""
    hub = hub_of(request)
    with hub.engine.connect() as conn:
        row = the(conn, "Patient", patient_id)
        fields = patients.lineage(conn, row)
        known_as = patients.sources(conn, patient_id)
    record(request, Action.PATIENT_READ, patient_id, what="lineage")
    known = [
        {"system": one["system"], "key": one["key"], "channel": one["channel"], "at": render.iso(one["event_at"]),
         "messageId": one["message_id"]}
        for one in known_as
    ]  # fmt: skip
    return render.answer({"id": row.id, "version": row.version, "fields": render.lineage(fields), "sources": known})


@router.get("/patients/{patient_id}/sync", summary="How far a patient's changes have got with each target")
@allow("crm", "operator")
def sync(request: Request, patient_id: str) -> Response:
    """The latest word for each resource of the patient and each target: pending, sent, confirmed or refused (with why)."""
    hub = hub_of(request)
    with hub.engine.connect() as conn:
        the(conn, "Patient", patient_id)
        items = changes.sync_of_patient(conn, patient_id)
    record(request, Action.PATIENT_READ, patient_id, what="sync")
    return render.page(items, None)


def _search(request: Request, query: Search, cursor: str, limit: int, place: str) -> Response:
    if query.is_empty():
        missing = ("identifier", "name", "phone", "birthDate")
        where = [error_at(place, (one,), "give at least one of identifier, name, phone, birthDate") for one in missing]
        raise ProblemError(422, "a search needs something to search by", errors=where)
    position = read_cursor("patients", cursor, (str,), place=place)
    with hub_of(request).engine.connect() as conn:
        rows = patients.find(conn, query, after=position[0] if position else "", limit=limit)
    by = [name for name in ("identifier", "name", "phone", "birth_date") if getattr(query, name)]
    record_many(request, Action.PATIENT_SEARCHED, [row.id for row in rows], what="search", by=by)
    following = write_cursor("patients", rows[-1].id) if len(rows) == limit else None
    return render.page([render.resource(row) for row in rows], following)


def _belongings(request: Request, patient_id: str, kinds: Sequence[str], name: str, cursor: str, limit: int) -> Response:
    hub = hub_of(request)
    position = read_cursor(name, cursor, (int, str))
    with hub.engine.connect() as conn:
        the(conn, "Patient", patient_id)
        rows = patients.of_patient(conn, patient_id, kinds, before=as_pair(position), limit=limit)
    record(request, Action.PATIENT_READ, patient_id, what=name)
    return render.page([render.resource(row) for row in rows], next_by_start(name, rows, limit))


def _id_in(reference: Any) -> str:
    """`RelatedPerson/<id>` -> id."""
    return str(reference or "").rpartition("/")[2]


def _link(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": render.iso(one["at"]), "act": one["act"], "kind": one["kind"], "assigner": one["assigner"], "value": one["value"],
        "fromId": one["from_id"], "toId": one["to_id"], "messageId": one["message_id"], "actor": one["actor"],
    }  # fmt: skip
