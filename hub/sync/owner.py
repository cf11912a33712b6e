"""Who holds a lease, said so that another process can find out whether that worker is still alive.

`place:pid:thread:role`. The place is host name, boot and PID namespace: only where all three are the same does a process
id mean the same process (containers share host names, machines share namespace numbers).
"""

from __future__ import annotations

import os
import socket
import threading
from functools import cache
from hashlib import blake2b
from pathlib import Path


@cache
def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        boot = space = ""
    return f"{socket.gethostname()}/{blake2b(f'{boot} {space}'.encode(), digest_size=4).hexdigest()}"


def owner_name(role: str) -> str:
    """This thread as the owner of a lease."""
    return f"{_place()}:{os.getpid()}:{threading.get_ident() % 100_000}:{role}"


def is_dead(owner: str) -> bool:
    """Whether the process behind an owner's name is known to have ended; False where that cannot be known from here."""
    place, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    if place != _place() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(int(pid))


def _is_zombie(pid: int) -> bool:
    """Killed, and nobody has asked for its exit code yet (proc_pid_stat(5), field 3)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        return False
