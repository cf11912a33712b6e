"""hl7apy behind its door: what we build is standard, and strict validation names places, never values."""

from __future__ import annotations

import pytest

from hub.codecs.hl7v2 import parse
from hub.codecs.hl7v2.standard import build, structure_of, validate
from hub.domain.errors import Unmappable, Unreadable

EVN = ("EVN", {2: "20261122090000"})
PID = ("PID", {1: "1", 3: [("123", "", "", "HOSP", "MR")], 5: [("홍", "길동")], 7: "19800101", 8: "M"})
PV1 = ("PV1", {2: "N"})
SIU = [
    ("SCH", {1: ("P1", "HUB"), 2: ("F1", "OCS"), 6: ("BOOKED",), 11: [("", "", "15", "20261201090000", "20261201091500")],
             16: [("D1", "이")], 20: [("HUB",)], 25: ("Booked",)}),
    PID, ("RGS", {1: "1"}), ("AIS", {1: "1", 3: ("OPD", "외래")}), ("AIP", {1: "1", 3: [("D1", "이")], 4: ("D", "의사")}),
]  # fmt: skip


def make(event, segments, version="2.5", charset="utf-8"):
    return build(event, version, segments, control_id="X1", at="20261122090000", charset=charset)


@pytest.mark.parametrize(
    ("event", "structure", "segments"),
    [
        ("ADT^A08", "ADT_A01", [EVN, PID, PV1]), ("ADT^A28", "ADT_A05", [EVN, PID, PV1]), ("ADT^A31", "ADT_A05", [EVN, PID, PV1]),
        ("SIU^S12", "SIU_S12", SIU), ("SIU^S13", "SIU_S12", SIU), ("SIU^S15", "SIU_S12", SIU),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["2.4", "2.5", "2.5.1", "2.6"])
def test_what_we_send_is_standard(event, structure, segments, version):
    read = parse(make(event, segments, version))
    header = read.segments[0]
    assert structure_of(event, version) in (structure, "ADT_A01")
    assert (header.value(9), header.value(9, comp=2), header.value(10), header.value(12)) == (*event.split("^"), "X1", version)
    validate(read)


def test_before_2_3_1_there_is_no_structure_in_msh_9():
    assert parse(make("ADT^A31", [("EVN", {1: "A31", **EVN[1]}), PID, PV1], "2.3")).segments[0].raw(9) == "ADT^A31"


def test_the_charset_is_declared_as_it_is_written():
    body = make("ADT^A08", [EVN, PID, PV1], charset="cp949")
    assert b"|KS X 1001\r" in body
    assert "홍^길동".encode("cp949") in body


@pytest.mark.parametrize(
    ("segments", "place"),
    [
        ([EVN, PV1], "PID[1]"),
        ([EVN, PID], "PV1[1]"),
        ([EVN, PID, PID, PV1], "PID[1]"),
        ([EVN, ("PID", {5: "홍"}), PV1], "PID[1]-3"),
        ([("EVN", {2: "yesterday"}), PID, PV1], "EVN[1]-2"),
        ([EVN, ("PID", {**PID[1], 7: "홍길동"}), PV1], "PID[1]-7"),
        ([EVN, ("PID", {**PID[1], 5: "\x0b"}), PV1], "PID-5"),
    ],
)
def test_what_is_not_standard_is_not_sent_and_the_place_is_named(segments, place):
    with pytest.raises(Unmappable) as caught:
        make("ADT^A08", segments)
    assert place in str(caught.value)
    assert "홍" not in str(caught.value)
    assert "yesterday" not in str(caught.value)


@pytest.mark.parametrize(("event", "version"), [("ADT^A08", "9.9"), ("XXX^Y01", "2.5")])
def test_an_unknown_version_or_event_cannot_be_built(event, version):
    with pytest.raises(Unmappable):
        make(event, [EVN, PID, PV1], version)


def test_z_segments_and_five_character_delimiters_pass_strict_validation():
    text = make("ADT^A08", [EVN, PID, PV1]).decode() + "ZKR|anything|at all\r"
    validate(parse(text.encode()))
    validate(parse(text.replace("MSH|^~\\&|", "MSH|^~\\&#|").encode()))


@pytest.mark.parametrize(
    ("old", "new", "code"), [("|2.5|", "|2.9|", 203), ("ADT^A08^ADT_A01", "XYZ^A08", 200), ("PV1||N\r", "", 100)]
)
def test_strict_validation_gives_the_code_of_table_0357(old, new, code):
    text = make("ADT^A08", [EVN, PID, PV1]).decode()
    assert old in text
    with pytest.raises(Unreadable) as caught:
        validate(parse(text.replace(old, new).encode()))
    assert caught.value.hl7 == code
