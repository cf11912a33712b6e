"""What is asked of an entity set, what its entities are as rows, and how far a polling has come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.adapters.erp.odata_in_progress import Progress
from hub.codecs.sap import odata_feed
from hub.domain.errors import Unreadable

DAY, FIRST, LAST = "/Date(1795219200000)/", "/Date(-62135769600000)/", "/Date(253402214400000)/"


def test_an_entity_is_a_row_without_what_belongs_to_the_protocol() -> None:
    entity = {
        "__metadata": {"etag": "W/1"}, "Name": "홍길동",
        "to_Many": {"results": [{"__metadata": {}, "City": "서울"}, {"City": None}]},
        "to_One": {"__metadata": {}, "Customer": "1"}, "to_None": None, "to_Empty": {"results": []},
        "to_Later": {"__deferred": {"uri": "http://other"}}, "Plain": [1, "a"],
    }  # fmt: skip
    assert odata_feed.row_of(entity) == {
        "Name": "홍길동", "to_Many": [{"City": "서울"}, {"City": None}], "to_One": {"Customer": "1"}, "to_None": None,
        "to_Empty": [], "Plain": [1, "a"],
    }  # fmt: skip


@pytest.mark.parametrize("wrap", [lambda one: {"a": one}, lambda one: {"a": {"results": [one]}}, lambda one: [one]])
def test_what_is_nested_without_end_is_refused(wrap: Any) -> None:
    made: Any = "x"
    for _ in range(100):
        made = wrap(made)
    with pytest.raises(Unreadable, match="levels"):
        odata_feed.row_of({"a": made})


@pytest.mark.parametrize("key", [{"A": "1"}, {"A": "1", "B": ""}, {"A": "1", "B": None}, {"A": "1", "B": {}}])
def test_a_key_is_whole_or_none(key: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match="without its key B"):
        odata_feed.key_of(key, ("A", "B"))


def test_the_latest_of_what_an_entity_says_of_its_changes() -> None:
    entity = {"A": DAY, "B": FIRST, "C": LAST, "T": "PT9H5M", "N": None}
    assert odata_feed.changed_on(entity, ("A", "B", "C", "N")) == "2026-11-21"
    assert odata_feed.changed_on(entity, ("B", "A"), ("T", "T")) == "2026-11-21T09:05:00"
    assert odata_feed.changed_on(entity, ("A",), ("N",)) == "2026-11-21T00:00:00"
    assert odata_feed.changed_on(entity, ("B", "C", "N")) is None
    assert odata_feed.changed_at({"A": "/Date(1795219200000+0540)/"}, "A") == "2026-11-21T00:00:00"
    assert odata_feed.changed_at(entity, "C") is None


@pytest.mark.parametrize("text", ["", "PT25H", "PT1H60M", "09:00", "PT-1H", None, 9])
def test_what_is_no_time_of_day(text: object) -> None:
    assert odata_feed.time_of_day(text) is None


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_key_gets_out_of_its_literal(one: str, other: str) -> None:
    text = odata_feed.behind(("A", "B"), {"A": one, "B": other})
    for value in (one, other):
        text = text.replace("'" + value.replace("'", "''") + "'", "?", 2)
    assert text.replace("?", "") == text.replace("'", "").replace("?", "")


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("O'Brien", "'O''Brien'"),
        ("2026-11-21", "datetime'2026-11-21T00:00:00'"),
        ("12.5m", "12.5m"),
        ("true", "true"),
        ("1000", "'1000'"),
        ("datetimeoffset'2026-11-21T00:00:00Z'", "datetimeoffset'2026-11-21T00:00:00Z'"),
        ("datetime'x' or 1 eq 1", "'datetime''x'' or 1 eq 1'"),
    ],
)
def test_a_value_of_a_command_line_as_a_literal(value: str, literal: str) -> None:
    assert odata_feed.typed(value) == literal


@given(st.lists(st.integers(1, 28), min_size=1, max_size=20), st.integers(1, 28))
def test_a_bound_never_goes_back_and_never_beyond_what_was_seen(days: list[int], settled: int) -> None:
    progress = Progress.new(0, "set", None)
    bounds = []
    for number, day in enumerate(days):
        progress.begins()
        progress.came_to({"A": str(number)}, f"2026-11-{day:02d}")
        progress = Progress.loads(progress.dumps(), 0, "set") or progress
        progress.ended(f"2026-11-{settled:02d}")
        bounds.append(progress.mark.low or "")
    assert bounds == sorted(bounds)
    assert bounds[-1] <= f"2026-11-{max(days):02d}"


def test_a_place_of_another_question_is_no_place() -> None:
    progress = Progress.new(0, "set", "2026-11-01")
    progress.begins()
    progress.came_to({"A": "7"}, None)
    again = Progress.loads(progress.dumps(), 0, "set")
    assert again is not None
    assert (again.after, again.mark.low, again.began) == ({"A": "7"}, "2026-11-01", progress.began)
    assert Progress.loads(progress.dumps(), 0, "other set") is None
    assert Progress.loads("", 0, "set") is None
