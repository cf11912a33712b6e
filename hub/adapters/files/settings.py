"""What every drop folder can be told; each kind of file adds its own (hl7_in, csv_in, fixed_in)."""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from hub.adapters.settings import read_table, wrong
from hub.codecs.hl7v2 import python_codec
from hub.config import option

T = TypeVar("T", bound="FolderSettings")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """The folder, and when a file in it is whole."""

    folder: Path = option(doc="the drop folder; working, done and error are made in it")
    pattern: tuple[str, ...] = option(("*",), doc='files that are taken: ["ADT*.hl7", "*.HL7"]; other files are left alone')
    ignore: tuple[str, ...] = option(
        (".*", "~*", "*.tmp", "*.part", "*.filepart", "*.crdownload"), doc="names that are never taken: files being written"
    )
    ready: Literal["quiet", "marker", "rename"] = option(
        "quiet",
        doc="when a file is whole. quiet: size and time unchanged for quiet_seconds; marker: a file NAME.done or NAME.ok is "
        "beside it; rename: its writer gives it its name last",
    )
    quiet_seconds: float = option(10.0, doc="ready = quiet: how long nothing may have changed", low=0.0, high=86400)
    marker_suffixes: tuple[str, ...] = option((".done", ".ok"), doc="ready = marker: what is put after the file's name")
    order: Literal["name", "time"] = option("name", doc="which of several files comes first: by name, or by its time")
    poll_seconds: float = option(5.0, doc="from one look at the folder to the next", low=0.05, high=86400)
    done_days: int = option(30, doc="days until a file in done is deleted; 0: as soon as it was read", low=0, high=3650)
    charset: str = option("utf-8", doc="charset of the files: utf-8 (a byte order mark is passed over), cp949 …")

    def __post_init__(self) -> None:
        try:
            python_codec(self.charset)
        except LookupError:
            raise wrong('"charset" is none that we know', "write utf-8 or cp949") from None
        if self.ready == "marker" and not all(self.marker_suffixes):
            raise wrong('"marker_suffixes" has an empty one', 'write what is put after the name: [".done"]')
        if not self.pattern:
            raise wrong('"pattern" is empty: no file would be taken', 'write ["*"], or leave it out')

    @classmethod
    def from_table(cls: type[T], table: Mapping[str, Any]) -> T:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSettings(FolderSettings):
    """Files whose lines are rows of a table."""

    form: Literal["row"] = option("row", doc="what the lines are; nothing else is possible")
    event: str = option(doc="the row map that the lines are for: [event.NAME] of a source = row map")
    keys: tuple[str, ...] = option(
        (), doc="columns that tell a row from all others: a row that says what it said before is no news; none: each line once"
    )
    max_line: int = option(65536, doc="bytes of one row", low=80, high=131072)
