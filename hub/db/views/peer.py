"""How a channel's system looks from here: the last it was told and said, and what it says how often.

Bounded: the last `LOOKED_AT` messages of the channel, by the index of its messages.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from hub.db.tables import attempt, message
from hub.db.views import messages
from hub.db.views.messages import MessageRow

LOOKED_AT = 200
SHOWN = 15


@dataclass(slots=True)
class Said:
    """One thing that the system did: an answer of its own, or a message that it sent us. `detail` is free of patient data."""

    at: int
    message_id: int
    type: str
    verdict: str  # of an attempt, as in hub/db/tables.py; of a message that came in its state or outcome
    detail: str
    who: str = ""  # of what came in: MSH-3|MSH-4, calling AE title, table …


@dataclass(slots=True)
class Peer:
    """`tally`: (verdict, detail) -> how often, the most frequent first."""

    last: list[Said] = field(default_factory=list)
    tally: list[tuple[str, str, int]] = field(default_factory=list)


def of_channel(conn: Connection, channel: str, direction: str) -> Peer:
    """The peer of a channel, as its newest messages show it."""
    said = _answers(conn, channel) if direction == "out" else _sent(conn, channel)
    counts = Counter((one.verdict, one.detail) for one in said)
    return Peer(said[:SHOWN], [(verdict, detail, n) for (verdict, detail), n in counts.most_common(8)])


def _answers(conn: Connection, channel: str) -> list[Said]:
    """What it said to our attempts, the last first."""
    newest = select(message.c.id).where(message.c.channel == channel).order_by(message.c.id.desc()).limit(LOOKED_AT).subquery()
    rows = conn.execute(
        select(attempt.c.at, attempt.c.message_id, attempt.c.verdict, attempt.c.detail, message.c.type)
        .join(newest, newest.c.id == attempt.c.message_id)
        .join(message, message.c.id == attempt.c.message_id)
        .order_by(attempt.c.at.desc())
        .limit(LOOKED_AT)
    )
    return [Said(row.at, row.message_id, row.type, row.verdict, row.detail) for row in rows]


def _sent(conn: Connection, channel: str) -> list[Said]:
    """What came from it, the last first, and what we answered."""
    rows = conn.execute(messages.rows().where(message.c.channel == channel).order_by(message.c.id.desc()).limit(LOOKED_AT))
    return [_came(messages.as_message(row)) for row in rows]


def _came(row: MessageRow) -> Said:
    return Said(row.at, row.id, row.type, row.outcome or row.state, row.code or row.reason, row.sender)
