"""Nested values -> bytes of one message. No value can make a segment, a field or a frame.

A field's value is a `str` (one component), a `tuple` of components, or a `list` of repetitions; a component is a `str`
or a `tuple` of sub-components. None and "" are empty. The value `""` (two quotation marks, reader.NULL) goes out as it
stands: that is HL7's delete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hub.codecs.hl7v2.charset import encode, python_codec
from hub.codecs.hl7v2.reader import DEFAULT_DELIMITERS, Delimiters
from hub.domain.errors import Unmappable

Component = str | None | tuple[str | None, ...]
Repetition = str | None | tuple[Component, ...]
Field = Repetition | list[Repetition]
Fields = Mapping[int, Field]

_CHARSETS = {"cp949": "KS X 1001", "utf-8": "UNICODE UTF-8", "ascii": "ASCII", "gb18030": "GB 18030-2000", "big5": "BIG-5"}


def hl7_charset(codec: str) -> str:
    """The name of HL7 table 0211 for a Python codec, as MSH-18 says it."""
    name = python_codec(codec)
    return _CHARSETS.get(name) or name.upper().replace("ISO8859-", "8859/").replace("ISO8859_", "8859/")


SENDABLE = ("utf-8", "KS X 1001", "GB 18030", "BIG-5", "8859/1 to 8859/16", "ASCII")


def is_sendable(charset: str) -> bool:
    """Whether MSH-18 can say it: HL7 table 0211 has a name for it. LookupError: nobody knows it."""
    name = python_codec(charset)
    return name in _CHARSETS or name.startswith("iso8859")


def escape(value: str, delimiters: Delimiters = DEFAULT_DELIMITERS) -> str:
    """§2.7.1 for every separator; LF as `\\.br\\`, other control characters as `\\X..\\`; VT and FS raise Unmappable."""
    if value.isalnum():
        return value
    return value.translate(_table(delimiters)) if not _has_framing(value) else _refuse(value)


def write(
    segments: Sequence[tuple[str, Fields]], *, charset: str = "utf-8", delimiters: Delimiters = DEFAULT_DELIMITERS
) -> bytes:
    """The message, CR after every segment. MSH-1 and MSH-2 are written from `delimiters`; give MSH fields from 3 on.

    Raises Unmappable where a value holds VT or FS, or a character that `charset` lacks (segment and field in `where`).
    """
    codec = python_codec(charset)
    lines: list[bytes] = []
    for name, fields in segments:
        if len(name) != 3 or not (name.isascii() and name.isalnum() and name.isupper()):
            raise Unmappable("not a segment name", where=name)
        header = name in ("MSH", "FHS", "BHS")
        last = max(fields, default=0)
        texts = [encode_field(name, n, fields.get(n), codec, delimiters) for n in range(3 if header else 1, last + 1)]
        start = name + delimiters.field + "".join(delimiters[1:]) if header else name
        mark = delimiters.field.encode()
        lines.append(mark.join([start.encode(), *texts]).rstrip(mark) if not header else mark.join([start.encode(), *texts]))
    return b"".join(line + b"\r" for line in lines)


def encode_field(segment: str, n: int, value: Field, codec: str, delimiters: Delimiters) -> bytes:
    """One field's bytes; errors name the field, never the value."""
    try:
        return encode(field_text(value, delimiters), codec)
    except Unmappable as error:
        raise Unmappable(error.reason, where=f"{segment}-{n}", code=error.code) from None


def field_text(value: Field, delimiters: Delimiters = DEFAULT_DELIMITERS) -> str:
    """One field, escaped, with trailing empty components left out."""
    if isinstance(value, list):
        return delimiters.repetition.join(_repetition(one, delimiters) for one in value)
    return _repetition(value, delimiters)


def _repetition(value: Repetition, marks: Delimiters) -> str:
    if isinstance(value, tuple):
        return marks.component.join(_component(one, marks) for one in value).rstrip(marks.component)
    return escape(value, marks) if value else ""


def _component(value: Component, marks: Delimiters) -> str:
    if isinstance(value, tuple):
        return marks.subcomponent.join(escape(one, marks) if one else "" for one in value).rstrip(marks.subcomponent)
    return escape(value, marks) if value else ""


_TABLES: dict[Delimiters, dict[int, str]] = {}


def _table(marks: Delimiters) -> dict[int, str]:
    table = _TABLES.get(marks)
    if table is None:
        esc = marks.escape
        table = {code: f"{esc}X{code:02X}{esc}" for code in (*range(0x20), 0x7F) if code != 9}
        table[10] = f"{esc}.br{esc}"
        for mark, letter in zip(marks, "FSRETP", strict=True):
            if mark:
                table[ord(mark)] = f"{esc}{letter}{esc}"
        _TABLES[marks] = table
    return table


def _has_framing(value: str) -> bool:
    return "\x0b" in value or "\x1c" in value


def _refuse(value: str) -> str:
    at = next(i for i, c in enumerate(value) if c in "\x0b\x1c")
    raise Unmappable("an MLLP framing character (VT or FS)", where=f"character {at + 1}", code="framing_character")
