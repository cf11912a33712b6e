"""A step that hangs is ended by killing its process: what a map or a parser never comes back from cannot be stopped otherwise.

A role (apply, deliver, sweep, keep; listen with every look of its loop) stamps the moment at which a step begins into memory
that it shares with its supervisor, and clears it at the end. An apply worker that was killed left its lease behind, so
whoever is next applies one by one and counts: the message that three workers died of ends DEAD, and its neighbours go on
(hub/sync/apply.py).
"""

from __future__ import annotations

import mmap
import struct
import time

from hub.domain.store import Lease
from hub.sync.loops import Stepper

STEP_SECONDS = 60.0  # a step takes some 0.1 s; of the database it may wait for one statement (30 s) and one lock (10 s)
_STAMP = struct.Struct("=d")  # CLOCK_MONOTONIC, which all processes of a host share


class Beat:
    """When the step that is going on began; seen by this process and by those that it forks from now on."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _STAMP.size)

    def begin(self) -> None:
        _STAMP.pack_into(self._memory, 0, time.monotonic())

    def end(self) -> None:
        _STAMP.pack_into(self._memory, 0, 0.0)

    def seconds(self) -> float:
        """For how long the step has been going on; 0 between steps."""
        (began,) = _STAMP.unpack_from(self._memory)
        return time.monotonic() - began if began else 0.0


class Watched:
    """A stepper whose steps a supervisor can see (hub.sync.loops.Stepper)."""

    def __init__(self, stepper: Stepper, beat: Beat) -> None:
        self._stepper = stepper
        self._beat = beat
        self.direction = stepper.direction

    @property
    def taking(self) -> bool:
        return self._stepper.taking

    @taking.setter
    def taking(self, value: bool) -> None:
        self._stepper.taking = value

    def step(self, lease: Lease) -> int:
        self._beat.begin()
        try:
            return self._stepper.step(lease)
        finally:
            self._beat.end()

    def busy(self) -> bool:
        return self._stepper.busy()

    def close(self) -> None:
        self._stepper.close()
