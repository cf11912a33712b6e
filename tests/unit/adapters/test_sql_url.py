"""SQL as other drivers want it, Oracle's above all: no Oracle is to be had for tests, so its statements are held here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from hub.adapters.ocs.sql_in import Settings, build
from hub.adapters.sql.clean import Cleaner
from hub.adapters.sql.flags import Flag, FlagTable
from hub.adapters.sql.logged import Log
from hub.adapters.sql.select import Relation
from hub.domain.errors import HubError, Misconfigured, NotDelivered
from hub.domain.ports import Condition
from hub.transport import sql_url
from hub.transport.odbc import PROFILES
from hub.transport.sql_url import UrlDatabase, marked, open_database

URL = "oracle+oracledb://hub:hidden@db.example:1521/?service_name=ocs"
TABLE: dict[str, Any] = {
    "url": URL,
    "database": "oracle",
    "event": "P",
    "table": "OCS.PATIENT",
    "key": ["HOSP", "PANO"],
    "block": 2,
}


class Error(Exception):
    """As oracledb raises it."""


class Oracle:
    """A driver that notes statements and answers from a list."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Any]]] = []
        self.answers: list[list[tuple[Any, ...]]] = []
        self.connected: dict[str, Any] = {}
        self.commits = 0
        self.Error = Error
        self.defaults = SimpleNamespace(fetch_lobs=True)
        self.paramstyle = "named"
        self.version = self.__version__ = "3.0.0"
        self.call_timeout = 0
        self.rowcount = 1
        self.description = [("HOSP",), ("PANO",), ("SNAME",)]

    def __getattr__(self, constant: str) -> str:
        """The names of types that SQLAlchemy's dialect lists."""
        if not constant.isupper():
            raise AttributeError(constant)
        return constant

    def makedsn(self, *place: Any, **_more: Any) -> str:
        return ":".join(map(str, place))

    def connect(self, *_args: Any, **named: Any) -> Oracle:
        self.connected = named
        return self

    def cursor(self) -> Oracle:
        return self

    def execute(self, sql: str, parameters: list[Any]) -> None:
        self.asked.append((sql, parameters))
        if sql.endswith("NOWHERE)"):
            raise Error(SimpleNamespace(full_code="ORA-00942", message="hidden"))

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.answers.pop(0)

    def commit(self) -> None:
        self.commits += 1

    def close(self) -> None:
        return

    def statements(self) -> list[tuple[str, list[Any]]]:
        told, self.asked = self.asked, []
        return told


class Feed:
    """Takes all rows."""

    def rows(self, _event: str, found: Any, _seen: Any = None) -> int:
        return len(found)

    def gone(self, _event: str, digests: list[bytes]) -> int:
        return len(digests)

    def digest(self, _event: str, key: Any) -> bytes:
        return str(key).encode()

    def ending(self) -> bool:
        return False


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Oracle:
    made = Oracle()
    monkeypatch.setitem(sys.modules, "oracledb", made)
    return made


def test_blocks_of_an_oracle_table(oracle: Oracle) -> None:
    source = build(Settings.from_table(TABLE))
    oracle.answers = [[("H", 1, "홍길동"), ("H", 2, "뷁")], [("H", 3, "x")]]
    blocks = list(source._relation.blocks(source._database, ["HOSP", "PANO"], 2))
    assert [len(rows) for _, rows in blocks] == [2, 1]
    behind = "HOSP >= :1 AND ((HOSP > :2) OR (HOSP = :3 AND PANO > :4))"
    assert oracle.statements() == [
        ("SELECT * FROM (SELECT * FROM OCS.PATIENT ORDER BY HOSP, PANO) WHERE ROWNUM <= 2", []),
        (f"SELECT * FROM (SELECT * FROM OCS.PATIENT WHERE {behind} ORDER BY HOSP, PANO) WHERE ROWNUM <= 2", ["H", "H", "H", 2]),
    ]
    assert oracle.connected["user"] == "hub"
    assert (oracle.connected["tcp_connect_timeout"], oracle.call_timeout) == (10, 30_000)
    assert oracle.defaults.fetch_lobs is False
    assert oracle.commits == 3  # one for the session: no statement sees an old snapshot


def test_flags_in_oracle(oracle: Oracle) -> None:
    source = build(Settings.from_table(TABLE | {"flag": {"column": "IF_YN"}}))
    oracle.answers = [[], [("H", 1, "x")], [("H", 1, "x")], [("H", 1, "x")], [("H", 1, "x")]]
    feed: Any = Feed()
    assert source.poll(feed) == 1
    one, lock = "((HOSP = :2 AND PANO = :3))", "FOR UPDATE SKIP LOCKED"
    assert [sql for sql, _ in oracle.statements()] == [
        "SELECT * FROM (SELECT * FROM OCS.PATIENT WHERE IF_YN = :1 ORDER BY HOSP, PANO) WHERE ROWNUM <= 2",
        "SELECT * FROM (SELECT HOSP, PANO FROM OCS.PATIENT WHERE IF_YN = :1 ORDER BY HOSP, PANO) WHERE ROWNUM <= 2",
        f"SELECT HOSP, PANO FROM OCS.PATIENT WHERE IF_YN = :1 AND {one} {lock}",
        "UPDATE OCS.PATIENT SET IF_YN = :1 WHERE IF_YN = :2 AND ((HOSP = :3 AND PANO = :4))",
        "SELECT * FROM (SELECT * FROM OCS.PATIENT WHERE IF_YN = :1 ORDER BY HOSP, PANO) WHERE ROWNUM <= 2",
        f"SELECT HOSP, PANO FROM OCS.PATIENT WHERE IF_YN = :1 AND {one} {lock}",
        "UPDATE OCS.PATIENT SET IF_YN = :1 WHERE IF_YN = :2 AND ((HOSP = :3 AND PANO = :4))",
    ]


class Noting:
    """A connection to SQL Server that notes statements: none is to be had for tests either."""

    profile = PROFILES["sqlserver"]

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[list[tuple[Any, ...]]] = [[], [(1,)], [(1,)], [(1,)], [(1,)]]

    def select(self, sql: str, _parameters: Any = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        self.asked.append(sql)
        return ["PANO"], self.answers.pop(0)

    def execute(self, sql: str, _parameters: Any = ()) -> int:
        self.asked.append(sql)
        return 1

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.asked.append("begin")
        yield
        self.asked.append("commit")


def test_flags_in_sql_server() -> None:
    database: Any = Noting()
    cleaner = Cleaner(False, "utf-8", {}, ["PANO"])
    flag = Flag("IF_YN", new="", delete=True)
    feed: Any = Feed()
    assert FlagTable(flag, Relation("dbo.PATIENT", "*"), database, cleaner, ["PANO"], 2, "P").poll(feed) == 1
    new, hint = "(IF_YN IS NULL OR IF_YN = '')", "WITH (UPDLOCK, READPAST, ROWLOCK)"
    assert database.asked == [
        "SELECT TOP (2) * FROM dbo.PATIENT WHERE IF_YN = ? ORDER BY PANO",
        f"SELECT TOP (2) PANO FROM dbo.PATIENT WHERE {new} ORDER BY PANO",
        "begin",
        f"SELECT PANO FROM dbo.PATIENT {hint} WHERE {new} AND PANO IN (?)",
        f"UPDATE dbo.PATIENT SET IF_YN = ? WHERE {new} AND PANO IN (?)",
        "commit",
        "SELECT TOP (2) * FROM dbo.PATIENT WHERE IF_YN = ? ORDER BY PANO",
        "begin",
        f"SELECT PANO FROM dbo.PATIENT {hint} WHERE IF_YN = ? AND PANO IN (?)",
        "DELETE FROM dbo.PATIENT WHERE IF_YN = ? AND PANO IN (?)",
        "commit",
    ]


def test_a_log_in_oracle(oracle: Oracle) -> None:
    log = {"table": "OCS.PATIENT_LOG", "order": "LOG_ID", "action": "OP", "flag": "READ_YN"}
    source = build(Settings.from_table(TABLE | {"log": log, "compare_seconds": 1e6}))
    assert source._told is not None
    oracle.description = [("LOG_ID",), ("HOSP",), ("PANO",), ("OP",)]
    oracle.answers = [[(7, "H", 1, "U")], [(7, "H", 1, "U")]]
    source._told.poll(Feed())  # type: ignore[arg-type]
    assert [sql for sql, _ in oracle.statements()] == [
        "SELECT * FROM (SELECT LOG_ID, HOSP, PANO, OP FROM OCS.PATIENT_LOG WHERE READ_YN = :1 ORDER BY LOG_ID) WHERE ROWNUM <= 2",
        "SELECT * FROM OCS.PATIENT WHERE ((HOSP = :1 AND PANO = :2))",
        "UPDATE OCS.PATIENT_LOG SET READ_YN = :1 WHERE LOG_ID IN (:2)",
    ]


def test_what_is_asked_of_oracle_besides(oracle: Oracle) -> None:
    source = build(Settings.from_table(TABLE | {"table": "", "query": "SELECT * FROM OCS.V WHERE A LIKE '50%?';"}))
    oracle.answers = [[("H", 1, "x")], [("H", 1, "x")], [(3,)], [("2026",)]]
    source.total("Patient", [Condition("PANO", ">", "5")])
    source._now()
    view = "(SELECT * FROM OCS.V WHERE A LIKE '50%?') hub_rows"
    assert [sql for sql, _ in oracle.statements()] == [
        f"SELECT * FROM (SELECT * FROM {view}) WHERE ROWNUM <= 1",
        f"SELECT * FROM (SELECT PANO FROM {view} WHERE PANO IS NOT NULL) WHERE ROWNUM <= 1",
        f"SELECT COUNT(*) FROM {view} WHERE (PANO > :1)",
        "SELECT SYSDATE FROM DUAL",
    ]


def test_oracles_errors_are_named_and_show_nothing(oracle: Oracle) -> None:
    with pytest.raises(Misconfigured, match="no such table") as caught:
        UrlDatabase(URL, "oracle", "utf-8", 5).select("SELECT * FROM (SELECT * FROM NOWHERE)")
    assert "hidden" not in str(caught.value)
    for code, kind in (
        ("DPY-6005", NotDelivered),
        ("DPY-4024", NotDelivered),
        ("ORA-01017", Misconfigured),
        ("ORA-600", NotDelivered),
    ):
        named: HubError = UrlDatabase(URL, "oracle", "utf-8", 5)._named(Error(SimpleNamespace(full_code=code)))
        assert type(named) is kind


def test_a_driver_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oracledb", None)
    with pytest.raises(Misconfigured, match="pip install oracledb"):
        UrlDatabase(URL, "oracle", "utf-8", 5).select("SELECT 1 FROM DUAL")


@pytest.mark.parametrize(
    ("sql", "mark", "expected"),
    [
        ("a = ? AND b = ?", "%s", "a = %s AND b = %s"),
        ("a LIKE '50%?' AND \"x?\" = ?", "%s", "a LIKE '50%%?' AND \"x?\" = %s"),
        ("`q?` = ? AND a = 'it''s ?'", ":{n}", "`q?` = :1 AND a = 'it''s ?'"),
        ("a LIKE '%' AND b = ?", "?", "a LIKE '%' AND b = ?"),
    ],
)
def test_parameters_are_written_as_the_driver_wants_them(sql: str, mark: str, expected: str) -> None:
    assert marked(sql, mark) == expected


@pytest.mark.parametrize(
    ("url", "database", "encoding", "says"),
    [
        ("not a url hidden", "oracle", "utf-8", "none"),
        ("oracle+cx_oracle://u:hidden@h/x", "oracle", "utf-8", "does not know"),
        ("oracle+oracledb://u:hidden@h/x", "mariadb", "utf-8", "leads to oracle"),
        ("oracle+oracledb://u:hidden@h/x", "oracle", "cp949", "own charset"),
        ("sqlite:///hidden", "sqlite", "cp949", "own charset"),
    ],
)
def test_urls_that_cannot_be_are_named_and_not_shown(url: str, database: Any, encoding: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says) as caught:
        open_database("", url, database, encoding, 5)
    assert "hidden" not in str(caught.value)


def test_one_way_to_connect_is_wanted() -> None:
    for connection, url in (("", ""), ("DSN=x", URL)):
        with pytest.raises(Misconfigured, match="either"):
            open_database(connection, url, "oracle", "utf-8", 5)
    with pytest.raises(Misconfigured, match="by URL"):
        open_database("DSN=x", "", "oracle", "utf-8", 5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"flag": {"column": "F"}, "cursor": ["A"]}, "one of"),
        ({"flag": {"column": "F"}, "table": "", "query": "SELECT 1"}, "needs"),
        ({"flag": {"column": "F", "claimed": "N"}}, "three different"),
        ({"flag": {}}, "column"),
        ({"log": {"table": "L"}}, "order"),
        ({"log": {"table": "L", "order": "N", "key": ["A"]}}, "as many columns"),
        ({"log": {"table": "L", "order": "N", "done": "N"}}, "two different"),
    ],
)
def test_flags_and_logs_that_cannot_be_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        Settings.from_table(TABLE | change)


def test_names_of_flags_and_logs_are_checked_before_anything_is_sent(oracle: Oracle) -> None:
    for change in ({"flag": {"column": "F = 1; --"}}, {"log": {"table": "L; DROP TABLE L", "order": "N"}}):
        with pytest.raises(Misconfigured, match="name in SQL"):
            build(Settings.from_table(TABLE | change))
    assert oracle.asked == []
    assert Flag("F").new == "N"
    assert Log("L", "N").own == ["N"]
    assert set(sql_url.DRIVERS) >= {("oracle", "oracledb"), ("postgresql", "psycopg"), ("mariadb", "pymysql")}
