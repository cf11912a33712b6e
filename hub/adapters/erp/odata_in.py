"""ERP, inbound: entities of an SAP OData V2 service that are new or changed, asked for by the date of their last change.

A pass asks for all that changed since a bound, in the order of the keys, a page at a time, each page from the last key on anew
(hub/codecs/sap/odata_feed.py); the bound is SAP's own time of change, held back by an overlap (hub/adapters/sql/watermark.py). An
entity that stands as it was told makes no message, whatever day its date says. Deletions: SAP marks (the map reads that), or a
compare of all keys finds what is gone.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from hub import log
from hub.adapters.erp import described
from hub.adapters.erp.odata_client import ODataClient
from hub.adapters.erp.odata_in_load import ODataLoad
from hub.adapters.erp.odata_in_pages import Pages
from hub.adapters.erp.odata_in_progress import Progress
from hub.adapters.erp.odata_in_rows import Rows
from hub.adapters.erp.odata_in_sets import KNOWN, EntitySet
from hub.adapters.erp.odata_in_wants import wants
from hub.adapters.settings import read_table, wrong
from hub.codecs.sap import odata_feed
from hub.codecs.sap.amount import Form
from hub.config import option
from hub.domain.errors import Misconfigured
from hub.domain.ids import now_us
from hub.domain.ports import Condition, Difference, Feed, Loaded, Manifest
from hub.transport.http import HttpSettings

_log = log.get(__name__)

MANIFEST = Manifest(
    name="erp.odata_in", title="ERP: SAP entities, asked for what changed", direction="in", system="erp", protocol="OData V2",
    polled=True, form="row",
)  # fmt: skip
PEER = "the ERP"
STEP_SECONDS = 20.0  # of a pass at a time; then whoever wants the channel to pause is heard
SKEW = timedelta(minutes=5)  # that SAP's clock may be before ours
SETTLED = timedelta(days=1)  # what was older when a pass began, by SAP's own clock, was being written by nobody
FEW = 20  # so many may always be gone at once
_NAME = re.compile(r"[A-Za-z_]\w{0,127}\Z", re.ASCII)
_PATH = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*\Z", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(HttpSettings):
    """A channel's own keys; see docs/erp-sap-in.md."""

    set: str = option(doc="entity set that is polled, the event of the map that its entities go through: A_BusinessPartner")
    identification_type: str = option(
        "", doc="BPIdentificationType under which SAP keeps the patient number: ZMRN; needed for A_BusinessPartner"
    )
    sap_client: str = option("", doc="SAP client (Mandant), three digits; default: the service's own")
    timezone: str = option("Asia/Seoul", doc="SAP's time zone, which its dates of change are in; default: [hub] timezone")
    metadata: Path | None = option(None, doc="the service's $metadata as a file, for hub check where SAP cannot be asked")
    amounts: Literal["external", "internal"] = option(
        "external", doc="form of amounts: internal where the service shows them as SAP's tables keep them (12,000 won as 120.00)"
    )
    poll_seconds: float = option(30.0, doc="pause between two polls", low=0.05, high=86400)
    overlap_seconds: float = option(
        60.0, doc="longer than a change takes from its time to its commit (update task)", low=0, high=86400
    )
    since: str = option("", doc='what changed from that day on is asked for, "2026-11-01"; default: all that there is')
    page: int = option(200, doc="entities asked for with one page", low=1, high=5000)
    key: tuple[str, ...] = option((), doc="of another set: the properties of its key")
    expand: tuple[str, ...] = option((), doc='navigation that is expanded; default: what the shipped map reads, ["none"]: none')
    select: tuple[str, ...] = option((), doc='properties asked for; default: what the shipped map reads, ["*"]: all')
    changed_at: str = option("", doc="property with date and time of the last change (Edm.DateTimeOffset)")
    changed_on: tuple[str, ...] = option((), doc="or: properties with days of changes (Edm.DateTime), the latest of them counts")
    changed_time: tuple[str, ...] = option((), doc="times of day (Edm.Time), one beside each of those days")
    where: str = option("", doc='a $filter that always holds; default: persons, or customers\' lines; "none": none')
    compare_seconds: float = option(
        0.0, doc="how often all keys are compared, to find what is gone; 0: never", low=0, high=31_536_000
    )
    gone_event: str = option("", doc="the map's event for an entity that is gone, with its key only; default: only remembered")
    most_gone: float = option(
        0.1, doc="share of the entities that may be gone at once; more is taken for a mistake", low=0, high=1
    )

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        if not _NAME.match(self.set):
            raise wrong('"set" is no entity set', 'write its name alone: set = "A_BusinessPartner"')
        if self.set not in KNOWN and not self.key:
            raise wrong(f'"key" is missing: {self.set} is no set that the hub knows', "write the properties of its key")
        for name in ("key", "select", "expand", "changed_on", "changed_time"):
            if not all(_PATH.match(one) for one in getattr(self, name)) and getattr(self, name) != ("*",):
                raise wrong(f'"{name}" names no properties', f'write {name} = ["Name", …]')
        if self.set == "A_BusinessPartner" and not 0 < len(self.identification_type) <= 6:
            raise wrong('"identification_type" cannot be that', "write the key of SAP's customizing, at most 6 characters")
        if self.sap_client and not (len(self.sap_client) == 3 and self.sap_client.isdigit()):
            raise wrong('"sap_client" cannot be that', 'write three digits: sap_client = "100"')
        if bool(self.changed_at) and bool(self.changed_on):
            raise wrong('"changed_at" stands beside "changed_on"', "write one of them")
        if self.changed_time and len(self.changed_on) != len(self.changed_time):
            raise wrong('"changed_time" needs a day beside each', 'write changed_on = ["LastChangeDate", …], as many')
        if self.since and not _is_day(self.since):
            raise wrong('"since" is no day', 'write since = "2026-11-01"')

    @property
    def event(self) -> str:
        """The map's event: the set's name."""
        return self.set

    @property
    def entity_set(self) -> EntitySet:
        """How the set is polled: as the hub knows it, with what the channel says over it."""
        known = KNOWN.get(self.set, EntitySet(self.key))
        if self.changed_at or self.changed_on:
            known = replace(known, stamp=self.changed_at, days=self.changed_on, clocks=self.changed_time)
        return replace(
            known,
            key=self.key or known.key,
            expand=() if self.expand == ("none",) else self.expand or known.expand,
            select=() if self.select == ("*",) else self.select or known.select,
            where="" if self.where == "none" else self.where or known.where,
        )

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def build(settings: Settings, name: str = "") -> ODataIn:
    """The source of the channel `name`. Nothing is asked yet."""
    return ODataIn(settings, name)


class ODataIn:
    """The Source of one channel, which can load and be asked, too."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        self._s = settings
        self._name = name
        self._set = settings.entity_set
        self._sap = ODataClient(settings, peer=PEER, client=settings.sap_client)
        form: Form = settings.amounts
        self._rows = Rows(self._set, settings.identification_type, form)
        self._pages = Pages(self._sap, settings.set, self._set, settings.page)
        self._asked = ODataLoad(self._sap, self._pages, self._rows, settings.set, self._set, settings.identification_type)
        self._overlap_us = int(settings.overlap_seconds * 1e6)
        self._zone = ZoneInfo(settings.timezone)
        self._progress: Progress | None = None
        self._kept = ""
        self._sweep: Iterator[list[bytes]] | None = None
        self._known: set[bytes] = set()
        self._seen: set[bytes] = set()
        self.pause_seconds = settings.poll_seconds

    def close(self) -> None:
        self._sap.close()
        self._sweep = None

    def ping(self) -> str:
        """Asks for one entity, as a poll would."""
        found = self._pages.first("", 1)
        return f"OData V2, {self._s.set} can be read{'' if found else ' (there is none)'}"

    def differences(self, *, ask: bool) -> Sequence[Difference] | None:
        """What of the service's $metadata is missing or different; see hub.domain.ports.Described."""
        return described.differences(wants(self._s.set, self._set), self._s.metadata, self._sap.metadata, ask=ask)

    # -- hub.domain.ports.Loadable ------------------------------------------------------------------------------------

    def total(self, _kind: str, where: Sequence[Condition]) -> int | None:
        return self._asked.total(where)

    def load(self, feed: Feed, _kind: str, where: Sequence[Condition], place: str) -> Iterator[Loaded]:
        return self._asked.load(feed, where, place)

    def request(self, feed: Feed, _kind: str, number: str, columns: Sequence[str]) -> int:
        return self._asked.request(feed, number, columns)

    # -- what changed ---------------------------------------------------------------------------------------------------

    def poll(self, feed: Feed) -> int:
        """All that is new; or a part of it, when it is much."""
        self.pause_seconds = self._s.poll_seconds
        told = self._changes(feed)
        if self._sweep is not None or self._compare_due(feed):
            told += self._compare(feed)
        return told

    def _changes(self, feed: Feed) -> int:
        progress = self._begin(feed)
        until, told = time.monotonic() + STEP_SECONDS, 0
        for entities in self._pages.walk(self._since(progress.mark.low), progress.after):
            told += feed.rows(self._s.set, [self._rows.found(one) for one in entities])
            progress.came_to(self._rows.key(entities[-1]), self._latest(entities))
            if time.monotonic() > until or feed.ending():
                self.pause_seconds = 0.0
                self._keep(feed, progress)
                return told
            if self._pages.more:
                self._keep(feed, progress)
            feed.looking()
        progress.ended(self._clock(progress.began, -SETTLED))
        self._keep(feed, progress)
        return told

    def _begin(self, feed: Feed) -> Progress:
        if self._progress is None:
            what = self._what()
            self._kept = feed.place("changes")
            saved = Progress.loads(self._kept, self._overlap_us, what)
            self._progress = saved or Progress.new(self._overlap_us, what, self._s.since or None)
        self._progress.begins()
        return self._progress

    def _what(self) -> str:
        """What this is the progress of: another set, other columns of change or another filter begin anew."""
        return "|".join((self._s.set, self._set.stamp, ",".join((*self._set.days, *self._set.clocks)), self._set.where))

    def _keep(self, feed: Feed, progress: Progress) -> None:
        """Where it is not what is kept already: an idle poll writes nothing."""
        text = progress.dumps()
        if text != self._kept:
            feed.keep("changes", text)
            self._kept = text

    def _since(self, low: str | None) -> str:
        if low is None:
            return ""
        if self._set.stamp:
            return odata_feed.since_stamp(self._set.stamp, low if "T" in low else f"{low}T00:00:00")
        return odata_feed.since_day(self._set.days, low, self._set.clocks) if self._set.days else ""

    def _latest(self, entities: Sequence[Mapping[str, Any]]) -> str | None:
        """The latest change among them, no later than SAP's clock: a date in 9999 must not hide what comes."""
        shape = self._set
        if shape.stamp:
            found = [odata_feed.changed_at(one, shape.stamp) for one in entities]
        else:
            found = [odata_feed.changed_on(one, shape.days, shape.clocks) for one in entities]
        now = self._clock(now_us(), SKEW)
        return max((min(one, now[: len(one)]) for one in found if one is not None), default=None)

    def _clock(self, at: int, shift: timedelta) -> str:
        """What SAP's clock said at a moment of ours (µs), as far as we know it, and `shift`."""
        moment = datetime.fromtimestamp(at / 1e6, UTC if self._set.stamp else self._zone)
        return (moment + shift).strftime("%Y-%m-%dT%H:%M:%S")

    # -- what is gone ---------------------------------------------------------------------------------------------------

    def _compare_due(self, feed: Feed) -> bool:
        if not self._s.compare_seconds or (self._progress is not None and self._progress.began):
            return False
        done = feed.place("compared")
        return not done or now_us() >= int(done) + int(self._s.compare_seconds * 1e6)

    def _compare(self, feed: Feed) -> int:
        """The keys of all, in steps; what was known before and is not there is gone. One that fails is begun anew."""
        if self._sweep is None:
            self._known, self._seen = feed.known(), set()
            self._sweep = self._keys(feed)
        sweep, self._sweep = self._sweep, None
        until = time.monotonic() + STEP_SECONDS
        for digests in sweep:
            self._seen.update(digests)
            if time.monotonic() > until or feed.ending():
                self._sweep, self.pause_seconds = sweep, 0.0
                return 0
        gone = sorted(self._known - self._seen)
        if len(gone) > max(FEW, int(self._s.most_gone * len(self._known))):
            raise Misconfigured(
                f"{len(gone)} of {len(self._known)} entities are gone at once: nothing is told of it; if it is right, "
                "raise most_gone"
            )
        told = feed.gone(self._s.gone_event, gone) if gone else 0
        if gone:
            _log.info("entities are gone", extra={"channel": self._name, "count": len(gone)})
        feed.keep("compared", str(now_us()))
        self._known, self._seen = set(), set()
        return told

    def _keys(self, feed: Feed) -> Iterator[list[bytes]]:
        for entities in self._pages.all_keys():
            yield [feed.digest(self._s.set, self._rows.key(one)) for one in entities]
