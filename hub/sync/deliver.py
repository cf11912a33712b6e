"""Deliver: outbound messages go to their targets, in order a lane, many lanes at a time (promises 3 and 4).

One loop: write what came back and claim what is due, in one transaction; hand claimed lanes to the channel's senders.
A claim is durable before anything is sent (IN_FLIGHT, attempt counted, lease), so a crash is seen as what it is: the
outcome is unknown. What is sent is built at send time from the current state, except events, which are sent as they were.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping, Sequence

from hub import log
from hub.domain.errors import HubError, TryAgain
from hub.domain.lifecycle import State
from hub.domain.ports import Keys
from hub.domain.rows import Row, WorkBucket, WorkState
from hub.domain.store import ChannelStateRow, Lease, LeaseLost, OutboundWork, Store, Tx
from hub.sync import passing
from hub.sync.breaker import BreakerState
from hub.sync.crews import Back, Convoy, Lane, OutboundChannel, Senders, senders
from hub.sync.results import Result, Results, counted
from hub.sync.sending import Compose
from hub.sync.turns import sort_out

__all__ = ["Courier", "OutboundChannel"]

_log = log.get(__name__)
LEASE_SECONDS = 20.0
LATER = 64  # messages of a load that are claimed in one step
FULL = 50  # results that are worth a transaction at once
FLIGHT_SECONDS = 300.0  # how long a claimed message may be on its way before it counts as lost


class Courier:
    """Delivers for the buckets of a lease. One a worker; `step` is called by one thread.

    That thread sends to targets that can have many messages on their way; for the others there are threads (hub.sync.crews).
    """

    def __init__(
        self, store: Store, keys: Keys, channels: Callable[[], Mapping[str, OutboundChannel]], capacity: int = 256
    ) -> None:
        self._store = store
        self._channels = channels
        self._capacity = capacity
        self._results = Results(keys)
        self._compose = Compose(keys)
        self._back = Back()
        self._poll = select.poll()
        self._poll.register(self._back.bell.fileno(), select.POLLIN)
        self._senders: dict[str, Senders] = {}
        self._retired: list[Convoy] = []  # of channels that were changed: what they have on its way is finished
        self._in_hand: set[int] = set()  # messages with the senders, or back from them and not yet written
        self._in_flight: dict[str, int] = {}  # how many of them, by channel
        self.taking = True  # False: what is on its way is finished, nothing more is claimed
        self._gone: set[str] = set()  # channels that work waits for and that are not configured any more
        self._moved: list[WorkBucket] = []  # what makes way for something live behind it
        self._lanes: dict[str, int] = {}  # lanes on trial or in flight, by channel

    @property
    def busy(self) -> bool:
        """Whether something is with the senders or waits to be written."""
        return bool(self._in_hand)

    def step(self, lease: Lease, wait: float = 0.04, gather: float = 0.0) -> int:
        """Writes results, claims and sends; how many messages moved.

        Waits up to `wait` seconds for results when busy, and at least `gather` while they are few: a transaction of 50
        costs little more than one of 5.
        """
        if not self.taking:
            self._recall()
        results = self._collect(wait, gather, lease) if self._in_hand else []
        channels = self._channels()
        self._follow(channels)
        try:
            with self._store.snapshot() as tx:  # nobody else claims in these buckets: the lease is ours
                states = {s.channel: s for s in tx.channel_states()}
                self._adopt(states, channels)
                self._moved = []
                claimed = self._claim(tx, lease, states, channels) if self._room() else []
                lanes = self._load(tx, claimed, channels)
            if not results and not claimed and not self._moved:
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
            tx.write([*rows, *self._moved, *self._mark(claimed, tx.now)])

    # -- results --------------------------------------------------------------------------------------------------

    def _collect(self, wait: float, gather: float, lease: Lease) -> list[Result]:
        """What came back: results that come together are written together.

        What was claimed under an earlier lease is not ours to write: it was treated as lost when that lease was.
        """
        results: list[Result] = []
        began = time.monotonic()
        while True:
            for convoy in self._convoys():
                results += convoy.turn()
            results += self._back.take()
            spent = time.monotonic() - began
            all_here = len(results) >= len(self._in_hand)
            if spent >= wait or len(results) >= self._capacity // 2 or (all_here and (spent >= gather or len(results) >= FULL)):
                break
            until = gather if all_here else wait
            for fd, _ in self._poll.poll((until - spent) * 1000):
                if fd == self._back.bell.fileno():
                    self._back.bell.silence()
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
        """Lanes that nobody has begun come back untouched."""
        for crew in self._senders.values():
            self._untouched(crew)

    def _untouched(self, crew: Senders) -> None:
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
        barred += self._gone.difference(channels)
        if not channels.keys() - set(barred):
            return []  # nobody to send to: what waits, however much, need not be read to find that out
        buckets = [int(name.split(":")[1]) for name in lease.names]
        turns = sort_out(tx, "out", tx.due_outbound(buckets, barred, self._capacity, LATER), barred)
        self._moved, due = turns.moved, [*turns.live, *turns.later]
        self._gone = {w.channel for w in due if w.channel not in channels} | self._gone.difference(channels)
        busy = {w.lane for w in due if w.message_id in self._in_hand}
        return passing.affordable(tx, _on_trial([w for w in due if w.channel in channels and w.lane not in busy], limits))

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
        crew = self._senders.get(name)
        if crew is None:
            crew = self._senders[name] = senders(channel, self._back, lambda: self.taking)
            if isinstance(crew, Convoy):
                self._poll.register(crew.fileno(), select.POLLIN)
        crew.put(lane, token)

    def _convoys(self) -> list[Convoy]:
        return [s for s in (*self._senders.values(), *self._retired) if isinstance(s, Convoy)]

    def _follow(self, channels: Mapping[str, OutboundChannel]) -> None:
        """Channels that were changed or removed by a reload: nothing more goes out as they were, and their targets close."""
        for name, crew in list(self._senders.items()):
            if channels.get(name) is not crew.channel:
                self._untouched(crew)
                crew.retire()
                if isinstance(crew, Convoy):
                    self._retired.append(crew)
                del self._senders[name]
        for convoy in [c for c in self._retired if not c.busy]:
            self._poll.unregister(convoy.fileno())
            convoy.close()
            convoy.channel.target.close()
            self._retired.remove(convoy)

    def close(self) -> None:
        """No more is sent; threads end with what they have in hand."""
        self._recall()
        for crew in (*self._senders.values(), *self._retired):
            crew.close()
        self._senders.clear()
        self._retired.clear()
        self._back.bell.close()


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
