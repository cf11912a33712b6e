"""10,000 rows of whatever drivers can give, through clean-up, intake, mapping and apply: no crash, no hang, no heap."""

from __future__ import annotations

import datetime as dt
import random
import resource
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.sql.clean import Cleaner
from hub.domain.ports import Found
from hub.mapping import Context
from hub.sync.polled import PolledFeed
from tests.hub_kit import Kit, make_kit
from tests.integration.odbc_kit import NAMES

ROWS, BLOCK = 5_000, 500  # twice
SECONDS, MEGABYTES = 1.0, 200
CHANNEL = """
[channels.old]
adapter = "ocs.sql_in"
system = "old"
connection = "DSN=none"
database = "sqlite"
table = "T"
key = ["ID"]
event = "FUZZ"
overlay = "maps"
on_dead = "skip"
"""
MAP = """source = "row"
[block.patient]
kind = "Patient"
key = "NO"
[block.patient.fields]
"A" = { to = "name", as = "name_text", each = true }
"B" = { to = "birthDate", as = "date", empty = ["00000000"] }
"C" = { to = "gender", codes = "administrative-sex" }
"D" = { to = "telecom", as = "phone", each = true }
"E" = { to = "address", as = "xad", each = true }
"F" = { to = "deceased", as = "yn" }
"G" = { to = "note" }
"H,I" = [{ to = "birthDate", as = "rrn_parts_birth_date" }, { to = "gender", as = "rrn_parts_gender" }]
[block.booking]
kind = "Appointment"
key = [["NO", "B"]]
patient = "NO"
required = false
[block.booking.fields]
"B,F" = { to = "start", as = "date_time" }
"G" = { to = "minutes", as = "number" }
[event.FUZZ]
blocks = ["patient", "booking"]
"""
COLUMNS = ["ID", "NO", "A", "B", "C", "D", "E", "F", "G", "H", "I"]
Maker = Callable[[random.Random], Any]


def letters(rnd: random.Random, low: int, high: int, most: int = 40) -> str:
    return "".join(chr(rnd.randint(low, high)) for _ in range(rnd.randint(0, most)))


VALUES: list[Maker] = [
    lambda _: None,
    lambda rnd: rnd.choice(NAMES),
    lambda rnd: rnd.choice(NAMES).encode("cp949").decode("latin-1"),
    lambda rnd: rnd.choice(["00000000", "19800131", "20261399", "99991231", "0000-00-00", "2400", "Y", "N", "M", "F", " ", "　"]),
    lambda rnd: rnd.choice(
        ["010-1234-5678", "+82 10 1234 5678", "1588-1234", "80" + "13" + "31", "1******", "-", "'; DROP TABLE x"]
    ),
    lambda rnd: rnd.randbytes(rnd.randint(0, 60)),
    lambda rnd: bytearray(rnd.randbytes(8)),
    lambda rnd: memoryview(rnd.randbytes(8)),
    lambda rnd: rnd.choice([float("nan"), float("inf"), -float("inf"), 0.0, -1.5, 1e308, rnd.random()]),
    lambda rnd: rnd.choice(
        [Decimal("NaN"), Decimal("Infinity"), Decimal("1E+400"), Decimal("1.50"), Decimal(rnd.getrandbits(200))]
    ),
    lambda rnd: rnd.choice([0, -1, 2**31, 2**63, -(2**80), rnd.getrandbits(64)]),
    lambda rnd: rnd.random() < 0.5,
    lambda rnd: letters(rnd, 0, 31),
    lambda rnd: letters(rnd, 0xD800, 0xDFFF, 4),
    lambda rnd: letters(rnd, 0x80, 0xFF),
    lambda rnd: letters(rnd, 0xAC00, 0xD7A3),
    lambda rnd: letters(rnd, 0x10000, 0x10FFFF),
    lambda rnd: "a\\0b\0c" + "\0" * rnd.randint(0, 3),
    lambda rnd: "가" * 300_000 if rnd.random() < 0.01 else "^~\\&|" * rnd.randint(0, 200),
    lambda rnd: dt.datetime(rnd.choice([1, 1900, 2026, 9999]), 1, 1, tzinfo=dt.UTC),
    lambda rnd: dt.date(rnd.randint(1, 9999), 12, 31),
    lambda rnd: dt.time(rnd.randint(0, 23), 59),
    lambda rnd: dt.timedelta(days=rnd.randint(-(10**6), 10**6)),
    lambda rnd: uuid.UUID(int=rnd.getrandbits(128)),
    lambda rnd: [rnd.random(), {"가": "\ud800"}],
]


TAME = ["남궁민수", "19800131", "F", "010-1234-5678", "서울특별시 강남구", "N", "30", "801331", "2******"]


def rows(seed: int, *, raw: bool) -> Iterator[list[Any]]:
    """Each with up to three wild columns; of every fourth patient there are two or three."""
    rnd = random.Random(seed)
    for number in range(ROWS):
        row = [number, f"{number % 4000:08d}", *TAME]
        if raw:
            row = [value.encode("cp949").decode("latin-1") if isinstance(value, str) else value for value in row]
        for place in rnd.sample(range(1, len(row)), rnd.randint(0, 3)):
            row[place] = rnd.choice(VALUES)(rnd)
        yield row


@pytest.fixture
def kit(tmp_path: Path, sqlite_url: str) -> Iterator[Kit]:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "fuzz.toml").write_text(MAP, encoding="utf-8")
    made = make_kit(tmp_path, sqlite_url, on_dead="skip", more=CHANNEL)
    yield made
    made.close()


@pytest.mark.parametrize(("raw", "encoding"), [(True, "cp949"), (False, "utf-8")])
def test_no_row_whatever_is_in_it_stops_the_hub(kit: Kit, raw: bool, encoding: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    context = Context("HOSP", "old")
    feed = PolledFeed(
        "old", kit.hub.store, kit.hub.keys, kit.intake, lambda event, row: kit.hub.maps.row_patient(event, row, context)
    )
    cleaner = Cleaner(raw, encoding, {"G": "utf-8"}, ["ID"])
    slowest, block, told = 0.0, list[Found](), 0
    for row in rows(7, raw=raw):
        began = time.perf_counter()
        block.append(cleaner.found(COLUMNS, row))
        slowest = max(slowest, time.perf_counter() - began)
        if len(block) == BLOCK:
            began = time.perf_counter()
            told += feed.rows("FUZZ", block)
            kit.apply()
            slowest = max(slowest, (time.perf_counter() - began) / 50)  # of ten rows
            block = []
    assert told == ROWS
    ended = dict(
        kit.rows("SELECT state, count(*) FROM outcome o JOIN message m ON m.id = o.message_id WHERE direction = 'in' GROUP BY 1")
    )
    dead = kit.rows("SELECT reason, count(*) FROM work WHERE direction = 'in' GROUP BY reason")
    assert {reason.partition(":")[0] for reason, _ in dead} <= {"no_key"}  # and nothing waits, and nothing is our bug
    assert ended["done"] > ROWS / 2
    assert ended["done"] + ended["refused"] + sum(n for _, n in dead) == ROWS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024 <= MEGABYTES
    assert slowest < SECONDS
