"""What has to be done now and then: sign the audit log, tidy the store, purge."""

from __future__ import annotations

import threading
import time

from hub import log
from hub.bootstrap.assemble import Hub
from hub.bootstrap.watchdog import Beat
from hub.config import Config
from hub.db.audit import FULL_STEP
from hub.domain.errors import HubError, Misconfigured
from hub.sync.retention import Retention

_log = log.get(__name__)
SIGN_SECONDS = 0.4  # entries are signed within 1 s; a step costs some 3 ms however few they are, so it is not taken more often
TIDY_SECONDS = 1.5  # SQLite's log: a page that is written ten times meanwhile is moved into the file once
PURGE_SECONDS = 3600.0


class Keeper:
    """Runs in one process; two of them do no harm."""

    def __init__(self, hub: Hub, beat: Beat) -> None:
        self._hub = hub
        self._beat = beat
        self._sequencer = hub.sequencer()
        self._broken = ""
        self._kept: tuple[Config, Retention] | None = None

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; then signs what is left."""
        purged = tidied = 0.0
        while not stop.wait(SIGN_SECONDS):
            self._beat.begin()
            self._sign()
            now = time.monotonic()
            if now - tidied >= TIDY_SECONDS or self._hub.store.log_is_long():
                tidied = now
                self._tidy()
            self._beat.end()  # a purge may take as long as it likes
            if now - purged > PURGE_SECONDS:
                purged = now
                self._purge()
        self._sign()

    def _sign(self) -> None:
        """What stood there when this began: under load there is always one more entry, and it can wait for the next time."""
        try:
            while self._sequencer.step() == FULL_STEP:
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

    def _retention(self) -> Retention:
        """One for as long as the configuration stands: it remembers how far it came."""
        config = self._hub.config
        if self._kept is None or self._kept[0] is not config:
            days = {name: channel.dedupe_days for name, channel in config.channels.items()}
            self._kept = (config, Retention(self._hub.store, config.retention, days))
        return self._kept[1]

    def _purge(self) -> None:
        try:
            self._retention().purge()
        except HubError as error:
            _log.warning("not purged this time", extra={"reason": error.reason})
