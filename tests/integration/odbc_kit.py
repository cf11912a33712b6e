"""Real databases as old systems keep them: in MariaDB, PostgreSQL and SQLite, in each encoding that text is found in."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyodbc
import pytest

from hub.adapters.ocs import sql_in
from hub.domain.ports import Received, Verdict
from hub.sync.polled import PolledFeed, read_row
from tests import servers
from tests.hub_kit import Kit

NAMES = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞")
IN_KS_X_1001 = ("홍길동", "남궁민수", "洪吉洞")  # an EUC_KR database has no room for the other syllables
pyodbc.pooling = False


@dataclass
class Legacy:
    """One database: how the hub reaches it, and how the test writes to it, past all conversions."""

    kind: str
    connection: str
    encoding: str  # what a channel says
    stored: str  # what the bytes are
    text: str  # a column type
    write: Callable[..., Any]
    names: Sequence[str] = NAMES

    def bytes_of(self, text: str) -> str:
        """SQL for a text of exactly these bytes."""
        plain = text.encode(self.stored).hex()
        if self.kind == "postgresql":
            return f"convert_from(decode('{plain}', 'hex'), '{'SQL_ASCII' if self.encoding == 'cp949' else 'UTF8'}')"
        return f"CAST(X'{plain}' AS TEXT)" if self.kind == "sqlite" else f"X'{plain}'"


def writer(connection: str) -> pyodbc.Connection:
    made = pyodbc.connect(connection, autocommit=True)
    made.setencoding("utf-8", ctype=pyodbc.SQL_CHAR)
    return made


def mariadb(server: servers.MariaDB, database: str, charset: str, encoding: str, stored: str) -> Legacy:
    with_charset = f"VARCHAR(60) CHARACTER SET {charset}"
    root = writer(server.odbc())
    root.execute(f"CREATE OR REPLACE DATABASE {database}")
    root.close()
    connection = writer(server.odbc(database))
    return Legacy("mariadb", server.odbc(database), encoding, stored, with_charset, connection.execute)


def postgresql(server: servers.Postgres, database: str, charset: str, encoding: str, stored: str) -> Legacy:
    import psycopg

    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as root:
        root.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        root.execute(f"CREATE DATABASE {database} ENCODING '{charset}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    connection = (
        f"DRIVER={{PostgreSQL ANSI}};SERVER=127.0.0.1;PORT={server.port};DATABASE={database};UID=hub;PWD={server.password}"
    )
    client = "SQL_ASCII" if encoding == "cp949" else "UTF8"
    writing = pyodbc.connect(f"{connection};ConnSettings=SET client_encoding TO '{client}'", autocommit=True)
    for kind in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):  # the ANSI driver gives no SQL_WCHAR
        writing.setdecoding(kind, encoding=encoding, ctype=pyodbc.SQL_CHAR)
    write = writing.execute
    names = IN_KS_X_1001 if charset == "EUC_KR" else NAMES
    return Legacy("postgresql", connection, encoding, stored, "VARCHAR(60)", write, names)


def sqlite(folder: Path, encoding: str) -> Legacy:
    path = folder / f"{encoding}.sqlite"
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    return Legacy("sqlite", f"DRIVER={{SQLite3}};Database={path};Timeout=5000", encoding, encoding, "TEXT", connection.execute)


SOURCES = {
    "mariadb-utf8mb4": ("mariadb", "utf8mb4", "utf-8", "utf-8"),
    "mariadb-euckr": ("mariadb", "euckr", "utf-8", "cp949"),
    "mariadb-cp949-in-latin1": ("mariadb", "latin1", "cp949", "cp949"),
    "postgresql-utf8": ("postgresql", "UTF8", "utf-8", "utf-8"),
    "postgresql-euc-kr": ("postgresql", "EUC_KR", "utf-8", "utf-8"),
    "postgresql-cp949-in-sql-ascii": ("postgresql", "SQL_ASCII", "cp949", "cp949"),
    "sqlite-utf8": ("sqlite", "", "utf-8", "utf-8"),
    "sqlite-cp949": ("sqlite", "", "cp949", "cp949"),
}


def legacy_of(request: pytest.FixtureRequest, folder: Path, name: str) -> Legacy:
    kind, charset, encoding, stored = SOURCES[name]
    if kind == "sqlite":
        return sqlite(folder, encoding)
    database = "d_" + charset.lower()
    if kind == "mariadb":
        return mariadb(request.getfixturevalue("mariadb"), database, charset, encoding, stored)
    return postgresql(request.getfixturevalue("postgres"), database, charset, encoding, stored)


def old_system(server: servers.MariaDB | servers.Postgres, database: str, charset: str) -> Legacy:
    """A database whose text columns say latin1 or SQL_ASCII and hold cp949."""
    if isinstance(server, servers.MariaDB):
        return mariadb(server, database, charset, "cp949", "cp949")
    return postgresql(server, database, charset, "cp949", "cp949")


class Bench:
    """A source of ours, its feed, and what came of it."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.refused: list[str] = []
        self.feed = PolledFeed("ocs-in", kit.hub.store, kit.hub.keys, self, lambda event, row: None)

    def store(self, batch: Sequence[Received]) -> Any:
        receipts = self.kit.intake.store(batch)
        for message, receipt in zip(batch, receipts, strict=True):
            if receipt.duplicate_of is None and receipt.verdict is not Verdict.TRY_AGAIN:
                self.taken.append(read_row(message.body))
                if message.refused:
                    self.refused.append(message.refused)
        return receipts

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None:
        raise AssertionError("nobody waits for an answer to a row")

    def rows(self, event: str = "PATIENT") -> list[dict[str, Any]]:
        """What was taken since the last look."""
        found = [row for name, row in self.taken if name == event]
        self.taken.clear()
        return found


def source(legacy: Legacy, **settings: Any) -> sql_in.SqlSource:
    table: dict[str, Any] = {
        "connection": legacy.connection, "database": legacy.kind, "encoding": legacy.encoding, "event": "PATIENT",
        "table": "patient", "key": ["pano"], "overlap_seconds": 0.0, "compare_seconds": 3600.0,
    }  # fmt: skip
    return sql_in.build(sql_in.Settings.from_table(table | settings))


def poll(made: sql_in.SqlSource, feed: PolledFeed) -> int:
    """A poll, and what is left of a compare."""
    told = made.poll(feed)
    while made.pause_seconds == 0.0:
        told += made.poll(feed)
    return told
