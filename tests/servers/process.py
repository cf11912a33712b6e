"""What every server has in common: a port of its own, a process that ends with the test run, a wait until it listens."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

WAIT = 30.0  # seconds for a server to come up
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class NotInstalledError(Exception):
    """A server's package is not installed."""


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def die_with(signum: signal.Signals) -> None:
    """In the child, before exec: get `signum` when the parent dies (prctl(2))."""
    LIBC.prctl(PR_SET_PDEATHSIG, int(signum))


def spawn(
    command: Sequence[str | Path],
    log: IO[bytes],
    folder: Path,
    farewell: signal.Signals = signal.SIGTERM,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts a server in `folder`; the kernel sends it `farewell` when the test run dies. `environment`: added to ours."""
    return subprocess.Popen(
        command,
        stdout=log,
        stderr=log,
        user=user,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        preexec_fn=lambda: die_with(farewell),  # noqa: PLW1509 - a call into libc that takes no lock
    )


def stop(process: subprocess.Popen[bytes], signum: signal.Signals = signal.SIGTERM, wait: float = 10.0) -> None:
    """Ask, wait, then kill this one process."""
    if process.poll() is None:
        process.send_signal(signum)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until something listens on `port`; RuntimeError with the server's log where it does not."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the server on port {port} did not come up:\n{log.read_text(errors='replace')[-2000:]}")
