"""The EMR asked for what changed: each version of a resource is handed on once, whatever the server and the network do."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.emr import fhir_pull
from hub.codecs.fhir_incoming import is_deleted
from hub.domain.errors import HubError, Misconfigured, NotDelivered
from hub.domain.ports import Condition, Loadable
from hub.simulator.certificates import Authority
from hub.simulator.emr import EmrPeer, outcome
from hub.simulator.faults import Fault
from hub.simulator.http_peer import response

NAMES = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞")


class Handed:
    """A feed in memory: what hub.sync.polled.PolledFeed does, without a database."""

    def __init__(self) -> None:
        self.told: list[Mapping[str, Any]] = []
        self.marks: dict[str, bytes] = {}
        self.places: dict[str, str] = {}
        self.end = False

    def documents(self, found: Sequence[Mapping[str, Any]], place: tuple[str, str] | None = None) -> list[bool]:
        news = []
        for one in found:
            key, gone = f"{one['resourceType']}/{one['id']}", is_deleted(one)
            stamped = {**one, "meta": {**one["meta"], "lastUpdated": ""}}
            value = b"" if gone else hashlib.sha256(json.dumps(stamped, sort_keys=True, default=str).encode()).digest()
            news.append(self.marks.get(key, b"") != value)
            if news[-1]:
                self.marks[key] = value
                self.told.append(one)
        return news

    def place(self, name: str) -> str:
        return self.places.get(name, "")

    def keep(self, name: str, place: str) -> None:
        self.places[name] = place

    def ending(self) -> bool:
        return self.end

    def versions(self) -> list[tuple[str, str]]:
        return [(str(one["id"]), "gone" if is_deleted(one) else str(one["meta"]["versionId"])) for one in self.told]


@pytest.fixture
def emr() -> Iterator[EmrPeer]:
    with EmrPeer() as peer:
        peer.counts_versions = True
        yield peer


def source(peer: EmrPeer, **more: Any) -> fhir_pull.FhirPull:
    table = {"url": peer.url, "kinds": ["Patient"], "count": 5, "overlap_seconds": 0.2, "timeout_seconds": 1.0, **more}
    return fhir_pull.build(fhir_pull.Settings.from_table(table), "emr-in")


def fill(peer: EmrPeer, count: int, first: int = 0) -> None:
    for n in range(first, first + count):
        peer.put({"id": f"p{n}", "name": [{"text": NAMES[n % len(NAMES)]}]})


def stamp(peer: EmrPeer, moment: Callable[[int], str]) -> None:
    """Other times of change than now."""
    for n, one in enumerate(peer.patients.values()):
        one["meta"]["lastUpdated"] = moment(n)


def drain(one: fhir_pull.FhirPull, feed: Handed) -> int:
    """Until a poll says that it has come to the end."""
    told = 0
    for _ in range(200):
        told += one.poll(feed)  # type: ignore[arg-type]
        if one.pause_seconds:
            return told
    raise AssertionError("it never came to an end")


def every(peer: EmrPeer) -> set[tuple[str, str]]:
    return {(one["id"], one["meta"]["versionId"]) for one in peer.patients.values()}


MOMENTS: dict[str, Callable[[int], str]] = {
    "now": lambda n: "",
    "one after the other": lambda n: f"2026-01-0{1 + n // 10}T00:00:{n % 60:02d}.000Z",
    "all at one moment": lambda n: "2026-01-01T00:00:00.000Z",
    "seven a moment": lambda n: f"2026-01-01T00:00:{n // 7:02d}.500Z",
}


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("moments", MOMENTS, ids=str)
def test_everything_is_handed_on_once_and_so_is_each_change(emr: EmrPeer, moments: str, sort: bool) -> None:
    fill(emr, 33)
    emr.sorts = sort
    if moments != "now":
        stamp(emr, MOMENTS[moments])
    feed, one = Handed(), source(emr, sort=sort)
    assert drain(one, feed) == 33
    assert [drain(one, feed) for _ in range(3)] == [0, 0, 0]
    emr.put({**emr.patients["p7"], "birthDate": "1987-05-04"})
    fill(emr, 2, 33)
    assert drain(one, feed) == 3
    again = source(emr, sort=sort)  # another process
    assert drain(again, feed) == 0
    assert set(feed.versions()) == every(emr) | {("p7", "1")}
    assert {name for found in feed.told for name in [found["name"][0]["text"]]} == set(NAMES)


@pytest.mark.parametrize("sort", [True, False])
def test_what_changes_between_two_pages_shifts_nothing_out_of_sight(emr: EmrPeer, sort: bool) -> None:
    """The server slices by offset: one that moves from the first page to the last lets the others move up."""
    fill(emr, 40)
    stamp(emr, lambda n: f"2026-01-01T00:00:{n:02d}.000Z")
    emr.sorts = sort
    moved = iter(range(0, 40, 3))

    def touch(kind: str, offset: int) -> None:
        number = next(moved, None)
        if number is not None:
            emr.put({**emr.patients[f"p{number}"], "birthDate": "2000-01-01"})
            emr.patients[f"p{number}"] = emr.patients.pop(f"p{number}")  # to the end of the unsorted list, too

    emr.after_page = touch
    feed, one = Handed(), source(emr, sort=sort)
    for _ in range(4):
        drain(one, feed)
    emr.after_page = None
    drain(one, feed)
    assert every(emr) <= set(feed.versions())
    assert len(feed.versions()) == len(set(feed.versions()))


def test_a_commit_that_shows_late_is_found_by_the_overlap(emr: EmrPeer) -> None:
    fill(emr, 12)
    late = emr.patients.pop("p3")  # written with its time, not yet to be seen
    feed, one = Handed(), source(emr, overlap_seconds=5.0)
    drain(one, feed)
    fill(emr, 3, 12)
    drain(one, feed)
    assert len(feed.told) == 14
    emr.patients["p3"] = late
    assert drain(one, feed) == 1
    assert set(feed.versions()) == every(emr)


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0, 5 * 86400.0])
def test_a_server_with_another_clock_loses_nothing(emr: EmrPeer, ahead: float) -> None:
    emr.clock_ahead = ahead
    feed, one = Handed(), source(emr)
    for first in range(0, 20, 4):
        fill(emr, 4, first)
        assert drain(one, feed) == 4
    assert set(feed.versions()) == every(emr)


def test_one_time_in_the_future_does_not_hide_what_comes(emr: EmrPeer) -> None:
    fill(emr, 3)
    emr.patients["p1"]["meta"]["lastUpdated"] = "2099-12-31T00:00:00.000Z"
    feed, one = Handed(), source(emr)
    drain(one, feed)
    drain(one, feed)
    fill(emr, 4, 3)
    assert drain(one, feed) == 4


def test_what_was_imported_at_one_moment_is_not_read_for_ever(emr: EmrPeer) -> None:
    fill(emr, 30)
    stamp(emr, lambda n: "2026-11-22T00:00:00.000Z")
    feed, one = Handed(), source(emr)
    drain(one, feed)
    time.sleep(0.25)
    assert drain(one, feed) == 0
    pages: list[int] = []
    emr.after_page = lambda kind, offset: pages.append(offset)
    assert drain(one, feed) == 0
    assert pages == [0, 0]  # a search and a history
    fill(emr, 1, 30)
    assert drain(one, feed) == 1


def test_a_server_that_counts_no_versions_is_read_by_content(emr: EmrPeer) -> None:
    fill(emr, 3)
    feed, one = Handed(), source(emr, overlap_seconds=60.0)
    drain(one, feed)
    emr.patients["p1"] = {**emr.patients["p1"], "birthDate": "1990-01-01"}  # same version, same time
    assert drain(one, feed) == 1
    emr.patients["p1"]["meta"]["lastUpdated"] = "2026-11-22T00:00:00.000Z"  # a new time for the same content
    assert drain(one, feed) == 0


def test_deletions_come_from_the_history(emr: EmrPeer) -> None:
    fill(emr, 12)
    feed, one = Handed(), source(emr)
    drain(one, feed)
    emr.delete("Patient", "p4")
    emr.delete("Patient", "p5")
    emr.put({"id": "p5", "name": [{"text": "뷁"}]})  # came back
    fill(emr, 1, 12)
    emr.delete("Patient", "p12")  # was never seen
    drain(one, feed)
    assert [id_ for id_, version in feed.versions() if version == "gone"] == ["p4"]
    assert [drain(one, feed) for _ in range(3)] == [0, 0, 0]
    emr.put({"id": "p4", "name": [{"text": "홍길동"}]})
    drain(one, feed)
    assert [version for id_, version in feed.versions() if id_ == "p4"] == ["1", "gone", "1"]


def test_a_kind_that_cannot_be_searched_is_read_as_a_whole(emr: EmrPeer) -> None:
    fill(emr, 13)
    emr.searches_by_time = emr.sorts = False
    for one in emr.patients.values():
        del one["meta"]["lastUpdated"]
    feed, made = Handed(), source(emr, whole=["Patient"], whole_seconds=1.0)
    assert drain(made, feed) == 13
    feed.places["whole:Patient"] = "0"
    emr.patients["p2"] = {**emr.patients["p2"], "birthDate": "1990-01-01"}
    assert drain(made, feed) == 1
    assert drain(made, feed) == 0


def test_ping_says_what_the_server_can_and_which_setting_would_do(emr: EmrPeer) -> None:
    fill(emr, 7)
    stamp(emr, lambda n: f"2026-01-01T00:00:{59 - n:02d}.000Z")
    one = source(emr)
    assert one.ping() == "FHIR 4.0.1: Patient"
    emr.keeps_history = False
    assert "deletions are not seen of Patient" in one.ping()
    emr.sorts = False
    with pytest.raises(Misconfigured, match="sort = false"):
        one.ping()
    assert source(emr, sort=False).ping()
    emr.searches_by_time = False
    with pytest.raises(Misconfigured, match="into whole"):
        one.ping()
    assert source(emr, whole=["Patient"]).ping()


def test_a_server_that_does_less_than_it_is_taken_for_is_named(emr: EmrPeer) -> None:
    fill(emr, 12)
    stamp(emr, lambda n: f"2026-01-01T00:00:{59 - n:02d}.000Z")
    emr.sorts = False
    with pytest.raises(Misconfigured, match="sort = false"):
        source(emr).poll(Handed())  # type: ignore[arg-type]
    emr.searches_by_time = False
    stamp(emr, lambda n: f"2026-01-01T00:00:{n:02d}.000Z")
    with pytest.raises(Misconfigured, match="into whole"):
        drain(source(emr), Handed())


def test_an_expired_link_begins_the_search_anew(emr: EmrPeer) -> None:
    fill(emr, 40)
    stamp(emr, lambda n: "2026-01-01T00:00:00.000Z")  # links are only followed within a moment
    emr.expired_links = 2
    feed = Handed()
    assert drain(source(emr), feed) == 40
    emr.expired_links = 1000
    with pytest.raises(NotDelivered) as caught:
        drain(source(emr, sort=False), Handed())
    assert caught.value.code == "expired"


def test_a_link_to_another_address_gets_no_credentials(emr: EmrPeer) -> None:
    fill(emr, 12)
    stamp(emr, lambda n: "2026-01-01T00:00:00.000Z")
    with EmrPeer() as other:
        good, emr_url = emr.url, emr.url
        for url in (other.url, good.replace("127.0.0.1", "localhost"), good.replace("/fhir", "/other"), f"{good}/../secret"):
            type(emr).url = property(lambda self, url=url: url)  # type: ignore[assignment, misc]
            try:
                made = fhir_pull.build(fhir_pull.Settings.from_table({"url": emr_url, "kinds": ["Patient"], "count": 5}))
                with pytest.raises(Misconfigured, match="another address"):
                    drain(made, Handed())
            finally:
                del type(emr).url
        assert other.counts["connections"] == 0


def test_a_page_in_a_circle_is_noticed(emr: EmrPeer) -> None:
    fill(emr, 12)
    original = emr._page

    def same(request: Any, kind: str, asked: dict[str, list[str]], type_: str, entries: list[dict[str, Any]]) -> bytes:
        return original(request, kind, {**asked, "_offset": ["0"]}, type_, entries)

    emr._page = same  # type: ignore[method-assign]
    with pytest.raises(Misconfigured, match="circle"):
        drain(source(emr, sort=False), Handed())


FAULTS = {
    Fault.CLOSED: NotDelivered, Fault.HALF_OPEN: NotDelivered, Fault.SILENT: NotDelivered, Fault.ANSWER_LOST: NotDelivered,
    Fault.ANSWER_CUT: NotDelivered, Fault.GARBAGE: NotDelivered, Fault.SLOW: NotDelivered, Fault.BUSY: NotDelivered,
    Fault.HANG_UP: NotDelivered, Fault.REFUSE: HubError, Fault.WRONG_ANSWER: Misconfigured,
}  # fmt: skip


@pytest.mark.parametrize("when", ["at the first question", "at a page"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_loses_and_doubles_nothing(emr: EmrPeer, fault: Fault, when: str) -> None:
    fill(emr, 23)
    stamp(emr, lambda n: f"2026-01-01T00:00:{n:02d}.000Z")
    feed, made = Handed(), source(emr, timeout_seconds=0.3)
    if when == "at a page":
        emr.after_page = lambda kind, offset: emr.misbehave(fault, None) if len(feed.told) >= 5 and not emr._standing else None
        if fault in (Fault.CLOSED, Fault.HALF_OPEN, Fault.HANG_UP):  # faults of a connection, not of a request
            emr.after_page = lambda kind, offset: (emr.misbehave(fault, None), emr.misbehave(Fault.CLOSE_AFTER))[0]  # type: ignore[func-returns-value]
    else:
        emr.misbehave(fault, None)
    with pytest.raises(FAULTS[fault]) as caught:
        drain(made, feed)
    assert not [name for name in NAMES if name in str(caught.value)]
    if fault is Fault.BUSY and isinstance(caught.value, NotDelivered):
        assert caught.value.retry_after == 7
    made.close()
    emr.after_page = None
    emr.behave()
    drain(source(emr), feed)
    assert sorted(feed.versions()) == sorted(every(emr))


def test_a_kind_that_may_not_be_read_does_not_keep_the_others_from_coming(emr: EmrPeer) -> None:
    fill(emr, 3)
    search = emr._search
    emr._search = lambda request, kind: outcome(403, "forbidden", "no") if kind == "Encounter" else search(request, kind)  # type: ignore[method-assign]
    feed, one = Handed(), source(emr, kinds=["Encounter", "Patient"])
    with pytest.raises(Misconfigured, match="asked for Encounter, answered 403"):
        one.poll(feed)  # type: ignore[arg-type]
    assert len(feed.told) == 3


def test_pages_that_are_too_large_are_asked_for_smaller(emr: EmrPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(emr, 30)
    monkeypatch.setattr("hub.transport.http.LARGEST_ANSWER", 3000)
    for sort in (True, False):
        emr.sorts, feed = sort, Handed()
        assert drain(source(emr, count=30, sort=sort), feed) == 30
    monkeypatch.setattr("hub.transport.http.LARGEST_ANSWER", 100)
    with pytest.raises(NotDelivered, match="more than 100 bytes"):
        drain(source(emr), Handed())


def test_a_wrong_certificate_stops_the_channel(tmp_path: Path) -> None:
    authority = Authority("test")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    context: ssl.SSLContext = authority.server_context()
    with EmrPeer(tls=context) as peer:
        fill(peer, 3)
        feed = Handed()
        assert drain(source(peer, ca_file=str(tmp_path / "ca.pem")), feed) == 3
        with pytest.raises(Misconfigured, match="certificate"):
            source(peer).poll(Handed())  # type: ignore[arg-type]


def test_another_service_behind_the_address_is_a_misconfiguration(emr: EmrPeer) -> None:
    emr.answer = lambda request: response(200, b"<html>welcome</html>", {"Content-Type": "text/html"})  # type: ignore[method-assign]
    with pytest.raises(Misconfigured, match="check url"):
        source(emr).poll(Handed())  # type: ignore[arg-type]


def test_an_order_to_end_is_heard_between_two_pages(emr: EmrPeer) -> None:
    fill(emr, 50)
    stamp(emr, lambda n: f"2026-01-01T00:00:{n:02d}.000Z")
    feed, one = Handed(), source(emr)
    feed.end = True
    one.poll(feed)  # type: ignore[arg-type]
    assert 0 < len(feed.told) < 50
    assert one.pause_seconds == 0.0
    feed.end = False
    drain(source(emr), feed)  # another process goes on where this one stopped
    assert sorted(feed.versions()) == sorted(every(emr))


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"kinds": []}, "write kinds"),
        ({"kinds": ["patient"]}, "write kinds"),
        ({"kinds": ["Patiant"]}, 'did you mean "Patient"'),
        ({"kinds": ["Patient", "HumanName"]}, "HumanName, which is no resource type"),
        ({"whole": ["Encounter"]}, "name it in both"),
        ({"since": "2026-11-01"}, "its zone"),
    ],
)
def test_wrong_settings_say_what_to_write(emr: EmrPeer, more: dict[str, Any], text: str) -> None:
    with pytest.raises(Misconfigured, match=text):
        source(emr, **more)


def test_only_what_changed_since_then(emr: EmrPeer) -> None:
    fill(emr, 20)
    stamp(emr, lambda n: f"2026-01-{1 + n:02d}T00:00:00.000Z")
    feed = Handed()
    assert drain(source(emr, since="2026-01-16T09:00:00+09:00"), feed) == 5


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("moments", ["one after the other", "all at one moment"])
def test_a_load_reads_all_and_goes_on_where_it_stopped(emr: EmrPeer, sort: bool, moments: str) -> None:
    fill(emr, 33)
    stamp(emr, MOMENTS[moments])
    emr.sorts = sort
    one, feed = source(emr, sort=sort), Handed()
    assert isinstance(one, Loadable)
    assert one.total("Patient", []) == 33
    blocks = one.load(feed, "Patient", [], "")  # type: ignore[arg-type]
    place = [next(blocks).place for _ in range(3)][-1]
    assert len(feed.told) < 33
    told = sum(block.told for block in source(emr, sort=sort).load(feed, "Patient", [], place))  # type: ignore[arg-type]
    assert told > 0
    assert sorted(feed.versions()) == sorted(every(emr))
    emr.expired_links = 0 if sort else 1  # a place that is a moment needs no link
    again = sum(block.told for block in source(emr, sort=sort).load(feed, "Patient", [], place))  # type: ignore[arg-type]
    assert again == 0


def test_a_load_takes_conditions_of_the_server(emr: EmrPeer) -> None:
    fill(emr, 20)
    stamp(emr, lambda n: f"2026-01-{1 + n:02d}T00:00:00.000Z")
    feed, where = Handed(), [Condition("_lastUpdated", ">=", "2026-01-16T00:00:00.000Z")]
    one = source(emr, sort=False)
    assert one.total("Patient", where) == 5
    assert sum(block.read for block in one.load(feed, "Patient", where, "")) == 5  # type: ignore[arg-type]
    with pytest.raises(Misconfigured, match="write it into kinds"):
        one.total("Encounter", [])


@pytest.mark.parametrize("everything", [True, False])
def test_one_patient_now_with_all_that_is_his(emr: EmrPeer, everything: bool) -> None:
    number = {"system": "urn:oid:1.2.3", "value": "00012345"}
    mine = emr.put({"identifier": [number], "name": [{"text": "홍길동"}]})
    other = emr.put({"identifier": [number | {"value": "9"}], "name": [{"text": "뷁"}]})
    for owner in (mine, mine, other):
        emr.put({"resourceType": "Encounter", "subject": {"reference": f"Patient/{owner}"}, "status": "finished"})
    emr.put({"resourceType": "Appointment", "participant": [{"actor": {"reference": f"Patient/{mine}"}}]})
    emr.offers_everything = everything
    one = source(emr, kinds=["Patient", "Encounter", "Appointment"])
    for asked in ("00012345", "urn:oid:1.2.3|00012345", f"Patient/{mine}"):
        feed = Handed()
        assert one.request(feed, "Patient", asked, ()) == 4  # type: ignore[arg-type]
        assert [found["resourceType"] for found in feed.told] == ["Patient", "Encounter", "Encounter", "Appointment"]
    assert one.request(Handed(), "Patient", "no such", ()) == 0  # type: ignore[arg-type]


def circle(peer: EmrPeer) -> None:
    """Every page says that it is followed by the second one."""
    original = peer._page

    def same(request: Any, kind: str, asked: dict[str, list[str]], type_: str, entries: list[dict[str, Any]]) -> bytes:
        return original(request, kind, {**asked, "_offset": ["0"], "_count": ["1"]}, type_, entries)

    peer._page = same  # type: ignore[method-assign]


@pytest.mark.parametrize("sort", [True, False])
@pytest.mark.parametrize("way", ["poll", "load", "request"])
def test_no_way_of_reading_goes_round_for_ever(emr: EmrPeer, way: str, sort: bool) -> None:
    fill(emr, 12)
    emr.put({"resourceType": "Encounter", "id": "v", "subject": {"reference": "Patient/p1"}, "reason": ["Patient/p1"]})
    stamp(emr, MOMENTS["all at one moment"])
    emr.offers_everything = True
    circle(emr)
    one, feed = source(emr, sort=sort, kinds=["Patient", "Encounter"], count=1), Handed()
    with pytest.raises(Misconfigured, match="circle"):
        if way == "poll":
            drain(one, feed)
        elif way == "load":
            list(one.load(feed, "Patient", [], ""))  # type: ignore[arg-type]
        else:
            one.request(feed, "Patient", "Patient/p1", ())  # type: ignore[arg-type]


def test_an_order_to_end_is_heard_within_a_moment_of_many_pages(emr: EmrPeer) -> None:
    """And the moment is read to its end by the polls that follow, however short they are."""
    fill(emr, 50)
    stamp(emr, MOMENTS["all at one moment"])
    feed, one = Handed(), source(emr)
    drain(one, Handed())
    one, feed.end = source(emr), True
    polls = 0
    while polls < 100:
        polls += 1
        before = len(feed.told)
        one.poll(feed)  # type: ignore[arg-type]
        assert len(feed.told) - before <= 5
        if one.pause_seconds:
            break
    assert 10 < polls < 100
    assert sorted(feed.versions()) == sorted(every(emr))


@pytest.mark.parametrize("sort", [True, False])
def test_conditions_stand_in_no_url(emr: EmrPeer, sort: bool) -> None:
    """A patient's number would be in the access log of every proxy on the way: pages after the first one, too."""
    for n in range(12):
        emr.put({"id": f"p{n}", "identifier": [{"value": "00012345" if n else "1"}]})
    asked: list[str] = []
    answer = emr.answer

    def noted(request: Any) -> bytes:
        asked.append(f"{request.method} {request.target}")
        return answer(request)

    emr.answer = noted  # type: ignore[method-assign]
    one, where, feed = source(emr, sort=sort), [Condition("identifier", "=", "00012345")], Handed()
    assert one.total("Patient", where) == 11
    places = [block.place for block in one.load(feed, "Patient", where, "")]  # type: ignore[arg-type]
    list(one.load(feed, "Patient", where, places[0]))  # type: ignore[arg-type]
    assert len({found["id"] for found in feed.told}) == 11
    assert one.request(feed, "Patient", "00012345", ()) == 11  # type: ignore[arg-type]
    assert len(asked) > 4
    assert not any("00012345" in one for one in asked)
