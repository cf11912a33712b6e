"""The loops that workers run: take a lease on some buckets, step while there is something to do, wait, give it back.

A wake-up (an event in this process, a Celery task from another) only shortens the wait: the rows are the truth.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from hub import log
from hub.domain.errors import TryAgain
from hub.domain.store import Lease, LeaseLost, Store
from hub.sync.apply import Applier
from hub.sync.deliver import Courier
from hub.sync.owner import owner_name

_log = log.get(__name__)
LEASE_SECONDS = 20.0
FINISH_SECONDS = 5.0  # of the ten that SIGTERM may take; what is still on its way then counts as unknown
SHORT_PAUSE, LONG_PAUSE, QUIET_SECONDS = 0.02, 0.1, 2.0
FULL_STEP = 40  # with fewer it pays to wait a little: a transaction of 20 costs little more than one of 1


class Stepper(Protocol):
    """Something that works on leased buckets. `taking` False: it finishes what it has and takes nothing new."""

    direction: str
    taking: bool

    def step(self, lease: Lease) -> int: ...

    def busy(self) -> bool: ...

    def close(self) -> None: ...


class ApplyStepper:
    direction = "in"

    def __init__(self, applier: Applier) -> None:
        self._applier = applier
        self.taking = True

    def step(self, lease: Lease) -> int:
        return self._applier.step(lease) if self.taking else 0

    def busy(self) -> bool:
        return False

    def close(self) -> None:
        return


class DeliverStepper:
    direction = "out"

    def __init__(self, courier: Courier) -> None:
        self._courier = courier

    @property
    def taking(self) -> bool:
        return self._courier.taking

    @taking.setter
    def taking(self, value: bool) -> None:
        self._courier.taking = value

    def step(self, lease: Lease) -> int:
        return self._courier.step(lease, gather=SHORT_PAUSE)

    def busy(self) -> bool:
        return self._courier.busy

    def close(self) -> None:
        self._courier.close()


class Loop:
    """Drives a stepper over whatever buckets it can get, at most `most` at a time."""

    def __init__(self, store: Store, stepper: Stepper, buckets: int, most: int, wake: threading.Event | None = None) -> None:
        self._store = store
        self._stepper = stepper
        self._buckets = range(buckets)
        self._most = most
        self._wake = wake or threading.Event()
        self._owner = owner_name(stepper.direction)
        self._lease: Lease | None = None
        self._moved = 0.0

    def run(self, stop: Callable[[], bool]) -> None:
        """Until `stop`: works, and waits for a wake-up or a moment where there is little to do."""
        self.drain(lambda _moved: stop(), wait=self._pause)
        self._stepper.close()

    def drain(
        self, done: Callable[[int], bool], wait: Callable[[], None] | None = None, finish_seconds: float = FINISH_SECONDS
    ) -> int:
        """Steps until `done(moved in the last step)`; returns how many messages moved. Gives its lease back.

        What is with a target then is waited for, up to `finish_seconds`, and nothing more is taken. Whoever is torn out of
        a step (SIGTERM, a time limit) gives it back as one who died: the next one is careful with what was in hand.
        """
        total, ends, clean = 0, 0.0, False
        self._stepper.taking = True
        try:
            while True:
                moved = self._step()
                total += moved
                if not ends and done(moved):
                    ends, self._stepper.taking = time.monotonic() + finish_seconds, False
                if ends and (not self._stepper.busy() or time.monotonic() > ends):
                    clean = not self._stepper.busy()
                    return total
                if moved < FULL_STEP and not self._stepper.busy() and wait is not None:
                    wait()
        finally:
            self._release(clean=clean)

    def _pause(self) -> None:
        """Short while there was work a moment ago, longer in a quiet house: looking costs a query each time."""
        self._wake.wait(SHORT_PAUSE if time.monotonic() - self._moved < QUIET_SECONDS else LONG_PAUSE)
        self._wake.clear()

    def _step(self) -> int:
        try:
            if self._lease is None:
                with self._store.transaction() as tx:
                    self._lease = tx.take(self._owner, self._stepper.direction, self._buckets, self._most, LEASE_SECONDS)
            moved = self._stepper.step(self._lease) if self._lease else 0
            if moved:
                self._moved = time.monotonic()
            return moved
        except LeaseLost as error:
            _log.warning("lease lost", extra={"reason": str(error)})
            self._lease = None
        except TryAgain as error:
            _log.warning("store busy", extra={"reason": error.reason})
            time.sleep(0.2)
        return 0

    def _release(self, *, clean: bool) -> None:
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            with self._store.transaction() as tx:
                tx.release(lease, clean=clean)
        except TryAgain:
            _log.warning("lease not given back; it runs out by itself")
