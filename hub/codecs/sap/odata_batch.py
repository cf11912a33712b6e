"""OData V2 `$batch`: many requests in one, and their answers, as multipart/mixed. Bytes and texts only; bounded.

Sources: OData V2 "Batch Processing" (a query is a part `application/http`; a change set is a part `multipart/mixed` of such
parts and is done whole or not at all; answers come in the order of what was asked, a change set that failed gives one answer
in place of its part), RFC 2046 §5.1.1 (boundaries: 1 to 70 characters, CRLF before a delimiter belongs to it), RFC 9112
(the request and status lines inside).

What cannot be read whole is not guessed at: an item of `Answers` that was cut off or is no HTTP answer is None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar, cast

from hub.domain.errors import Unreadable

T = TypeVar("T")
MOST_ITEMS = 1000  # of a batch: requests and change sets
MOST_PARTS = 1000  # of a change set
MOST_HEADERS = 64
LARGEST_HEAD = 64 * 1024  # bytes of a part's headers
CRLF = b"\r\n"
_BOUNDARY = re.compile(r"""multipart/mixed\s*;(?:.{0,200};)?\s*boundary\s*=\s*(?:"([^"\r\n]{1,70})"|([^\s";,]{1,70}))""", re.I)
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]{0,200})?\Z")
_REQUEST = re.compile(rb"([A-Z]{3,10}) ([!-~]{1,65536}) HTTP/1\.[01]\Z")
_TARGET = re.compile(r"[!-~]+\Z")  # RFC 9112 §3.2: no blank, nothing that ends the line
_VALUE = re.compile(r"[ -~]*\Z")


@dataclass(frozen=True, slots=True)
class Request:
    """One request in a batch. `target`: relative to the service's root, percent-encoded; `headers`: names as sent."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_id: str = ""

    @property
    def payload(self) -> bytes:
        """As it stands in the part: request line, headers, body."""
        if not _TARGET.match(self.target) or not all(_VALUE.match(value) for value in self.headers.values()):
            raise ValueError("a target or header of a batch holds what would end its line")
        headers = {"Accept": "application/json", **self.headers}
        if self.body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode("ascii") + CRLF + CRLF + self.body


Item = Request | Sequence[Request]  # one that only asks, or a change set


class Answer(NamedTuple):
    """One HTTP answer inside. `headers`: names in lower case; `content_id`: which request of the change set it answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    content_id: str = ""


class Answers(NamedTuple):
    """What came back, item by item in the order asked. `whole`: the closing boundary was there, nothing is missing."""

    items: list[list[Answer] | None]
    whole: bool


# writing


def content_type(boundary: str) -> str:
    """The request's Content-Type."""
    return f"multipart/mixed; boundary={boundary}"


def dump(items: Iterable[Item], boundary: str) -> bytes:
    """A batch's body. `boundary` must be random, so that it stands in no body; change sets get `<boundary>-<n>`."""
    return _dump(items, boundary, Request, _part)


def dump_answers(items: Iterable[Answer | Sequence[Answer]], boundary: str) -> bytes:
    """A batch's answer, as a service gives it: an Answer for a query or a failed change set, several for one that was done."""
    return _dump(items, boundary, Answer, _answer_part)


def _dump(items: Iterable[T | Sequence[T]], boundary: str, alone: type[T], part: Callable[[T], bytes]) -> bytes:
    parts = []
    for number, item in enumerate(items):
        if isinstance(item, alone):
            parts.append(part(item))
        else:
            inner = f"{boundary}-{number}"
            head = f"Content-Type: {content_type(inner)}".encode("ascii")
            parts.append(head + CRLF + CRLF + _multipart([part(one) for one in cast(Sequence[T], item)], inner))
    return _multipart(parts, boundary)


def _part(request: Request) -> bytes:
    head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n"
    head += f"Content-ID: {request.content_id}\r\n" if request.content_id else ""
    return head.encode("ascii") + CRLF + request.payload


def _multipart(parts: Sequence[bytes], boundary: str) -> bytes:
    mark = f"--{boundary}".encode("ascii")
    return b"".join(mark + CRLF + part + CRLF for part in parts) + mark + b"--" + CRLF


def _answer_part(answer: Answer) -> bytes:
    outer = {"Content-Type": "application/http", "Content-Transfer-Encoding": "binary"}
    outer |= {"Content-ID": answer.content_id} if answer.content_id else {}
    inner = {**answer.headers, "Content-Length": str(len(answer.body))}
    lines = [
        *(f"{k}: {v}" for k, v in outer.items()),
        "",
        f"HTTP/1.1 {answer.status} X",
        *(f"{k}: {v}" for k, v in inner.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + CRLF + CRLF + answer.body


def _lines(headers: Mapping[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in headers.items()]


# reading


def parse_answers(header: str, body: bytes) -> Answers:
    """The answer to a batch. `header`: its Content-Type. Raises Unreadable where it is no multipart/mixed at all."""
    pieces, whole = _split(body, _boundary(header), MOST_ITEMS)
    return Answers([_item(piece) for piece in pieces], whole)


def _item(piece: bytes) -> list[Answer] | None:
    """One answer, or those of a change set; None where anything of it cannot be trusted."""
    try:
        headers, rest = _headers(piece)
        kind = headers.get("content-type", "")
        if not kind.lower().startswith("multipart/"):
            return [_answer(headers, rest)]
        inner, whole = _split(rest, _boundary(kind), MOST_PARTS)
        return [_answer(*_headers(one)) for one in inner] if whole else None
    except Unreadable:
        return None


def _answer(outer: Mapping[str, str], rest: bytes) -> Answer:
    line, _, after = rest.partition(CRLF)
    found = _STATUS.match(line.rstrip())
    if not outer.get("content-type", "").lower().startswith("application/http") or not found:
        raise Unreadable("a part of the batch is no HTTP answer", code="not_multipart")
    headers, body = _headers(after)
    return Answer(int(found[1]), headers, _sized(headers, body), outer.get("content-id") or headers.get("content-id", ""))


def parse_requests(header: str, body: bytes) -> list[Request | list[Request]]:
    """A batch as a service reads it. Raises Unreadable where any of it is not well formed."""
    pieces, whole = _split(body, _boundary(header), MOST_ITEMS)
    if not whole:
        raise Unreadable("the batch has no end", code="not_multipart")
    found: list[Request | list[Request]] = []
    for piece in pieces:
        headers, rest = _headers(piece)
        kind = headers.get("content-type", "")
        if kind.lower().startswith("multipart/"):
            inner, whole = _split(rest, _boundary(kind), MOST_PARTS)
            if not whole:
                raise Unreadable("a change set has no end", code="not_multipart")
            found.append([_request(*_headers(one)) for one in inner])
        else:
            found.append(_request(headers, rest))
    return found


def _request(outer: Mapping[str, str], rest: bytes) -> Request:
    line, _, after = rest.partition(CRLF)
    found = _REQUEST.match(line)
    if not outer.get("content-type", "").lower().startswith("application/http") or not found:
        raise Unreadable("a part of the batch is no HTTP request", code="not_multipart")
    headers, body = _headers(after)
    return Request(
        found[1].decode("ascii"), found[2].decode("ascii"), headers, _sized(headers, body), outer.get("content-id", "")
    )


def _boundary(header: str) -> str:
    found = _BOUNDARY.match(header[:1024])
    boundary = (found[1] or found[2]).rstrip() if found else ""
    if not boundary or not boundary.isascii():
        raise Unreadable("not multipart/mixed with a boundary", code="not_multipart")
    return boundary


def _split(body: bytes, boundary: str, most: int) -> tuple[list[bytes], bool]:
    """The pieces between delimiters, and whether the closing one was there. A piece without an end is left out."""
    name = re.escape(boundary.encode("ascii"))
    mark = rb"(?:\A|\r\n)--" + name + rb"(?:(--)[ \t]{0,64}(?=\r\n|\Z)|[ \t]{0,64}(?=\r\n))"
    pieces: list[bytes] = []
    begin: int | None = None
    for found in re.finditer(mark, body):
        if begin is not None:
            if len(pieces) == most:
                raise Unreadable(f"more than {most} parts", code="too_large")
            pieces.append(body[begin : max(begin, found.start())])
        if found[1]:
            return pieces, True
        begin = found.end() + len(CRLF)
    return pieces, False


def _headers(piece: bytes) -> tuple[dict[str, str], bytes]:
    """The lines up to the first empty one, and what comes after it. Raises Unreadable."""
    block, _, rest = (b"", CRLF, piece[len(CRLF) :]) if piece.startswith(CRLF) else piece.partition(CRLF + CRLF)
    lines = block.removesuffix(CRLF).split(CRLF) if block and len(block) <= LARGEST_HEAD else []
    if len(lines) > MOST_HEADERS or (block and not lines) or not all(b":" in line for line in lines):
        raise Unreadable("the headers of a part cannot be read", code="not_multipart")
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}, rest


def _sized(headers: Mapping[str, str], body: bytes) -> bytes:
    """As much as Content-Length says; less than that is a body cut off. Some services count wrongly by the final CRLF."""
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 12):
        return body.removesuffix(CRLF)
    if int(length) > len(body) + len(CRLF):
        raise Unreadable("a part is shorter than it says", code="not_multipart")
    return body[: int(length)]
