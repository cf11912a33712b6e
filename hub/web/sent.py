"""What the doors at this address share (FHIR, IDocs, STOW-RS): whose token leads to which, a body within its time, the record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from hub.audit.actions import Action
from hub.web.auth import principal_of
from hub.web.context import hub_of
from hub.web.errors import ProblemError

T = TypeVar("T")


def door_of(request: Request, kind: type[T], what: str) -> tuple[str, T]:
    """The channel that names the token, and its Door of that kind. `what` it takes, for people. Raises ProblemError 403."""
    doors = hub_of(request).doors
    found = doors.of_token(principal_of(request).name) if doors is not None else None
    if found is None or not isinstance(found[1], kind):
        raise ProblemError(403, f"no channel of {what} names this token: write it into its tokens", code="no_channel")
    return found


async def within(seconds: float, reading: Awaitable[T]) -> T:
    """What comes of reading a body. Raises ProblemError 408 and 400: late, or cut off."""
    try:
        return await asyncio.wait_for(reading, seconds)
    except TimeoutError:
        late = "the body did not come in time; nothing was taken"
        raise ProblemError(408, late, code="timeout", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise ProblemError(400, "the connection ended in the middle of the body; nothing was taken", code="cut") from None


def record(request: Request, channel: str, stored: Sequence[int]) -> None:
    """Who brought which messages from where."""
    if stored:
        hub, who = hub_of(request), principal_of(request)
        detail = {"ip": who.ip, "count": len(stored), "first": min(stored), "last": max(stored)}
        hub.audit.append(Action.MESSAGE_RECEIVED, actor=who.actor, channel=channel, detail=detail)
