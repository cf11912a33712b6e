"""A lean, blocking HTTP/1.1 client for one target: kept-alive connections, one deadline a request, no redirects.

What a failure means stands in hub/transport/http_peer.py. A kept-alive connection is looked at before it is used: one
that the peer closed meanwhile is replaced while nothing has been sent. One that is closed while our request is on its way
is not: then nobody can know (RFC 9110 §9.2.2).
"""

from __future__ import annotations

import select
import socket
from collections import deque
from time import monotonic

from hub.codecs.http1 import AnswerReader, GarbledError, HttpAnswer
from hub.transport.http_peer import HttpPeer


class _Link:
    """One connection and when it was last used."""

    __slots__ = ("poll", "sock", "used")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.used = monotonic()
        self.poll = select.poll()
        self.poll.register(sock.fileno(), select.POLLIN)

    def fresh(self, max_idle: float) -> bool:
        """Still usable: not idle for long, and nothing to read (a readable idle connection was closed, or is out of step)."""
        return monotonic() - self.used < max_idle and not self.poll.poll(0)

    def close(self) -> None:
        try:
            self.sock.close()
        except OSError:  # a TLS peer that is gone: closing is all we want
            pass


class HttpPool:
    """Thread-safe; holds at most one idle connection for each thread that ever sent at the same time."""

    def __init__(self, peer: HttpPeer) -> None:
        self._peer = peer
        self._idle: deque[_Link] = deque()

    def request(self, method: str, payload: bytes) -> HttpAnswer:
        """Send one whole request (`HttpPeer.request`) and return the answer. Raises as the peer's table says."""
        link, deadline = self._write(payload)
        keep = False
        try:
            answer = self._read(link.sock, AnswerReader(method, self._peer.limit), deadline)
            keep = answer.keep_alive and not self._peer.closed
        except (OSError, GarbledError) as error:
            raise self._peer.lost(error, self._peer.timeout) from None
        finally:  # also when this very thread is interrupted: a half-read connection never goes back
            if keep:
                link.used = monotonic()
                self._idle.append(link)
            else:
                link.close()
        return answer

    def close(self) -> None:
        """Close what is idle; a request in flight closes its own connection when it ends. May be called again."""
        self._peer.closed = True
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # another thread was faster
                return

    def _write(self, payload: bytes) -> tuple[_Link, float]:
        link = self._take()
        if link is not None:
            try:
                return link, self._sent(link, payload)
            except TimeoutError as error:
                raise self._peer.cut(error) from None
            except OSError:  # not all of it went out: a fresh connection may have it
                pass
        link = _Link(self._peer.connect())
        try:
            return link, self._sent(link, payload)
        except OSError as error:
            raise self._peer.cut(error) from None

    def _sent(self, link: _Link, payload: bytes) -> float:
        """Writes all of it, or closes the connection; until when the answer may come."""
        deadline = monotonic() + self._peer.timeout
        try:
            link.sock.settimeout(self._peer.timeout)
            link.sock.sendall(payload)
        except BaseException:
            link.close()
            raise
        return deadline

    def _take(self) -> _Link | None:
        """The idle connection used last: the others grow old and are closed when they are met."""
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return None
            if link.fresh(self._peer.max_idle):
                return link
            link.close()

    @staticmethod
    def _read(sock: socket.socket, reader: AnswerReader, deadline: float) -> HttpAnswer:
        while True:
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            data = sock.recv(65536)
            if not data:
                return reader.end()
            answer = reader.feed(data)
            if answer is not None:
                return answer
