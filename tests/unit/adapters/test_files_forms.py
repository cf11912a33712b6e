"""What is in files, without a hub: 10,000 spoilt files of each kind crash nothing and hang nothing; memory does not grow."""

from __future__ import annotations

import io
import random
import resource
import time
import tracemalloc
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.files import csv_in, fixed_in, hl7_in
from hub.adapters.files.folder import Claimed
from hub.adapters.files.source import Form, Record
from hub.domain.errors import Unreadable

ROW = {"folder": Path("/drop"), "event": "OPD_PATIENT", "charset": "cp949", "max_line": 2000}
CSV = csv_in.CsvFiles(csv_in.Settings(**ROW, keys=("PANO",)), "csv")
LOG = csv_in.CsvFiles(csv_in.Settings(**{**ROW, "charset": "utf-8"}), "log")
FIXED = fixed_in.FixedFiles(fixed_in.Settings(**ROW, keys=("PANO",), columns={"PANO": (1, 8), "SNAME": (9, 10)}), "fixed")
HL7 = hl7_in.Hl7Files(hl7_in.Settings(folder=Path("/drop"), max_message=5000), "hl7")
TABLE = 'PANO,SNAME,REMARK\r\n1,홍길동,"a ""b"", c"\r\n2,똠방각하,펲시콜라\r\n3,뷁,"two\r\nlines"\r\n'
LINES = "00000001홍길동    \r\n00000002뷁        \r\n"
HEAD = "FHS|^~\\&\r"
MESSAGES = "".join(f"MSH|^~\\&|OCS|H|HUB|H|20261122||ADT^A08|C{n}|P|2.5\rPID|1||{n}^^^HOSP||洪^吉洞\r" for n in (1, 2))
KINDS: list[tuple[Form, bytes]] = [
    (CSV, TABLE.encode("cp949")),
    (LOG, TABLE.encode("utf-8-sig")),
    (FIXED, LINES.encode("cp949")),
    (HL7, (HEAD + MESSAGES).encode()),
]
BITS = [
    b'"',
    b",",
    b"\r",
    b"\n",
    b"\0",
    b"\xff",
    b"\x81",
    b'""',
    b"\r\n",
    b"|",
    b"MSH|",
    b"\x1a",
    b"x" * 3000,
    b'"\n' * 100,
    b"\xef\xbb\xbf",
]


def opened(data: bytes) -> Claimed:
    return Claimed("x", Path("/x"), BufferedReader(io.BytesIO(data)), (1, len(data), 0))  # type: ignore[arg-type]


def read(form: Form, data: bytes, offset: int = 0, number: int = 0) -> list[Record]:
    return list(form.records(opened(data), offset, number))


def spoilt(chance: random.Random, data: bytes) -> bytes:
    text = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(4):
            case 0:
                text[at:at] = chance.choice(BITS)
            case 1:
                del text[at : at + chance.randint(1, 20)]
            case 2:
                text[at : at + 1] = bytes([chance.randrange(256)])
            case _:
                text += text[at : at + 50]
    return bytes(text)


@pytest.mark.parametrize(("form", "good"), KINDS, ids=["csv", "keyless", "fixed", "hl7"])
def test_10_000_spoilt_files(form: Form, good: bytes) -> None:
    chance = random.Random(1)
    slowest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10_000 if form is CSV else 2_500):
        data = spoilt(chance, good)
        began = time.process_time()
        try:
            records = read(form, data)
        except Unreadable:
            continue
        finally:
            slowest = max(slowest, time.process_time() - began)
        assert [r.end for r in records] == sorted({r.end for r in records})
        assert all(r.read is not None or r.refused for r in records)
        if records:  # whoever begins anew at the end of a record finds those that came after it
            half = records[len(records) // 2]
            rest = read(form, data, half.end, max(half.number, half.upto))
            assert [(r.number, r.refused, r.body) for r in rest] == [
                (r.number, r.refused, r.body) for r in records[len(records) // 2 + 1 :]
            ]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert slowest < 1  # of processor time: a busy machine is no fault of ours
    assert grown < 200 << 20


def test_quotes_that_never_close_cost_no_more_than_a_moment_a_line() -> None:
    data = b"PANO,SNAME,REMARK\n" + b'1,"x,y\n' * 2001
    began = time.process_time()
    records = read(CSV, data)
    assert time.process_time() - began < 5
    assert len(records) + 1 <= 2002


class Endless(io.RawIOBase):
    """A file of any size that takes no room."""

    def __init__(self, head: bytes, part: bytes, times: int) -> None:
        self._parts: Iterator[bytes] = iter([*[head] * bool(head), *[part] * times])
        self._held = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return offset

    def tell(self) -> int:
        return 0

    def readinto(self, buffer: Any) -> int:
        if not self._held:
            self._held = next(self._parts, b"")
        n = min(len(buffer), len(self._held))
        buffer[:n], self._held = self._held[:n], self._held[n:]
        return n


@pytest.mark.parametrize(
    ("form", "head", "part", "count"),
    [
        (HL7, b"", MESSAGES.encode() * 50, 100),
        (HL7, MESSAGES.encode(), b"x" * 1_000_000, 1),
        (FIXED, b"", LINES.encode("cp949") * 100, 200),
        (FIXED, LINES.encode("cp949"), b"x" * 1_000_000, 1),
    ],
    ids=["messages", "one message without an end", "lines", "one line without an end"],
)
def test_memory_does_not_grow_with_the_file(form: Form, head: bytes, part: bytes, count: int) -> None:
    times = 60 if len(part) >= 1_000_000 else 100
    file = Claimed("x", Path("/x"), BufferedReader(Endless(head, part, times)), (1, 0, 0))  # type: ignore[arg-type]
    tracemalloc.start()
    found = sum(1 for _ in form.records(file, 0, 0))
    grown = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found >= (count * times if count > 1 else 2)
    assert grown < 12 << 20
