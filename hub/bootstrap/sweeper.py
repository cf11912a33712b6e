"""The sweeper: due rows that no worker took within a second are woken again, and worked on here if that does not help.

Celery and Redis carry wake-up calls only. Without them every message is still applied and delivered, a little later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hub import log
from hub.bootstrap.assemble import Hub
from hub.bootstrap.watchdog import Beat, Watched
from hub.domain.errors import HubError
from hub.sync.loops import ApplyStepper, DeliverStepper, Loop

_log = log.get(__name__)
SWEEP_SECONDS = 0.5
PATIENCE_US = 1_000_000
TURN_SECONDS = 2.0


class Sweeper:
    """Looks at both directions twice a second."""

    def __init__(self, hub: Hub, wake: Callable[[str], None] | None, beat: Beat) -> None:
        self._hub = hub
        self._wake = wake
        steppers = (Watched(ApplyStepper(hub.applier()), beat), Watched(DeliverStepper(hub.courier()), beat))
        self._loops = {s.direction: Loop(hub.store, s, hub.buckets, hub.buckets) for s in steppers}
        self._seen = {"in": 0, "out": 0}

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(SWEEP_SECONDS):
            for direction in ("in", "out"):
                try:
                    self._sweep(direction, stop)
                except HubError as error:
                    _log.warning("not swept this time", extra={"reason": error.reason})

    def _sweep(self, direction: str, stop: threading.Event) -> None:
        """First time something is neglected: wake the workers. Second time: do it here; leases keep the workers out."""
        with self._hub.store.transaction() as tx:
            neglected = tx.neglected(direction, self._hub.buckets, tx.now - PATIENCE_US)
        if not neglected:
            self._seen[direction] = 0
            return
        self._seen[direction] += 1
        if self._wake is not None:
            self._wake(direction)
        if self._seen[direction] > 1:
            self._work(direction, stop)

    def _work(self, direction: str, stop: threading.Event) -> None:
        """One turn; then the workers have theirs: under a steady load there is always more, and they may be back."""
        ends = time.monotonic() + TURN_SECONDS
        moved = self._loops[direction].drain(
            lambda moved: stop.is_set() or not moved or time.monotonic() > ends, finish_seconds=5.0 if stop.is_set() else 40.0
        )
        self._seen[direction] = 0
        if moved and direction == "in" and self._wake is not None:
            self._wake("out")  # as a worker does that has applied something
