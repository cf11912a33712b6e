"""Patients: search (by POST, so that no name stands in a URL); one patient: his way through the systems, lineage, relations."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import changes, patients, steps
from hub.db.views.patients import Search
from hub.web import render
from hub.web.access import record, record_many
from hub.web.api.common import the
from hub.web.auth import ConsoleRoute, allow, check_csrf
from hub.web.console import way
from hub.web.console.view import page, soft
from hub.web.context import hub_of
from hub.web.params import read_cursor, write_cursor

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
Word = Annotated[str, Form(max_length=200)]
PAGE = 50
STEPS = 12  # on the patient's page; the whole way has a page of its own
STEPS_A_PAGE = 50


@router.get("/patients")
@allow("crm", "operator")
def start(request: Request) -> Response:
    """The search form."""
    return page(request, "patients.html", rows=None, search=Search(), following=None)


@router.post("/patients")
@allow("crm", "operator")
def search(
    request: Request,
    csrf: Word = "",
    name: Word = "",
    phone: Word = "",
    birth_date: Word = "",
    identifier: Word = "",
    cursor: Annotated[str, Form(max_length=400)] = "",
) -> Response:
    """Found patients, a page at a time."""
    check_csrf(request, csrf)
    wanted = Search(identifier.strip(), name.strip(), phone.strip(), birth_date.strip())
    position = read_cursor("patients", cursor, (str,))
    with hub_of(request).engine.connect() as conn:
        rows = patients.find(conn, wanted, after=position[0] if position else "", limit=PAGE)
    if not wanted.is_empty():
        record_many(request, Action.PATIENT_SEARCHED, [row.id for row in rows], what="console_search")
    following = write_cursor("patients", rows[-1].id) if len(rows) == PAGE else None
    for row in rows:
        row.data = soft(row.data)
    return page(request, "patients.html", rows=None if wanted.is_empty() else rows, search=wanted, following=following)


@router.get("/patients/{patient_id}")
@allow("crm", "operator")
def one(request: Request, patient_id: str) -> Response:
    """All that is known of one patient, and from where."""
    with hub_of(request).engine.connect() as conn:
        row = the(conn, "Patient", patient_id)
        lineage = patients.lineage(conn, row)
        known_as = patients.sources(conn, patient_id)
        relations = _relations(conn, patient_id)
        timeline = patients.of_patient(conn, patient_id, patients.TIMELINE_KINDS, limit=100)
        coverages = patients.of_patient(conn, patient_id, ("Coverage",), limit=20)
        sync = changes.sync_of_patient(conn, patient_id)
        history = patients.history(conn, patient_id, limit=30)
        links = patients.links(conn, patient_id)
        walked = steps.of_patient(conn, patient_id, limit=STEPS + 1)
    record(request, Action.PATIENT_READ, patient_id, what="patient_page")
    for one_row in (row, *timeline, *coverages):
        one_row.data = soft(one_row.data)
    return page(
        request, "patient.html", patient=render.resource(row), lineage=lineage, known_as=known_as, relations=relations,
        timeline=timeline, coverages=coverages, sync=sync, history=history, links=links,
        way=way.across(hub_of(request).channels(), walked[:STEPS]), further=len(walked) > STEPS,
    )  # fmt: skip


@router.get("/patients/{patient_id}/way")
@allow("crm", "operator")
def walked(request: Request, patient_id: str, before: Annotated[int | None, Query(ge=1, lt=1 << 62)] = None) -> Response:
    """His whole way through the systems, a page at a time."""
    with hub_of(request).engine.connect() as conn:
        row = the(conn, "Patient", patient_id)
        found = steps.of_patient(conn, patient_id, before=before, limit=STEPS_A_PAGE + 1)
    record(request, Action.PATIENT_READ, patient_id, what="patient_way")
    shown = found[:STEPS_A_PAGE]
    following = shown[-1].before if len(found) > STEPS_A_PAGE else None
    return page(
        request, "way.html", patient=render.resource(row), way=way.across(hub_of(request).channels(), shown), following=following
    )


def _relations(conn: Any, patient_id: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(relationship, whom it leads to), both as documents."""
    rows = patients.of_patient(conn, patient_id, ("Relationship",), limit=100)
    ids = {row.id: str(row.data.get("related") or "").rpartition("/")[2] for row in rows}
    others = patients.many(conn, list(ids.values()))
    return [(soft(row.data), soft(others[ids[row.id]].data if ids[row.id] in others else {})) for row in rows]
