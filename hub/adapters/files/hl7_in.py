"""HL7 v2 files: one message, many, or a batch (FHS, BHS; HL7 v2.5.1 §2.10.3). The rules are those of ocs.hl7_in."""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zlib import crc32

from hub.adapters.files.folder import Claimed, trouble
from hub.adapters.files.settings import FolderSettings
from hub.adapters.files.source import FolderSource, Record, said
from hub.adapters.ocs import hl7_in
from hub.adapters.settings import wrong
from hub.codecs.hl7v2 import ack, batch, peek
from hub.config import option
from hub.domain.errors import Unreadable
from hub.domain.ports import Feed, Manifest, Verdict

MANIFEST = Manifest(
    name="files.hl7_in", title="HL7 v2 files and batches in a folder", direction="in", system="ocs", protocol="HL7 v2 / files",
    polled=True,
)  # fmt: skip
CHUNK = 1 << 20
# MLLP's VT and FS, where somebody wrote down what went over the wire; CP/M's end of file, which old systems still write
_FRAMES = bytes.maketrans(b"\x0b\x1c\x1a", b"\r\r\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(FolderSettings):
    """One folder of HL7 files."""

    assigner: str = option("", doc="assigning authority of patient numbers that come without one")
    accept: tuple[str, ...] = option((), doc='events that are taken, ["ADT", "SIU^S12"]; default: all')
    production: bool = option(False, doc="true: messages with MSH-11 T or D are refused")
    validation: Literal["none", "strict"] = option("none", doc="strict: hl7apy checks every message against the standard")
    answers: Path | None = option(None, doc="folder for answers: NAME.ack with one ACK a message; default: none are written")
    on_reuse: Literal["accept_and_alert", "refuse"] = option("accept_and_alert", doc="same control id, other content")
    max_message: int = option(4 << 20, doc="bytes of one message", low=1024, high=1 << 28)

    def __post_init__(self) -> None:
        super(Settings, self).__post_init__()
        if self.answers is not None and self.on_reuse == "refuse":
            raise wrong('"answers" cannot tell a control id that was used before', 'leave on_reuse at "accept_and_alert"')


class Hl7Files:
    """hub.adapters.files.source.Form: messages."""

    unit = "message"
    event = ""  # each says it itself

    def __init__(self, settings: Settings, name: str) -> None:
        rules = hl7_in.Settings(
            port=0, charset=settings.charset, assigner=settings.assigner, accept=settings.accept,
            production=settings.production, validation=settings.validation,
        )  # fmt: skip
        self._channel = hl7_in.Channel(rules, name)
        self._most = settings.max_message
        self._charset = settings.charset
        self._answers = settings.answers

    def records(self, file: Claimed, offset: int, number: int) -> Iterator[Record]:
        """The messages of a file of any size, one chunk and one message in memory."""
        file.handle.seek(offset)
        chunks = (chunk.translate(_FRAMES) for chunk in iter(lambda: file.handle.read(CHUNK), b""))
        for piece in batch.stream(chunks, offset, self._most):
            number += 1
            received = self._channel.received(piece.body)
            if not piece.whole:
                received.refused = f"more than {self._most} bytes without the beginning of another message"
            yield Record(number, piece.offset, piece.end, piece.body, received.refused or "", received)

    def hand(self, feed: Feed, records: Sequence[Record], place: tuple[str, str]) -> int:
        """What was known already is stored once; what is no message ends REFUSED with its bytes, in the commit of the place."""
        for record in records:
            if record.refused:
                record.read.refused = said(self.unit, record)
        receipts = feed.store([record.read for record in records], place)
        return sum(r.verdict is Verdict.STORED and r.duplicate_of is None for r in receipts)

    def end(self, file: Claimed) -> None:
        """Answers, where a folder is set for them: from the file once more, so that no crash leaves one out."""
        if self._answers is None:
            return
        part = self._answers / f".{file.name}.ack.tmp"
        at = time.strftime("%Y%m%d%H%M%S%z")
        try:
            with part.open("wb") as written:
                for record in self.records(file, 0, 0):
                    written.write(self._answer(record, f"{crc32(file.name.encode()):08x}{record.number}", at))
                written.flush()
                os.fsync(written.fileno())
            part.rename(self._answers / f"{file.name}.ack")
        except OSError as error:
            raise trouble("write the answers of a file", error) from None

    def _answer(self, record: Record, control_id: str, at: str) -> bytes:
        """Original mode, whatever MSH-15 and -16 say: who asks for a file of answers wants one a message."""
        try:
            head = peek(record.body, self._charset)
        except Unreadable:
            head = ack.NO_HEADER
        code = "AE" if record.refused else "AA"
        return ack.answer(head, code, control_id=control_id, at=at, text=record.refused)


def build(settings: Settings, name: str = "") -> FolderSource:
    """The source of the channel `name`."""
    return FolderSource(settings, name, Hl7Files(settings, name))
