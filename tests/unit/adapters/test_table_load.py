"""A table read whole, without a database: blocks end, whatever a driver makes of a key."""

from __future__ import annotations

from typing import Any

import pytest

from hub.adapters.sql.clean import Cleaner
from hub.adapters.sql.load import TableLoad
from hub.adapters.sql.select import Relation
from hub.domain.errors import Misconfigured
from hub.domain.ports import Found
from hub.transport.odbc import PROFILES


class Rounding:
    """A database whose keys are 1.1 and 1.20000005; its driver says 1.2, behind which the second is found again."""

    profile = PROFILES["sqlite"]

    def __init__(self) -> None:
        self.asked: list[str] = []

    def select(self, sql: str, _parameters: Any = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        self.asked.append(sql)
        assert len(self.asked) < 10, "for ever"
        return ["k"], [(1.1,), (1.2,)]


class Feed:
    def rows(self, _event: str, _found: list[Found]) -> int:
        return 0


@pytest.mark.parametrize("place", ["", "[1.1]"])
def test_a_key_that_does_not_come_back_exactly_is_not_loaded_for_ever(place: str) -> None:
    database: Any = Rounding()
    feed: Any = Feed()
    load = TableLoad(Relation("t", "*"), database, Cleaner(False, "utf-8", {}, ["k"]), ["k"], 2, "E")
    with pytest.raises(Misconfigured, match="again and again"):
        list(load.load(feed, (), place))
    assert "WHERE" in database.asked[-1]
