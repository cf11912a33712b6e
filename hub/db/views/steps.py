"""A patient's way through the systems, step by step: which of them told the hub what, and who was told of it in turn.

A step is one message (or one write of the front office) with all it changed of this patient. Bounded by `CHANGES` of the newest
changes a page, found by the index of a patient's changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sqlalchemy import Connection, select

from hub.db.tables import change, message, outcome
from hub.db.views import messages
from hub.db.views.changes import ChangeRow, as_change, sync_state

CHANGES = 200


@dataclass(slots=True)
class Told:
    """One channel that a step went out to. `state` as hub.db.views.changes.sync_state says it."""

    channel: str
    state: str
    message_id: int
    reason: str
    micros: int | None = None  # from the step's arrival until the channel's system had it; None: not yet


@dataclass(slots=True)
class Step:
    """`at`: µs when it arrived. `channel`: where from, or "api:NAME" for the front office."""

    at: int
    channel: str
    message_id: int | None
    type: str
    changes: list[ChangeRow]
    told: list[Told] = field(default_factory=list)

    @property
    def before(self) -> int:
        """Where the page behind this step begins."""
        return self.changes[0].id


def of_patient(conn: Connection, patient_id: str, *, before: int | None = None, limit: int = 20) -> list[Step]:
    """The newest steps of a patient, those of changes with an id below `before`, the latest first."""
    statement = select(change).where(change.c.patient_id == patient_id)
    if before is not None:
        statement = statement.where(change.c.id < before)
    rows = [as_change(row) for row in conn.execute(statement.order_by(change.c.id.desc()).limit(CHANGES))]
    steps = [
        _step(list(group)) for _, group in groupby(rows, lambda one: ("m", one.message_id) if one.message_id else ("c", one.id))
    ]
    if len(rows) == CHANGES and len(steps) > 1:
        steps.pop()  # its first changes may lie behind what was read
    steps = steps[:limit]
    if not steps:
        return []
    _arrivals(conn, steps)
    _told(conn, steps)
    return steps


def _cause(one: ChangeRow) -> tuple[str, int]:
    return ("message", one.message_id) if one.message_id is not None else ("change", one.id)


def _step(newest_first: list[ChangeRow]) -> Step:
    made = newest_first[::-1]
    return Step(made[0].at, made[0].origin, made[0].message_id, "", made)


def _arrivals(conn: Connection, steps: Sequence[Step]) -> None:
    """What came, and when: of messages the time at which they were received."""
    ids = [step.message_id for step in steps if step.message_id is not None]
    found = {
        row.id: row
        for row in conn.execute(
            select(message.c.id, message.c.channel, message.c.type, message.c.at).where(message.c.id.in_(ids))
        )
    }
    for step in steps:
        row = found.get(step.message_id) if step.message_id is not None else None
        if row is not None:
            step.channel, step.type, step.at = row.channel, row.type, row.at


def _told(conn: Connection, steps: Sequence[Step]) -> None:
    """Who was told, a channel once a step: by the delivery that needs a look most, else by the last."""
    owners = {one.id: step for step in steps for one in step.changes}
    carriers = messages.carriers(conn, [(one.id, one.resource_id) for step in steps for one in step.changes])
    ids = [row.id for row in carriers]
    ended = {row.message_id: row.at for row in conn.execute(select(outcome).where(outcome.c.message_id.in_(ids)))}
    for row in carriers:
        if row.change_id is None:
            continue
        step, state = owners[row.change_id], sync_state(row)["state"]
        end = ended.get(row.id)
        micros = max(0, end - step.at) if end is not None and state == "confirmed" else None
        told = Told(row.channel, state, row.id, row.reason, micros)
        other = next((one for one in step.told if one.channel == row.channel), None)
        if other is None:
            step.told.append(told)
        elif _urgency(told) >= _urgency(other):
            step.told[step.told.index(other)] = told


def _urgency(told: Told) -> tuple[int, int]:
    return ("confirmed", "sent", "pending", "refused").index(told.state), told.micros or 0
