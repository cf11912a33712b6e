"""Roles of one process: listen, poll, apply, deliver, keep, web; each a thread that ends when told to."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from hub import log
from hub.audit.actions import Action
from hub.bootstrap import channels
from hub.bootstrap.alerts import NOT_LISTENING, clear_alert, raise_alert, standing
from hub.bootstrap.assemble import Hub
from hub.bootstrap.bound import Bound
from hub.bootstrap.keeper import Keeper
from hub.bootstrap.limits import why_full
from hub.bootstrap.poll import Pollers
from hub.bootstrap.sweeper import Sweeper
from hub.bootstrap.tally import UnstoredTally
from hub.bootstrap.watchdog import Beat, Watched
from hub.config import Channel
from hub.domain.errors import HubError
from hub.domain.ports import Answering, Listener, Remembering
from hub.domain.unstored import Counting
from hub.sync.intake import IntakeService
from hub.sync.loops import ApplyStepper, DeliverStepper, Loop, Stepper

_log = log.get(__name__)
LOOK_SECONDS = 1.0
Wake = Callable[[str], None]  # tells the workers of a direction, "in" or "out", that there is something to do
Serve = Callable[[Hub, threading.Event, Wake | None], None]


class Listeners:
    """All MLLP listeners of this process in one asyncio loop, so that one commit serves all that is ready."""

    def __init__(self, hub: Hub, stored: Callable[[], None], bound: Bound, beat: Beat) -> None:
        self._hub = hub
        self._bound = bound
        self._beat = beat
        self._stored = stored
        self.intake: IntakeService = hub.intake()
        self._unstored = UnstoredTally(hub.store)
        self._running: dict[str, tuple[Channel, Listener]] = {}
        self._troubles: dict[str, str] = {}  # channels that cannot listen, and why
        self._told: set[str] = set()  # those of them that an alert tells of
        self._left: set[str] | None = None  # alerts of an earlier process; None: not looked up yet
        self._adopting = asyncio.Lock()
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, stop: threading.Event) -> None:
        asyncio.run(self._main(stop))

    def stop(self) -> None:
        """From another thread, once the stop event of `run` is set: ends the wait for the next look."""
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._ending.set)

    async def _main(self, stop: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        while not stop.is_set():
            self._beat.begin()  # anew with every look: a loop in which something blocks comes to none
            self.intake.flush()
            self._count()
            self._watch()
            await self.adopt()  # a port that was taken may be free now
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), LOOK_SECONDS)
        for name in list(self._running):
            await self._end(name)
        self._unstored.write()
        self.intake.flush()
        self._beat.end()

    def _count(self) -> None:
        """What listeners answered or refused by themselves."""
        for name, (_, listener) in self._running.items():
            if isinstance(listener, Counting):
                self._unstored.add(name, listener.take_unstored())
        self._unstored.write()

    def _watch(self) -> None:
        reason = why_full(self._hub)
        if reason != self.intake.full:
            _log.warning("intake turns senders away" if reason else "intake takes messages again", extra={"reason": reason})
        self.intake.full = reason

    async def adopt(self) -> None:
        """Listeners of unchanged channels keep their connections; others end, begin, or begin anew."""
        async with self._adopting:  # every second, and by a reload
            await self._adopt()

    async def _adopt(self) -> None:
        wanted = channels.listened(self._hub.config)
        for name, (channel, _) in list(self._running.items()):
            if wanted.get(name) != channel:
                await self._end(name)
        for name, channel in wanted.items():
            if name not in self._running:
                await self._begin(name, channel)
        for name in self._alerted() - (wanted.keys() - self._running.keys()):  # it listens, or nobody wants it to any more
            self._over(name)

    async def _begin(self, name: str, channel: Channel) -> None:
        try:
            listener = channels.build_listener(channel)
            if isinstance(listener, Answering):
                listener.look_up_in(self._hub.lookup)
            if isinstance(listener, Remembering):
                listener.remember_in(self._hub.memory(name))
            await listener.start(_Waking(self.intake, self._stored))
        except (HubError, OSError) as error:
            reason = error.reason if isinstance(error, HubError) else f"cannot listen ({error.strerror or type(error).__name__})"
            self._trouble(name, reason)
            return
        self._running[name] = (channel, listener)
        address = listener.health().address
        self._bound.add(int(address.rpartition(":")[2]))
        _log.info("listening", extra={"channel": name, "address": address})

    def _alerted(self) -> set[str]:
        """Channels that are said not to listen."""
        if self._left is None:
            try:
                self._left = standing(self._hub.store, NOT_LISTENING)
            except HubError:
                return set()  # our own store is down: looked up when it is back
        return self._left | self._troubles.keys()

    def _trouble(self, name: str, reason: str) -> None:
        """The others listen on; this one is tried again every second, and said once in the log, the audit log and an alert."""
        if self._troubles.get(name) != reason:
            self._troubles[name] = reason
            self._told.discard(name)
            _log.error("listener not started", extra={"channel": name, "reason": reason})
        if name in self._told:
            return
        try:
            raise_alert(self._hub.store, NOT_LISTENING, name, f"not listening: {reason}")
            self._hub.audit.append(Action.CHANNEL_STOPPED, actor="system", channel=name, detail={"code": "listen"})
        except HubError:
            return  # our own store is down: said when it is back
        self._told.add(name)

    def _over(self, name: str) -> None:
        try:
            clear_alert(self._hub.store, NOT_LISTENING, name)
            if name in self._running:
                self._hub.audit.append(Action.CHANNEL_STARTED, actor="system", channel=name)
        except HubError:
            return  # cleared when our own store is back
        self._troubles.pop(name, None)
        self._told.discard(name)
        self._left = (self._left or set()) - {name}

    async def _end(self, name: str) -> None:
        _, listener = self._running.pop(name)
        if isinstance(listener, Counting):
            self._unstored.add(name, listener.take_unstored())
        self._bound.remove(int(listener.health().address.rpartition(":")[2]))
        await listener.stop()

    def reload(self) -> None:
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self.adopt(), self._loop)


class _Waking:
    """Intake, and a wake-up for apply after each commit."""

    def __init__(self, intake: IntakeService, stored: Callable[[], None]) -> None:
        self._intake = intake
        self._stored = stored
        self.answered = intake.answered

    def store(self, batch: Any) -> Any:
        receipts = self._intake.store(batch)
        self._stored()
        return receipts


def collect_rarely() -> None:
    """Sets up Python's garbage collector for this process's work; what is imported later is walked again."""
    gc.freeze()  # what was imported stays: no collection has to walk it again
    gc.set_threshold(50_000, 20, 50)  # a batch makes many short-lived documents and no cycles to speak of


class Runtime:
    """The roles of this process."""

    def __init__(
        self,
        hub: Hub,
        roles: tuple[str, ...],
        serve: Serve | None = None,
        wake_workers: Wake | None = None,
        beats: Mapping[str, Beat] | None = None,
        bound: Bound | None = None,
    ) -> None:
        self._bound = bound or Bound()
        self._serve = serve
        self._beats = beats or {role: Beat() for role in roles}
        self.hub = hub
        self.roles = roles
        self._stop = threading.Event()
        self._wake = {"in": threading.Event(), "out": threading.Event()}
        self._wake_workers = wake_workers
        self._threads: list[threading.Thread] = []
        self.listeners: Listeners | None = None
        self.failed = threading.Event()

    def start(self) -> None:
        """Begins every role; returns at once."""
        collect_rarely()
        sys.setswitchinterval(0.001)  # the listener's thread must not wait 5 ms for the others on SQLite, where all are threads
        parts: dict[str, Callable[[], None]] = {
            "listen": self._listen, "apply": self._apply, "deliver": self._deliver, "keep": self._keep, "web": self._web,
            "sweep": self._sweep, "poll": self._poll,
        }  # fmt: skip
        for role in self.roles:
            thread = threading.Thread(target=self._guarded, args=(role, parts[role]), name=role, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _guarded(self, role: str, part: Callable[[], None]) -> None:
        try:
            part()
        except Exception:  # noqa: BLE001 - whatever ends a role ends the process, and the supervisor starts it again
            _log.exception("role ended by an error", extra={"role": role})
            self.failed.set()

    def stop(self, seconds: float = 8.0) -> None:
        """Ends every role; what was on its way is finished where that takes no longer than `seconds`."""
        self._stop.set()
        for wake in self._wake.values():
            wake.set()
        if self.listeners is not None:
            self.listeners.stop()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.1, deadline - time.monotonic()))

    def reload(self) -> None:
        """After `hub.reload`: listeners follow; targets were replaced already."""
        if self.listeners is not None:
            self.listeners.reload()

    # -- roles ----------------------------------------------------------------------------------------------------

    def _stored(self) -> None:
        self._wake["in"].set()
        if self._wake_workers is not None:
            self._wake_workers("in")

    def _listen(self) -> None:
        self.listeners = Listeners(self.hub, self._stored, self._bound, self._beats["listen"])
        self.listeners.run(self._stop)

    def _poll(self) -> None:
        Pollers(self.hub, self._stored).run(self._stop)

    def _apply(self) -> None:
        self._loop(Watched(ApplyStepper(self.hub.applier()), self._beats["apply"]), self._wake["in"])

    def _deliver(self) -> None:
        self._loop(Watched(DeliverStepper(self.hub.courier()), self._beats["deliver"]), self._wake["out"])

    def _loop(self, stepper: Stepper, wake: threading.Event) -> None:
        loop = Loop(self.hub.store, stepper, self.hub.buckets, self.hub.buckets, wake)
        loop.run(self._stop.is_set)
        self.hub.store.close()

    def _keep(self) -> None:
        Keeper(self.hub, self._beats["keep"]).run(self._stop)

    def _sweep(self) -> None:
        """Whatever no wake-up brought to a worker is done here, so that Redis is dispensable."""
        Sweeper(self.hub, self._wake_workers, self._beats["sweep"]).run(self._stop)

    def _web(self) -> None:
        if self._serve is not None:
            self._serve(self.hub, self._stop, self._wake_workers)
