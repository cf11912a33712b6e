"""Two that read one row at a time, a load and a poll: whoever stores later what was read earlier must not have the last word."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hub.domain.errors import TryAgain
from hub.domain.ports import Found, Received
from hub.domain.store import Conflict
from hub.sync.load import Load
from hub.sync.polled import PolledFeed, read_row
from tests.hub_kit import Kit
from tests.integration import odbc_kit
from tests.integration.odbc_kit import Bench, poll, source

WAYS: dict[str, dict[str, Any]] = {
    "cursor": {"cursor": ["upd"]},
    "flag": {"flag": {"column": "if_yn"}},
    "log": {"log": {"table": "plog", "order": "id"}},
}


class SlowFeed(PolledFeed):
    """`meanwhile` happens once: after the source was read, before the marks are or before the first portion is stored."""

    meanwhile: Callable[[], Any] | None = None
    early = False

    def rows(self, event: str, found: Sequence[Found], seen: set[bytes] | None = None) -> int:
        if self.early and found:
            self._happen()
        return super().rows(event, found, seen)

    def store(self, batch: Sequence[Received], place: tuple[str, str] | None = None) -> Any:
        self._happen()
        return super().store(batch, place)

    def _happen(self) -> None:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()


class Table:
    """Rows a and b of an old system, one of them known to the hub; and who reads them."""

    def __init__(self, kit: Kit, folder: Path, way: str) -> None:
        self._legacy = odbc_kit.sqlite(folder, "utf-8")
        self._legacy.write("CREATE TABLE patient (pano TEXT PRIMARY KEY, name TEXT, upd INTEGER, if_yn TEXT)")
        self._legacy.write("CREATE TABLE plog (id INTEGER PRIMARY KEY, pano TEXT)")
        self._kit, self._way, self._ticks = kit, WAYS[way], itertools.count(1)
        self.bench = Bench(kit)
        self.poller, self.loader = self._source(), self._source()
        self.feed = self._feed(later=False)
        self.load_feed = self._feed(later=True)
        self._legacy.write("INSERT INTO patient VALUES ('a', 'first', 0, 'N')")
        for _ in range(3):
            self.poll()
        self._legacy.write("INSERT INTO patient VALUES ('b', 'first', NULL, 'Y')")
        self.bench.taken.clear()

    def _source(self) -> Any:
        return source(self._legacy, columns=["pano", "name"] if "log" in self._way else [], **self._way)

    def _feed(self, *, later: bool) -> SlowFeed:
        hub = self._kit.hub
        return SlowFeed("ocs-in", hub.store, hub.keys, self.bench, lambda event, row: None, later=later)

    def write(self, name: str, *, said: bool) -> None:
        """`said`: the table says so, as a poll notices it."""
        self._legacy.write("UPDATE patient SET name = ?", [name])
        if said:
            self._legacy.write("UPDATE patient SET if_yn = 'N', upd = ?", [next(self._ticks)])
            self._legacy.write("INSERT INTO plog (pano) SELECT pano FROM patient")

    def poll(self) -> None:
        """As hub.bootstrap.poll does."""
        self.feed.looking()
        try:
            poll(self.poller, self.feed)
        except Conflict:
            self.poller.close()
            self.poller = self._source()

    def load(self) -> None:
        *_, last = Load(self.loader, self.load_feed, self._kit.hub.keys, "Patient", sleep=lambda _: None).run(afresh=True)
        assert last.ended

    def told(self) -> list[tuple[str, str]]:
        return sorted({row["pano"]: row["name"] for _, row in self.bench.taken}.items())  # the last of each

    def left(self) -> tuple[int, int]:
        """Rows that are not acknowledged, and entries of the log."""
        (flagged,) = self._legacy.write("SELECT count(*) FROM patient WHERE if_yn <> 'Y'").fetchone()
        (logged,) = self._legacy.write("SELECT count(*) FROM plog").fetchone()
        return (flagged if "flag" in self._way else 0, logged if "log" in self._way else 0)


@pytest.mark.parametrize("early", [True, False], ids=["before-marks", "after-marks"])
@pytest.mark.parametrize("way", WAYS)
def test_what_a_load_read_before_a_poll_does_not_stay(kit: Kit, tmp_path: Path, way: str, early: bool) -> None:
    table = Table(kit, tmp_path, way)
    table.write("old", said=False)

    def meanwhile() -> None:
        table.write("new", said=True)
        table.poll()

    table.load_feed.meanwhile, table.load_feed.early = meanwhile, early
    table.load()
    assert [read_row(body)[1]["name"] for body in stored(kit)].count("old") == 0
    assert table.told() == [("a", "new"), ("b", "new")]
    table.poll()
    assert table.left() == (0, 0)


@pytest.mark.parametrize("early", [True, False], ids=["before-marks", "after-marks"])
@pytest.mark.parametrize("way", WAYS)
def test_what_a_poll_read_before_a_load_does_not_stay(kit: Kit, tmp_path: Path, way: str, early: bool) -> None:
    table = Table(kit, tmp_path, way)
    table.write("old", said=True)

    def meanwhile() -> None:
        table.write("new", said=False)
        table.load()

    table.feed.meanwhile, table.feed.early = meanwhile, early
    table.poll()
    assert table.told() == [("a", "new"), ("b", "new")]
    assert table.left() != (0, 0) or way == "cursor"  # not acknowledged: it is read again
    table.write("newest", said=False)
    table.poll()
    assert table.told() == [("a", "newest"), ("b", "newest")]  # by a cursor too
    assert table.left() == (0, 0)


def test_two_polls_of_one_row_make_one_message(kit: Kit, tmp_path: Path) -> None:
    table = Table(kit, tmp_path, "cursor")
    table.write("new", said=True)
    other = Table.__new__(Table)
    other.__dict__ |= table.__dict__ | {"feed": table._feed(later=False), "poller": table._source()}
    table.feed.meanwhile = other.poll
    table.poll()
    assert table.told() == [("a", "new"), ("b", "new")]
    assert len(stored(kit)) == 3  # the first poll's one


def stored(kit: Kit) -> list[bytes]:
    """Bodies of all messages."""
    rows = kit.rows("SELECT id, body FROM message WHERE channel = 'ocs-in' ORDER BY id")
    return [kit.hub.keys.open_("message", number, bytes(body)) for number, body in rows]


def test_three_hubs_that_read_one_table_never_go_back(kit: Kit) -> None:
    state, lock, errors = dict.fromkeys(range(60), 0), threading.Lock(), list[BaseException]()

    def some_read(chance: random.Random) -> list[Found]:
        with lock:
            for number in chance.sample(range(60), 5):
                state[number] += 1
            rows = [Found({"k": k}, {"k": k, "v": v}) for k, v in state.items()]
        return sorted(rows, key=lambda _: chance.random())

    def hub(seed: int) -> None:
        chance = random.Random(seed)
        feed = PolledFeed("ocs-in", kit.hub.store, kit.hub.keys, kit.hub.intake(), lambda event, row: None, later=bool(seed % 2))
        try:
            for _ in range(15):
                feed.looking()
                with suppress(TryAgain):  # read again
                    feed.rows("E", some_read(chance))
        except BaseException as error:
            errors.append(error)
        finally:
            kit.hub.store.close()

    threads = [threading.Thread(target=hub, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    rows = [read_row(body)[1] for body in stored(kit)]
    told: dict[int, list[int]] = {}
    for row in rows:
        told.setdefault(row["k"], []).append(row["v"])
    assert all(values == sorted(set(values)) for values in told.values())  # each once, and in order
    (numbers,) = kit.rows("SELECT count(*), count(DISTINCT control_id) FROM message")
    assert numbers == (len(rows), len(rows))
