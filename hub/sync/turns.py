"""Whose turn it is: what came live first, what may wait (a load) behind it, and never out of order in a lane.

What may wait stands in buckets of its own, BEHIND above those of its lanes, so that neither 200,000 loaded rows nor a slow
target make a live message wait. Where one of them stands before a live message in its lane, it is moved to the live ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hub.domain.rows import WorkBucket
from hub.domain.store import BEHIND, InboundWork, OutboundWork, Tx

W = TypeVar("W", InboundWork, OutboundWork)


@dataclass(frozen=True, slots=True)
class Turns(Generic[W]):
    """What is due, sorted out. `moved`: what goes to the live ones first, so that the live message behind it has its turn."""

    live: list[W]
    later: list[W]
    moved: list[WorkBucket]


def sort_out(tx: Tx, direction: str, due: Sequence[W], barred: Collection[str]) -> Turns[W]:
    """`due` as `due_inbound` or `due_outbound` gave it: each lane's live ones in order, its later ones in order."""
    live, later = [w for w in due if w.bucket < BEHIND], [w for w in due if w.bucket >= BEHIND]
    if not later:
        return Turns(live, later, [])
    last = {w.lane: w.message_id for w in live}
    here = {w.message_id for w in live}
    moved: list[tuple[str, WorkBucket]] = []
    waiting: dict[str, int] = {}  # lane -> the first live one in it that is not here
    for id_, lane, bucket, channel in tx.ahead(direction, [(w.lane, w.message_id) for w in due]):
        if channel in barred:
            continue  # what is paused lets others pass
        if bucket >= BEHIND:
            if id_ < last.get(lane, -1):
                moved.append((lane, WorkBucket(id_, bucket - BEHIND)))
        elif id_ not in here:
            waiting[lane] = min(id_, waiting.get(lane, id_))
    lanes = {lane for lane, _ in moved}
    return Turns(
        [w for w in live if w.lane not in lanes],
        [w for w in later if w.lane not in lanes and w.message_id < waiting.get(w.lane, w.message_id + 1)],
        list(dict.fromkeys(row for _, row in moved)),
    )
