"""How rows of the read views look as JSON of the API: camelCase, ISO 8601 times in UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import Response

from hub.db.auth import TokenRow
from hub.db.views.changes import ChangeRow
from hub.db.views.channels import ChannelStatus
from hub.db.views.messages import MessageRow
from hub.db.views.patients import ResourceRow
from hub.web.params import etag

_NO_STORE = {"Cache-Control": "no-store"}


def iso(us: int | None) -> str | None:
    """µs -> `2026-11-22T00:00:00.000000Z`."""
    if us is None:
        return None
    return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{us % 1_000_000:06d}Z"


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps: it may hold a patient's data."""
    return Response(orjson.dumps(content), status, {**_NO_STORE, **(headers or {})}, "application/json")


def page(items: Sequence[Any], following: str | None) -> Response:
    """One page of a list; `next` is null on the last one."""
    return answer({"items": items, "next": following})


def resource(row: ResourceRow) -> dict[str, Any]:
    """A canonical resource in its envelope: `resource` is the document, everything beside it is the hub's."""
    found: dict[str, Any] = {
        "id": row.id, "kind": row.kind, "patientId": row.patient_id, "version": row.version, "status": row.status,
        "createdAt": iso(row.created_at), "updatedAt": iso(row.updated_at), "resource": row.data,
    }  # fmt: skip
    survivor = row.data.get("replacedBy")
    if row.status == "merged" and survivor:
        found["replacedBy"] = {"id": survivor, "href": f"/api/v1/patients/{survivor}"}
    return found


def versioned(row: ResourceRow, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """One resource with its ETag; a merged patient points to its survivor (RFC 8288)."""
    found = resource(row)
    extra = {"ETag": etag(row.version), **(headers or {})}
    if "replacedBy" in found:
        extra["Link"] = f'<{found["replacedBy"]["href"]}>; rel="successor-version"'
    return answer(found, status, extra)


def lineage(fields: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What patients.lineage found, with times as text."""
    return [{**field, "sources": [{**said, "at": iso(said["at"])} for said in field["sources"]]} for field in fields]


def change(row: ChangeRow) -> dict[str, Any]:
    """One change of the feed: what it did, and the whole document after it."""
    return {
        "id": row.id, "at": iso(row.at), "type": row.type, "kind": row.kind, "resourceId": row.resource_id,
        "patientId": row.patient_id, "version": row.version, "changed": row.fields, "resource": row.data,
        "messageId": row.message_id, "origin": row.origin,
    }  # fmt: skip


def channel(row: ChannelStatus, info: Mapping[str, Any]) -> dict[str, Any]:
    """A channel's status with its configuration; `lagSeconds`: how long the oldest message able to go has waited."""
    return {
        **info,
        "counts": {
            name: getattr(row, name)
            for name in (
                "received", "queued", "in_flight", "uncertain", "dead", "done", "ignored", "stale", "refused", "discarded",
                "duplicate",
            )
        },
        "lagSeconds": round(row.lag / 1_000_000, 3),
        "paused": row.paused, "stopped": row.stopped, "trouble": row.trouble, "breaker": row.breaker,
        "breakerUntil": iso(row.breaker_until) if row.breaker_until else None,
        "blockedLanes": row.blocked,
        "lanes": [
            {
                "lane": lane.lane, "messageId": lane.message_id, "state": lane.state, "reason": lane.reason,
                "since": iso(lane.since), "waiting": lane.waiting,
            }
            for lane in row.blocked_lanes
        ],
        "reading": [
            {"bytes": f.bytes, "size": f.size, "records": f.records, "refused": f.refused, "at": iso(f.at)} for f in row.reading
        ],
    }  # fmt: skip


def message(row: MessageRow) -> dict[str, Any]:
    """A message as listed."""
    return {
        "id": row.id, "channel": row.channel, "direction": row.direction, "at": iso(row.at), "type": row.type,
        "controlId": row.control_id, "sender": row.sender, "patientNumber": row.patient_no, "lane": row.lane,
        "state": row.state, "outcome": row.outcome or None, "reason": row.reason, "attempts": row.attempts,
        "due": iso(row.due) if row.due else None, "answer": row.code, "charset": row.charset, "cause": row.cause,
        "changeId": row.change_id, "resourceId": row.resource_id,
    }  # fmt: skip


def entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """One audit entry."""
    return {
        "id": row["id"], "at": iso(row["at"]), "action": row["action"], "actor": row["actor"], "channel": row["channel"],
        "messageId": row["message_id"], "resourceId": row["resource_id"], "detail": row["detail"],
    }  # fmt: skip


def token(row: TokenRow) -> dict[str, Any]:
    """A token without its secret."""
    return {
        "id": row.id, "name": row.name, "role": row.role, "createdAt": iso(row.created_at),
        "expiresAt": iso(row.expires_at), "revokedAt": iso(row.revoked_at),
    }  # fmt: skip
