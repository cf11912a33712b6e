"""SAP's statuses of an IDoc: what each means here, whose it is, and that nobody's name gets into a text."""

from __future__ import annotations

import pytest

from hub.codecs.sap.idoc import Idoc, Segment, row
from hub.codecs.sap.idoc_status import STATUSES, made_at, settled
from hub.domain.facts import Settled
from hub.simulator.idoc import status


def system_status(**fields: str) -> list[Settled]:
    return settled("idoc.STATUS", row(Idoc({}, [Segment("E1STATS", fields)])))


@pytest.mark.parametrize(("code", "acted"), [
    ("53", True), ("41", True), ("16", True), ("51", False), ("52", False), ("56", False), ("68", False), ("63", False),
    ("64", None),
    ("62", None), ("50", None), ("03", None), ("12", None), ("66", None),
])  # fmt: skip
def test_the_table(code: str, acted: bool | None) -> None:
    assert STATUSES[code] is acted
    assert settled("idoc.ALEAUD", row(status("9", "0000000000000042", code))) == [Settled(42, acted, f"SAP {code}")]


def test_class_and_number_of_t100_are_told_and_nothing_else() -> None:
    (one,) = settled("idoc.ALEAUD", row(status("9", "42", "51", "F2 163", "고객 홍길동")))
    assert one.detail == "SAP 51 F2 163"
    assert system_status(DOCNUM="42", STATUS="51", STACOD="SAPVG204", STATXT="홍길동") == [Settled(42, False, "SAP 51 VG 204")]
    assert system_status(DOCNUM="42", STATUS="51", STAMID="홍길동", STAMNO="1") == [Settled(42, False, "SAP 51")]
    assert system_status(DOCNUM="42", STATUS="홍길", STACOD="홍길동") == [Settled(42, None, "SAP ??")]


@pytest.mark.parametrize(("fields", "number"), [
    ({"ARCKEY": "HUB-42"}, 42), ({"ARCKEY": "4711"}, 4711), ({"DOCNUM": "7", "ARCKEY": "HUB-42"}, 7), ({}, 0),
    ({"DOCNUM": "²"}, 0), ({"DOCNUM": "12345678901234567"}, 0),
])  # fmt: skip
def test_whose_it_is(fields: dict[str, str], number: int) -> None:
    assert [one.message_id for one in system_status(STATUS="53", **fields)] == [number]


@pytest.mark.parametrize(("control", "at"), [
    ({"CREDAT": "20261122", "CRETIM": "090000"}, 1_795_305_600_000_000), ({"CREDAT": "20261122"}, 1_795_273_200_000_000),
    ({"SERIAL": "20261122090000000007", "CREDAT": "20200101"}, 1_795_305_600_000_007), ({"SERIAL": "ABC", "CREDAT": "x"}, None),
    ({"SERIAL": "20269922090000", "CREDAT": "20261122", "CRETIM": "090000"}, 1_795_305_600_000_000), ({}, None),
    ({"SERIAL": "20261122090000²"}, 1_795_305_600_000_000),
])  # fmt: skip
def test_the_moment_of_an_idoc(control: dict[str, str], at: int | None) -> None:
    assert made_at({"EDI_DC40": control}, "Asia/Seoul") == at
    assert made_at({}, "Asia/Seoul") is None
