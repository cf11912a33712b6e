"""Pace of a load: no faster than what it leads to is worked off, so that the queues stay short and the machine has room.

Nobody is waited for who does not come on: where no hub runs, a channel is paused or a target is down, the load goes on and
what it stores waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hub.domain.store import Store

MOST = 200  # messages of a direction that may wait when more are stored: some hundredths of a second of work
LOOK_SECONDS = 0.005
STUCK_SECONDS = 3.0  # a direction in which nothing moved for so long is not waited for
AGAIN_SECONDS = 30.0  # and then looked at again only after so long


class Pace:
    """One a load or polled channel. Used by one thread."""

    def __init__(
        self, store: Store, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._sleep = sleep
        self._clock = clock
        self._free_until = {"in": float("-inf"), "out": float("-inf")}

    def room(self) -> None:
        """Returns when there is room for some more."""
        began = self._clock()
        least: dict[str, int] = {}
        while True:
            now = self._clock()
            full = {d: n for d, n in self._waiting().items() if n > MOST and self._free_until[d] < now}
            if not full:
                return
            for direction, number in full.items():
                if number < least.get(direction, number + 1):
                    least[direction], began = number, now
            if now - began > STUCK_SECONDS:
                self._free_until |= dict.fromkeys(full, now + AGAIN_SECONDS)
                return
            self._sleep(LOOK_SECONDS)

    def _waiting(self) -> dict[str, int]:
        """How many loaded messages wait, each direction counted a little further than MOST."""
        with self._store.snapshot() as tx:
            return tx.loaded(MOST + MOST // 2)
