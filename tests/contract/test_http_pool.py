"""The HTTP client against servers that do each wrong thing once: which error, and whether a request was doubled."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown
from hub.simulator.certificates import Authority
from hub.transport.http_pool import HttpPool, tls_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def server(*scripts: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[bytes]]]:
    """One connection after the other, each played by its script; what was read is noted."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def play() -> None:
        for script in scripts:
            try:
                sock, _ = listener.accept()
            except OSError:  # the test is over
                return
            with sock:
                sock.settimeout(5)
                try:
                    script(Noting(sock, seen))  # type: ignore[arg-type]
                except OSError:
                    pass

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/base", seen
    finally:
        try:
            listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake accept()
        except OSError:
            pass
        listener.close()
        thread.join(6)


class Noting:
    """A socket that notes each request."""

    def __init__(self, sock: socket.socket, seen: list[bytes]) -> None:
        self._sock, self._seen = sock, seen
        self.sendall, self.close = sock.sendall, sock.close

    def recv(self, size: int) -> bytes:
        data = self._sock.recv(size)
        if data:
            self._seen.append(data)
        return data


def answer(*parts: bytes, pause: float = 0.0, times: int = 1) -> Callable[[socket.socket], None]:
    def script(sock: socket.socket) -> None:
        for _ in range(times):
            if not sock.recv(65536):
                return
            for part in parts:
                sock.sendall(part)
                time.sleep(pause)

    return script


def test_a_connection_closed_while_idle_is_replaced_and_nothing_is_sent_twice() -> None:
    with server(answer(OK), answer(OK)) as (url, seen):
        pool = HttpPool(url, timeout=2)
        assert pool.request("POST", "/a", {}, b"1").body == b"ok"
        time.sleep(0.05)
        assert pool.request("POST", "/b", {}, b"2").body == b"ok"
        pool.close()
    assert [data.split(b" ")[1] for data in seen] == [b"/base/a", b"/base/b"]


def test_a_connection_closed_after_our_request_leaves_the_outcome_open_and_sends_nothing_again() -> None:
    def once_then_gone(sock: socket.socket) -> None:
        answer(OK)(sock)
        sock.recv(65536)

    with server(once_then_gone, answer(OK)) as (url, seen):
        pool = HttpPool(url, timeout=2)
        pool.request("POST", "/a", {})
        with pytest.raises(OutcomeUnknown):
            pool.request("POST", "/b", {})
        assert pool.request("POST", "/c", {}).status == 200
        pool.close()
    assert [data.split(b" ")[1] for data in seen] == [b"/base/a", b"/base/b", b"/base/c"]


def test_an_answer_that_trickles_ends_at_the_deadline() -> None:
    with server(answer(*[bytes([byte]) for byte in OK], pause=0.1)) as (url, _):
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown) as caught:
            HttpPool(url, timeout=0.5).request("POST", "", {})
        assert caught.value.code == "no_answer"
        assert 0.4 < time.monotonic() - began < 1.0


def test_an_answer_in_one_byte_packets_is_an_answer() -> None:
    with server(answer(*[bytes([byte]) for byte in OK])) as (url, _):
        assert HttpPool(url, timeout=2).request("GET", "", {}).body == b"ok"


def test_an_answer_that_is_too_large_is_no_answer() -> None:
    with server(answer(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000)) as (url, _):
        with pytest.raises(OutcomeUnknown) as caught:
            HttpPool(url, timeout=2, limit=1000).request("GET", "", {})
        assert caught.value.code == "answer_garbled"


def test_an_unsolicited_byte_spoils_an_idle_connection() -> None:
    def twice(sock: socket.socket) -> None:
        answer(OK)(sock)
        time.sleep(0.05)
        sock.sendall(OK)  # an answer that nobody asked for
        time.sleep(0.3)

    with server(twice, answer(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")) as (url, _):
        pool = HttpPool(url, timeout=2)
        pool.request("POST", "", {})
        time.sleep(0.15)
        assert pool.request("POST", "", {}).status == 201


def test_a_large_request_that_is_cut_off_was_not_acted_on() -> None:
    with server(lambda sock: sock.close()) as (url, _), pytest.raises(HubError) as caught:
        HttpPool(url, timeout=2).request("POST", "", {}, b"x" * 50_000_000)
    assert type(caught.value) is NotDelivered
    assert caught.value.reached


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with server(answer(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")) as (url, seen):
        assert HttpPool(url, timeout=2).request("GET", "", {}).status == 302
    assert len(seen) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://no-such-host.invalid/"])
def test_nobody_there_is_not_delivered_and_not_reached(url: str) -> None:
    with pytest.raises(NotDelivered) as caught:
        HttpPool(url, timeout=1, connect_timeout=1).request("GET", "", {})
    assert not caught.value.reached


def test_after_close_nothing_is_sent() -> None:
    pool = HttpPool("http://127.0.0.1:1/")
    pool.close()
    with pytest.raises(NotDelivered) as caught:
        pool.request("GET", "", {})
    assert caught.value.code == "closed"


def test_tls_files_that_are_none_stop_the_channel(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for file in (broken, tmp_path / "absent.pem"):
        with pytest.raises(Misconfigured) as caught:
            tls_context(file)
        assert caught.value.code == "tls_files"


def test_plain_http_where_tls_is_meant_stops_the_channel(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Authority().pem)
    with server(answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as (url, _):
        with pytest.raises((Misconfigured, NotDelivered)) as caught:
            HttpPool(url.replace("http:", "https:"), timeout=1, tls=tls_context(ca)).request("GET", "", {})
        assert caught.value.code in ("tls", "unreachable")
