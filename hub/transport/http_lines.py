"""Many HTTP/1.1 requests to one target at once, driven by one thread with epoll: no thread and no hand-off a request.

A connection carries one request at a time. What a failure means stands in hub/transport/http_peer.py. Only connecting
blocks (names, TLS), so each connection is made by a short thread of its own; they are kept alive, so that is rare. Before
a request goes out on a kept connection, all are looked at: one that the peer closed meanwhile is dropped while nothing has
been sent (ADR 0065).
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections import deque
from time import monotonic
from typing import Generic, TypeVar

from hub.codecs.http1 import AnswerReader, GarbledError, HttpAnswer
from hub.domain.errors import HubError
from hub.transport.bell import Bell
from hub.transport.http_peer import HttpPeer

T = TypeVar("T")
_LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_CHUNK = 16 * 1024  # bytes read at once: the answer to a webhook is smaller, so one recv is one answer


class _Request(Generic[T]):
    """A request and whose it is."""

    __slots__ = ("method", "payload", "ticket")

    def __init__(self, ticket: T, method: str, payload: bytes) -> None:
        self.ticket, self.method, self.payload = ticket, method, payload


class _Line(Generic[T]):
    """One connection, and the request that it carries."""

    __slots__ = ("deadline", "reader", "request", "sock", "unsent", "used")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.used = 0.0  # when its last answer was complete; 0: it never had one
        self.deadline = 0.0
        self.request: _Request[T] | None = None
        self.reader: AnswerReader | None = None
        self.unsent: memoryview | None = None


class HttpLines(Generic[T]):
    """For one thread. `begin` takes a request with a ticket, `turn` gives the tickets back with what came of them."""

    def __init__(self, peer: HttpPeer, most: int) -> None:
        """`most`: connections, and so requests on their way at once; what is begun beyond waits its turn."""
        self._peer, self._most = peer, most
        self._epoll = select.epoll()
        self._bell = Bell()
        self._epoll.register(self._bell.fileno(), select.EPOLLIN)
        self._lines: dict[int, _Line[T]] = {}
        self._idle: list[_Line[T]] = []
        self._flying: dict[int, _Line[T]] = {}  # in the order of their deadlines: all have the same time
        self._waiting: deque[_Request[T]] = deque()
        self._again: deque[_Request[T]] = deque()  # cut off on a kept connection: only a new one will do
        self._connecting = 0
        self._made: deque[socket.socket | HubError] = deque()  # by the threads that connect
        self._ended: list[tuple[T, HttpAnswer | HubError]] = []
        self._closed = False

    def fileno(self) -> int:
        return self._epoll.fileno()

    def begin(self, ticket: T, method: str, payload: bytes) -> None:
        """It goes out with the next `turn`."""
        self._waiting.append(_Request(ticket, method, payload))

    def turn(self) -> list[tuple[T, HttpAnswer | HubError]]:
        """Reads what came, sends what can be sent; never blocks."""
        rung = False
        for fd, _ in self._epoll.poll(0):
            line = self._lines.get(fd)
            if line is None:
                rung = True
            elif line.request is None:  # closed while idle, or out of step
                self._idle.remove(line)
                self._drop(line)
            elif line.unsent is not None:
                self._write(line, line.request)
            else:
                self._read(line, line.request)
        if rung:
            self._adopt()
        self._expire()
        self._dispatch()
        ended, self._ended = self._ended, []
        return ended

    def close(self) -> None:
        """Ends all connections; what was on its way never comes back."""
        self._closed = True
        for line in self._lines.values():
            _close(line.sock)
        self._lines.clear()
        self._flying.clear()
        self._sweep()
        self._epoll.close()
        self._bell.close()

    # -- connections ----------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        while self._waiting and (line := self._take()) is not None:
            self._launch(line, self._waiting.popleft())
        wanted = len(self._waiting) + len(self._again) - self._connecting
        for _ in range(min(wanted, self._most - len(self._lines) - self._connecting)):
            self._connecting += 1
            threading.Thread(target=self._connect, name=f"connect-{self._peer.host}", daemon=True).start()

    def _take(self) -> _Line[T] | None:
        """The idle connection used last: the others grow old and are closed when they are met."""
        while self._idle:
            line = self._idle.pop()
            if monotonic() - line.used < self._peer.max_idle:
                return line
            self._drop(line)
        return None

    def _connect(self) -> None:
        """In a thread of its own."""
        try:
            made: socket.socket | HubError = self._peer.connect()
        except HubError as error:
            made = error
        except Exception as error:  # noqa: BLE001 - foreseen by nobody: our bug, said of the request that waits for it
            made = HubError(f"our bug: {type(error).__name__} while connecting", code="bug")
        self._made.append(made)
        if self._closed:
            self._sweep()
        else:
            self._bell.ring()

    def _adopt(self) -> None:
        """Connections that were made; where one could not be, the request that it was for knows why."""
        self._bell.silence()
        while self._made:
            made = self._made.popleft()
            self._connecting -= 1
            request = (self._again or self._waiting or [None])[0]
            if isinstance(made, HubError):
                if request is not None:
                    (self._again or self._waiting).popleft()
                    self._ended.append((request.ticket, made))
                continue
            made.setblocking(False)
            line = _Line[T](made)
            self._lines[made.fileno()] = line
            self._epoll.register(made.fileno(), select.EPOLLIN)
            if request is not None:
                (self._again or self._waiting).popleft()
                self._launch(line, request)
            else:
                line.used = monotonic()
                self._idle.append(line)

    def _sweep(self) -> None:
        while self._made:
            try:
                made = self._made.popleft()
            except IndexError:  # the other thread was faster
                return
            if not isinstance(made, HubError):
                _close(made)

    def _drop(self, line: _Line[T]) -> None:
        fd = line.sock.fileno()
        self._lines.pop(fd, None)
        self._flying.pop(fd, None)
        _close(line.sock)  # epoll forgets it

    # -- one request ----------------------------------------------------------------------------------------------

    def _launch(self, line: _Line[T], request: _Request[T]) -> None:
        line.request, line.reader = request, AnswerReader(request.method, self._peer.limit)
        line.deadline = monotonic() + self._peer.timeout
        self._flying[line.sock.fileno()] = line
        try:
            sent = line.sock.send(request.payload)
        except _LATER:
            sent = 0
        except OSError as error:
            self._cut(line, request, error)
            return
        if sent < len(request.payload):
            line.unsent = memoryview(request.payload)[sent:]
            self._epoll.modify(line.sock.fileno(), select.EPOLLOUT)

    def _write(self, line: _Line[T], request: _Request[T]) -> None:
        assert line.unsent is not None
        try:
            line.unsent = line.unsent[line.sock.send(line.unsent) :]
        except _LATER:
            return
        except OSError as error:
            self._cut(line, request, error)
            return
        if not line.unsent:
            line.unsent = None
            self._epoll.modify(line.sock.fileno(), select.EPOLLIN)

    def _cut(self, line: _Line[T], request: _Request[T], error: OSError) -> None:
        """Not all of it went out: a fresh connection may have it, once."""
        self._drop(line)
        if line.used and not isinstance(error, TimeoutError):
            self._again.append(request)
        else:
            self._ended.append((request.ticket, self._peer.cut(error)))

    def _read(self, line: _Line[T], request: _Request[T]) -> None:
        assert line.reader is not None
        try:
            answer = None
            while answer is None:
                data = line.sock.recv(_CHUNK)
                answer = line.reader.feed(data) if data else line.reader.end()
        except _LATER:
            return
        except (OSError, GarbledError) as error:
            self._lose(line, request, error)
            return
        self._ended.append((request.ticket, answer))
        if not answer.keep_alive:
            self._drop(line)
            return
        del self._flying[line.sock.fileno()]
        line.request, line.used = None, monotonic()
        self._idle.append(line)

    def _expire(self) -> None:
        now = monotonic()
        while self._flying:
            line = next(iter(self._flying.values()))
            if line.deadline > now or line.request is None:
                return
            if line.unsent is not None:
                self._cut(line, line.request, TimeoutError())
            else:
                self._lose(line, line.request, TimeoutError())

    def _lose(self, line: _Line[T], request: _Request[T], error: OSError | GarbledError) -> None:
        self._drop(line)
        self._ended.append((request.ticket, self._peer.lost(error, self._peer.timeout)))


def _close(sock: socket.socket) -> None:
    try:
        sock.close()
    except OSError:  # a TLS peer that is gone: closing is all we want
        pass
