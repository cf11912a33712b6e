"""`hub map try` of a row: JSON as the hub stores one, `{"event": "A_BusinessPartner", "row": {…}}`, rows in rows and all."""

from __future__ import annotations

from typing import Any

import orjson

from hub.domain.errors import HubError
from hub.mapping import Context, MapSet


def is_row(data: bytes) -> bool:
    """Whether a file is JSON with an event and a row."""
    return _read(data) is not None


def explained(maps: MapSet, context: Context, data: bytes) -> dict[str, Any]:
    """Event, map version, rows of the rules, facts, warnings, and the error where it cannot be mapped."""
    event, row = _read(data) or ("", {})
    result: dict[str, Any] = {"event": event, "version": maps.version, "error": "", "rows": [], "facts": [], "warnings": []}
    if not maps.handles_row(event):
        result["error"] = f"there is no map for rows of {event}: the hub would end it ignored"
        return result
    try:
        result["rows"] = maps.explain_row(event, row, context)
        mapped = maps.map_row(event, row, context)
    except HubError as error:
        result["error"] = error.reason
        return result
    result["warnings"] = mapped.warnings
    result["facts"] = [f"{type(fact).__name__} {getattr(fact, 'kind', '')}".strip() for fact in mapped.facts]
    return result


def _read(data: bytes) -> tuple[str, dict[str, Any]] | None:
    try:
        document = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or not isinstance(document.get("event"), str):
        return None
    row = document.get("row")
    return (document["event"], row) if isinstance(row, dict) else None
