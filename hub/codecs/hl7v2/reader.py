"""The positional reader: bytes of one message -> segments and fields, escapes resolved on access.

It knows no data type and no version: a field is a number, a component is a number (HL7 v2.5.1 §2.5). Splitting is all
that parsing costs (a few µs); what nobody asks for is never decoded further.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hub.codecs.hl7v2.charset import codec_for, decode
from hub.domain.errors import Unreadable, Where

NULL = '""'
BOM = b"\xef\xbb\xbf"
_HEADERS = ("MSH", "FHS", "BHS")


class Delimiters(NamedTuple):
    """MSH-1 and the characters of MSH-2 (§2.5.4). "" where MSH-2 is short; `truncation` is the fifth one of v2.7."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str
    truncation: str = ""


DEFAULT_DELIMITERS = Delimiters("|", "^", "~", "\\", "&")


class Segment:
    """One segment. `fields[n]` is field n, still escaped; fields[0] is the name; MSH-1 and MSH-2 are fields 1 and 2."""

    __slots__ = ("charset", "delimiters", "fields", "index", "name")

    def __init__(self, name: str, fields: list[str], delimiters: Delimiters, index: int, charset: str = "utf-8") -> None:
        self.name = name
        self.fields = fields
        self.delimiters = delimiters
        self.index = index
        self.charset = charset

    def __repr__(self) -> str:
        return f"<{self.name} #{self.index}, {len(self.fields) - 1} fields>"  # never a value

    def raw(self, n: int) -> str:
        """Field n as it stands, all repetitions; "" where the segment is shorter."""
        return self.fields[n] if n < len(self.fields) else ""

    def reps(self, n: int) -> list[str]:
        """The repetitions of field n as they stand; [] for an empty field."""
        text = self.fields[n] if n < len(self.fields) else ""
        if not text:
            return []
        mark = self.delimiters.repetition
        if not mark or mark not in text or (n < 3 and self.name in _HEADERS):
            return [text]
        return text.split(mark)

    def value(self, n: int, rep: int = 1, comp: int = 1, sub: int = 1) -> str | None:
        """One sub-component, unescaped. None: absent or empty. NULL (`""`): the sender deletes it (§2.5.3)."""
        text = self.fields[n] if n < len(self.fields) else ""
        if not text:
            return None
        marks = self.delimiters
        if n < 3 and self.name in _HEADERS:
            return text if rep == comp == sub == 1 else None
        for mark, wanted in ((marks.repetition, rep), (marks.component, comp), (marks.subcomponent, sub)):
            if mark and mark in text:
                parts = text.split(mark, wanted)
                if len(parts) < wanted:
                    return None
                text = parts[wanted - 1]
            elif wanted > 1:
                return None
        if marks.escape and marks.escape in text:
            text = unescape(text, marks, self.charset)
        return text or None


class Message:
    """One message: its segments in the order in which they came, Z segments among them."""

    __slots__ = ("charset", "delimiters", "segments")

    def __init__(self, segments: list[Segment], delimiters: Delimiters, charset: str) -> None:
        self.segments = segments
        self.delimiters = delimiters
        self.charset = charset

    def first(self, name: str) -> Segment | None:
        """The first segment of that name."""
        for segment in self.segments:
            if segment.name == name:
                return segment
        return None

    def all(self, name: str) -> list[Segment]:
        """Every segment of that name, in order."""
        return [segment for segment in self.segments if segment.name == name]


def parse(body: bytes, default_charset: str = "utf-8") -> Message:
    """Read one message. Line ends may be CR, LF or CRLF, with a UTF-8 BOM or blanks before the MSH.

    Raises Unreadable: no MSH (code 100), delimiters that cannot be told apart (102), a line that is no segment (100), or
    bytes that the charset does not have (102, with the byte offset in `body`).
    """
    start, delimiters = find_header(body)
    codec = codec_for(_msh18(body, start, delimiters.field), default_charset)
    try:
        text = decode(body, codec, start)
    except Unreadable as error:
        error.where = locate(body, start, error.where.offset or start, codec, delimiters)
        raise
    if "\n" in text:
        text = unify_line_ends(text, delimiters.field)
    mark = delimiters.field
    segments: list[Segment] = []
    for line in text.split("\r"):
        if not line:
            continue
        fields = line.split(mark)
        name = fields[0]
        if len(name) != 3 or not name.isalnum():
            name = fields[0] = _odd_name(name, len(segments) + 1, line)
            if not name:
                continue
        segments.append(Segment(name, fields, delimiters, len(segments), codec))
    segments[0].fields.insert(1, mark)
    return Message(segments, delimiters, codec)


def find_header(body: bytes) -> tuple[int, Delimiters]:
    """Where the MSH begins and its delimiters. Raises Unreadable where there is no usable MSH."""
    start = 0
    if body[:3] != b"MSH":
        start = len(BOM) if body.startswith(BOM) else 0
        while start < len(body) and body[start] in b" \t\r\n\0":
            start += 1
        if body[start : start + 3] != b"MSH":
            raise Unreadable("no MSH segment at the start", where=Where("MSH", offset=start), hl7=100, code="no_msh")
    return start, delimiters_of(body[start + 3 : start + 12])


def locate(body: bytes, start: int, offset: int, codec: str, delimiters: Delimiters) -> Where:
    """Segment, its occurrence and field (ERR-2, §2.14.5.2) of byte `offset`, up to which the bytes are sound in `codec`."""
    text = unify_line_ends(body[start:offset].decode(codec, "ignore"), delimiters.field)
    *before, line = text.split("\r")
    name, _, rest = line.partition(delimiters.field)
    name = name.strip(" \t\0\n\ufeff")
    if len(name) != 3 or not name.isalnum():
        return Where(offset=offset)
    occurrence = 1 + sum(other.lstrip(" \t\0\n\ufeff").startswith(name + delimiters.field) for other in before)
    field = rest.count(delimiters.field) + (2 if name in _HEADERS else 1) if name != line else None
    return Where(name, occurrence, field, offset=offset)


_KNOWN: dict[bytes, Delimiters] = {}


def delimiters_of(head: bytes) -> Delimiters:
    """The delimiters out of the nine bytes after the segment name (`|^~\\&|OCS…`)."""
    end = head.find(head[:1], 1)
    key = head[:end] if end > 0 else head.split(b"\r", 1)[0].split(b"\n", 1)[0]
    known = _KNOWN.get(key)
    if known is None:
        known = _read_delimiters(key)
        if len(_KNOWN) < 256:
            _KNOWN[key] = known
    return known


def _read_delimiters(key: bytes) -> Delimiters:
    marks = key.decode("latin-1")
    if len(marks) >= 6 and marks[3] == marks[4]:
        marks = marks[:4] + marks[5:]  # `^~\\&`: a program on the way doubled the escape character
    usable = all(0x20 < ord(mark) < 0x7F and not mark.isalnum() and mark != '"' for mark in marks)
    if not 2 <= len(marks) <= 6 or not usable or len(set(marks)) != len(marks):
        raise Unreadable("MSH-1 and MSH-2 do not give usable delimiters", where=Where("MSH", field=2), hl7=102, code="delimiters")
    six = [*marks, "", "", "", ""]
    return Delimiters(six[0], six[1], six[2], six[3], six[4], six[5])


def _msh18(body: bytes, start: int, mark: str) -> str:
    end = body.find(b"\r", start)
    line = body[start : end if end >= 0 else len(body)]
    if b"\n" in line:
        line = line[: line.index(b"\n")]
    fields = line.split(mark.encode(), 18)
    return fields[17].decode("latin-1") if len(fields) > 17 else ""


def unify_line_ends(text: str, mark: str) -> str:
    """CRLF and LF to CR; where CR ends the lines, a LF that no segment follows belongs to a value and stays."""
    if "\r" not in text:
        return text.replace("\n", "\r")
    text = text.replace("\r\n", "\r")
    return re.sub(rf"(?<!\n)\n++(?=[A-Z][A-Z0-9]{{2}}{re.escape(mark)}|\r|$)", "\r", text)


def _odd_name(name: str, number: int, line: str) -> str:
    """A segment name with blanks around it is tolerated, a blank line is nothing, anything else is not HL7."""
    if not line.strip(" \t\0\n\ufeff\x1a"):
        return ""
    name = name.strip(" \t\0\n\ufeff")
    if len(name) == 3 and name.isalnum():
        return name
    raise Unreadable(f"line {number} is not a segment", where=Where(offset=None), hl7=100, code="not_a_segment")


def unescape(text: str, delimiters: Delimiters, charset: str = "utf-8") -> str:
    """Resolve the escape sequences of §2.7. What is none (a lone escape character, `\\Z..\\`, bad hex) stays as it stands."""
    mark = delimiters.escape
    if not mark or mark not in text:
        return text
    out: list[str] = []
    pieces = text.split(mark)
    out.append(pieces[0])
    at, last = 1, len(pieces) - 1
    while at <= last:
        meaning = _meaning(pieces[at], delimiters, charset) if at < last else None
        if meaning is None:  # not a sequence: the mark stays, and what follows may begin one
            out.append(mark + pieces[at])
            at += 1
            continue
        hexed, at = _join_hex(pieces, at, charset) if meaning is _HEX else (meaning, at)
        out.append(hexed)
        out.append(pieces[at + 1])
        at += 2
    return "".join(out)


_HEX = "\0hex"


def _meaning(code: str, marks: Delimiters, charset: str) -> str | None:
    """The text that stands for an escape code, _HEX for `X..`, None where it is no escape code that we know."""
    if len(code) == 1:
        return {
            "F": marks.field, "S": marks.component, "T": marks.subcomponent, "R": marks.repetition,
            "E": marks.escape, "P": marks.truncation or "#", "H": "", "N": "",
        }.get(code)  # fmt: skip
    if code[:1] == "X":
        return _HEX if _unhex(code[1:], charset) is not None or _hex_bytes(code[1:]) is not None else None
    if code[:1] == "C" and len(code) == 5 and _hex_bytes(code[1:]) is not None:
        return ""  # single-byte set switch (§2.7.2): the declared charset rules
    if code[:1] == ".":
        return _formatting(code[1:])
    return None


def _formatting(command: str) -> str | None:
    """§2.7.6: breaks become line ends, skips become blanks, the rest is layout without text."""
    name, count = command[:2], command[2:].lstrip("+")
    number = int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 1
    if name == "br":
        return "\n"
    if name == "sp":
        return "\n" * number
    if name == "sk":
        return " " * number
    return "" if name in ("fi", "nf", "in", "ti", "ce") else None


def _hex_bytes(digits: str) -> bytes | None:
    try:
        return bytes.fromhex(digits) if digits and " " not in digits else None
    except ValueError:
        return None


def _unhex(digits: str, charset: str) -> str | None:
    raw = _hex_bytes(digits)
    try:
        return None if raw is None else raw.decode(charset)
    except UnicodeDecodeError:
        return None


def _join_hex(pieces: list[str], at: int, charset: str) -> tuple[str, int]:
    """Neighbouring `\\X..\\\\X..\\` make up one run: a multi-byte character may be spread over them. Returns text, last index."""
    end, run = at, pieces[at][1:]
    while end + 2 < len(pieces) - 1 and not pieces[end + 1] and pieces[end + 2][:1] == "X" and _hex_bytes(pieces[end + 2][1:]):
        end += 2
        run += pieces[end][1:]
    whole = _unhex(run, charset)
    if whole is not None:
        return whole, end
    own = _unhex(pieces[at][1:], charset)
    if own is not None:
        return own, at
    return f"\\{pieces[at]}\\", at
