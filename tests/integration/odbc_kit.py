"""Real databases as old systems keep them: in MariaDB, PostgreSQL and SQLite, in each encoding that text is found in."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyodbc

from tests import servers

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
    write = pyodbc.connect(f"{connection};ConnSettings=SET client_encoding TO '{client}'", autocommit=True).execute
    names = IN_KS_X_1001 if charset == "EUC_KR" else NAMES
    return Legacy("postgresql", connection, encoding, stored, "VARCHAR(60)", write, names)


def sqlite(folder: Path, encoding: str) -> Legacy:
    path = folder / f"{encoding}.sqlite"
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    return Legacy("sqlite", f"DRIVER={{SQLite3}};Database={path};Timeout=5000", encoding, encoding, "TEXT", connection.execute)
