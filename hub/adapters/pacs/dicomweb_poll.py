"""PACS, inbound: studies by QIDO-RS (PS3.18 10.6), the last days anew with each poll; each study is one message, and again
where it changed. What is older comes by `hub load`, a day a question (hub/adapters/pacs/studies.py).

Pages are followed by offset until one brings nothing new: some servers give fewer than they are asked for, some all at once.
What goes into a URL needs no escaping, which Orthanc does not undo; and numbers of patients and orders are not asked for at all,
because a URL stands in access logs.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from hub.adapters.pacs.studies import KEY, ByDay, WindowSettings, found
from hub.adapters.settings import read_table
from hub.codecs.dicom import columns, json
from hub.config import option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, Unreadable
from hub.domain.ports import Found, Manifest
from hub.transport.http import Answer, HttpClient, HttpSettings, failure

MANIFEST = Manifest(
    name="pacs.dicomweb_poll", title="PACS: studies by QIDO-RS", direction="in", system="pacs", protocol="DICOMweb (QIDO-RS)",
    polled=True, form="row",
)  # fmt: skip
PEER = "the PACS"
MEDIA = "application/dicom+json"
ASKED = ("StudyDate", "ModalitiesInStudy", KEY)  # keys that may stand in a URL
_SAFE = re.compile(r"[A-Za-z0-9._\-]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(HttpSettings, WindowSettings):
    """A channel's own keys; see docs/pacs-query.md."""

    count: int = option(100, doc="studies asked for with one page", low=1, high=5000)

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        WindowSettings.check(self)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings, name: str = "") -> DicomwebPoll:
    """The source of the channel `name`. Nothing is asked yet."""
    return DicomwebPoll(settings, name)


class DicomwebPoll(ByDay):
    """The Source of one channel, which can load and be asked, too."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        super().__init__(settings, name, self._find)
        self._settings = settings
        self._http = HttpClient(settings, peer=PEER)

    def close(self) -> None:
        self._http.close()

    def ping(self) -> str:
        self._page({}, 0, 1)
        return f"QIDO-RS answers at {self._settings.url}"

    def _find(self, keys: Mapping[str, str]) -> Generator[Found]:
        count, offset, before = self._settings.count, 0, set[str]()
        while True:
            page = [self._read(one) for one in self._page(keys, offset, count)]
            new = [one for one in page if str(one.key) not in before]
            yield from new
            if not new:
                return
            before |= {str(one.key) for one in new}
            offset += len(page)

    def _page(self, keys: Mapping[str, str], offset: int, count: int) -> list[Mapping[str, Any]]:
        for name, value in keys.items():
            if name not in ASKED or _SAFE.match(value) is None:
                text = f"QIDO-RS would have {name} in a URL, and so in access logs: ask by {', '.join(ASKED)}"
                raise Misconfigured(text, code="in_a_url")
        extra = [("includefield", f"{tag:08X}") for tag in columns.study()]
        query = [*keys.items(), ("limit", str(count)), ("offset", str(offset)), *extra]
        path = "/studies?" + "&".join(f"{name}={value}" for name, value in query)
        answer = self._http.read("GET", path, headers={"Accept": MEDIA, "Cache-Control": "no-cache"})
        if answer.status == 204:  # no matches (PS3.18 table 10.6.3-1)
            return []
        if answer.status != 200:
            raise self._failure(answer)
        try:
            return json.documents(answer.body)
        except Unreadable:
            error = NotDelivered("the PACS answered no DICOM JSON: url must be its DICOMweb root", code="not_dicom_json")
            error.answer = answer.body
            raise error from None

    def _failure(self, answer: Answer) -> HubError:
        if answer.status == 413:  # PS3.18 table 10.6.3-1: too many matches
            return Misconfigured("the PACS says that a page is too large: lower count", code="http_413")
        return failure(answer, peer=PEER, writing=False)

    def _read(self, document: Mapping[str, Any]) -> Found:
        try:
            return found(json.row(document, columns.study()))
        except Unreadable as error:
            return found({"unreadable": document}, error.reason)
