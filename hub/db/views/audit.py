"""The audit log as an auditor searches it, and its checkpoints. Verifying is hub/audit's matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, or_, select

from hub.db.tables import checkpoint, entry
from hub.db.views import plain


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; "" and None mean anything."""

    actor: str = ""
    action: str = ""  # may be a prefix: "patient."
    resource_id: str = ""  # also finds the searches that listed this patient
    message_id: int | None = None
    channel: str = ""
    since: int | None = None
    until: int | None = None


def entries(conn: Connection, query: Query, *, before: int | None = None, limit: int = 50) -> list[dict[str, Any]]:
    """The newest entries that match, with an id below `before`."""
    statement = select(entry)
    if before is not None:
        statement = statement.where(entry.c.id < before)
    if query.actor:
        statement = statement.where(entry.c.actor == query.actor)
    if query.action:
        statement = statement.where(entry.c.action.startswith(query.action, autoescape=True))
    if query.resource_id:
        listed = entry.c.detail.contains(f'"{query.resource_id}"', autoescape=True)
        statement = statement.where(or_(entry.c.resource_id == query.resource_id, entry.c.resource_id.is_(None) & listed))
    if query.message_id is not None:
        statement = statement.where(entry.c.message_id == query.message_id)
    if query.channel:
        statement = statement.where(entry.c.channel == query.channel)
    if query.since is not None:
        statement = statement.where(entry.c.at >= query.since)
    if query.until is not None:
        statement = statement.where(entry.c.at < query.until)
    rows = conn.execute(statement.order_by(entry.c.id.desc()).limit(limit))
    return [plain(row._mapping) | {"detail": orjson.loads(row.detail)} for row in rows]


def checkpoints(conn: Connection, *, before: int | None = None, limit: int = 50) -> list[dict[str, Any]]:
    """Signed heads of the log, the newest first: size, time, root (hex), the note as signed."""
    statement = select(checkpoint.c.size, checkpoint.c.at, checkpoint.c.root, checkpoint.c.note)
    if before is not None:
        statement = statement.where(checkpoint.c.size < before)
    rows = conn.execute(statement.order_by(checkpoint.c.size.desc()).limit(limit))
    return [{"size": row.size, "at": row.at, "root": bytes(row.root).hex(), "note": row.note} for row in rows]
