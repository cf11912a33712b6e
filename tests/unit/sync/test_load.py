"""A load's life: blocks, places, a source that goes away and comes back, an end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from hub.db.crypt import KeyRing
from hub.domain.errors import Misconfigured, NotDelivered
from hub.domain.ports import Condition, Feed, Loaded
from hub.sync.load import Load

KEYS = KeyRing({1: b"k" * 32}, b"d" * 32)


class Places:
    """As much of a feed as a load needs."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.ended = False
        self.looks = 0

    def place(self, name: str) -> str:
        return self.kept.get(name, "")

    def keep(self, name: str, place: str) -> None:
        self.kept[name] = place

    def looking(self) -> None:
        self.looks += 1

    def ending(self) -> bool:
        return self.ended


class Rows:
    """A source of ten rows in blocks of two; fails before the blocks that `fails` names, once each."""

    def __init__(self, *fails: int) -> None:
        self.fails = list(fails)
        self.read: list[int] = []

    def total(self, kind: str, where: Sequence[Condition]) -> int:
        if kind != "Patient":
            raise Misconfigured("no such kind")
        return 10

    def load(self, feed: Feed, kind: str, where: Sequence[Condition], place: str) -> Iterator[Loaded]:
        for first in range(int(place or 0), 10, 2):
            if first in self.fails:
                self.fails.remove(first)
                raise NotDelivered("the database cannot be reached")
            self.read += [first, first + 1]
            yield Loaded(str(first + 2), 2, 1)

    def request(self, feed: Feed, kind: str, number: str, columns: Sequence[str]) -> int:
        return 0

    def close(self) -> None:
        return


def load(source: Rows, places: Places, *where: Condition, kind: str = "Patient") -> Load:
    return Load(source, places, KEYS, kind, where, sleep=lambda _: None)  # type: ignore[arg-type]


def test_a_source_that_goes_away_is_waited_for() -> None:
    source = Rows(0, 4, 8)
    seen = list(load(source, Places()).run())
    assert source.read == list(range(10))
    assert [one.trouble for one in seen if one.trouble] == ["the database cannot be reached"] * 3
    assert (seen[-1].read, seen[-1].told, seen[-1].total, seen[-1].ended) == (10, 5, 10, True)


def test_an_interrupted_load_goes_on_and_an_ended_one_begins_anew() -> None:
    places = Places()
    first = Rows()
    for progress in load(first, places).run():
        places.ended = progress.read == 4  # after the block in hand
    places.ended = False
    second = Rows()
    assert [one.read for one in load(second, places).run()][-1] == 10
    assert (first.read, second.read) == ([0, 1, 2, 3], [4, 5, 6, 7, 8, 9])
    third = Rows()
    list(load(third, places).run())
    assert third.read == list(range(10))


def test_a_load_is_told_apart_by_its_kind_and_conditions_and_begun_afresh_on_demand() -> None:
    places = Places()
    for progress in load(Rows(), places).run():
        places.ended = progress.read == 4
    places.ended = False
    other, same = Rows(), Rows()
    list(load(other, places, Condition("A", "=", "1")).run())
    list(load(same, places).run(afresh=True))
    assert other.read == same.read == list(range(10))


def test_what_a_person_must_put_right_ends_it() -> None:
    with pytest.raises(Misconfigured):
        list(load(Rows(), Places(), kind="Encounter").run())


def test_places_and_conditions_are_kept_sealed() -> None:
    places = Places()
    list(load(Rows(), places, Condition("PANO", "=", "8001019999999")).run())
    ((name, place),) = places.kept.items()
    assert "8001019999999" not in name + place
    assert "PANO" not in name
    assert '"10"' not in place


def test_progress_says_what_is_left() -> None:
    seen = list(load(Rows(), Places()).run())
    assert all(one.rate > 0 for one in seen[:-1])
    assert seen[0].seconds_left is not None
    assert seen[-1].seconds_left == 0
