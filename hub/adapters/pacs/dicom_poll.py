"""PACS, inbound: studies by C-FIND (Study Root), the last days anew with each poll; each study is one message, once, and again
where it changed.

C-FIND knows no time of a change (PS3.4 C.6.2.1), so a window of study dates is asked for, a day a question, and what is known as
it stands makes no message (hub/sync/polled.py). What is older comes by `hub load`, day by day, too.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from hub import log
from hub.adapters.pacs.studies import CONDITIONS, KEY, day_of, found, gone_of, text_of
from hub.adapters.settings import read_table, wrong
from hub.codecs.dicom import columns, header, writer
from hub.config import option
from hub.domain.errors import Misconfigured, Unreadable
from hub.domain.ports import Condition, Feed, Found, Loaded, Manifest
from hub.transport.dicom_scu import STUDY_ROOT, Association, Match, ScuSettings, ask

_log = log.get(__name__)

MANIFEST = Manifest(
    name="pacs.dicom_poll", title="PACS: studies by C-FIND", direction="in", system="pacs", protocol="DICOM (C-FIND)",
    polled=True, form="row",
)  # fmt: skip
BLOCK = 500  # studies that are handed on at once: what is not handed on yet waits in the PACS
UIDS = 50  # of one question by a list of UIDs (PS3.4 C.2.2.2.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ScuSettings):
    """A channel's own keys; see docs/pacs-query.md."""

    event: str = option("dicom.study", doc="the map's event for a study")
    gone_event: str = option("", doc='the map\'s event for a study that is gone: "dicom.study_gone"; default: nothing is told')
    window_days: int = option(3, doc="days of study dates that are asked for with each poll, today the last", low=1, high=3650)
    poll_seconds: float = option(60.0, doc="pause between two polls", low=0.05, high=86400)
    since: str = option("", doc='where `hub load` without a condition begins: "2020-01-01"')
    most_matches: int = option(50_000, doc="studies of one day; a PACS that answers more is stopped (C-CANCEL)", low=1)
    charset: str = option("", doc="character set of a PACS that declares none or a wrong one: cp949, ISO_IR 192 …")
    timezone: str = option("Asia/Seoul", doc="whose day today is")

    def __post_init__(self) -> None:
        ScuSettings.__post_init__(self)
        if self.since and day_of(self.since) is None:
            raise wrong('"since" is no date', 'write one, "2020-01-01"')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings, name: str = "") -> DicomPoll:
    """The source of the channel `name`. Nothing is asked yet."""
    return DicomPoll(settings, name)


class DicomPoll:
    """The Source of one channel, which can load and be asked, too."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        self._s = settings
        self._name = name
        self._zone = ZoneInfo(settings.timezone)
        self.pause_seconds = settings.poll_seconds

    def close(self) -> None:
        """Nothing is kept open between two polls: a PACS has few associations to give."""

    def ping(self) -> str:
        return ask(self._s, (STUDY_ROOT,))

    # -- hub.domain.ports.Source ----------------------------------------------------------------------------------

    def poll(self, feed: Feed) -> int:
        """The window's days, the newest first; how many messages that made."""
        today = dt.datetime.now(self._zone).date()
        told = 0
        for ago in range(-1, self._s.window_days):  # a modality whose clock is ahead has studied tomorrow
            if feed.ending():
                break
            with Association(self._s, STUDY_ROOT) as association:  # one a day: some PACS hang up after each answer
                told += self._day(association, feed, today - dt.timedelta(days=ago))
        return told

    def _day(self, association: Association, feed: Feed, day: dt.date) -> int:
        seen: set[bytes] | None = set() if self._s.gone_event else None
        read = self._hand(association, feed, {"StudyDate": text_of(day)}, seen)
        told = sum(one.told for one in read)
        if seen is not None and not feed.ending():
            told += gone_of(feed, self._s.gone_event, text_of(day), seen, lambda uids: self._still(association, uids))
        return told

    def _still(self, association: Association, uids: Sequence[str]) -> set[str]:
        """Which of these studies there are, whatever their date is now."""
        there = set()
        for first in range(0, len(uids), UIDS):
            for one in self._found(association, {KEY: list(uids[first : first + UIDS])}):
                there.add(str(one.key.get(KEY)))
        return there

    # -- hub.domain.ports.Loadable --------------------------------------------------------------------------------

    def total(self, kind: str, where: Sequence[Condition]) -> int | None:  # noqa: ARG002 - the port's shape
        """Nobody can tell without asking for all of them."""
        self._range(where)
        return None

    def load(self, feed: Feed, kind: str, where: Sequence[Condition], place: str) -> Iterator[Loaded]:  # noqa: ARG002 - as above
        """A day a question, from the oldest on; a place is the day that comes next."""
        first, last, keys = self._range(where)
        day = dt.date.fromisoformat(place) if place else first
        while day <= last:
            after = day + dt.timedelta(days=1)
            with Association(self._s, STUDY_ROOT) as association:
                for one in self._hand(association, feed, {**keys, "StudyDate": text_of(day)}):
                    yield Loaded(day.isoformat(), one.read, one.told)
            yield Loaded(after.isoformat(), 0, 0)
            day = after

    def request(self, feed: Feed, kind: str, number: str, columns: Sequence[str]) -> int:  # noqa: ARG002 - as above
        """The studies under a number: of a patient, of an order, of a study."""
        parts = number.split("/") if len(columns) > 1 else [number]
        if len(parts) != len(columns):
            raise Misconfigured(f"this number has {len(columns)} parts: write {'/'.join(columns)}")
        keys = {column: _literal(part) for column, part in zip(columns, parts, strict=True)}
        with Association(self._s, STUDY_ROOT) as association:
            return sum(one.read for one in self._hand(association, feed, keys))

    def _range(self, where: Sequence[Condition]) -> tuple[dt.date, dt.date, dict[str, str]]:
        """First and last day, and the other keys, of a load's conditions."""
        first, last = day_of(self._s.since), dt.datetime.now(self._zone).date() + dt.timedelta(days=1)
        keys = {}
        for one in where:
            if one.column == "StudyDate":
                day = day_of(one.value)
                if day is None:
                    raise Misconfigured('StudyDate is compared with a date: "StudyDate >= 2026-01-01"')
                first = {">=": day, ">": day + dt.timedelta(days=1), "=": day}.get(one.operator, first)
                last = {"<=": day, "<": day - dt.timedelta(days=1), "=": day}.get(one.operator, last)
            elif one.operator == "=" and one.column in CONDITIONS:
                keys[one.column] = _literal(one.value)
            else:
                raise Misconfigured(f'C-FIND cannot be asked for "{one.column} {one.operator}"; there are StudyDate, and with =: '
                                    f"{', '.join(CONDITIONS)}")  # fmt: skip
        if first is None:
            raise Misconfigured('say from which day on: --where "StudyDate >= 2020-01-01", or since in the channel')
        return first, last, keys

    # -- asking ---------------------------------------------------------------------------------------------------

    def _hand(
        self, association: Association, feed: Feed, keys: Mapping[str, Any], seen: set[bytes] | None = None
    ) -> Iterator[Loaded]:
        """What matches goes to the feed block by block; where the feed is ending, the PACS is told to stop (C-CANCEL)."""
        feed.looking()  # once: what waits in the PACS or on its way was there before a second look
        matches = self._found(association, keys)
        count = 0
        try:
            while True:
                block = list(itertools.islice(matches, BLOCK))
                if not block:
                    return
                count += len(block)
                yield Loaded("", len(block), feed.rows(self._s.event, self._unlike(block), seen))
                if count > self._s.most_matches:
                    text = f"the PACS has more than {self._s.most_matches} studies of one day: raise most_matches"
                    raise Misconfigured(text, code="too_many")
                if feed.ending():
                    return
        finally:
            matches.close()

    def _found(self, association: Association, keys: Mapping[str, Any]) -> Generator[Found]:
        asked = dict.fromkeys(columns.STUDY, "") | {"QueryRetrieveLevel": "STUDY"} | dict(keys)
        identifier = writer.data_set(asked, association.syntax(STUDY_ROOT))
        return _rows(association.find(STUDY_ROOT, identifier), self._s.charset)

    def _unlike(self, block: Sequence[Found]) -> list[Found]:
        """Some PACS have a study twice, once a patient that it was told under: the last one counts."""
        by_key = {str(one.key): one for one in block}
        if len(by_key) < len(block):
            _log.warning(
                "the PACS answered a study more than once", extra={"channel": self._name, "count": len(block) - len(by_key)}
            )
        return list(by_key.values())


def _rows(matches: Generator[Match], charset: str) -> Generator[Found]:
    """Closing it closes what it reads from."""
    try:
        for match in matches:
            yield read(match, charset)
    finally:
        matches.close()


def read(match: Match, charset: str) -> Found:
    """A match as a row; of what cannot be read, its bytes and the reason."""
    try:
        row = header.read(match.data, match.syntax, columns.study(), default=charset)
    except Unreadable as error:
        return found({"unreadable": match.data.hex()}, f"{error.reason} {error.where}".strip())
    return found(row)


def _literal(text: str) -> str:
    """A value that stands for itself: no wildcards, no list (PS3.4 C.2.2.2)."""
    if re.search(r"[*?\\]", text):
        raise Misconfigured("a number has none of * ? \\ in it", code="bad_number")
    return text
