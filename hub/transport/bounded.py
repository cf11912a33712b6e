"""Calls into a driver that may never return, each with an end: a thread of its own makes them, and is left behind if it hangs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
MOST_LEFT_BEHIND = 32  # threads that hang in a driver; with more of them nothing more is tried
_left_behind: set[threading.Thread] = set()


class NeverEndedError(Exception):
    """The call took longer than it may; what became of it nobody knows."""


def left_behind() -> int:
    """How many threads of this process hang in a driver."""
    for thread in list(_left_behind):
        if not thread.is_alive():
            _left_behind.discard(thread)
    return len(_left_behind)


class Bounded:
    """Makes calls one by one. After NeverEndedError it is of no use any more; `farewell` runs once the hanging call ends."""

    def __init__(self, name: str, farewell: Callable[[], None]) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._farewell = farewell
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], T], seconds: float) -> T:
        """What `work` gives or raises. Raises NeverEndedError."""
        done: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def job() -> None:
            try:
                done.put((work(), None))
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the call was made
                done.put((None, error))

        self._jobs.put(job)
        try:
            result, error = done.get(timeout=seconds)
        except queue.Empty:
            _left_behind.add(self._thread)
            self.end()
            raise NeverEndedError from None
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def end(self) -> None:
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._farewell()
