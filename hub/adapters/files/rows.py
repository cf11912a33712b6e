"""Rows of text files, whatever their layout: lines with their places, and rows handed over each once.

A row with key columns is news where it says something else than before (hub.domain.ports.Feed.rows). Without key columns
its key is the file (by its digest) and the line: the same file again is no news.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from io import BufferedReader
from typing import NamedTuple

from hub.adapters.files.settings import RowSettings
from hub.adapters.files.source import Record, said
from hub.domain.ports import Feed, Found, Received

BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line without its end."""

    number: int
    offset: int
    end: int
    body: bytes
    whole: bool  # False: longer than allowed, `body` is its beginning


class Lines:
    """The lines of a file from a place on; what was read ahead can be given back."""

    def __init__(self, handle: BufferedReader, offset: int, number: int, most: int) -> None:
        handle.seek(offset)
        self._handle = handle
        self._offset = offset
        self._number = number
        self._most = most
        self._back: deque[Line] = deque()

    def __iter__(self) -> Iterator[Line]:
        while (line := self.next()) is not None:
            yield line

    def next(self) -> Line | None:
        if self._back:
            return self._back.popleft()
        start, text = self._offset, self._handle.readline(self._most + 2)  # its end is no part of it
        if not text:
            return None
        self._offset += len(text)
        whole = text.endswith(b"\n") or len(text.rstrip(b"\r")) <= self._most
        rest = text
        while not whole and rest and not rest.endswith(b"\n"):  # the rest of a huge line is passed over
            rest = self._handle.readline(1 << 16)
            self._offset += len(rest)
        self._number += 1
        if start == 0:
            text = text.removeprefix(BOM)
        return Line(self._number, start, self._offset, text.rstrip(b"\r\n"), whole)

    def back(self, lines: Sequence[Line]) -> None:
        self._back.extendleft(reversed(lines))


def digest(handle: BufferedReader) -> str:
    """Of the whole file; where it was read to stands as before."""
    at = handle.tell()
    handle.seek(0)
    found = hashlib.file_digest(handle, "sha256").hexdigest()
    handle.seek(at)
    return found


def hand(settings: RowSettings, name: str, unit: str, feed: Feed, records: Sequence[Record], place: tuple[str, str]) -> int:
    """Rows first, as they may be handed over again; then what was refused, with the place."""
    made = sum(feed.rows(settings.event, run) for run in _runs([r.read for r in records if r.read is not None]))
    refused = [_refused(name, settings.event, record.body, said(unit, record)) for record in records if record.refused]
    if refused:
        feed.store(refused, place)
    else:
        feed.keep(*place)
    return made


def _refused(channel: str, event: str, body: bytes, reason: str) -> Received:
    return Received(channel, body, "", "", event, None, content=body, refused=reason, answer_owed=False)


def _runs(found: Sequence[Found]) -> Iterator[list[Found]]:
    """Parts in which no key comes twice: of two lines about one thing the later one is the later word."""
    run: list[Found] = []
    keys: set[tuple[object, ...]] = set()
    for one in found:
        key = tuple(one.key.values())
        if key in keys:
            yield run
            run, keys = [], set()
        run.append(one)
        keys.add(key)
    if run:
        yield run


def found(settings: RowSettings, row: dict[str, str], file: str, line: int) -> Found | str:
    """The row with its key; or why it is none. `file` is its digest."""
    if any("\0" in value for value in row.values()):
        return "a NUL in a text"
    if not settings.keys:
        return Found({"file": file, "line": line}, row)
    for column in settings.keys:
        if not row[column].strip():
            return f"the key column {column} is empty"
    return Found({column: row[column].strip() for column in settings.keys}, row)
