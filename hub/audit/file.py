"""The checkpoint file: signed notes one after the other, each followed by an empty line; only ever appended to.

It lies outside the database, so that who owns the database cannot make it agree with an altered log; `chattr +a`, a copy
on another host or a write-once share make it stronger. A write that a crash cut short is closed by an empty line and the
note is written again after it; the reader passes over such a piece.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hub.audit.checkpoint import BadNote, Checkpoint, read

_RECORD = re.compile("(?m)^([^\n]+\n[^\n]+\n[^\n]+\n(?:[^\n]+\n)*)\n((?:— [^\n]+\n)+)\n")
_TAIL = 8192  # bytes, more than any two notes
_CHUNK = 1 << 20


class CheckpointFile:
    """Appends to the file and finds its last checkpoint, without reading what came before."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(self) -> int:
        """Bytes in it; 0 where there is none."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def last(self) -> Checkpoint | None:
        """The last whole checkpoint (its signature is not checked here)."""
        try:
            with self.path.open("rb") as file:
                return _last(file)
        except FileNotFoundError:
            return None

    @contextmanager
    def appending(self) -> Iterator[Appender]:
        """The file with everybody else of this host kept from appending to it."""
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield Appender(file)
        if new:
            _sync_folder(self.path.parent)

    def notes(self, limit: int | None = None) -> Iterator[str]:
        """Every whole note, the oldest first, from the first `limit` bytes."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            left = self.size() if limit is None else limit
            text = b""
            while left > 0 and (chunk := file.read(min(_CHUNK, left))):
                left -= len(chunk)
                text += chunk
                cut = text.rfind(b"\n\n\xe2\x80\x94")  # what stands before the last signature is whole, or never will be
                end = text.find(b"\n\n", cut + 4)
                if cut >= 0 and end >= 0:
                    yield from records(text[: end + 2].decode("utf-8", "replace"))
                    text = text[end + 2 :]
            yield from records(text.decode("utf-8", "replace"))


class Appender:
    """The locked file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.last = _last(file)

    def append(self, notes: Iterable[str]) -> None:
        """Write the notes behind each other; on disk when this returns."""
        text = "".join(f"{note}\n" for note in notes)
        if not text:
            return
        end = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, end - 2))
        if end and self._file.read() != b"\n\n":
            text = "\n\n" + text
        self._file.write(text.encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def records(text: str) -> Iterator[str]:
    """The whole notes in a piece of the file."""
    for match in _RECORD.finditer(text):
        yield f"{match[1]}\n{match[2]}"


def _last(file: BinaryIO) -> Checkpoint | None:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _TAIL))
    for note in reversed([*records(file.read().decode("utf-8", "replace"))]):
        try:
            return read(note[: note.rfind("\n\n") + 1])
        except BadNote:
            continue
    return None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
