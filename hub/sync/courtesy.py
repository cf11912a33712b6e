"""Intake first: while messages come in faster than they can be applied beside it, apply steps back.

A sender that waits for its answer holds up a hospital's queue; what is stored can wait a moment. When a backlog is flushed
at the hub, applying at full speed beside it makes both slower and neither end sooner. So apply rests after each step, for
a multiple of what the step took, until the flood is over or somebody has waited for `PATIENCE_US`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

WINDOW_US = 300_000  # arrivals are counted over so long, µs
PATIENCE_US = 15_000_000  # how long a stored message may wait for the sake of those who send, µs
REST = 9.0  # times as long as the step took
MOST_SECONDS = 0.5  # of one rest


class Courtesy:
    """One an applier. Speed is measured anew with every step: no machine is like another."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic) -> None:
        self._sleep = sleep
        self._clock = clock
        self._began = 0.0

    def begin(self) -> None:
        """A step begins."""
        self._began = self._clock()

    def rest(self, applied: int, arrived: float, waited_us: int) -> bool:
        """After a step: `applied` messages of it, `arrived` within WINDOW_US, the oldest of them `waited_us` old.

        Whether it rested, because there is a flood.
        """
        took = self._clock() - self._began
        flood = arrived / WINDOW_US * 1e6 * took > applied and waited_us < PATIENCE_US
        if flood:
            self._sleep(min(REST * took, MOST_SECONDS))
        return flood
