"""A peer that can misbehave on request: a small threaded TCP server whose protocol subclasses fill in.

    peer = CrmPeer(secret); peer.start()
    peer.misbehave(Fault.ANSWER_LOST)            # the next request only
    peer.misbehave(Fault.BUSY, times=None)       # until peer.behave()
    peer.down(); peer.up()                       # the same port closes and opens again

What a request did is in `received` (requests that were acted on, in order); `counts` says how many connections there
were and how often which fault showed.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from abc import ABC, abstractmethod
from collections import Counter
from enum import StrEnum
from typing import Any, BinaryIO, Self


class Fault(StrEnum):
    """How a peer misbehaves. The first four show when a connection is made, the others at a request."""

    CLOSED = "closed"  # nothing listens
    HANG_UP = "hang_up"  # takes the connection and resets it
    HALF_OPEN = "half_open"  # takes the connection and never reads from it
    TLS_WRONG = "tls_wrong"  # a certificate that nobody trusts
    SILENT = "silent"  # reads the request, does nothing, never answers
    ANSWER_LOST = "answer_lost"  # acts, then drops the connection
    ANSWER_CUT = "answer_cut"  # acts, sends half the answer, drops the connection
    WRONG_ANSWER = "wrong_answer"  # acts, answers something that belongs to another request
    GARBAGE = "garbage"  # acts, answers bytes of no protocol
    SLOW = "slow"  # acts, answers after `delay` seconds
    REFUSE = "refuse"  # says no for good, does nothing
    BUSY = "busy"  # says not now, does nothing
    CLOSE_AFTER = "close_after"  # acts, answers properly, then closes without having said so


AT_CONNECT = frozenset({Fault.CLOSED, Fault.HANG_UP, Fault.HALF_OPEN, Fault.TLS_WRONG})
GARBAGE = b"\x00\xff garbage \xfe\r\n\r\n" * 3


class Peer(ABC):
    """One server on one port. Threads: one that accepts, one for each connection; all are daemons."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """`port` 0: any free one, kept over down and up. `tls`: the server's context."""
        self.host, self.port, self._tls = host, port, tls
        self.delay = 5.0  # seconds, for Fault.SLOW
        self.received: list[Any] = []
        self.counts: Counter[str] = Counter()
        self.lock = threading.RLock()
        self._faults: list[Fault] = []
        self._standing: Fault | None = None
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._stopped = threading.Event()
        self._wrong_tls: ssl.SSLContext | None = None

    # ---- what tests and the demo steer -----------------------------------------------------------------------------

    def start(self) -> Self:
        """Listen; returns itself."""
        self._listen()
        return self

    def stop(self) -> None:
        """Stop listening and drop every connection. May be called again."""
        self._stopped.set()
        with self.lock:
            listener, self._listener = self._listener, None
            connections = list(self._open)
        for sock in (*([listener] if listener else ()), *connections):
            _shut(sock)

    down, up = stop, start

    def misbehave(self, fault: Fault, times: int | None = 1) -> None:
        """Show `fault` at the next `times` requests (connections), or until `behave` where None."""
        if fault is Fault.CLOSED:
            self.stop()
        elif times is None:
            self._standing = fault
        else:
            with self.lock:
                self._faults += [fault] * times

    def behave(self) -> None:
        """Forget all faults, and listen."""
        with self.lock:
            self._faults.clear()
            self._standing = None
            down = self._listener is None
        if down:
            self._listen()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ---- what a protocol fills in ----------------------------------------------------------------------------------

    @abstractmethod
    def read(self, stream: BinaryIO) -> Any | None:
        """The next request, None at the end of the connection."""

    @abstractmethod
    def act(self, request: Any) -> bytes:
        """Do what is asked, remember it in `received`, return the answer's bytes."""

    @abstractmethod
    def refusal(self, request: Any) -> bytes:
        """The answer for Fault.REFUSE."""

    @abstractmethod
    def busy(self, request: Any) -> bytes:
        """The answer for Fault.BUSY."""

    @abstractmethod
    def wrong(self, request: Any) -> bytes:
        """The answer for Fault.WRONG_ANSWER, after acting."""

    # ---- the server ------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        with self.lock:
            if self._listener is not None:
                return
            self._stopped = threading.Event()
            listener = socket.create_server((self.host, self.port), backlog=256)
            self.port = listener.getsockname()[1]
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener, self._stopped), daemon=True, name=f"{type(self).__name__}").start()

    def _accept(self, listener: socket.socket, stopped: threading.Event) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # closed by stop()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self._open.add(sock)
                self.counts["connections"] += 1
            threading.Thread(target=self._connection, args=(sock, stopped), daemon=True).start()

    def _connection(self, sock: socket.socket, stopped: threading.Event) -> None:
        fault = self._next(at_connect=True)
        try:
            if fault is Fault.HANG_UP:
                _reset(sock)
                return
            if fault is Fault.HALF_OPEN:
                stopped.wait()
                return
            served = self._secured(sock, fault)
            with served, served.makefile("rb") as stream:
                while not stopped.is_set():
                    request = self.read(stream)
                    if request is None or not self._serve(served, request, stopped):
                        return
        except (OSError, ValueError):  # the client went away, or stop() closed the socket under us
            return
        finally:
            with self.lock:
                self._open.discard(sock)
            _shut(sock)

    def _secured(self, sock: socket.socket, fault: Fault | None) -> socket.socket:
        context = self._untrusted() if fault is Fault.TLS_WRONG else self._tls
        if context is None:
            return sock
        secured = context.wrap_socket(sock, server_side=True)
        with self.lock:
            self._open.discard(sock)
            self._open.add(secured)
        return secured

    def _untrusted(self) -> ssl.SSLContext:
        from hub.simulator.certificates import Authority  # only where TLS is played with

        if self._wrong_tls is None:
            self._wrong_tls = Authority("Nobody trusts this").server_context(self.host)
        return self._wrong_tls

    def _serve(self, sock: socket.socket, request: Any, stopped: threading.Event) -> bool:
        """Answer one request; False ends the connection."""
        fault = self._next(at_connect=False)
        if fault is Fault.SILENT:
            stopped.wait()
            return False
        if fault is Fault.REFUSE or fault is Fault.BUSY:
            sock.sendall(self.refusal(request) if fault is Fault.REFUSE else self.busy(request))
            return True
        answer = self.act(request)
        if fault is Fault.ANSWER_LOST:
            return False
        if fault is Fault.WRONG_ANSWER:
            answer = self.wrong(request)
        elif fault is Fault.GARBAGE:
            answer = GARBAGE
        elif fault is Fault.ANSWER_CUT:
            answer = answer[: len(answer) // 2]
        elif fault is Fault.SLOW:
            stopped.wait(self.delay)
        sock.sendall(answer)
        return fault not in (Fault.GARBAGE, Fault.ANSWER_CUT, Fault.CLOSE_AFTER)

    def _next(self, *, at_connect: bool) -> Fault | None:
        with self.lock:
            if self._faults and (self._faults[0] in AT_CONNECT) is at_connect:
                fault: Fault | None = self._faults.pop(0)
            elif self._standing is not None and (self._standing in AT_CONNECT) is at_connect:
                fault = self._standing
            else:
                return None
            self.counts[str(fault)] += 1
            return fault


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # not connected any more, or a listener on a system that minds
        pass
    sock.close()


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
