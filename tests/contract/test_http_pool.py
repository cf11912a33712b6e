"""The HTTP client against servers that do each wrong thing once: which error, and whether a request was doubled."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.codecs.http1 import HttpAnswer, framed
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown
from hub.simulator.certificates import Authority
from hub.transport.http_lines import HttpLines
from hub.transport.http_peer import HttpPeer, tls_context
from hub.transport.http_pool import HttpPool


class Blocking(HttpPool):
    """The pool, asked for one request."""

    def __init__(self, peer: HttpPeer) -> None:
        super().__init__(peer)
        self._at = peer

    def ask(self, method: str, suffix: str, body: bytes = b"") -> HttpAnswer:
        return self.request(method, framed(self._at.start(method, suffix, {}), method, body))


class Driven:
    """The lines, driven until the one request that was begun has ended."""

    def __init__(self, peer: HttpPeer) -> None:
        self._peer, self._lines = peer, HttpLines[None](peer, 4)

    def ask(self, method: str, suffix: str, body: bytes = b"") -> HttpAnswer:
        self._lines.begin(None, method, framed(self._peer.start(method, suffix, {}), method, body))
        while not (ended := self._lines.turn()):
            select.select([self._lines], [], [], 0.02)
        ((_, came),) = ended
        if isinstance(came, HubError):
            raise came
        return came

    def close(self) -> None:
        self._peer.closed = True
        self._lines.close()


Client = type[Blocking] | type[Driven]


@pytest.fixture(params=[Blocking, Driven])
def client(request: pytest.FixtureRequest) -> Client:
    found: Client = request.param
    return found


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


def test_a_connection_closed_while_idle_is_replaced_and_nothing_is_sent_twice(client: Client) -> None:
    with server(answer(OK), answer(OK)) as (url, seen):
        pool = client(HttpPeer(url, timeout=2))
        assert pool.ask("POST", "/a", b"1").body == b"ok"
        time.sleep(0.05)
        assert pool.ask("POST", "/b", b"2").body == b"ok"
        pool.close()
    assert [data.split(b" ")[1] for data in seen] == [b"/base/a", b"/base/b"]


def test_a_connection_closed_after_our_request_leaves_the_outcome_open_and_sends_nothing_again(client: Client) -> None:
    def once_then_gone(sock: socket.socket) -> None:
        answer(OK)(sock)
        sock.recv(65536)

    with server(once_then_gone, answer(OK)) as (url, seen):
        pool = client(HttpPeer(url, timeout=2))
        pool.ask("POST", "/a")
        with pytest.raises(OutcomeUnknown):
            pool.ask("POST", "/b")
        assert pool.ask("POST", "/c").status == 200
        pool.close()
    assert [data.split(b" ")[1] for data in seen] == [b"/base/a", b"/base/b", b"/base/c"]


def test_an_answer_that_trickles_ends_at_the_deadline(client: Client) -> None:
    with server(answer(*[bytes([byte]) for byte in OK], pause=0.1)) as (url, _):
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown) as caught:
            client(HttpPeer(url, timeout=0.5)).ask("POST", "")
        assert caught.value.code == "no_answer"
        assert 0.4 < time.monotonic() - began < 1.0


def test_an_answer_in_one_byte_packets_is_an_answer(client: Client) -> None:
    with server(answer(*[bytes([byte]) for byte in OK])) as (url, _):
        assert client(HttpPeer(url, timeout=2)).ask("GET", "").body == b"ok"


def test_an_answer_that_is_too_large_is_no_answer(client: Client) -> None:
    with server(answer(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000)) as (url, _):
        with pytest.raises(OutcomeUnknown) as caught:
            client(HttpPeer(url, timeout=2, limit=1000)).ask("GET", "")
        assert caught.value.code == "answer_garbled"


def test_an_unsolicited_byte_spoils_an_idle_connection(client: Client) -> None:
    def twice(sock: socket.socket) -> None:
        answer(OK)(sock)
        time.sleep(0.05)
        sock.sendall(OK)  # an answer that nobody asked for
        time.sleep(0.3)

    with server(twice, answer(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")) as (url, _):
        pool = client(HttpPeer(url, timeout=2))
        pool.ask("POST", "")
        time.sleep(0.15)
        assert pool.ask("POST", "").status == 201


def test_a_large_request_that_is_cut_off_was_not_acted_on(client: Client) -> None:
    with server(lambda sock: sock.close()) as (url, _), pytest.raises(HubError) as caught:
        client(HttpPeer(url, timeout=2)).ask("POST", "", b"x" * 50_000_000)
    assert type(caught.value) is NotDelivered
    assert caught.value.reached


def test_a_redirect_is_an_answer_and_not_followed(client: Client) -> None:
    with server(answer(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")) as (url, seen):
        assert client(HttpPeer(url, timeout=2)).ask("GET", "").status == 302
    assert len(seen) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://no-such-host.invalid/"])
def test_nobody_there_is_not_delivered_and_not_reached(client: Client, url: str) -> None:
    with pytest.raises(NotDelivered) as caught:
        client(HttpPeer(url, timeout=1, connect_timeout=1)).ask("GET", "")
    assert not caught.value.reached


def test_after_close_nothing_is_sent() -> None:
    pool = Blocking(HttpPeer("http://127.0.0.1:1/"))
    pool.close()
    with pytest.raises(NotDelivered) as caught:
        pool.ask("GET", "")
    assert caught.value.code == "closed"


def test_tls_files_that_are_none_stop_the_channel(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for file in (broken, tmp_path / "absent.pem"):
        with pytest.raises(Misconfigured) as caught:
            tls_context(file)
        assert caught.value.code == "tls_files"


def test_plain_http_where_tls_is_meant_stops_the_channel(client: Client, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Authority().pem)
    with server(answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as (url, _):
        with pytest.raises((Misconfigured, NotDelivered)) as caught:
            client(HttpPeer(url.replace("http:", "https:"), timeout=1, tls=tls_context(ca))).ask("GET", "")
        assert caught.value.code in ("tls", "unreachable")
