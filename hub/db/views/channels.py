"""Channels as `hub status`, the API and the console show them: counts by state, lag, blocked lanes, breaker.

Final states are counted from `tally`, waiting ones from `work`, so nothing here grows with the history.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from hub.db.tables import alert, channel_state, mark, tally, work
from hub.db.views import plain
from hub.domain.lifecycle import State

WAITING = (State.QUEUED, State.IN_FLIGHT)
STOPPERS = (State.UNCERTAIN, State.DEAD)
MAX_LANES = 50
TROUBLES = ("not_listening",)  # alerts that say of a channel that it does not work at all (hub/bootstrap/alerts.py)


@dataclass(slots=True)
class BlockedLane:
    """A lane that stands still behind one message."""

    lane: str
    message_id: int  # the one that stands in front
    state: str  # dead | uncertain
    reason: str
    since: int  # µs: when that message came
    waiting: int  # messages behind it


@dataclass(slots=True)
class FileProgress:
    """How far a large file of a drop folder was read. Its name stands nowhere: names of files hold patient numbers."""

    bytes: int
    size: int
    records: int
    refused: int
    at: int  # µs: when its last block was stored


@dataclass(slots=True)
class ChannelStatus:
    """One channel. `done` is applied + stale + delivered; `lag` is µs that the oldest message able to go has waited."""

    channel: str
    queued: int = 0
    in_flight: int = 0
    uncertain: int = 0
    dead: int = 0
    done: int = 0
    ignored: int = 0
    stale: int = 0
    refused: int = 0
    discarded: int = 0
    received: int = 0
    duplicate: int = 0
    lag: int = 0
    blocked: int = 0  # how many lanes stand still
    blocked_lanes: list[BlockedLane] = field(default_factory=list)  # the oldest MAX_LANES of them
    paused: bool = False
    stopped: str = ""  # by the hub, until somebody resumes it
    trouble: str = ""  # why it does not work though nobody stopped it; it goes on by itself once that is over
    breaker: str = "closed"
    breaker_until: int = 0
    reading: list[FileProgress] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def status(conn: Connection, channels: Iterable[str], *, skipping: Collection[str] = (), now: int) -> list[ChannelStatus]:
    """Every channel of `channels`, and others that hold messages, in that order.

    `skipping`: channels whose policy is to skip a dead message, so that it blocks no lane. `now`: µs.
    """
    found = {name: ChannelStatus(name) for name in channels}

    def of(name: str) -> ChannelStatus:
        return found.setdefault(name, ChannelStatus(name))

    main = work.c.barrier.is_(False)
    for row in conn.execute(
        select(work.c.channel, work.c.state, func.count().label("n")).where(main).group_by(work.c.channel, work.c.state)
    ):
        setattr(of(row.channel), row.state, row.n)
    for row in conn.execute(
        select(tally.c.channel, tally.c.state, func.sum(tally.c.n).label("n")).group_by(tally.c.channel, tally.c.state)
    ):
        _count(of(row.channel), row.state, int(row.n))
    for row in conn.execute(select(channel_state)):
        one = of(row.channel)
        one.paused, one.stopped = bool(row.paused), row.stopped
        one.breaker, one.breaker_until = row.breaker, row.breaker_until
    for row in conn.execute(
        select(alert.c.channel, alert.c.text).where(alert.c.kind.in_(TROUBLES), alert.c.cleared_at.is_(None))
    ):
        of(row.channel).trouble = row.text
    stopping = _stops_its_lane(skipping)
    if any(one.dead or one.uncertain for one in found.values()):
        for channel, lane in _blocked_lanes(conn, stopping):
            one = of(channel)
            one.blocked += 1
            if len(one.blocked_lanes) < MAX_LANES:
                one.blocked_lanes.append(lane)
    free = work.c.lane.not_in(select(work.c.lane).where(stopping)) if any(one.blocked for one in found.values()) else main
    for row in conn.execute(
        select(work.c.channel, func.min(work.c.at).label("oldest"))
        .where(main, work.c.state.in_(WAITING), free)
        .group_by(work.c.channel)
    ):
        of(row.channel).lag = max(0, now - row.oldest)
    for channel, progress in _reading(conn, list(found)):
        of(channel).reading.append(progress)
    return list(found.values())


def _reading(conn: Connection, names: Sequence[str]) -> list[tuple[str, FileProgress]]:
    """Files that are being read, by the places that hub/adapters/files/source.py keeps of them: at most 16 a channel."""
    first, behind = b"place:file", b"place:filf"
    places = select(mark.c.channel, mark.c.value, mark.c.at).where(
        mark.c.channel.in_(names), mark.c.key >= first, mark.c.key < behind
    )
    found = []
    for row in conn.execute(places):
        try:
            spot = orjson.loads(bytes(row.value))
            size = spot["file"][1]
            if spot["offset"] < size:
                found.append((row.channel, FileProgress(spot["offset"], size, spot["records"], spot["refused"], row.at)))
        except (ValueError, TypeError, LookupError):  # over, or a place of another kind
            continue
    return found


def troubled(conn: Connection) -> list[str]:
    """The channels that do not work at all, though nobody stopped them."""
    rows = conn.execute(select(alert.c.channel).where(alert.c.kind.in_(TROUBLES), alert.c.cleared_at.is_(None)))
    return sorted({row.channel for row in rows})


def alerts(conn: Connection, *, limit: int = 20) -> list[dict[str, Any]]:
    """Alerts that nobody cleared, the newest first."""
    rows = conn.execute(select(alert).where(alert.c.cleared_at.is_(None)).order_by(alert.c.id.desc()).limit(limit))
    return [plain(row._mapping) for row in rows]


def _count(one: ChannelStatus, state: str, n: int) -> None:
    """Adds a tally to the field that shows it; what is stale was done too."""
    if state in ("applied", "delivered", "done"):
        one.done += n
    elif state == "stale":
        one.done += n
        one.stale += n
    elif state in ("received", "ignored", "refused", "discarded", "duplicate"):
        setattr(one, state, getattr(one, state) + n)


def _stops_its_lane(skipping: Collection[str]) -> ColumnElement[bool]:
    """Rows of `work` that keep what is behind them from going."""
    dead = work.c.state == State.DEAD
    if skipping:
        dead = and_(dead, work.c.channel.not_in(list(skipping)))
    return or_(work.c.state == State.UNCERTAIN, dead)


def _blocked_lanes(conn: Connection, stopping: ColumnElement[bool]) -> list[tuple[str, BlockedLane]]:
    """(channel, lane) with the message in front, the oldest first. A dead message's channel names the lane's channel."""
    fronts: dict[str, tuple[str, BlockedLane]] = {}
    for row in conn.execute(
        select(work.c.lane, work.c.channel, work.c.message_id, work.c.state, work.c.reason, work.c.at)
        .where(stopping)
        .order_by(work.c.message_id)
    ):
        fronts.setdefault(row.lane, (row.channel, BlockedLane(row.lane, row.message_id, row.state, row.reason, row.at, 0)))
    waiting = conn.execute(
        select(work.c.lane, func.count().label("n"))
        .where(work.c.state.in_(WAITING), work.c.lane.in_(select(work.c.lane).where(stopping)))
        .group_by(work.c.lane)
    )
    for row in waiting:
        if row.lane in fronts:  # else it came to a stop between the two statements: the next look tells
            fronts[row.lane][1].waiting = row.n
    return list(fronts.values())
