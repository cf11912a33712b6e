"""Fixed width: each column is so many bytes from a byte on, as the lists of old systems have them."""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hub.adapters.files import rows
from hub.adapters.files.folder import Claimed
from hub.adapters.files.rows import Line, Lines
from hub.adapters.files.settings import RowSettings
from hub.adapters.files.source import FolderSource, Record
from hub.adapters.settings import wrong
from hub.codecs.hl7v2 import python_codec
from hub.config import option
from hub.domain.ports import Feed, Found, Manifest

MANIFEST = Manifest(
    name="files.fixed_in", title="Fixed width files in a folder", direction="in", system="ocs", protocol="fixed width / files",
    polled=True, form="row",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(RowSettings):
    """One folder of files of one layout."""

    columns: dict[str, tuple[int, ...]] = option(doc="{ PANO = [1, 8], SNAME = [9, 20] }: first byte, from 1, and how many")
    skip_lines: int = option(0, doc="lines at the beginning of each file that are no rows", low=0, high=1000)
    short_lines: Literal["refuse", "blank"] = option(
        "refuse",
        doc="a line that ends before its last column: refused, or (trailing blanks were cut off) what is missing is blank",
    )

    def __post_init__(self) -> None:
        super(Settings, self).__post_init__()
        if not self.columns:
            raise wrong('"columns" is empty', "write columns = { PANO = [1, 8] }")
        for name, span in self.columns.items():
            if len(span) != 2 or span[0] < 1 or span[1] < 1:
                raise wrong(f'"columns" has no first byte and width for {name}', f"write {name} = [1, 8]")
        missing = [key for key in self.keys if key not in self.columns]
        if missing:
            raise wrong(f'"columns" has no {", ".join(missing)}', "name columns that there are in keys")


class FixedFiles:
    """hub.adapters.files.source.Form: rows."""

    unit = "line"

    def __init__(self, settings: Settings, name: str) -> None:
        self.event = settings.event
        self._settings = settings
        self._name = name
        self._codec = python_codec(settings.charset)
        self._spans = {name: (first - 1, first - 1 + width) for name, (first, width) in settings.columns.items()}
        self._width = max(end for _, end in self._spans.values())

    def records(self, file: Claimed, offset: int, number: int) -> Iterator[Record]:
        digest = "" if self._settings.keys else rows.digest(file.handle)
        for line in Lines(file.handle, offset, number, self._settings.max_line):
            if line.number <= self._settings.skip_lines or not line.body.strip(b" \x1a"):
                continue
            row = self._row(line, digest)
            if isinstance(row, str):
                yield Record(line.number, line.offset, line.end, line.body, row)
            else:
                yield Record(line.number, line.offset, line.end, line.body, read=row)

    def _row(self, line: Line, digest: str) -> Found | str:
        if not line.whole:
            return f"more than {self._settings.max_line} bytes"
        if len(line.body) < self._width and self._settings.short_lines == "refuse":
            return f"{len(line.body)} bytes, the columns need {self._width}"
        row: dict[str, str] = {}
        for name, (first, end) in self._spans.items():
            try:
                row[name] = line.body[first:end].decode(self._codec).rstrip()
            except UnicodeDecodeError as error:
                return f"bytes that are not {self._codec} in column {name}, at byte {first + error.start + 1} of the line"
        return rows.found(self._settings, row, digest, line.number)

    def hand(self, feed: Feed, records: Sequence[Record], place: tuple[str, str]) -> int:
        return rows.hand(self._settings, self._name, self.unit, feed, records, place)

    def end(self, file: Claimed) -> None:
        """Rows have no answers."""


def build(settings: Settings, name: str = "") -> FolderSource:
    """The source of the channel `name`."""
    return FolderSource(settings, name, FixedFiles(settings, name))
