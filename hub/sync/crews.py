"""Who sends: lanes of one channel, in order, many at a time. Either threads that block, or one thread for many connections.

Both take whole lanes (`put`), hand back results as they come, and give back untouched what nobody has begun (`recall`).
A lane has one message on its way; the next goes when that one is confirmed, and what comes after a failure goes back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from hub import log
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.lifecycle import State
from hub.domain.ports import Delivered, Lines, ManyAtOnce, Outbound, Target
from hub.domain.store import OutboundWork
from hub.sync.breaker import Breaker
from hub.sync.results import Result, counted
from hub.sync.retry import RetryPolicy
from hub.transport.bell import Bell

_log = log.get(__name__)
LANE_SECONDS = 120.0  # a claimed lane that takes longer gives the rest back: one attempt more still ends in time
TURNS = 8  # of lines in one go, before what ended is written

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
    threads: int = 4  # how many messages may be on their way at once
    breaker: Breaker = field(default_factory=lambda: Breaker(5, 30.0))


class Senders(Protocol):
    """Who sends for one channel."""

    channel: OutboundChannel

    def put(self, lane: Lane, token: int) -> None: ...

    def recall(self) -> list[tuple[Lane, int]]:
        """The lanes that nobody has begun."""
        ...

    def retire(self) -> None:
        """No lane comes any more; what is on its way is finished."""
        ...

    def close(self) -> None:
        """The end, whatever is on its way."""
        ...


class Back:
    """Results on their way back from threads, and the bell that says so."""

    def __init__(self) -> None:
        self._results: queue.SimpleQueue[list[Result]] = queue.SimpleQueue()
        self.bell = Bell()

    def put(self, results: list[Result]) -> None:
        self._results.put(results)
        self.bell.ring()

    def take(self) -> list[Result]:
        """All that is here; who waits for the bell silences it first."""
        found: list[Result] = []
        while not self._results.empty():
            found += self._results.get_nowait()
        return found


class _Walk:
    """How far one lane has come."""

    __slots__ = ("at", "ends", "lane", "token")

    def __init__(self, lane: Lane, token: int) -> None:
        self.lane, self.token = lane, token
        self.at = 0
        self.ends = time.monotonic() + LANE_SECONDS

    def after(self, result: Result, channel: OutboundChannel, taking: bool) -> list[Result]:
        """`result` is that of the message under way; with it comes the rest of the lane where it must not follow."""
        result.token = self.token
        self.at += 1
        rest = self.lane[self.at :]
        results = [result]
        if rest and taking and result.lets_pass(channel) and time.monotonic() < self.ends:
            _pass_on(result, rest)
        else:
            self.at = len(self.lane)
            results += [Result(work, message, released=True, token=self.token) for work, message in rest]
            results[-1].last_of_lane = True
        return results

    @property
    def over(self) -> bool:
        return self.at >= len(self.lane)


class Crew:
    """Threads that send, for targets that block. Plain threads on a queue: an executor's future costs more than a send."""

    def __init__(self, channel: OutboundChannel, back: Back, taking: Callable[[], bool]) -> None:
        self.channel = channel
        self._back, self._taking = back, taking
        self._jobs: queue.SimpleQueue[tuple[Lane, int] | None] = queue.SimpleQueue()
        self._working = channel.threads
        self._guard = threading.Lock()
        self._retired = False
        for number in range(channel.threads):
            threading.Thread(target=self._work, name=f"deliver-{channel.name}-{number}", daemon=True).start()

    def put(self, lane: Lane, token: int) -> None:
        self._jobs.put((lane, token))

    def recall(self) -> list[tuple[Lane, int]]:
        found: list[tuple[Lane, int]] = []
        try:
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    found.append(job)
        except queue.Empty:
            return found

    def retire(self) -> None:
        self._retired = True
        self.close()

    def close(self) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            walk = _Walk(*job)
            results: list[Result] = []
            while not walk.over:
                results += walk.after(attempt(self.channel, *walk.lane[walk.at]), self.channel, self._taking())
            self._back.put(results)
        self._jobs.put(None)  # for the next one
        with self._guard:
            self._working -= 1
            last = self._working == 0
        if last and self._retired:
            self.channel.target.close()


class Convoy:
    """One thread, the courier's own, with many connections: `turn` sends and reads what is ready and never waits."""

    def __init__(self, channel: OutboundChannel, lines: Lines, taking: Callable[[], bool]) -> None:
        self.channel = channel
        self._lines, self._taking = lines, taking
        self._jobs: deque[tuple[Lane, int]] = deque()
        self._walks: dict[int, _Walk] = {}  # by the message under way
        self._ready: list[Result] = []

    @property
    def busy(self) -> bool:
        return bool(self._walks or self._jobs or self._ready)

    def fileno(self) -> int:
        return self._lines.fileno()

    def put(self, lane: Lane, token: int) -> None:
        self._jobs.append((lane, token))

    def recall(self) -> list[tuple[Lane, int]]:
        found = list(self._jobs)
        self._jobs.clear()
        return found

    def retire(self) -> None:
        """Nothing to do: whoever drives it goes on until it is not busy any more."""

    def close(self) -> None:
        self._lines.close()

    def turn(self) -> list[Result]:
        """Results as they came; a lane's last one carries what was released with it."""
        for _ in range(TURNS):
            while self._jobs and len(self._walks) < self.channel.threads:
                self._begin(_Walk(*self._jobs.popleft()))
            ended = self._lines.turn()
            for message, came in ended:
                walk = self._walks.pop(message.message_id)
                self._went(walk, _result(walk.lane[walk.at][0], message, came))
            if not ended:
                break
        ready, self._ready = self._ready, []
        return ready

    def _begin(self, walk: _Walk) -> None:
        """The lane's next message; one that cannot even be tried ends here."""
        while not walk.over:
            work, message = walk.lane[walk.at]
            if (lost := _lost_too_often(self.channel, work, message)) is not None:
                self._ready += walk.after(lost, self.channel, self._taking())
                continue
            try:
                self._lines.begin(message)
            except Exception as error:  # noqa: BLE001 - foreseen by nobody: our bug, UNCERTAIN, never an automatic retry
                self._ready += walk.after(_bug(self.channel, work, message, error), self.channel, self._taking())
                continue
            self._walks[message.message_id] = walk
            return

    def _went(self, walk: _Walk, result: Result) -> None:
        self._ready += walk.after(result, self.channel, self._taking())
        self._begin(walk)


def senders(channel: OutboundChannel, back: Back, taking: Callable[[], bool]) -> Crew | Convoy:
    """As its target allows."""
    target = channel.target
    if isinstance(target, ManyAtOnce) and target.resend_is_safe:
        return Convoy(channel, target.lines(channel.threads), taking)
    return Crew(channel, back, taking)


def attempt(channel: OutboundChannel, work: OutboundWork, message: Outbound) -> Result:
    """One attempt. A worker that was lost on the way left the outcome unknown: asked first where a resend is not safe."""
    if (lost := _lost_too_often(channel, work, message)) is not None:
        return lost
    try:
        if work.state == State.IN_FLIGHT and not channel.target.resend_is_safe:
            found = _asked(channel.target, message)
            if found is not None:
                return Result(work, message, delivered=found)
        return Result(work, message, delivered=_send(channel.target, message))
    except (NotDelivered, OutcomeUnknown, Refused, Misconfigured) as error:
        return Result(work, message, error=error)
    except Exception as error:  # noqa: BLE001 - foreseen by nobody: our bug, UNCERTAIN, never an automatic retry
        return _bug(channel, work, message, error)


def _lost_too_often(channel: OutboundChannel, work: OutboundWork, message: Outbound) -> Result | None:
    """A message at which so many workers ended that it may be what ends them."""
    if work.state == State.IN_FLIGHT and counted(work) >= channel.retry.max_attempts:
        return Result(work, message, error=Refused(f"{counted(work)} workers were lost while sending it", code="lost_workers"))
    return None


def _bug(channel: OutboundChannel, work: OutboundWork, message: Outbound, error: Exception) -> Result:
    _log.error("delivery failed", exc_info=error, extra={"channel": channel.name, "message_id": work.message_id})
    return Result(work, message, error=HubError(f"our bug: {type(error).__name__} while sending", code="bug"))


def _result(work: OutboundWork, message: Outbound, came: Delivered | HubError) -> Result:
    return Result(work, message, error=came) if isinstance(came, HubError) else Result(work, message, delivered=came)


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
