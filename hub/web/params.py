"""What requests carry beside their bodies: cursors, times, ETags, merge patches."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import Path, Query

from hub.web.errors import ProblemError, error_at

Limit = Annotated[int, Query(ge=1, le=500, description="How many to return at most")]
CursorText = Annotated[str, Query(max_length=400, description="`next` of the page before")]
TimeText = Annotated[str, Query(max_length=40, description="ISO 8601 time with offset, or a date (UTC)")]

RowId = Annotated[int, Path(ge=0, le=2**63 - 1)]

_ETAG = re.compile(r'"v(\d{1,9})"\Z')
_BIGGEST = 2**63 - 1


def write_cursor(purpose: str, *position: str | int) -> str:
    """A place in a list as an opaque text. It holds ids and numbers only, and works for the list of `purpose` only."""
    return base64.urlsafe_b64encode(orjson.dumps([purpose, *position])).rstrip(b"=").decode()


def read_cursor(
    purpose: str, text: str, shape: tuple[type, ...], *, name: str = "cursor", place: str = "query"
) -> tuple[Any, ...] | None:
    """The position of a cursor, checked against `shape`; None where `text` is empty. Raises ProblemError 400, which points
    to the parameter `name` in `place`."""
    if not text:
        return None
    try:
        found = orjson.loads(base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        found = None
    if not isinstance(found, list) or [type(part) for part in found] != [str, *shape] or found[0] != purpose:
        raise _bad_cursor(name, place)
    if any(isinstance(part, int) and not -1 <= part <= _BIGGEST for part in found):
        raise _bad_cursor(name, place)
    return tuple(found[1:])


def _bad_cursor(name: str, place: str) -> ProblemError:
    where = [error_at(place, (name,), "not a cursor of this list")]
    return ProblemError(400, "the cursor is not one that this list gave out", code="bad_cursor", errors=where)


def read_time(name: str, text: str, place: str = "query") -> int | None:
    """ISO 8601 -> µs UTC; a time without an offset is UTC. None where `text` is empty. Raises ProblemError 422."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text.strip().replace(" ", "+"))
    except ValueError:
        raise ProblemError(422, errors=[error_at(place, (name,), "not an ISO 8601 time")]) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(at.timestamp()) * 1_000_000 + at.microsecond


def etag(version: int) -> str:
    """`"v3"`."""
    return f'"v{version}"'


def expected_version(if_match: str | None) -> int:
    """The version that a write was made for. Raises ProblemError 428 without If-Match, 400 where it is none of ours."""
    if if_match is None:
        raise ProblemError(428, "send If-Match with the ETag of the version that you read")
    found = _ETAG.match(if_match.strip())
    if found is None:
        where = [error_at("header", ("If-Match",), 'must be an ETag as given out: "v3"')]
        raise ProblemError(400, "If-Match is not an ETag of ours", errors=where)
    return int(found.group(1))


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null removes, everything else (lists too) replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
