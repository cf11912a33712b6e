"""/fhir/R4: read, vread, history, search, Patient/$everything and metadata. Tokens, roles and access records as /api/v1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from urllib.parse import urlencode

from fastapi import APIRouter
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hub import __version__
from hub.audit.actions import Action
from hub.codecs import fhir_bundle, fhir_capability, fhir_resource
from hub.codecs.fhir import Document
from hub.codecs.fhir_bundle import Found
from hub.db.views import fhir as views
from hub.db.views import patients
from hub.db.views.changes import ChangeRow
from hub.db.views.patients import ResourceRow
from hub.web.access import record, record_many
from hub.web.auth import ApiRoute, allow, public
from hub.web.context import hub_of
from hub.web.errors import ProblemError
from hub.web.fhir import query
from hub.web.fhir.answers import PREFIX, answer, base_of, negotiate, versioned
from hub.web.fhir.parameters import OF_PATIENT, PARAMETERS, include_names, revinclude_names
from hub.web.fhir.query import Asked
from hub.web.params import read_cursor, write_cursor

router = APIRouter(prefix=PREFIX, route_class=ApiRoute)
READ_AS = {
    "Patient": Action.PATIENT_READ, "Encounter": Action.ENCOUNTER_READ, "Appointment": Action.APPOINTMENT_READ,
    "RelatedPerson": Action.RELATIONSHIP_READ,
}  # fmt: skip
BESIDE = 1_000  # resources that come along with one page at most
ROUNDS = 5  # looks for a page's first match, where most of what an index finds is then left out
Body = list[tuple[str, str]]


@router.get("/metadata")
@public
def metadata(request: Request) -> Response:
    """The CapabilityStatement: what can be read and searched. It shows no data."""
    negotiate(request)
    name = hub_of(request).name
    return answer(fhir_capability.statement(name, __version__, base_of(request), PARAMETERS, include_names(), revinclude_names()))


@router.get("/{kind}/{resource_id}")
@allow("crm", "operator")
def read(request: Request, kind: str, resource_id: str) -> Response:
    """One resource as it stands; 410 where its source has withdrawn it."""
    _known(request, kind)
    with hub_of(request).engine.connect() as conn:
        row = _the(conn, kind, resource_id)
    record(request, READ_AS.get(kind, Action.RESOURCE_READ), row.id, what=f"fhir.{kind}", patient=row.patient_id)
    if row.status == "removed":
        raise ProblemError(410, f"this {kind} was withdrawn", code="gone")
    return versioned(request, _shown(request, row), row.version, row.updated_at)


@router.get("/{kind}/{resource_id}/_history/{version}")
@allow("crm", "operator")
def vread(request: Request, kind: str, resource_id: str, version: str) -> Response:
    """One version of a resource, as it stood."""
    _known(request, kind)
    number = int(version) if version.isascii() and version.isdecimal() and len(version) < 9 else 0
    with hub_of(request).engine.connect() as conn:
        _the(conn, kind, resource_id)
        row = views.version(conn, resource_id, number)
    if row is None:
        raise ProblemError(404, "there is no such version")
    what = READ_AS.get(kind, Action.RESOURCE_READ)
    record(request, what, row.resource_id, what=f"fhir.{kind}.version", patient=row.patient_id)
    if _removes(row):
        raise ProblemError(410, f"this version withdrew the {kind}", code="gone")
    return versioned(request, _as_it_stood(request, row), row.version, row.at)


@router.get("/{kind}/{resource_id}/_history")
@allow("crm", "operator")
def history(request: Request, kind: str, resource_id: str) -> Response:
    """Every version of a resource, the newest first."""
    _known(request, kind)
    count = _count(request, kind)
    position = read_cursor("fhir.history", request.query_params.get("_cursor", ""), (int,), name="_cursor")
    with hub_of(request).engine.connect() as conn:
        row = _the(conn, kind, resource_id)
        rows = views.versions(conn, resource_id, before=position[0] if position else None, limit=count)
    what = READ_AS.get(kind, Action.RESOURCE_READ)
    record(request, what, row.id, what=f"fhir.{kind}.history", patient=row.patient_id)
    here = f"{base_of(request)}/{kind}/{resource_id}/_history"
    following = _url(here, [("_count", str(count)), ("_cursor", write_cursor("fhir.history", rows[-1].version))])
    versions = [(_as_it_stood(request, one), _removes(one)) for one in rows]
    return answer(
        fhir_bundle.history(
            base_of(request), _url(here, [("_count", str(count))]), following if len(rows) == count else None, versions
        )
    )


@router.get("/Patient/{resource_id}/{operation}")
@allow("crm", "operator")
def everything(request: Request, resource_id: str, operation: str) -> Response:
    """$everything: a patient with all that is his, and who treats him (patient-operation-everything.html), page by page."""
    if operation != "$everything":
        raise ProblemError(404, "a patient has no such operation", code="unknown_operation")
    negotiate(request)
    pairs = _only(request, "_count", "_type")
    count = _count(request, "Patient")
    types = [one for name, value in pairs if name == "_type" for one in value.split(",")]
    kinds = [kind for kind in ("Patient", *OF_PATIENT) if not types or kind in types]
    position = read_cursor("fhir.everything", request.query_params.get("_cursor", ""), (str,), name="_cursor")
    with hub_of(request).engine.connect() as conn:
        _the(conn, "Patient", resource_id)
        rows = views.everything(conn, resource_id, kinds, after=position[0] if position else "", limit=count)
        found = Found([_shown(request, row) for row in rows])
        if not types or "Practitioner" in types:
            found.included = _led_to(request, conn, found.matches, [("participant", ("Practitioner",))])
    record(request, Action.PATIENT_READ, resource_id, what="fhir.everything")
    here = f"{base_of(request)}/Patient/{resource_id}/$everything"
    after = [("_cursor", write_cursor("fhir.everything", rows[-1].id))] if len(rows) == count else []
    return answer(fhir_bundle.searchset(base_of(request), _url(here, pairs), _url(here, pairs + after) if after else None, found))


@router.get("/{kind}")
@allow("crm", "operator")
def search(request: Request, kind: str) -> Response:
    """A search by query string."""
    return _search(request, kind, list(request.query_params.multi_items()))


@router.post("/{kind}/_search")
@allow("crm", "operator")
async def search_by_form(request: Request, kind: str) -> Response:
    """The same by a form, so that nothing of a patient stands in the request's URL (http.html#search)."""
    form = [(name, value) for name, value in (await request.form()).multi_items() if isinstance(value, str)]
    return await run_in_threadpool(_search, request, kind, [*request.query_params.multi_items(), *form])


@router.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@allow("crm", "operator")
def nothing_here(request: Request) -> Response:
    """What the façade does not do: it is read only."""
    if request.method != "GET":
        raise ProblemError(405, "this façade is read only; write by /api/v1", headers={"Allow": "GET"})
    raise ProblemError(404, "the façade has nothing here")


def _search(request: Request, kind: str, pairs: Body) -> Response:
    _known(request, kind, next((value for name, value in pairs if name == "_format"), None))
    hub = hub_of(request)
    strict = "handling=strict" in request.headers.get("prefer", "").replace(" ", "")
    asked = query.read(kind, pairs, hub.fhir, hub.timezone, strict=strict)
    place = next((value for name, value in pairs if name == "_cursor"), "")
    position = read_cursor(f"fhir.{kind}", place, (int, str), name="_cursor")
    with hub.engine.connect() as conn:
        found, rows, after = _look(request, conn, asked, None if position is None else (position[0], position[1]))
    if after is None and position is None:
        found.total = len(found.matches)
    by = sorted({name.partition(":")[0] for name, _ in asked.used if not name.startswith("_include")})
    whose = sorted({row.patient_id or row.id for row in rows})
    what = Action.PATIENT_SEARCHED if any(row.patient_id for row in rows) or kind == "Patient" else Action.RESOURCE_READ
    record_many(request, what, whose, what=f"fhir.{kind}", by=by)
    here = f"{base_of(request)}/{kind}"
    following = [*asked.used, ("_cursor", write_cursor(f"fhir.{kind}", *after))] if after else None
    return answer(
        fhir_bundle.searchset(base_of(request), _url(here, asked.used), _url(here, following) if following else None, found)
    )


def _look(
    request: Request, conn: Connection, asked: Asked, after: tuple[int, str] | None
) -> tuple[Found, list[ResourceRow], tuple[int, str] | None]:
    """The page's matches with what comes along, the rows of both, and where the next page begins."""
    found = Found([], warnings=[f"ignored: {name[:64]}" for name in dict.fromkeys(asked.ignored)])
    if asked.patient_numbers:
        named = asked.wanted.patients
        theirs = tuple(one for one in views.patients_by_number(conn, asked.patient_numbers) if not named or one in named)
        asked.nothing = asked.nothing or not theirs
        asked.wanted = replace(asked.wanted, patients=theirs)
    if asked.nothing:
        return found, [], None
    rows: list[ResourceRow] = []
    for _ in range(ROUNDS):
        page = views.find(conn, asked.wanted, after=after, limit=asked.count)
        after = page.after
        for row in page.rows:
            document = _shown(request, row)
            if all(check(document) for check in asked.checks):
                found.matches.append(document)
                rows.append(row)
        if rows or after is None:
            break
    beside: list[ResourceRow] = []
    if asked.revincludes:
        beside = views.of_patients(conn, [row.id for row in rows], asked.revincludes, limit=BESIDE)
        if len(beside) == BESIDE:
            found.warnings.append(f"more than {BESIDE} resources would come along: ask for them by patient")
    led = _rows_led_to(conn, found.matches, asked.includes)
    beside += [row for row in led if row.kind != "Patient" or row.id not in {one.id for one in rows}]
    found.included = [_shown(request, row) for row in beside]
    return found, rows + beside, after


def _led_to(
    request: Request, conn: Connection, documents: Sequence[Document], includes: Iterable[tuple[str, tuple[str, ...]]]
) -> list[Document]:
    return [_shown(request, row) for row in _rows_led_to(conn, documents, includes)]


def _rows_led_to(
    conn: Connection, documents: Sequence[Document], includes: Iterable[tuple[str, tuple[str, ...]]]
) -> list[ResourceRow]:
    """What these resources refer to in those elements, each once."""
    ids: dict[str, str] = {}
    for element, kinds in includes:
        for document in documents:
            for one in query.references(document.get(element)):
                kind, _, resource_id = one.partition("/")
                if kind in kinds:
                    ids[resource_id] = kind
    rows = patients.many(conn, list(ids)[:BESIDE])
    return [row for row in rows.values() if row.kind == ids[row.id] and row.status in views.SHOWN]


def _known(request: Request, kind: str, wanted: str | None = None) -> None:
    negotiate(request, wanted)
    if kind not in PARAMETERS:
        raise ProblemError(404, "this façade has no such resource type", code="unknown_type")


def _the(conn: Connection, kind: str, resource_id: str) -> ResourceRow:
    row = patients.get(conn, resource_id, kind)
    if row is None:
        raise ProblemError(404, f"there is no such {kind}")
    return row


def _shown(request: Request, row: ResourceRow) -> Document:
    systems = hub_of(request).fhir
    return fhir_resource.to_fhir(row.kind, row.id, row.patient_id, row.version, row.updated_at, row.data, systems)


def _as_it_stood(request: Request, row: ChangeRow) -> Document:
    systems = hub_of(request).fhir
    return fhir_resource.to_fhir(row.kind, row.resource_id, row.patient_id, row.version, row.at, row.data, systems)


def _removes(row: ChangeRow) -> bool:
    return row.type.endswith(".removed")


def _count(request: Request, kind: str) -> int:
    return query.read(kind, _only(request, "_count"), hub_of(request).fhir, "UTC", strict=False).count


def _only(request: Request, *names: str) -> Body:
    return [(name, value) for name, value in request.query_params.multi_items() if name in names]


def _url(here: str, pairs: Body) -> str:
    return f"{here}?{urlencode(pairs)}" if pairs else here
