"""IDocs that SAP puts into a folder: its file port (flat, one or many in a file) and its XML file port.

Which of the two a file is, its first characters tell. A file is taken as every drop folder's is (hub.adapters.files): when it is
whole, claimed by a rename, and begun again where a hub died over it.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hub.adapters.erp.idoc_rules import IdocSettings, Rules, tables
from hub.adapters.files.folder import Claimed
from hub.adapters.files.settings import FolderSettings
from hub.adapters.files.source import FolderSource, Record, said
from hub.codecs.sap import idoc_flat, idoc_xml
from hub.config import option
from hub.domain.errors import Unreadable
from hub.domain.ports import Feed, Manifest, Received, Verdict

MANIFEST = Manifest(
    name="erp.idoc_in", title="SAP IDocs in a folder: flat and XML", direction="in", system="erp", protocol="SAP IDoc / files",
    polled=True, form="row",
)  # fmt: skip
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(IdocSettings, FolderSettings):
    """One folder of IDocs."""

    units: Literal["", "characters", "bytes"] = option(
        "", doc="what a field's length counts in flat files; default: characters in Unicode files, bytes in code pages (cp949)"
    )
    segments: Path | None = option(
        None, doc='a file of your own segments for flat files: [segments] with Z1PATIENT = "MRN 10 VIP 1"'
    )
    max_idoc: int = option(32 << 20, doc="bytes of one IDoc, and of an XML file", low=1024, high=1 << 28)

    def __post_init__(self) -> None:
        FolderSettings.__post_init__(self)
        IdocSettings.__post_init__(self)


class IdocFiles:
    """hub.adapters.files.source.Form: IDocs."""

    unit = "IDoc"
    event = ""  # each says it itself

    def __init__(self, settings: Settings, name: str) -> None:
        self._rules = Rules(settings, name)
        self._most = settings.max_idoc
        self._format = idoc_flat.Format.of(settings.charset, settings.units, tables(settings.segments))

    def records(self, file: Claimed, offset: int, number: int) -> Iterator[Record]:
        file.handle.seek(0)
        if _is_xml(file.handle.read(64)):
            yield from self._of_xml(file, number)
            return
        file.handle.seek(offset)
        chunks = iter(lambda: file.handle.read(CHUNK), b"")
        for piece in idoc_flat.pieces(chunks, self._format, offset, self._most):
            number += 1
            received = self._flat(piece)
            yield Record(number, piece.offset, piece.end, piece.body, received.refused or "", received)

    def _flat(self, piece: idoc_flat.Piece) -> Received:
        if not piece.whole:
            return self._rules.refused(piece.body, f"more than {self._most} bytes before another control record")
        try:
            return self._rules.received(idoc_flat.read(piece.body, self._format), piece.body)
        except Unreadable as error:
            return self._rules.refused(piece.body, error.reason)

    def _of_xml(self, file: Claimed, before: int) -> Iterator[Record]:
        """All of a document at once: the place is told by the number, and only the last one ends where the file does."""
        size = file.stamp[1]
        if size > self._most:
            raise Unreadable(f"more than {self._most} bytes of XML", code="too_large")
        file.handle.seek(0)
        idocs = idoc_xml.read(file.handle.read(), self._most)
        for number, idoc in enumerate(idocs, 1):
            if number > before:
                body = idoc_xml.write([idoc], idoc["IDOCTYP"] or "IDOC")
                received = self._rules.received(idoc, body)
                yield Record(number, 0, size if number == len(idocs) else 0, body, received.refused or "", received)

    def hand(self, feed: Feed, records: Sequence[Record], place: tuple[str, str]) -> int:
        """An IDoc that was known already is stored once; one that is refused keeps its bytes, in the commit of the place."""
        for record in records:
            if record.refused:
                record.read.refused = said(self.unit, record)[:200]
        receipts = feed.store([record.read for record in records], place)
        return sum(r.verdict is Verdict.STORED and r.duplicate_of is None for r in receipts)

    def end(self, file: Claimed) -> None:
        """SAP is told nothing: a file port expects no answer."""


def _is_xml(beginning: bytes) -> bool:
    text = beginning.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return text.startswith(b"<")


def build(settings: Settings, name: str = "") -> FolderSource:
    """The source of the channel `name`. Raises Misconfigured for a file of segments that is none."""
    return FolderSource(settings, name, IdocFiles(settings, name))
