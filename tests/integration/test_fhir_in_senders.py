"""Senders that misbehave, on a real socket: what is cut, slow, endless or forbidden is not taken, and others are served."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from tests.fhir_kit import BASE, FhirKit, make_fhir_kit

HONG: dict[str, Any] = {"resourceType": "Patient", "id": "p1", "meta": {"versionId": "1"}, "name": [{"text": "홍길동"}]}
BODY = json.dumps(HONG).encode()


class Served:
    """The hub's web on a port of its own."""

    def __init__(self, fhir: FhirKit) -> None:
        self.fhir = fhir
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(fhir.app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)

    def begin(self, *, token: str = "", length: int | None = None, extra: str = "") -> socket.socket:
        """A PUT whose head is sent."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        size = "" if length is None else f"Content-Length: {length}\r\n"
        sock.sendall(
            f"PUT {BASE}/Patient/p1 HTTP/1.1\r\nHost: hub\r\nContent-Type: application/fhir+json\r\n"
            f"Authorization: Bearer {token or self.fhir.tokens['sender']}\r\n{size}{extra}\r\n".encode()
        )
        return sock

    def put(self) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.fhir.tokens['sender']}", "Content-Type": "application/fhir+json"}
        return httpx.put(f"http://127.0.0.1:{self.port}{BASE}/Patient/p1", content=BODY, headers=headers, timeout=10)


def status(sock: socket.socket) -> int:
    """Of the answer; 0 where the connection ended without one."""
    with sock:
        try:
            head = sock.recv(4096)
        except ConnectionError:
            return 0
    return int(head.split(b" ", 2)[1]) if head else 0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    fhir = make_fhir_kit(tmp_path_factory.mktemp("hub"), more="body_seconds = 0.5")
    made = Served(fhir)
    yield made
    made.stop()
    fhir.kit.close()


def test_a_body_that_is_cut_is_not_taken(served: Served) -> None:
    with served.begin(length=len(BODY) + 100) as sock:
        sock.sendall(BODY)
    time.sleep(0.2)
    assert served.fhir.outcomes() == []


def test_a_body_that_does_not_come_is_given_up(served: Served) -> None:
    sock = served.begin(length=1000)
    began = time.monotonic()
    sock.sendall(BODY[:10])
    assert status(sock) == 408
    assert time.monotonic() - began < 5
    assert served.fhir.outcomes() == []


def test_a_gigabyte_is_refused_before_it_is_read(served: Served) -> None:
    assert status(served.begin(length=1 << 30)) == 413


def test_an_endless_body_ends_at_the_limit(served: Served) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sock = served.begin(extra="Transfer-Encoding: chunked\r\n")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    try:
        for _ in range(4000):  # 256 MB
            sock.sendall(chunk)
    except (ConnectionError, TimeoutError):
        pass
    else:
        pytest.fail("it was read to its end")
    assert status(sock) in (0, 413)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 64
    assert served.fhir.outcomes() == []


def test_a_wrong_token_is_refused_before_the_body(served: Served) -> None:
    assert status(served.begin(token="hub_nobody", length=1000)) == 401
    assert status(served.begin(token=served.fhir.stranger, length=1000)) == 403


def test_garbage_is_answered_and_the_next_is_served(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as sock:
        sock.sendall(b"MSH|^~\\&|OCS\r\x0b\x1c\r\n\r\n")
        assert b"400" in sock.recv(200)
    assert served.put().status_code == 200


def test_an_answer_that_got_lost_is_given_again_and_nothing_is_done_twice(served: Served) -> None:
    served.put()
    before = len(served.fhir.outcomes())
    with served.begin(length=len(BODY)) as sock:
        sock.sendall(BODY)  # and gone, without reading the answer
    assert served.put().json()["issue"][0]["diagnostics"] == "known already"
    assert len(served.fhir.outcomes()) == before


def test_a_slow_sender_holds_up_nobody_else(served: Served) -> None:
    with served.begin(length=1000), served.begin(length=1000), served.begin(length=1000):
        began = time.monotonic()
        assert served.put().status_code == 200
        assert time.monotonic() - began < 3
