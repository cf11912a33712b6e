"""/api/v1/messages: search, one message's story, replay, discard, settle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from hub.audit.actions import Action
from hub.db.views import messages
from hub.domain.lifecycle import Outcome, State
from hub.web import render, story
from hub.web.access import record, record_message
from hub.web.api.bodies import Body, Reason, SettleIn
from hub.web.auth import ApiRoute, allow, principal_of
from hub.web.context import WebHub, hub_of
from hub.web.errors import ProblemError, error_at
from hub.web.params import CursorText, Limit, RowId, TimeText, read_cursor, read_time, write_cursor

router = APIRouter(prefix="/api/v1", tags=["Messages"], route_class=ApiRoute)
STATES: tuple[str, ...] = (*State, *Outcome)
CONTENT_ROLES = frozenset({"operator", "admin"})
Short = Annotated[str, Field(max_length=200)]


class MessageSearch(Body):
    """All that is given must match. `patient`: a patient number; `type`: "ADT^A08" or its beginning."""

    patient: Short = ""
    controlId: Short = ""  # noqa: N815
    type: Short = ""
    state: Short = ""
    channel: Short = ""
    direction: Annotated[str, Field(pattern="^(in|out)?$")] = ""
    since: Short = ""
    until: Short = ""
    resourceId: Short = ""  # noqa: N815
    cursor: Annotated[str, Field(max_length=400)] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 50

    def query(self, place: str = "body") -> messages.Query:
        """For the view. Raises ProblemError 422, which points into `place`."""
        if self.state and self.state not in STATES:
            where = [error_at(place, ("state",), f"one of {', '.join(STATES)}")]
            raise ProblemError(422, "there is no such state", errors=where)
        return messages.Query(
            patient_no=self.patient.strip(), control_id=self.controlId.strip(), type=self.type.strip(), state=self.state,
            channel=self.channel, direction=self.direction, since=read_time("since", self.since, place),
            until=read_time("until", self.until, place), resource_id=self.resourceId,
        )  # fmt: skip


@router.post("/messages/search", summary="Search messages (preferred: no patient number in a URL)")
@allow("operator", "auditor")
def search(request: Request, body: MessageSearch) -> Response:
    """The newest first. By patient number it finds what came for that number and what went out for its bearer."""
    return _search(request, body)


@router.get("/messages", summary="Search messages by query string")
@allow("operator", "auditor")
def search_by_url(
    request: Request,
    patient: Annotated[str, Query(max_length=200)] = "",
    controlId: Annotated[str, Query(max_length=200)] = "",  # noqa: N803
    type: Annotated[str, Query(max_length=200)] = "",  # noqa: A002
    state: Annotated[str, Query(max_length=200)] = "",
    channel: Annotated[str, Query(max_length=200)] = "",
    direction: Annotated[str, Query(pattern="^(in|out)?$")] = "",
    since: TimeText = "",
    until: TimeText = "",
    resourceId: Annotated[str, Query(max_length=200)] = "",  # noqa: N803
    cursor: CursorText = "",
    limit: Limit = 50,
) -> Response:
    """As POST /messages/search."""
    return _search(request, MessageSearch(
        patient=patient, controlId=controlId, type=type, state=state, channel=channel, direction=direction, since=since,
        until=until, resourceId=resourceId, cursor=cursor, limit=limit,
    ), "query")  # fmt: skip


@router.get("/messages/{message_id}", summary="One message's story")
@allow("operator", "auditor")
def read(request: Request, message_id: RowId) -> Response:
    """State and answer, what it changed and where that went, every attempt, the audit log's entries; for operators also
    its segments, and the facts that its map reads in them, with their paths."""
    return render.answer(tell(request, message_id))


@router.post("/messages/{message_id}/replay", summary="Put a dead or uncertain message back into its lane")
@allow("operator")
def replay(request: Request, message_id: RowId, body: Reason) -> Response:
    """It keeps its place in its lane. 409 where its state does not allow it."""
    return _operate(request, message_id, lambda hub, who: hub.operations.replay(message_id, reason=body.reason, actor=who))


@router.post("/messages/{message_id}/discard", summary="Give a dead or uncertain message up")
@allow("operator")
def discard(request: Request, message_id: RowId, body: Reason) -> Response:
    """Its lane goes on without it."""
    return _operate(request, message_id, lambda hub, who: hub.operations.discard(message_id, reason=body.reason, actor=who))


@router.post("/messages/{message_id}/settle", summary="Say whether the target acted on an uncertain message")
@allow("operator")
def settle(request: Request, message_id: RowId, body: SettleIn) -> Response:
    """acted true: it is done; false: it is sent again."""
    return _operate(
        request,
        message_id,
        lambda hub, who: hub.operations.settle(message_id, acted=body.acted, reason=body.reason, actor=who),
    )


def tell(request: Request, message_id: int) -> dict[str, Any]:
    """The story, with content for those who may see it, recorded as read."""
    with_content = principal_of(request).role in CONTENT_ROLES
    found = story.tell(hub_of(request), message_id, with_content=with_content)
    record_message(request, Action.MESSAGE_READ, message_id, what="content" if with_content else "metadata")
    return found


def find(request: Request, body: MessageSearch, place: str = "body") -> tuple[list[messages.MessageRow], str | None]:
    """A page of messages and the cursor behind it, recorded as searched."""
    query = body.query(place)
    position = read_cursor("messages", body.cursor, (int,), place=place)
    with hub_of(request).engine.connect() as conn:
        rows = messages.find(conn, query, before=position[0] if position else None, limit=body.limit)
    if query.patient_no:
        digest = hub_of(request).keys.digest(query.patient_no.encode()).hex()
        record(request, Action.MESSAGE_SEARCHED, None, what="patient_number", digest=digest, count=len(rows))
    return rows, write_cursor("messages", rows[-1].id) if len(rows) == body.limit else None


def _search(request: Request, body: MessageSearch, place: str = "body") -> Response:
    rows, following = find(request, body, place)
    return render.page([render.message(row) for row in rows], following)


def _operate(request: Request, message_id: int, act: Callable[[WebHub, str], None]) -> Response:
    hub = hub_of(request)
    act(hub, principal_of(request).actor)
    return render.answer(story.tell(hub, message_id, with_content=False))
