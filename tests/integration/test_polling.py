"""Polled sources: rows become messages once, whatever dies between; a channel that fails is said once and tried again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.bootstrap import channels
from hub.bootstrap.channels import RowMapper
from hub.bootstrap.poll import HangingError, Poller, Pollers
from hub.config import Channel
from hub.domain.errors import Misconfigured, NotDelivered
from hub.domain.facts import Key
from hub.domain.ports import Feed, Found, Received
from hub.mapping import load_maps
from hub.sync.polled import PolledFeed
from tests.hub_kit import Kit, row_map

MAP = row_map(
    '"SNAME" = { to = "name", as = "xpn", each = true }',
    '"REMARK" = { to = "note" }',
)


def found(number: str, **columns: Any) -> Found:
    return Found({"PANO": number}, {"PANO": number, **columns})


@pytest.fixture
def rows(kit: Kit, tmp_path: Path) -> Kit:
    """`kit`, whose channel ocs-in carries rows."""
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "legacy.toml").write_text(MAP, encoding="utf-8")
    kit.hub.maps = load_maps([tmp_path / "maps"])
    channel = kit.hub.config.channels["ocs-in"]
    inbound = dict(kit.hub._inbound)
    inbound["ocs-in"] = replace(inbound["ocs-in"], mapper=RowMapper(channel, kit.hub.maps))
    kit.hub._inbound = inbound
    return kit


@pytest.fixture
def feed(rows: Kit) -> PolledFeed:
    poller = Poller(rows.hub, rows.hub.config.channels["ocs-in"], lambda: None)
    return poller._feed


def bodies(kit: Kit) -> list[tuple[str, str]]:
    return [(str(a), str(b)) for a, b in kit.rows("SELECT type, patient_no FROM message WHERE direction = 'in' ORDER BY id")]


def test_a_row_becomes_a_message_once_and_again_when_it_changes_and_when_it_changes_back(rows: Kit, feed: PolledFeed) -> None:
    first, second = found("00012345", SNAME="홍길동", REMARK="뷁"), found("00012345", SNAME="홍길동", REMARK="펲시콜라")
    assert [feed.rows("OPD_PATIENT", [one]) for one in (first, first, second, second, first, first)] == [1, 0, 1, 0, 1, 0]
    rows.apply()
    assert bodies(rows) == [("OPD_PATIENT", "00012345")] * 3
    assert rows.patient("00012345")["note"] == "뷁"
    assert {rows.state(i) for (i,) in rows.rows("SELECT id FROM message WHERE direction = 'in'")} == {"done/applied"}


def test_mark_and_message_are_one_commit(rows: Kit, feed: PolledFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dies after the commit finds nothing new; whoever dies before finds the row again."""

    def die(batch: list[Received]) -> Any:
        raise KeyboardInterrupt

    one = found("1", SNAME="남궁민수")
    with monkeypatch.context() as patched:
        patched.setattr(feed, "store", die)
        with pytest.raises(KeyboardInterrupt):
            feed.rows("OPD_PATIENT", [one])
    assert rows.rows("SELECT * FROM mark") == []
    stored = feed.store

    def die_later(batch: list[Received]) -> Any:
        stored(batch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(feed, "store", die_later)
        with pytest.raises(KeyboardInterrupt):
            feed.rows("OPD_PATIENT", [one])
    assert feed.rows("OPD_PATIENT", [one]) == 0
    assert len(bodies(rows)) == 1


def test_two_that_poll_one_table_make_one_message(rows: Kit, feed: PolledFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(feed, "_marks", lambda digests: {})  # both looked before either had stored
        assert [feed.rows("OPD_PATIENT", [found("1")]) for _ in range(2)] == [1, 1]
    assert len(bodies(rows)) == 1


def test_keys_that_do_not_tell_rows_apart_are_a_misconfiguration(feed: PolledFeed) -> None:
    with pytest.raises(Misconfigured, match="same key"):
        feed.rows("OPD_PATIENT", [found("1", SNAME="a"), found("1", SNAME="b")])


def test_rows_that_are_gone_are_told_by_their_keys_and_may_come_back(rows: Kit, feed: PolledFeed) -> None:
    seen: set[bytes] = set()
    feed.rows("OPD_PATIENT", [found("1"), found("2")], seen)
    assert feed.known() == seen
    (lost,) = [digest for digest, name in feed.names(sorted(seen)) if name == {"PANO": "2"}]
    assert feed.gone("OPD_PATIENT", [lost]) == 1
    assert feed.known() == seen - {lost}
    assert feed.gone("OPD_PATIENT", [lost]) == 0
    assert feed.rows("OPD_PATIENT", [found("1"), found("2")]) == 1
    assert [number for _, number in bodies(rows)] == ["1", "2", "2", "2"]


def test_places_are_kept(rows: Kit, feed: PolledFeed) -> None:
    assert feed.place("cursor") == ""
    feed.keep("cursor", "2026-11-22 09:00:00")
    feed.keep("cursor", "2026-11-22 10:00:00")
    assert feed.place("cursor") == "2026-11-22 10:00:00"
    assert feed.known() == set()


def test_nothing_of_a_row_stands_in_the_clear(rows: Kit, feed: PolledFeed) -> None:
    feed.rows("OPD_PATIENT", [found("00012345", SNAME="홍길동")])
    text = repr(rows.rows("SELECT channel, key, value, name, n FROM mark")) + repr(rows.rows("SELECT control_id FROM message"))
    assert "12345" not in text
    assert "홍길동" not in text


class FakeSource:
    """Fails as told; else hands on one row a poll."""

    pause_seconds = 0.01

    def __init__(self) -> None:
        self.polls = 0
        self.error: Exception | None = None
        self.closed = 0

    def poll(self, feed: Feed) -> int:
        self.polls += 1
        if self.error is not None:
            raise self.error
        return feed.rows("OPD_PATIENT", [found(str(self.polls))])

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> FakeSource:
    made = FakeSource()
    monkeypatch.setattr(channels, "build_source", lambda channel: made)
    return made


def test_a_failing_channel_is_said_once_and_polled_with_growing_pauses(
    rows: Kit, source: FakeSource, caplog: pytest.LogCaptureFixture
) -> None:
    poller = Poller(rows.hub, rows.hub.config.channels["ocs-in"], lambda: None)
    source.error = NotDelivered("the source does not answer")
    assert [poller.round() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert sum("polling failed" in record.message for record in caplog.records) == 1
    assert source.closed == 8
    alerts = "SELECT text FROM alert WHERE cleared_at IS NULL AND kind = 'poll_failing'"
    assert rows.rows(alerts) == [("the source does not answer",)]
    source.error = ZeroDivisionError()  # our bug: the channel goes on all the same
    assert poller.round() == 60
    source.error = None
    assert poller.round() == source.pause_seconds
    assert rows.rows(alerts) == []
    source.error = NotDelivered("the source does not answer")
    assert poller.round() == 1


def test_a_paused_channel_is_not_polled(rows: Kit, source: FakeSource) -> None:
    poller = Poller(rows.hub, rows.hub.config.channels["ocs-in"], lambda: None)
    rows.hub.operations.pause("ocs-in", reason="test", actor="cli:test")
    poller.round()
    assert source.polls == 0
    rows.hub.operations.resume("ocs-in", reason="test", actor="cli:test")
    poller.round()
    assert source.polls == 1


def test_a_full_hub_takes_no_rows(rows: Kit, source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.bootstrap.poll.why_full", lambda hub: "the disk is nearly full")
    poller = Poller(rows.hub, rows.hub.config.channels["ocs-in"], lambda: None)
    assert poller.round() == 1
    assert (source.polls, bodies(rows)) == (0, [])


@pytest.fixture
def pollers(rows: Kit, source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Channel]]:
    """The channels that are polled; changed by the test as a reload does it."""
    monkeypatch.setattr("hub.bootstrap.poll.LOOK_SECONDS", 0.02)
    wanted = {"ocs-in": rows.hub.config.channels["ocs-in"]}
    monkeypatch.setattr(channels, "polled", lambda config: dict(wanted))
    stop = threading.Event()
    thread = threading.Thread(target=Pollers(rows.hub, lambda: None).run, args=(stop,))
    thread.start()
    yield wanted
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_reload_ends_begins_and_changes_pollers(rows: Kit, source: FakeSource, pollers: dict[str, Channel]) -> None:
    until(lambda: source.polls > 2)
    pollers["ocs-in"] = replace(pollers["ocs-in"], assigner="OTHER")
    until(lambda: source.closed == 1)
    before = source.polls
    until(lambda: source.polls > before)
    del pollers["ocs-in"]
    until(lambda: source.closed == 2)
    count = source.polls
    time.sleep(0.1)
    assert source.polls == count


def test_the_patient_of_a_row_is_found_by_the_maps_key(rows: Kit, feed: PolledFeed) -> None:
    assert feed._patient_of("OPD_PATIENT", {"PANO": "7  "}) == Key("HOSP", "7")
    assert feed._patient_of("OPD_PATIENT", {"PANO": None}) is None
    assert feed._patient_of("OTHER", {"PANO": "7"}) is None


def test_a_row_without_a_map_is_ignored_and_one_without_its_number_is_dead(rows: Kit, feed: PolledFeed) -> None:
    feed.rows("OTHER", [found("1")])
    feed.rows("OPD_PATIENT", [Found({"ID": 1}, {"PANO": " "})])
    rows.apply()
    assert [rows.state(i) for (i,) in rows.rows("SELECT id FROM message ORDER BY id")] == ["done/ignored", "dead"]


def test_a_poll_that_never_ends_ends_its_process(rows: Kit, source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor starts it again; here: the role ends by an error."""
    held = threading.Event()
    monkeypatch.setattr(source, "poll", lambda feed: held.wait(20))
    monkeypatch.setattr("hub.bootstrap.poll.HANG_SECONDS", 0.2)
    monkeypatch.setattr("hub.bootstrap.poll.LOOK_SECONDS", 0.05)
    monkeypatch.setattr(channels, "polled", lambda config: {"ocs-in": rows.hub.config.channels["ocs-in"]})
    pollers, stop = Pollers(rows.hub, lambda: None), threading.Event()
    with pytest.raises(HangingError):
        pollers.run(stop)
    for poller in pollers._running.values():
        poller.stop.set()
        held.set()
        poller.join(10)
