"""/api/v1/changes: the delta feed, the snapshot that begins it, and how far a change has got with each target."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import changes
from hub.db.views.changes import START, ChangeRow, Position
from hub.domain.errors import NotFound
from hub.domain.model import KINDS, Kind
from hub.web import render
from hub.web.access import record, record_many
from hub.web.auth import ApiRoute, allow
from hub.web.context import hub_of
from hub.web.params import CursorText, Limit, RowId, read_cursor, write_cursor

router = APIRouter(prefix="/api/v1", tags=["Changes"], route_class=ApiRoute)
Kinds = Annotated[list[Kind], Query(description="Only these kinds; may be repeated")]
LOOK_AGAIN = 0.25  # seconds between two looks of a waiting reader


@router.get("/changes", summary="What has changed since a cursor")
@allow("crm")
async def feed(
    request: Request,
    after: Annotated[str, Query(max_length=400, description="`next` of the page before, or `feed` of the snapshot")] = "",
    kind: Kinds = [],  # noqa: B006 - FastAPI copies it
    limit: Limit = 100,
    wait: Annotated[int, Query(ge=0, le=30, description="Seconds to wait for a change where there is none yet")] = 0,
) -> Response:
    """Every change in the order of its commit; none is ever skipped, however many write at once. Keep `next` and come
    again with it, also where `items` is empty. Without `after` the feed begins with the first change there is."""
    position = Position(*(read_cursor("feed", after, (int, int), name="after") or START))
    rows, reached = await run_in_threadpool(_feed, request, position, kind, limit)
    for _ in range(int(wait / LOOK_AGAIN)):
        if rows or await request.is_disconnected():
            break
        await asyncio.sleep(LOOK_AGAIN)
        rows, reached = await run_in_threadpool(_feed, request, reached, kind, limit)
    if rows:
        await run_in_threadpool(_seen, request, Action.CHANGES_READ, [row.patient_id for row in rows], "feed")
    return render.answer(
        {"items": [render.change(row) for row in rows], "next": write_cursor("feed", *reached), "more": len(rows) == limit}
    )


@router.get("/snapshot", summary="Everything there is, and the cursor to go on from")
@allow("crm")
def snapshot(request: Request, kind: Kinds = ["Patient"], cursor: CursorText = "", limit: Limit = 100) -> Response:  # noqa: B006
    """For a front-end that starts: read all pages (`next`), then follow /changes after `feed`, which is the same on every
    page. What changes while you read comes again in the feed: take the higher version."""
    position = read_cursor("snapshot", cursor, (str, str, int, int))
    asked = ",".join(sorted(set(kind)))
    with hub_of(request).engine.connect() as conn:
        if position is None:
            begin = changes.head(conn)
            rows = changes.snapshot(conn, kind, limit=limit)
        else:
            asked, begin = position[0], Position(position[2], position[3])
            rows = changes.snapshot(conn, [one for one in KINDS if one in asked.split(",")], after=position[1], limit=limit)
    _seen(request, Action.SNAPSHOT_READ, [row.patient_id for row in rows], asked)
    following = write_cursor("snapshot", asked, rows[-1].id, *begin) if len(rows) == limit else None
    return render.answer(
        {"items": [render.resource(row) for row in rows], "next": following, "feed": write_cursor("feed", *begin)}
    )


@router.get("/changes/{change_id}", summary="One change")
@allow("crm", "operator")
def read(request: Request, change_id: RowId) -> Response:
    """What it did, and the whole document after it."""
    row = _change(request, change_id)
    record(request, Action.PATIENT_READ, row.patient_id, what="change", change=row.id)
    return render.answer(render.change(row))


@router.get("/changes/{change_id}/deliveries", summary="How far a change has got with each target")
@allow("crm", "operator")
def deliveries(request: Request, change_id: RowId) -> Response:
    """pending, sent, confirmed, or refused with the reason, for every system that the change goes to."""
    row = _change(request, change_id)
    with hub_of(request).engine.connect() as conn:
        items = changes.deliveries(conn, row)
    for one in items:
        if one["lastAnswer"]:
            one["lastAnswer"] = {**one["lastAnswer"], "at": render.iso(one["lastAnswer"]["at"])}
    return render.page(items, None)


def _feed(request: Request, after: Position, kinds: Sequence[str], limit: int) -> tuple[list[ChangeRow], Position]:
    """The next changes and the place reached: past what the filter left out too, so that it is not read again."""
    with hub_of(request).engine.connect() as conn:
        head = changes.head(conn)  # before the rows: what is committed in between must not be passed over
        rows = changes.feed(conn, after, limit=limit, kinds=kinds)
    last = Position(rows[-1].tx, rows[-1].id) if rows else after
    return rows, last if len(rows) == limit else max(last, head)


def _change(request: Request, change_id: int) -> ChangeRow:
    with hub_of(request).engine.connect() as conn:
        row = changes.get(conn, change_id)
    if row is None:
        raise NotFound("there is no such change")
    return row


def _seen(request: Request, action: Action, patients: Sequence[Any], what: str) -> None:
    record_many(request, action, sorted({one for one in patients if one}), what=what)
