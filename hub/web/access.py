"""Access records: every read of a patient is written down before its data leave (who, when, from where, whose, what)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from hub.audit.actions import Action
from hub.web.auth import principal_of
from hub.web.context import hub_of


def record(request: Request, action: Action, resource_id: str | None, *, what: str, **detail: Any) -> None:
    """One resource was shown. `what` names the part; details are ids, counts and field names, never data of a patient."""
    who = principal_of(request)
    hub_of(request).audit.append(action, actor=who.actor, resource_id=resource_id, detail={"ip": who.ip, "what": what, **detail})


def record_many(request: Request, action: Action, ids: Sequence[str], *, what: str, **detail: Any) -> None:
    """A list was shown: one entry with the ids of all of it, also where it was empty."""
    record(request, action, None, what=what, ids=list(ids), **detail)


def record_message(request: Request, action: Action, message_id: int, *, what: str) -> None:
    """A message's content was shown."""
    who = principal_of(request)
    hub_of(request).audit.append(action, actor=who.actor, message_id=message_id, detail={"ip": who.ip, "what": what})
