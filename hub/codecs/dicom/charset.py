"""Specific Character Set (0008,0005): bytes of a text <-> text (PS3.3 C.12.1.1.2, PS3.5 section 6.1).

Strict: bytes that nothing declared, nor the channel's default, can read raise Unreadable; nothing is replaced. What Korean
systems send is read: `\\ISO 2022 IR 149` with its escapes, without them and with the ESC lost; the nonstandard `ISO_IR 149`;
nothing declared at all. KS X 1001 is read as cp949, its superset.
"""

from __future__ import annotations

import re
from functools import lru_cache

from hub.domain.errors import Unmappable, Unreadable

ESC = b"\x1b"
_KS = (
    "ISOIR149", "ISO2022IR149", "KSC5601", "KSC56011987", "KSC56011992", "KSX1001", "KSX10011992", "EUCKR", "CP949", "MS949",
    "UHC", "949",
)  # fmt: skip
_CODECS = {  # by term without spaces, underscores and hyphens
    "ISOIR6": "ascii", "ISOIR13": "shift_jis", "ISOIR100": "latin_1", "ISOIR101": "iso8859_2", "ISOIR109": "iso8859_3",
    "ISOIR110": "iso8859_4", "ISOIR126": "iso8859_7", "ISOIR127": "iso8859_6", "ISOIR138": "iso8859_8", "ISOIR144": "iso8859_5",
    "ISOIR148": "iso8859_9", "ISOIR166": "tis_620", "ISOIR203": "iso8859_15", "ISOIR192": "utf-8", "UTF8": "utf-8",
    "GB18030": "gb18030", "GBK": "gb18030", "ISO2022GBK": "gb18030", "ISO202258": "gb18030", "ISOIR58": "gb18030",
    "LATIN1": "latin_1", "ISO88591": "latin_1",
    "ISOIR87": "iso2022_jp_2", "ISOIR159": "iso2022_jp_2", **dict.fromkeys(_KS, "cp949"),
}  # fmt: skip
# What an escape sequence calls (PS3.3 tables C.12-3 and C.12-4); True: two bytes in G0, one of which may look like a delimiter
_CALLED = {
    b"(B": ("", False), b"(J": ("shift_jis", False), b")I": ("shift_jis", False), b"-A": ("latin_1", False),
    b"-B": ("iso8859_2", False), b"-C": ("iso8859_3", False), b"-D": ("iso8859_4", False), b"-F": ("iso8859_7", False),
    b"-G": ("iso8859_6", False), b"-H": ("iso8859_8", False), b"-L": ("iso8859_5", False), b"-M": ("iso8859_9", False),
    b"-T": ("tis_620", False), b"-b": ("iso8859_15", False), b"$)C": ("cp949", False), b"$)A": ("gb18030", False),
    b"$B": ("iso2022_jp_2", True), b"$(D": ("iso2022_jp_2", True), b"$@": ("iso2022_jp_2", True),
}  # fmt: skip
_ESCAPE = re.compile(rb"\x1b(\$\([A-Z]|\$\)[A-Z]|\$[@-Z]|[(),\-./][A-Za-z])")
_LOST = re.compile(rb"(?<!\x1b)\$\)C(?=[\xa1-\xfe]{2})")
_RESET = re.compile(rb"[\\^=\r\n\f\t]")  # PS3.5 section 6.1.2.5.3: behind these the first set is in use again


@lru_cache(maxsize=64)
def codec_of(term: str) -> str:
    """The Python codec of a defined term or of a usual name; "" for ASCII and what nobody knows. Python is never asked: a data
    set must not have it look for modules by a name that somebody sent."""
    key = "".join(c for c in term.upper() if c.isalnum())
    key = key.replace("ISO2022IR", "ISOIR")
    known = _CODECS.get(key, "")
    return "" if known == "ascii" else known


class Charset:
    """How the texts of one data set are read. `declared`: the values of (0008,0005); `default`: the channel's, for what is
    declared wrongly or not at all."""

    __slots__ = ("_codecs", "_first", "declared")

    def __init__(self, declared: tuple[str, ...] = (), default: str = "") -> None:
        self.declared = declared
        named = [codec_of(term) for term in declared]
        self._first = named[0] if named else ""
        others = [*named[1:], codec_of(default), "utf-8"]
        self._codecs = list(dict.fromkeys(codec for codec in (self._first, *others) if codec))

    def text(self, raw: bytes) -> str:
        """Raises Unreadable, which says at which byte."""
        if raw.isascii() and ESC not in raw:
            return raw.decode("ascii")
        if "cp949" in self._codecs:
            raw = _LOST.sub(b"\x1b$)C", raw)
        if ESC not in raw:
            return self._plain(raw)
        return self._escaped(raw)

    def _plain(self, raw: bytes) -> str:
        """By the first set; where that has no such bytes by another one that is declared, or by the default."""
        problem: UnicodeDecodeError | None = None
        for codec in self._codecs:
            try:
                return raw.decode(codec)
            except UnicodeDecodeError as error:
                problem = problem or error
        assert problem is not None, "utf-8 is always tried"
        reason = f"bytes that are not {problem.encoding}, from byte {problem.start} of the value on"
        raise Unreadable(reason, code="undecodable")

    def _escaped(self, raw: bytes) -> str:
        at, codec, wide = 0, "", False
        parts = []
        for match in _ESCAPE.finditer(raw):
            parts.append(self._run(raw[at : match.start()], codec, wide))
            codec, wide = _CALLED.get(match[1], ("?", False))
            if codec == "?":
                raise Unreadable(
                    f"an escape sequence that DICOM has none like at byte {match.start()} of the value", code="undecodable"
                )
            at = match.start() if wide else match.end()  # Python's decoder wants to see this escape itself
        parts.append(self._run(raw[at:], codec, wide))
        return "".join(parts)

    def _run(self, raw: bytes, codec: str, wide: bool) -> str:
        """What stands between two escapes."""
        if not raw:
            return ""
        if ESC in raw and not wide:
            raise Unreadable("an ESC that begins no escape sequence", code="undecodable")
        if not codec:
            return raw.decode("ascii") if raw.isascii() else self._plain(raw)
        reset = None if wide or not self._first else _RESET.search(raw)
        here, rest = (raw[: reset.start()], raw[reset.start() :]) if reset else (raw, b"")
        try:
            text = here.decode(codec)
        except UnicodeDecodeError as error:
            raise Unreadable(f"bytes that are not {codec} behind their escape sequence", code="undecodable") from error
        return text + (rest.decode("ascii") if rest.isascii() else self._plain(rest))


def encode(text: str, terms: tuple[str, ...]) -> bytes:
    """A text in the sets that `terms` declare. Raises Unmappable, which names the code point that they lack."""
    if text.isascii():
        return text.encode("ascii")
    if len(terms) > 1 or (terms and terms[0].startswith("ISO 2022")):
        return _with_escapes(text, terms)
    return _strict(text, codec_of(terms[0]) if terms else "ascii")


def _strict(text: str, codec: str) -> bytes:
    try:
        return text.encode(codec or "ascii")
    except UnicodeEncodeError as error:
        raise Unmappable(f"{codec or 'ascii'} has no U+{ord(text[error.start]):04X}", code="unencodable") from None


def _with_escapes(text: str, terms: tuple[str, ...]) -> bytes:
    """By components, each with an escape of its own (PS3.5 annex I.2). KS X 1001 is the only set that we write with escapes."""
    if "cp949" not in {codec_of(term) for term in terms}:
        return _strict(text, codec_of(terms[0]))
    parts = []
    for piece in re.split(r"([\\^=\r\n\f\t])", text):
        raw = _strict(piece, "cp949")
        if any(len(two) == 2 and min(two) < 0xA1 for two in (c.encode("cp949") for c in piece)):
            raise Unmappable("KS X 1001 has not every syllable of the text", code="unencodable")
        parts.append(raw if piece.isascii() else ESC + b"$)C" + raw)
    return b"".join(parts)
