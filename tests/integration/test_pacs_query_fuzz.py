"""10,000 bodies of DICOM JSON and multipart, 5,000 PDUs and keys of C-FIND that nobody should send: read, or refused."""

from __future__ import annotations

import random
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from hub.adapters.pacs import dicom_poll, dicomweb_in, worklist_rows
from hub.codecs.dicom import columns, json, writer
from hub.codecs.dicom.uid import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hub.domain.errors import Misconfigured, NotDelivered, Refused, Unreadable
from hub.simulator.pacs import PacsPeer
from hub.simulator.pacs_archive import as_json
from hub.transport import dicom_scu
from hub.transport.dicom_scu import STUDY_ROOT, Association, ScuSettings
from tests.contract.pacs_cases import study
from tests.unit.adapters.test_worklist_rows import SEOUL, order

BODIES, QUESTIONS = 5000, 1250  # of DICOM JSON and of multipart; of what a PACS answers and a modality asks, in each syntax
SLOWEST = 1.0  # seconds
SPACE = 200 << 10  # KB
HARM = [
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"--edge",
    b"\r\n--edge--",
    b"[[[[",
    b'{"vr":"SQ","Value":[',
    b"\x1b$)C\xff",
    b'"',
    b"\\u0000",
    b"1e999",
]


def spoilt(data: bytes, by: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled, put in; or only the beginning."""
    made = bytearray(data)
    for _ in range(by.randint(1, 4)):
        at = by.randrange(len(made) + 1)
        match by.randrange(5):
            case 0:
                made[at : at + 1] = bytes((by.randrange(256),))
            case 1:
                del made[at : at + by.randrange(1, 40)]
            case 2:
                made[at:at] = made[at : at + by.randrange(1, 200)]
            case 3:
                made[at : at + 4] = by.choice(HARM)
            case _:
                made = made[: at + 1]
    return bytes(made)


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < SPACE


def within(began: float) -> None:
    assert time.monotonic() - began < SLOWEST


def test_dicom_json() -> None:
    by, good = random.Random(4), 0
    whole = orjson.dumps([as_json(study(n)) for n in range(3)])
    for _ in range(BODIES):
        began = time.monotonic()
        try:
            for document in json.documents(spoilt(whole, by)):
                json.row(document, columns.study())
            good += 1
        except Unreadable:
            pass
        within(began)
    assert 0 < good < BODIES


def test_multipart_bodies() -> None:
    by, good = random.Random(5), 0
    row = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "PatientName": "홍^길동", "Modality": "CT"}
    one = writer.data_set(row, EXPLICIT_LITTLE)
    parts = (
        b"--edge\r\nContent-Type: application/dicom\r\n\r\n"
        + one
        + b"\r\n--edge\r\nContent-Type: application/dicom+json\r\n\r\n"
        + orjson.dumps(as_json(study(1)))
        + b"\r\n--edge--"
    )
    door = dicomweb_in.build(dicomweb_in.Settings(tokens=("x",)), "pacs")
    for _ in range(BODIES):
        body, began = spoilt(parts, by), time.monotonic()
        taking = door.begin('multipart/related; type="application/dicom"; boundary=edge', "", "pacs")
        try:
            for at in range(0, len(body), 50):
                taking.feed(body[at : at + 50])
            taking.end()
            good += len(taking.messages)
        except Unreadable:
            pass
        within(began)
    assert good


def test_worklist_keys() -> None:
    by, good = random.Random(6), 0
    keys = {
        "PatientName": "홍*",
        "PatientID": "",
        "ScheduledProcedureStepSequence": [{"Modality": "CT", "ScheduledProcedureStepStartDate": "20261122-"}],
    }
    full = worklist_rows.row(order(), SEOUL, "HOSP")
    for syntax in (IMPLICIT_LITTLE, EXPLICIT_LITTLE):
        whole = writer.data_set(keys, syntax)
        for _ in range(QUESTIONS):
            began = time.monotonic()
            try:
                asked = worklist_rows.read(spoilt(whole, by), syntax, "")
                worklist_rows.wanted(asked, SEOUL, 7, 30)
                worklist_rows.matches(full, asked)
                worklist_rows.answer(full, asked, "CT1")
                good += 1
            except Unreadable:
                pass
            within(began)
    assert 0 < good < 2 * QUESTIONS


def test_what_a_pacs_answers() -> None:
    """The PDUs of an association and of three matches, spoilt on their way to our SCU."""
    by, good = random.Random(7), 0
    for said in recorded():
        for _ in range(QUESTIONS):
            began = time.monotonic()
            try:
                good += played(spoilt(said, by))
            except (NotDelivered, Refused, Misconfigured):
                pass
            within(began)
    assert good


class Taping:
    """A socket that remembers what came."""

    def __init__(self, sock: socket.socket, tape: bytearray) -> None:
        self._sock, self._tape = sock, tape

    def recv(self, size: int) -> bytes:
        data = self._sock.recv(size)
        self._tape += data
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def recorded() -> list[bytes]:
    """All that the simulated PACS says in one C-FIND, in each transfer syntax."""
    return [_recorded(explicit) for explicit in (False, True)]


def _recorded(explicit: bool) -> bytes:
    tape, real = bytearray(), dicom_scu._connect
    with PacsPeer() as peer, pytest.MonkeyPatch.context() as patch:
        peer.explicit = explicit
        for n in range(3):
            peer.tell(study(n))
        patch.setattr(dicom_scu, "_connect", lambda one: Taping(real(one), tape))
        assert ask(ScuSettings(host=peer.host, port=peer.port, called_ae="PACS", timeout_seconds=1)) == 3
    return bytes(tape)


def played(said: bytes) -> int:
    """How many matches our SCU takes of a PACS that says this, and then nothing more."""
    ours, theirs = socket.socketpair()
    theirs.sendall(said)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.MonkeyPatch.context() as patch, theirs:
        patch.setattr(dicom_scu, "_connect", lambda _: ours)
        return ask(ScuSettings(host="127.0.0.1", port=104, called_ae="PACS", timeout_seconds=0.3))


def ask(settings: ScuSettings) -> int:
    with Association(settings, STUDY_ROOT) as association:
        keys = writer.data_set(
            {"QueryRetrieveLevel": "STUDY", **dict.fromkeys(columns.STUDY, "")}, association.syntax(STUDY_ROOT)
        )
        return len([dicom_poll.read(one, "") for one in association.find(STUDY_ROOT, keys)])
