"""Where a change goes: every outbound channel that wants it, but never back to the system that said it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from hub.domain.lifecycle import State
from hub.domain.rows import MessageRow, Row, WorkRow
from hub.domain.store import BEHIND
from hub.sync.canon import Changed
from hub.sync.lanes import bucket_of, outbound_lane


@dataclass(frozen=True, slots=True)
class Filter:
    """What one [[routes]] of hub.toml lets through to a channel: each filter that is not empty must agree."""

    events: tuple[str, ...] = ()  # patterns of change types
    kinds: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    from_systems: frozenset[str] = frozenset()
    departments: tuple[str, ...] = ()  # patterns
    wards: tuple[str, ...] = ()

    def takes(self, changed: Changed) -> bool:
        """A change without a department or ward is not for a filter that asks for one."""
        document = changed.document
        return (
            (not self.events or _matches(changed.type, self.events))
            and (not self.kinds or changed.resource.kind in self.kinds)
            and (not self.from_systems or changed.origin.system in self.from_systems)
            and (not self.fields or not self.fields.isdisjoint(changed.fields))
            and (not self.departments or _named(document, ("department",), self.departments))
            and (not self.wards or _named(document, ("location", "priorLocation"), self.wards))
        )


@dataclass(frozen=True, slots=True)
class Route:
    """An outbound channel, as routing sees it. `events` are patterns of change types: `patient.*`.

    `rules` are those of hub.toml that name this channel: what any of them takes is sent. Without one all of `events` is.
    """

    channel: str
    system: str
    events: tuple[str, ...]
    rules: tuple[Filter, ...] = ()

    def wants(self, changed: Changed) -> bool:
        """A CRM's events are for all its front-ends, the writer included; a system of record never hears its own word."""
        if self.system == changed.origin.system and self.system != "crm":
            return False
        if not _matches(changed.type, self.events):
            return False
        return not self.rules or any(rule.takes(changed) for rule in self.rules)


@cache
def _matches(change_type: str, patterns: tuple[str, ...]) -> bool:
    """There are few types and few channels, and every change asks."""
    return any(fnmatchcase(change_type, pattern) for pattern in patterns)


def _named(document: Mapping[str, Any], fields: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether one of these fields, a text or something with a code, or its first word, is what one of the patterns says.

    A location is ward, room and bed: `5W 501 02` (HL7 PL.1-3).
    """
    for name in fields:
        value = document.get(name)
        text = value.get("code") if isinstance(value, dict) else value
        if isinstance(text, str):
            first = text.partition(" ")[0]
            if any(fnmatchcase(text, pattern) or fnmatchcase(first, pattern) for pattern in patterns):
                return True
    return False


def outbound_rows(
    changes: Sequence[tuple[int, Changed]],
    routes: Sequence[Route],
    ids: Sequence[int],
    now: int,
    buckets: int,
    later: Collection[int] = (),
) -> list[Row]:
    """Message and work rows for (change id, change) pairs; `ids` are as many as `count` said.

    `later`: the messages that could wait; what they lead to can wait, too.
    """
    rows: list[Row] = []
    fresh = iter(ids)
    for change_id, changed in changes:
        resource, origin = changed.resource, changed.origin
        for route in routes:
            if not route.wants(changed):
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
            place = bucket + BEHIND if origin.message_id in later and not paired else bucket
            rows.append(WorkRow("out", place, message_id, lane, route.channel, State.QUEUED, False, paired, 0, 0, "", now))
            if paired:  # what goes from one patient to another is in both lanes, as a merge that comes in is
                other = outbound_lane(route.channel, resource.other_owner or "")
                there = bucket_of(other, buckets)
                rows.append(WorkRow("out", there, message_id, other, route.channel, State.QUEUED, True, False, 0, 0, "", now))
    return rows


def count(changes: Sequence[Changed], routes: Sequence[Route]) -> int:
    """How many outbound messages these changes make."""
    return sum(route.wants(c) for c in changes for route in routes)
