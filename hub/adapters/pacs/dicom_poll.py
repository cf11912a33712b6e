"""PACS, inbound: studies by C-FIND (Study Root), the last days anew with each poll; each study is one message, and again where it
changed. What is older comes by `hub load`, a day a question (hub/adapters/pacs/studies.py).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from hub.adapters.pacs.studies import ByDay, WindowSettings, found
from hub.adapters.settings import read_table, wrong
from hub.codecs.dicom import columns, header, writer
from hub.codecs.dicom.charset import codec_of
from hub.config import option
from hub.domain.errors import Unreadable
from hub.domain.ports import Found, Manifest
from hub.transport.dicom_scu import STUDY_ROOT, Association, Match, ScuSettings, ask

MANIFEST = Manifest(
    name="pacs.dicom_poll", title="PACS: studies by C-FIND", direction="in", system="pacs", protocol="DICOM (C-FIND)",
    polled=True, form="row",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ScuSettings, WindowSettings):
    """A channel's own keys; see docs/pacs-query.md."""

    charset: str = option("cp949", doc="character set of a PACS that declares none or a wrong one: cp949, ISO_IR 192 …")

    def __post_init__(self) -> None:
        ScuSettings.__post_init__(self)
        WindowSettings.check(self)
        if not codec_of(self.charset) and self.charset not in ("", "ISO_IR 6"):
            raise wrong("charset is none that we know", "write cp949, or ISO_IR 192")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings, name: str = "") -> DicomPoll:
    """The source of the channel `name`. Nothing is asked yet."""
    return DicomPoll(settings, name)


class DicomPoll(ByDay):
    """The Source of one channel, which can load and be asked, too."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        super().__init__(settings, name, lambda keys: find(settings, keys))
        self._settings = settings

    def close(self) -> None:
        """Nothing is open between two questions: a PACS has few associations to give, and some hang up after each answer."""

    def ping(self) -> str:
        return ask(self._settings, (STUDY_ROOT,))


def find(settings: Settings, keys: Mapping[str, str]) -> Generator[Found]:
    """By an association of its own. Closed before its end, it has the PACS stop (C-CANCEL)."""
    with Association(settings, STUDY_ROOT) as association:
        asked = dict.fromkeys(columns.STUDY, "") | {"QueryRetrieveLevel": "STUDY"} | dict(keys)
        matches = association.find(STUDY_ROOT, writer.data_set(asked, association.syntax(STUDY_ROOT)))
        try:
            for match in matches:
                yield read(match, settings.charset)
        except GeneratorExit:
            matches.close()
        # here it is released, whoever ended it


def read(match: Match, charset: str) -> Found:
    """A match as a row; of what cannot be read, its bytes and the reason."""
    try:
        row = header.read(match.data, match.syntax, columns.study(), default=charset)
    except Unreadable as error:
        return found({"unreadable": match.data.hex()}, f"{error.reason} {error.where}".strip())
    return found(row)
