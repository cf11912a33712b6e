"""A TCP proxy before a real MariaDB or PostgreSQL that misbehaves like hub.simulator.faults.Peer: at connects, and at COMMIT.

At COMMIT, because what happens before it a database undoes by itself; the answer to it is the one that decides. TLS ends here.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Protocol, Self

from hub.simulator.certificates import Authority
from hub.simulator.faults import AT_CONNECT, GARBAGE, Fault

COMMIT = re.compile(rb"COMMIT\0?\Z")


class Dialect(Protocol):
    """What has to be known of a database's protocol."""

    def error(self, state: str) -> bytes:
        """The server's answer "no" to a COMMIT, with this SQLSTATE."""
        ...

    def another(self) -> bytes:
        """Another request, whose answer nobody waits for."""
        ...

    def secure(self, client: socket.socket, server: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        """TLS with the client, none with the server; until both sides have come as far as their first command may be."""
        ...


class MySql:
    """MySQL's client/server protocol: packets of length (3 bytes), number, payload."""

    def error(self, state: str) -> bytes:
        number = {"23000": 4025, "40001": 1213}[state]
        return packet(1, b"\xff" + struct.pack("<H", number) + b"#" + state.encode() + b"no")

    def another(self) -> bytes:
        return packet(0, b"\x09")  # COM_STATISTICS; of a SELECT's answer Debian's driver makes success, or a crash

    def secure(self, client: socket.socket, server: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        """The server knows of no TLS, so its greeting gets CLIENT_SSL, and packets are numbered anew until its OK."""
        _, greeting = read_packet(server)
        flags = greeting.index(b"\0") + 1 + 4 + 8 + 1  # version\0, thread, scramble, filler
        capabilities = struct.unpack_from("<H", greeting, flags)[0] | 0x0800
        client.sendall(packet(0, greeting[:flags] + struct.pack("<H", capabilities) + greeting[flags + 2 :]))
        read_packet(client)  # the request for TLS
        secured = context.wrap_socket(client, server_side=True)
        number, response = read_packet(secured)
        plain = struct.unpack_from("<I", response)[0] & ~0x0800
        server.sendall(packet(number - 1, struct.pack("<I", plain) + response[4:]))
        while True:
            number, answer = read_packet(server)
            secured.sendall(packet(number + 1, answer))
            if answer[:1] in (b"\0", b"\xff"):
                return secured
            number, response = read_packet(secured)
            server.sendall(packet(number - 1, response))


class Postgres:
    """PostgreSQL's frontend/backend protocol 3.0: a letter, length (4 bytes), payload."""

    def error(self, state: str) -> bytes:
        fields = b"".join(
            mark + text.encode() + b"\0" for mark, text in ((b"S", "ERROR"), (b"V", "ERROR"), (b"C", state), (b"M", "no"))
        )
        return b"E" + struct.pack(">I", 4 + len(fields) + 1) + fields + b"\0" + b"Z" + struct.pack(">I", 5) + b"T"

    def another(self) -> bytes:
        return b"Q" + struct.pack(">I", 4 + 9) + b"SELECT 1\0"

    def secure(self, client: socket.socket, server: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        client.recv(8, socket.MSG_WAITALL)  # SSLRequest
        client.sendall(b"S")
        return context.wrap_socket(client, server_side=True)


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number & 0xFF]) + payload


def read_packet(sock: socket.socket) -> tuple[int, bytes]:
    head = _exactly(sock, 4)
    return head[3], _exactly(sock, struct.unpack("<I", head[:3] + b"\0")[0])


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


class Proxy:
    """Listens on a port of its own, steered like hub.simulator.faults.Peer."""

    decisive = COMMIT  # the request at which the other faults show

    def __init__(self, dialect: Dialect, server_port: Callable[[], int], tls: ssl.SSLContext | None = None) -> None:
        self._dialect, self._server_port, self._tls = dialect, server_port, tls
        self.host, self.port, self.delay = "127.0.0.1", 0, 5.0
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._standing: Fault | None = None
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._stopped = threading.Event()

    def start(self) -> Self:
        self._stopped = threading.Event()
        self._listener = socket.create_server((self.host, self.port), backlog=64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener, self._stopped), daemon=True).start()
        return self

    def stop(self) -> None:
        self._stopped.set()
        with self._lock:
            listener, self._listener = self._listener, None
            found = [*([listener] if listener else ()), *self._open]
        for sock in found:
            _shut(sock)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def misbehave(self, fault: Fault, times: int | None = 1) -> None:
        if fault is Fault.CLOSED:
            self.stop()
        elif times is None:
            self._standing = fault
        else:
            with self._lock:
                self._faults += [fault] * times

    def behave(self) -> None:
        with self._lock:
            self._faults.clear()
            self._standing = None
        if self._listener is None:
            self.start()

    def _next(self, *, at_connect: bool) -> Fault | None:
        with self._lock:
            if self._faults and (self._faults[0] in AT_CONNECT) is at_connect:
                return self._faults.pop(0)
            standing = self._standing
        return standing if standing is not None and (standing in AT_CONNECT) is at_connect else None

    def _accept(self, listener: socket.socket, stopped: threading.Event) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed by stop()
                return
            threading.Thread(target=self._connection, args=(client, stopped), daemon=True).start()

    def _connection(self, client: socket.socket, stopped: threading.Event) -> None:
        fault = self._next(at_connect=True)
        ours = [client]
        with self._lock:
            self._open.add(client)
        try:
            if fault is Fault.HANG_UP:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if fault is Fault.HALF_OPEN:
                stopped.wait()
                return
            server = socket.create_connection((self.host, self._server_port()))
            ours.append(server)
            for sock in ours:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(server)
            context = Authority("Nobody trusts this").server_context(self.host) if fault is Fault.TLS_WRONG else self._tls
            if context is not None:
                client = self._dialect.secure(client, server, context)
                ours.append(client)
            self._serve(client, server, stopped)
        except (OSError, ValueError, ConnectionError):  # one of them went away, or stop() closed the socket under us
            return
        finally:
            with self._lock:
                self._open.difference_update(ours)
            for sock in ours:
                _shut(sock)

    def _serve(self, client: socket.socket, server: socket.socket, stopped: threading.Event) -> None:
        """Both ways in one thread, so that the answer to a COMMIT is told from all others."""
        while not stopped.is_set():
            held = isinstance(client, ssl.SSLSocket) and client.pending()
            readable = [client] if held else select.select([client, server], [], [])[0]
            if server in readable:
                data = server.recv(65536)
                if not data:
                    return
                client.sendall(data)
            if client in readable:
                data = client.recv(65536)
                if not data:
                    return
                fault = self._next(at_connect=False) if self.decisive.search(data) else None
                if fault is None:
                    server.sendall(data)
                elif not self._misbehave(fault, client, server, data, stopped):
                    return

    def _misbehave(
        self, fault: Fault, client: socket.socket, server: socket.socket, data: bytes, stopped: threading.Event
    ) -> bool:
        """Answers one COMMIT; False ends the connection."""
        if fault is Fault.SILENT:
            while client.recv(65536):
                pass
            return False
        if fault in (Fault.REFUSE, Fault.BUSY):
            client.sendall(self._dialect.error("23000" if fault is Fault.REFUSE else "40001"))
            return True
        server.sendall(data)
        answer = server.recv(65536)
        if fault is Fault.ANSWER_LOST:
            return False
        if fault is Fault.WRONG_ANSWER:
            server.sendall(self._dialect.another())
            answer = server.recv(65536)
        elif fault is Fault.GARBAGE:
            answer = GARBAGE
        elif fault is Fault.ANSWER_CUT:
            answer = answer[: len(answer) // 2]
        elif fault is Fault.SLOW:
            stopped.wait(self.delay)
        client.sendall(answer)
        return fault not in (Fault.GARBAGE, Fault.ANSWER_CUT, Fault.CLOSE_AFTER)


def _shut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:  # not connected any more
        pass
    sock.close()
