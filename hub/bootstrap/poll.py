"""The role `poll`: every inbound channel that asks instead of listening, a thread each, in one process.

A channel that fails is said once (log, audit log, alert) and polled again with growing pauses; a paused one is not polled.
What hub.toml says is looked at every second, so that a reload needs nothing more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hub import log
from hub.audit.actions import Action
from hub.bootstrap import channels
from hub.bootstrap.assemble import Hub
from hub.bootstrap.limits import why_full
from hub.config import Channel
from hub.domain.errors import HubError, Misconfigured, NotDelivered, TryAgain
from hub.domain.facts import Key
from hub.domain.ports import Receipt, Received, Source
from hub.domain.rows import AlertRow
from hub.domain.store import Conflict
from hub.mapping import Context
from hub.sync.intake import IntakeService
from hub.sync.pace import Pace
from hub.sync.polled import PolledFeed

_log = log.get(__name__)
LOOK_SECONDS = 1.0
END_SECONDS = 5.0
HANG_SECONDS = 600.0  # without a sign of life from a channel: some drivers wait for ever for a server that says nothing
ALERT = "poll_failing"
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # after a failure; twice as long each time
LONGEST_ASKED = 3600.0  # that a source may ask us to wait (Retry-After)


class Pollers:
    """All polled channels of this process."""

    def __init__(self, hub: Hub, stored: Callable[[], None]) -> None:
        self._hub = hub
        self._stored = stored
        self._running: dict[str, Poller] = {}

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.adopt()
            self._end_if_hanging()
            stop.wait(LOOK_SECONDS)
        for poller in self._running.values():
            poller.stop.set()
        for poller in self._running.values():
            poller.join(END_SECONDS)

    def _end_if_hanging(self) -> None:
        """A thread cannot be ended, the process can: the supervisor starts it again, and no poll has lost anything by that."""
        for name, poller in self._running.items():
            if poller.silent_seconds() > HANG_SECONDS:
                _log.error("a poll never ended: its process is ended", extra={"channel": name, "seconds": int(HANG_SECONDS)})
                raise HangingError(f"the poll of {name} never ended")

    def adopt(self) -> None:
        """Channels that are unchanged go on; others end, begin, or begin anew once their last poll has ended."""
        wanted = channels.polled(self._hub.config)
        for name, poller in list(self._running.items()):
            if wanted.get(name) != poller.channel:
                poller.stop.set()
            if not poller.is_alive():
                del self._running[name]
        for name, channel in wanted.items():
            if name not in self._running:
                self._running[name] = poller = Poller(self._hub, channel, self._stored)
                poller.start()


class HangingError(Exception):
    """A driver does not come back."""


class Poller(threading.Thread):
    """One channel."""

    def __init__(self, hub: Hub, channel: Channel, stored: Callable[[], None]) -> None:
        super().__init__(name=f"poll {channel.name}", daemon=True)
        self.channel = channel
        self.stop = threading.Event()
        self._hub = hub
        self._stored = stored
        self._intake: IntakeService = hub.intake()
        self._feed = PolledFeed(
            channel.name, hub.store, hub.keys, self, self.patient_of, self._ending,
            channels.fhir_names(channel, hub.config.fhir), Pace(hub.store, self._ending).room,
        )  # fmt: skip
        self._source: Source | None = None
        self._trouble = ""
        self._failures = 0
        self._polling_since = 0.0  # or since the last sign of life; 0: between two polls

    def silent_seconds(self) -> float:
        since = self._polling_since
        return time.monotonic() - since if since else 0.0

    def _ending(self) -> bool:
        self._polling_since = time.monotonic()
        return self.stop.is_set()

    def run(self) -> None:
        pause = 0.0
        while not self.stop.wait(pause):
            pause = self.round()
        self._close()
        self._hub.store.close()

    def round(self) -> float:
        """One poll; seconds until the next one."""
        self._polling_since = time.monotonic()
        try:
            return self._round()
        finally:
            self._polling_since = 0.0

    def _round(self) -> float:
        try:
            if self._paused():
                return LOOK_SECONDS
            self._intake.full = why_full(self._hub)
            if self._intake.full:
                raise TryAgain(self._intake.full)
            if self._source is None:
                self._check_events()
                self._source = channels.build_source(self.channel)
            self._feed.looking()
            self._source.poll(self._feed)
            pause = self._source.pause_seconds
            self._recovered()
        except Conflict as error:  # nobody's fault: a load told a row in the same moment
            _log.info("polled again", extra={"channel": self.channel.name, "reason": error.reason})
            self._close()
            return LOOK_SECONDS
        except HubError as error:
            asked = error.retry_after if isinstance(error, NotDelivered) and error.retry_after else 0.0
            return max(self._failed(error.reason), min(asked, LONGEST_ASKED))
        except Exception as error:  # noqa: BLE001 - our bug in one channel must not end the others
            _log.exception("a poll failed in a way that nobody foresaw", extra={"channel": self.channel.name})
            return self._failed(f"internal error ({type(error).__name__})")
        return pause

    def _check_events(self) -> None:
        """What no map reads must not be taken: a flag says done then, and nobody sees the row again."""
        for error in channels.unmapped(self._hub.config, self.channel, self._hub.maps):
            raise Misconfigured(f"{error.problem}; {error.instead}")

    # -- what the feed needs --------------------------------------------------------------------------------------

    def store(self, batch: Sequence[Received]) -> list[Receipt]:
        self._polling_since = time.monotonic()
        receipts = self._intake.store(batch)
        self._stored()
        return receipts

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None:
        self._intake.answered(first_id, last_id, undelivered)

    def patient_of(self, event: str, row: Mapping[str, Any]) -> Key | None:
        channel = self.channel
        return self._hub.maps.row_patient(event, row, Context(channel.assigner, channel.system, channel.timezone))

    # -- troubles -------------------------------------------------------------------------------------------------

    def _paused(self) -> bool:
        with self._hub.store.snapshot() as tx:
            return any(state.channel == self.channel.name and state.paused for state in tx.channel_states())

    def _close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    def _failed(self, reason: str) -> float:
        """Said once; the source is built anew next time, connection and all."""
        self._close()
        self._failures += 1
        name = self.channel.name
        if self._trouble != reason:
            self._trouble = reason
            _log.error("polling failed, tried again later", extra={"channel": name, "reason": reason})
            try:
                with self._hub.store.transaction() as tx:
                    _clear(tx, name)
                    tx.write([AlertRow(tx.now, ALERT, name, reason[:500], None)])
                self._hub.audit.append(Action.CHANNEL_STOPPED, actor="system", channel=name, detail={"code": "poll"})
            except HubError:
                self._trouble = ""  # our own store is down: said when it is back
        return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))

    def _recovered(self) -> None:
        self._failures = 0
        if self._trouble:
            self._trouble = ""
            with self._hub.store.transaction() as tx:
                _clear(tx, self.channel.name)
            self._hub.audit.append(Action.CHANNEL_STARTED, actor="system", channel=self.channel.name)
            _log.info("polling again", extra={"channel": self.channel.name})


def _clear(tx: Any, channel: str) -> None:
    tx.execute("UPDATE alert SET cleared_at = ? WHERE channel = ? AND kind = ? AND cleared_at IS NULL", tx.now, channel, ALERT)
