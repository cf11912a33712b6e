"""HTTP/1.1 as a client needs it: a request to bytes, bytes to an answer. No sockets, no clock (RFC 9112).

Own code because `http.client` reads headers with the e-mail parser and cannot keep a deadline over a whole answer
(ADR 0040). Strict where a lenient reader would guess: an answer that is not clearly framed is `GarbledError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LENGTH = re.compile(r"[0-9]{1,15}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
MAX_HEAD = 64 * 1024


class GarbledError(ValueError):
    """What the peer sent is not an HTTP/1.1 answer, is larger than allowed or stops in the middle."""


@dataclass(slots=True)
class HttpAnswer:
    """`headers`: names in lower case; repeated ones joined with ", ", `set-cookie` with a line feed."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool


def request_start(method: str, target: str, host: str, headers: Mapping[str, str]) -> bytes:
    """The request line and these headers, each line ended. ValueError where a value would break the framing."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items()), ""]
    start = "\r\n".join(lines)
    breaks = len(lines) - 1
    if start.count("\r") != breaks or start.count("\n") != breaks or " " in target or not target.startswith("/"):
        raise ValueError("a header or the path holds a line break or a blank")
    return start.encode("ascii")


def framed(start: bytes, method: str, body: bytes) -> bytes:
    """The whole request: its start, the length of its body (RFC 9112 §6.2), its body."""
    if body or method in ("POST", "PUT", "PATCH"):
        return b"%sContent-Length: %d\r\n\r\n%s" % (start, len(body), body)
    return start + b"\r\n"


def request_bytes(method: str, target: str, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """One request. ValueError where a value would break the framing."""
    return framed(request_start(method, target, host, headers), method, body)


@lru_cache(maxsize=64)  # a server says the same again and again: its Date changes once a second
def _head(head: bytes) -> tuple[int, Mapping[str, str], bool]:
    """Status, headers and whether the connection stays, of the bytes before the empty line. Raises GarbledError."""
    status_line, _, rest = head.partition(b"\r\n")
    match = _STATUS.fullmatch(status_line)
    if match is None or len(head) > MAX_HEAD:
        raise GarbledError("not an HTTP/1 status line")
    headers: dict[str, str] = {}
    for line in rest.decode("latin-1").split("\r\n") if rest else ():
        name, colon, value = line.partition(":")
        if not colon or _NAME.fullmatch(name) is None:
            raise GarbledError("a header line is malformed")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}{chr(10) if name == 'set-cookie' else ', '}{value}" if name in headers else value
    connection = headers.get("connection", "").lower()
    alive = "close" not in connection and (match[1] == b"1" or "keep-alive" in connection)
    return int(match[2]), headers, alive


class AnswerReader:
    """Reads one answer from bytes as they come: `feed` until it gives an answer, `end` when the peer closed."""

    __slots__ = ("_body_at", "_buffer", "_chunks", "_head", "_limit", "_method", "_need")

    def __init__(self, method: str, limit: int) -> None:
        """`limit`: bytes of body that are allowed."""
        self._method, self._limit = method, limit
        self._buffer = bytearray()
        self._head: tuple[int, Mapping[str, str], bool] | None = None
        self._body_at = 0
        self._need = -1  # length of the body; -1 chunked, -2 until the peer closes
        self._chunks = bytearray()

    @property
    def started(self) -> bool:
        """Whether the peer said anything at all."""
        return bool(self._buffer) or self._head is not None

    def feed(self, data: bytes) -> HttpAnswer | None:
        """The answer once it is complete. Raises GarbledError."""
        self._buffer += data
        while self._head is None:
            at = self._buffer.find(b"\r\n\r\n")
            if at < 0:
                self._check_beginning()
                return None
            self._read_head(bytes(self._buffer[:at]), at + 4)
        if self._need == -1:
            return self._read_chunks()
        size = len(self._buffer) - self._body_at
        if size > self._limit:
            raise GarbledError("the answer is larger than allowed")
        if self._need < 0 or size < self._need:
            return None
        return self._answer(bytes(self._buffer[self._body_at : self._body_at + self._need]), size == self._need)

    def end(self) -> HttpAnswer:
        """The peer closed: the answer where closing is its end (RFC 9112 §6.3), else GarbledError."""
        if self._head is None or self._need != -2:
            raise GarbledError("the connection ended in the middle of the answer" if self.started else "closed without an answer")
        return self._answer(bytes(self._buffer[self._body_at :]), False)

    def _check_beginning(self) -> None:
        if len(self._buffer) > MAX_HEAD:
            raise GarbledError("the answer's head is too large")
        if not b"HTTP/1.".startswith(bytes(self._buffer[:7])):
            raise GarbledError("not an HTTP/1 answer")

    def _read_head(self, head: bytes, body_at: int) -> None:
        status, headers, alive = _head(head)
        if 100 <= status < 200:  # interim (RFC 9110 §15.2): the final answer follows; 101 was never asked for
            if status == 101:
                raise GarbledError("switched protocols without being asked")
            del self._buffer[:body_at]
            return
        self._need = self._body_length(status, headers)
        self._head, self._body_at = (status, headers, alive), body_at

    def _body_length(self, status: int, headers: Mapping[str, str]) -> int:
        """RFC 9112 §6.3, in its order."""
        if self._method == "HEAD" or status in (204, 304):
            return 0
        coding = headers.get("transfer-encoding")
        if coding is not None:
            if coding.lower() != "chunked":
                raise GarbledError("a transfer coding other than chunked")
            return -1
        length = headers.get("content-length")
        if length is None:
            return -2
        values = {part.strip() for part in length.split(",")}
        value = values.pop()
        if values or _LENGTH.fullmatch(value) is None:
            raise GarbledError("Content-Length is malformed")
        if int(value) > self._limit:
            raise GarbledError("the answer is larger than allowed")
        return int(value)

    def _read_chunks(self) -> HttpAnswer | None:
        """RFC 9112 §7.1; trailers are read and dropped."""
        while True:
            line_end = self._buffer.find(b"\r\n", self._body_at)
            if line_end < 0:
                if len(self._buffer) - self._body_at > 1024:
                    raise GarbledError("a chunk size line is too long")
                return None
            match = _CHUNK.fullmatch(bytes(self._buffer[self._body_at : line_end]))
            if match is None:
                raise GarbledError("a chunk size is malformed")
            size = int(match[1], 16)
            if len(self._chunks) + size > self._limit:
                raise GarbledError("the answer is larger than allowed")
            if size == 0:
                return self._end_of_chunks(line_end)
            start = line_end + 2
            if len(self._buffer) < start + size + 2:
                return None
            if self._buffer[start + size : start + size + 2] != b"\r\n":
                raise GarbledError("a chunk does not end where it said")
            self._chunks += self._buffer[start : start + size]
            del self._buffer[: start + size + 2]
            self._body_at = 0

    def _end_of_chunks(self, line_end: int) -> HttpAnswer | None:
        end = self._buffer.find(b"\r\n\r\n", line_end)
        if end < 0:
            if len(self._buffer) - line_end > MAX_HEAD:
                raise GarbledError("the trailers are too large")
            return None
        return self._answer(bytes(self._chunks), end + 4 == len(self._buffer))

    def _answer(self, body: bytes, clean: bool) -> HttpAnswer:
        assert self._head is not None
        status, headers, alive = self._head
        return HttpAnswer(status, headers, body, alive and clean)
