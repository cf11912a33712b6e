"""ERP, outbound: a patient's changes as customers (DEBMAS) in files for SAP's file port (flat) or XML file port.

SAP takes a file first and posts it later: what it says then comes back as ALEAUD or STATUS and settles the message
(hub.adapters.erp.idoc_in). A file's name is made of the message's number and its bytes (a database from a backup gives numbers
out again), and a mark stands for it in the hub's own folder beside it (hub.adapters.raw.folder_out): a file that was taken is
not written again. A person's replay gets a name of its own.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hub.adapters.erp.idoc_message import EnvelopeSettings, prepared
from hub.adapters.raw.folder_out import Box
from hub.adapters.settings import read_table, wrong
from hub.codecs.sap import idoc_flat, idoc_xml
from hub.config import option
from hub.domain.errors import Refused, Unreadable
from hub.domain.ports import Delivered, Manifest, Outbound

MANIFEST = Manifest(
    name="erp.idoc_out", title="ERP: patients as SAP customers, IDocs in a folder", direction="out", system="erp",
    protocol="SAP IDoc / files", handles=("patient.created", "patient.updated"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(EnvelopeSettings):
    """A folder of SAP's port."""

    folder: Path = option(doc="where files are put; .sending is made in it, on the same file system")
    form: Literal["flat", "xml"] = option("flat", doc="flat: SAP's file port; xml: its XML file port")
    charset: str = option("utf-8", doc="of flat files: utf-8, utf-16-le, cp949 … as SAP's port has it")
    units: Literal["", "characters", "bytes"] = option(
        "", doc="what a field's length counts in flat files; default: characters in Unicode files, bytes in code pages (cp949)"
    )
    prefix: str = option(
        "DEBMAS-", doc="what names of files begin with; then come the message's number, a checksum and the suffix"
    )
    suffix: str = option("", doc="what names of files end with; default: .txt, of XML .xml")

    def __post_init__(self) -> None:
        EnvelopeSettings.__post_init__(self)
        if "/" in self.prefix + self.suffix or not (self.prefix + self.suffix).isprintable():
            raise wrong('"prefix" or "suffix" is no part of a name', 'write "DEBMAS-" and ".txt"')
        try:
            idoc_flat.Format.of(self.charset)
        except LookupError:
            raise wrong('"charset" is none that we know', "write utf-8, utf-16-le or cp949") from None

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


class IdocFolder:
    """Thread-safe."""

    resend_is_safe = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._box = Box(settings.folder)
        self._format = idoc_flat.Format.of(settings.charset, settings.units)
        self._suffix = settings.suffix or (".xml" if settings.form == "xml" else ".txt")

    def send(self, message: Outbound) -> Delivered:
        made = prepared(message, self._settings)
        if isinstance(made, Delivered):
            return made
        try:
            body = idoc_xml.write([made.idoc]) if self._settings.form == "xml" else idoc_flat.write(made.idoc, self._format)
        except Unreadable as error:
            raise Refused(error.reason, code=error.code) from None
        again = f"-{made.again}" if made.again else ""
        name = f"{self._settings.prefix}{made.idoc['DOCNUM']}-{zlib.crc32(body):08x}{again}{self._suffix}"
        return made.delivered(body, b"", self._box.put(name, body), self._settings)

    def find(self, message: Outbound) -> Delivered | None:  # noqa: ARG002 - the port's signature
        """Never asked: `resend_is_safe`, as the mark tells a repetition."""
        return None

    def ping(self) -> str:
        return self._box.ping()

    def close(self) -> None:
        """Nothing is kept open."""


def build(settings: Settings) -> IdocFolder:
    """The channel's target; looks at the folder only when it writes."""
    return IdocFolder(settings)
