"""Pass-through: messages go on as they were received, for what the canonical model does not cover.

A `Passage` is decided at intake, and its outbound message stands in the commit that stores the message: so it is in its
destination's queue before the sender has its answer. It holds no body; what is sent is read from the message that is its cause.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from hub.codecs.hl7v2 import Message, parse
from hub.domain.errors import Unreadable
from hub.domain.facts import Key
from hub.domain.lifecycle import State
from hub.domain.ports import Keys, Outbound, Received
from hub.domain.rows import MessageRow, Row, WorkRow
from hub.domain.store import BEHIND, OutboundWork, Tx
from hub.sync.lanes import bucket_of, outbound_lane
from hub.sync.polled import read_row
from hub.sync.results import counted

FIELD = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9][0-9]?)(?:\.([1-9][0-9]?))?")  # PV1-2, PV1-3.4
NO_PATIENT = "#"  # the owner of the lane of messages that name no patient
BUDGET = 64 << 20  # bytes of bodies that are claimed at a time


@dataclass(frozen=True, slots=True)
class Passage:
    """What goes from some inbound channels to one outbound channel. Every filter that is not empty must agree."""

    channel: str
    from_channels: frozenset[str]
    messages: tuple[str, ...] = ()  # patterns: "ORU^R01", "MDM" (whatever its trigger), "O??^*"
    senders: tuple[str, ...] = ()  # patterns of MSH-3, or of MSH-3|MSH-4
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # "PV1-2" (a row: its column) -> patterns of its value

    def takes(self, received: Received, content: Content) -> bool:
        return (
            received.channel in self.from_channels
            and (not self.messages or _any(self.messages, received.type, received.type.partition("^")[0]))
            and (not self.senders or _any(self.senders, received.sender, received.sender.partition("|")[0]))
            and all(_any(patterns, *content.values(place)) for place, patterns in self.where.items())
        )


def _any(patterns: Sequence[str], *texts: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in texts for pattern in patterns)


class Content:
    """The fields of one message, read when a filter first asks."""

    def __init__(self, received: Received) -> None:
        self._received = received
        self._row: Mapping[str, object] | None = None
        self._message: Message | None = None

    def values(self, place: str) -> list[str]:
        """What stands at `place`, in every such segment and repetition; of a row: in that column. "" where nothing does."""
        body = self._received.body
        if self._row is None and self._message is None:
            if body.startswith(b'{"event":'):
                self._row = read_row(body)[1]
            else:
                self._message = _parsed(self._received)
        if self._row is not None:
            value = self._row.get(place)
            return ["" if value is None else str(value)]
        found = FIELD.fullmatch(place)
        if found is None or self._message is None:
            return [""]
        name, number, component = found[1], int(found[2]), int(found[3] or 1)
        segments = self._message.all(name)
        return [s.value(number, rep, component) or "" for s in segments for rep in range(1, len(s.reps(number)) + 1)] or [""]


def _parsed(received: Received) -> Message | None:
    try:
        return parse(received.body, received.charset or "utf-8")
    except Unreadable:  # intake would have refused it; what only looks like a message has no fields
        return None


def wanted(passages: Sequence[Passage], received: Received) -> list[str]:
    """The outbound channels that get this message. What intake refuses is passed on to nobody."""
    if received.refused is not None or not passages:
        return []
    content = Content(received)
    return list(dict.fromkeys(p.channel for p in passages if p.takes(received, content)))


def owner_of(patient: Key) -> str:
    """Whose lane it is: of a patient number, as the model's patient is not known yet."""
    return f"{patient.assigner}|{patient.value}"


def passed_rows(
    type_: str, patients: Sequence[Key], cause: int, passed: Sequence[tuple[int, str]], now: int, buckets: int, later: bool
) -> list[Row]:
    """Message and work rows of `passed`: (message id, channel) pairs. In order per patient number, as it came in.

    `patients`: none, the one that it names, or the two of a merge; texts as the database takes them. `later`: what is live
    goes before them, except a merge, which waits for two lanes.
    """
    rows: list[Row] = []
    owners = [owner_of(key) for key in patients] or [NO_PATIENT]
    for message_id, channel in passed:
        lane, second = outbound_lane(channel, owners[0]), outbound_lane(channel, owners[-1])
        bucket, there = bucket_of(lane, buckets), bucket_of(second, buckets)
        rows.append(
            MessageRow(
                message_id, channel, "out", now, "", "", type_, "", lane, bucket, None, "", False, "", cause, None, None,
            )
        )  # fmt: skip
        place = bucket + BEHIND if later and second == lane else bucket
        rows.append(WorkRow("out", place, message_id, lane, channel, State.QUEUED, False, second != lane, 0, 0, "", now))
        if second != lane:  # a merge is in both lanes, as it is on its way in
            rows.append(WorkRow("out", there, message_id, second, channel, State.QUEUED, True, False, 0, 0, "", now))
    return rows


# -- on the way out -----------------------------------------------------------------------------------------------


class Stored(NamedTuple):
    """A message as it came in, for an outbound one that it caused."""

    cause: int
    body: bytes | None  # sealed; None once purged
    charset: str


def affordable(tx: Tx, works: Sequence[OutboundWork]) -> list[OutboundWork]:
    """Of what is due, as much as fits into BUDGET, at least one; a lane that does not fit waits from there on."""
    passed = [work.message_id for work in works if work.change_id is None]
    if not passed:
        return list(works)
    marks = ", ".join("?" * len(passed))
    sql = f"SELECT o.id, coalesce(length(i.body), 0) FROM message o JOIN message i ON i.id = o.cause WHERE o.id IN ({marks})"  # noqa: S608 - nothing but question marks
    sizes = dict(tx.many(sql, *passed))
    chosen: list[OutboundWork] = []
    total, waiting = 0, set[str]()
    for work in works:
        size = int(sizes.get(work.message_id, 0))
        if work.lane in waiting or (chosen and total + size > BUDGET):
            waiting.add(work.lane)
            continue
        total += size
        chosen.append(work)
    return chosen


def stored(tx: Tx, works: Sequence[OutboundWork]) -> dict[int, Stored]:
    """The causes of those of `works` that carry no change, by outbound message id."""
    passed = [work.message_id for work in works if work.change_id is None]
    if not passed:
        return {}
    marks = ", ".join("?" * len(passed))
    sql = f"SELECT o.id, i.id, i.body, i.charset FROM message o JOIN message i ON i.id = o.cause WHERE o.id IN ({marks})"  # noqa: S608 - as above
    return {row[0]: Stored(row[1], bytes(row[2]) if row[2] is not None else None, row[3]) for row in tx.many(sql, *passed)}


def outbound(keys: Keys, work: OutboundWork, found: Stored | None) -> Outbound:
    """The message that carries a body as received; `body` is None where retention has erased it."""
    body = keys.open_("message", found.cause, found.body) if found is not None and found.body is not None else None
    return Outbound(
        message_id=work.message_id, channel=work.channel, type=work.type, at=work.at, attempt=counted(work) + 1, kind="",
        resource_id="", version=0, resource={}, changed=[], patient_id="", patient={}, body=body,
        charset=found.charset if found is not None else "",
    )  # fmt: skip
