"""MLLP over TCP and TLS, the receiving end: sockets in an asyncio loop, frames collected into one batch a loop turn.

Why so: the commit is what costs, so frames of all connections (and all channels of the loop) that are ready in one turn
are stored with one commit. `handle` blocks the loop thread on purpose: handing the batch to a thread and back was
measured to cost more than it wins, and no frame could be answered before the commit anyhow.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hub.codecs.mllp import END, VT, Splitter
from hub.transport.tls import peer_allowed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one channel's connections may cost us."""

    frame: int = 4 << 20  # bytes of one message
    idle_seconds: float = 3600.0  # without a complete frame
    frame_seconds: float = 30.0  # from the first byte of a frame to its end (slow-loris)
    connections: int = 64


@dataclass(slots=True)
class Counts:
    """What a listener saw, for metrics."""

    accepted: int = 0
    refused: int = 0  # too many connections, or a certificate of somebody else
    idle: int = 0  # closed for silence
    junk: int = 0  # bytes outside any frame
    broken: int = 0  # frames cut short, or larger than the limit
    frames: int = 0


class Connection(asyncio.Protocol):
    """One peer's connection. The owner answers through `answer`."""

    __slots__ = ("_began", "_collector", "_heard", "_listener", "_splitter", "_transport", "open", "peer")

    def __init__(self, listener: MllpListener, collector: Collector) -> None:
        self._listener = listener
        self._collector = collector
        self._splitter = Splitter(listener.limits.frame)
        self._transport: asyncio.Transport | None = None
        self._heard = 0.0  # loop time of the last complete frame, or of the beginning
        self._began = 0.0  # loop time at which the frame being read began; 0 between frames
        self.open = False
        self.peer = ""

    @property
    def owner(self) -> Any:
        """Whatever the listener was made for: the channel."""
        return self._listener.owner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._heard = self._collector.loop.time()
        self.peer = str((transport.get_extra_info("peername") or ("unknown",))[0])
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open = self._listener.admit(self, transport.get_extra_info("ssl_object"))
        if not self.open:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self.open:
            return
        splitter = self._splitter
        frames = splitter.feed(data)
        now = self._collector.loop.time()
        if frames:
            self._heard = now
            self._began = 0.0
            for one in frames:
                self._collector.add(self, one)
        if splitter.partial:
            self._began = self._began or now
        if splitter.junk or splitter.broken or splitter.oversize:
            self._report(splitter)

    def _report(self, splitter: Splitter) -> None:
        counts = self._listener.counts
        counts.junk += splitter.junk
        counts.broken += splitter.broken
        if splitter.junk or splitter.broken:
            log.warning("%s: %d bytes outside a frame, %d broken frames from %s", self._listener.name, splitter.junk,
                        splitter.broken, self.peer)  # fmt: skip
        counts.broken += splitter.oversize
        for _ in range(splitter.oversize):
            self._collector.add(self, None)
        splitter.junk = splitter.broken = splitter.oversize = 0

    def answer(self, body: bytes) -> bool:
        """Frame and write one answer. False: the peer is gone, or does not read what we write."""
        transport = self._transport
        if not self.open or transport is None or transport.is_closing():
            return False
        transport.write(VT + body + END)
        return True

    def pause_writing(self) -> None:
        """The peer does not read its answers: stop reading its messages."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and self.open:
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """The peer has said all; what it said is answered before our side closes too (TLS cannot stay half open)."""
        self._collector.flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self.open = False
        self._listener.forget(self)

    def close(self) -> None:
        """Write what is buffered, then close."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def overdue(self, now: float) -> bool:
        """Silent for too long, or in the middle of a frame for too long."""
        limits = self._listener.limits
        return now - self._heard > limits.idle_seconds or bool(self._began and now - self._began > limits.frame_seconds)


Batch = list[tuple[Connection, bytes | None]]  # None: a frame larger than the limit, of which nothing was kept
Handle = Callable[[Batch], None]


class Collector:
    """The frames of one loop turn, handed over together. One a loop and store; every channel's listener adds to it."""

    def __init__(self, handle: Handle, *, most: int = 512) -> None:
        """`handle` stores the batch and answers through the connections; `most` frames at a time."""
        self.loop = asyncio.get_running_loop()
        self._handle = handle
        self._most = most
        self._pending: Batch = []
        self._due = False

    def add(self, connection: Connection, body: bytes | None) -> None:
        """Takes one frame; the batch goes out after every callback that is ready in this turn has run."""
        self._pending.append((connection, body))
        if not self._due:
            self._due = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Hand over what is pending now."""
        self._due = False
        batch, self._pending = self._pending[: self._most], self._pending[self._most :]
        if self._pending:
            self._due = True
            self.loop.call_soon(self.flush)
        if batch:
            self._handle(batch)


@dataclass(slots=True, eq=False)
class MllpListener:
    """One listening address. `owner` is what its connections' frames belong to; `allowed` are normalised tls_peers."""

    name: str
    host: str
    port: int
    collector: Collector
    owner: Any = None
    limits: Limits = Limits()
    tls: ssl.SSLContext | None = None
    allowed: frozenset[str] = frozenset()
    counts: Counts = field(default_factory=Counts)
    _server: asyncio.Server | None = None
    _connections: set[Connection] = field(default_factory=set)
    _sweep: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Listen. OSError where the address is taken."""
        loop = self.collector.loop
        self._server = await loop.create_server(
            lambda: Connection(self, self.collector), self.host, self.port, ssl=self.tls, backlog=256,
            ssl_handshake_timeout=10 if self.tls else None, reuse_address=True,
        )  # fmt: skip
        if self.port == 0:
            self.port = self._server.sockets[0].getsockname()[1]
        self._later()

    async def stop(self) -> None:
        """Stop listening, answer what has been read, close every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        if self._server is not None:
            self._server.close()
        self.collector.flush()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)
        for connection in list(self._connections):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def admit(self, connection: Connection, tls: ssl.SSLObject | None) -> bool:
        """Whether a new connection may speak."""
        reason = ""
        if len(self._connections) >= self.limits.connections:
            reason = "too many connections"
        elif tls is not None and not peer_allowed(tls, self.allowed):
            reason = "its certificate is none of this channel's"
        if reason:
            self.counts.refused += 1
            log.warning("%s: connection from %s refused: %s", self.name, connection.peer, reason)
            return False
        self.counts.accepted += 1
        self._connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    def _later(self) -> None:
        pause = max(0.05, min(5.0, self.limits.idle_seconds / 4, self.limits.frame_seconds / 4))
        self._sweep = self.collector.loop.call_later(pause, self._close_overdue)

    def _close_overdue(self) -> None:
        now = self.collector.loop.time()
        for connection in [one for one in self._connections if one.overdue(now)]:
            self.counts.idle += 1
            log.info("%s: connection from %s closed for silence", self.name, connection.peer)
            connection.abort()
        self._later()
