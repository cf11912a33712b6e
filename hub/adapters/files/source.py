"""Reading what a folder holds: records in blocks of 500, each block durable with the place where it ends.

A process that dies goes on at the block that it had begun. What was stored of it is not stored again: HL7 by its control
id, rows by their mark; and what was refused stands in the same commit as the place. A file that cannot be read at all is
itself one refused message: the count, the list and the alerts of the hub show it, not only the folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol
from zlib import crc32

import orjson

from hub import log
from hub.adapters.files.folder import Claimed, Folder
from hub.adapters.files.settings import FolderSettings
from hub.domain.errors import Unreadable
from hub.domain.ports import Feed, Received

_log = log.get(__name__)
BLOCK = 500  # records handed over at a time
BLOCK_BYTES = 8 << 20  # or fewer, where they are large
STEP_SECONDS = 20.0  # then the caller may look whether the channel is paused
TELL_SECONDS = 10.0  # from one line in the log to the next, while a large file is read
NOTES = 20  # reasons that are written beside a file; all are in the hub
KEPT = 65536  # bytes that are kept of a file that cannot be read; all of it lies in error/
SLOTS = 16  # places that are kept, so that they do not grow with the number of files


class Record(NamedTuple):
    """One message or line: what it is, or why it is none."""

    number: int  # from 1
    offset: int  # its first byte
    end: int  # the byte after it
    body: bytes
    refused: str = ""
    read: Any = None  # what the form made of it
    upto: int = 0  # the number it ends with, where a row goes on for several lines


class Form(Protocol):
    """What is in the files."""

    unit: str  # "line", "message"
    event: str  # what a file would have been messages of, if that is known before it is read

    def records(self, file: Claimed, offset: int, number: int) -> Iterator[Record]:
        """From `offset` on, which is where record `number` ends. Raises Unreadable where the file as a whole is of no use."""
        ...

    def hand(self, feed: Feed, records: Sequence[Record], place: tuple[str, str]) -> int:
        """Stores them, and (name, text) of the place in the commit of what was refused; how many messages came of it."""
        ...

    def end(self, file: Claimed) -> None:
        """All of it is stored; the file is moved next. May come again where the hub dies between the two."""
        ...


@dataclass(slots=True)
class Spot:
    """How far a file was read."""

    file: list[int]  # its stamp: another file of that name begins anew
    offset: int = 0
    number: int = 0
    records: int = 0
    refused: int = 0
    notes: list[str] = field(default_factory=list)
    unreadable: str = ""  # why the file as a whole is of no use: that is stored, what is left is to move it


class FolderSource:
    """hub.domain.ports.Source of one drop folder."""

    def __init__(self, settings: FolderSettings, name: str, form: Form) -> None:
        self.pause_seconds = self._every = settings.poll_seconds
        self._name = name
        self._folder = Folder(settings)
        self._form = form
        self._file: Claimed | None = None

    def poll(self, feed: Feed) -> int:
        """All that is ready; or a part of it, when it is much."""
        self.pause_seconds = self._every
        self._folder.prepare()
        until, total = time.monotonic() + STEP_SECONDS, 0
        for file in self._folder.claimed():
            self._file = file
            try:
                total += self._read(file, feed, until)
            finally:
                self.close()
            if time.monotonic() > until or feed.ending():
                self.pause_seconds = 0.0
                break
        return total

    def ping(self) -> str:
        """Whether the folder is there and files in it can be taken. Nothing in it is touched."""
        return f"the folder is there; files to be taken: {self._folder.look()}"

    def close(self) -> None:
        """What was begun stays in working/."""
        if self._file is not None:
            self._file.release()
            self._file = None

    # -- one file -------------------------------------------------------------------------------------------------

    def _read(self, file: Claimed, feed: Feed, until: float) -> int:
        slot = f"file{crc32(file.name.encode()) % SLOTS}"
        spot = self._spot(feed.place(slot), file)
        if file.stamp[1] == 0:
            self._refuse(feed, file, spot, slot, "the file is empty")
            return 0
        total, told, began = 0, time.monotonic(), spot.offset
        try:
            for block, last in _blocks(self._form.records(file, spot.offset, spot.number)):
                if last and not file.untouched():
                    return total  # still being written: begun anew, from its first byte
                total += self._block(feed, block, spot, slot)
                now = time.monotonic()
                if now - told > TELL_SECONDS:
                    self._tell(file, spot, (spot.offset - began) / max(now - told, 0.001))
                    told, began = now, spot.offset
                if not last and (now > until or feed.ending()):
                    return total
        except Unreadable as error:
            self._refuse(feed, file, spot, slot, error.reason)
            return total
        self._form.end(file)
        self._end(file, spot)
        if spot.offset < file.stamp[1]:  # blanks at its end: it is over all the same
            feed.keep(slot, "")
        return total

    def _spot(self, place: str, file: Claimed) -> Spot:
        which = list(file.stamp)
        known = orjson.loads(place) if place else {}
        return Spot(**known) if known.get("file") == which else Spot(which)

    def _block(self, feed: Feed, block: Sequence[Record], spot: Spot, slot: str) -> int:
        if not block:
            return 0
        spot.offset, spot.number = block[-1].end, max(block[-1].number, block[-1].upto)
        spot.records += len(block)
        refused = [said(self._form.unit, record) for record in block if record.refused]
        spot.refused += len(refused)
        spot.notes += refused[: NOTES - len(spot.notes)]
        return self._form.hand(feed, block, (slot, orjson.dumps(asdict(spot)).decode()))

    def _end(self, file: Claimed, spot: Spot) -> None:
        """Done, though parts of it may have been refused; an error where nothing else was in it."""
        notes = "\n".join([f"{spot.refused} of {spot.records} refused; the first of them:", *spot.notes]) if spot.refused else ""
        if spot.refused and spot.refused >= spot.records:
            self._fail(file, notes)
            return
        if spot.refused:
            _log.warning("parts of a file were refused", extra={"channel": self._name, "count": spot.refused})
        self._folder.done(file, notes)

    def _refuse(self, feed: Feed, file: Claimed, spot: Spot, slot: str, reason: str) -> None:
        """Kept as REFUSED with its beginning, once; unless its writer was not done with it."""
        if not file.untouched():
            return
        if not spot.unreadable:
            file.handle.seek(0)
            body = file.handle.read(KEPT)
            spot.unreadable = reason
            refused = Received(self._name, body, "", "", self._form.event, None, content=body, answer_owed=False)
            refused.refused = f"a file: {reason}"[:200]
            feed.store([refused], (slot, orjson.dumps(asdict(spot)).decode()))
        self._fail(file, reason)

    def _fail(self, file: Claimed, reason: str) -> None:
        said = " ".join(reason.splitlines()[:2])  # the second: the first of many
        _log.warning("a file ended in error", extra={"channel": self._name, "reason": said})
        self._folder.failed(file, reason)

    def _tell(self, file: Claimed, spot: Spot, rate: float) -> None:
        size = file.stamp[1]
        text = f"reading a file: {100 * spot.offset // max(size, 1)} %, {(size - spot.offset) / max(rate, 1):.0f} s left"
        extra = {"channel": self._name, "count": spot.records, "bytes": spot.offset, "size": size, "rate": int(rate)}
        _log.info(text, extra=extra)


def said(unit: str, record: Record) -> str:
    """`line 17 at byte 1234: …`."""
    return f"{unit} {record.number} at byte {record.offset}: {record.refused}"


def _blocks(records: Iterator[Record]) -> Iterator[tuple[list[Record], bool]]:
    """Blocks, and whether it is the last one (which may be empty): known only when the file has ended."""
    block: list[Record] = []
    size = 0
    for record in records:
        if len(block) >= BLOCK or (block and size + len(record.body) > BLOCK_BYTES):
            yield block, False
            block, size = [], 0
        block.append(record)
        size += len(record.body)
    yield block, True
