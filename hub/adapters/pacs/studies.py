"""What every way of asking a PACS for studies shares: a window of days with each poll, a load day by day, studies that are gone.

No way of asking knows when a study changed (PS3.4 C.6.2.1, PS3.18 10.6), so what is known as it stands makes no message
(hub/sync/polled.py). Whoever asks gives a function from keys to studies, as many at a time as are wanted.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from hub import log
from hub.adapters.settings import wrong
from hub.codecs.dicom import uid
from hub.config import option
from hub.domain.errors import Misconfigured
from hub.domain.ports import Condition, Feed, Found, Loaded

_log = log.get(__name__)
KEY = "StudyInstanceUID"
CONDITIONS = ("PatientID", "AccessionNumber", "ModalitiesInStudy", KEY, "InstitutionName", "StudyID")
FEW = 20  # so many studies may always be gone at once
MANY_GONE = "many_gone"
BLOCK = 500  # studies that are handed on at once: what is not handed on yet waits in the PACS
Find = Callable[[Mapping[str, str]], Generator[Found]]


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """Keys of every channel that asks for a window of days."""

    event: str = option("dicom.study", doc="the map's event for a study")
    gone_event: str = option("", doc='the map\'s event for a study that is gone: "dicom.study_gone"; default: nothing is told')
    most_gone: float = option(
        0.1, doc="share of a day's studies that may be gone at once; more is taken for a mistake", low=0, high=1
    )
    window_days: int = option(3, doc="days of study dates that are asked for with each poll, today the last", low=1, high=3650)
    poll_seconds: float = option(60.0, doc="pause between two polls", low=0.05, high=86400)
    since: str = option("", doc='where `hub load` without a condition begins: "2020-01-01"')
    most_matches: int = option(50_000, doc="studies of one day; a PACS that answers more is stopped", low=1)
    timezone: str = option("Asia/Seoul", doc="whose day today is")

    def check(self) -> None:
        """What the types cannot rule out."""
        if self.since and day_of(self.since) is None:
            raise wrong('"since" is no date', 'write one, "2020-01-01"')


class ByDay:
    """hub.domain.ports.Source and Loadable, all but `ping`. `find`: the studies that meet the keys, of which a value stands for
    itself or is a list of UIDs; closing what it gives ends the question."""

    def __init__(self, settings: WindowSettings, name: str, find: Find) -> None:
        self._s = settings
        self._name = name
        self._find = find
        self._zone = ZoneInfo(settings.timezone)
        self.pause_seconds = settings.poll_seconds

    def poll(self, feed: Feed) -> int:
        """The window's days, the newest first; how many messages that made."""
        told, doubted = 0, None
        for ago in range(-1, self._s.window_days):  # a modality whose clock is ahead has studied tomorrow
            if feed.ending():
                break
            try:
                told += self._day(feed, dt.datetime.now(self._zone).date() - dt.timedelta(days=ago))
            except Misconfigured as error:
                if error.code != MANY_GONE:
                    raise
                doubted = doubted or error  # the other days are looked at all the same
        if doubted is not None:
            raise doubted
        return told

    def _day(self, feed: Feed, day: dt.date) -> int:
        seen: set[bytes] | None = set() if self._s.gone_event else None
        told = sum(one.told for one in self._hand(feed, {"StudyDate": text_of(day)}, seen))
        if seen is not None and not feed.ending():
            told += self._gone(feed, text_of(day), seen)
        return told

    def _gone(self, feed: Feed, day: str, seen: set[bytes]) -> int:
        """Studies that were of that day when it was last asked for, and are nowhere now: one that was given another date is not
        gone. The digests of a day are kept as its place: they say nothing of anybody."""
        before = {bytes.fromhex(digest) for digest in orjson.loads(feed.place(f"day:{day}") or "[]")}
        if before == seen:
            return 0
        told, missing = 0, sorted(before - seen)
        check_gone(len(missing), len(before), self._s.most_gone)
        named = {digest: str(key.get(KEY, "")) for digest, key in feed.names(missing)}
        gone = [digest for digest, number in named.items() if number and not any(self._find({KEY: number}))]
        if gone:
            told = feed.gone(self._s.gone_event, gone)
        feed.keep(f"day:{day}", orjson.dumps(sorted(digest.hex() for digest in seen)).decode())
        return told

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
            for one in self._hand(feed, {**keys, "StudyDate": text_of(day)}):
                yield Loaded(day.isoformat(), one.read, one.told)
            day += dt.timedelta(days=1)
            yield Loaded(day.isoformat(), 0, 0)

    def request(self, feed: Feed, kind: str, number: str, columns: Sequence[str]) -> int:  # noqa: ARG002 - as above
        """The studies under a number: of a patient, of an order, of a study."""
        return sum(one.read for one in self._hand(feed, numbered(number, columns)))

    def _range(self, where: Sequence[Condition]) -> tuple[dt.date, dt.date, dict[str, str]]:
        """First and last day, and the other keys, of a load's conditions."""
        first, last = day_of(self._s.since), dt.datetime.now(self._zone).date() + dt.timedelta(days=1)
        one_day = dt.timedelta(days=1)
        keys = {}
        for one in where:
            if one.column == "StudyDate" and one.operator != "!=":
                day = day_of(one.value)
                if day is None:
                    raise Misconfigured('StudyDate is compared with a date: "StudyDate >= 2026-01-01"')
                first = {">=": day, ">": day + one_day, "=": day}.get(one.operator, first)
                last = {"<=": day, "<": day - one_day, "=": day}.get(one.operator, last)
            elif one.operator == "=" and one.column in CONDITIONS:
                keys[one.column] = literal(one.value)
            else:
                there = f"StudyDate, and with =: {', '.join(CONDITIONS)}"
                raise Misconfigured(f'a PACS cannot be asked for "{one.column} {one.operator}"; it can be for {there}')
        if first is None:
            raise Misconfigured('say from which day on: --where "StudyDate >= 2020-01-01", or since in the channel')
        return first, last, keys

    # -- both -----------------------------------------------------------------------------------------------------

    def _hand(self, feed: Feed, keys: Mapping[str, str], seen: set[bytes] | None = None) -> Iterator[Loaded]:
        """What matches goes to the feed block by block; where the feed is ending, no more is asked for."""
        feed.looking()  # once: what waits in the PACS or on its way was there before a second look
        studies, count = self._find(keys), 0
        try:
            while block := list(itertools.islice(studies, BLOCK)):
                count += len(block)
                yield Loaded("", len(block), feed.rows(self._s.event, unlike(block, self._name), seen))
                if count > self._s.most_matches:
                    text = f"the PACS has more than {self._s.most_matches} studies of one day: raise most_matches"
                    raise Misconfigured(text, code="too_many")
                if feed.ending():
                    return
        finally:
            studies.close()


def found(row: Mapping[str, Any], refused: str | None = None) -> Found:
    """A study by its UID; what has none that DICOM allows is kept, and refused, under a digest of itself."""
    number = row.get(KEY)
    if refused is None and isinstance(number, str) and uid.is_uid(number):
        return Found({KEY: number}, row)
    digest = hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Found({"unnamed": digest}, row, refused or "a study without a Study Instance UID")


def check_gone(missing: int, known: int, share: float) -> None:
    """Raises Misconfigured where so many are gone at once that it is a mistake: a PACS whose index is being rebuilt, or that
    takes our rights away, answers that there is nothing."""
    if missing > max(FEW, int(share * known)):
        text = f"{missing} of {known} studies are gone at once: nothing is told of it; if it is right, raise most_gone"
        raise Misconfigured(text, code=MANY_GONE)


def unlike(block: Sequence[Found], channel: str) -> list[Found]:
    """Some PACS have a study twice, once a patient that it was told under: the last one counts."""
    by_key = {str(one.key): one for one in block}
    if len(by_key) < len(block):
        _log.warning("the PACS told a study more than once", extra={"channel": channel, "count": len(block) - len(by_key)})
    return list(by_key.values())


def numbered(number: str, columns: Sequence[str]) -> dict[str, str]:
    """The keys that a number stands for: several columns share it, joined by `/` as in maps."""
    parts = number.split("/") if len(columns) > 1 else [number]
    if len(parts) != len(columns):
        raise Misconfigured(f"this number has {len(columns)} parts: write {'/'.join(columns)}")
    return {column: literal(part) for column, part in zip(columns, parts, strict=True)}


def literal(text: str) -> str:
    """A value that stands for itself: no wildcards, no list (PS3.4 C.2.2.2)."""
    if re.search(r"[*?\\]", text):
        raise Misconfigured("a number has none of * ? \\ in it", code="bad_number")
    return text


def day_of(text: str) -> dt.date | None:
    """2026-11-22 or 20261122."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def text_of(day: dt.date) -> str:
    """As DICOM writes it (VR DA)."""
    return f"{day:%Y%m%d}"
