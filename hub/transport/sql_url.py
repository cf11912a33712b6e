"""One connection to a database by SQLAlchemy URL, for those that have a better driver in Python than by ODBC: Oracle above all.

SQLAlchemy reads the URL and finds the driver; the statements are those that go by ODBC. Each driver is an optional package of its
own (docs/odbc.md). Only such are taken whose charset, time-outs and errors we know. Nothing of a URL is ever shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from hub.domain.errors import HubError, Misconfigured
from hub.transport import odbc
from hub.transport.odbc import Database, Kind

_MARKS = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|\?")  # texts and quoted names first: a question mark there stays
UTF8 = ("utf-8", "utf8")


@dataclass(frozen=True, slots=True)
class Driver:
    """How one package is spoken to."""

    package: str  # for pip
    kind: Kind
    arguments: Callable[[float, bool], dict[str, Any]]  # seconds a statement may take, raw -> more for its connect()
    prepare: Callable[[Any, float, bool], None]  # the same, on a connection
    mark: str = "%s"  # of the n-th parameter
    encodings: bool = True  # text can be had as bytes


def _psycopg(connection: Any, _seconds: float, raw: bool) -> None:
    """A SQL_ASCII database converts nothing, and LATIN1 says to the driver that every byte is a letter."""
    connection.execute(f"SET client_encoding TO '{'LATIN1' if raw else 'UTF8'}'")


def _pymysql(connection: Any, _seconds: float, raw: bool) -> None:
    if raw:
        connection.encoding = "latin-1"  # its own would be Windows-1252, which lacks five of the bytes


def _oracledb(connection: Any, seconds: float, _raw: bool) -> None:
    connection.call_timeout = int(seconds * 1000)


def _sqlite(connection: Any, _seconds: float, _raw: bool) -> None:
    connection.text_factory = lambda plain: plain.decode("latin-1")  # one bad row is to cost one row


DRIVERS: dict[tuple[str, str], Driver] = {
    ("oracle", "oracledb"): Driver(
        "oracledb",
        "oracle",
        lambda _seconds, _raw: {"tcp_connect_timeout": odbc.CONNECT_SECONDS},
        _oracledb,
        ":{n}",
        encodings=False,
    ),
    ("postgresql", "psycopg"): Driver(
        "psycopg[binary]",
        "postgresql",
        lambda seconds, _raw: {
            "connect_timeout": odbc.CONNECT_SECONDS,
            "tcp_user_timeout": int((seconds + odbc.GRACE) * 1000),
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
        _psycopg,
    ),
    ("sqlite", "pysqlite"): Driver("sqlite3", "sqlite", lambda _seconds, _raw: {"timeout": 5}, _sqlite, "?", encodings=False),
}
DRIVERS[("mysql", "pymysql")] = DRIVERS[("mariadb", "pymysql")] = Driver(
    "pymysql",
    "mariadb",
    lambda seconds, raw: {
        "charset": "latin1" if raw else "utf8mb4", "connect_timeout": odbc.CONNECT_SECONDS, "read_timeout": int(seconds) + 5,
    },
    _pymysql,
)  # fmt: skip


def open_database(connection: str, url: str, kind: Kind, encoding: str, seconds: float, *, writes: bool = False) -> Database:
    """By ODBC or by URL, whichever is given. Nothing is connected yet. Raises Misconfigured."""
    if bool(connection) == bool(url):
        raise Misconfigured('write either "connection" (ODBC) or "url" (SQLAlchemy)')
    if url:
        return UrlDatabase(url, kind, encoding, seconds, writes=writes)
    if kind == "oracle":
        raise Misconfigured('Oracle is reached by URL: write url = { file = … } with oracle+oracledb://… in it, not "connection"')
    return Database(connection, kind, encoding, seconds, writes=writes)


class UrlDatabase(Database):
    """As Database, by a driver of the DB-API (PEP 249)."""

    def __init__(self, url: str, kind: Kind, encoding: str, seconds: float, *, writes: bool = False) -> None:
        super().__init__("", kind, encoding, seconds, writes=writes)
        self._url = _read(url)
        self._driver = _driver_of(self._url, kind)
        if encoding not in UTF8 and not self._driver.encodings:
            raise Misconfigured(
                f'{kind} by URL gives text in its own charset: write encoding = "utf-8", and "encodings" for binary columns'
            )
        self._raw = encoding not in UTF8
        self.profile = replace(self.profile, raw=self._raw or kind == "sqlite")
        self._dbapi: Any = None

    def primary_key(self, table: str) -> list[str]:
        schema, bare = self._in_catalogue(table)
        engine = create_engine(self._url, creator=lambda: self._connection, poolclass=StaticPool)
        try:
            return list(inspect(engine).get_pk_constraint(bare, schema=schema or None)["constrained_columns"])
        except SQLAlchemyError:
            return []

    # -- what a driver does its own way ---------------------------------------------------------------------------

    def _errors(self) -> tuple[type[Exception], ...]:
        if self._dbapi is None:
            try:
                self._dbapi = self._url.get_dialect().import_dbapi()
            except ImportError:
                raise Misconfigured(f"the driver is not installed: pip install {self._driver.package}") from None
        return (self._dbapi.Error,)

    def _named(self, error: Exception) -> HubError:
        return odbc.named(error) if isinstance(error, UnicodeError) else odbc.by_state(_state(error))

    def _connect(self) -> Any:
        dialect: Any = self._url.get_dialect()
        if self._driver.kind == "oracle":
            self._dbapi.defaults.fetch_lobs = False
        args, named = dialect(dbapi=self._dbapi).create_connect_args(self._url)
        connection = self._dbapi.connect(*args, **(dict(named) | self._driver.arguments(self._seconds, self._raw)))
        self._driver.prepare(connection, self._seconds, self._raw)
        for statement in self._first():
            connection.cursor().execute(statement)
        connection.commit()
        return connection

    def _cursor(self, sql: str, parameters: Sequence[Any]) -> Any:
        cursor = self._connection.cursor()
        if self._driver.kind == "sqlite":
            parameters = [value.encode("latin-1").decode() if isinstance(value, str) else value for value in parameters]
        cursor.execute(marked(sql, self._driver.mark), list(parameters))
        return cursor

    def _begin(self) -> None:
        return  # the first statement does

    def _commit(self) -> None:
        self._connection.commit()

    def _end(self) -> None:
        self._connection.commit()  # else a database shows for ever what there was when the first statement began


def marked(sql: str, mark: str) -> str:
    """`?` as the driver writes parameters: %s (where a per cent sign is doubled), or :1, :2 …"""
    count = 0

    def one(found: re.Match[str]) -> str:
        nonlocal count
        if found.group() != "?":
            return found.group()
        count += 1
        return mark.format(n=count)

    if mark == "?":
        return sql
    return _MARKS.sub(one, sql.replace("%", "%%") if mark == "%s" else sql)


def _read(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        raise Misconfigured('"url" is none: write oracle+oracledb://USER:PASSWORD@HOST:1521/?service_name=NAME') from None


def _driver_of(url: URL, kind: Kind) -> Driver:
    backend, _, package = url.drivername.partition("+")
    driver = DRIVERS.get((backend, package or ("pysqlite" if backend == "sqlite" else "")))
    if driver is None:
        known = ", ".join(sorted("+".join(pair) for pair in DRIVERS))
        raise Misconfigured(f'"url" begins with a driver that the hub does not know; it knows {known}')
    if driver.kind != kind:
        raise Misconfigured(f'"url" leads to {driver.kind}, and database says {kind}')
    return driver


_STATES = {
    "ORA-01017": "28000", "ORA-28000": "28000", "ORA-12514": "3D000", "ORA-12505": "3D000", "DPY-6001": "3D000",
    "DPY-6003": "3D000",
    "ORA-00942": "42S02", "ORA-00904": "42S22", "ORA-01031": "42501", "ORA-00900": "42000", "ORA-00933": "42000",
    "DPY-4024": "HYT00", "DPY-6005": "08001", "DPY-4011": "08S01", "ORA-03113": "08S01",
    "1045": "28000", "1044": "28000", "1049": "3D000", "1146": "42S02", "1054": "42S22", "1064": "42000", "1142": "42501",
    "1143": "42501", "1969": "70100", "2003": "08001", "2006": "08S01", "2013": "08S01",
}  # fmt: skip
_SAID = {  # where a driver gives no code
    "password authentication failed": "28P01", "no such table": "42S02", "no such column": "42S22",
    "syntax error": "42000", "does not exist": "3D000",
    "onnection": "08001",
}  # fmt: skip


def _state(error: Exception) -> str:
    """The SQLSTATE of what a driver says, or its own code: never its text, which may quote values."""
    state = getattr(error, "sqlstate", None)
    first = error.args[0] if error.args else ""
    code = str(state or getattr(first, "full_code", "") or (first if isinstance(first, int) else ""))
    if code:
        return _STATES.get(code, code)
    text = str(error)
    return next((state for words, state in _SAID.items() if words in text), "HY000")
