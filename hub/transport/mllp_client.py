"""MLLP over TCP and TLS, the sending end: blocking, one message in flight, no answer ever credited to the wrong message."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time

from hub.codecs.hl7v2.ack import acknowledged
from hub.codecs.mllp import Splitter, frame
from hub.domain.errors import Misconfigured, NotDelivered, OutcomeUnknown, Refused, Unreadable
from hub.transport.tls import peer_allowed


class MllpClient:
    """Keeps its connection open between messages. Thread-safe: one message at a time."""

    def __init__(
        self, host: str, port: int, *, connect_seconds: float = 5.0, answer_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None, server_name: str = "", allowed: frozenset[str] = frozenset(),
        max_answer: int = 1 << 20,
    ) -> None:  # fmt: skip
        """`allowed`: normalised tls_peers that the peer's certificate must be one of; `server_name`: for SNI and its check."""
        self._address = (host, port)
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds
        self._tls = tls
        self._server_name = server_name or host
        self._allowed = allowed
        self._max_answer = max_answer
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def send(self, body: bytes, control_id: str) -> bytes:
        """Send one message whose MSH-10 is `control_id`; its answer's body, whose MSA-2 is that id.

        Raises NotDelivered(reached=False): no connection could be had, nothing was sent. OutcomeUnknown: it was sent (or
        partly) and no answer to it came in time; the socket is closed, so that a late answer finds nobody. Misconfigured: the
        peer's certificate is not the one that this channel is bound to, or it does not take ours.
        Refused: the body itself cannot be framed.
        """
        try:
            framed = frame(body)
        except ValueError as error:
            raise Refused(str(error), code="framing_character") from None
        with self._lock:
            sock = self._connected()
            deadline = time.monotonic() + self._answer_seconds
            try:
                sock.settimeout(self._answer_seconds)
                sock.sendall(framed)
                answer, clean = self._await(sock, deadline)
                self._check(answer, control_id)
                if not clean:
                    self._drop()
            except OutcomeUnknown:
                self._drop()
                raise
            except ssl.SSLError as error:
                self._drop()
                if "ALERT" in (error.reason or ""):  # TLS 1.3 tells a client only now that its certificate was not taken
                    raise Misconfigured("the peer does not take our certificate", code="tls") from None
                raise OutcomeUnknown("TLS failed after the message was sent", code="tls") from None
            except OSError as error:
                self._drop()
                raise OutcomeUnknown(f"the connection broke before an answer ({error.__class__.__name__})") from None
            return answer

    def ping(self) -> str:
        """Connect (with TLS where configured) and say to whom. Raises as `send` does."""
        with self._lock:
            self._connected()
        return f"connected to {self._address[0]}:{self._address[1]}"

    def close(self) -> None:
        """Close the connection; the next `send` opens a new one."""
        with self._lock:
            self._drop()

    def _connected(self) -> socket.socket:
        """The open connection where it is still good, else a new one."""
        if self._socket is not None and self._spoilt(self._socket):
            self._drop()
        if self._socket is None:
            self._socket = self._connect()
        return self._socket

    @staticmethod
    def _spoilt(sock: socket.socket) -> bool:
        """Between messages there is nothing to read: either the peer closed, or it said something that no message waits for
        (a doubled or late answer), and then whatever comes next could be credited to the wrong message."""
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        if not poll.poll(0):
            return False
        if not isinstance(sock, ssl.SSLSocket):
            return True
        try:  # TLS 1.3 sends session tickets of its own accord: bytes on the socket, no data
            sock.settimeout(0)
            return sock.recv(1) is not None
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except OSError:
            return True

    def _connect(self) -> socket.socket:
        try:
            sock = socket.create_connection(self._address, self._connect_seconds)
        except OSError as error:
            raise NotDelivered(f"no connection ({error.__class__.__name__})", reached=False, code="no_connection") from None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return self._secured(sock)
        except BaseException:
            sock.close()
            raise

    def _secured(self, sock: socket.socket) -> socket.socket:
        if self._tls is None:
            return sock
        try:
            secure = self._tls.wrap_socket(sock, server_hostname=self._server_name)
        except ssl.SSLCertVerificationError as error:
            raise Misconfigured(f"the peer's certificate does not verify: {error.verify_message}", code="tls") from None
        except (ssl.SSLError, OSError) as error:
            raise NotDelivered(f"no TLS session ({error.__class__.__name__})", reached=False, code="no_connection") from None
        if not peer_allowed(secure, self._allowed):
            secure.close()
            raise Misconfigured("the peer's certificate is none that this channel is bound to", code="tls_peer")
        return secure

    def _await(self, sock: socket.socket, deadline: float) -> tuple[bytes, bool]:
        """One frame, however many packets it takes, before the deadline; False where more than it came along."""
        splitter = Splitter(self._max_answer)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OutcomeUnknown("no answer in time", code="no_answer")
            sock.settimeout(left)
            try:
                data = sock.recv(65536)
            except TimeoutError:
                raise OutcomeUnknown("no answer in time", code="no_answer") from None
            if not data:
                raise OutcomeUnknown("the peer closed instead of answering", code="closed")
            frames = splitter.feed(data)
            if splitter.oversize or splitter.broken or splitter.junk:
                raise OutcomeUnknown("what the peer answered is not one MLLP frame", code="not_mllp")
            if frames:
                return frames[0], len(frames) == 1 and not splitter.partial

    @staticmethod
    def _check(answer: bytes, control_id: str) -> None:
        try:
            _, answered = acknowledged(answer)
        except Unreadable:
            raise OutcomeUnknown("what the peer answered is no acknowledgement", code="not_an_answer") from None
        if answered != control_id:
            raise OutcomeUnknown("the answer is for another message", code="wrong_answer")

    def _drop(self) -> None:
        if self._socket is not None:
            try:
                self._socket.close()
            finally:
                self._socket = None
