"""Drop folders against files that nobody would write: no crash, no hang, no memory; every byte is a row, or refused, or blank.

Done-when 6: 10,000 inputs of CSV, and 2,000 each of fixed width and of HL7 batches. A seed is printed with what it broke.
"""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from io import BufferedReader, BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.adapters.files import csv_in, fixed_in, hl7_in
from hub.adapters.files.source import Form, Record
from hub.domain.errors import Unreadable
from hub.domain.ports import Found, Receipt, Received, Verdict
from hub.sync.polled import row_body

SECONDS, MEGABYTES = 1.0, 200
NAMES = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞", "O'Brien", "=1+1", "“quoted”")
NASTY = (
    b'"', b'""', b'",', b',"', b"\n", b"\r", b"\r\n", b"\x00", b"\x1a", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc8", b",,,,",
    b"\x0b", b"\x1c\r", b"MSH|", b"MSH|^~\\&|", b"FHS|^~\\&\r", b"BTS|", b"|", b"^", b"~", b"\\", b"\\X", b"\\Xzz\\", b"\x85",
    b"\xe2\x80\xa8", b" " * 50, b"A" * 3000,
)  # fmt: skip


class Sink:
    """A Feed that keeps nothing and makes of everything what the hub would store."""

    def __init__(self) -> None:
        self.bytes = 0

    def store(self, batch: Sequence[Received], place: tuple[str, str] | None = None) -> list[Receipt]:
        self.bytes += sum(len(one.body) for one in batch)
        return [Receipt(Verdict.STORED, n) for n, _ in enumerate(batch)]

    def rows(self, event: str, found: Sequence[Found], seen: set[bytes] | None = None) -> int:
        assert len({row_body(event, one.key) for one in found}) == len(found)
        self.bytes += sum(len(row_body(event, one.row)) for one in found)
        return len(found)

    def keep(self, name: str, place: str) -> None:
        return


def csv_file(chance: random.Random) -> bytes:
    lines = ["PANO,SNAME,REMARK"]
    for n in range(chance.randrange(12)):
        name, remark = chance.choice(NAMES), chance.choice(["", "x", 'a""b', "여러 줄"])
        lines.append(f'{n},"{name}",{remark}' if chance.random() < 0.5 else f"{n},{name},x")
    text = chance.choice(["\n", "\r\n"]).join(lines) + chance.choice(["", "\n"])
    return text.encode(chance.choice(["cp949", "utf-8"]), "replace")


def fixed_file(chance: random.Random) -> bytes:
    names = [chance.choice(NAMES).encode("cp949", "replace").ljust(12) for _ in range(chance.randrange(9))]
    rows = [f"{n:<8}".encode() + name + b"1987" for n, name in enumerate(names)]
    return chance.choice([b"\n", b"\r\n"]).join(rows)


def hl7_file(chance: random.Random) -> bytes:
    end = chance.choice(["\r", "\n", "\r\n"])
    parts = ["FHS|^~\\&", "BHS|^~\\&"] if chance.random() < 0.5 else []
    for n in range(chance.randrange(5)):
        charset = chance.choice(["UNICODE UTF-8", "KS X 1001", "XX", ""])
        head = f"MSH|^~\\&|LAB|HOSP|HUB|HOSP|20261122||ADT^A08|F{n}|P|2.5|||||KOR|{charset}"
        parts += [head, f"PID|1||{n}^^^HOSP^MR||{chance.choice(NAMES)}", "PV1|1|O"]
    if parts and chance.random() < 0.5:
        parts += ["BTS|3", "FTS|1"]
    return (end.join(parts) + end).encode(chance.choice(["utf-8", "cp949"]), "replace")


def harmed(data: bytes, chance: random.Random) -> bytes:
    """A few cuts, swaps, flips and insertions."""
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                data = data[:at] + chance.choice(NASTY) + data[at:]
            case 1:
                data = data[:at]
            case 2:
                data = data[:at] + bytes(chance.randrange(256) for _ in range(chance.randrange(8))) + data[at + 3 :]
            case 3:
                data = data[at:] + data[:at]
            case 4:
                data = data[:at] + chance.choice(NASTY) * chance.randrange(200) + data[at:]
            case _:
                old, new = chance.sample(NASTY, 2)
                data = data.replace(old, new, chance.randrange(5))
    return data


def csv_forms() -> Iterator[Form]:
    common: dict[str, Any] = {"folder": Path("/nowhere"), "event": "X", "max_line": 1000}
    kinds: list[dict[str, Any]] = [
        {"keys": ("PANO",), "charset": "cp949"},
        {"charset": "utf-8"},
        {"columns": ("PANO", "SNAME", "REMARK"), "delimiter": ";"},
    ]
    for more in kinds:
        yield csv_in.CsvFiles(csv_in.Settings(**common, **more), "files")


def fixed_forms() -> Iterator[Form]:
    columns: dict[str, tuple[int, ...]] = {"PANO": (1, 8), "SNAME": (9, 12), "BIRTH": (21, 4)}
    common: dict[str, Any] = {"folder": Path("/nowhere"), "event": "X", "keys": ("PANO",), "charset": "cp949", "max_line": 1000}
    for short in ("refuse", "blank"):
        settings = fixed_in.Settings(**common, columns=columns, short_lines=short)
        yield fixed_in.FixedFiles(settings, "files")


def hl7_forms() -> Iterator[Form]:
    for charset in ("cp949", "utf-8"):
        yield hl7_in.Hl7Files(hl7_in.Settings(folder=Path("/nowhere"), charset=charset, max_message=4096), "files")


def read(form: Form, data: bytes, sink: Sink) -> None:
    """As FolderSource does; what comes out stands in order and inside the file."""
    file: Any = SimpleNamespace(handle=BufferedReader(BytesIO(data)), stamp=(1, len(data), 1), name="file")
    records: list[Record] = []
    try:
        records += form.records(file, 0, 0)
    except Unreadable:  # the file as a whole is of no use: it ends in error/ with its reason
        pass
    form.hand(sink, [r for r in records if r.refused or r.read is not None], ("file1", "{}"))  # type: ignore[arg-type]
    end = 0
    for record in records:
        assert end <= record.offset <= record.end <= len(data)
        assert len(record.body) <= max(70_000, record.end - record.offset)
        end = record.end


CASES: list[Any] = [
    pytest.param(csv_forms, csv_file, 10_000, id="csv"),
    pytest.param(fixed_forms, fixed_file, 2_000, id="fixed"),
    pytest.param(hl7_forms, hl7_file, 2_000, id="hl7"),
]


@pytest.mark.parametrize(("forms", "written", "inputs"), CASES)
def test_fuzzed_files(forms: Callable[[], Iterator[Form]], written: Callable[[random.Random], bytes], inputs: int) -> None:
    kinds, sink, slowest = list(forms()), Sink(), (0.0, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(inputs):
        chance = random.Random(seed)
        data = harmed(written(chance), chance)
        began = time.process_time()
        try:
            read(kinds[seed % len(kinds)], data, sink)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        slowest = max(slowest, (time.process_time() - began, seed))
    assert slowest[0] < SECONDS, f"seed {slowest[1]}"
    assert sink.bytes > inputs  # it was read, not thrown away
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


@pytest.mark.parametrize(
    "data",
    [
        b'PANO,SNAME,REMARK\n1,"' + b"x\n" * 20_000,
        b"PANO,SNAME,REMARK\n" + b'"' * 1_000_000,
        b"PANO,SNAME,REMARK\n" + b'1,"a\n' * 20_000,
        b"," * 2_000_000,
        b"\x00" * 2_000_000,
        b"\n" * 200_000,
        b'PANO,SNAME,REMARK\n' + b'1,"' + b'""' * 400 + b"\n",
    ],
    ids=["open quote", "quotes", "open quotes", "commas", "NULs", "blank lines", "doubled quotes"],
)  # fmt: skip
def test_files_made_to_be_slow(data: bytes) -> None:
    """What is read in quadratic time, or kept whole, would show here."""
    for form in csv_forms():
        began = time.process_time()
        read(form, data, Sink())
        assert time.process_time() - began < 10 * SECONDS  # megabytes, of which each line is bounded
