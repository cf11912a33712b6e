"""A process of ours that is started again when it ends: a role, forked from the supervisor, or a program, such as Celery's.

A role is forked, not started: what the supervisor has loaded (a second of processor time and 60 MB) the child has at once
and shares. This is sound because the supervisor has one thread and no connection (ADR 0067).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from hub import log, metrics
from hub.bootstrap.signals import Signals, call_it, die_with
from hub.bootstrap.watchdog import STEP_SECONDS, Beat

_log = log.get(__name__)
CHILD = "HUB_CHILD"  # environment: the process id of the supervisor whose child a program is


@dataclass(slots=True)
class Child:
    """`launch` starts the process and returns its id. `beats`: the steps of its roles, where they are watched."""

    name: str
    launch: Callable[[], int]
    beats: tuple[Beat, ...] = ()
    pid: int = 0  # 0: it does not run
    started: float = 0.0
    deaths: int = 0

    def start(self) -> None:
        self._forget_steps()
        self.pid = self.launch()
        self.started = time.monotonic()

    def revive(self) -> bool:
        """Starts it again where it ended; at once the first time, a second after its start after that. Whether it did."""
        code = self.ended()
        if code is not None:
            _log.error("child process ended, starting it again", extra={"role": self.name, "code": code})
            metrics.RESTARTS.labels(role=self.name).inc()
            self.deaths += 1
        if self.pid or (self.deaths > 1 and time.monotonic() - self.started < 1.0):
            return False
        self.start()
        return True

    def ended(self) -> int | None:
        """Its exit code, told once; negative: the signal that ended it (as subprocess.Popen.returncode)."""
        if not self.pid:
            return None
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def end_if_hanging(self, limit: float = STEP_SECONDS) -> None:
        """Kills it where a step of it has taken longer than `limit`; `revive` does the rest."""
        if self.pid and any(beat.seconds() > limit for beat in self.beats):
            _log.error("a step never ended: its process is killed", extra={"role": self.name, "seconds": int(limit)})
            self._forget_steps()
            self.signal(signal.SIGKILL)

    def _forget_steps(self) -> None:
        for beat in self.beats:
            beat.end()

    def signal(self, number: int) -> None:
        if self.pid:
            os.kill(self.pid, number)

    def wait(self, signals: Signals, deadline: float) -> None:
        """Until it has ended; killed at the deadline."""
        while self.pid and self.ended() is None:
            left = deadline - time.monotonic()
            if left <= 0:
                self.signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                self.pid = 0
                return
            signals.wait(min(left, 0.5))


def fork(name: str, work: Callable[[], int]) -> int:
    """The process id of a child of ours that does `work` and ends with its exit code."""
    assert threading.active_count() == 1, "a process with threads must not be forked"
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        die_with(parent)
        call_it(f"hub {name}")
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001 - nothing may come back to the supervisor's code in the child
        _log.exception("process ended by an error", extra={"role": name})
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def spawn(command: list[str], environment: dict[str, str]) -> int:
    """The process id of another program, with the signals as a new process has them."""
    ours = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    return os.posix_spawn(command[0], command, {**os.environ, **environment}, setsigdef=ours)
