"""The HL7 listener over real sockets, with an intake in memory: answers, limits, batches, store failures."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hub.adapters.ocs import hl7_in
from hub.adapters.ocs.hl7_in import Settings, build
from hub.codecs.hl7v2 import ack
from hub.codecs.mllp import Splitter, frame
from hub.domain.errors import Misconfigured, TryAgain
from hub.domain.ports import Receipt, Received, Verdict
from hub.transport.mllp import Limits


class MemoryIntake:
    """Stores in a list; knows duplicates; fails on request."""

    def __init__(self) -> None:
        self.batches: list[list[Received]] = []
        self.notes: list[tuple[int, int, list[int]]] = []
        self.fail: Exception | None = None
        self._seen: dict[tuple[str, str], tuple[int, bytes, str]] = {}
        self._next = 0

    @property
    def received(self) -> list[Received]:
        return [one for batch in self.batches for one in batch]

    def store(self, batch):
        if self.fail is not None:
            raise self.fail
        self.batches.append(list(batch))
        return [self._one(message) for message in batch]

    def _one(self, message):
        self._next += 1
        if message.refused is not None:
            return Receipt(Verdict.NEVER, self._next, reason=message.refused)
        key = (message.sender, message.control_id)
        if key in self._seen:
            first, content, code = self._seen[key]
            if content != message.content:
                return Receipt(Verdict.NEVER, self._next, reason="control id used again for other content")
            return Receipt(Verdict.STORED, first, duplicate_of=first, code=code)
        self._seen[key] = (self._next, message.content, message.code)
        return Receipt(Verdict.STORED, self._next, code=message.code)

    def answered(self, first_id, last_id, undelivered):
        self.notes.append((first_id, last_id, list(undelivered)))

    def noted(self, note):
        """Whether that note comes within two seconds: it follows the answer."""
        deadline = time.monotonic() + 2
        while note not in self.notes and time.monotonic() < deadline:
            time.sleep(0.01)
        return note in self.notes


class Running:
    """A listener in a thread of its own."""

    def __init__(self, **settings) -> None:
        self.intake = MemoryIntake()
        self.listener = build(Settings(port=0, **settings), "ocs-in")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    @property
    def port(self) -> int:
        return int(self.listener.health().address.rpartition(":")[2])

    def close(self) -> None:
        self.call(self.listener.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def running(**settings) -> Iterator[Running]:
    server = Running(**settings)
    server.call(server.listener.start(server.intake))
    try:
        yield server
    finally:
        server.close()


class Peer:
    """A plain sender."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), 5)
        self.sock.settimeout(5)
        self._splitter = Splitter()
        self._waiting: list[bytes] = []

    def say(self, data: bytes) -> None:
        self.sock.sendall(data)

    def hear(self) -> bytes:
        while not self._waiting:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self._waiting += self._splitter.feed(data)
        return self._waiting.pop(0)

    def ask(self, body: bytes) -> tuple[str, str]:
        self.say(frame(body))
        return ack.acknowledged(self.hear())

    def silent(self, seconds: float = 0.2) -> bool:
        self.sock.settimeout(seconds)
        try:
            return not self._waiting and self.sock.recv(1) is None
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(5)


def adt(
    control_id="1",
    *,
    event="ADT^A08",
    msh11="P",
    version="2.5",
    modes="||||",
    charset="",
    pid="123^^^HOSP^MR",
    name="홍^길동",
    codec="utf-8",
):
    return (
        f"MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090000||{event}|{control_id}|{msh11}|{version}{modes}||{charset}\r"
        f"EVN|A08|20261122090000\rPID|1||{pid}||{name}\r"
    ).encode(codec)  # fmt: skip


def test_a_message_is_stored_then_answered():
    with running(assigner="DEF") as server:
        peer = Peer(server.port)
        assert peer.ask(adt("A1", pid="123")) == ("AA", "A1")
        (message,) = server.intake.received
        assert (message.channel, message.sender, message.control_id, message.type) == ("ocs-in", "OCS|HOSP", "A1", "ADT^A08")
        assert message.patient == ("DEF", "123")
        assert message.body == adt("A1", pid="123")
        assert (message.code, message.answer_owed, message.refused, message.filtered) == ("AA", True, None, False)
        assert server.intake.noted((1, 1, []))
        assert server.listener.health().connections == 1


def test_enhanced_mode_and_silence():
    with running() as server:
        peer = Peer(server.port)
        peer.say(frame(adt("1", modes="|||AL|AL")))
        assert [ack.acknowledged(peer.hear()) for _ in range(2)] == [("CA", "1"), ("AA", "1")]
        peer.say(frame(adt("2", modes="|||NE|NE")))
        peer.say(frame(adt("3", event="ACK^A08^ACK")))
        assert peer.silent()
        assert [(one.control_id, one.answer_owed) for one in server.intake.received] == [("1", True), ("2", False), ("3", False)]


@pytest.mark.parametrize(
    ("settings", "body", "code", "hl7"),
    [
        ({}, adt(event=""), "AR", b"101"), ({}, adt(""), "AE", b"101"), ({}, adt(version=""), "AR", b"101"),
        ({}, adt(version="3.0"), "AR", b"203"), ({"production": True}, adt(msh11="T"), "AR", b"202"),
        ({}, adt(name="똠", codec="cp949"), "AE", b"102"), ({}, adt() + b"no segment\r", "AE", b"100"),
        ({}, b"PID|1||123\r", "AE", b"100"), ({}, b"", "AE", b"100"), ({}, b"\xff\xfe\x00", "AE", b"100"),
        ({"validation": "strict"}, adt(), "AE", b"100"), ({}, b"FHS|^~\\&\rFTS\r", "AE", b"100"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_kept_and_answered_with_err(settings, body, code, hl7):
    with running(**settings) as server:
        peer = Peer(server.port)
        peer.say(frame(body))
        answer = peer.hear()
        assert ack.acknowledged(answer)[0] == code
        assert b"\rERR|" in answer
        assert hl7 + b"^" in answer
        assert "홍".encode() not in answer
        (kept,) = server.intake.received
        assert kept.body == body
        assert kept.refused
        assert peer.ask(adt("next", event="ADT^A08")) in (("AA", "next"), ("AE", "next"))  # the connection lives on


def test_accept_filters_and_test_messages_pass_where_it_is_no_production_channel():
    with running(accept=("ADT", "SIU^S12")) as server:
        peer = Peer(server.port)
        for n, event in enumerate(["ADT^A01", "SIU^S12", "SIU^S13", "ORU^R01"]):
            assert peer.ask(adt(f"{n}", event=event, msh11="T")) == ("AA", f"{n}")
        assert [one.filtered for one in server.intake.received] == [False, False, True, True]


def test_the_same_again_gets_the_same_answer_and_other_content_is_refused_where_intake_says_so():
    with running() as server:
        peer = Peer(server.port)
        assert peer.ask(adt("9")) == ("AA", "9")
        assert peer.ask(adt("9").replace(b"20261122090000||ADT", b"20261122090007||ADT")) == ("AA", "9")
        assert peer.ask(adt("9", name="김^철수")) == ("AE", "9")


@pytest.mark.parametrize("failure", [TryAgain("disk nearly full"), RuntimeError("our bug 홍길동")])
def test_a_store_that_fails_is_never_answered_positively(failure):
    with running(answer_codes={"original.try_again": "AE"}) as server:
        server.intake.fail = failure
        peer = Peer(server.port)
        peer.say(frame(adt("1")))
        answer = peer.hear()
        assert ack.acknowledged(answer) == ("AE", "1")
        assert "홍길동".encode() not in answer
        assert peer.ask(adt("2", modes="|||AL|")) == ("CE", "2")
        server.intake.fail = None
        assert peer.ask(adt("1")) == ("AA", "1")


def test_a_batch_is_many_messages_with_an_answer_each():
    body = b"FHS|^~\\&\rBHS|^~\\&\r" + adt("1") + adt("2") + adt("", event="ADT^A01") + b"BTS|3\rFTS|1\r"
    with running() as server:
        peer = Peer(server.port)
        peer.say(frame(body))
        assert [ack.acknowledged(peer.hear()) for _ in range(3)] == [("AA", "1"), ("AA", "2"), ("AE", "")]
        assert len(server.intake.batches) == 1


def test_pipelined_frames_one_byte_packets_and_junk():
    with running() as server:
        peer = Peer(server.port)
        peer.say(b"junk" + b"".join(frame(adt(str(n))) for n in range(50)))
        assert [ack.acknowledged(peer.hear()) for _ in range(50)] == [("AA", str(n)) for n in range(50)]
        for byte in frame(adt("slow")):
            peer.say(bytes([byte]))
        assert ack.acknowledged(peer.hear()) == ("AA", "slow")


def test_ready_connections_share_one_commit():
    with running() as server:
        peers = [Peer(server.port) for _ in range(20)]
        assert peers[0].ask(adt("warm")) == ("AA", "warm")
        for n, peer in enumerate(peers):
            assert peer.ask(adt(f"known{n}")) == ("AA", f"known{n}")
        all_sent = threading.Event()
        server._loop.call_soon_threadsafe(all_sent.wait, 5)  # the loop is busy: all of them become ready meanwhile
        for n, peer in enumerate(peers):
            peer.say(frame(adt(f"g{n}")))
        time.sleep(0.05)
        all_sent.set()
        assert [ack.acknowledged(peer.hear())[0] for peer in peers] == ["AA"] * 20
        assert max(len(batch) for batch in server.intake.batches) == 20


def test_answers_in_the_senders_charset_and_registration_numbers_are_no_keys():
    with running() as server:
        peer = Peer(server.port)
        assert peer.ask(adt("1", charset="KS X 1001", pid="801301-1234567^^^H", name="똠^방각하", codec="cp949")) == ("AA", "1")
        (message,) = server.intake.received
        assert (message.charset, message.patient) == ("cp949", None)


def test_a_half_closed_sender_still_gets_its_answer():
    with running() as server:
        peer = Peer(server.port)
        peer.say(frame(adt("1")))
        peer.sock.shutdown(socket.SHUT_WR)
        assert ack.acknowledged(peer.hear()) == ("AA", "1")


def test_an_answer_that_finds_nobody_is_noted_as_undelivered():
    with running() as server:
        peer = Peer(server.port)
        peer.ask(adt("1"))
        server._loop.call_soon_threadsafe(time.sleep, 0.2)
        peer.say(frame(adt("2")))
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        peer.sock.close()
        Peer(server.port).ask(adt("3"))
        stored = {one.control_id for one in server.intake.received}
        assert stored >= {"1", "3"}


def test_limits_frame_connections_idle_and_slow():
    with running(max_frame=2000, max_connections=2, idle_seconds=5, frame_seconds=0.3) as server:
        first, slow = Peer(server.port), Peer(server.port)
        first.say(b"\x0b" + b"x" * 5000)
        assert ack.acknowledged(first.hear())[0] == "AE"
        first.say(b"\x1c\r")
        assert first.ask(adt("1")) == ("AA", "1")
        third = Peer(server.port)
        with pytest.raises((EOFError, ConnectionError)):
            third.ask(adt("3"))
        slow.say(b"\x0bMSH|")
        assert b"without its end" in slow.hear()
        with pytest.raises((EOFError, ConnectionError)):
            slow.hear()
        assert first.ask(adt("2")) == ("AA", "2")


@pytest.mark.parametrize(
    ("said", "kept", "why"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"outside any MLLP frame"),
        (adt("1"), adt("1"), b"outside any MLLP frame"),  # HL7 without VT and FS
        (adt("1") + b"\x1c\r", adt("1"), b"outside any MLLP frame"),  # without VT
        (b"\x0b" + b"x" * 5000 + b"\x1c\r", b"x" * 5000, b"more than 2000"),
        (b"\x0b" + b"x" * 100_000, b"x" * (64 << 10), b"more than 2000"),
    ],
)
def test_what_is_no_frame_is_kept_refused_and_answered(said: bytes, kept: bytes, why: bytes) -> None:
    with running(max_frame=2000) as server:
        peer = Peer(server.port)
        peer.say(said)
        answer = peer.hear()
        assert ack.acknowledged(answer) == ("AE", "")
        assert b"\rERR|" in answer
        assert why in answer
        (one,) = server.intake.received
        assert kept.startswith(one.body)
        assert one.body
        assert why.decode() in (one.refused or "")
        if not said.startswith(b"\x0b" + b"x" * 100_000):
            assert peer.ask(adt("next")) == ("AA", "next")


def test_a_cut_frame_is_kept_and_answered_unless_it_comes_again_whole() -> None:
    with running() as server:
        peer = Peer(server.port)
        peer.say(b"\x0b" + adt("cut")[:90] + frame(adt("next")))
        assert ack.acknowledged(peer.hear()) == ("AE", "")
        assert ack.acknowledged(peer.hear()) == ("AA", "next")
        peer.say(b"\x0b" + adt("again")[:90] + frame(adt("again")))
        assert ack.acknowledged(peer.hear()) == ("AA", "again")
        time.sleep(1.1)  # within a second they would become one
        peer.say(b"HDR0" + frame(adt("late")))  # a header of somebody's own: one message, one answer
        assert ack.acknowledged(peer.hear()) == ("AA", "late")
        time.sleep(1.1)
        peer.say(b"\x0b" + adt("end")[:90])
        peer.sock.shutdown(socket.SHUT_WR)
        assert b"without its end" in peer.hear()
        until = time.monotonic() + 3
        while len(server.intake.received) < 6 and time.monotonic() < until:
            time.sleep(0.02)
        stored = [(one.control_id, one.body) for one in server.intake.received]
        assert stored == [
            ("", adt("cut")[:90]), ("next", adt("next")), ("again", adt("again")), ("", b"HDR0"), ("late", adt("late")),
            ("", adt("end")[:90]),
        ]  # fmt: skip


def test_scraps_are_bounded_by_connection_and_by_listener() -> None:
    with running() as server:
        peer = Peer(server.port)
        for n in range(200):
            peer.say(b"scan %d\x1c\r" % n)
        peer.say(b"\r\n \r\n\x1c\x1c")  # strays are nothing
        time.sleep(1.6)
        assert 2 <= len(server.intake.received) <= 3
        assert sum(len(one.body) for one in server.intake.received) < 64 << 10
        before = len(server.intake.received)
        for _ in range(100):
            other = Peer(server.port)
            other.say(b"GET / HTTP/1.0\r\n\r\n")
            other.sock.close()
        time.sleep(0.5)
        assert len(server.intake.received) - before <= 30  # 20, and one a second


def test_silent_connections_give_way_to_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hl7_in, "Limits", functools.partial(Limits, spared_seconds=0.3))
    with running(max_connections=3) as server:
        talking, silent, speaking = Peer(server.port), Peer(server.port), Peer(server.port)
        speaking.say(b"\x0bMSH|")  # silent for long too, but in the middle of a frame
        time.sleep(0.5)
        assert talking.ask(adt("1")) == ("AA", "1")
        late = Peer(server.port)
        assert late.ask(adt("2")) == ("AA", "2")
        with pytest.raises((EOFError, ConnectionError)):
            silent.hear()
        assert talking.ask(adt("3")) == ("AA", "3")
        speaking.say(adt("4")[4:] + b"\x1c\r")
        assert ack.acknowledged(speaking.hear()) == ("AA", "4")
        with pytest.raises((EOFError, ConnectionError)):
            Peer(server.port).ask(adt("5"))  # all three have spoken just now


def test_silent_connections_are_closed():
    with running(idle_seconds=0.3) as server:
        peer = Peer(server.port)
        with pytest.raises((EOFError, ConnectionError)):
            peer.hear()


def test_a_taken_port_is_a_config_error():
    with running() as server:
        other = build(Settings(port=server.port), "other")
        with pytest.raises(Misconfigured, match=str(server.port)):
            server.call(other.start(server.intake))


@pytest.mark.parametrize(
    "wrong",
    [{"charset": "klingon"}, {"tls_ca": "ca.pem"}, {"tls_peers": ("x",)}, {"answer_codes": {"x": "AA"}},
     {"tls_cert": "c.pem", "tls_ca": "ca.pem", "tls_peers": ("sha256:12",)}],
)  # fmt: skip
def test_wrong_settings_say_so(wrong):
    with pytest.raises(Misconfigured):
        Settings.from_table({"port": 0, **wrong})
