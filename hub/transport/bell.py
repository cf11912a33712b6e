"""A bell: other threads ring it, and a thread that waits in poll() or epoll wakes up."""

from __future__ import annotations

import socket


class Bell:
    """One waits (`fileno` is readable once it was rung, until `silence`), any number ring. Rung twice is rung once."""

    def __init__(self) -> None:
        self._ear, self._cord = socket.socketpair()
        for end in (self._ear, self._cord):
            end.setblocking(False)
        self._rung = False

    def fileno(self) -> int:
        return self._ear.fileno()

    def ring(self) -> None:
        if self._rung:
            return
        self._rung = True
        try:
            self._cord.send(b"!")
        except OSError:  # full: it rings already; closed: nobody waits any more
            pass

    def silence(self) -> None:
        """Before what it was rung for is looked at, so that nothing that comes meanwhile is overheard."""
        try:
            self._ear.recv(64)
        except BlockingIOError:
            pass
        self._rung = False

    def close(self) -> None:
        self._ear.close()
        self._cord.close()
