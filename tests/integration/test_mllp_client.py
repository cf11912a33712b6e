"""The sending end over real sockets: an answer is credited to its own message or to none."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hub.codecs.hl7v2 import ack, peek
from hub.codecs.mllp import Splitter, frame
from hub.domain.errors import NotDelivered, OutcomeUnknown, Refused
from hub.transport.mllp_client import MllpClient


def adt(control_id: str) -> bytes:
    return f"MSH|^~\\&|HUB|HOSP|OCS|HOSP|20261122090000||ADT^A08^ADT_A01|{control_id}|P|2.5\rPID|1||1\r".encode()


def aa(body: bytes, control_id: str = "", code: str = "AA") -> bytes:
    head = peek(body)
    return frame(ack.answer(head._replace(control_id=control_id or head.control_id), code, control_id="x", at="1"))


@contextmanager
def peer(behave: Callable[[socket.socket, bytes, int], None]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that calls `behave(connection, body, how many messages it has seen)`; yields its port and what it saw."""
    server = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        splitter = Splitter()
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                    for body in splitter.feed(data):
                        seen.append(body)
                        behave(connection, body, len(seen))
                except OSError:
                    return
                if not data:
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1], seen
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def client(port: int, **options) -> MllpClient:
    return MllpClient("127.0.0.1", port, **{"connect_seconds": 2, "answer_seconds": 0.5, **options})


def test_one_connection_serves_many_messages():
    connections = set()

    def behave(connection, body, _n):
        connections.add(connection)
        connection.sendall(aa(body))

    with peer(behave) as (port, seen):
        sender = client(port)
        for n in range(20):
            assert ack.acknowledged(sender.send(adt(f"m{n}"), f"m{n}")) == ("AA", f"m{n}")
        sender.close()
    assert (len(connections), len(seen)) == (1, 20)


def test_an_answer_in_one_byte_packets():
    def behave(connection, body, _n):
        for byte in aa(body):
            connection.sendall(bytes([byte]))

    with peer(behave) as (port, _):
        assert ack.acknowledged(client(port, answer_seconds=5).send(adt("1"), "1")) == ("AA", "1")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda body: aa(body, "another"), "wrong_answer"),
        (lambda body: frame(b"MSH|^~\\&|A\r"), "not_an_answer"),
        (lambda body: frame(b"what?"), "not_an_answer"),
        (lambda body: b"HTTP/1.1 400 Bad Request\r\n\r\n", "not_mllp"),
        (lambda body: b"", "no_answer"),
        (lambda body: aa(body)[:-8], "no_answer"),
    ],
)
def test_anything_but_our_answer_leaves_the_outcome_unknown_and_closes(answer, code):
    closed = threading.Event()

    def behave(connection, body, n):
        if n > 1:
            connection.sendall(aa(body))
            return
        connection.sendall(answer(body))
        connection.settimeout(3)
        if not connection.recv(1):
            closed.set()

    with peer(behave) as (port, _):
        sender = client(port)
        with pytest.raises(OutcomeUnknown) as caught:
            sender.send(adt("1"), "1")
        assert caught.value.code == code
        assert closed.wait(3)
        assert ack.acknowledged(sender.send(adt("2"), "2")) == ("AA", "2")  # a new connection


def test_a_late_answer_is_never_credited_to_the_next_message():
    def behave(connection, body, n):
        if n == 1:
            time.sleep(0.7)
        connection.sendall(aa(body))

    with peer(behave) as (port, _):
        sender = client(port)
        with pytest.raises(OutcomeUnknown):
            sender.send(adt("1"), "1")
        time.sleep(0.4)
        assert ack.acknowledged(sender.send(adt("2"), "2")) == ("AA", "2")


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_doubled_answer_spoils_the_connection_not_the_next_message(pause):
    def behave(connection, body, _n):
        connection.sendall(aa(body))
        time.sleep(pause)
        connection.sendall(aa(body))

    with peer(behave) as (port, seen):
        sender = client(port)
        answered = 0
        for n in range(20):
            try:
                assert ack.acknowledged(sender.send(adt(f"{n}"), f"{n}")) == ("AA", f"{n}")
                answered += 1
            except OutcomeUnknown:  # the second copy came just after the next message had gone out
                continue
            time.sleep(pause * 2)
        assert answered >= (20 if pause else 1)
    assert len(set(seen)) == len(seen) <= 20  # none was sent twice


def test_a_peer_that_closed_meanwhile_is_found_before_sending():
    def behave(connection, body, _n):
        connection.sendall(aa(body))
        connection.shutdown(socket.SHUT_RDWR)

    with peer(behave) as (port, seen):
        sender = client(port)
        for n in range(5):
            assert ack.acknowledged(sender.send(adt(f"{n}"), f"{n}")) == ("AA", f"{n}")
            time.sleep(0.05)
    assert len(seen) == 5


def test_a_peer_that_closes_instead_of_answering():
    with peer(lambda connection, _body, _n: connection.shutdown(socket.SHUT_RDWR)) as (port, seen):
        with pytest.raises(OutcomeUnknown) as caught:
            client(port).send(adt("1"), "1")
        assert caught.value.code == "closed"
        assert len(seen) == 1


def test_a_half_open_peer_is_given_up_in_time():
    with peer(lambda *_: None) as (port, _):
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown):
            client(port).send(adt("1"), "1")
        assert time.monotonic() - began < 2


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(NotDelivered) as caught:
        client(port).send(adt("1"), "1")
    assert caught.value.reached is False
    with pytest.raises(NotDelivered):
        client(port).ping()


def test_a_body_that_cannot_be_framed_is_not_sent():
    with peer(lambda *_: None) as (port, seen):
        with pytest.raises(Refused):
            client(port).send(b"MSH|^~\\&|\x1c", "1")
        assert seen == []
