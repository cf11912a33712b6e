"""How much a door keeps of what it refuses: enough to look into it, and never so much that a peer fills the disk."""

from __future__ import annotations

import time

REFUSED_BYTES = 64 << 10  # of one refused message that are kept
BURST, A_SECOND = 20.0, 1.0  # refused messages that one door keeps: so many at once, and so many a second for ever


class Room:
    """Whether one more refused message may be kept: a peer that sends a thousand of them must not fill the disk."""

    def __init__(self) -> None:
        self._at, self._left = time.monotonic(), BURST

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * A_SECOND)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
