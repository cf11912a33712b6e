"""One contract for every adapter that is sent to (hub/domain/ports, Listener), each in a whole hub, against senders.

Whatever a sender does: what it was told to be stored is stored, once; what it was not told, it may send again. A test module
takes it over with `from hub.testing.listened import *` beside its CASES.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.bootstrap import channels
from hub.domain.errors import Misconfigured
from hub.domain.ports import Listener, Manifest, Remembering
from hub.simulator.certificates import Authority
from hub.testing.home import Home
from hub.testing.inbound_case import ListenedCase

START_SECONDS = 10.0
FRAMES = 8  # of a sender, one after the other


class Office:
    """A hub whose channel listens in a thread with a loop of its own, as the role `listen` has it."""

    def __init__(self, case: ListenedCase, folder: Path, **more: object) -> None:
        self.case = case
        self.home = Home(folder, case.channel(**more), case.maps)
        self.intake = self.home.hub.intake()
        self.listener: Listener = channels.build_listener(self.home.channel)
        if isinstance(self.listener, Remembering):
            self.listener.remember_in(self.home.hub.memory(self.home.channel.name))
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def _do(self, what: object) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(START_SECONDS)  # type: ignore[arg-type]  # a coroutine

    def start(self) -> None:
        self._do(self.listener.start(self.intake))

    def stop(self) -> None:
        self._do(self.listener.stop())

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listener.health().address.rpartition(":")
        return host, int(port)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.intake.flush()
        self.home.hub.close()

    # -- as a sender ----------------------------------------------------------------------------------------------

    def connect(self, tls: ssl.SSLContext | None = None) -> socket.socket:
        sock = socket.create_connection(self.address, self.case.patience)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=self.address[0])
        sock.sendall(self.case.greeting)
        return sock

    def answer(self, sock: socket.socket, count: int = 1) -> bytes:
        """What comes back, until there are `count` answers, the other end closes, or patience ends."""
        received = b""
        until = time.monotonic() + self.case.patience
        while self.case.answers(received) < count and time.monotonic() < until:
            sock.settimeout(max(until - time.monotonic(), 0.01))
            try:
                more = sock.recv(65536)
            except (TimeoutError, ConnectionError):
                break
            if not more:
                break
            received += more
        return received

    def send(self, n: int, tls: ssl.SSLContext | None = None) -> bool:
        """The n-th message by a connection of its own: whether the answer says that it is stored."""
        with self.connect(tls) as sock:
            sock.sendall(self.case.frame(n))
            return self.case.positive(self.answer(sock))

    def numbers(self) -> list[str]:
        return [number for _, number in self.home.messages()]

    def expected(self, *told: int) -> list[str]:
        return [self.case.number(n) for n in told]


@pytest.fixture
def office(case: ListenedCase, tmp_path: Path) -> Iterator[Office]:
    one = Office(case, tmp_path / "hub")
    one.start()
    yield one
    one.close()


def test_the_manifest_says_what_it_is(case: ListenedCase) -> None:
    manifest = case.module.MANIFEST
    assert isinstance(manifest, Manifest)
    assert manifest.direction == "in"
    assert not manifest.polled


def test_what_is_answered_positively_is_stored_and_becomes_a_patient(office: Office) -> None:
    assert office.send(1)
    assert office.numbers() == office.expected(1)
    assert office.listener.health().address.endswith(f":{office.address[1]}")
    office.home.apply()
    assert office.home.unapplied() == []
    assert office.home.known("Patient") >= set(office.expected(1))


def test_many_by_one_connection_in_one_write_and_in_many(office: Office) -> None:
    frames = [office.case.frame(n) for n in range(FRAMES)]
    with office.connect() as sock:
        sock.sendall(b"".join(frames[:4]))
        assert office.case.answers(office.answer(sock, 4)) == 4
        for frame in frames[4:]:
            sock.sendall(frame[:7])
            time.sleep(0.01)
            sock.sendall(frame[7:])
            assert office.case.positive(office.answer(sock))
    assert office.numbers() == office.expected(*range(FRAMES))


def test_an_answer_that_is_lost_costs_nothing_and_doubles_nothing(office: Office) -> None:
    """The sender is gone before the answer comes, and sends again."""
    for _ in range(3):
        with office.connect() as sock:
            sock.sendall(office.case.frame(1))
    assert office.send(1)
    assert office.send(2)
    assert sorted(office.numbers()) == sorted(office.expected(1, 2))


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_message_that_breaks_off_is_none(office: Office, reset: bool) -> None:
    frame = office.case.frame(1)
    for cut in (1, len(frame) // 2, len(frame) - 1):
        with office.connect() as sock:
            sock.sendall(frame[:cut])
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert office.send(1)
    assert office.numbers().count(office.case.number(1)) == 1


def test_bytes_of_another_protocol_are_nobodys_message(office: Office) -> None:
    for garbage in (office.case.garbage, b"\x00\xff" * 500, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\r\n"):
        with office.connect() as sock:
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            assert not office.case.positive(office.answer(sock))
    assert office.numbers() == []
    assert office.send(1)
    assert office.numbers() == office.expected(1)


def test_a_sender_that_dribbles_is_heard(office: Office) -> None:
    with office.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        frame = office.case.frame(1)
        for at in range(0, len(frame), 16):
            sock.sendall(frame[at : at + 16])
            time.sleep(0.002)
        assert office.case.positive(office.answer(sock))
    assert office.numbers() == office.expected(1)


def test_senders_that_say_nothing_or_read_nothing_hold_up_nobody(office: Office) -> None:
    """Half open, silent, in the middle of a message, and one that never reads its answers."""
    with contextlib.ExitStack() as held:
        for said in (b"", office.case.frame(50)[:5], b"".join(office.case.frame(n) for n in range(60, 70))):
            held.enter_context(office.connect()).sendall(said)
        began = time.monotonic()
        assert office.send(1)
        assert time.monotonic() - began < office.case.patience
    assert office.numbers().count(office.case.number(1)) == 1


def test_while_the_hub_takes_nothing_nobody_is_told_that_it_did(office: Office) -> None:
    office.intake.full = "the disk is nearly full"
    assert not office.send(1)
    assert office.numbers() == []
    office.intake.full = ""
    assert office.send(1)
    assert office.numbers() == office.expected(1)


def test_many_senders_at_once(office: Office) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(office.send, range(40), timeout=60))
    assert sorted(office.numbers()) == sorted(office.expected(*range(40)))


def test_a_closed_port_is_closed_and_comes_back(office: Office) -> None:
    assert office.send(1)
    address = office.address
    office.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 2)
    office.start()
    assert office.send(1)  # again: it does not know whether it was heard
    assert office.send(2)
    assert office.numbers() == office.expected(1, 2)


def test_a_port_that_is_taken_is_told(case: ListenedCase, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        office = Office(case, tmp_path / "hub", port=other.getsockname()[1])
        with pytest.raises(Misconfigured, match="cannot listen"):
            office.start()
        office.close()


def test_only_tls_is_heard_where_tls_is_asked_for(case: ListenedCase, authority: Authority, tmp_path: Path) -> None:
    if not case.tls:
        assert not {"tls_cert", "cert_file"} & set(case.module.Settings.__dataclass_fields__)
        return
    certificate, key = authority.issue("127.0.0.1")
    (tmp_path / "cert.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    files = {case.tls["certificate"]: str(tmp_path / "cert.pem"), case.tls["key"]: str(tmp_path / "key.pem")}
    office = Office(case, tmp_path / "hub", **files)
    office.start()
    try:
        trusting = ssl.create_default_context(cadata=authority.pem.decode("ascii"))
        with pytest.raises(ssl.SSLCertVerificationError):  # who does not know our authority does not send
            office.send(1, ssl.create_default_context())
        assert not office.send(1)  # nor is anything heard in the clear
        assert office.numbers() == []
        assert office.send(1, trusting)
        assert office.numbers() == office.expected(1)
    finally:
        office.close()


def test_build_takes_no_port_and_stop_may_come_twice(case: ListenedCase, tmp_path: Path) -> None:
    office = Office(case, tmp_path / "hub")
    office.stop()
    office.start()
    office.stop()
    office.close()
