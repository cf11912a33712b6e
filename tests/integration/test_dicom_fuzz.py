"""10,000 data sets and PDUs that no modality should send: read or refused, each in under a second."""

from __future__ import annotations

import asyncio
import random
import resource
import struct
import time
import zlib
from typing import Any

import pytest

from hub.codecs.dicom import columns, header, uid
from hub.codecs.dicom.writer import data_set
from hub.domain.errors import Unmappable, Unreadable
from hub.domain.ports import Recalled, Receipt, Verdict
from hub.domain.rows import MarkRow
from hub.mapping import Context, load_maps
from hub.simulator import dicom_wire
from hub.transport.dicom_scp import Association, DicomListener
from tests.contract.inbound_cases import LISTENED

CASE = next(case for case in LISTENED if case.name == "pacs.dicom_in")
MOST = 10_000
SLOWEST = 1.0  # seconds
SPACE = 200 << 10  # KB
NAMES = ["Hong^Gildong=洪^吉洞=홍^길동", "똠방각하", "남궁^민수", "뷁"]
SEQUENCE = b"\x40\x00\x70\x02SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * 12  # opened and never closed


def grown(before: int) -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def spoilt(data: bytes, by: random.Random) -> bytes:
    """One to four bytes changed, a piece cut out, doubled or put in, a length blown up, or only the beginning."""
    made = bytearray(data)
    for _ in range(by.randint(1, 4)):
        at = by.randrange(len(made) + 1)
        match by.randrange(6):
            case 0:
                made[at : at + 1] = bytes((by.randrange(256),))
            case 1:
                del made[at : at + by.randrange(1, 40)]
            case 2:
                made[at:at] = made[at : at + by.randrange(1, 200)]
            case 3:
                made[at : at + 4] = by.choice(
                    (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", struct.pack("<I", len(made)))
                )
            case 4:
                made[at:at] = by.choice((SEQUENCE, b"\x1b$)C\xff", b"\xfe\xff\xdd\xe0\0\0\0\0", bytes(64)))
            case _:
                made = made[:at]
        if not made:
            return b""
    return bytes(made)


def data_sets() -> list[tuple[bytes, str]]:
    found = []
    step = {"ScheduledStepAttributesSequence": [{"StudyInstanceUID": "1.2.3", "AccessionNumber": "A"}] * 3}
    for name in NAMES:
        row = dicom_wire.header("00012345", "1.2.410.3.4", name=name, **step)
        for terms in (("ISO_IR 192",), ("", "ISO 2022 IR 149"), ("GB18030",), ("ISO_IR 149",)):
            plain = data_set(row, uid.EXPLICIT_LITTLE, terms)
            machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            deflated = machine.compress(plain) + machine.flush()
            found += [(plain, uid.EXPLICIT_LITTLE), (data_set(row, uid.IMPLICIT_LITTLE, terms), uid.IMPLICIT_LITTLE)]
            found += [(plain, uid.EXPLICIT_BIG), (deflated, uid.DEFLATED_LITTLE)]
    return found


def test_10_000_data_sets_are_read_or_refused() -> None:
    by, before, slowest = random.Random(160), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    good = data_sets()
    read, refused, mapped, reasons = 0, 0, 0, set[str]()
    maps, at = load_maps(), Context("HOSP", "pacs", "Asia/Seoul", 0)
    for n in range(MOST):
        data, syntax = good[n % len(good)]
        data = spoilt(data, by)
        wanted = columns.mpps() if n % 3 == 0 else columns.instance()
        begun = time.perf_counter()
        try:
            row = (
                header.read_file(data, wanted, default="cp949")
                if n % 5 == 0
                else header.read(data, syntax, wanted, default="cp949")
            )
            read += 1
            mapped += n % 3 == 0 and maps.map_row("dicom.mpps", {**row, "SOPInstanceUID": "1.2"}, at) is not None
            mapped += n % 3 == 1 and maps.map_row("dicom.series", row, at) is not None
        except Unmappable as error:  # said to a person, without a value
            reasons.add(str(error))
        except Unreadable as error:
            refused += 1
            reasons.add(str(error))
        slowest = max(slowest, time.perf_counter() - begun)
    assert read > 1000
    assert mapped > 500
    assert refused > 1000
    assert "" not in reasons
    assert not any("가" <= c <= "힣" for c in "".join(reasons)), "a name in a reason"
    assert slowest < SLOWEST
    assert grown(before) < SPACE


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 120_000,  # a million bytes of empty items
        b"\x07\x00\x01\x00LO\0\0" * 130_000,  # of empty elements
        b"\x10\x00\x10\x00UT\0\0" + struct.pack("<I", 1_000_000) + b"\x1b$)C\xb0\xa1^" * 142_857,  # of escapes
        b"\x10\x00\x10\x00PN\xf0\xff" + b"\\" * 0xFFF0,
        b"\x40\x00\x70\x02SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 120_000,
    ],
)
def test_what_is_made_to_be_slow_is_not(data: bytes) -> None:
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for wanted in (columns.instance(), columns.mpps()):
        try:
            header.read(data, uid.EXPLICIT_LITTLE, wanted, default="cp949")
        except Unreadable:
            continue
    assert time.perf_counter() - begun < 2 * SLOWEST
    assert grown(before) < SPACE


# ---------------------------------------------------------------------------------------------------- PDUs


class Intake:
    """Takes everything and keeps nothing."""

    def __init__(self) -> None:
        self.taken = 0

    def store(self, batch: Any) -> list[Receipt]:
        self.taken += len(batch)
        return [Receipt(Verdict.NEVER if one.refused else Verdict.STORED, n + 1) for n, one in enumerate(batch)]

    def answered(self, first_id: int, last_id: int, undelivered: Any) -> None:
        pass


class Memory:
    def recall(self, name: str) -> Recalled:
        return Recalled(0, {})

    def mark(self, name: str, n: int, what: Any) -> MarkRow:
        return MarkRow("", name.encode(), b"", n, None, 0)


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.said, self.closed = bytearray(), False

    def write(self, data: Any) -> None:
        self.said += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default


def test_10_000_associations_are_answered_or_aborted() -> None:
    asyncio.run(_associations())


async def _associations() -> None:
    intake, by = Intake(), random.Random(161)
    adapter = CASE.module.build(CASE.module.Settings.from_table({"port": 0, "peers": {"*": ""}}), "fuzz")
    adapter.remember_in(Memory())
    await adapter.start(intake)
    listener = adapter._listener
    assert isinstance(listener, DicomListener)
    errors: list[Any] = []
    statuses: list[int] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, what: errors.append(what))
    good = [
        dicom_wire.associate()
        + dicom_wire.store(dicom_wire.header("1", "1.2.3", name=NAMES[0]), 1, bytes(99))
        + dicom_wire.RELEASE,
        dicom_wire.associate(abstract="1.2.840.10008.3.1.2.3.3")
        + dicom_wire.request(0x0140, 1, "1.2.840.10008.3.1.2.3.3", "1.2.3", data_set({"PatientID": "1"}, uid.EXPLICIT_LITTLE)),
        dicom_wire.associate(abstract="1.2.840.10008.1.1")
        + dicom_wire.request(0x0030, 1, "1.2.840.10008.1.1", "")
        + dicom_wire.RELEASE,
    ]
    before, slowest, answered = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0, 0
    for n in range(MOST):
        whole = good[n % 3]
        sent = whole if n % 100 == 0 else spoilt(whole, by)
        wire, begun = Wire(), time.perf_counter()
        association = Association(listener)
        association.connection_made(wire)
        for at in range(0, len(sent), 400):
            association.data_received(sent[at : at + 400])
        await asyncio.sleep(0)
        association.eof_received()
        association.connection_lost(None)
        slowest = max(slowest, time.perf_counter() - begun)
        answered += bool(wire.said)
        statuses += dicom_wire.statuses(bytes(wire.said))
        kinds = [kind for kind, _ in dicom_wire.pdus(bytes(wire.said))]
        assert set(kinds) <= {2, 3, 4, 6, 7}
    await asyncio.sleep(0.01)
    await adapter.stop()
    assert errors == []
    assert listener.connections == 0
    assert answered > MOST // 2
    assert statuses.count(0) > 300
    assert {0xA900, 0xC000, 0x0120} <= set(statuses)
    assert intake.taken > 20
    assert slowest < SLOWEST
    assert grown(before) < SPACE
