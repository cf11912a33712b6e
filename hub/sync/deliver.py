"""Deliver: outbound messages go to their targets, in order a lane, many lanes at a time (promises 3 and 4).

One loop: write what came back and claim what is due, in one transaction; hand claimed lanes to the channel's threads.
A claim is durable before anything is sent (IN_FLIGHT, attempt counted, lease), so a crash is seen as what it is: the
outcome is unknown. What is sent is built at send time from the current state, except events, which are sent as they were.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hub import log
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.lifecycle import State
from hub.domain.ports import Delivered, Keys, Outbound, Target
from hub.domain.rows import Row, WorkState
from hub.domain.store import ChannelStateRow, Lease, OutboundWork, Store, Tx
from hub.sync.breaker import Breaker, BreakerState
from hub.sync.results import Result, Results
from hub.sync.retry import RetryPolicy
from hub.sync.sending import Compose

_log = log.get(__name__)
LEASE_SECONDS = 20.0
FLIGHT_SECONDS = 300.0  # how long a claimed message may be on its way before it counts as lost
LANE_SECONDS = 120.0  # a claimed lane that takes longer gives the rest back: one attempt more still ends in time


@dataclass(slots=True)
class OutboundChannel:
    """One target in use."""

    name: str
    system: str
    target: Target
    as_event: bool  # webhooks: the event as it was; else the current state
    on_dead: Literal["block", "skip"] = "block"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    threads: int = 4
    breaker: Breaker = field(default_factory=lambda: Breaker(5, 30.0))


class Courier:
    """Delivers for the buckets of a lease. One a worker; `step` is called by one thread, the sending is done by others."""

    def __init__(
        self, store: Store, keys: Keys, channels: Callable[[], Mapping[str, OutboundChannel]], capacity: int = 256
    ) -> None:
        self._store = store
        self._channels = channels
        self._capacity = capacity
        self._results = Results(keys)
        self._compose = Compose()
        self._back: queue.SimpleQueue[list[Result]] = queue.SimpleQueue()
        self._crews: dict[str, Crew] = {}
        self._in_flight: dict[str, int] = {}  # messages with the threads, by channel
        self.taking = True  # False: what is on its way is finished, nothing more is claimed
        self._lanes: dict[str, int] = {}  # lanes on trial or in flight, by channel

    @property
    def busy(self) -> bool:
        """Whether something is with the threads or waits to be written."""
        return any(self._in_flight.values()) or not self._back.empty()

    def step(self, lease: Lease, wait: float = 0.01) -> int:
        """Writes results, claims and sends; how many messages moved. Waits up to `wait` seconds for results when busy."""
        results = self._collect(wait if any(self._in_flight.values()) else 0)
        try:
            with self._store.snapshot() as tx:  # nobody else claims in these buckets: the lease is ours
                states = {s.channel: s for s in tx.channel_states()}
                self._adopt(states)
                claimed = self._claim(tx, lease, states) if self._room() else []
                lanes = self._load(tx, claimed)
            if not results and not claimed:
                return 0
            with self._store.transaction(durable=bool(claimed)) as tx:
                tx.hold(lease, LEASE_SECONDS)
                rows = self._results.rows(tx, results, self._channels()) if results else []
                tx.write([*rows, *self._mark(claimed, tx.now)])
        except BaseException:
            if results:
                self._back.put(results)  # nothing was written: they are written with the next step
            raise
        self._settled(results)
        for lane in lanes:
            self._send(lane)
        return len(results) + len(claimed)

    # -- results --------------------------------------------------------------------------------------------------

    def _collect(self, wait: float) -> list[Result]:
        """What came back within `wait` seconds: results that come together are written together."""
        results: list[Result] = []
        ends = time.monotonic() + wait
        try:
            while True:
                left = ends - time.monotonic()
                results += self._back.get(timeout=left) if left > 0 else self._back.get_nowait()
                if len(results) >= sum(self._in_flight.values()):
                    return results  # nothing else is on its way
        except queue.Empty:
            return results

    def _settled(self, results: Sequence[Result]) -> None:
        for result in results:
            self._in_flight[result.work.channel] -= 1
            if result.last_of_lane:
                self._lanes[result.work.channel] -= 1

    # -- claiming -------------------------------------------------------------------------------------------------

    def _room(self) -> bool:
        return self.taking and sum(self._in_flight.values()) < self._capacity

    def _adopt(self, states: Mapping[str, ChannelStateRow]) -> None:
        """Another worker may have opened or closed a breaker."""
        for name, channel in self._channels().items():
            state, breaker = states.get(name), channel.breaker
            if state is None or state.breaker == breaker.state or breaker.state is BreakerState.HALF_OPEN:
                continue
            breaker.state, breaker.until, breaker.failures = BreakerState(state.breaker), state.breaker_until, state.failures

    def _claim(self, tx: Tx, lease: Lease, states: Mapping[str, ChannelStateRow]) -> list[OutboundWork]:
        barred, limits = [s.channel for s in states.values() if s.paused or s.stopped], {}
        for name, channel in self._channels().items():
            limits[name] = channel.breaker.allows(tx.now)
            if limits[name] == 0 or (limits[name] == 1 and self._lanes.get(name)):
                barred.append(name)
            elif self._in_flight.get(name, 0) >= max(self._capacity // 2, 1) > 1 and len(self._channels()) > 1:
                barred.append(name)  # a slow target must not take all the room
        known = set(self._channels())
        buckets = [int(name.split(":")[1]) for name in lease.names]
        due = tx.due_outbound(buckets, barred, self._capacity)
        return _on_trial([w for w in due if w.channel in known], limits)

    def _mark(self, claimed: Sequence[OutboundWork], now: int) -> list[Row]:
        due = now + int(FLIGHT_SECONDS * 1e6)
        return [WorkState(w.message_id, State.IN_FLIGHT, w.attempts + 1, due, "") for w in claimed]

    def _load(self, tx: Tx, claimed: Sequence[OutboundWork]) -> list[list[tuple[OutboundWork, Outbound]]]:
        """The messages of each lane, built from what stands now."""
        lanes: dict[str, list[tuple[OutboundWork, Outbound]]] = {}
        for work, message in self._compose(tx, claimed, self._channels()):
            lanes.setdefault(work.lane, []).append((work, message))
        return list(lanes.values())

    # -- sending --------------------------------------------------------------------------------------------------

    def _send(self, lane: list[tuple[OutboundWork, Outbound]]) -> None:
        name = lane[0][0].channel
        channel = self._channels()[name]
        self._in_flight[name] = self._in_flight.get(name, 0) + len(lane)
        self._lanes[name] = self._lanes.get(name, 0) + 1
        crew = self._crews.get(name)
        if crew is None or crew.channel is not channel:
            if crew is not None:
                crew.dismiss()
            crew = self._crews[name] = Crew(channel, self._lane)
        crew.jobs.put(lane)

    def _lane(self, channel: OutboundChannel, lane: list[tuple[OutboundWork, Outbound]]) -> None:
        """One lane, in order; what comes after a failure goes back untouched."""
        results: list[Result] = []
        ends = time.monotonic() + LANE_SECONDS
        for number, (work, message) in enumerate(lane):
            result = attempt(channel, work, message)
            results.append(result)
            _pass_on(result, lane[number + 1 :])
            if not result.lets_pass(channel) or time.monotonic() > ends:
                results += [Result(w, m, released=True) for w, m in lane[number + 1 :]]
                break
        results[-1].last_of_lane = True
        self._back.put(results)

    def close(self) -> None:
        """No more is sent; threads end with what they have in hand."""
        for crew in self._crews.values():
            crew.dismiss()
        self._crews.clear()


Lane = list[tuple[OutboundWork, Outbound]]


class Crew:
    """The threads that send for one channel. Plain threads on a queue: an executor's future costs more than a send."""

    def __init__(self, channel: OutboundChannel, act: Callable[[OutboundChannel, Lane], None]) -> None:
        self.channel = channel
        self.jobs: queue.SimpleQueue[Lane | None] = queue.SimpleQueue()
        self._act = act
        for number in range(channel.threads):
            threading.Thread(target=self._work, name=f"deliver-{channel.name}-{number}", daemon=True).start()

    def _work(self) -> None:
        while (lane := self.jobs.get()) is not None:
            self._act(self.channel, lane)

    def dismiss(self) -> None:
        for _ in range(self.channel.threads):
            self.jobs.put(None)


def attempt(channel: OutboundChannel, work: OutboundWork, message: Outbound) -> Result:
    """One attempt. A worker that was lost on the way left the outcome unknown: asked first where a resend is not safe."""
    lost = work.state == State.IN_FLIGHT
    try:
        if lost and not channel.target.resend_is_safe:
            found = channel.target.find(message)
            if found is not None:
                return Result(work, message, delivered=found)
        return Result(work, message, delivered=_send(channel.target, message))
    except (NotDelivered, OutcomeUnknown, Refused, Misconfigured) as error:
        return Result(work, message, error=error)
    except Exception as error:  # noqa: BLE001 - foreseen by nobody: our bug, UNCERTAIN, never an automatic retry
        _log.exception("delivery failed", extra={"channel": channel.name, "message_id": work.message_id})
        return Result(work, message, error=HubError(f"our bug: {type(error).__name__} while sending", code="bug"))


def _pass_on(result: Result, later: Sequence[tuple[OutboundWork, Outbound]]) -> None:
    """What a delivery taught of the peer's own id is known to the next of the lane: they were composed before it was learnt."""
    delivered = result.delivered
    if delivered is None or not delivered.peer_id:
        return
    for _, message in later:
        if message.resource_id == result.message.resource_id:
            message.peer_id, message.peer_etag = delivered.peer_id, delivered.peer_etag
        if message.patient_id == result.message.resource_id:
            message.patient_peer_id = delivered.peer_id


def _send(target: Target, message: Outbound) -> Delivered:
    try:
        return target.send(message)
    except OutcomeUnknown:
        if target.resend_is_safe:
            raise  # the same bytes again, later
        found = target.find(message)
        if found is None:
            raise NotDelivered("the target says that it did not act") from None
        return found


def _on_trial(due: Sequence[OutboundWork], limits: Mapping[str, int | None]) -> list[OutboundWork]:
    """Of a channel whose breaker is half open, one message only."""
    taken: set[str] = set()
    chosen: list[OutboundWork] = []
    for work in due:
        if limits.get(work.channel) == 1:
            if work.channel in taken:
                continue
            taken.add(work.channel)
        chosen.append(work)
    return chosen
