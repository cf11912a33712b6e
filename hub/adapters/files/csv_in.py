"""CSV files (RFC 4180 and its relatives): a line is a row, the header names its columns, a row map says what it means."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hub.adapters.files import rows
from hub.adapters.files.folder import Claimed
from hub.adapters.files.rows import Line, Lines
from hub.adapters.files.settings import RowSettings
from hub.adapters.files.source import FolderSource, Record
from hub.adapters.settings import wrong
from hub.codecs.hl7v2 import python_codec
from hub.config import option
from hub.domain.errors import Unreadable
from hub.domain.ports import Feed, Found, Manifest

MANIFEST = Manifest(
    name="files.csv_in", title="CSV files in a folder", direction="in", system="ocs", protocol="CSV / files",
    polled=True, form="row",
)  # fmt: skip
SET = '"columns"'
LONGEST_ROW = 64  # lines that a quoted field may go on for


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RowSettings):
    """One folder of CSV files of one kind."""

    delimiter: str = option(",", doc='what stands between two fields: ",", ";", "\\t", "|"')
    quote: str = option('"', doc="what stands around a field that holds a delimiter, a quote or a line end")
    columns: tuple[str, ...] = option((), doc="names of the columns where the files have no header line")

    def __post_init__(self) -> None:
        super(Settings, self).__post_init__()
        for key in ("delimiter", "quote"):
            if len(getattr(self, key)) != 1 or not getattr(self, key).isascii() or getattr(self, key) in "\r\n":
                raise wrong(f'"{key}" is not one character', 'write one character: ","')
        if python_codec(self.charset).startswith(("utf_16", "utf-16", "utf_32", "utf-32")):
            raise wrong('"charset" has line ends of several bytes', "have the files written in utf-8 or cp949")
        if self.columns:
            _check_columns(self.columns, self.keys, SET)


def _check_columns(columns: Sequence[str], keys: Sequence[str], what: str) -> None:
    """`what`: where they stand. Of a header only names that the settings know are said: one that is none is a line of values."""
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        named = twice if what == SET else [name for name in twice if name in keys] or ["a column"]
        raise wrong(f"{what} names {', '.join(named)} twice", "give each column a name of its own")
    if any(not name for name in columns):
        raise wrong(f"{what} has a column without a name", "give each column a name")
    missing = [key for key in keys if key not in columns]
    if missing:
        raise wrong(f"{what} has no {', '.join(missing)}", "name columns that there are in keys")


class CsvFiles:
    """hub.adapters.files.source.Form: rows."""

    unit = "line"

    def __init__(self, settings: Settings, name: str) -> None:
        self.event = settings.event
        self._settings = settings
        self._name = name
        self._codec = python_codec(settings.charset)
        self._delimiter = settings.delimiter
        self._quote = settings.quote.encode()

    def records(self, file: Claimed, offset: int, number: int) -> Iterator[Record]:
        """The header, which every part of the file needs, and the rows from `offset` on."""
        settings = self._settings
        columns: Sequence[str] = settings.columns
        if not columns:
            columns, header = self._header(file)
            offset, number = max(offset, header.end), max(number, header.number)
        digest = "" if settings.keys else rows.digest(file.handle)
        lines = Lines(file.handle, offset, number, settings.max_line)
        for line in lines:
            if line.body.strip(b" \t\x1a"):  # CP/M's end of file, which old systems still write
                yield self._record(line, lines, columns, digest)

    def _header(self, file: Claimed) -> tuple[Sequence[str], Line]:
        lines = Lines(file.handle, 0, 0, self._settings.max_line)
        first = lines.next()
        if first is None or not first.whole:
            raise Unreadable("the first line is no header")
        try:
            fields, taken = self._fields(first, lines)
        except _BadLineError as bad:
            raise Unreadable(f"the header cannot be read: {bad}") from None
        columns = tuple(name.strip() for name in fields)
        try:
            _check_columns(columns, self._settings.keys, "the header")
        except ValueError as error:
            raise Unreadable(str(error)) from None
        return columns, taken[-1]

    def _record(self, line: Line, lines: Lines, columns: Sequence[str], digest: str) -> Record:
        taken = [line]
        row: Found | str
        try:
            if not line.whole:
                raise _BadLineError(f"more than {self._settings.max_line} bytes")
            fields, taken = self._fields(line, lines)
            if len(fields) != len(columns):
                raise _BadLineError(f"{len(fields)} fields, the header has {len(columns)}")
            row = rows.found(self._settings, dict(zip(columns, fields, strict=True)), digest, line.number)
        except _BadLineError as bad:
            row = str(bad)
        body, last = b"\n".join(one.body for one in taken), taken[-1]
        refused, read = (row, None) if isinstance(row, str) else ("", row)
        return Record(line.number, line.offset, last.end, body, refused, read, last.number)

    def _fields(self, line: Line, lines: Lines) -> tuple[list[str], list[Line]]:
        """The fields of the row that begins with this line, and its lines. What does not belong to it is given back."""
        if self._quote not in line.body:
            return self._text(line.body).split(self._delimiter), [line]
        taken = [line]
        while True:
            try:
                text = self._text(b"\n".join(one.body for one in taken))
                reader = csv.reader([text], delimiter=self._delimiter, quotechar=self._settings.quote, strict=True)
                return next(reader), taken
            except _BadLineError:
                lines.back(taken[1:])
                raise
            except csv.Error as error:
                following = lines.next() if "unexpected end" in str(error) and len(taken) < LONGEST_ROW else None
                if following is None or not following.whole or sum(len(o.body) for o in taken) > self._settings.max_line:
                    lines.back([*taken[1:], *([following] if following is not None else [])])
                    raise _BadLineError("a quote that is not closed, or something behind one that is") from None
                taken.append(following)

    def _text(self, body: bytes) -> str:
        try:
            return body.decode(self._codec)
        except UnicodeDecodeError as error:
            raise _BadLineError(f"bytes that are not {self._codec}, from byte {error.start} of the line on") from None

    def hand(self, feed: Feed, records: Sequence[Record], place: tuple[str, str]) -> int:
        return rows.hand(self._settings, self._name, self.unit, feed, records, place)

    def end(self, file: Claimed) -> None:
        """Rows have no answers."""


class _BadLineError(Exception):
    """This line is refused; its text never holds any of the line's."""


def build(settings: Settings, name: str = "") -> FolderSource:
    """The source of the channel `name`."""
    return FolderSource(settings, name, CsvFiles(settings, name))
