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
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused, TryAgain
from hub.domain.lifecycle import State
from hub.domain.ports import Delivered, Keys, Outbound, Target
from hub.domain.rows import Row, WorkState
from hub.domain.store import ChannelStateRow, Lease, LeaseLost, OutboundWork, Store, Tx
from hub.sync.breaker import Breaker, BreakerState
from hub.sync.results import Result, Results, counted
from hub.sync.retry import RetryPolicy
from hub.sync.sending import Compose

_log = log.get(__name__)
LEASE_SECONDS = 20.0
FLIGHT_SECONDS = 300.0  # how long a claimed message may be on its way before it counts as lost
LANE_SECONDS = 120.0  # a claimed lane that takes longer gives the rest back: one attempt more still ends in time


Lane = list[tuple[OutboundWork, Outbound]]


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
        self._in_hand: set[int] = set()  # messages with the threads, or back from them and not yet written
        self._in_flight: dict[str, int] = {}  # how many of them, by channel
        self.taking = True  # False: what is on its way is finished, nothing more is claimed
        self._lanes: dict[str, int] = {}  # lanes on trial or in flight, by channel

    @property
    def busy(self) -> bool:
        """Whether something is with the threads or waits to be written."""
        return bool(self._in_hand)

    def step(self, lease: Lease, wait: float = 0.04) -> int:
        """Writes results, claims and sends; how many messages moved. Waits up to `wait` seconds for results when busy."""
        if not self.taking:
            self._recall()
        results = self._collect(wait if self._in_hand else 0, lease)
        channels = self._channels()
        try:
            with self._store.snapshot() as tx:  # nobody else claims in these buckets: the lease is ours
                states = {s.channel: s for s in tx.channel_states()}
                self._adopt(states, channels)
                claimed = self._claim(tx, lease, states, channels) if self._room() else []
                lanes = self._load(tx, claimed, channels)
            if not results and not claimed:
                return 0
            self._write(lease, results, claimed, channels)
        except LeaseLost:
            self._settled(results)  # not ours to write any more: whoever has the lease treats them as lost
            raise
        except BaseException:
            if results:
                self._back.put(results)  # nothing was written: they are written with the next step
            raise
        self._settled(results)
        for lane in lanes:
            self._send(lane, channels, lease.token)
        return len(results) + len(claimed)

    def _write(
        self, lease: Lease, results: Sequence[Result], claimed: Sequence[OutboundWork], channels: Mapping[str, OutboundChannel]
    ) -> None:
        """All in one transaction; if something unforeseen is wrong with a result, one by one, so that it is alone."""
        try:
            self._transaction(lease, results, claimed, channels)
        except (TryAgain, LeaseLost):
            raise
        except Exception:  # noqa: BLE001 - foreseen by nobody: our bug; the result that it comes from ends UNCERTAIN
            _log.exception("results not written together")
            for result in results:
                try:
                    self._transaction(lease, [result], (), channels)
                except (TryAgain, LeaseLost):
                    raise
                except Exception as error:  # noqa: BLE001 - as above
                    _log.exception("result not written", extra={"message_id": result.work.message_id})
                    unwritable = HubError(f"our bug: {type(error).__name__} while writing its result", code="bug")
                    self._transaction(lease, [Result(result.work, result.message, error=unwritable)], (), channels)
            self._transaction(lease, (), claimed, channels)

    def _transaction(
        self, lease: Lease, results: Sequence[Result], claimed: Sequence[OutboundWork], channels: Mapping[str, OutboundChannel]
    ) -> None:
        with self._store.transaction(durable=bool(claimed)) as tx:
            tx.hold(lease, LEASE_SECONDS)
            rows = self._results.rows(tx, results, channels) if results else []
            tx.write([*rows, *self._mark(claimed, tx.now)])

    # -- results --------------------------------------------------------------------------------------------------

    def _collect(self, wait: float, lease: Lease) -> list[Result]:
        """What came back within `wait` seconds: results that come together are written together.

        What was claimed under an earlier lease is not ours to write: it was treated as lost when that lease was.
        """
        results: list[Result] = []
        ends = time.monotonic() + wait
        try:
            while len(results) < len(self._in_hand):
                left = ends - time.monotonic()
                results += self._back.get(timeout=left) if left > 0 else self._back.get_nowait()
        except queue.Empty:
            pass
        stale = [r for r in results if r.token != lease.token]
        self._settled(stale)
        return [r for r in results if r.token == lease.token] if stale else results

    def _settled(self, results: Sequence[Result]) -> None:
        for result in results:
            self._in_hand.discard(result.work.message_id)
            self._in_flight[result.work.channel] -= 1
            if result.last_of_lane:
                self._lanes[result.work.channel] -= 1

    def _recall(self) -> None:
        """Lanes that no thread has begun come back untouched."""
        for crew in self._crews.values():
            for lane, token in crew.recall():
                results = [Result(work, message, released=True, token=token) for work, message in lane]
                results[-1].last_of_lane = True
                self._back.put(results)

    # -- claiming -------------------------------------------------------------------------------------------------

    def _room(self) -> bool:
        return self.taking and len(self._in_hand) < self._capacity

    def _adopt(self, states: Mapping[str, ChannelStateRow], channels: Mapping[str, OutboundChannel]) -> None:
        """Another worker may have opened or closed a breaker."""
        for name, channel in channels.items():
            state, breaker = states.get(name), channel.breaker
            if state is None or state.breaker == breaker.state or breaker.state is BreakerState.HALF_OPEN:
                continue
            breaker.state, breaker.until, breaker.failures = BreakerState(state.breaker), state.breaker_until, state.failures

    def _claim(
        self, tx: Tx, lease: Lease, states: Mapping[str, ChannelStateRow], channels: Mapping[str, OutboundChannel]
    ) -> list[OutboundWork]:
        barred, limits = [s.channel for s in states.values() if s.paused or s.stopped], {}
        for name, channel in channels.items():
            limits[name] = channel.breaker.allows(tx.now)
            if limits[name] == 0 or (limits[name] == 1 and self._lanes.get(name)):
                barred.append(name)
            elif self._in_flight.get(name, 0) >= max(self._capacity // 2, 1) > 1 and len(channels) > 1:
                barred.append(name)  # a slow target must not take all the room
        buckets = [int(name.split(":")[1]) for name in lease.names]
        due = tx.due_outbound(buckets, barred, self._capacity)
        busy = {w.lane for w in due if w.message_id in self._in_hand}
        return _on_trial([w for w in due if w.channel in channels and w.lane not in busy], limits)

    def _mark(self, claimed: Sequence[OutboundWork], now: int) -> list[Row]:
        """Only a claim whose worker was lost counts as an attempt: it may have reached the target."""
        due = now + int(FLIGHT_SECONDS * 1e6)
        return [WorkState(w.message_id, State.IN_FLIGHT, counted(w), due, "") for w in claimed]

    def _load(self, tx: Tx, claimed: Sequence[OutboundWork], channels: Mapping[str, OutboundChannel]) -> list[Lane]:
        """The messages of each lane, built from what stands now."""
        lanes: dict[str, Lane] = {}
        for work, message in self._compose(tx, claimed, channels):
            lanes.setdefault(work.lane, []).append((work, message))
        return list(lanes.values())

    # -- sending --------------------------------------------------------------------------------------------------

    def _send(self, lane: Lane, channels: Mapping[str, OutboundChannel], token: int) -> None:
        name = lane[0][0].channel
        channel = channels[name]
        self._in_hand.update(work.message_id for work, _ in lane)
        self._in_flight[name] = self._in_flight.get(name, 0) + len(lane)
        self._lanes[name] = self._lanes.get(name, 0) + 1
        crew = self._crews.get(name)
        if crew is None or crew.channel is not channel:
            if crew is not None:
                crew.dismiss()
            crew = self._crews[name] = Crew(channel, self._lane)
        crew.jobs.put((lane, token))

    def _lane(self, channel: OutboundChannel, lane: Lane, token: int) -> None:
        """One lane, in order; what comes after a failure goes back untouched."""
        results: list[Result] = []
        ends = time.monotonic() + LANE_SECONDS
        for number, (work, message) in enumerate(lane):
            result = attempt(channel, work, message)
            result.token = token
            results.append(result)
            _pass_on(result, lane[number + 1 :])
            if not self.taking or not result.lets_pass(channel) or time.monotonic() > ends:
                results += [Result(w, m, released=True, token=token) for w, m in lane[number + 1 :]]
                break
        results[-1].last_of_lane = True
        self._back.put(results)

    def close(self) -> None:
        """No more is sent; threads end with what they have in hand."""
        self._recall()
        for crew in self._crews.values():
            crew.dismiss()
        self._crews.clear()


class Crew:
    """The threads that send for one channel. Plain threads on a queue: an executor's future costs more than a send."""

    def __init__(self, channel: OutboundChannel, act: Callable[[OutboundChannel, Lane, int], None]) -> None:
        self.channel = channel
        self.jobs: queue.SimpleQueue[tuple[Lane, int] | None] = queue.SimpleQueue()
        self._act = act
        for number in range(channel.threads):
            threading.Thread(target=self._work, name=f"deliver-{channel.name}-{number}", daemon=True).start()

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            self._act(self.channel, *job)

    def recall(self) -> list[tuple[Lane, int]]:
        """The jobs that nobody has begun."""
        found: list[tuple[Lane, int]] = []
        try:
            while True:
                job = self.jobs.get_nowait()
                if job is not None:
                    found.append(job)
        except queue.Empty:
            return found

    def dismiss(self) -> None:
        """Its threads end after what stands in the queue."""
        for _ in range(self.channel.threads):
            self.jobs.put(None)


def attempt(channel: OutboundChannel, work: OutboundWork, message: Outbound) -> Result:
    """One attempt. A worker that was lost on the way left the outcome unknown: asked first where a resend is not safe."""
    lost = work.state == State.IN_FLIGHT
    if lost and counted(work) >= channel.retry.max_attempts:
        return Result(work, message, error=Refused(f"{counted(work)} workers were lost while sending it", code="lost_workers"))
    try:
        if lost and not channel.target.resend_is_safe:
            found = _asked(channel.target, message)
            if found is not None:
                return Result(work, message, delivered=found)
        return Result(work, message, delivered=_send(channel.target, message))
    except (NotDelivered, OutcomeUnknown, Refused, Misconfigured) as error:
        return Result(work, message, error=error)
    except Exception as error:  # noqa: BLE001 - foreseen by nobody: our bug, UNCERTAIN, never an automatic retry
        _log.exception("delivery failed", extra={"channel": channel.name, "message_id": work.message_id})
        return Result(work, message, error=HubError(f"our bug: {type(error).__name__} while sending", code="bug"))


def _asked(target: Target, message: Outbound) -> Delivered | None:
    """Did it act? While it cannot tell, the outcome stays unknown: not known is never the same as not done."""
    try:
        return target.find(message)
    except HubError as error:
        raise OutcomeUnknown(f"the target may have acted, and could not be asked: {error.reason}") from error


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
        found = _asked(target, message)
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
