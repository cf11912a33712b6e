"""One hub a folder: its supervisor holds a lock from its first moment to its last, and says in hub.pid who it is.

The lock is flock(2) on a file beside hub.pid, so that it ends with the process, however that ends; what a killed hub wrote
into hub.pid is then written over. The lock's file stays: a lock on a file that somebody unlinks is a lock on nothing.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from hub.domain.errors import HubError, Misconfigured

LOOKS = 5


class PidFile:
    """Held from its making on. Raises HubError where another process holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)  # not inherited by programs (PEP 446)
            try:
                self._take()
            except BaseException:
                os.close(self._lock)
                raise
        except OSError as error:
            raise Misconfigured(f"{path}: cannot be written and locked ({error.strerror})") from None

    def _take(self) -> None:
        if not self._locked():
            holder = _pid_in(self._path)
            who = f"process {holder}" if holder else "another process"
            raise HubError(
                f"{who} runs this folder already ({self._path}); hub reload has it read hub.toml again, and to start anew, "
                + (f"stop it first (kill {holder})" if holder else "stop it first"),
                code="already_running",
            )
        fresh = self._path.with_name(self._path.name + ".new")  # whoever reads meanwhile finds a whole number
        fresh.write_text(f"{os.getpid()}\n")
        fresh.replace(self._path)

    def _locked(self) -> bool:
        """Tried for a moment: `running_in` holds the lock while it looks."""
        for _ in range(LOOKS):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(0.05)
        return False

    def forked(self) -> None:
        """In a child: the lock is its parent's alone, and must not outlive it."""
        os.close(self._lock)

    def release(self) -> None:
        """Removes hub.pid where it still names this process."""
        if _pid_in(self._path) == os.getpid():
            self._path.unlink(missing_ok=True)
        os.close(self._lock)


def running_in(path: Path) -> int | None:
    """The process id of the hub that holds `path`, or None; what a killed hub left there is no hub, whoever has its id now."""
    try:
        lock = os.open(path.with_suffix(".lock"), os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(path)
    finally:
        os.close(lock)
    return None


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
