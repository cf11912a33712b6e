"""The HTTP side of simulated peers: reads requests, writes answers; what a request does is left to subclasses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO

from hub.simulator.faults import Peer

MAX_BODY = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came. `headers`: names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class HttpPeer(Peer):
    """A peer that is asked over HTTP/1.1 (Content-Length only: that is what the hub's clients send)."""

    path = "/"

    @property
    def url(self) -> str:
        """Where it listens: what a channel's `url` says."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}{self.path}"

    @abstractmethod
    def answer(self, request: Request) -> bytes:
        """Act on one request; use `response`."""

    def read(self, stream: BinaryIO) -> Request | None:
        line = stream.readline(8192)
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (raw := stream.readline(65536)) not in (b"\r\n", b"\n", b""):
            name, _, value = raw.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        if length > MAX_BODY:
            return None
        body = stream.read(length)
        if len(body) < length:  # the sender died in the middle: nothing was asked of us
            return None
        return Request(method, target, headers, body)

    def act(self, request: Any) -> bytes:
        return self.answer(request)

    def refusal(self, _request: Any) -> bytes:
        return response(422, b'{"title":"refused"}')

    def busy(self, _request: Any) -> bytes:
        return response(503, b"", {"Retry-After": "7"})

    def wrong(self, _request: Any) -> bytes:
        """An answer of another protocol version: an interim answer that no final one follows."""
        return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\n"


_REASONS = {status.value: status.phrase for status in HTTPStatus}


def response(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """One answer's bytes."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}".rstrip(), f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
