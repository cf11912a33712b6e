"""PDQ and PIX over real sockets and a real database, while messages come in; the access record of each answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from hub.adapters.ocs.hl7_query import QueryListener, Settings, build
from hub.codecs.hl7v2 import Message, parse
from hub.codecs.mllp import Splitter, frame
from hub.domain.errors import Misconfigured
from hub.domain.ports import Intake, Person
from hub.transport.tls import client_context
from tests import servers
from tests.chaos.hub_process import Hub
from tests.hub_kit import Kit, adt, hl7, pid
from tests.integration.test_mllp_tls import Authority


class NoIntake:
    """Questions are not stored."""

    def store(self, batch: object) -> list[object]:
        raise AssertionError("a question went to intake")

    def answered(self, *_: object) -> None:
        raise AssertionError("a question went to intake")


def query(event: str, qpd: str, *rest: str, number: str = "1", sender: str = "CRM") -> bytes:
    head = f"MSH|^~\\&|{sender}|FRONT|HUB|HOSP|20261122090000||QBP^{event}^QBP_Q21|{number}|P|2.5||||||UNICODE UTF-8"
    return "\r".join([head, qpd, "RCP|I", *rest]).encode()


@contextmanager
def listening(kit: Kit, **settings: object) -> Iterator[int]:
    """The listener in a loop of its own; its port."""
    made = Settings(**{"port": 0, "askers": ("CRM",), **settings})  # type: ignore[arg-type]
    listener: QueryListener = build(made, "look-up")
    listener.look_up_in(kit.hub.lookup)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    intake: Intake = NoIntake()  # type: ignore[assignment]
    try:
        asyncio.run_coroutine_threadsafe(listener.start(intake), loop).result(5)
        yield int(listener.health().address.rpartition(":")[2])
    finally:
        asyncio.run_coroutine_threadsafe(listener.stop(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def ask(port: int, *questions: bytes, tls: ssl.SSLContext | None = None) -> list[Message]:
    """All on one connection, without waiting in between; the answers in order."""
    with contextlib.ExitStack() as held:
        sock = held.enter_context(socket.create_connection(("127.0.0.1", port), 5))
        sock.settimeout(10)
        if tls is not None:
            sock = held.enter_context(tls.wrap_socket(sock, server_hostname="hub.local"))
        for one in questions:
            sock.sendall(frame(one))
        splitter = Splitter(1 << 20)
        found: list[Message] = []
        while len(found) < len(questions):
            data = sock.recv(65536)
            assert data, "the connection was closed"
            found += [parse(body) for body in splitter.feed(data)]
    return found


def found(answer: Message) -> list[str]:
    return [segment.raw(3).split("^")[0] for segment in answer.all("PID")]


def test_a_patient_is_found_by_what_other_systems_told(kit: Kit) -> None:
    kit.receive(*(adt("A28", str(number), name="홍^길동" if number < 4 else "남궁^민수") for number in range(1, 6)))
    kit.receive(hl7("ADT^A28", "PID|1||2^^^HOSP~E2^^^EMR||홍^길동"), channel="emr-in")
    kit.apply()
    with listening(kit) as port:
        by_name, by_number, nobody, others = ask(
            port, query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^홍~@PID.5.2^길동", number="1"),
            query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.3.1^E2~@PID.3.4^EMR", number="2"),
            query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^뷁", number="3"),
            query("Q23", "QPD|IHE PIX Query|T|E2^^^EMR|^^^HOSP", number="4"),
        )  # fmt: skip
    assert sorted(found(by_name)) == ["1", "2", "3"]
    assert [answer.segments[1].value(2) for answer in (by_name, by_number, nobody, others)] == ["1", "2", "3", "4"]
    assert found(by_number) == ["2"]
    assert (found(nobody), nobody.first("QAK").value(2)) == ([], "NF")  # type: ignore[union-attr]
    assert [segment.raw(3) for segment in others.all("PID")] == ["2^^^HOSP^MR"]
    told = [
        orjson.loads(detail) for (detail,) in kit.rows("SELECT detail FROM entry WHERE action = 'patient.searched' ORDER BY id")
    ]
    assert [(one["what"], len(one["ids"])) for one in told] == [("hl7.pdq", 3), ("hl7.pdq", 1), ("hl7.pdq", 0), ("hl7.pix", 1)]
    assert kit.rows("SELECT DISTINCT actor, channel FROM entry WHERE action = 'patient.searched'") == [("peer:CRM", "look-up")]
    assert kit.patient_id("2") in told[0]["ids"]


def test_a_number_that_was_merged_away_leads_to_the_survivor(kit: Kit) -> None:
    kit.tell(
        adt("A28", "1", name="홍^길동"), adt("A28", "2", name="홍^길동"), adt("A40", "1", "MRG|2^^^HOSP", at="20261122100000")
    )
    with listening(kit) as port:
        [answer] = ask(port, query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.3.1^2"))
        [all_] = ask(port, query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^홍길동"))
    assert {rep.split("^")[0] for rep in answer.all("PID")[0].raw(3).split("~")} == {"1", "2"}
    assert len(all_.all("PID")) == 1


def test_an_account_leads_to_its_patient(kit: Kit) -> None:
    account = pid("1") + "|" * (18 - pid("1").count("|")) + "A77"
    kit.tell(hl7("BAR^P01", account))
    with listening(kit) as port:
        [answer] = ask(port, query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.18.1^A77"))
    assert found(answer) == ["1"]


def test_many_of_one_name_come_in_pages_and_none_twice(kit: Kit) -> None:
    kit.receive(*(adt("A28", str(number), name="김^민수") for number in range(1, 121)))
    kit.apply()
    seen: list[str] = []
    pointer = ""
    with listening(kit, most=50) as port:
        for _ in range(5):
            rest = [f"DSC|{pointer}|I"] if pointer else []
            [answer] = ask(port, query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^김", *rest))
            seen += found(answer)
            dsc = answer.first("DSC")
            if dsc is None:
                break
            pointer = dsc.value(1) or ""
            kit.tell(adt("A28", str(1_000 + len(seen)), name="김^민수", at="20261122100000"))  # live traffic does not disturb it
    assert len(seen) == len(set(seen)) >= 120


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_intake_is_not_held_up_by_questions(kit: Kit) -> None:
    """A message is stored while a look-up is made to take long: they share no lock and no thread."""
    slow = threading.Event()
    search = kit.hub.lookup.search

    def searching(*args: object, **more: object) -> object:
        slow.wait(5)
        return search(*args, **more)  # type: ignore[arg-type]

    kit.hub.lookup.search = searching  # type: ignore[method-assign,assignment]
    with listening(kit) as port, socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(frame(query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^홍")))
        time.sleep(0.1)
        began = time.monotonic()
        assert [receipt.verdict for receipt in kit.receive(adt("A28", "1"))] == ["stored"]
        assert time.monotonic() - began < 2
        slow.set()
        sock.settimeout(5)
        assert b"RSP^K22" in sock.recv(65536)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_more_questions_than_can_wait_are_told_to_come_again(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.adapters.ocs.hl7_query.WAITING", 2)

    def slow(*_: object, **__: object) -> list[Person]:
        time.sleep(0.3)
        return []

    kit.hub.lookup.search = slow  # type: ignore[method-assign]
    questions = [query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^홍", number=str(n)) for n in range(6)]
    with listening(kit) as port:
        answers = ask(port, *questions)
    codes = [answer.segments[1].raw(1) for answer in answers]
    assert sorted(codes) == ["AA", "AA", "AR", "AR", "AR", "AR"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_peers_that_misbehave_cost_the_others_nothing(kit: Kit) -> None:
    """Bytes outside a frame, a frame that never ends, one who goes before his answer, one who only listens."""
    asked = query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^뷁")
    with listening(kit, frame_seconds=0.3, max_connections=4) as port:
        with socket.create_connection(("127.0.0.1", port), 5) as slow, socket.create_connection(("127.0.0.1", port), 5):
            slow.sendall(b"\x0bMSH|^~")
            with socket.create_connection(("127.0.0.1", port), 5) as gone:
                gone.sendall(frame(asked))
            with socket.create_connection(("127.0.0.1", port), 5) as odd:
                odd.settimeout(5)
                odd.sendall(b"GET / HTTP/1.1\r\n\r\n" + frame(asked))
                assert b"RSP^K22" in odd.recv(65536)
            slow.settimeout(5)
            with contextlib.suppress(ConnectionError):
                assert slow.recv(65536) == b""  # closed, not answered
        assert found(ask(port, asked)[0]) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_certificate_is_proof_enough_and_none_is_none(kit: Kit, tmp_path: Path) -> None:
    ca = Authority(tmp_path, "hospital-ca")
    ours, crm, other = (ca.issue(name) for name in ("hub.local", "crm.local", "other.local"))
    kit.tell(adt("A28", "1", name="뷁^뷁"))
    files = {"tls_cert": ours.cert, "tls_key": ours.key, "tls_ca": ca.file, "tls_peers": ("crm.local",)}
    asked = query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^뷁뷁", sender="ANY")
    with listening(kit, askers=(), **files) as port:
        [answer] = ask(port, asked, tls=client_context(str(ca.file), str(crm.cert), str(crm.key)))
        assert found(answer) == ["1"]
        with pytest.raises((OSError, AssertionError)):
            ask(port, asked, tls=client_context(str(ca.file), str(other.cert), str(other.key)))
    assert kit.rows("SELECT actor FROM entry WHERE action = 'patient.searched'") == [("peer:look-up",)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_channel_with_nothing_to_look_up_in_does_not_begin(kit: Kit) -> None:
    listener = build(Settings(port=0, askers=("CRM",)), "look-up")
    with pytest.raises(Misconfigured):
        asyncio.run(listener.start(kit.intake))


def test_a_running_hub_answers_at_the_channels_port(tmp_path: Path) -> None:
    """`hub run` as hospital IT types it: a patient comes in at one port and is asked for at the other."""
    hub = Hub(tmp_path, "http://127.0.0.1:9/hooks", None, None, tuned=False)
    port = servers.free_port()
    channel = f'[channels.look-up]\nadapter = "ocs.hl7_query"\nsystem = "ocs"\nport = {port}\naskers = ["CRM"]\n'
    hub.config.write_text(f"{hub.config.read_text()}\n{channel}")
    hub.start()
    try:
        ends = time.monotonic() + 60
        while not hub.listening():
            assert time.monotonic() < ends, (tmp_path / "run.log").read_text()
            time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", hub.ports[0]), 5) as sock:
            sock.sendall(frame(adt("A28", "77", name="똠방^각하")))
            sock.settimeout(10)
            assert b"MSA|AA" in sock.recv(65536)
        sent = query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^똠방각하")
        while found(ask(port, sent)[0]) != ["77"]:
            assert time.monotonic() < ends
            time.sleep(0.1)
        [refused] = ask(port, query("Q22", "QPD|Q22^Find Candidates^HL7|T|@PID.5.1^똠방각하", sender="STRANGER"))
        assert (refused.segments[1].value(1), found(refused)) == ("AR", [])
        code, verified = hub.ask("audit", "verify")
        assert (code, verified["ok"]) == (0, True)
        assert "look-up" in hub.status()["channels"]
    finally:
        hub.end()
