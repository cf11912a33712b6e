"""The head of a data set as a row of keywords: texts decoded, UIDs checked, and never a pixel.

A row leaves out what the data set leaves empty: to DICOM an empty value means "not known" (PS3.5 section 7.4), to the hub's
rows it would mean "delete". Dates and times stay as DICOM writes them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from hub.codecs.dicom import uid
from hub.codecs.dicom.charset import Charset
from hub.codecs.dicom.columns import CHARSET, LISTS, NAMING, Columns
from hub.codecs.dicom.elements import UNDEFINED, Cut, Element, Walk, looks_explicit, name_of, plain
from hub.domain.errors import Unreadable, Where

MOST = 1 << 20  # bytes of a header, inflated; what stands before the tags we ask for is a few kilobytes
TRANSFER_SYNTAX = 0x00020010
META_ASKED = {0x00020002: None, 0x00020003: None, TRANSFER_SYNTAX: None}
_TEXTS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_WHOLE = frozenset(("LT", "ST", "UT"))  # a backslash in them is one
_NUMBERS = {"US": ("H", 2), "SS": ("h", 2), "UL": ("I", 4), "SL": ("i", 4)}


class File(NamedTuple):
    """Where the data set of a file begins, and how it is written."""

    syntax: str
    at: int


def read(
    data: bytes, syntax: str, columns: Columns, *, default: str = "", whole: bool = True, most: int = MOST
) -> dict[str, Any]:
    """A data set in the transfer syntax `syntax` as a row. `default`: the channel's character set, where none is declared.

    `whole` False: `data` is only its beginning. Raises Unreadable, which names tag and byte and never a value.
    """
    if syntax in uid.DEFLATED:
        data, whole = _inflated(data, most, whole)
    elif len(data) > most:
        data, whole = data[:most], False
    explicit = looks_explicit(data) if data else syntax != uid.IMPLICIT_LITTLE  # the first element tells more than the label does
    walk = Walk(data, explicit=explicit, little=syntax != uid.EXPLICIT_BIG, whole=whole)
    try:
        found = walk.read(columns.asked)
    except Cut as error:
        if whole:
            raise
        raise Unreadable(
            f"its header is not within the first {len(data)} bytes", where=error.where, code="header_too_long"
        ) from None
    return row(found, columns, default, little=syntax != uid.EXPLICIT_BIG)


def read_file(data: bytes, columns: Columns, *, default: str = "", most: int = MOST) -> dict[str, Any]:
    """The same of a file: PS3.10 with its preamble, or what lacks it. Raises Unreadable."""
    file = of_file(data)
    return read(data[file.at :], file.syntax, columns, default=default, most=most)


def of_file(data: bytes) -> File:
    """Raises Unreadable where it is none."""
    at = 132 if data[128:132] == b"DICM" else 0
    if data[at : at + 2] == b"\x02\x00":
        return _with_meta(data, at)
    if len(data) < at + 8:
        raise Unreadable("no DICOM: fewer bytes than one element has", where=Where(offset=0), code="not_dicom")
    return File(_guessed(data, at), at)


def _guessed(data: bytes, at: int) -> str:
    """Where nothing says how it is written: by the first element, whose group is a small number (PS3.5 section 7.3)."""
    group_little, group_big = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at : at + 2], "big")
    if not {group_little, group_big} & set(range(0x0001, 0x0100)):
        raise Unreadable("no DICOM: neither the mark DICM nor a data set", where=Where(offset=at), code="not_dicom")
    big = group_big < group_little
    if looks_explicit(data, at):
        return uid.EXPLICIT_BIG if big else uid.EXPLICIT_LITTLE
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    if big or (length > len(data) and length != UNDEFINED):
        raise Unreadable("no DICOM: neither the mark DICM nor a data set", where=Where(offset=at), code="not_dicom")
    return uid.IMPLICIT_LITTLE


def _with_meta(data: bytes, at: int) -> File:
    """Group 0002 is in explicit VR little endian (PS3.10 section 7.1); it ends with the first element of another group."""
    explicit = looks_explicit(data, at)
    end = at
    while data[end : end + 2] == b"\x02\x00":
        head = data[end : end + 12]
        if len(head) < 8:
            raise Unreadable("the file ends in its meta information", where=Where(offset=end), code="cut")
        long_form = explicit and head[4:6] in (b"OB", b"UN", b"UT", b"OW", b"SQ")
        size = head[8:12] if long_form else head[6:8] if explicit else head[4:8]
        end += (12 if long_form else 8) + int.from_bytes(size, "little")
    if end > len(data):
        raise Unreadable("the file ends in its meta information", where=Where(offset=at), code="cut")
    found = Walk(data[at:end], explicit=explicit).read(META_ASKED)
    syntax = plain(found, TRANSFER_SYNTAX)
    if syntax:
        if not uid.is_uid(syntax):
            raise Unreadable(f"{name_of(TRANSFER_SYNTAX)} is no UID", where=Where(offset=at), code="not_a_uid")
        return File(syntax, end)
    return File(_guessed(data, end) if len(data) >= end + 8 else uid.EXPLICIT_LITTLE, end)


def _inflated(data: bytes, most: int, whole: bool) -> tuple[bytes, bool]:
    """What a deflated data set begins with, `most` bytes of it at most: the rest is never inflated (PS3.5 section A.5)."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        begin = machine.decompress(data, most)
    except zlib.error:
        raise Unreadable("what is said to be deflated is not", where=Where(offset=0), code="not_deflated") from None
    if not begin and data:
        raise Unreadable("what is said to be deflated is empty", where=Where(offset=0), code="not_deflated")
    return begin, whole and machine.eof and not machine.unconsumed_tail


def row(
    found: Mapping[int, Element], columns: Columns, default: str = "", charset: Charset | None = None, *, little: bool = True
) -> dict[str, Any]:
    """Elements as columns. Items say their own character set, or have that of the data set around them."""
    declared = found.get(CHARSET)
    if declared is not None:
        terms = tuple(term.strip() for term in declared.value.decode("ascii", "replace").rstrip(" \x00").split("\\"))
        charset = Charset(terms, default)
    charset = charset or Charset((), default)
    made: dict[str, Any] = {}
    for tag, column in columns.items():
        one = found.get(tag)
        if one is None:
            continue
        if column.items is not None:
            rows = [row(item, column.items, default, charset, little=little) for item in one.items or ()]
            made |= {column.keyword: [item for item in rows if item]} if any(rows) else {}
            continue
        try:
            value = _value(column.vr, one, charset, little)
        except Unreadable as error:
            raise Unreadable(f"{name_of(tag)} {column.keyword}: {error.reason}", where=error.where, code=error.code) from None
        if value not in ("", [], None):
            made[column.keyword] = _counted(tag, column.keyword, value)
    return made


def _counted(tag: int, keyword: str, value: Any) -> Any:
    """A list where a list belongs. What names something is one value; another text that comes twice stays as it came."""
    if keyword in LISTS:
        return value if isinstance(value, list) else [value]
    if not isinstance(value, list):
        return value
    if keyword in NAMING:
        raise Unreadable(f"{name_of(tag)} {keyword}: more than one value", code="not_dicom")
    return "\\".join(map(str, value))


def _value(vr: str, one: Element, charset: Charset, little: bool) -> Any:
    """By the dictionary's VR: in implicit VR none is written, and one that is written wrongly misleads nobody."""
    if one.items is not None:
        raise Unreadable("a sequence where a value belongs", code="not_dicom")
    if vr in _NUMBERS:
        return _binary(vr, one.value, little)
    if vr not in _TEXTS:
        return _split(one.value.decode("ascii", "replace").replace("\ufffd", "?"), vr)
    text = charset.text(one.value)
    if vr in _WHOLE:
        return text.rstrip(" \x00")
    return _split(text, vr)


def _binary(vr: str, raw: bytes, little: bool) -> int | None:
    _, size = _NUMBERS[vr]
    if len(raw) < size:
        return None
    return int.from_bytes(raw[:size], "little" if little else "big", signed=vr in ("SS", "SL"))


def _split(text: str, vr: str) -> Any:
    """One value, or a list of several; padding is none of theirs (PS3.5 section 6.2)."""
    values = [_one(part.strip(" \x00"), vr) for part in text.strip(" \x00").split("\\")]
    return values[0] if len(values) == 1 else [value for value in values if value != ""]


def _one(text: str, vr: str) -> Any:
    if vr == "UI" and text and not uid.is_uid(text):
        raise Unreadable("no UID: at most 64 digits and dots", code="not_a_uid")
    if vr == "IS" and text.lstrip("+-").isdecimal() and text.isascii() and len(text) <= 12:
        return int(text)
    if (
        vr == "DA" and len(text) == 10 and text[4] == text[7] == "."
    ):  # ACR-NEMA's form, which PS3.5 section 6.2 note 1 has us read
        return text.replace(".", "")
    return text


def of_dataset(dataset: Any, columns: Columns, *, default: str = "") -> dict[str, Any]:
    """A row of a data set that pydicom holds, from the bytes as they came: who asks with pynetdicom gets these."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, dataset)
    return read(buffer.getvalue(), uid.IMPLICIT_LITTLE, columns, default=default)
