"""Specific Character Set: Korean names in every way in which they are sent, read and written; and what nobody can read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.dicom.charset import Charset, encode
from hub.domain.errors import Unmappable, Unreadable

MULTI = ("", "ISO 2022 IR 149")
# PS3.5 annex I.2, byte for byte
ANNEX_I = (
    b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf"
)  # fmt: skip
ALL_NAMES = ["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"]
KS_NAMES = ["홍길동", "남궁민수", "洪吉洞", "Hong^Gildong=洪^吉洞=홍^길동"]


def test_the_standards_own_example() -> None:
    assert Charset(MULTI).text(ANNEX_I) == "Hong^Gildong=洪^吉洞=홍^길동"
    assert encode("Hong^Gildong=洪^吉洞=홍^길동", MULTI) == ANNEX_I


@pytest.mark.parametrize(
    ("declared", "default", "raw"),
    [
        (MULTI, "", b"\x1b$)C" + "홍길동".encode("euc_kr")),
        (MULTI, "", "홍길동".encode("cp949")),  # the escape was never written
        (MULTI, "", b"$)C" + "홍길동".encode("cp949")),  # its ESC was lost
        (("ISO 2022 IR 149",), "", b"\x1b$)C" + "홍길동".encode("euc_kr")),
        (("ISO 2022 IR 6", "ISO 2022 IR 149"), "", b"\x1b$)C" + "홍길동".encode("euc_kr")),
        (("ISO_IR 149",), "", "홍길동".encode("cp949")),  # no term of the standard
        (("ISO_IR 149",), "", b"\x1b$)C" + "홍길동".encode("cp949")),
        (("KS_C_5601-1987",), "", "홍길동".encode("cp949")),
        (("EUC-KR",), "", "홍길동".encode("cp949")),
        (("ISO_IR 192",), "", "홍길동".encode()),
        (("ISO_IR 192",), "", b"\x1b$)C" + "홍길동".encode("cp949")),  # labelled UTF-8 by an archive, sent on as it came
        (("ISO_IR 192",), "cp949", "홍길동".encode("cp949")),
        (("GB18030",), "", "홍길동".encode("gb18030")),
        ((), "cp949", "홍길동".encode("cp949")),
        (("",), "cp949", "홍길동".encode("cp949")),
        (("ISO_IR 6",), "cp949", "홍길동".encode("cp949")),
        (("NONSENSE",), "cp949", "홍길동".encode("cp949")),
        ((), "ISO_IR 192", "홍길동".encode()),
        ((), "", "홍길동".encode()),
    ],
)
def test_every_way_of_korean_senders(declared: tuple[str, ...], default: str, raw: bytes) -> None:
    assert Charset(declared, default).text(raw) == "홍길동"


@pytest.mark.parametrize("name", ALL_NAMES)
@pytest.mark.parametrize("terms", [("ISO_IR 192",), ("ISO_IR 149",), ("GB18030",)])
def test_names_survive_there_and_back(name: str, terms: tuple[str, ...]) -> None:
    assert Charset(terms).text(encode(name, terms)) == name


@pytest.mark.parametrize("name", KS_NAMES)
def test_names_of_ks_x_1001_survive_with_escapes(name: str) -> None:
    assert Charset(MULTI).text(encode(name, MULTI)) == name


@pytest.mark.parametrize("name", ["똠방각하", "펲시콜라", "뷁"])
def test_what_ks_x_1001_lacks_is_not_made_up(name: str) -> None:
    """Python's euc_kr would write eight bytes that no other system reads."""
    with pytest.raises(Unmappable):
        encode(name, MULTI)


def test_behind_a_delimiter_the_first_set_is_in_use_again() -> None:
    raw = b"\x1b$)C\xc8\xab^M\xfcller"
    assert Charset(("ISO 2022 IR 100", "ISO 2022 IR 149")).text(raw) == "홍^Müller"


def test_japanese_with_bytes_that_look_like_delimiters() -> None:
    raw = b"Yamada^Tarou=" + "山田^太郎".encode("iso2022_jp")
    assert Charset(("", "ISO 2022 IR 87")).text(raw) == "Yamada^Tarou=山田^太郎"


@pytest.mark.parametrize("raw", [b"\xff\xff", b"\x1b$)C\xff\xff", b"a\x1bb\xb0", b"\x1b$)Z\xb0\xa1"])
def test_what_nobody_can_read_is_said_and_never_replaced(raw: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        Charset(MULTI, "cp949").text(raw)
    assert caught.value.code == "undecodable"


@given(
    st.binary(max_size=60),
    st.sampled_from([(), MULTI, ("ISO_IR 192",), ("", "ISO 2022 IR 87"), ("ISO 2022 IR 100", "ISO 2022 IR 149")]),
)
def test_any_bytes_are_read_or_refused(raw: bytes, declared: tuple[str, ...]) -> None:
    try:
        assert isinstance(Charset(declared, "cp949").text(raw), str)
    except Unreadable:
        pass
