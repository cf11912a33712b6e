"""From what a driver gives to a row that maps can read: bytes decoded, padding gone. What it means is the map's business."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hub.adapters.sql.select import place_of
from hub.domain.errors import Misconfigured
from hub.domain.ports import Found

PADDING = " \0\u3000"  # CHAR columns; an ideographic space is what Korean input methods pad with


class Cleaner(NamedTuple):
    """`raw`: the driver gives text as latin-1, byte by byte, and `encoding` says what it really is."""

    raw: bool
    encoding: str
    encodings: Mapping[str, str]  # of single columns
    key: Sequence[str]
    without: frozenset[str] = frozenset()  # columns that say something of our reading and nothing of the row

    def found(self, names: Sequence[str], row: Sequence[Any]) -> Found:
        """A row whose text cannot be decoded is found all the same, and says what is wrong with it."""
        refused = None
        cleaned: dict[str, Any] = {}
        for name, value in zip(names, row, strict=True):
            if name.lower() in self.without:
                continue
            encoding = self.encodings.get(name, self.encoding)
            try:
                cleaned[name] = self._clean(name, value, encoding)
            except UnicodeDecodeError:
                cleaned[name] = value if isinstance(value, str) else bytes(value).decode("latin-1")
                refused = f"column {name} is not {encoding}"
        key = {names[place]: cleaned[names[place]] for place in (place_of(column, names) for column in self.key)}
        return Found(key, cleaned, refused)

    def bound(self, name: str, text: str) -> str:
        """A text to compare the column with, as the driver is to send it."""
        encoding = self.encodings.get(name, self.encoding)
        try:
            return text.encode(encoding).decode("latin-1") if self.raw and not text.isascii() else text
        except UnicodeEncodeError:
            raise Misconfigured(f'what "{name}" is compared with cannot be written in {encoding}') from None

    def _clean(self, name: str, value: Any, encoding: str) -> Any:
        if isinstance(value, str):
            if self.raw and not value.isascii():
                value = value.encode("latin-1").decode(encoding)
            return value.rstrip(PADDING)
        if isinstance(value, bytes | bytearray | memoryview) and name in self.encodings:
            return bytes(value).decode(encoding).rstrip(PADDING)
        if isinstance(value, dt.datetime | dt.date | dt.time):
            return value.isoformat()
        return value
