"""One HTTP/1.1 target: where it is, how a connection to it is made, and what each failure means (ADR 0040).

    no connection, no TLS session            -> NotDelivered(reached=False)   certificate not trusted -> Misconfigured
    not all of the request could be written  -> once more on a fresh connection, then NotDelivered: an incomplete request
                                                (RFC 9112 §8) cannot have been acted on
    written, no or a garbled answer          -> OutcomeUnknown
    an answer                                -> returned, whatever its status

Said here once for both clients: http_pool (blocking, a thread a request) and http_lines (one thread, many requests).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from hub.codecs.http1 import GarbledError, request_start
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown

# What a peer's TLS alert says when it did not take our certificate: with TLS 1.3 it comes with the first read
_REJECTED = (
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "ACCESS_DENIED",
)


class HttpPeer:
    """Thread-safe: nothing in it changes but `closed`."""

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
        self.authority = name if self.port == {"http": 80, "https": 443}[self.scheme] else f"{name}:{self.port}"
        self.connect_timeout, self.timeout, self.max_idle, self.limit = connect_timeout, timeout, max_idle, limit
        self.closed = False

    def start(self, method: str, suffix: str, headers: Mapping[str, str]) -> bytes:
        """A request up to these headers, each line ended. Misconfigured where one of them cannot be written."""
        try:
            return request_start(method, (self.path + suffix) or "/", self.authority, headers)
        except ValueError as error:
            raise Misconfigured(f"the request to {self.authority} cannot be written: {error}", code="request") from None

    def connect(self) -> socket.socket:
        """A connection with its TLS session. Blocks, for `connect_timeout` a step and as long as names take to resolve."""
        if self.closed:
            raise NotDelivered("this channel is closed", code="closed", reached=False)
        sock: socket.socket | None = None
        try:
            sock = socket.create_connection((self.host, self.port), self.connect_timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self.host)
            return sock
        except ssl.SSLCertVerificationError as error:
            raise Misconfigured(
                f"the certificate of {self.authority} is not trusted: {error.verify_message}", code="tls_untrusted"
            ) from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError, TimeoutError, socket.gaierror) as error:
            raise self._unreachable(error) from None
        except ssl.SSLError as error:
            raise Misconfigured(f"no TLS with {self.authority}: {_name(error)}", code="tls") from None
        except OSError as error:
            raise self._unreachable(error) from None
        finally:
            if sock is not None and not isinstance(sock, ssl.SSLSocket) and self._tls is not None:
                sock.close()  # the handshake failed

    # -- what a failure means -------------------------------------------------------------------------------------

    def cut(self, error: OSError) -> HubError:
        """Not all of the request could be written."""
        if isinstance(error, TimeoutError):
            return NotDelivered(f"{self.authority} did not take the whole request in time", code="cut")
        if isinstance(error, ssl.SSLError):
            return self._tls_alert(error)
        return NotDelivered(f"{self.authority} did not take the whole request: {_name(error)}", code="cut")

    def lost(self, error: OSError | GarbledError, seconds: float) -> HubError:
        """All of it was written, and no good answer came back within `seconds`."""
        if isinstance(error, GarbledError):
            return OutcomeUnknown(f"{self.authority}: {error}", code="answer_garbled")
        if isinstance(error, TimeoutError):
            return OutcomeUnknown(f"{self.authority} did not answer within {seconds:g} s", code="no_answer")
        if isinstance(error, ssl.SSLError):
            return self._tls_alert(error)
        return OutcomeUnknown(f"{self.authority} broke the connection: {_name(error)}", code="answer_lost")

    def _unreachable(self, error: OSError) -> NotDelivered:
        return NotDelivered(f"{self.authority} cannot be reached: {_name(error)}", code="unreachable", reached=False)

    def _tls_alert(self, error: ssl.SSLError) -> Misconfigured | OutcomeUnknown:
        """Our certificate was not taken (then nothing was read), or the session broke."""
        if any(word in (error.reason or "") for word in _REJECTED):
            return Misconfigured(f"{self.authority} does not take our certificate: {_name(error)}", code="tls_rejected")
        return OutcomeUnknown(f"{self.authority} broke the TLS session: {_name(error)}", code="answer_lost")


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
