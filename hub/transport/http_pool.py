"""A lean, blocking HTTP/1.1 client for one target: kept-alive connections, one deadline a request, no redirects.

What a failure means is decided here and nowhere else:

    no connection, no TLS session            -> NotDelivered(reached=False)   certificate not trusted -> Misconfigured
    not all of the request could be written  -> once more on a fresh connection, then NotDelivered: an incomplete request
                                                (RFC 9112 §8) cannot have been acted on
    written, no or a garbled answer          -> OutcomeUnknown
    an answer                                -> returned, whatever its status

A kept-alive connection is looked at before it is used: one that the peer closed meanwhile is replaced while nothing has
been sent. One that is closed while our request is on its way is not: then nobody can know (RFC 9110 §9.2.2).
"""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from urllib.parse import quote, urlsplit

from hub.codecs.http1 import AnswerReader, GarbledError, HttpAnswer, request_bytes
from hub.domain.errors import Misconfigured, NotDelivered, OutcomeUnknown

# What a peer's TLS alert says when it did not take our certificate: with TLS 1.3 it comes with the first read
_REJECTED = (
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "ACCESS_DENIED",
)


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

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float = 5.0,
        timeout: float = 15.0,
        tls: ssl.SSLContext | None = None,
        max_idle: float = 4.0,
        limit: int = 16 * 1024 * 1024,
    ) -> None:
        """`url`: http(s)://host[:port][/path], the base of every request; Misconfigured where it is not one.

        `timeout`: seconds for writing and reading together; `connect_timeout` is on top. `max_idle` stays below the 5 s
        after which common servers close an idle connection. `limit`: bytes of body that an answer may have.
        """
        self.scheme, self.host, self.port, self.path = _split(url)
        self._tls = (tls or tls_context()) if self.scheme == "https" else None
        name = f"[{self.host}]" if ":" in self.host else self.host
        self._authority = name if self.port == {"http": 80, "https": 443}[self.scheme] else f"{name}:{self.port}"
        self._connect_timeout, self._timeout, self._max_idle, self._limit = connect_timeout, timeout, max_idle, limit
        self._idle: deque[_Link] = deque()
        self._closed = False

    def request(
        self, method: str, suffix: str, headers: Mapping[str, str], body: bytes = b"", *, timeout: float | None = None
    ) -> HttpAnswer:
        """Send one request to base path + `suffix` and return the answer. Raises as the table above says."""
        try:
            payload = request_bytes(method, (self.path + suffix) or "/", self._authority, headers, body)
        except ValueError as error:
            raise Misconfigured(f"the request to {self._authority} cannot be written: {error}", code="request") from None
        seconds = self._timeout if timeout is None else timeout
        link, deadline = self._write(payload, seconds)
        keep = False
        try:
            answer = self._read(link.sock, AnswerReader(method, self._limit), deadline)
            keep = answer.keep_alive and not self._closed
        except TimeoutError:
            raise OutcomeUnknown(f"{self._authority} did not answer within {seconds:g} s", code="no_answer") from None
        except ssl.SSLError as error:
            raise self._tls_alert(error) from None
        except OSError as error:
            raise OutcomeUnknown(f"{self._authority} broke the connection: {_name(error)}", code="answer_lost") from None
        except GarbledError as error:
            raise OutcomeUnknown(f"{self._authority}: {error}", code="answer_garbled") from None
        finally:  # also when this very thread is interrupted: a half-read connection never goes back
            if keep:
                link.used = monotonic()
                self._idle.append(link)
            else:
                link.close()
        return answer

    def close(self) -> None:
        """Close what is idle; a request in flight closes its own connection when it ends. May be called again."""
        self._closed = True
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:  # another thread was faster
                return

    def _write(self, payload: bytes, seconds: float) -> tuple[_Link, float]:
        link = self._take()
        if link is not None:
            try:
                link.sock.settimeout(seconds)
                link.sock.sendall(payload)
            except TimeoutError:
                link.close()
                raise NotDelivered(f"{self._authority} did not take the whole request in time", code="cut") from None
            except OSError:  # not all of it went out: a fresh connection may have it
                link.close()
            else:
                return link, monotonic() + seconds
        link = self._connect()
        deadline = monotonic() + seconds
        try:
            link.sock.settimeout(seconds)
            link.sock.sendall(payload)
        except OSError as error:
            link.close()
            if isinstance(error, ssl.SSLError):
                raise self._tls_alert(error) from None
            raise NotDelivered(f"{self._authority} did not take the whole request: {_name(error)}", code="cut") from None
        return link, deadline

    def _take(self) -> _Link | None:
        """The idle connection used last: the others grow old and are closed when they are met."""
        while True:
            try:
                link = self._idle.pop()
            except IndexError:
                return None
            if link.fresh(self._max_idle):
                return link
            link.close()

    def _connect(self) -> _Link:
        if self._closed:
            raise NotDelivered("this channel is closed", code="closed", reached=False)
        sock: socket.socket | None = None
        try:
            sock = socket.create_connection((self.host, self.port), self._connect_timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self.host)
            return _Link(sock)
        except ssl.SSLCertVerificationError as error:
            raise Misconfigured(
                f"the certificate of {self._authority} is not trusted: {error.verify_message}", code="tls_untrusted"
            ) from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError, TimeoutError, socket.gaierror) as error:
            raise self._unreachable(error) from None
        except ssl.SSLError as error:
            raise Misconfigured(f"no TLS with {self._authority}: {_name(error)}", code="tls") from None
        except OSError as error:
            raise self._unreachable(error) from None
        finally:
            if sock is not None and not isinstance(sock, ssl.SSLSocket) and self._tls is not None:
                sock.close()  # the handshake failed

    def _unreachable(self, error: OSError) -> NotDelivered:
        return NotDelivered(f"{self._authority} cannot be reached: {_name(error)}", code="unreachable", reached=False)

    def _tls_alert(self, error: ssl.SSLError) -> Misconfigured | OutcomeUnknown:
        """Our certificate was not taken (then nothing was read), or the session broke."""
        if any(word in (error.reason or "") for word in _REJECTED):
            return Misconfigured(f"{self._authority} does not take our certificate: {_name(error)}", code="tls_rejected")
        return OutcomeUnknown(f"{self._authority} broke the TLS session: {_name(error)}", code="answer_lost")

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


def tls_context(ca_file: Path | None = None, cert_file: Path | None = None, key_file: Path | None = None) -> ssl.SSLContext:
    """A client's TLS >= 1.2 context; `ca_file`: the only authorities trusted (else the system's); cert and key: mutual TLS."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert_file:
            context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(f"the TLS files cannot be used ({_name(error)}): {ca_file or cert_file}", code="tls_files") from None
    return context


def _split(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise Misconfigured(
            "url: write http://host[:port]/path or https://host[:port]/path, without user, query or fragment", code="url"
        )
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=-._~")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80), path


def _name(error: OSError) -> str:
    """A word for people that holds nothing of what was sent: `ConnectionRefusedError`, `SSLError WRONG_VERSION_NUMBER`."""
    reason = getattr(error, "reason", None)
    return f"{type(error).__name__} {reason}" if isinstance(reason, str) else type(error).__name__
