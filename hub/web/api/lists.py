"""/api/v1: master data and slots as lists, and who sent the hospital its patients.

Filters narrow what was looked at, 2,000 rows a page at most: a page may be shorter than `limit`, or empty, and `next` still
lead on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import lists
from hub.db.views.patients import ResourceRow
from hub.domain.referral import referral, same_as
from hub.domain.search import normal_name
from hub.web import render
from hub.web.access import record, record_many
from hub.web.api.common import as_pair
from hub.web.api.resources import RESOURCES, Resource
from hub.web.auth import ApiRoute, allow
from hub.web.context import hub_of
from hub.web.errors import ProblemError
from hub.web.params import CursorText, Limit, TimeText, read_cursor, read_time, write_cursor

router = APIRouter(prefix="/api/v1", tags=["Master data and calendars"], route_class=ApiRoute)
Text = Annotated[str, Query(max_length=200)]
Who = Annotated[str, Query(max_length=200, description="the id, number or name of somebody who takes part")]
Type = Annotated[str, Query(max_length=200, alias="type")]
Flag = Annotated[bool | None, Query(description="true or false; without it both")]
PAGES = 250  # that one summary looks through: about half a million visits


SLOTS = next(one for one in RESOURCES if one.kind == "Slot")
BY_NUMBER = [one for one in RESOURCES if one.listed and one is not SLOTS]


def _list_of(listed: Resource) -> Callable[..., Response]:
    @allow("crm", "operator")
    def answer(
        request: Request,
        department: Text = "",
        of_type: Type = "",
        active: Flag = None,
        cursor: CursorText = "",
        limit: Limit = 50,
    ) -> Response:
        """`active=true` leaves out what a source has ended; what nobody ended counts as active."""

        def matches(data: Mapping[str, Any]) -> bool:
            return (
                department in ("", data.get("department"))
                and of_type in ("", _code(data.get("type")))
                and active in (None, data.get("active", True))
            )

        position = read_cursor(listed.path, cursor, (str, str))
        with hub_of(request).engine.connect() as conn:
            after = None if position is None else (position[0], position[1])
            page = lists.by_number(conn, listed.kind, matches, after=after, limit=limit)
        record(request, Action.RESOURCE_READ, None, what=f"{listed.path}.list")
        following = write_cursor(listed.path, *page.after) if page.after else None
        return render.page([render.resource(row) for row in page.rows], following)

    return answer


@router.get("/slots", summary=SLOTS.listed)
@allow("crm", "operator")
def slots(
    request: Request, start: TimeText = "", end: TimeText = "", status: Text = "", department: Text = "", participant: Who = "",
    cursor: CursorText = "", limit: Limit = 50,
) -> Response:  # fmt: skip
    """Those that begin from `start` to before `end`. `status`: free, busy, busy-tentative, busy-unavailable."""

    def matches(data: Mapping[str, Any]) -> bool:
        return (
            (data.get("status") == status if status else data.get("status") != "entered-in-error")
            and department in ("", data.get("department"))
            and (not participant or any(_is(party, participant) for party in data.get("participant") or ()))
        )

    position = read_cursor("slots", cursor, (int, str))
    with hub_of(request).engine.connect() as conn:
        page = lists.by_start(
            conn,
            "Slot",
            matches,
            start=read_time("start", start),
            end=read_time("end", end),
            after=as_pair(position),
            limit=limit,
        )
    record(request, Action.RESOURCE_READ, None, what="slots.list")
    return render.page([render.resource(row) for row in page.rows], write_cursor("slots", *page.after) if page.after else None)


@router.get("/referrals", summary="Who sent us which patient, the earliest first")
@allow("crm", "operator")
def referrals(
    request: Request, start: TimeText = "", end: TimeText = "", referrer: Who = "", cursor: CursorText = "", limit: Limit = 50
) -> Response:
    """Letters of referral (`by` letter) and visits that name somebody as who sent the patient (`by` visit), of the period from
    `start` to before `end`. Where each word came from: the lineage of `resource`."""
    position = read_cursor("referrals", cursor, (int, str))
    with hub_of(request).engine.connect() as conn:
        page = lists.referrals(
            conn, start=read_time("start", start), end=read_time("end", end), after=as_pair(position), limit=limit
        )
    items = [item for row in page.rows if (item := _referral(row)) and (not referrer or _is(item["referrer"] or {}, referrer))]
    record_many(request, Action.PATIENT_SEARCHED, sorted({i["patientId"] for i in items if i["patientId"]}), what="referrals")
    return render.page(items, write_cursor("referrals", *page.after) if page.after else None)


@router.get("/referrers", summary="Who sent us how many patients")
@allow("crm", "operator")
def referrers(request: Request, start: TimeText, end: TimeText) -> Response:
    """Of the period from `start` to before `end`: each doctor or hospital once, whoever sent most patients first. A visit and
    a letter of the same patient count as one patient."""
    found: dict[str, dict[str, Any]] = {}
    with hub_of(request).engine.connect() as conn:
        for row in _all_referrals(conn, read_time("start", start), read_time("end", end)):
            item = _referral(row)
            if item is None or item["referrer"] is None:
                continue
            one = found.setdefault(
                same_as(item["referrer"]), {"referrer": item["referrer"], "patients": set(), "referrals": 0, "first": item["at"]}
            )
            one["patients"].add(item["patientId"])
            one["referrals"] += 1
            one["last"] = item["at"]
    record(request, Action.RESOURCE_READ, None, what="referrers")
    items = [one | {"patients": len(one["patients"])} for one in found.values()]
    return render.page(sorted(items, key=lambda one: (-one["patients"], -one["referrals"], one["first"])), None)


def _all_referrals(conn: Any, start: int | None, end: int | None) -> Iterator[ResourceRow]:
    after: tuple[int, str] | None = None
    for _ in range(PAGES):
        page = lists.referrals(conn, start=start, end=end, after=after, limit=lists.WINDOW)
        yield from page.rows
        after = page.after
        if after is None:
            return
    raise ProblemError(422, "too many visits in that period: ask for a shorter one", code="period_too_long")


def _referral(row: ResourceRow) -> dict[str, Any] | None:
    found = referral(row.kind, row.data)
    if found is None:
        return None
    return {
        "at": render.iso(row.sort_at), "patientId": row.patient_id, "by": found.by, "referrer": found.referrer, "to": found.to,
        "department": row.data.get("department"), "status": row.data.get("status"),
        "resource": {"kind": row.kind, "id": row.id},
    }  # fmt: skip


def _is(party: Mapping[str, Any], wanted: str) -> bool:
    """Whether somebody who takes part is meant: by our id, a number or a whole name."""
    number = (party.get("identifier") or {}).get("value")
    reference = str(party.get("reference") or "")
    return wanted in (number, reference, reference.rpartition("/")[2]) or (
        bool(party.get("name")) and normal_name(str(party["name"])) == normal_name(wanted)
    )


def _code(value: object) -> object:
    """The code of a Coding, or the word itself."""
    return value.get("code") if isinstance(value, Mapping) else value


for _listed in BY_NUMBER:
    router.add_api_route(
        f"/{_listed.path}", _list_of(_listed), methods=["GET"], name=f"list_{_listed.path}", summary=_listed.listed
    )
