"""Which ports this hub's own processes listen on: in memory that they share, so that nobody takes another's for ours."""

from __future__ import annotations

import mmap


class Bound:
    """Seen by this process and by those that it forks from now on; a byte a port."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 65536)

    def add(self, port: int) -> None:
        self._memory[port] = 1

    def remove(self, port: int) -> None:
        self._memory[port] = 0

    def __contains__(self, port: int) -> bool:
        return self._memory[port] == 1
