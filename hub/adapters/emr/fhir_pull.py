"""EMR, inbound: what changed in a FHIR R4 server, asked for by _lastUpdated; each version of a resource is one message, once.

Read in the order of the changes (_sort=_lastUpdated), a page at a time, and from the last change of a page on anew rather
than by the server's next link: what changes meanwhile moves to the end and shifts nothing that is still to be read. How far
it came is the server's own meta.lastUpdated, held back by an overlap (hub/adapters/sql/watermark.py); our clock only
measures how long ago something was seen. Deletions come from the history of the kind, where the server has one.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub import log
from hub.adapters.emr import fhir_pages
from hub.adapters.emr.fhir_client import FhirClient
from hub.adapters.emr.fhir_load import FhirLoad
from hub.adapters.emr.fhir_pages import ExpiredError, Page, text_of
from hub.adapters.emr.fhir_progress import Progress
from hub.adapters.emr.smart import SmartSettings
from hub.adapters.settings import read_table, wrong
from hub.codecs import fhir, fhir_resource
from hub.codecs.fhir_incoming import id_of, is_deleted
from hub.config import option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, Refused
from hub.domain.ids import now_us
from hub.domain.ports import Feed, Manifest

_log = log.get(__name__)

MANIFEST = Manifest(
    name="emr.fhir_pull", title="EMR: FHIR R4, asked for what changed", direction="in", system="emr",
    protocol="FHIR R4 (REST, JSON)", polled=True, form="fhir",
)  # fmt: skip
STEP_SECONDS = 20.0  # of one kind at a time; then the next one has its turn, and whoever wants the channel to pause is heard
ROUNDS = 3  # how often what expires, or changes while it is read, is read again at once
_KIND = re.compile(r"[A-Z][A-Za-z]{1,63}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(SmartSettings):
    """A channel's own keys; see docs/emr-fhir.md."""

    identifier_systems: dict[str, str] = option(
        dict, doc='how the EMR writes the numbers of each assigner: { HOSP = "urn:oid:1.2.410.…" }; default: [fhir] systems'
    )
    kinds: tuple[str, ...] = option(
        ("Patient", "Encounter", "Appointment"), doc="resource types that are asked for, in this order"
    )
    since: str = option("", doc='what changed from then on is asked for, "2026-11-01T00:00:00+09:00"; default: all that there is')
    poll_seconds: float = option(10.0, doc="pause between two polls", low=0.05, high=86400)
    overlap_seconds: float = option(60.0, doc="longer than the longest transaction that writes there", low=0, high=86400)
    count: int = option(100, doc="resources asked for with one page", low=1, high=500)
    sort: bool = option(True, doc="false: the server cannot sort by _lastUpdated; then pages are followed by its links")
    whole: tuple[str, ...] = option((), doc="kinds that it cannot search by _lastUpdated: read as a whole each time")
    whole_seconds: float = option(3600.0, doc="how often those are read", low=1, high=31_536_000)

    def __post_init__(self) -> None:
        SmartSettings.__post_init__(self)
        if not self.kinds or not all(_KIND.match(kind) for kind in self.kinds) or len(set(self.kinds)) < len(self.kinds):
            raise wrong('"kinds" names no resource types, each once', 'write kinds = ["Patient", "Encounter", "Appointment"]')
        for kind in self.kinds:
            if not fhir_resource.is_resource_type(kind):
                close = fhir_resource.like(kind)
                instead = f'did you mean "{close}"?' if close else 'write those that the EMR has: "Patient", "Encounter"'
                raise wrong(f'"kinds" has {kind}, which is no resource type of FHIR R4', instead)
        if not set(self.whole) <= set(self.kinds):
            raise wrong('"whole" has a kind that "kinds" has not', "name it in both")
        if self.since and fhir_pages.instant(self.since) is None:
            raise wrong('"since" is no moment', 'write one with its zone, "2026-11-01T00:00:00+09:00"')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings, name: str = "") -> FhirPull:
    """The source of the channel `name`. Nothing is asked yet."""
    return FhirPull(settings, name)


@dataclass(slots=True)
class _Moment:
    """A single moment with more resources than a page: read link by link, over as many polls as that takes."""

    at: int | None
    date: int | None  # of the first page
    pages: Iterator[Page]
    rounds: int = 1
    news: int = 0  # in this round


class FhirPull:
    """The Source of one channel, which can load and be asked, too."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        self._s = settings
        self._name = name
        self._emr = FhirClient(settings)
        asked = FhirLoad(self._emr, settings.kinds, settings.count, sort=settings.sort)
        self.total, self.load, self.request = asked.total, asked.load, asked.request  # hub.domain.ports.Loadable
        self._count = settings.count
        self._overlap_us = int(settings.overlap_seconds * 1e6)
        self._progress: dict[str, Progress] = {}
        self._walks: dict[str, Iterator[Page]] = {}
        self._moments: dict[str, _Moment] = {}
        self._historic: frozenset[str] | None = None
        self.pause_seconds = settings.poll_seconds

    def close(self) -> None:
        self._emr.close()
        self._walks.clear()
        self._moments.clear()

    def ping(self) -> str:
        """What the server is, and which of our kinds it cannot be asked for as we are set to."""
        return probe(self._emr, self._s)

    def poll(self, feed: Feed) -> int:
        """All that is new; or a part of it, when it is much."""
        if self._historic is None:
            self._historic = with_history(self._emr.capability())
        self.pause_seconds, told = self._s.poll_seconds, 0
        wrong: HubError | None = None
        for kind in self._s.kinds:
            try:
                done, news = self._read_whole(feed, kind) if kind in self._s.whole else self._read_on(feed, kind)
            except (Misconfigured, Refused) as error:  # of this kind: it must not keep the others from coming
                wrong = wrong or error
                self._forget(kind)
                continue
            told += news
            if not done:
                self.pause_seconds = 0.0
            if feed.ending():
                break
        if wrong is not None:
            raise wrong
        return told

    # -- what changed ---------------------------------------------------------------------------------------------

    def _read_on(self, feed: Feed, kind: str) -> tuple[bool, int]:
        """Whether the end was reached, and how many messages that made."""
        progress = self._begin(feed, kind)
        until, told, expired = time.monotonic() + STEP_SECONDS, 0, 0
        while True:
            try:
                done, news = self._by_order(feed, kind, progress) if self._s.sort else self._by_links(feed, kind, progress)
            except ExpiredError:
                self._forget(kind)
                done, news, expired = False, 0, expired + 1
                if expired > ROUNDS:
                    raise
            except NotDelivered as error:
                if error.code != "too_large" or self._count == 1:
                    raise
                self._forget(kind)
                self._count, done, news = max(1, self._count // 4), False, 0
                _log.info("smaller pages are asked for", extra={"channel": self._name, "count": self._count})
            told += news
            if done:
                break
            if time.monotonic() > until or feed.ending():
                return False, told
        told += self._deleted(feed, kind, progress)
        progress.ended()
        feed.keep(f"kind:{kind}", progress.dumps())
        return True, told

    def _begin(self, feed: Feed, kind: str) -> Progress:
        if kind not in self._progress:
            saved = feed.place(f"kind:{kind}")
            start = fhir_pages.instant(self._s.since) if self._s.since else None
            self._progress[kind] = Progress.loads(saved, self._overlap_us) if saved else Progress.new(self._overlap_us, start)
        progress = self._progress[kind]
        progress.begins()
        return progress

    def _by_order(self, feed: Feed, kind: str, progress: Progress) -> tuple[bool, int]:
        """One page from where the pass has come to; and where a single moment fills it, by links until that moment is over."""
        if kind in self._moments:
            return self._of_a_moment(feed, kind, progress, self._moments[kind])
        at = progress.at
        page = fhir_pages.first(self._emr, kind, self._query(at))
        reached = fhir_pages.reached(kind, page, at)
        told = sum(self._hand(feed, page, progress))
        if not page.next:
            return True, told
        if reached is None or reached == at:
            self._moments[kind] = _Moment(at, page.date, fhir_pages.follow(self._emr, (kind,), page))
        else:
            self._came_to(feed, kind, progress, reached, page.date)
        return False, told

    def _of_a_moment(self, feed: Feed, kind: str, progress: Progress, moment: _Moment) -> tuple[bool, int]:
        """Its next page. Links can skip what shifts meanwhile: they are followed again until that gives nothing new of it."""
        page, reached, told, at = next(moment.pages, None), moment.at, 0, moment.at
        if page is not None:
            reached = fhir_pages.reached(kind, page, at) or at
            new = self._hand(feed, page, progress)
            moment.news += sum(new[number] for number, when in enumerate(page.moments) if when == at)
            told = sum(new)
            if page.next and reached == at:
                return False, told
        del self._moments[kind]
        if moment.news:
            return False, told + self._once_more(feed, kind, progress, moment)
        if reached is None or reached == at:
            return True, told  # all that there is was of this moment
        self._came_to(feed, kind, progress, reached, moment.date)
        return False, told

    def _once_more(self, feed: Feed, kind: str, progress: Progress, moment: _Moment) -> int:
        if moment.rounds == ROUNDS:
            raise NotDelivered(f"the EMR keeps changing the {kind}s of one moment while they are read", code="changing")
        page = fhir_pages.first(self._emr, kind, self._query(moment.at))
        pages = fhir_pages.follow(self._emr, (kind,), page)
        told = sum(self._hand(feed, page, progress))
        self._moments[kind] = _Moment(moment.at, moment.date, pages, moment.rounds + 1)
        return told

    def _came_to(self, feed: Feed, kind: str, progress: Progress, reached: int, date: int | None) -> None:
        progress.came_to(reached, date)
        feed.keep(f"kind:{kind}", progress.dumps())

    def _forget(self, kind: str) -> None:
        """Where its links had led: begun anew."""
        self._walks.pop(kind, None)
        self._moments.pop(kind, None)

    def _by_links(self, feed: Feed, kind: str, progress: Progress) -> tuple[bool, int]:
        """The next page of the pass, by the server's links. A pass that found what an earlier one should have does not count."""
        if kind not in self._walks:
            progress.at = progress.mark.low
            self._walks[kind] = fhir_pages.walk(self._emr, kind, self._query(progress.at))
        page = next(self._walks[kind], None)
        if page is None:
            del self._walks[kind]
            return True, 0
        if None in page.moments:
            raise Misconfigured(f"the EMR gives a {kind} without meta.lastUpdated: write it into whole", code="no_last_updated")
        new = self._hand(feed, page, progress)
        if any(n and when is not None and when < (progress.before or 0) for n, when in zip(new, page.moments, strict=True)):
            progress.missed = True
        return False, sum(new)

    def _query(self, at: int | None) -> list[tuple[str, str]]:
        query = [("_lastUpdated", f"ge{text_of(at)}")] if at is not None else []
        if self._s.sort:
            query.append(("_sort", "_lastUpdated"))
        return [*query, ("_count", str(self._count))]

    def _hand(self, feed: Feed, page: Page, progress: Progress) -> list[bool]:
        new = feed.documents(page.resources)
        progress.saw([when for when in page.moments if when is not None], page.date)
        return new

    # -- what was deleted -----------------------------------------------------------------------------------------

    def _deleted(self, feed: Feed, kind: str, progress: Progress) -> int:
        """From the history of the kind (http.html#history), newest first: what is deleted there and did not come back."""
        if kind not in (self._historic or ()):
            return 0
        since, began = progress.deleted.low, now_us()
        if since is None:
            progress.deleted.low = progress.first_seen  # before that everything is new to us
            return 0
        told, greatest, seen = 0, None, set[str]()
        query = [("_since", text_of(since)), ("_count", str(self._count))]
        for page in fhir_pages.walk(self._emr, kind, query, history=True):
            if feed.ending():
                return told  # asked again from the same moment
            newest = [one for one in page.resources if id_of(one) not in seen and not seen.add(id_of(one))]  # type: ignore[func-returns-value]
            told += sum(feed.documents([one for one in newest if is_deleted(one)]))
            moments = [when for when in page.moments if when is not None]
            greatest = max([*moments, *([greatest] if greatest is not None else [])], default=None)
        progress.deleted.polled(began)
        progress.deleted.seen(progress.capped(greatest), now_us())
        return told

    # -- kinds that cannot be searched ----------------------------------------------------------------------------

    def _read_whole(self, feed: Feed, kind: str) -> tuple[bool, int]:
        """All of a kind, by links, when its time has come."""
        last = feed.place(f"whole:{kind}")
        if kind not in self._walks:
            if last and now_us() < int(last) + int(self._s.whole_seconds * 1e6):
                return True, 0
            self._walks[kind] = fhir_pages.walk(self._emr, kind, [("_count", str(self._count))])
        until, told = time.monotonic() + STEP_SECONDS, 0
        try:
            for page in self._walks[kind]:
                told += sum(feed.documents(page.resources))
                if time.monotonic() > until or feed.ending():
                    return False, told
        except ExpiredError:
            del self._walks[kind]  # begun anew with the next poll
            raise
        del self._walks[kind]
        feed.keep(f"whole:{kind}", str(now_us()))
        return True, told


# what a server can do


def with_history(statement: fhir.Document) -> frozenset[str]:
    """The kinds whose history the CapabilityStatement offers as a whole (interaction history-type)."""
    return frozenset(kind for kind, one in _resources(statement).items() if "history-type" in _codes(one.get("interaction")))


def probe(emr: FhirClient, settings: Settings) -> str:
    """Asks for each kind as a poll does. Misconfigured names what does not work and which setting makes it work."""
    statement = emr.capability()
    historic, wrongs = with_history(statement), []
    for kind in settings.kinds:
        if kind not in settings.whole:
            wrongs += _wrong_with(emr, kind, settings)
        else:
            fhir_pages.first(emr, kind, [("_count", "1")])
    if wrongs:
        raise Misconfigured("; ".join(wrongs), code="capability")
    unseen = [kind for kind in settings.kinds if kind not in historic]
    said = f"FHIR {statement['fhirVersion']}: {', '.join(settings.kinds)}"
    return said + (f"; deletions are not seen of {', '.join(unseen)}: no history there" if unseen else "")


def _wrong_with(emr: FhirClient, kind: str, settings: Settings) -> list[str]:
    none = fhir_pages.first(emr, kind, [("_lastUpdated", "ge2199-01-01T00:00:00.000Z"), ("_count", "2")])
    if none.resources:
        return [f"{kind} cannot be searched by _lastUpdated: write it into whole"]
    if not settings.sort:
        return []
    for order in ("_lastUpdated", "-_lastUpdated"):
        some = fhir_pages.first(emr, kind, [("_sort", order), ("_count", "20")])
        if None in some.moments:
            return [f"{kind} has no meta.lastUpdated: write it into whole"]
        moments = [
            when
            for when in some.moments
            if when is not None and when < (some.date or when + fhir_pages.FRESH + 1) - fhir_pages.FRESH
        ]
        if moments != sorted(moments, reverse=order.startswith("-")):
            return [f"{kind} cannot be sorted by _lastUpdated: write sort = false"]
    return []


def _resources(statement: fhir.Document) -> dict[str, fhir.Document]:
    rest = [one for one in fhir.objects(statement.get("rest")) if one.get("mode", "server") == "server"]
    return {str(one.get("type", "")): one for side in rest for one in fhir.objects(side.get("resource"))}


def _codes(interactions: object) -> Sequence[str]:
    return [str(one.get("code", "")) for one in fhir.objects(interactions)]
