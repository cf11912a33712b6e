"""The positional reader: delimiters, charsets, line ends, escapes, and what it refuses."""

from __future__ import annotations

import pytest

from hub.codecs.hl7v2 import NULL, Delimiters, ack, parse, peek, unescape
from hub.domain.errors import Unreadable

HEAD = "MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090000||ADT^A08^ADT_A01|1|P|2.5|||AL|NE|KOR|{charset}\r"
KOREAN = ["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"]
MARKS = Delimiters("|", "^", "~", "\\", "&")


def message(*segments: str, charset: str = "UNICODE UTF-8", codec: str = "utf-8") -> bytes:
    return (HEAD.format(charset=charset) + "".join(f"{segment}\r" for segment in segments)).encode(codec)


def test_fields_are_numbered_as_the_standard_numbers_them():
    read = parse(message("PID|1||123^^^HOSP&1.2.3&ISO^MR~456^^^OTHER||홍^길동"))
    msh, pid = read.segments
    assert [msh.value(n) for n in (1, 2, 3, 10, 12)] == ["|", "^~\\&", "OCS", "1", "2.5"]
    assert (msh.value(9), msh.value(9, comp=2), msh.value(9, comp=3)) == ("ADT", "A08", "ADT_A01")
    assert pid.name == "PID"
    assert pid.index == 1
    assert (pid.value(3), pid.value(3, comp=4), pid.value(3, comp=4, sub=2), pid.value(3, rep=2)) == (
        "123",
        "HOSP",
        "1.2.3",
        "456",
    )
    assert pid.reps(3) == ["123^^^HOSP&1.2.3&ISO^MR", "456^^^OTHER"]
    assert pid.reps(2) == []
    assert (pid.raw(5), pid.raw(40)) == ("홍^길동", "")


@pytest.mark.parametrize(
    ("field", "args", "expected"),
    [
        ("", {}, None),
        (NULL, {}, NULL),
        (NULL, {"comp": 2}, None),
        ("a", {"comp": 2}, None),
        ("a", {"rep": 2}, None),
        ("a", {"sub": 2}, None),
        ("a^b", {"comp": 3}, None),
        ("a&b^c", {"sub": 2}, "b"),
        ("^b", {}, None),
        ("~b", {"rep": 2}, "b"),
        (f"a^{NULL}", {"comp": 2}, NULL),
        ("a\\T\\b", {}, "a&b"),
    ],
)
def test_a_value_is_absent_null_or_text(field, args, expected):
    assert parse(message(f"ZZZ|{field}")).segments[1].value(1, **args) == expected


@pytest.mark.parametrize("name", KOREAN)
@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("UNICODE UTF-8", "utf-8"), ("UNICODE", "utf-8"), ("utf-8", "utf-8"), ("KS X 1001", "cp949"), ("KSC5601", "cp949"),
        ("KS_C_5601-1987", "cp949"), ("EUC-KR", "cp949"), ("MS949", "cp949"), ("KS X 1001~UNICODE UTF-8", "cp949"),
    ],
)  # fmt: skip
def test_korean_names_are_read_in_the_declared_charset(name, charset, codec):
    read = parse(message(f"PID|1||123||{name}^길", charset=charset, codec=codec), "ascii")
    assert read.charset == codec
    assert read.segments[1].value(5) == name


@pytest.mark.parametrize("charset", ["", "wrong", "ASCII", "UNICODE UTF-16", "~KS X 1001"])
def test_an_empty_or_wrong_charset_gives_way_to_the_channels_default(charset):
    body = message("PID|1||123||똠방각하", charset=charset, codec="cp949")
    assert parse(body, "cp949").segments[1].value(5) == "똠방각하"
    assert peek(body, "KS X 1001").codec == "cp949"


def test_eight_bit_latin_is_read_by_its_part():
    assert parse(message("PID|1||1||Müller", charset="8859/1", codec="latin-1")).segments[1].value(5) == "Müller"
    assert parse(message("PID|1||1||€", charset="8859/15", codec="iso8859-15")).segments[1].value(5) == "€"


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b"\r\n  "])
def test_undecodable_bytes_are_refused_with_their_offset(prefix):
    good = prefix + message("PID|1||123||홍", codec="utf-8")
    bad = good[:-3] + b"\xff\xfe\r"
    with pytest.raises(Unreadable) as caught:
        parse(bad)
    assert caught.value.hl7 == 102
    at = caught.value.where.offset
    assert at is not None
    assert bad[at:].startswith((b"\xff", b"\xed"))


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r", "\n\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_bom_make_no_difference(end, bom):
    body = bom + message("PID|1||123||홍", "PV1|1|O", "ZAB|x").replace(b"\r", end.encode())
    read = parse(body)
    assert [segment.name for segment in read.segments] == ["MSH", "PID", "PV1", "ZAB"]
    assert peek(body).patient == ("", "123")


def test_a_line_feed_inside_a_value_stays_where_cr_ends_the_lines():
    read = parse(message("NTE|1||first\nsecond", "PV1|1"))
    assert read.segments[1].value(3) == "first\nsecond"
    assert read.segments[2].name == "PV1"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("MSH|^~\\&|", Delimiters("|", "^", "~", "\\", "&")),
        ("MSH|^~\\&#|", Delimiters("|", "^", "~", "\\", "&", "#")),
        ("MSH#*$:%#", Delimiters("#", "*", "$", ":", "%")),
        ("MSH|^~\\|", Delimiters("|", "^", "~", "\\", "")),
        ("MSH|^|", Delimiters("|", "^", "", "", "")),
        ("MSH|^~\\\\&|", Delimiters("|", "^", "~", "\\", "&")),  # doubled by a program on the way
    ],
)
def test_delimiters_come_from_the_header(head, expected):
    marks = expected
    text = f"{head}A{marks.field * 6}ADT{marks.component}A01{marks.field}77{marks.field}P{marks.field}2.5\r"
    text += f"PID{marks.field * 3}9{marks.component * 3}H\r"
    read = parse(text.encode())
    assert read.delimiters == expected
    assert read.segments[0].value(10) == "77"
    assert read.segments[1].value(3, comp=4) == "H"
    assert peek(text.encode()).patient == ("H", "9")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"MSH", b"MSH|", b"\x00\x01", b"PID|1", b"MSH|^^\\&|A", b"MSH{{{{{|A", b"MSHA^~\\&A", b"MSH|^\xff\\&|",
        "안녕".encode(), b"FHS|^~\\&",
    ],
)  # fmt: skip
def test_what_has_no_usable_header_is_refused(body):
    for read in (parse, peek):
        with pytest.raises(Unreadable):
            read(body)


def test_a_line_that_is_no_segment_is_refused_and_not_quoted():
    with pytest.raises(Unreadable) as caught:
        parse(message("PID|1", "홍길동 010-1234-5678"))
    assert caught.value.hl7 == 100
    assert "홍" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("plain", "plain"),
        ("\\F\\\\S\\\\T\\\\R\\\\E\\", "|^&~\\"),
        ("a\\H\\bold\\N\\b", "aboldb"),
        ("one\\.br\\two", "one\ntwo"),
        ("\\.sp\\\\.sp2\\x", "\n\n\nx"),
        ("\\.sk3\\x", "   x"),
        ("\\.in+4\\x\\.ti2\\y\\.fi\\\\.nf\\\\.ce\\", "xy"),
        ("\\X0D\\", "\r"),
        ("\\XED998D\\", "홍"),
        ("\\XED\\\\X998D\\", "홍"),  # one character spread over two sequences
        ("\\XEAB9\\", "\\XEAB9\\"),  # half a character is none: it stays as it stands
        ("\\XZZ\\", "\\XZZ\\"),
        ("\\C2842\\x", "x"),
        ("\\Zlocal\\x", "\\Zlocal\\x"),
        ("C:\\temp\\T\\file", "C:\\temp&file"),
        ("lone \\ mark", "lone \\ mark"),
        ("end\\", "end\\"),
        ("\\P\\", "#"),
    ],
)
def test_escapes(raw, text):
    assert unescape(raw, MARKS) == text


def test_hexadecimal_escapes_are_bytes_of_the_messages_charset():
    body = message("PID|1||1||\\XC8AB\\", charset="KS X 1001", codec="cp949")
    assert parse(body).segments[1].value(5) == "홍"


PLAIN = b"MSH|^~\\&|OCS|HOSP|||20261122||ADT^A08|1|P|2.5\r"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (PLAIN + b"PID|1||7||\xff^x\r", "PID[1]-5"),
        (PLAIN + b"PID|1||7||\xed\x99\x8d^a~b^\xff", "PID[1]-5"),  # a field, whichever repetition
        (PLAIN + b"NK1|1|a\rNK1|2|\xc3\r", "NK1[2]-2"),
        (PLAIN.replace(b"\r", b"\r\n") + b"PID|1|\xff\r\n", "PID[1]-2"),
        (PLAIN.replace(b"HOSP", b"\xffOSP"), "MSH[1]-4"),
        (b"\xef\xbb\xbf\r\n" + PLAIN.replace(b"|OCS", b"|\xff"), "MSH[1]-3"),
    ],
)
def test_bytes_that_are_none_of_the_charset_are_told_by_segment_and_field(body: bytes, place: str) -> None:
    with pytest.raises(Unreadable) as told:
        parse(body)
    assert str(told.value.where) == f"{place} at byte {told.value.where.offset}"
    assert body[told.value.where.offset] >= 0x80
    for look in (lambda: peek(body),) if place.startswith("MSH") else ():
        with pytest.raises(Unreadable) as seen:
            look()
        assert seen.value.where.field == told.value.where.field


def test_err_says_the_field() -> None:
    body = PLAIN + b"PID|1||7||\xff\r"
    with pytest.raises(Unreadable) as told:
        parse(body)
    new = ack.answer(peek(body), "AE", control_id="1", at="2026", error=told.value)
    assert b"\rERR||PID^1^5|102^" in new
    old = ack.answer(peek(body)._replace(version="2.3"), "AE", control_id="1", at="2026", error=told.value)
    assert b"\rERR|PID^1^5^102&" in old
