"""The writer: no value can make a segment, and what is written is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7v2 import DEFAULT_DELIMITERS, NULL, Delimiters, escape, parse, unescape, write
from hub.domain.errors import Unmappable

MSH = ("MSH", {3: "HUB", 9: ("ADT", "A08", "ADT_A01"), 10: "1", 11: "P", 12: "2.5", 18: "UNICODE UTF-8"})
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x0b\x1c"), max_size=40)
MARKS = st.lists(st.sampled_from("|^~\\&#*$:%!@;{}"), min_size=6, max_size=6, unique=True).map(lambda m: Delimiters(*m))


def test_nested_values_become_repetitions_components_and_subcomponents():
    body = write(
        [MSH, ("PID", {1: "1", 3: [("123", "", "", ("HOSP", "1.2", "ISO"), "MR"), "9"], 5: ("홍", "길동"), 8: NULL, 9: None})]
    )
    assert body.split(b"\r")[1].decode() == 'PID|1||123^^^HOSP&1.2&ISO^MR~9||홍^길동|||""'


def test_the_classic_injection_stays_a_value():
    body = write([MSH, ("PID", {5: "KIM\rPV1|1|I|HACK"})])
    read = parse(body)
    assert [segment.name for segment in read.segments] == ["MSH", "PID"]
    assert read.segments[1].value(5) == "KIM\rPV1|1|I|HACK"


@given(TEXT, MARKS)
def test_escape_and_unescape_are_inverse(value, marks):
    text = escape(value, marks)
    assert unescape(text, marks) == value
    unmarked = text
    assert not {"\r", "\n", "\x0b", "\x1c", marks.field, marks.component, marks.repetition, marks.subcomponent} & set(unmarked)


SOME_MARKS = st.sampled_from([DEFAULT_DELIMITERS, Delimiters(*"|^~\\&#"), Delimiters(*"#*$:%")])


@given(st.lists(st.lists(TEXT, min_size=1, max_size=4), min_size=1, max_size=5), SOME_MARKS)
def test_whatever_is_written_is_read_back(fields, marks):
    values = {n: tuple(components) for n, components in enumerate(fields, 1)}
    body = write([MSH, ("ZZZ", values), ("ZZY", {1: "end"})], delimiters=marks)
    assert b"\x0b" not in body
    assert b"\x1c" not in body
    read = parse(body)
    assert [segment.name for segment in read.segments] == ["MSH", "ZZZ", "ZZY"]
    for n, components in values.items():
        for c, text in enumerate(components, 1):
            assert (read.segments[1].value(n, comp=c) or "") == text


@given(st.text(st.sampled_from("가각갂똠펲뷁힣洪吉洞abcZ|^~\\&\r\n "), max_size=30))
def test_korean_text_survives_cp949(value):
    header = ("MSH", {**MSH[1], 18: "KS X 1001"})
    body = write([header, ("PID", {5: value})], charset="KS X 1001")
    assert (parse(body).segments[1].value(5) or "") == value


@pytest.mark.parametrize("mark", ["\x0b", "\x1c"])
@pytest.mark.parametrize("value", ["{}", "a{}b", ("x", "{}"), [("x", ("y", "{}"))]])
def test_framing_characters_are_refused_and_the_place_is_named(mark, value):
    def fill(one):
        return one.format(mark) if isinstance(one, str) else type(one)(fill(part) for part in one)

    with pytest.raises(Unmappable) as caught:
        write([MSH, ("PID", {5: fill(value)})])
    assert "PID-5" in str(caught.value)


def test_a_character_that_the_target_lacks_is_refused_not_replaced():
    with pytest.raises(Unmappable) as caught:
        write([MSH, ("PID", {5: ("홍", "길동😀")})], charset="cp949")
    assert "PID-5" in str(caught.value)
    assert "U+1F600" in str(caught.value)
    assert "길동" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "PI", "PIDX", "pid", "P\rD", "P|D"])
def test_only_a_segment_name_names_a_segment(name):
    with pytest.raises(Unmappable):
        write([MSH, (name, {1: "x"})])


def test_the_fifth_character_of_msh_2_is_escaped_where_it_is_one():
    marks = Delimiters(*"|^~\\&#")
    body = write([MSH, ("PID", {5: "a#b"})], delimiters=marks)
    assert b"MSH|^~\\&#|" in body
    assert b"a\\P\\b" in body
    assert parse(body).segments[1].value(5) == "a#b"
