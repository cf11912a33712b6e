"""A breaker a target: after so many failures in a row nothing is sent for a while, then one message tries the water.

    closed --failures--> open --time--> half_open --success--> closed
                          ^                 |
                          +----- failure ---+        (twice the wait, up to ten minutes)

While it is open no attempts are counted: a target that is down makes no dead letters. It alerts once when it opens and
once when it closes, not once a retry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LONGEST_SECONDS = 600.0


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Signal(StrEnum):
    """What the breaker's owner has to tell the world."""

    NOTHING = "nothing"
    OPENED = "opened"
    CLOSED = "closed"
    SAVED = "saved"  # the state changed in a way that only the store needs to know


@dataclass(slots=True)
class Breaker:
    """Times in µs of the database's clock."""

    failures_to_open: int
    seconds: float
    state: BreakerState = BreakerState.CLOSED
    until: int = 0
    failures: int = 0
    waits: int = 0

    def allows(self, now: int) -> int | None:
        """How many lanes may be tried now: None is no limit, 0 is none, 1 is a trial."""
        if self.state is BreakerState.CLOSED:
            return None
        if self.state is BreakerState.OPEN and now >= self.until:
            self.state = BreakerState.HALF_OPEN
        return 1 if self.state is BreakerState.HALF_OPEN else 0

    def succeeded(self) -> Signal:
        """The target did what it was asked, or said a reasoned no: it is there."""
        was = self.state
        self.state, self.failures, self.waits = BreakerState.CLOSED, 0, 0
        return Signal.CLOSED if was is not BreakerState.CLOSED else Signal.NOTHING

    def failed(self, now: int) -> Signal:
        """The target did not act, or nobody knows."""
        self.failures += 1
        if self.state is BreakerState.CLOSED and self.failures < self.failures_to_open:
            return Signal.NOTHING
        if self.state is BreakerState.OPEN:
            return Signal.NOTHING  # a straggler that was sent before it opened
        first = self.state is BreakerState.CLOSED
        self.state = BreakerState.OPEN
        self.until = now + int(min(LONGEST_SECONDS, self.seconds * 2.0 ** min(self.waits, 10)) * 1e6)
        self.waits += 1
        return Signal.OPENED if first else Signal.SAVED
