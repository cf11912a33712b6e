"""Rows of keywords as data sets: answers of our services, in the transfer syntax and the character set that was asked for.

Little endian only: what is accepted of others, we offer in their order of preference, but our own services speak little endian
(PS3.5 section 10.1 makes implicit VR little endian everybody's common tongue).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from hub.codecs.dicom import uid
from hub.codecs.dicom.charset import codec_of, encode
from hub.domain.errors import Unmappable

UTF8 = ("ISO_IR 192",)
CHARSET = 0x00080005
_TEXTS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))
_BINARY = {"US": "<H", "SS": "<h", "UL": "<I", "SL": "<i", "FL": "<f", "FD": "<d"}
_ITEM = struct.pack("<HH", 0xFFFE, 0xE000)


def data_set(row: Mapping[str, Any], syntax: str, terms: Sequence[str] = UTF8) -> bytes:
    """`terms`: the character set as (0008,0005) is to say it; where it lacks a character, or is none that we write, UTF-8 is
    declared and used. A value of None or "" is written empty, a list of rows as a sequence.

    Raises KeyError for what is no keyword, and Unmappable for a syntax that is not little endian.
    """
    if syntax not in (uid.IMPLICIT_LITTLE, uid.EXPLICIT_LITTLE):
        raise Unmappable("our services write implicit or explicit VR little endian", code="transfer_syntax")
    explicit = syntax == uid.EXPLICIT_LITTLE
    wanted = tuple(terms)
    if not wanted or any(term and not codec_of(term) and term not in ("ISO_IR 6", "ISO 2022 IR 6") for term in wanted):
        wanted = UTF8
    try:
        return _elements(row, explicit, wanted, outermost=True)
    except Unmappable:
        return _elements(row, explicit, UTF8, outermost=True)


@lru_cache(maxsize=1024)
def _known(keyword: str) -> tuple[int, str]:
    """Tag and VR of a keyword."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # as in columns.py

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return int(tag), dictionary_VR(tag)


def _elements(row: Mapping[str, Any], explicit: bool, terms: tuple[str, ...], *, outermost: bool = False) -> bytes:
    """In the order of their tags (PS3.5 section 7.1), the character set declared where a text needs one."""
    made = {}
    for keyword, value in row.items():
        tag, vr = _known(keyword)
        made[tag] = _element(tag, vr, _value(vr, value, explicit, terms), explicit)
    if outermost and CHARSET not in made:
        made[CHARSET] = _element(CHARSET, "CS", _padded("\\".join(terms).encode("ascii"), "CS"), explicit)
    return b"".join(made[tag] for tag in sorted(made))


def _element(tag: int, vr: str, value: bytes, explicit: bool) -> bytes:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack("<I", len(value)) + value
    if vr in _LONG:
        return head + vr.encode("ascii") + b"\0\0" + struct.pack("<I", len(value)) + value
    if len(value) > 0xFFFF:
        raise Unmappable(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is longer than explicit VR can say", code="too_long")
    return head + vr.encode("ascii") + struct.pack("<H", len(value)) + value


def _value(vr: str, value: Any, explicit: bool, terms: tuple[str, ...]) -> bytes:
    if value is None:
        return b""
    if vr == "SQ":
        items = [_elements(item, explicit, terms) for item in value]
        return b"".join(_ITEM + struct.pack("<I", len(item)) + item for item in items)
    if vr in _BINARY:
        return b"".join(struct.pack(_BINARY[vr], one) for one in (value if isinstance(value, list | tuple) else [value]))
    if isinstance(value, bytes):
        return _padded(value, vr)
    text = "\\".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return _padded(encode(text, terms) if vr in _TEXTS else encode(text, ()), vr)


def _padded(raw: bytes, vr: str) -> bytes:
    """Of even length: UIDs and bytes with NUL, texts with a space (PS3.5 section 6.2)."""
    return raw if len(raw) % 2 == 0 else raw + (b"\0" if vr in ("UI", "OB", "UN") else b" ")
