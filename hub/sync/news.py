"""What of a message is news: which of its values count, held against what its source said last.

A source's value counts when that source changed it. Two doors of one system (its messages and its tables) speak for one
source record, so what is late, what is missing and what is repeated is judged with that in mind (docs/adr/0135).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from hub.sync.slots import same
from hub.sync.workspace import Source

IDENTIFIER = "identifier"


def is_late(event_at: int, heard_at: int) -> bool:
    """Whether a message is older than what its record was told before. A time told in whole seconds is any moment of its
    second: a table's row may be read in that second and say less."""
    latest = event_at if event_at % 1_000_000 else event_at + 999_999
    return latest < heard_at


def news(values: Mapping[str, Any], source: Source | None, channel: str) -> dict[str, Any]:
    """The values that differ from what the source said last. Of what it never said, None is none."""
    if source is None:
        return {name: value for name, value in values.items() if value is not None}
    known = source.data
    found = {n: v for n, v in values.items() if (not same(known[n], v) if n in known else v is not None)}
    if found.get(IDENTIFIER) and known.get(IDENTIFIER) and source.channel != channel:
        told = union((found[IDENTIFIER], known[IDENTIFIER]))  # each door knows some of its numbers, and takes away none
        found[IDENTIFIER] = told
        if len(told) == len(known[IDENTIFIER]) and all(one in known[IDENTIFIER] for one in told):
            del found[IDENTIFIER]
    return found


def union(lists: Iterable[Sequence[Any]]) -> list[Any]:
    """All identifiers once: of two with one assigner and value, the more telling (typed) one."""
    found: dict[tuple[str, str], Any] = {}
    for items in lists:
        for item in items:
            key = (item.get("assigner", ""), item["value"])
            if key not in found or len(item) > len(found[key]):
                found[key] = item
    return list(found.values())


def unheard(values: Mapping[str, Any], source: Source, channel: str) -> dict[str, Any]:
    """Of an older word: nothing, but for what only the other door of its system says and nobody else would ever tell."""
    if channel == source.channel:
        return {}
    return {name: value for name, value in values.items() if value is not None and name not in source.lineage}


def confirmed(kind: str, stands: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The status of a booking that waits for its owner's word, as the owner gives it: for him it may be what it always was
    ("booked", on another day), and is an answer all the same. Only where he speaks of the time that was asked for."""
    status = values.get("status")
    if kind != "Appointment" or stands.get("status") != "pending" or status in (None, "pending"):
        return {}
    return {"status": status} if _same_moment(stands.get("start"), values.get("start")) else {}


def _same_moment(one: Any, other: Any) -> bool:
    try:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    except (TypeError, ValueError):  # not said, or a day only
        return False
