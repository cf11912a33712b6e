"""The hot path's connections: one raw driver connection a thread, statements prepared once, driver errors named once.

Off SQLAlchemy's execution layer because of its cost a statement (design.md: ORM 1,400–2,500 µs a message, raw 50–100).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any, LiteralString, Protocol

import orjson
import psycopg
from sqlalchemy.engine import URL

from hub.db.engine import BUSY_MS, sqlite_pragmas
from hub.db.setwise import SPECS, STATEMENTS, Spec, postgres_parameter, sqlite_rows
from hub.domain.errors import TryAgain
from hub.domain.rows import Row
from hub.domain.store import Conflict

LOG_PAGES = 25_000  # 100 MB of write-ahead log before a writer has to move it itself
LONG_LOG = 1_000  # pages, 4 MB: from then on it is begun anew
# What a busy, full, restarting or unreachable store raises: the row stays as it is and is tried again.
SQLITE_PASSING = (sqlite3.OperationalError, sqlite3.IntegrityError)
# Every hot statement goes from a set of keys through an index. The planner does not know that of a table that was empty
# when it last looked, and reads it whole (measured: 4 times slower end to end on a fresh database).
PG_OPTIONS = (
    "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000 -c jit=off"
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
)
PG_PASSING = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.UniqueViolation)
TAKEN = frozenset({"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"})


_statements = 0


def statements() -> int:
    """How many statements this process's hot connections have run: what `hub bench` divides by messages."""
    return _statements


def _count(number: int = 1) -> None:
    global _statements  # noqa: PLW0603 - one counter a process, like the CPU time that it stands beside
    _statements += number


class Hot(Protocol):
    """What both drivers can do."""

    dialect: str

    def begin(self, *, durable: bool) -> int:
        """Opens a transaction; returns the database's clock in µs. `durable`: its commit will wait for the disk."""
        ...

    def tidy(self) -> int:
        """Upkeep that nobody waits for; called about twice a second by one process. Pages that the log has now."""
        ...

    def restart_log(self) -> None:
        """Short upkeep that writers wait for, where `tidy` found the log long."""
        ...

    def begin_reading(self) -> int:
        """Opens a read-only transaction with one view of the database; returns the database's clock in µs."""
        ...

    def sync(self) -> None:
        """Waits for the disk where the commit did not."""
        ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

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

    def sync(self) -> None:
        """Everything committed so far is on the disk when this returns."""
        try:
            if self._wal_file is None:
                self._wal_file = os.open(self._wal, os.O_RDONLY | os.O_CLOEXEC)
            os.fdatasync(self._wal_file)
        except OSError as error:
            raise TryAgain(f"the store could not be synced ({error.strerror})") from error

    def begin(self, *, durable: bool) -> int:  # noqa: ARG002 - `sync` waits for the disk, once the turn was given back
        _count(2)  # and its COMMIT
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except SQLITE_PASSING as error:
            raise TryAgain(f"the store is busy ({error.sqlite_errorname})") from error
        return time.time_ns() // 1000

    def begin_reading(self) -> int:
        _count(2)
        self._connection.execute("BEGIN")
        return time.time_ns() // 1000

    def commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except SQLITE_PASSING as error:
            raise TryAgain(f"the store could not commit ({error.sqlite_errorname})") from error

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        _count()
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except SQLITE_PASSING as error:
            raise _named(error) from error

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        _count()
        try:
            return self._connection.execute(sql, parameters).rowcount
        except SQLITE_PASSING as error:
            raise _named(error) from error

    def write(self, groups: dict[type, list[Row]]) -> None:
        texts = STATEMENTS["sqlite"]
        _count(sum(1 for spec in SPECS if groups.get(spec.row)))
        try:
            for spec in SPECS:
                rows = groups.get(spec.row)
                if rows:
                    self._connection.executemany(texts[spec.row], sqlite_rows(spec, rows))
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


class PostgresHot:
    """A connection of this thread to PostgreSQL; opened when first needed and anew after it was lost.

    Round trips are what a transaction costs here: what is written goes out together with the COMMIT, or with the next
    question.
    """

    dialect = "postgresql"

    def __init__(self, url: URL) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._pending: list[tuple[str, str]] = []  # statements to write, with their parameter

    def _open(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=3,
                prepare_threshold=1,
                options=PG_OPTIONS,
            )
        return self._connection

    def sync(self) -> None:
        """COMMIT did."""

    def tidy(self) -> int:
        """The server does it."""
        return 0

    def restart_log(self) -> None:
        """The server does it."""

    def begin_reading(self) -> int:
        return self._begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", durable=True)

    def begin(self, *, durable: bool) -> int:
        return self._begin("BEGIN", durable=durable)

    def _begin(self, sql: LiteralString, *, durable: bool) -> int:
        _count(3)  # BEGIN, the clock, and the COMMIT to come
        try:
            connection = self._open()
            with connection.pipeline():
                connection.execute(sql)
                if not durable:  # never inconsistent; a crash of the server may lose the last moments (PostgreSQL 30.4)
                    connection.execute("SET LOCAL synchronous_commit = off")
                clock = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
            row = clock.fetchone()  # after the pipeline's end: one round trip, not two
        except PG_PASSING as error:
            self._drop()
            raise TryAgain(f"the store cannot be reached ({type(error).__name__})") from error
        assert row is not None
        return int(row[0])

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def commit(self) -> None:
        self._flush("COMMIT")

    def rollback(self) -> None:
        self._pending.clear()
        if self._connection is None or self._connection.closed:
            return
        try:
            if self._connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()

    def _flush(self, last: LiteralString = "") -> None:
        """Everything that waits to be written, and `last`, in one round trip. After an error the server skips the rest."""
        assert self._connection is not None
        pending, self._pending = self._pending, []
        try:
            with self._connection.pipeline():
                for sql, parameter in pending:
                    self._connection.execute(sql, (parameter,))
                if last:
                    self._connection.execute(last)
        except PG_PASSING as error:
            raise _passing(error) from error

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        assert self._connection is not None
        if self._pending:
            self._flush()
        _count()
        try:
            return self._connection.execute(sql.replace("?", "%s"), parameters)
        except PG_PASSING as error:
            raise _passing(error) from error

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._run(sql, parameters).fetchall()

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self._run(sql, parameters).rowcount

    def write(self, groups: dict[type, list[Row]]) -> None:
        texts = STATEMENTS["postgresql"]
        todo: list[tuple[Spec, list[Row]]] = [(s, groups[s.row]) for s in SPECS if groups.get(s.row)]
        _count(len(todo))
        self._pending += [(texts[spec.row], postgres_parameter(spec, rows).decode()) for spec, rows in todo]

    def close(self) -> None:
        self._drop()


def _passing(error: psycopg.Error) -> TryAgain:
    """Deadlock, serialization failure, lost connection, full disk, shutdown: tried again (PostgreSQL appendix A).

    A unique violation is a conflict: another worker made the same thing first, and the next try finds it.
    """
    if isinstance(error, psycopg.errors.UniqueViolation):
        return Conflict("another worker made the same thing first")
    return TryAgain(f"the store is busy or was lost ({error.sqlstate or type(error).__name__})")


def keys_json(keys: Sequence[Any]) -> str:
    """A set of keys as the one JSON parameter that `hub/db/store.py` joins with."""
    return orjson.dumps(keys).decode()
