"""IDocs in a file of SAP's file port: one record a line, a control record of 524 and data records of 63 + up to 1000 positions.

What a position is depends on the port (WE21). With "Unicode format" (UTF-8, UTF-16) the fields of SAP's structures are counted
in characters. Without it the file is in a code page, and a field of 35 is 35 bytes: 17 Hangul of cp949. So `units` follows the
character set unless somebody says otherwise. Blanks at the end of a line may be missing. Which segment belongs to which is told
by PSGNUM alone: SAP writes HLEVEL 02 for header segments that stand at the top.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

from hub.codecs.sap.idoc import MOST_BYTES, MOST_DEPTH, MOST_SEGMENTS, RAW, Idoc, Segment, trimmed, type_of
from hub.codecs.sap.idoc_segments import CONTROL, DATA_HEAD, DEFINITIONS, SDATA, SEGMENTS, Layout, spans, width
from hub.domain.errors import Unreadable

Units = Literal["characters", "bytes"]
BEGINNING = "EDI_DC40"
HEAD = width(DATA_HEAD)
_NOTHING = b"\0\r\n \x1a"
_MARKS = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}


@dataclass(frozen=True, slots=True)
class Format:
    """How a file is written. `codec`: a Python codec; UTF-16 with its byte order (utf-16-le)."""

    codec: str = "utf-8"
    units: Units = "characters"
    tables: Mapping[str, Layout] | None = None

    @classmethod
    def of(cls, charset: str, units: str = "", tables: Mapping[str, Layout] | None = None) -> Format:
        """`units` by the character set where nobody says. Raises LookupError for a charset that there is not."""
        codec = codecs.lookup(charset).name
        codec = {"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(codec, codec)  # a byte order mark is passed over in any case
        unicode = codec.startswith(("utf-8", "utf-16", "utf-32"))
        chosen: Units = "bytes" if units == "bytes" or (not units and not unicode) else "characters"
        return cls(codec, chosen, tables)

    @property
    def known(self) -> Mapping[str, Layout]:
        return SEGMENTS if self.tables is None else self.tables

    @property
    def newline(self) -> bytes:
        return "\n".encode(self.codec)


class Piece(NamedTuple):
    """One IDoc of a file: its bytes from `offset` to `end`. Not `whole`: larger than allowed, `body` is its beginning."""

    body: bytes
    offset: int
    end: int
    whole: bool = True


def pieces(chunks: Iterable[bytes], form: Format, offset: int = 0, most: int = MOST_BYTES) -> Iterator[Piece]:
    """The IDocs of a file, cut at their control records. What stands before the first one is a piece, too."""
    unit, begin = len(form.newline), BEGINNING.encode(form.codec)
    mark, keep = form.newline + begin, unit + len(begin) - 1
    body, start, at, whole, rest = bytearray(), offset, offset, True, b""  # `at`: where `rest` begins

    for chunk in chain(chunks, (b"",)):
        data, done = rest + chunk, not chunk
        cut = 0
        while (found := _aligned(data, mark, cut, unit, at - offset)) >= 0:
            end = found + unit
            whole = _add(body, data[cut:end], most) and whole
            if body.strip(_NOTHING):
                yield Piece(bytes(body), start, at + end, whole)
            body, start, whole, cut = bytearray(), at + end, True, end
        upto = len(data) if done else max(cut, len(data) - keep)
        whole = _add(body, data[cut:upto], most) and whole
        rest, at = data[upto:], at + upto
        if done:
            break
    if body.strip(_NOTHING):
        yield Piece(bytes(body), start, at, whole)


def _aligned(data: bytes, mark: bytes, first: int, unit: int, before: int) -> int:
    """Where the mark stands next, at the beginning of a code unit; -1: nowhere."""
    found = data.find(mark, first)
    while found >= 0 and (before + found) % unit:
        found = data.find(mark, found + 1)
    return found


def _add(body: bytearray, part: bytes, most: int) -> bool:
    """Whether all of it found room."""
    room = most - len(body)
    body += part[:room]
    return len(part) <= room


def _stripped(line: bytes, form: Format) -> bytes:
    return line.removeprefix(_MARKS.get(form.codec, b"\xef\xbb\xbf")) if form.units == "characters" else line


def read(body: bytes, form: Format) -> Idoc:
    """One IDoc. Raises Unreadable that names record and field, never a value."""
    lines = _texts(body, form)
    first = next(lines, None)
    if first is None or not first.startswith(BEGINNING):
        old = first is not None and first.startswith("EDI_DC ")
        reason = "a control record of release 3 (EDI_DC): set the port to version 4" if old else "no control record EDI_DC40"
        raise Unreadable(f"record 1: {reason}", code="no_control_record")
    control = trimmed(_cut(first, CONTROL, 1, BEGINNING))
    idoc, placed, depth = Idoc(control), dict[str, Segment](), dict[str, int]()
    for number, line in enumerate(lines, 2):
        if number > MOST_SEGMENTS:
            raise Unreadable(f"more than {MOST_SEGMENTS} records in one IDoc", code="too_large")
        _place(line, number, idoc, placed, depth, form)
    return idoc


def _place(line: Line, number: int, idoc: Idoc, placed: dict[str, Segment], depth: dict[str, int], form: Format) -> None:
    head = trimmed(_cut(line, DATA_HEAD, number, "data record"))
    definition = head.get("SEGNAM", "")
    if not definition.isascii() or not definition.replace("/", "_").replace("_", "A").isalnum():
        raise Unreadable(f"record {number}: no name of a segment in SEGNAM", code="no_segment")
    name = type_of(definition, form.known)
    for column in ("DOCNUM", "MANDT"):
        if head.get(column, "") not in ("", idoc[column]):
            raise Unreadable(f"record {number} ({name}): {column} is not that of the control record", code="other_idoc")
    segment = Segment(name, _application(line, name, number, form))
    parent, own = head.get("PSGNUM", "").lstrip("0"), head.get("SEGNUM", "").lstrip("0")
    if parent and parent not in placed:
        raise Unreadable(f"record {number} ({name}): no segment has the number that PSGNUM names", code="no_parent")
    level = depth[parent] + 1 if parent else 1
    if level > MOST_DEPTH:
        raise Unreadable(f"record {number} ({name}): segments more than {MOST_DEPTH} deep", code="too_deep")
    (placed[parent].children if parent else idoc.segments).append(segment)
    if own:
        placed[own], depth[own] = segment, level


def _application(line: Line, name: str, number: int, form: Format) -> dict[str, str]:
    """Fields by the segment's table; what no table names as it came."""
    fields = form.known.get(name, ())
    pairs = list(_cut(line.behind(HEAD), fields, number, name))
    at = HEAD + width(fields)
    pairs.append((RAW, line.behind(at).text(f"record {number} ({name})", RAW)))
    return trimmed(pairs)


class Line:
    """A record without its end, cut by characters or by bytes."""

    def __init__(self, raw: bytes | str, codec: str) -> None:
        self._raw = raw
        self._codec = codec

    def startswith(self, text: str) -> bool:
        return self._raw.startswith(text) if isinstance(self._raw, str) else self._raw.startswith(text.encode(self._codec))

    def behind(self, at: int) -> Line:
        return Line(self._raw[at:], self._codec)

    def part(self, first: int, end: int) -> Line:
        return Line(self._raw[first:end], self._codec)

    def text(self, where: str, name: str) -> str:
        """Raises Unreadable where a field's bytes are no text: a field that is cut in the middle of a character."""
        if isinstance(self._raw, str):
            return self._raw
        try:
            return self._raw.decode(self._codec)
        except UnicodeDecodeError:
            raise Unreadable(f"{where}: {name} holds bytes that are not {self._codec}", code="charset") from None


def _texts(body: bytes, form: Format) -> Iterator[Line]:
    """Lines of one IDoc that are not empty."""
    body = _stripped(body, form)
    if form.units == "bytes":
        for raw in body.split(b"\n"):
            if raw.strip(b"\r\0 \x1a"):
                yield Line(raw.rstrip(b"\r"), form.codec)
        return
    try:
        text = body.decode(form.codec)
    except UnicodeDecodeError as error:
        raise Unreadable(f"bytes that are not {form.codec}, at byte {error.start} of the IDoc", code="charset") from None
    for line in text.split("\n"):
        if line.strip("\r\0 \x1a"):
            yield Line(line.rstrip("\r"), form.codec)


def _cut(line: Line, fields: Layout, number: int, name: str) -> Iterator[tuple[str, str]]:
    for field, first, end in spans(fields):
        yield field, line.part(first, end).text(f"record {number} ({name})", field)


# -- writing ------------------------------------------------------------------------------------------------------------


def write(idoc: Idoc, form: Format) -> bytes:
    """As SAP's file port reads it: SEGNUM counted, PSGNUM and HLEVEL by the tree, lines ended by LF.

    Raises Unreadable with code `too_long` for what a field does not hold, `charset` for what the character set does not, and
    `no_table` for fields of a segment that nobody described.
    """
    lines = [_record("EDI_DC40", CONTROL, {**idoc.control, "TABNAM": BEGINNING}, form)]
    count = 0

    def add(segments: list[Segment], parent: int, level: int) -> None:
        nonlocal count
        for one in segments:
            count += 1
            own = count
            head = {
                "SEGNAM": DEFINITIONS.get(one.name) or _definition(one.name), "MANDT": idoc["MANDT"], "DOCNUM": idoc["DOCNUM"],
                "SEGNUM": f"{own:06d}", "PSGNUM": f"{parent:06d}", "HLEVEL": f"{level:02d}",
            }  # fmt: skip
            lines.append(_record(one.name, DATA_HEAD, head, form) + _data(one, form))
            add(one.children, own, level + 1)

    add(idoc.segments, 0, 1)
    return b"".join(line + form.newline for line in lines)


def _definition(name: str) -> str:
    """E1EDK02 -> E2EDK02; what was kept under its definition stays."""
    return f"{name[:1]}2{name[2:]}" if name[1:2] == "1" and name in SEGMENTS else name


def _data(one: Segment, form: Format) -> bytes:
    fields = form.known.get(one.name, ())
    strange = one.fields.keys() - {name for name, _ in fields} - {RAW}
    if strange:
        raise Unreadable(f"{one.name}: no table says where {min(strange)} stands", code="no_table")
    laid = _record(one.name, fields, one.fields, form) if fields else b""
    raw = one.fields.get(RAW, "")
    return laid + _record(one.name, ((RAW, SDATA - width(fields)),), {RAW: raw}, form) if raw else laid


def _record(name: str, fields: Layout, values: Mapping[str, str], form: Format) -> bytes:
    parts = []
    for field, length in fields:
        value = values.get(field, "")
        if "\n" in value or "\r" in value or "\0" in value:
            raise Unreadable(f"{name}-{field}: a line break", code="line_break")
        try:
            written = value.encode(form.codec)
        except UnicodeEncodeError:
            raise Unreadable(f"{name}-{field}: a character that {form.codec} does not have", code="charset") from None
        size = len(written) if form.units == "bytes" else len(value)
        if size > length:
            raise Unreadable(f"{name}-{field}: longer than {length} {form.units}", code="too_long")
        parts.append(written + (" " * (length - size)).encode(form.codec))
    return b"".join(parts)
