"""The client's side of HTTP/1.1: whatever the packets, the same answer; whatever is not clearly framed, garbled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.http1 import AnswerReader, GarbledError, HttpAnswer, request_bytes

LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\n"


def read(data: bytes, *, method: str = "POST", step: int = 10**6, close: bool = False) -> HttpAnswer | None:
    reader = AnswerReader(method, LIMIT)
    for at in range(0, len(data), step):
        answer = reader.feed(data[at : at + step])
        if answer is not None:
            return answer
    return reader.end() if close else None


@pytest.mark.parametrize(
    ("data", "status", "body", "alive"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 204\r\n\r\n", 204, b"", True),
        (OK + b"Content-Length: 3\r\n\r\nabc", 200, b"abc", True),
        (OK + b"content-length:3 \r\n\r\nabc", 200, b"abc", True),
        (OK + b"Content-Length: 3, 3\r\n\r\nabc", 200, b"abc", True),
        (OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n", 200, b"", False),
        (OK + b"Content-Length: 1\r\n\r\nabc", 200, b"a", False),  # more than it said: out of step, never used again
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, b"a", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na", 200, b"a", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", 200, b"a", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 x\r\n\r\n", 204, b"", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 200, b"abcde", True),
        (OK + b"Transfer-Encoding: Chunked\r\nContent-Length: 9\r\n\r\n0\r\nTrailer: x\r\n\r\n", 200, b"", True),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 10**6])
def test_an_answer_is_read_whatever_the_packets(data: bytes, status: int, body: bytes, alive: bool, step: int) -> None:
    answer = read(data, step=step)
    assert answer is not None
    assert (answer.status, answer.body) == (status, body)
    if step == 10**6:
        assert answer.keep_alive is alive


def test_an_answer_without_length_ends_with_the_connection() -> None:
    answer = read(OK + b"\r\nabc", close=True)
    assert answer is not None
    assert (answer.body, answer.keep_alive) == (b"abc", False)


def test_a_head_request_has_no_body() -> None:
    answer = read(OK + b"Content-Length: 50\r\n\r\n", method="HEAD")
    assert answer is not None
    assert answer.body == b""


def test_repeated_headers_are_joined_and_cookies_kept_apart() -> None:
    answer = read(OK + b"Set-Cookie: a=1, x\r\nVia: 1\r\nset-cookie: b=2\r\nvia: 2\r\nContent-Length: 0\r\n\r\n")
    assert answer is not None
    assert answer.headers["via"] == "1, 2"
    assert answer.headers["set-cookie"].split("\n") == ["a=1, x", "b=2"]


@pytest.mark.parametrize(
    "data",
    [
        b"garbage",
        b"\x00\xff garbage \xfe\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        b"HTTP/1.1 099 x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"bad name: x\r\n\r\n",
        OK + b"Content-Length: 3, 4\r\n\r\nabc",
        OK + b"Content-Length: -3\r\n\r\nabc",
        OK + b"Content-Length: 0x3\r\n\r\nabc",
        OK + b"Content-Length: 1001\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 2000,
        OK + b"\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 " + b"x" * 70000,
    ],
)
def test_what_is_not_clearly_framed_is_garbled(data: bytes) -> None:
    with pytest.raises(GarbledError):
        read(data)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 20", OK, OK + b"Content-Length: 3\r\n\r\nab"])
def test_a_connection_that_ends_early_gives_no_answer(data: bytes) -> None:
    with pytest.raises(GarbledError):
        read(data, close=True)


@given(st.binary(max_size=400))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    for start in (b"", OK, OK + b"Transfer-Encoding: chunked\r\n\r\n"):
        try:
            read(start + data, close=True)
        except GarbledError:
            pass


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.integers(1, 30))
def test_chunks_come_together(chunks: list[bytes], step: int) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    answer = read(OK + b"Transfer-Encoding: chunked\r\n\r\n" + body, step=step)
    assert answer is not None
    assert answer.body == b"".join(chunks)


def test_a_request_is_framed_by_its_length() -> None:
    data = request_bytes("POST", "/hooks", "crm.example:8443", {"X-One": "1"}, b"{}")
    assert data == b"POST /hooks HTTP/1.1\r\nHost: crm.example:8443\r\nX-One: 1\r\nContent-Length: 2\r\n\r\n{}"
    assert b"Content-Length" not in request_bytes("GET", "/", "h", {}, b"")


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/a b", {}),
        ("/a\r\nX: y", {}),
        ("a", {}),
        ("/", {"X": "a\r\nY: b"}),
        ("/", {"X": "a\nb"}),
        ("/", {"X\r\nY": "b"}),
        ("/", {"X": "홍"}),
    ],
)
def test_no_value_makes_a_header(target: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        request_bytes("POST", target, "h", headers, b"")
