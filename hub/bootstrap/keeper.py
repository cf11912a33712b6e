"""What has to be done now and then: sign the audit log, watch the disk and the queue, sweep what was not woken, purge."""

from __future__ import annotations

import shutil
import threading
import time

from hub import log
from hub.bootstrap.assemble import Hub
from hub.domain.errors import HubError, Misconfigured
from hub.sync.intake import IntakeService
from hub.sync.retention import Retention

_log = log.get(__name__)
SIGN_SECONDS = 0.5
WATCH_SECONDS = 2.0
PURGE_SECONDS = 3600.0


class Keeper:
    """Runs in one process; two of them do no harm."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._sequencer = hub.sequencer()
        self._intakes: list[IntakeService] = []
        self._broken = ""

    def guards(self, intake: IntakeService) -> None:
        """This intake is told to turn senders away while disk or queue are full."""
        self._intakes.append(intake)

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; then signs what is left."""
        watched = purged = 0.0
        while not stop.wait(SIGN_SECONDS):
            self._sign()
            self._tidy()
            now = time.monotonic()
            if now - watched > WATCH_SECONDS:
                watched = now
                self._watch()
            if now - purged > PURGE_SECONDS:
                purged = now
                self._purge()
        self._sign()

    def _sign(self) -> None:
        try:
            while self._sequencer.step():
                pass
            self._broken = ""
        except Misconfigured as error:
            if self._broken != error.reason:  # said once, not twice a second
                self._broken = error.reason
                _log.error("the audit log is not signed any more", extra={"reason": error.reason})
        except HubError as error:
            _log.warning("audit log not signed this time", extra={"reason": error.reason})

    def _tidy(self) -> None:
        try:
            self._hub.store.tidy()
        except HubError as error:
            _log.warning("store not tidied this time", extra={"reason": error.reason})

    def _watch(self) -> None:
        reason = self.full()
        for intake in self._intakes:
            if reason and not intake.full:
                _log.error("intake turns senders away", extra={"reason": reason})
            intake.full = reason

    def full(self) -> str:
        """Why nothing more may be taken, or an empty text."""
        limits = self._hub.config.limits
        if self._hub.sqlite and shutil.disk_usage(self._hub.config.hub.data_dir).free < limits.disk_free_mb << 20:
            return "the disk is nearly full"
        try:
            with self._hub.store.transaction() as tx:
                row = tx.one(
                    "SELECT COUNT(*) FROM (SELECT 1 FROM work WHERE direction = 'in' LIMIT ?) AS waiting", limits.queue + 1
                )
        except HubError:
            return ""  # intake finds out by itself, and says so
        return "too many messages are waiting" if row and row[0] > limits.queue else ""

    def _purge(self) -> None:
        try:
            days = {name: channel.dedupe_days for name, channel in self._hub.config.channels.items()}
            Retention(self._hub.store, self._hub.config.retention, days).purge()
        except HubError as error:
            _log.warning("not purged this time", extra={"reason": error.reason})
