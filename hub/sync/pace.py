"""Pace of a load: no faster than what it leads to is worked off, so that the queues stay short and the machine has room.

Nobody is waited for who does not come on: where no hub runs, a channel is paused or a target is down, the load goes on and
what it stores waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from hub.domain.store import Store

MOST = 200  # messages of a direction that may wait when more are stored: some hundredths of a second of work
FIRST = 100  # of each bucket, by which it is seen whether a queue moves: a lane that stands still is seldom so long
LOOK_SECONDS = 0.005
MOVES_SECONDS = 0.25  # from one look at what moves to the next, while much waits
STUCK_SECONDS = 3.0  # a direction in which nothing moved for so long is not waited for
AGAIN_SECONDS = 30.0  # and then looked at again only after so long


class Pace:
    """One a load or polled channel. Used by one thread."""

    def __init__(
        self,
        store: Store,
        ending: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ending`: whether whoever stores is to end, and so waits for nothing; asked while room is waited for."""
        self._store = store
        self._ending = ending
        self._sleep = sleep
        self._clock = clock
        self._free_until = {"in": float("-inf"), "out": float("-inf")}

    def room(self) -> None:
        """Returns when there is room for some more."""
        moved = looked = self._clock()
        first: dict[str, set[int]] = {}
        while full := self._full():
            now = self._clock()
            if not first or now - looked >= MOVES_SECONDS:
                if self._ending():
                    return
                before, first, looked = first, self._first(full), now
                if any(d not in before or before[d] - first[d] for d in full):  # how many wait tells nothing: more may come
                    moved = now
            if now - moved > STUCK_SECONDS:
                self._free_until |= dict.fromkeys(full, now + AGAIN_SECONDS)
                return
            self._sleep(LOOK_SECONDS)

    def _full(self) -> list[str]:
        """Directions in which too many loaded messages wait and something may move."""
        now = self._clock()
        with self._store.snapshot() as tx:
            return [d for d, n in tx.loaded(MOST + 1).items() if n > MOST and self._free_until[d] < now]

    def _first(self, directions: Sequence[str]) -> dict[str, set[int]]:
        with self._store.snapshot() as tx:
            return {d: tx.first_loaded(d, FIRST) for d in directions}
