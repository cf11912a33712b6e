"""Results: what a target answered becomes the message's next state, audit entries, alerts and what we learnt of the peer.

Table of the four errors (design.md, promise 4):

    delivered        DONE
    NotDelivered     QUEUED, later; DEAD after max_attempts that reached the target; not counted where it was not reached
    OutcomeUnknown   QUEUED where a resend is safe (counted), else UNCERTAIN
                     (neither is counted while the breaker is not closed: a target that is down makes no dead letters)
    Refused          DEAD
    Misconfigured    QUEUED again, uncounted; the channel stops and says so once
    anything else    UNCERTAIN: our bug, never an automatic retry
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from hub.audit.actions import Action
from hub.audit.entry import detail_text
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.lifecycle import UNCONFIRMED, Outcome, State
from hub.domain.ports import Delivered, Keys, Outbound
from hub.domain.rows import (
    FOREVER,
    AlertRow,
    AttemptRow,
    EntryDraft,
    LinkKeyRow,
    OutcomeRow,
    Row,
    SentFieldRow,
    TallyRow,
    WorkDone,
    WorkState,
)
from hub.domain.store import OutboundWork, Tx
from hub.sync.breaker import BreakerState, Signal
from hub.sync.record import reason_text
from hub.sync.settle import meanwhile

if TYPE_CHECKING:
    from hub.sync.crews import OutboundChannel


def counted(work: OutboundWork) -> int:
    """Attempts that reached the target, or may have: a claim whose worker was lost is one."""
    return work.attempts + (work.state == State.IN_FLIGHT)


@dataclass(slots=True)
class Result:
    """What came of one claimed message. `released`: it was never tried, an earlier one of its lane failed."""

    work: OutboundWork
    message: Outbound
    delivered: Delivered | None = None
    error: HubError | None = None
    released: bool = False
    last_of_lane: bool = False
    token: int = 0  # of the lease under which it was claimed

    @property
    def attempts(self) -> int:
        """Attempts before this one that reached the target, or may have: a claim whose worker was lost is one."""
        return counted(self.work)

    def lets_pass(self, channel: OutboundChannel) -> bool:
        """Whether the next message of the lane may follow at once."""
        return self.delivered is not None or (isinstance(self.error, Refused) and channel.on_dead == "skip")


class Results:
    """Rows for a batch of results."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._shard = os.getpid() % 1024

    def rows(self, tx: Tx, results: Sequence[Result], channels: Mapping[str, OutboundChannel]) -> list[Row]:
        """`channels` without a result's channel: it was removed meanwhile, its message waits."""
        batch = _Batch(self._keys, tx, channels)
        for result in results:
            batch.one(result)
        tally = [TallyRow(c, s, self._shard, n) for (c, s), n in batch.tally.items()]
        return [*batch.rows, *{(r.channel, r.resource_id): r for r in batch.links}.values(), *batch.sent.values(), *tally]


class _Batch:
    def __init__(self, keys: Keys, tx: Tx, channels: Mapping[str, OutboundChannel]) -> None:
        self._keys = keys
        self._tx = tx
        self._channels = channels
        self.rows: list[Row] = []
        self.links: list[LinkKeyRow] = []
        self.sent: dict[tuple[str, str, str], SentFieldRow] = {}
        self.tally: Counter[tuple[str, str]] = Counter()
        self._stopped = {state.channel for state in tx.channel_states() if state.stopped}

    def one(self, result: Result) -> None:
        channel = self._channels.get(result.work.channel)
        if result.released or channel is None:
            self.rows.append(_back(result))
        elif result.delivered is not None:
            self._delivered(result, result.delivered, channel)
        elif isinstance(result.error, NotDelivered):
            self._not_delivered(result, result.error, channel)
        elif isinstance(result.error, OutcomeUnknown):
            self._unknown(result, result.error, channel)
        elif isinstance(result.error, Refused):
            self._refused(result, result.error, channel)
        elif isinstance(result.error, Misconfigured):
            self._misconfigured(result, result.error)
        elif result.error is not None:
            self._uncertain(result, result.error)

    # -- the four errors and success ------------------------------------------------------------------------------

    def _delivered(self, result: Result, delivered: Delivered, channel: OutboundChannel) -> None:
        work, now = result.work, self._tx.now
        said = None if delivered.confirms else meanwhile(self._tx, work.message_id)
        if said is not None and not said[0]:
            self._refused(result, Refused(said[1]), channel)  # it was quicker than we were
            return
        reason = "" if delivered.confirms or said else UNCONFIRMED
        self.rows += [WorkDone(work.message_id), OutcomeRow(work.message_id, State.DONE, Outcome.DELIVERED, reason, now)]
        self.tally[work.channel, "delivered"] += 1
        text = _said(delivered.detail)
        self.rows.append(
            EntryDraft(now, Action.MESSAGE_DELIVERED, "system", work.channel, work.message_id, work.resource_id, text)
        )
        if (delivered.sent or delivered.answer) and not channel.as_event:  # an event can be made again from its change
            self._attempt(result, "delivered", delivered.detail, delivered.sent, delivered.answer)
        if delivered.peer_id:
            self.links.append(
                LinkKeyRow(
                    work.channel, result.message.resource_id, _plain(delivered.peer_id), _plain(delivered.peer_etag or ""), now
                )
            )
        for name, value in delivered.sent_fields.items():
            key = (channel.system, result.message.resource_id, name)
            self.sent[key] = SentFieldRow(*key, orjson.dumps(value).decode(), result.message.at)
        self._signal(channel, channel.breaker.succeeded())

    def _not_delivered(self, result: Result, error: NotDelivered, channel: OutboundChannel) -> None:
        counts = error.reached and channel.breaker.state is BreakerState.CLOSED
        attempts = result.attempts + 1 if counts else result.attempts
        self._attempt(result, "not_delivered", error.reason, *_bytes(error))
        self._signal(channel, channel.breaker.failed(self._tx.now))
        if counts and attempts >= channel.retry.max_attempts:
            self._dead(result, f"{attempts} attempts reached the target; the last: {error.reason}", channel)
            return
        self._later(result, attempts, error, channel, error.retry_after)

    def _unknown(self, result: Result, error: OutcomeUnknown, channel: OutboundChannel) -> None:
        counts = channel.breaker.state is BreakerState.CLOSED
        attempts = result.attempts + 1 if counts else result.attempts
        self._attempt(result, "outcome_unknown", error.reason, *_bytes(error))
        self._signal(channel, channel.breaker.failed(self._tx.now))
        if not channel.target.resend_is_safe:
            self._uncertain(result, error)
        elif counts and attempts >= channel.retry.max_attempts:
            self._dead(result, f"{attempts} attempts without a trustworthy answer; the last: {error.reason}", channel)
        else:
            self._later(result, attempts, error, channel, None)

    def _refused(self, result: Result, error: Refused, channel: OutboundChannel) -> None:
        self._attempt(result, "refused", error.reason, *_bytes(error))
        self._signal(channel, channel.breaker.succeeded())
        self._dead(result, error.reason, channel)

    def _misconfigured(self, result: Result, error: Misconfigured) -> None:
        work = result.work
        self._attempt(result, "misconfigured", error.reason, *_bytes(error))
        self.rows.append(WorkState(work.message_id, State.QUEUED, result.attempts, 0, error.reason))
        if work.channel not in self._stopped:  # several may come back with it: it is said once
            self._stopped.add(work.channel)
            self._tx.set_channel_state(work.channel, stopped=error.reason)
            self._alert("channel_stopped", work.channel, f"stopped: {error.reason}")
            self._channel_entry(Action.CHANNEL_STOPPED, work.channel, {"code": error.code, "reason": error.reason})

    def _uncertain(self, result: Result, error: HubError) -> None:
        work = result.work
        self.rows.append(WorkState(work.message_id, State.UNCERTAIN, result.attempts + 1, FOREVER, error.reason))
        self._entry(Action.MESSAGE_UNCERTAIN, result, {"code": error.code, "reason": error.reason})

    # -- what they share ------------------------------------------------------------------------------------------

    def _later(self, result: Result, attempts: int, error: HubError, channel: OutboundChannel, retry_after: float | None) -> None:
        wait = channel.retry.wait(max(attempts, 1), retry_after)
        # Behind the next trial of an open breaker, so that each trial is another lane's: one that fails for a reason of its
        # own must not be the only one that is ever tried.
        open_until = channel.breaker.until if channel.breaker.state is BreakerState.OPEN else 0
        due = max(self._tx.now, open_until) + int(wait * 1e6)
        self.rows.append(WorkState(result.work.message_id, State.QUEUED, attempts, due, error.reason))
        self._entry(Action.MESSAGE_NOT_DELIVERED, result, {"attempt": attempts, "code": error.code, "reason": error.reason})

    def _dead(self, result: Result, reason: str, channel: OutboundChannel) -> None:
        due = 0 if channel.on_dead == "skip" else FOREVER
        work = result.work
        self.rows.append(WorkState(work.message_id, State.DEAD, result.attempts + 1, due, reason))
        self._entry(Action.MESSAGE_DEAD, result, {"reason": reason, "lane": "skipped" if due == 0 else "blocked"})

    def _attempt(self, result: Result, verdict: str, detail: str, sent: bytes, answer: bytes) -> None:
        message_id = result.work.message_id
        if sent == result.message.body:  # as received: it stands with its cause, once
            sent = b""
        sealed = [self._keys.seal("attempt", message_id, b) if b else None for b in (sent, answer)]
        self.rows.append(AttemptRow(message_id, result.attempts + 1, self._tx.now, verdict, detail, *sealed))

    def _signal(self, channel: OutboundChannel, signal: Signal) -> None:
        if signal is Signal.NOTHING:
            return
        breaker, name = channel.breaker, channel.name
        self._tx.set_channel_state(name, breaker=str(breaker.state), breaker_until=breaker.until, failures=breaker.failures)
        if signal is Signal.OPENED:
            self._alert("breaker_open", name, f"{breaker.failures} failures in a row: waiting before the next attempt")
            self._channel_entry(Action.CHANNEL_BREAKER_OPENED, name, {"failures": breaker.failures})
        elif signal is Signal.CLOSED:
            self._tx.execute(
                "UPDATE alert SET cleared_at = ? WHERE channel = ? AND kind = 'breaker_open' AND cleared_at IS NULL",
                self._tx.now,
                name,
            )
            self._alert("breaker_closed", name, "the target answers again", cleared=True)
            self._channel_entry(Action.CHANNEL_BREAKER_CLOSED, name, {})

    def _alert(self, kind: str, channel: str, text: str, *, cleared: bool = False) -> None:
        self.rows.append(AlertRow(self._tx.now, kind, channel, text, self._tx.now if cleared else None))

    def _entry(self, action: Action, result: Result, detail: dict[str, Any]) -> None:
        work, text = result.work, _detail(detail)
        self.rows.append(EntryDraft(self._tx.now, action, "system", work.channel, work.message_id, work.resource_id, text))

    def _channel_entry(self, action: Action, channel: str, detail: dict[str, Any]) -> None:
        self.rows.append(EntryDraft(self._tx.now, action, "system", channel, None, None, _detail(detail)))


@lru_cache(maxsize=256)  # "204", thousands of times
def _said(detail: str) -> str:
    return _detail({"reason": detail} if detail else {})


def _detail(detail: dict[str, Any]) -> str:
    return detail_text({k: reason_text(v) if k == "reason" else v for k, v in detail.items()})


def _back(result: Result) -> WorkState:
    """A message that was claimed and not tried. Where an earlier worker was lost with it, its outcome is still unknown."""
    work = result.work
    if work.state == State.IN_FLIGHT:
        return WorkState(work.message_id, State.IN_FLIGHT, work.attempts, 0, "")
    return WorkState(work.message_id, State.QUEUED, work.attempts, 0, "")


def _plain(text: str) -> str:
    """A peer's text as the database takes it: no NUL."""
    return text.replace("\x00", "")


def _bytes(error: HubError) -> tuple[bytes, bytes]:
    """What was sent and answered, where an adapter hung it on the error: kept sealed, never in its text."""
    return getattr(error, "sent", b"") or b"", getattr(error, "answer", b"") or b""
