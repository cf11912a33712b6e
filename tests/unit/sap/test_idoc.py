"""IDocs: SAP's file port by characters and by bytes, XML, both ways; nothing unreadable gets through or leaks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.sap import idoc_flat, idoc_xml
from hub.codecs.sap.idoc import Idoc, Segment, row, type_of
from hub.codecs.sap.idoc_flat import Format
from hub.codecs.sap.idoc_segments import CONTROL, DATA_HEAD, SEGMENTS, layout, spans, width
from hub.domain.errors import Unreadable

KOREAN = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수")
CHARSETS = ("utf-8", "utf-16-le", "utf-16-be", "cp949")


def customer(name: str, number: str = "0000012345", docnum: str = "0000000000000001") -> Idoc:
    control = {
        "TABNAM": "EDI_DC40", "MANDT": "100", "DOCNUM": docnum, "DIRECT": "1", "IDOCTYP": "DEBMAS07", "MESTYP": "DEBMAS",
        "SNDPRT": "LS", "SNDPRN": "SAPERP", "RCVPRT": "LS", "RCVPRN": "HUB",
    }  # fmt: skip
    person = Segment("E1KNVKM", {"MSGFN": "005", "NAMEV": name, "GBDAT": "19870504"})
    head = Segment("E1KNA1M", {"MSGFN": "005", "KUNNR": number, "NAME1": name, "TELF1": "02-555-0100"}, [person])
    return Idoc(control, [head])


def test_the_lengths_are_sap_s() -> None:
    assert (width(CONTROL), width(DATA_HEAD)) == (524, 63)
    assert all(width(fields) <= 1000 for fields in SEGMENTS.values())
    at = {name: first for name, first, _ in spans(CONTROL)}
    # as SAP's parser documentation has them (from 1 there)
    assert [at[n] + 1 for n in ("MESTYP", "SNDPRN", "RCVPRN", "CREDAT", "SERIAL")] == [100, 163, 278, 379, 505]
    partner = {name: first + 64 for name, first, _ in spans(SEGMENTS["E1EDKA1"])}
    assert [partner[n] for n in ("PARTN", "NAME1", "ORT01", "TITLE")] == [67, 101, 346, 1044]
    item = {name: first + 64 for name, first, _ in spans(SEGMENTS["E1EDP01"])}
    assert [item[n] for n in ("MENGE", "NETWR", "MATNR", "POSGUID")] == [75, 142, 458, 502]


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("name", KOREAN)
def test_korean_byte_for_byte(charset: str, name: str) -> None:
    form = Format.of(charset)
    body = idoc_flat.write(customer(name), form)
    lines = [line for line in body.decode(charset).split("\n") if line]
    if form.units == "characters":
        assert [len(line) for line in lines] == [524, 63 + width(SEGMENTS["E1KNA1M"]), 63 + width(SEGMENTS["E1KNVKM"])]
        assert lines[1][63 + 213 :].startswith(name) or name in lines[1]
    else:
        raw = body.split(b"\n")
        at = next(first for field, first, _ in spans(SEGMENTS["E1KNA1M"]) if field == "NAME1")
        assert raw[1][63 + at : 63 + at + 35] == name.encode(charset).ljust(35)
        assert len(raw[1]) == 63 + width(SEGMENTS["E1KNA1M"])
    assert idoc_flat.read(body, form) == customer(name)
    assert idoc_flat.write(idoc_flat.read(body, form), form) == body


def test_a_byte_order_mark_and_blanks_cut_off_at_the_end_of_lines() -> None:
    body = idoc_flat.write(customer("홍길동"), Format())
    short = b"\xef\xbb\xbf" + b"\r\n".join(line.rstrip() for line in body.split(b"\n"))
    assert idoc_flat.read(short, Format()) == customer("홍길동")
    assert Format.of("utf-8-sig") == Format.of("utf-8")
    wide = Format.of("utf-16")
    (piece,) = idoc_flat.pieces([b"\xff\xfe" + idoc_flat.write(customer("홍길동"), wide)], wide)
    assert idoc_flat.read(piece.body, wide) == customer("홍길동")


def test_several_idocs_of_a_file_are_cut_at_their_control_records() -> None:
    for charset in CHARSETS:
        form = Format.of(charset)
        bodies = [idoc_flat.write(customer(name, docnum=f"{n:016d}"), form) for n, name in enumerate(KOREAN, 1)]
        whole = b"".join(bodies)
        for size in (1, 7, 4096):
            chunks = (whole[at : at + size] for at in range(0, len(whole), size)) if size > 1 else iter([whole])
            found = list(idoc_flat.pieces(chunks, form))
            assert [one.body for one in found] == bodies
            assert [(one.offset, one.end) for one in found] == [
                (len(b"".join(bodies[:n])), len(b"".join(bodies[: n + 1]))) for n in range(len(bodies))
            ]
        again = list(idoc_flat.pieces([whole[found[2].end :]], form, found[2].end))
        assert [one.body for one in again] == bodies[3:]


def test_what_no_table_knows_is_kept_as_it_came() -> None:
    body = idoc_flat.write(customer("홍길동"), Format()).decode()
    strange = "Z2PAT000".ljust(30) + "100" + "0000000000000001" + "000003" + "000001" + "02" + "MRN-1   X"
    longer = body.split("\n")[1] + "ZZ"
    idoc = idoc_flat.read("\n".join([body.split("\n")[0], longer, body.split("\n")[2], strange]).encode(), Format())
    assert idoc.segments[0].fields["SDATA"] == "ZZ"
    assert idoc.segments[0].children[1] == Segment("Z2PAT000", {"SDATA": "MRN-1   X"})
    assert idoc_flat.read(idoc_flat.write(idoc, Format()), Format()) == idoc
    form = Format.of("utf-8", tables={**SEGMENTS, "Z1PAT": layout("MRN 8 VIP 1")})
    own = idoc_flat.read("\n".join([body.split("\n")[0], body.split("\n")[1], strange]).encode(), form)
    assert own.segments[0].children == [Segment("Z1PAT", {"MRN": "MRN-1", "VIP": "X"})]


@pytest.mark.parametrize(("definition", "type_"), [
    ("E2KNA1M005", "E1KNA1M"), ("E2EDK02", "E1EDK02"), ("E1EDP01", "E1EDP01"), ("E2EDKA1003", "E1EDKA1"), ("E2EDKA1", "E1EDKA1"),
    ("E2XYZ001", "E2XYZ001"), ("Z", "Z"), ("", ""),
])  # fmt: skip
def test_definitions_and_types(definition: str, type_: str) -> None:
    assert type_of(definition) == type_


def _line(body: bytes, number: int, at: int, text: str) -> bytes:
    lines = body.decode().split("\n")
    lines[number] = lines[number][:at] + text + lines[number][at + len(text) :]
    return "\n".join(lines).encode()


GOOD = idoc_flat.write(customer("홍길동"), Format())


@pytest.mark.parametrize(("body", "code", "reason"), [
    (b"", "no_control_record", "record 1"),
    (b"EDI_DC    100", "no_control_record", "release 3"),
    (b"<?xml version='1.0'?>", "no_control_record", "record 1"),
    (_line(GOOD, 2, 55, "000099"), "no_parent", "record 3"),
    (_line(GOOD, 1, 33, "0000000000000009"), "other_idoc", "DOCNUM"),
    (_line(GOOD, 1, 30, "999"), "other_idoc", "MANDT"),
    (_line(GOOD, 1, 0, "            "), "no_segment", "record 2"),
    (GOOD[:700] + b"\xff\xfe" + GOOD[700:], "charset", "byte 700"),
])  # fmt: skip
def test_what_cannot_be_read_says_where(body: bytes, code: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason) as caught:
        idoc_flat.read(body, Format())
    assert caught.value.code == code
    assert "홍길동" not in str(caught.value)


def test_half_a_character_in_a_field_of_bytes_is_told() -> None:
    form = Format.of("cp949")
    body = bytearray(idoc_flat.write(customer("가" * 17), form))
    at = body.index("가".encode("cp949"))
    del body[at]
    with pytest.raises(Unreadable, match="NAME1") as caught:
        idoc_flat.read(bytes(body), form)
    assert caught.value.code == "charset"


def test_nothing_is_cut_when_written() -> None:
    with pytest.raises(Unreadable, match="E1KNA1M-NAME1: longer than 35 bytes"):
        idoc_flat.write(customer("가" * 18), Format.of("cp949"))
    idoc_flat.write(customer("가" * 35), Format())
    with pytest.raises(Unreadable, match="longer than 35 characters"):
        idoc_flat.write(customer("가" * 36), Format())
    with pytest.raises(Unreadable, match="does not have"):
        idoc_flat.write(customer("𠮷"), Format.of("cp949"))
    with pytest.raises(Unreadable, match="line break"):
        idoc_flat.write(customer("a\nb"), Format())
    with pytest.raises(Unreadable, match="no table says where MRN stands"):
        idoc_flat.write(Idoc(customer("x").control, [Segment("Z1PAT", {"MRN": "1"})]), Format())


def test_deep_and_endless_files_have_an_end() -> None:
    head = GOOD.decode().split("\n")[0]
    deep = [f"{'E2KNA1L':<30}100{'1'.zfill(16)}{n:06d}{n - 1:06d}01" for n in range(1, 40)]
    with pytest.raises(Unreadable, match="deep"):
        idoc_flat.read("\n".join([head, *deep]).encode(), Format())
    found = list(idoc_flat.pieces([b"x" * (1 << 20)] * 4, Format(), most=1000))
    assert [one.whole for one in found] == [False]


# -- XML ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*KOREAN, "洪吉洞", "<&>\"'", "𠮷"])
def test_xml_both_ways(name: str) -> None:
    data = idoc_xml.write([customer(name), customer("x")])
    assert data.startswith(b'<?xml version="1.0" encoding="UTF-8"?><DEBMAS07><IDOC BEGIN="1"><EDI_DC40 SEGMENT="1">')
    assert idoc_xml.read(data) == [customer(name), customer("x")]


@pytest.mark.parametrize("encoding", ["EUC-KR", "ks_c_5601-1987", "UTF-16", "utf-8"])
def test_xml_in_korean_encodings(encoding: str) -> None:
    text = idoc_xml.write([customer("홍길동")]).decode().replace("UTF-8", encoding)
    assert idoc_xml.read(text.encode("cp949" if "16" not in encoding and encoding != "utf-8" else encoding)) == [
        customer("홍길동")
    ]


LAUGHS = "<!DOCTYPE l [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {b} '{'&' + a + ';' * 10}'>" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize("data", [
    b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><D><IDOC><EDI_DC40><DOCNUM>&e;</DOCNUM></EDI_DC40></IDOC></D>",
    b"<!DOCTYPE x SYSTEM 'http://127.0.0.1:9/canary.dtd'><D><IDOC/></D>",
    b"<!DOCTYPE x><D><IDOC/></D>",
    (LAUGHS + "]><D><IDOC>&h;</IDOC></D>").encode(),
    b"<!DOCTYPE x [<!ENTITY % p SYSTEM 'http://127.0.0.1:9/c'>%p;]><D/>",
])  # fmt: skip
def test_no_dtd_and_no_entity(data: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        idoc_xml.read(data)
    assert caught.value.code in ("forbidden_xml", "not_xml")


@pytest.mark.parametrize(("data", "code"), [
    (b"", "not_xml"), (b"<a>", "not_xml"), (b"<a/>", "no_idoc"), (b"<D><IDOC/></D>", "no_control_record"),
    (b"<D><IDOC>" + b"<s>" * 60 + b"</s>" * 60 + b"</IDOC></D>", "too_deep"),
    (b'<?xml version="1.0" encoding="klingon"?><a/>', "charset"), (b'<?xml version="1.0" encoding="shift_jis"?><a/>', "charset"),
    ("<D><IDOC><EDI_DC40/><E한글 SEGMENT='1'/></IDOC></D>".encode(), "name"), (b"x" * 200, "not_xml"),
])  # fmt: skip
def test_xml_that_is_none(data: bytes, code: str) -> None:
    with pytest.raises(Unreadable) as caught:
        idoc_xml.read(data)
    assert caught.value.code == code


def test_xml_that_is_too_much() -> None:
    with pytest.raises(Unreadable, match="more than 100 bytes"):
        idoc_xml.read(b" " * 101, most=100)


# -- as rows ------------------------------------------------------------------------------------------------------------


def test_a_row_tells_meanings_apart_and_leaves_out_what_was_not_told() -> None:
    sums = [Segment("E1EDS01", {"SUMID": "010", "SUMME": "1"}), Segment("E1EDS01", {"SUMID": "011", "SUMME": "/"})]
    item = Segment("E1EDP01", {"POSEX": "10"}, [Segment("E1EDP26", {"QUALF": "003", "BETRG": "5"})])
    found = row(Idoc({"DOCNUM": "1"}, [*sums, item]))
    assert found["EDI_DC40"] == {"DOCNUM": "1"}
    assert [one["SUMID"] for one in found["E1EDS01"]] == ["010", "011"]
    assert found["E1EDS01_010"] == [{"SUMID": "010", "SUMME": "1"}]
    assert found["E1EDS01_011"] == [{"SUMID": "011"}]
    assert found["E1EDP01"][0]["E1EDP26_003"] == [{"QUALF": "003", "BETRG": "5"}]


# -- whatever there is --------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="cp949", exclude_characters="\r\n\0\x1a", exclude_categories=("Cc", "Cs")), max_size=8).map(
    lambda text: text.strip()
)


def _segment(name: str) -> st.SearchStrategy[Segment]:
    fields = dict(SEGMENTS[name])
    names = st.sampled_from([field for field, length in fields.items() if length >= 16] or list(fields))
    values = st.dictionaries(names, TEXT.map(lambda t: t[:4]).filter(bool), max_size=4)
    return values.map(lambda v: Segment(name, {f: t[: fields[f] // 2] for f, t in v.items() if t[: fields[f] // 2].strip()}))


TREE = st.recursive(
    st.sampled_from(sorted(SEGMENTS)).flatmap(_segment),
    lambda inner: st.tuples(st.sampled_from(sorted(SEGMENTS)).flatmap(_segment), st.lists(inner, max_size=3)).map(
        lambda pair: Segment(pair[0].name, pair[0].fields, pair[1])
    ),
    max_leaves=6,
)
DOCNUM = st.integers(1, 10**16 - 1).map(lambda n: f"{n:016d}")


def _canonical(segment: Segment) -> Segment:
    """In the order of the table, as a file has them."""
    ordered = {f: segment.fields[f].rstrip(" ") for f, _ in SEGMENTS[segment.name] if segment.fields.get(f, "").rstrip(" ")}
    return Segment(segment.name, ordered, [_canonical(c) for c in segment.children])


@settings(max_examples=20, deadline=None)
@given(st.lists(TREE, max_size=4), DOCNUM, st.sampled_from(CHARSETS))
def test_flat_and_xml_round_trips(segments: list[Segment], docnum: str, charset: str) -> None:
    idoc = Idoc({"TABNAM": "EDI_DC40", "MANDT": "100", "DOCNUM": docnum, "IDOCTYP": "X"}, [_canonical(s) for s in segments])
    form = Format.of(charset)
    assert idoc_flat.read(idoc_flat.write(idoc, form), form) == idoc
    assert idoc_xml.read(idoc_xml.write([idoc])) == [idoc]


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 700), st.sampled_from(CHARSETS))
def test_no_bytes_break_the_readers(noise: bytes, at: int, charset: str) -> None:
    form = Format.of(charset)
    for body in (noise, GOOD[:at] + noise + GOOD[at:]):
        for piece in idoc_flat.pieces([body], form):
            try:
                row(idoc_flat.read(piece.body, form))
            except Unreadable:
                continue
        try:
            list(map(row, idoc_xml.read(body)))
        except Unreadable:
            continue
