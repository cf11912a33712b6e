"""10,000 damaged IDocs, flat and XML: each is read or refused with a reason, within a second, in little memory, in silence."""

from __future__ import annotations

import random
import socket
import threading
import time
from pathlib import Path

import pytest

from hub.adapters.erp import idoc_in
from hub.adapters.erp.idoc_rules import Rules
from hub.codecs.sap import idoc_flat, idoc_status, idoc_xml
from hub.codecs.sap.idoc import Idoc, Segment
from hub.codecs.sap.idoc_flat import Format
from hub.domain.errors import HubError, Unmappable, Unreadable
from hub.mapping import Context, load_maps
from hub.simulator.idoc import bill, customer, status
from hub.sync.polled import read_row

CASES = 10_000
SECONDS = 1.0  # one input
MEGABYTES = 200  # all of them
NAMES = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수")
SEEDS = [
    customer("0000012345", "1", NAME1=NAMES[0], STRAS="테헤란로 1", TELF2="010-1234-5678"),
    bill("90001", "2", "0000012345", "12000"), bill("90002", "3", "0000012345", "19.90-", "USD"),
    status("4", "0000000000000042", "51", "F2 163", NAMES[1]),
    Idoc({"DOCNUM": "5", "MESTYP": "ZZZ"}, [Segment("E1EDKT1", {"TDID": "1"})]),
]  # fmt: skip
FORMATS = [Format.of(charset) for charset in ("utf-8", "cp949", "utf-16-le")]
MAPS = load_maps()
RULES = Rules(idoc_in.Settings.from_table({"folder": "/nowhere", "assigner": "HOSP"}), "fuzz")


def damaged(dice: random.Random, body: bytes) -> bytes:
    """One to four harms: bits, holes, repetitions, noise, an end too early."""
    found = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(found)) if found else 0
        size = dice.choice((1, 2, 3, 16, 63, 300))
        match dice.randrange(6):
            case 0:
                found[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del found[at : at + size]
            case 2:
                found[at:at] = found[at : at + size] * dice.choice((1, 2, 40))
            case 3:
                found[at:at] = dice.randbytes(size)
            case 4:
                del found[at:]
            case _:
                found[at:at] = dice.choice(
                    (b"\n", b"<", b"&x;", b"]]>", b"<!DOCTYPE a>", b"EDI_DC40", b"E2KNA1M005", b"\0" * 9, b"999999")
                )
    return bytes(found)


def told(error: HubError) -> None:
    """With a reason that names nobody."""
    assert error.reason
    assert not any(name in error.reason for name in NAMES)


def through(idoc: Idoc, raw: bytes) -> None:
    """All that the hub does with what it could read."""
    received = RULES.received(idoc, raw)
    if received.refused is not None:
        assert received.refused
        return
    event, row = read_row(received.body)
    if event in idoc_status.EVENTS:
        idoc_status.settled(event, row)
        return
    try:
        MAPS.map_row(event, row, Context("HOSP", "erp", "Asia/Seoul"))
    except Unmappable as error:
        told(error)


def resident() -> int:
    """Megabytes of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def _flat(body: bytes, form: Format) -> int:
    read = 0
    for piece in idoc_flat.pieces([body], form):
        try:
            through(idoc_flat.read(piece.body, form), piece.body)
            read += 1
        except Unreadable as error:
            told(error)
    return read


def _xml(body: bytes) -> int:
    try:
        idocs = idoc_xml.read(body)
    except Unreadable as error:
        told(error)
        return 0
    for idoc in idocs:
        through(idoc, body)
    return len(idocs)


@pytest.mark.parametrize("kind", ["flat", "xml"])
def test_ten_thousand_damaged_idocs(kind: str) -> None:
    dice = random.Random(20261122)
    flat = [[idoc_flat.write(seed, form) for seed in SEEDS] for form in FORMATS]
    xml = [idoc_xml.write([seed], "X") for seed in SEEDS]
    before, slowest, read = resident(), 0.0, 0
    for number in range(CASES):
        began = time.perf_counter()
        if kind == "flat":
            which = number % len(FORMATS)
            read += _flat(damaged(dice, dice.choice(flat[which])), FORMATS[which])
        else:
            read += _xml(damaged(dice, dice.choice(xml)))
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < SECONDS
    assert resident() - before < MEGABYTES
    assert CASES // 50 < read < CASES * 3  # neither all refused nor none


def test_no_entity_is_fetched() -> None:
    """A canary that listens: whoever follows a DTD or an entity comes by."""
    heard: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.settimeout(0.2)
        url = f"http://127.0.0.1:{canary.getsockname()[1]}/canary"

        def listen() -> None:
            for _ in range(4):
                try:
                    canary.accept()[0].close()
                    heard.append("somebody came by")
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen)
        thread.start()
        for head in (
            f"<!DOCTYPE x SYSTEM '{url}'>", f"<!DOCTYPE x [<!ENTITY e SYSTEM '{url}'>]>",
            f"<!DOCTYPE x [<!ENTITY % p SYSTEM '{url}'>%p;]>",
            f"<?xml-stylesheet href='{url}'?>",
        ):  # fmt: skip
            text = f"{head}<x xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='{url}'/><IDOC>&e;</IDOC></x>"
            assert _xml(text.encode()) == 0
        thread.join()
    assert heard == []


@pytest.mark.parametrize("size", [1 << 10, 1 << 20])
def test_what_is_huge_is_refused_quickly(size: int) -> None:
    began, before = time.perf_counter(), resident()
    laughs = "".join(f"<!ENTITY a{n} '{'&a' + str(n - 1) + ';' * 10}'>" for n in range(1, 20))
    bodies = [
        b"<D><IDOC>" + b"<s>" * size, b"<D><IDOC><EDI_DC40>" + b"x" * size, b"<D><IDOC " + b"a" * size,
        b"<D>" + b"<IDOC/>" * (size // 8) + b"</D>", f"<!DOCTYPE l [<!ENTITY a0 'ha'>{laughs}]><D>&a19;</D>".encode(),
    ]  # fmt: skip
    for body in bodies:
        assert _xml(body) == 0
    for form in FORMATS:
        _flat(b"EDI_DC40" * (size // 8), form)
        _flat(b"\n" * size, form)
    assert time.perf_counter() - began < 10 * SECONDS
    assert resident() - before < MEGABYTES
