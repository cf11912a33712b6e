"""The elements of a data set (PS3.5 section 7), walked from the front: those asked for are kept, the others stepped over.

Every length is checked against what there is before anything is taken of it, nesting and items have their bounds, and the walk
ends behind the last tag that is asked for: pixels are never touched. Offsets in errors count in the data set as given.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from hub.domain.errors import Unreadable, Where

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
BULK = 0x7FE00000  # from this group on there is nothing but pixels, waveforms' and overlays' kin, and padding
DEEPEST = 16  # sequences in sequences; the standard's own objects need seven
MOST_ITEMS = 4096  # of one sequence that is asked for
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM",
     b"UI", b"UL", b"US")
)  # fmt: skip


class Cut(Unreadable):
    """The data ends before the walk does: what was asked for may stand behind."""

    code = "cut"


Asked = Mapping[int, "Asked | None"]  # tag -> what is asked for of its items, or None: its value


class Element(NamedTuple):
    """One element that was asked for: its VR as written ("": implicit), and its value; of a sequence its items."""

    vr: str
    value: bytes
    items: list[dict[int, Element]] | None = None


def name_of(tag: int) -> str:
    """`(0010,0020)`."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


class Walk:
    """One data set. `explicit` and `little` say its encoding; `whole` False: the bytes are only its beginning."""

    def __init__(self, data: bytes, *, explicit: bool, little: bool = True, whole: bool = True) -> None:
        self._data = data
        self._explicit = explicit
        order = "<" if little else ">"
        self._tag = struct.Struct(f"{order}HH").unpack_from
        self._u16 = struct.Struct(f"{order}H").unpack_from
        self._u32 = struct.Struct(f"{order}I").unpack_from
        self._whole = whole

    def read(self, asked: Asked, at: int = 0) -> dict[int, Element]:
        """Raises Unreadable, which names tag and byte; Cut where the data ends in the middle of what it says."""
        found: dict[int, Element] = {}
        self._elements(at, len(self._data), asked, found, self._explicit, 0, max(asked, default=0))
        return found

    def _elements(
        self,
        at: int,
        end: int,
        asked: Asked,
        found: dict[int, Element] | None,
        explicit: bool,
        depth: int,
        last: int,
        *,
        open_: bool = False,
    ) -> int:
        """Walks to `end`, to the end of an item of undefined length (`open_`), or behind `last`; where it stopped."""
        explicit = explicit and (not depth or looks_explicit(self._data, at))
        while at < end:
            tag, vr, length, begin = self._head(at, end, explicit)
            if open_ and tag == ITEM_END:
                return begin
            if not depth and (tag > last or tag >= BULK):
                return at
            if tag >= ITEM:
                raise self._wrong(tag, "stands where an element belongs", at)
            want = tag in asked
            if not want and length <= end - begin:  # nearly always, and never of undefined length
                at = begin + length
                continue
            into = found if want else None
            at = self._value(tag, vr, length, begin, end, asked[tag] if want else None, into, explicit, depth)
        if open_:
            raise Cut("an item does not end", where=Where(offset=at))
        if not depth and not self._whole:
            raise Cut("the data set goes on", where=Where(offset=at))
        return at

    def _value(
        self, tag: int, vr: bytes, length: int, begin: int, end: int, asked: Asked | None,
        found: dict[int, Element] | None, explicit: bool, depth: int,
    ) -> int:  # fmt: skip
        """Keeps or steps over one value; where the next element begins."""
        nested = vr == b"SQ" or (asked is not None and vr in (b"", b"UN"))
        if length != UNDEFINED:
            if length > end - begin:
                raise Cut(f"{name_of(tag)} says {length} bytes and there are {end - begin}", where=Where(offset=begin))
            if found is not None and nested:
                found[tag] = Element(
                    "SQ", b"", self._items(tag, begin, begin + length, asked or {}, explicit and vr == b"SQ", depth, True)[0]
                )
            elif found is not None:
                found[tag] = Element(vr.decode("ascii"), self._data[begin : begin + length])
            return begin + length
        # of undefined length: a sequence, whose items are then in implicit VR where it is UN (PS3.5 section 6.2.2 note 2)
        if vr not in (b"SQ", b"UN", b""):
            raise self._wrong(tag, f"of VR {vr.decode('ascii')} has no length", begin)
        items, at = self._items(tag, begin, end, asked or {}, explicit and vr == b"SQ", depth, found is not None)
        if found is not None:
            found[tag] = Element("SQ", b"", items)
            return at
        return at

    def _items(
        self, tag: int, at: int, end: int, asked: Asked, explicit: bool, depth: int, keep: bool
    ) -> tuple[list[dict[int, Element]], int]:
        if depth >= DEEPEST:
            raise self._wrong(tag, f"is nested more than {DEEPEST} deep", at)
        items: list[dict[int, Element]] = []
        while at < end:
            if end - at < 8:
                raise Cut(f"{name_of(tag)} ends in the middle of an item", where=Where(offset=at))
            group, element = self._tag(self._data, at)
            what, (length,) = group << 16 | element, self._u32(self._data, at + 4)
            at += 8
            if what == SEQUENCE_END:
                return items, at
            if what != ITEM:
                raise self._wrong(what, f"stands where an item of {name_of(tag)} belongs", at - 8)
            item: dict[int, Element] = {}
            into = item if keep else None
            if length == UNDEFINED:
                at = self._elements(at, end, asked, into, explicit, depth + 1, 0, open_=True)
            elif length > end - at:
                raise Cut(f"an item of {name_of(tag)} says {length} bytes and there are {end - at}", where=Where(offset=at))
            else:
                if keep:
                    self._elements(at, at + length, asked, into, explicit, depth + 1, 0)
                at += length
            if keep:
                if len(items) >= MOST_ITEMS:
                    raise self._wrong(tag, f"has more than {MOST_ITEMS} items", at)
                items.append(item)
        return items, at

    def _head(self, at: int, end: int, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, VR, length and where the value begins."""
        data = self._data
        if end - at < 8:
            raise Cut("the data set ends in the middle of an element", where=Where(offset=at))
        group, element = self._tag(data, at)
        tag = group << 16 | element
        if not explicit or tag >= ITEM:
            return tag, b"", self._u32(data, at + 4)[0], at + 8
        vr = data[at + 4 : at + 6]
        if vr in _SHORT:
            return tag, vr, self._u16(data, at + 6)[0], at + 8
        if vr in _LONG or (vr.isalpha() and vr.isupper()):  # a VR that is newer than we are has the long form (PS3.5 section 6.2)
            if end - at < 12:
                raise Cut("the data set ends in the middle of an element", where=Where(offset=at))
            return tag, vr, self._u32(data, at + 8)[0], at + 12
        return tag, b"", self._u32(data, at + 4)[0], at + 8  # writers that go over to implicit VR in the middle are met

    def _wrong(self, tag: int, what: str, at: int) -> Unreadable:
        return Unreadable(f"{name_of(tag)} {what}", where=Where(offset=at), code="not_dicom")


def looks_explicit(data: bytes, at: int = 0) -> bool:
    """Whether the element at `at` has a VR behind its tag."""
    vr = data[at + 4 : at + 6]
    return vr in _SHORT or vr in _LONG


def plain(found: Mapping[int, Element], tag: int) -> Any:
    """A value that has no characters outside ASCII: text without its padding, or None."""
    one = found.get(tag)
    return None if one is None else one.value.decode("ascii", "replace").strip(" \x00")
