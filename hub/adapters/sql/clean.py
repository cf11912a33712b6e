"""From what a driver gives to a row that maps can read: bytes decoded, padding gone. What it means is the map's business."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from hub.adapters.sql.select import bare, place_of
from hub.domain.errors import Misconfigured
from hub.domain.ports import Found

LARGEST = 2**63 - 1
PADDING = " \0\u3000"  # CHAR columns; an ideographic space is what Korean input methods pad with


class NulError(ValueError):
    """A text with a NUL in it."""


class Cleaner(NamedTuple):
    """`raw`: the driver gives text as latin-1, byte by byte, and `encoding` says what it really is."""

    raw: bool
    encoding: str
    encodings: Mapping[str, str]  # of single columns
    key: Sequence[str]
    without: frozenset[str] = frozenset()  # columns that say something of our reading and nothing of the row

    def block(self, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Found]:
        """All rows of one answer. Raises Misconfigured where `encodings` names a column that they have not."""
        there = {name.lower() for name in names}
        for column in self.encodings:
            if bare(column) not in there:
                raise Misconfigured(f'encodings names "{column}", which the rows have not', code="no_column")
        return [self.found(names, row) for row in rows]

    def found(self, names: Sequence[str], row: Sequence[Any]) -> Found:
        """A row whose text cannot be read is found all the same, and says what is wrong with it."""
        refused, encodings = None, self._folded()
        cleaned: dict[str, Any] = {}
        for name, value in zip(names, row, strict=True):
            if name.lower() in self.without:
                continue
            own = encodings.get(name.lower())
            encoding = own or self.encoding
            try:
                cleaned[name] = self._clean(value, encoding, own is not None)
            except UnicodeError:
                cleaned[name] = _legible(value)
                refused = f"column {name} is not {encoding}"
            except NulError:
                cleaned[name] = _legible(value)
                refused = f"column {name} has a NUL in a text"
        key = {names[place]: cleaned[names[place]] for place in (place_of(column, names) for column in self.key)}
        return Found(key, cleaned, refused)

    def bound(self, name: str, text: str) -> str:
        """A text to compare the column with, as the driver is to send it."""
        encoding = self._folded().get(bare(name), self.encoding)
        try:
            return text.encode(encoding).decode("latin-1") if self.raw and not text.isascii() else text
        except UnicodeEncodeError:
            raise Misconfigured(f'what "{name}" is compared with cannot be written in {encoding}') from None

    def _folded(self) -> dict[str, str]:
        """By names as they are compared: PostgreSQL makes MEMO memo."""
        return {bare(column): encoding for column, encoding in self.encodings.items()}

    def _clean(self, value: Any, encoding: str, decode: bool) -> Any:
        """`decode`: bytes are text."""
        if isinstance(value, str):
            return self._text(value, encoding)
        if isinstance(value, bytes | bytearray | memoryview):
            return _bare(bytes(value).decode(encoding)) if decode else bytes(value)
        if isinstance(value, dt.datetime | dt.date | dt.time):
            return value.isoformat()
        if isinstance(value, int) and not isinstance(value, bool) and not -LARGEST <= value <= LARGEST:
            return str(value)  # JSON's numbers end there
        if value is None or isinstance(value, int | float | Decimal | dt.timedelta):
            return value
        return _whole(str(value))  # UUIDs, arrays, whatever else a driver has

    def _text(self, value: str, encoding: str) -> str:
        if self.raw and not value.isascii():
            return _bare(value.encode("latin-1").decode(encoding))
        return _whole(value)


def _whole(text: str) -> str:
    if not text.isascii():
        text.encode()  # half a surrogate pair is no text
    return _bare(text)


def _bare(text: str) -> str:
    """Without padding. Raises NulError: databases end texts there, or do not take them."""
    text = text.rstrip(PADDING)
    if "\0" in text:
        raise NulError
    return text


def _legible(value: Any) -> str:
    """Something to keep of what cannot be read."""
    text = bytes(value).decode("latin-1") if isinstance(value, bytes | bytearray | memoryview) else str(value)
    return text.encode(errors="replace").decode()
