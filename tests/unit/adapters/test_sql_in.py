"""Old tables without a database: watermarks under every order of commits, names in SQL, settings, what drivers say."""

# ruff: noqa: DTZ001 - databases keep local times without a zone

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.adapters.ocs.sql_in import Settings, build
from hub.adapters.sql.clean import Cleaner
from hub.adapters.sql.select import Relation, name
from hub.adapters.sql.watermark import Watermark, ceiling, dumps, loads
from hub.domain.errors import HubError, Misconfigured, NotDelivered
from hub.transport import odbc

OVERLAP = 10
TABLE: dict[str, Any] = {
    "connection": "DRIVER={x}", "database": "mariadb", "event": "E", "table": "T", "key": ["ID"],
}  # fmt: skip

# (written at, how long until it commits, how long until the next poll); a transaction is never longer than the overlap
transactions = st.lists(st.tuples(st.integers(0, 200), st.integers(0, OVERLAP)), max_size=40)
polls = st.lists(st.integers(1, 60), min_size=1, max_size=30)


@given(transactions=transactions, pauses=polls, restarts=st.sets(st.integers(0, 30)))
@settings(max_examples=300, deadline=None)
def test_no_row_is_missed_whatever_commits_when(
    transactions: list[tuple[int, int]], pauses: list[int], restarts: set[int]
) -> None:
    """Numbers are drawn in the order of writing; a row shows when it commits; polls come whenever."""
    rows = [(number, written, written + takes) for number, (written, takes) in enumerate(sorted(transactions), 1)]
    clock, found, mark = 0, set[int](), Watermark(OVERLAP, 0)
    for turn, pause in enumerate([*pauses, 300]):
        clock += pause
        seen = [number for number, _, commits in rows if commits <= clock and number >= mark.low]
        found.update(seen)
        mark.polled(clock)
        mark.seen(max(seen, default=None), clock)
        if turn in restarts:
            mark = (loads(dumps({"c": mark}), ("c",), OVERLAP) or {})["c"]
    assert found == {number for number, _, _ in rows}


def test_a_watermark_moves_on_and_keeps_few_samples() -> None:
    mark = Watermark(1000)
    for at in range(0, 20_000, 10):
        mark.polled(at)
        mark.seen(at, at)
    assert len(mark.samples) <= 22
    assert mark.low >= 20_000 - 1000 - 2 * 60


def test_watermarks_of_every_type_are_kept() -> None:
    for low in (None, 7, "20261122", 1.5, Decimal("1.50"), dt.datetime(2026, 1, 2, 3, 4, 5, 6), dt.date(2026, 1, 2), b"\0\1"):
        mark = Watermark(5, low, [(1, low)])
        assert loads(dumps({"A": mark}), ("A",), 5) == {"A": mark}
    assert loads("", ("A",), 5) is None
    assert loads(dumps({"A": Watermark(5)}), ("B",), 5) is None  # other columns: from the beginning


NOW = dt.datetime(2026, 11, 22, 9, 0, 0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (dt.datetime(2999, 12, 31), NOW),
        (dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1)),
        (dt.date(2999, 12, 31), NOW.date()),
        ("29991231", "20261122"),
        ("99991231235959", "20261122090000"),
        ("20200101", "20200101"),
        ("A7", "A7"),
        (7, 7),
        (None, None),
    ],
)
def test_the_future_counts_as_now(value: Any, expected: Any) -> None:
    assert ceiling(value, NOW) == expected
    assert ceiling(value, str(NOW)) == expected


def test_names_in_sql_come_from_hub_toml_and_nothing_else_gets_in() -> None:
    assert name("OPD_PATIENT", '""') == "OPD_PATIENT"
    assert name("OCS.OPD_PATIENT", '""') == "OCS.OPD_PATIENT"
    assert name("환자번호", "``") == "환자번호"
    assert name('"Order"', "[]") == "[Order]"
    assert name("a b", "``") == "`a b`"
    for evil in ("a;b", 'a"b', "a`; DROP TABLE x", "x]--", ""):
        with pytest.raises(Misconfigured):
            name(evil or '""', "``")


class Recorder:
    """A database that answers with rows of a list, two at a time."""

    profile = odbc.PROFILES["sqlserver"]

    def __init__(self, *answers: list[tuple[Any, ...]]) -> None:
        self.asked: list[tuple[str, list[Any]]] = []
        self._answers = list(answers)

    def select(self, sql: str, parameters: list[Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
        self.asked.append((sql, list(parameters)))
        return ["A", "B"], self._answers.pop(0)


def test_blocks_go_on_behind_the_last_row_by_all_columns_of_the_key() -> None:
    database: Any = Recorder([(1, "x"), (1, "y")], [(2, "x")])
    relation = Relation("T", "*")
    assert [len(rows) for _, rows in relation.blocks(database, ["a", "b"], 2)] == [2, 1]
    assert database.asked == [
        ("SELECT TOP (2) * FROM T ORDER BY a, b", []),
        ("SELECT TOP (2) * FROM T WHERE a >= ? AND ((a > ?) OR (a = ? AND b > ?)) ORDER BY a, b", [1, 1, 1, "y"]),
    ]
    database = Recorder([(1, "x")])
    list(relation.blocks(database, ["a", "b"], 2, 1, present=True))
    assert database.asked == [("SELECT TOP (2) * FROM T WHERE a >= ? ORDER BY a, b", [1])]


def test_a_driver_that_rounds_does_not_make_us_read_for_ever() -> None:
    database: Any = Recorder([(1, 2), (1, 3)], [(1, 2), (1, 3)])
    with pytest.raises(Misconfigured, match="again and again"):
        list(Relation("T", "*").blocks(database, ["a", "b"], 2))


def test_a_null_in_the_key_is_said() -> None:
    database: Any = Recorder([(1, None), (1, None)])
    with pytest.raises(Misconfigured, match="NULL"):
        list(Relation("T", "*").blocks(database, ["a", "b"], 2))


def test_rows_are_cleaned_and_bad_bytes_are_named_by_their_column() -> None:
    cleaner = Cleaner(True, "cp949", {"MEMO": "utf-8"}, ["pano"])
    raw = "똠방각하  ".encode("cp949").decode("latin-1")
    found = cleaner.found(["PANO", "SNAME", "MEMO", "PHOTO"], ["0007  ", raw, "뷁".encode(), b"\0"])
    assert found == ({"PANO": "0007"}, {"PANO": "0007", "SNAME": "똠방각하", "MEMO": "뷁", "PHOTO": b"\0"}, None)
    assert cleaner.found(["PANO", "SNAME"], ["1", "\xff\xff"]).refused == "column SNAME is not cp949"
    folded = Cleaner(True, "cp949", {"MEMO": "utf-8", "photo": "cp949"}, ["pano"])
    assert folded.bound("memo", "뷁") == "뷁".encode().decode("latin-1")
    (row,) = folded.block(["pano", "memo", "PHOTO"], [["1", "뷁".encode().decode("latin-1"), "뷁".encode("cp949")]])
    assert row.row == {"pano": "1", "memo": "뷁", "PHOTO": "뷁"}
    with pytest.raises(Misconfigured, match='encodings names "MEMO"'):
        folded.block(["pano", "photo"], [])
    native = Cleaner(False, "utf-8", {}, ["PANO"])  # FreeTDS gives text as text
    assert native.found(["PANO", "SNAME"], ["1", "펲시콜라　"]).row["SNAME"] == "펲시콜라"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"table": ""}, "either"),
        ({"query": "SELECT 1"}, "either"),
        ({"key": []}, "key"),
        ({"encoding": "ksc"}, "encoding"),
        ({"database": "dbase"}, "database"),
        ({"most_gone": 2}, "most_gone"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        Settings.from_table(TABLE | change)


def test_a_name_that_is_no_name_is_refused_before_anything_is_connected() -> None:
    with pytest.raises(Misconfigured, match="name in SQL"):
        build(Settings.from_table(TABLE | {"table": "T; DROP TABLE T"}))


def test_every_database_has_its_charset_and_its_limits() -> None:
    strings = {
        (kind, encoding): odbc.Database("DSN=x;", kind, encoding, 30)._string  # type: ignore[arg-type]
        for kind in odbc.PROFILES
        for encoding in ("utf-8", "cp949")
    }
    assert strings == {
        ("mariadb", "utf-8"): "DSN=x;CHARSET=utf8mb4;CONN_TIMEOUT=10;READ_TIMEOUT=35",
        ("mariadb", "cp949"): "DSN=x;CHARSET=latin1;CONN_TIMEOUT=10;READ_TIMEOUT=35",
        ("postgresql", "utf-8"): "DSN=x;ConnSettings=SET client_encoding TO 'UTF8';KeepaliveTime=30;KeepaliveInterval=10",
        ("postgresql", "cp949"): "DSN=x;ConnSettings=SET client_encoding TO 'SQL_ASCII';KeepaliveTime=30;KeepaliveInterval=10",
        ("sqlite", "utf-8"): "DSN=x",
        ("sqlite", "cp949"): "DSN=x",
        ("sqlserver", "utf-8"): "DSN=x",
        ("sqlserver", "cp949"): "DSN=x",
        ("oracle", "utf-8"): "DSN=x",
        ("oracle", "cp949"): "DSN=x",
    }
    assert [kind for kind, profile in odbc.PROFILES.items() if not profile.raw] == ["sqlserver", "oracle"]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("28000", Misconfigured),
        ("42S02", Misconfigured),
        ("IM002", Misconfigured),
        ("08S01", NotDelivered),
        ("HY000", NotDelivered),
    ],
)
def test_errors_are_named_by_their_state_and_quote_nothing(state: str, kind: type[HubError]) -> None:
    error = odbc.named(Exception(state, f"[{state}] near 'PANO = 00012345 홍길동'"))
    assert type(error) is kind
    assert "홍길동" not in str(error)
    assert state in str(error)
