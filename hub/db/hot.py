"""The hot path's connections: one raw driver connection a thread, statements prepared once, driver errors named once.

Off SQLAlchemy's execution layer because of its cost a statement (design.md: ORM 1,400–2,500 µs a message, raw 50–100).
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import orjson
from sqlalchemy.engine import URL

from hub.db.engine import BUSY_MS, sqlite_pragmas
from hub.db.setwise import SPECS, SQLITE, sqlite_rows
from hub.domain.errors import TryAgain
from hub.domain.rows import Row
from hub.domain.store import Conflict

LOG_PAGES = 100_000  # 400 MB of write-ahead log before a writer has to move it itself
BUSY_LOG = 8_000  # pages, 32 MB, that are not in the file yet: from then on they are moved at once
LONG_LOG = 1_000  # pages, 4 MB: from then on it is begun anew
# What a busy, full, restarting or unreachable store raises: the row stays as it is and is tried again.
SQLITE_PASSING = (sqlite3.OperationalError, sqlite3.IntegrityError)
TAKEN = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"})


_statements = 0


def statements() -> int:
    """How many statements this process's hot connections have run: what `hub bench` divides by messages."""
    return _statements


def count_statements(number: int = 1) -> None:
    """Counts what is sent to the database."""
    global _statements  # noqa: PLW0603 - one counter a process, like the CPU time that it stands beside
    _statements += number


class Hot(Protocol):
    """What both drivers can do."""

    dialect: str

    def begin(self, *, durable: bool) -> None:
        """Opens a transaction. `durable`: its commit will wait for the disk."""
        ...

    def now(self) -> int:
        """The database's clock when the transaction began, µs."""
        ...

    def tidy(self) -> int:
        """Upkeep that nobody waits for; called about twice a second by one process. Pages that the log has now."""
        ...

    def restart_log(self) -> None:
        """Short upkeep that writers wait for, where `tidy` found the log long."""
        ...

    def unmoved(self) -> int:
        """Pages of the log that are not in the file yet."""
        ...

    def begin_reading(self) -> None:
        """Opens a read-only transaction with one view of the database."""
        ...

    def sync(self) -> None:
        """Waits for the disk where the commit did not."""
        ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def ask(self, questions: Sequence[tuple[str, Sequence[Any]]]) -> list[list[tuple[Any, ...]]]:
        """The rows of several questions, none of which needs another's answer: one round trip where there is one."""
        ...

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int: ...

    def write(self, groups: dict[type, list[Row]]) -> None: ...

    def close(self) -> None: ...


def group(rows: Iterable[Row]) -> dict[type, list[Row]]:
    """Rows by kind."""
    groups: dict[type, list[Row]] = {}
    for row in rows:
        kind = type(row)
        if kind in groups:
            groups[kind].append(row)
        else:
            groups[kind] = [row]
    return groups


class SqliteHot:
    """A connection of this thread to the SQLite file.

    Commits do not wait for the disk (synchronous=NORMAL); `sync` does, after the write turn was given back, so that
    nobody else waits for our disk. What is in the log before a synced commit is synced with it (ADR 0002).
    """

    dialect = "sqlite"

    def __init__(self, url: URL) -> None:
        self._connection = sqlite3.connect(
            url.database or ":memory:",
            timeout=BUSY_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        sqlite_pragmas(self._connection, "NORMAL")
        # The keeper moves the log into the file (`tidy`): a writer that does it makes everybody wait for two disk syncs.
        self._connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")
        self._wal = f"{url.database}-wal"
        self._wal_file: int | None = None
        self._now = 0

    def tidy(self) -> int:
        """Moves what is committed from the log into the file, as far as no reader needs it there. Blocks nobody."""
        try:
            return int(self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])
        except SQLITE_PASSING as error:
            raise _named(error) from error

    def restart_log(self) -> None:
        """Has the log written from its beginning again; the caller has the write turn. Gives up where readers take long.

        A log that grows makes every sync wait for the file system's own journal; one that is written over does not.
        """
        try:
            self._connection.execute("PRAGMA busy_timeout=30")
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
            self._connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        except SQLITE_PASSING as error:
            raise _named(error) from error

    def unmoved(self) -> int:
        """mxFrame and nBackfill of the WAL index (sqlite.org/walformat.html, 2.1): no statement tells them and moves nothing."""
        try:
            with open(f"{self._wal.removesuffix('wal')}shm", "rb") as index:
                head = index.read(100)
                return int.from_bytes(head[16:20], sys.byteorder) - int.from_bytes(head[96:100], sys.byteorder)
        except OSError:  # nobody has opened the database yet
            return 0

    def sync(self) -> None:
        """Everything committed so far is on the disk when this returns."""
        try:
            if self._wal_file is None:
                self._wal_file = os.open(self._wal, os.O_RDONLY | os.O_CLOEXEC)
            os.fdatasync(self._wal_file)
        except OSError as error:
            raise TryAgain(f"the store could not be synced ({error.strerror})") from error

    def begin(self, *, durable: bool) -> None:  # noqa: ARG002 - `sync` waits for the disk, once the turn was given back
        count_statements(2)  # and its COMMIT
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except SQLITE_PASSING as error:
            raise TryAgain(f"the store is busy ({error.sqlite_errorname})") from error
        self._now = time.time_ns() // 1000

    def begin_reading(self) -> None:
        count_statements(2)
        self._connection.execute("BEGIN")
        self._now = time.time_ns() // 1000

    def now(self) -> int:
        return self._now

    def commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except SQLITE_PASSING as error:
            raise TryAgain(f"the store could not commit ({error.sqlite_errorname})") from error

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        count_statements()
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except SQLITE_PASSING as error:
            raise _named(error) from error

    def ask(self, questions: Sequence[tuple[str, Sequence[Any]]]) -> list[list[tuple[Any, ...]]]:
        return [self.query(sql, parameters) for sql, parameters in questions]

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        count_statements()
        try:
            return self._connection.execute(sql, parameters).rowcount
        except SQLITE_PASSING as error:
            raise _named(error) from error

    def write(self, groups: dict[type, list[Row]]) -> None:
        count_statements(sum(1 for spec in SPECS if groups.get(spec.row)))
        try:
            for spec in SPECS:
                rows = groups.get(spec.row)
                if rows:
                    self._connection.executemany(SQLITE[spec.row], sqlite_rows(spec, rows))
        except SQLITE_PASSING as error:
            raise _named(error) from error

    def close(self) -> None:
        self._connection.close()
        if self._wal_file is not None:
            os.close(self._wal_file)
            self._wal_file = None

    def __del__(self) -> None:
        self.close()  # a thread that ends takes its connection along


def _named(error: sqlite3.Error) -> Exception:
    """Busy, locked, full and I/O are passing; a wrong statement is our bug and stays what it is."""
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if name in TAKEN:
        return Conflict("another worker made the same thing first")
    if name.split("_")[1] in {"BUSY", "LOCKED", "FULL", "IOERR", "CANTOPEN", "READONLY", "NOMEM", "PROTOCOL"}:
        return TryAgain(f"the store is busy or full ({name})")
    return error


def keys_json(keys: Sequence[Any]) -> str:
    """A set of keys as the one JSON parameter that `hub/db/store.py` joins with."""
    return orjson.dumps(keys).decode()
