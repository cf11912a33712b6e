"""PACS, inbound: studies of an Orthanc by its log of changes (GET /changes): nothing is missed however old its study date is, and
nothing is read twice. Each study is one message, and again where it changed.

The place is the last line of the log that was read, with what it was about, and a few earlier ones of other studies. Orthanc
takes the lines of what it deletes out of its log: as long as one of ours stands there as we read it, it is the same log. Where
another line has its number, or none of ours is left, it is read from its beginning (what is known as it stands makes no message).
Studies that are gone are found by comparing all that there is, now and then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from hub import log
from hub.adapters.pacs.studies import KEY, check_gone, found, numbered, unlike
from hub.adapters.settings import read_table, wrong
from hub.codecs.dicom import columns
from hub.codecs.dicom.json import LONGEST
from hub.config import option
from hub.domain.errors import Misconfigured, NotDelivered
from hub.domain.ids import now_us
from hub.domain.ports import Condition, Feed, Found, Loaded, Manifest
from hub.transport.http import HttpClient, HttpSettings, failure

_log = log.get(__name__)

MANIFEST = Manifest(
    name="pacs.orthanc", title="PACS: studies of an Orthanc, by its log of changes", direction="in", system="pacs",
    protocol="Orthanc REST (/changes)", polled=True, form="row",
)  # fmt: skip
PEER = "Orthanc"
PLACE, SWEPT = "changes", "swept"
WITNESSES = 3  # studies whose lines tell the log from another one, where the last line is gone with its study
# What MainDicomTags lack by default: Orthanc from 1.11 on gives it when asked, older ones do not mind the question
REQUESTED = ";".join(name for name in columns.STUDY if name not in ("PatientID", KEY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(HttpSettings):
    """A channel's own keys; see docs/pacs-query.md."""

    event: str = option("dicom.study", doc="the map's event for a study")
    gone_event: str = option("", doc='the map\'s event for a study that is gone: "dicom.study_gone"; default: nothing is told')
    changes: tuple[str, ...] = option(
        ("StableStudy",), doc='which changes are followed: "StableStudy", and "NewStudy" for the first instance of a study, too'
    )
    poll_seconds: float = option(5.0, doc="pause between two polls", low=0.05, high=86400)
    count: int = option(100, doc="lines of the log, or studies, asked for at once", low=1, high=1000)
    sweep_seconds: float = option(
        3600.0, doc="how often all studies are looked through for those that are gone", low=1, high=31_536_000
    )
    most_gone: float = option(
        0.1, doc="share of the studies that may be gone at once; more is taken for a mistake", low=0, high=1
    )

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        if not self.changes or not set(self.changes) <= {"StableStudy", "NewStudy"}:
            raise wrong('"changes" names no change of a study', 'write changes = ["StableStudy"]')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings, name: str = "") -> Orthanc:
    """The source of the channel `name`. Nothing is asked yet."""
    return Orthanc(settings, name)


class Line(NamedTuple):
    """One line of the log: its number, and what tells it from another line of that number."""

    seq: int
    what: str

    @classmethod
    def loads(cls, place: str) -> Line:
        seq, _, what = place.partition(" ")
        return cls(int(seq or 0), what)

    def dumps(self) -> str:
        return f"{self.seq} {self.what}"

    @property
    def resource(self) -> str:
        """Orthanc's name of what it is about."""
        return self.what.partition(" ")[0]


def places(text: str) -> list[Line]:
    """The last line that was read, and then the witnesses, the newest first; nothing where none was read."""
    return [line for line in map(Line.loads, text.splitlines()) if line.seq]


class Log(NamedTuple):
    """A page of the log."""

    lines: list[Line]
    studies: list[Line]  # those of them that say that a study changed
    done: bool

    @property
    def ids(self) -> list[str]:
        """Orthanc's names of the studies that changed, in order, each once."""
        return list(dict.fromkeys(_name(line.resource) for line in self.studies))

    def after(self, kept: Sequence[Line]) -> list[Line]:
        """What is kept (see `places`) when this page is read, too."""
        if not self.lines:
            return list(kept)
        newest: dict[str, Line] = {}
        for line in (*reversed(kept[1:]), *self.studies):
            newest.pop(line.resource, None)
            newest[line.resource] = line
        return [self.lines[-1], *list(reversed(newest.values()))[:WITNESSES]]


class Orthanc:
    """The Source of one channel, which can load and be asked, too."""

    def __init__(self, settings: Settings, name: str = "") -> None:
        self._s = settings
        self._name = name
        self._http = HttpClient(settings, peer=PEER)
        self.pause_seconds = settings.poll_seconds

    def close(self) -> None:
        self._http.close()

    def ping(self) -> str:
        about = _object(self._get("/system"))
        return f"Orthanc {about.get('Version', '?')} at {self._s.url}"

    # -- hub.domain.ports.Source ----------------------------------------------------------------------------------

    def poll(self, feed: Feed) -> int:
        """The log from where we are to its end; how many messages that made."""
        kept = self._begin(places(feed.place(PLACE)))
        told = 0
        while True:
            feed.looking()
            page = self._log(kept[0].seq if kept else 0)
            told += feed.rows(self._s.event, self._studies(page.ids))
            kept = page.after(kept)
            feed.keep(PLACE, "\n".join(line.dumps() for line in kept))
            if page.done or not page.lines or feed.ending():
                break
        return told + (self._sweep(feed) if self._s.gone_event and not feed.ending() else 0)

    def _begin(self, kept: Sequence[Line]) -> list[Line]:
        """What is kept of where to read on, as far as it still stands in the log; nothing: read from the beginning."""
        for n, line in enumerate(kept):
            found = self._log(line.seq - 1, 1).lines
            if found and found[0] == line:
                return [kept[0], *kept[max(n, 1) :]]
            if found and found[0].seq == line.seq:
                text = "Orthanc's log of changes was begun anew: it is read from its beginning"
                _log.warning(text, extra={"channel": self._name})
                return []
        if kept:
            text = "Orthanc's log of changes has none of the lines that we know: it is read from its beginning"
            _log.info(text, extra={"channel": self._name})
        return []

    def _log(self, since: int, count: int = 0) -> Log:
        answer = _object(self._get(f"/changes?since={since}&limit={count or self._s.count}"))
        changes = answer.get("Changes")
        if not isinstance(changes, list) or not isinstance(answer.get("Last"), int):
            raise _unlike_orthanc()
        lines, studies = [], []
        for one in changes:
            seq, number = (one.get("Seq"), one.get("ID")) if isinstance(one, dict) else (None, None)
            if not isinstance(seq, int) or not isinstance(number, str) or seq <= since:
                raise _unlike_orthanc()
            lines.append(Line(seq, f"{number} {one.get('Date', '')}"))
            if one.get("ResourceType") == "Study" and one.get("ChangeType") in self._s.changes:
                studies.append(lines[-1])
        return Log(lines, studies, answer.get("Done") is True)

    # -- hub.domain.ports.Loadable --------------------------------------------------------------------------------

    def total(self, kind: str, where: Sequence[Condition]) -> int | None:  # noqa: ARG002 - the port's shape
        _whole(where)
        statistics = _object(self._get("/statistics"))
        count = statistics.get("CountStudies")
        return count if isinstance(count, int) else None

    def load(self, feed: Feed, kind: str, where: Sequence[Condition], place: str) -> Iterator[Loaded]:  # noqa: ARG002 - as above
        """All studies, in Orthanc's own order; a place is how many were read. What is deleted meanwhile shifts what comes after:
        the log, which is polled all the while, has told of it."""
        _whole(where)
        at = int(place or 0)
        while True:
            feed.looking()
            page = self._page(at)
            told = feed.rows(self._s.event, unlike([self._row(one) for one in page], self._name))
            at += len(page)
            if not page:
                return
            yield Loaded(str(at), len(page), told)

    def request(self, feed: Feed, kind: str, number: str, columns: Sequence[str]) -> int:  # noqa: ARG002 - as above
        """The studies under a number (POST /tools/find): of a patient, of an order, of a study."""
        feed.looking()
        studies = [self._row(one) for one in self._find(numbered(number, columns))]
        feed.rows(self._s.event, unlike(studies, self._name))
        return len(studies)

    # -- studies that are gone ------------------------------------------------------------------------------------

    def _sweep(self, feed: Feed) -> int:
        last = feed.place(SWEPT)
        if last and now_us() < int(last) + int(self._s.sweep_seconds * 1e6):
            return 0
        began, at, seen = now_us(), 0, set[bytes]()
        while page := self._page(at):
            at += len(page)
            for one in page:
                number = _object(one.get("MainDicomTags")).get(KEY)
                seen.add(feed.digest(self._s.event, {KEY: number}))
            if feed.ending():
                return 0
        known = feed.known()
        gone = self._really(feed, sorted(known - seen), len(known))
        feed.keep(SWEPT, str(began))
        return feed.gone(self._s.gone_event, gone) if gone else 0

    def _really(self, feed: Feed, missing: Sequence[bytes], known: int) -> list[bytes]:
        """Those that Orthanc does not find by their UIDs either: what is deleted while we read shifts the pages."""
        check_gone(len(missing), known, self._s.most_gone)
        named = [(digest, str(key.get(KEY, ""))) for digest, key in feed.names(missing)]
        return [digest for digest, number in named if number and not self._find({KEY: number})]

    # -- asking ---------------------------------------------------------------------------------------------------

    def _studies(self, ids: Sequence[str]) -> list[Found]:
        """What there still is of them."""
        documents = [self._get(f"/studies/{one}?requestedTags={REQUESTED}", there=False) for one in ids]
        return unlike([self._row(_object(one)) for one in documents if one is not None], self._name)

    def _page(self, since: int) -> list[Mapping[str, Any]]:
        return _objects(self._get(f"/studies?since={since}&limit={self._s.count}&expand&requestedTags={REQUESTED}"))

    def _find(self, keys: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """By values that stand in no URL."""
        query = {"Level": "Study", "Query": dict(keys), "Expand": True, "CaseSensitive": True, "Limit": self._s.count}
        return _objects(self._ask("POST", "/tools/find", orjson.dumps(query)))

    def _row(self, study: Mapping[str, Any]) -> Found:
        """MainDicomTags as columns; how many series and instances there are, and their modalities, from the series."""
        tags: dict[str, Any] = {}
        for part in ("PatientMainDicomTags", "MainDicomTags", "RequestedTags"):
            tags |= _object(study.get(part) or {})
        row: dict[str, Any] = {
            name: value.strip(" \0")
            for name, value in tags.items()
            if name in columns.STUDY and isinstance(value, str) and value.strip(" \0") and len(value) <= LONGEST
        }
        series = _objects(self._get(f"/studies/{_name(study.get('ID'))}/series", there=False) or [])
        modalities = {_object(one.get("MainDicomTags") or {}).get("Modality") for one in series}
        instances = [one.get("Instances") for one in series]
        listed = sorted(one for one in modalities if isinstance(one, str) and one)
        counted = {
            "NumberOfStudyRelatedSeries": len(series),
            "NumberOfStudyRelatedInstances": sum(len(one) for one in instances if isinstance(one, list)),
        }
        return found({**row, **counted, **({"ModalitiesInStudy": listed} if listed else {})})

    def _get(self, path: str, *, there: bool = True) -> Any:
        """`there` False: None where it is not (any more)."""
        return self._ask("GET", path, None, there=there)

    def _ask(self, method: str, path: str, body: bytes | None, *, there: bool = True) -> Any:
        answer = self._http.read(method, path, headers={"Accept": "application/json"}, body=body)
        if answer.status == 404 and not there:
            return None
        if answer.status != 200:
            raise failure(answer, peer=PEER, writing=False)
        try:
            return orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            error = _unlike_orthanc()
            error.answer = answer.body
            raise error from None


def _whole(where: Sequence[Condition]) -> None:
    if where:
        raise Misconfigured("Orthanc is loaded as a whole: write no --where, or ask for one number by hub request")


def _object(found: Any) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise _unlike_orthanc()
    return found


def _objects(found: Any) -> list[Mapping[str, Any]]:
    if not isinstance(found, list):
        raise _unlike_orthanc()
    return [_object(one) for one in found]


def _name(number: object) -> str:
    """Orthanc's name of a study, SHA-1 in hexadecimal with hyphens: nothing else goes into a path."""
    text = number if isinstance(number, str) else ""
    if len(text) != 44 or set(text) - set("0123456789abcdef-"):
        raise _unlike_orthanc()
    return text


def _unlike_orthanc() -> NotDelivered:
    return NotDelivered("Orthanc did not answer as its REST API does: url must be its own address", code="not_orthanc")
