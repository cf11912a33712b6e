"""Where a change goes: every outbound channel that wants it, but never back to the system that said it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from hub.domain.lifecycle import State
from hub.domain.rows import MessageRow, Row, WorkRow
from hub.sync.canon import Changed
from hub.sync.lanes import bucket_of, outbound_lane


@dataclass(frozen=True, slots=True)
class Route:
    """An outbound channel, as routing sees it. `events` are patterns of change types: `patient.*`."""

    channel: str
    system: str
    events: tuple[str, ...]

    def wants(self, change_type: str, from_system: str) -> bool:
        """A CRM's events are for all its front-ends, the writer included; a system of record never hears its own word."""
        if self.system == from_system and self.system != "crm":
            return False
        return _matches(change_type, self.events)


@cache
def _matches(change_type: str, patterns: tuple[str, ...]) -> bool:
    """There are few types and few channels, and every change asks."""
    return any(fnmatchcase(change_type, pattern) for pattern in patterns)


def outbound_rows(
    changes: Sequence[tuple[int, Changed]], routes: Sequence[Route], ids: Sequence[int], now: int, buckets: int
) -> list[Row]:
    """Message and work rows for (change id, change) pairs; `ids` are as many as `count` said."""
    rows: list[Row] = []
    fresh = iter(ids)
    for change_id, changed in changes:
        resource, origin = changed.resource, changed.origin
        for route in routes:
            if not route.wants(changed.type, origin.system):
                continue
            message_id = next(fresh)
            owner = resource.patient_id or resource.id
            lane = outbound_lane(route.channel, owner)
            bucket = bucket_of(lane, buckets)
            paired = resource.other_owner not in (None, owner)
            rows.append(
                MessageRow(
                    message_id, route.channel, "out", now, "", "", changed.type, "", lane, bucket, None, "", False, "",
                    origin.message_id, change_id, resource.id,
                )
            )  # fmt: skip
            rows.append(WorkRow("out", bucket, message_id, lane, route.channel, State.QUEUED, False, paired, 0, 0, "", now))
            if paired:  # what goes from one patient to another is in both lanes, as a merge that comes in is
                other = outbound_lane(route.channel, resource.other_owner or "")
                there = bucket_of(other, buckets)
                rows.append(WorkRow("out", there, message_id, other, route.channel, State.QUEUED, True, False, 0, 0, "", now))
    return rows


def count(changes: Sequence[Changed], routes: Sequence[Route]) -> int:
    """How many outbound messages these changes make."""
    return sum(route.wants(c.type, c.origin.system) for c in changes for route in routes)
