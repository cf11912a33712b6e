"""Signals as a supervisor and its children wait for them: a handler notes, a pipe wakes, nothing is polled.

Not threading.Event: its lock may be held by the very thread that a handler interrupts.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from types import FrameType

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15


class Signals:
    """What SIGTERM, SIGINT and SIGHUP asked of this process. Made in the main thread."""

    def __init__(self) -> None:
        self.stop = False
        self.reload = False
        self._pipe: tuple[int, int] | None = None
        self._open()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only wakes

    def _open(self) -> None:
        self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop = True

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self.reload = True

    def forked(self) -> None:
        """In a child: a pipe of its own. A SIGTERM that came since the fork is kept; Ctrl-C is the supervisor's."""
        assert self._pipe is not None
        old = self._pipe
        self._open()
        for end in old:
            os.close(end)
        self.reload = False
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait(self, seconds: float) -> None:
        """Until a signal comes, at most so long."""
        assert self._pipe is not None
        if select.select([self._pipe[0]], [], [], seconds)[0]:
            try:
                os.read(self._pipe[0], 4096)
            except BlockingIOError:
                pass

    def reloading(self) -> bool:
        """Whether the configuration is to be read again; asked once a wish."""
        wished, self.reload = self.reload, False
        return wished


def die_with(parent: int) -> None:
    """A parent that was killed must not leave this process behind, which holds its ports (prctl(2), Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            raise SystemExit(0)


def call_it(name: str) -> None:
    """The name of this process in `top` and `ps -o comm`, at most 15 characters (prctl(2), Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())
