"""Studies that are gone from a PACS, and a log that was begun anew: what is told of them, and what is taken for a mistake."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from hub.adapters.pacs.orthanc import Line, Orthanc, Settings, places
from hub.adapters.pacs.studies import KEY, ByDay, WindowSettings, found
from hub.domain.errors import Misconfigured
from hub.domain.ports import Found

TODAY, YESTERDAY = (
    f"{dt.datetime.now(ZoneInfo('Asia/Seoul')).date() - dt.timedelta(days=ago):%Y%m%d}" for ago in range(2)
)  # fmt: skip
UNTIL = "StableStudy"


class Feed:
    """What is known, by digests that are the study's UID itself."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.told: list[str] = []

    def looking(self) -> None:
        pass

    def ending(self) -> bool:
        return False

    def place(self, name: str) -> str:
        return self.places.get(name, "")

    def keep(self, name: str, place: str) -> None:
        self.places[name] = place

    def rows(self, event: str, rows: Sequence[Found], seen: set[bytes] | None = None) -> int:
        if seen is not None:
            seen |= {str(row.key[KEY]).encode() for row in rows}
        return len(rows)

    def names(self, digests: Sequence[bytes]) -> list[tuple[bytes, dict[str, Any]]]:
        return [(digest, {KEY: digest.decode()}) for digest in digests]

    def gone(self, event: str, digests: Sequence[bytes]) -> int:
        self.told += [digest.decode() for digest in digests]
        return len(digests)


class Pacs:
    """Study UID -> study date."""

    def __init__(self, **more: Any) -> None:
        self.there = {f"1.2.3.{n}": TODAY if n < 400 else YESTERDAY for n in range(500)}
        self.feed: Any = Feed()
        self.source = ByDay(WindowSettings(gone_event="dicom.study_gone", **more), "pacs", self.find)

    def find(self, keys: Mapping[str, str]) -> Generator[Found]:
        for number, day in list(self.there.items()):
            if keys.get("StudyDate", day) == day and keys.get(KEY, number) == number:
                yield found({KEY: number})

    def poll(self) -> list[str]:
        """What is told as gone."""
        self.source.poll(self.feed)
        told: list[str] = self.feed.told
        self.feed.told = []
        return told


def test_an_empty_answer_withdraws_nothing() -> None:
    """An index that is being rebuilt, an AE title that lost its rights: the channel complains until it is as it was."""
    pacs = Pacs()
    assert pacs.poll() == []
    before, pacs.there = pacs.there, {}
    for _ in range(2):
        with pytest.raises(Misconfigured, match="400 of 400 studies"):
            pacs.poll()
    pacs.there = before
    assert pacs.poll() == []
    assert pacs.feed.told == []


def test_what_is_really_gone_is_told_and_a_day_that_is_doubted_keeps_no_other_from_it() -> None:
    pacs = Pacs()
    pacs.poll()
    kept = {number: day for number, day in pacs.there.items() if day == YESTERDAY}
    (first, *_), pacs.there = kept, kept
    del kept[first]
    with pytest.raises(Misconfigured, match="400 of 400"):
        pacs.poll()
    assert pacs.feed.told == [first]
    pacs = Pacs(most_gone=1.0)
    pacs.poll()
    pacs.there = {}
    assert len(pacs.poll()) == 500


def resource(n: int) -> str:
    return "-".join(f"{n:08x}" for _ in range(5))


class Log:
    """Orthanc's log: a line each for study, series and instance, as long as they are there."""

    def __init__(self, year: int, studies: int) -> None:
        self.lines = [
            {"Seq": n * 2 + k, "ID": resource(n * 2 + k), "Date": f"{year}1122T100000", "ResourceType": kind, "ChangeType": UNTIL}
            for n in range(studies)
            for k, kind in ((1, "Series"), (2, "Study"))
        ]

    def without(self, *studies: int) -> Log:
        self.lines = [one for one in self.lines if (one["Seq"] - 1) // 2 not in studies]  # type: ignore[operator]
        return self

    def __call__(self, path: str, *, there: bool = True) -> Any:
        if path.startswith("/changes"):
            since, limit = (int(path.split(name)[1].split("&")[0]) for name in ("since=", "limit="))
            page = [one for one in self.lines if one["Seq"] > since][:limit]  # type: ignore[operator]
            last = page[-1]["Seq"] if page else self.lines[-1]["Seq"] if self.lines else 0
            return {"Changes": page, "Last": last, "Done": not page or page[-1] == self.lines[-1]}
        self.asked.append(path.split("?")[0].rpartition("/")[2])
        return None

    asked: list[str]


def poll(log: Log, feed: Any) -> list[str]:
    """Which studies are asked for."""
    source = Orthanc(Settings.from_table({"url": "http://orthanc.example", "count": 5}), "x")
    log.asked = []
    source._get = log  # type: ignore[method-assign]
    source.poll(feed)
    return log.asked


ALL = [resource(n * 2 + 2) for n in range(40)]


def test_a_log_goes_on_where_it_was_read_whatever_was_deleted() -> None:
    feed = Feed()
    assert poll(Log(2026, 30), feed) == ALL[:30]
    assert poll(Log(2026, 30), feed) == []
    assert poll(Log(2026, 32).without(29), feed) == ALL[30:32]
    assert poll(Log(2026, 33).without(29, 30, 31), feed) == ALL[32:33]


@pytest.mark.parametrize("gone", [[], [29], [29, 28], [29, 28, 27, 26, 25]])
def test_a_log_that_was_begun_anew_is_read_from_its_beginning(gone: list[int]) -> None:
    """Also where it is longer by now, and the line that has our number was taken out with its study."""
    feed = Feed()
    poll(Log(2026, 30), feed)
    assert poll(Log(2027, 40).without(*gone), feed) == [one for n, one in enumerate(ALL) if n not in gone]
    assert poll(Log(2027, 40).without(*gone), feed) == []


def test_a_log_that_is_empty_is_no_trouble() -> None:
    feed = Feed()
    poll(Log(2026, 30), feed)
    assert poll(Log(2026, 0), feed) == []
    assert poll(Log(2026, 3), feed) == ALL[:3]


def test_a_place_of_an_earlier_version_is_understood() -> None:
    assert places("30 x 20260101T000000") == [Line(30, "x 20260101T000000")]
    assert places("0 ") == places("") == []
