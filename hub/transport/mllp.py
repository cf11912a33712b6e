"""MLLP over TCP and TLS, the receiving end: sockets in an asyncio loop, whose frames a collector puts into batches.

What is no frame goes the same way as a Scrap, so that it is kept and answered too; bounded in bytes, and in number by
connection and listener, so that a port scanner does not fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

from hub.codecs.mllp import END, VT, Scrap, Splitter
from hub.transport.collector import Collector
from hub.transport.tls import peer_allowed

log = logging.getLogger(__name__)
KEEP = 64 << 10  # bytes of a scrap
LEAST = 4  # fewer bytes outside a frame (a stray FS, an old modem's EOT) are no attempt to say something
QUIET_SECONDS = 0.5  # bytes outside a frame that nothing follows for so long wait for an answer
PAUSE_SECONDS = 1.0  # between two scraps of one connection; what comes meanwhile becomes one
BURST, A_SECOND = 20.0, 1.0  # scraps of one listener: so many at once, and so many a second for ever


@dataclass(frozen=True, slots=True)
class Limits:
    """What one channel's connections may cost us."""

    frame: int = 4 << 20  # bytes of one message
    idle_seconds: float = 3600.0  # without a complete frame
    frame_seconds: float = 30.0  # from the first byte of a frame to its end (slow-loris)
    connections: int = 64
    spared_seconds: float = 10.0  # a connection silent for longer gives its place to a new one where there is none


@dataclass(slots=True)
class Counts:
    """What a listener saw, for metrics."""

    accepted: int = 0
    refused: int = 0  # too many connections, or a certificate of somebody else
    idle: int = 0  # closed for silence
    junk: int = 0  # bytes outside any frame
    broken: int = 0  # frames cut short, or larger than the limit
    scraps: int = 0  # of those and of junk, what was kept
    evicted: int = 0  # closed for a new connection
    frames: int = 0


class Connection(asyncio.Protocol):
    """One peer's connection. The owner answers through `answer`."""

    __slots__ = (
        "_began", "_collector", "_heard", "_held", "_listener", "_next_scrap", "_splitter", "_timer", "_transport", "answered",
        "in_haste", "open", "peer",
    )  # fmt: skip

    def __init__(self, listener: MllpListener, collector: Collector[Any]) -> None:
        self._listener = listener
        self._collector = collector
        self._splitter = Splitter(listener.limits.frame, keep=KEEP)
        self._held: Scrap | None = None  # what came too soon after the last scrap
        self._next_scrap = 0.0  # loop time
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._heard = 0.0  # loop time of the last complete frame, or of the beginning
        self._began = 0.0  # loop time at which the frame being read began; 0 between frames
        self.answered = 0.0  # loop time of the last answer
        self.in_haste = False  # sent its last frame right after an answer (hub/transport/collector.py)
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
        if splitter.scraps:
            self._in_turn(frames, now)
        else:
            for one in frames:
                self._collector.add(self, one)
        if splitter.partial:
            self._began = self._began or now
        if splitter.junk or splitter.broken or splitter.oversize:
            self._report(splitter)
            if splitter.loose:
                self._look_again(QUIET_SECONDS)

    def _in_turn(self, frames: list[bytes], now: float) -> None:
        """Frames and scraps in the order in which they came, as their answers go out in it."""
        scraps, self._splitter.scraps = self._splitter.scraps, []
        at = 0
        for scrap in scraps:
            for one in frames[at : scrap.before]:
                self._collector.add(self, one)
            at = max(at, scrap.before)
            self._scrap(scrap, now)
        for one in frames[at:]:
            self._collector.add(self, one)

    def _scrap(self, scrap: Scrap, now: float) -> None:
        """Hand it over, or hold it until the connection's pause is over."""
        if scrap.size < LEAST:
            return
        if self._held is not None:
            head = (self._held.head + VT + scrap.head)[:KEEP]
            scrap = self._held._replace(head=head, size=self._held.size + scrap.size, lone=self._held.lone or scrap.lone)
        self._held = scrap
        self._hand_over(now)

    def _hand_over(self, now: float) -> None:
        if self._held is None:
            return
        if now < self._next_scrap or not self._listener.may_keep(now):
            self._look_again(PAUSE_SECONDS)
            return
        self._collector.add(self, self._held)
        self._held = None
        self._next_scrap = now + PAUSE_SECONDS

    def _look_again(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._collector.loop.call_later(seconds, self._quiet)

    def _quiet(self) -> None:
        """Some time after bytes outside a frame, or after a scrap that came too soon."""
        self._timer = None
        now = self._collector.loop.time()
        if self._splitter.loose:
            self._splitter.end_loose()
            self._in_turn([], now)
        self._hand_over(now)

    def _last_words(self) -> None:
        """Nothing more comes: what is unfinished is kept too, as far as the listener's bound allows."""
        if self._listener.stopping:
            return
        now = self._collector.loop.time()
        self._splitter.rest()
        self._next_scrap = 0.0
        self._in_turn([], now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _report(self, splitter: Splitter) -> None:
        counts = self._listener.counts
        counts.junk += splitter.junk
        counts.broken += splitter.broken + splitter.oversize
        log.warning("%s: %d bytes outside a frame, %d broken and %d oversized frames from %s", self._listener.name, splitter.junk,
                    splitter.broken, splitter.oversize, self.peer)  # fmt: skip
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
        self._last_words()
        self._collector.flush()

    def connection_lost(self, _error: Exception | None) -> None:
        if self.open:
            self.open = False
            self._last_words()
        self._collector.forget(self)
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

    def expire(self) -> None:
        """Answer what will never be whole, then close; at once where that was tried before."""
        transport = self._transport
        if not self._splitter.partial or transport is None or transport.is_closing():
            self.abort()
            return
        self._last_words()
        self._collector.flush()
        self.open = False
        transport.close()

    def silent_since(self) -> float | None:
        """Loop time of the last complete frame; None while a frame is on its way or an answer is owed or not yet read."""
        transport = self._transport
        busy = self._splitter.partial or self._splitter.loose or self._held is not None or self._collector.holds(self)
        if busy or (transport is not None and transport.get_write_buffer_size()):
            return None
        return self._heard

    def overdue(self, now: float) -> bool:
        """Silent for too long, or in the middle of a frame for too long."""
        limits = self._listener.limits
        return now - self._heard > limits.idle_seconds or bool(self._began and now - self._began > limits.frame_seconds)


@dataclass(slots=True, eq=False)
class MllpListener:
    """One listening address. `owner` is what its connections' frames belong to; `allowed` are normalised tls_peers."""

    name: str
    host: str
    port: int
    collector: Collector[Any]
    owner: Any = None
    limits: Limits = Limits()
    tls: ssl.SSLContext | None = None
    allowed: frozenset[str] = frozenset()
    counts: Counts = field(default_factory=Counts)
    _server: asyncio.Server | None = None
    _connections: set[Connection] = field(default_factory=set)
    _sweep: asyncio.TimerHandle | None = None
    _room: tuple[float, float] = (0.0, BURST)  # loop time, and how many more scraps were within the bound then
    stopping: bool = False

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
        self.stopping = True
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
        if tls is not None and not peer_allowed(tls, self.allowed):
            reason = "its certificate is none of this channel's"
        elif len(self._connections) >= self.limits.connections and not self._evict():
            reason = "too many connections"
        if reason:
            self.counts.refused += 1
            log.warning("%s: connection from %s refused: %s", self.name, connection.peer, reason)
            return False
        self.counts.accepted += 1
        self._connections.add(connection)
        return True

    def _evict(self) -> bool:
        """Close the connection that has been silent longest: silent ones must not keep a sender out. Whether there was one."""
        silent = [(since, one) for one in self._connections if (since := one.silent_since()) is not None]
        since, longest = min(silent, key=lambda pair: pair[0], default=(0.0, None))
        if longest is None or self.collector.loop.time() - since < self.limits.spared_seconds:
            return False
        self.counts.evicted += 1
        log.warning("%s: no place left: connection from %s closed, it was silent longest", self.name, longest.peer)
        self._connections.discard(longest)
        longest.abort()
        return True

    def may_keep(self, now: float) -> bool:
        """Whether one more scrap is within the bound; counts it."""
        at, room = self._room
        room = min(BURST, room + (now - at) * A_SECOND)
        if room < 1:
            return False
        self._room = (now, room - 1)
        self.counts.scraps += 1
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
            connection.expire()
        self._later()
