"""Which Python codec the bytes of a message are in: MSH-18 as it stands, or the channel's default.

Names are those of HL7 table 0211 and what Korean systems write instead of them. `KS X 1001` and its relatives are read
and written as cp949: it is their superset, and Python's euc_kr would write the syllables outside KS X 1001 (똠, 펲, 뷁) as
eight-byte make-up sequences that no other system reads.
"""

from __future__ import annotations

import codecs
from functools import lru_cache

from hub.domain.errors import Unmappable, Unreadable, Where

_CP949 = ("KSX1001", "KSC5601", "KSC56011987", "KSC56011992", "KSX10011992", "EUCKR", "MS949", "CP949", "UHC", "WINDOWS949",
          "ISOIR149", "ISO2022KR", "KOREAN", "949")  # fmt: skip
_TABLE_0211 = {
    "UNICODEUTF8": "utf-8", "UTF8": "utf-8", "UNICODE": "utf-8",
    "ISOIR14": "iso2022_jp", "ISOIR87": "iso2022_jp", "ISOIR159": "iso2022_jp_2",
    "GB180302000": "gb18030", "GB18030": "gb18030", "GBK": "gb18030", "GB2312": "gb18030", "BIG5": "big5",
    "WINDOWS1252": "cp1252", "CP1252": "cp1252", "SHIFTJIS": "shift_jis",
}  # fmt: skip
_CODECS = {
    **_TABLE_0211,
    **dict.fromkeys(_CP949, "cp949"),
    **{f"8859{part}": f"iso8859_{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)},
    **{f"ISO8859{part}": f"iso8859_{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)},
}


@lru_cache(maxsize=256)
def codec_for(msh18: str, default: str = "utf-8") -> str:
    """The Python codec for an MSH-18 (its first repetition counts); `default` where it is empty, unknown or plain ASCII.

    ASCII says nothing of bytes above 127: every default is a superset of it, so a sender that leaves "ASCII" standing
    and sends Hangul is read by its channel's default. UTF-16 cannot stand in an MSH that was read byte by byte, so
    that declaration is as wrong as an unknown one.
    """
    key = "".join(c for c in msh18.split("~", 1)[0].split("^", 1)[0].upper() if c.isalnum())
    return _CODECS.get(key) or python_codec(default)


@lru_cache(maxsize=64)
def python_codec(name: str) -> str:
    """A channel's `charset` setting, which may be an HL7 name or a Python one, as a Python codec. LookupError if neither."""
    key = "".join(c for c in name.upper() if c.isalnum())
    return _CODECS.get(key) or codecs.lookup(name).name


def decode(body: bytes, codec: str, start: int = 0) -> str:
    """Strict, from byte `start` on: bytes that the codec lacks raise Unreadable with their offset; nothing is replaced."""
    try:
        return (body[start:] if start else body).decode(codec)
    except UnicodeDecodeError as error:
        where = Where(offset=start + error.start)
        raise Unreadable(f"bytes that are not {codec}", where=where, hl7=102, code="undecodable") from None


def encode(text: str, codec: str) -> bytes:
    """Strict: a character that the target's charset lacks raises Unmappable with its position and code point."""
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        raise Unmappable(
            f"{codec} has no U+{ord(text[error.start]):04X}", where=f"character {error.start + 1}", code="unencodable"
        ) from None
