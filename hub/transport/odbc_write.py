"""One connection that writes by ODBC: its transactions are SQL, each call has an end, and errors are told by stage.

Transactions are begun and committed as SQL: psqlodbc's SQLEndTran reports success on a connection that was lost, while a
COMMIT that is a statement fails as what it is. What a failure means depends on how far we had come (`Stage`): until
something was written it is NotDelivered; what the server itself says no to is undone; whatever else happens between the first
write and the answer to COMMIT leaves the outcome unknown.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown
from hub.transport.bounded import MOST_LEFT_BEHIND, Bounded, NeverEndedError, left_behind
from hub.transport.odbc import PROFILES, Kind
from hub.transport.odbc_errors import Stage, broken, named, silent

T = TypeVar("T")
GRACE = 0.5  # seconds that the driver gets to give a call up by itself
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class WriteProfile:
    """How one kind of database is written to."""

    begin: str
    call: str = "CALL {name}({marks})"
    session: tuple[str, ...] = ()
    tls: str = ""  # added to the connection string; {file}: authorities that are trusted
    patience: str = ""
    bytes_in: str = "?"  # a parameter that is hexadecimal and becomes text of exactly those bytes
    bytes_out: str = "{}"  # a column as bytes
    me: str = ""  # which session this is, for the server
    end: str = ""  # ends that one, where it is ours
    alive: str = ""  # one row while it is there


WRITING: dict[str, WriteProfile] = {
    "mariadb": WriteProfile(
        "START TRANSACTION",
        session=(
            "SET SESSION TRANSACTION READ WRITE", "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "SET SESSION innodb_lock_wait_timeout = {whole}", "SET @hub_session = CONCAT('hub ', UUID())",
        ),
        tls="SSLCA={file};SSLVERIFY=1;FORCETLS=1", patience="CONN_TIMEOUT={connect};READ_TIMEOUT={read};WRITE_TIMEOUT={read}",
        bytes_in="UNHEX(?)", bytes_out="CAST({} AS BINARY)",
        # Not by its number: those begin anew with the server. A named lock lives as long as the session that took it
        me="SELECT @hub_session, GET_LOCK(@hub_session, 0)", end="KILL IS_USED_LOCK(?)",
        alive="SELECT 1 FROM (SELECT IS_USED_LOCK(?) AS n) AS holder WHERE n IS NOT NULL",
    ),
    "postgresql": WriteProfile(
        "BEGIN", session=("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE", "SET lock_timeout = {ms}"),
        tls="SSLmode=verify-full;pqopt={{sslrootcert={file}}}", patience="KeepaliveTime=30;KeepaliveInterval=10",
        me="SELECT CONCAT_WS(' ', pid, backend_start) FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        end="SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE CONCAT_WS(' ', pid, backend_start) = ?",
        alive="SELECT 1 FROM pg_stat_activity WHERE CONCAT_WS(' ', pid, backend_start) = ?",
    ),
    "sqlite": WriteProfile("BEGIN IMMEDIATE", patience="Timeout={ms}"),
    "sqlserver": WriteProfile("BEGIN TRANSACTION", call="{{CALL {name}({marks})}}", session=("SET XACT_ABORT ON",)),
}  # fmt: skip


class Session:
    """One connection, opened by its first statement. Used by one thread at a time."""

    def __init__(
        self, connection: str, kind: Kind, *, utf8: bool, connect_seconds: float, seconds: float, ghosts: set[Any],
        ca_file: Path | None = None,
    ) -> None:  # fmt: skip
        """`utf8`: the database is told that we speak UTF-8; else bytes go to and fro as they are. `ghosts`: shared by all
        sessions of a target, what the server calls those that were lost after they had written."""
        self._kind, self._connect_seconds, self._seconds = kind, connect_seconds, seconds
        self._profile, self._writing = PROFILES[kind], WRITING[kind]
        words = {
            "connect": math.ceil(connect_seconds), "read": math.ceil(seconds) + 1, "whole": math.ceil(seconds),
            "ms": int(seconds * 1000), "seconds": seconds, "file": ca_file or "",
        }  # fmt: skip
        tls = self._writing.tls if ca_file is not None else ""
        additions = (
            self._profile.utf8 if utf8 else self._profile.other,
            self._writing.patience.format(**words),
            tls.format(**words),
        )
        self._string = ";".join(part for part in (connection.strip().rstrip(";"), *additions) if part)
        self._first = [one.format(**words) for one in (*self._profile.session, *self._writing.session)]
        self._bounded: Bounded | None = None
        self._connection: Any = None
        self._me: Any = None
        self._ghosts = ghosts
        self._begun: Bounded | None = None  # the connection that has a transaction open
        self.stage = Stage.ASK

    @property
    def is_open(self) -> bool:
        return self._bounded is not None

    def begin(self) -> None:
        for ghost in tuple(self._ghosts):
            self._end(ghost)
        self.query(self._writing.begin)
        self._begun = self._bounded

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[Row]]:
        """Names of the columns and all rows; nothing where the statement gives none. Raises as Stage says."""
        return self._run(lambda connection: _rows(connection.execute(sql, *parameters)), self._seconds)

    def write(self, sql: str, parameters: Sequence[Any]) -> None:
        """A statement that changes something; whatever a procedure gives back is read to its end."""
        self._must_be_begun()
        self.stage = Stage.WRITE
        self._run(lambda connection: _drain(connection.execute(sql, *parameters)), self._seconds)

    def commit(self) -> None:
        self._must_be_begun()
        self.stage = Stage.COMMIT
        names = self._run(lambda connection: _rows(connection.execute("COMMIT"))[0], self._seconds)
        if names:
            self._lost()
            raise OutcomeUnknown("what came as the answer to COMMIT is none", code="wrong_answer")
        self.stage = Stage.ASK

    def _must_be_begun(self) -> None:
        """Never on another connection than the one that began: it would commit by itself, or commit nothing."""
        if self._bounded is None or self._bounded is not self._begun:
            raise broken(self.stage, "closed")

    def rollback(self) -> None:
        """What was written since `begin` is undone; where that cannot be said, the connection is closed, which undoes it too."""
        if self._bounded is not None:
            try:
                self._run(lambda connection: connection.execute("ROLLBACK").close(), self._seconds)
            except HubError:
                self.close()
        self.stage = Stage.ASK

    def unique(self, schema: str, table: str) -> list[list[str]] | None:
        """The columns of each unique index of a table, in lower case (ODBC, SQLStatistics). None: it is a view."""

        def ask(connection: Any) -> list[Row] | None:
            cursor = connection.cursor()
            if any("VIEW" in str(row[3]).upper() for row in cursor.tables(table=table, schema=schema or None).fetchall()):
                return None
            return [tuple(row) for row in cursor.statistics(table, schema=schema or None, unique=True).fetchall()]

        rows = self._run(ask, self._seconds)
        if rows is None:
            return None
        found: dict[str, list[str]] = {}
        for row in rows:
            if row[5] and row[8]:  # INDEX_NAME, COLUMN_NAME
                found.setdefault(str(row[5]), []).append(str(row[8]).lower())
        return list(found.values())

    def _end(self, ghost: Any) -> None:
        """A session that was lost after it had written may still be at work there, holding locks, about to commit: before its
        work is looked for, it is ended. Raises NotDelivered while it does not end."""
        until = time.monotonic() + self._seconds
        while self._writing.alive and self.query(self._writing.alive, [ghost])[1]:
            if time.monotonic() > until:
                raise NotDelivered("an earlier attempt is still at work in the database", code="busy")
            with contextlib.suppress(HubError):  # it ended meanwhile
                self.query(self._writing.end, [ghost])
            time.sleep(0.01)
        self._ghosts.discard(ghost)

    def _lost(self) -> None:
        """The connection is given up; what it may have left behind on the server is remembered."""
        if self.stage >= Stage.WRITE and self._me is not None:
            self._ghosts.add(self._me)
        self.close()

    def close(self) -> None:
        bounded, self._bounded = self._bounded, None
        if bounded is not None:
            bounded.end()
        self.stage = Stage.ASK

    # -- inside ----------------------------------------------------------------------------------------------------

    def _connected(self) -> Bounded:
        if self._bounded is not None:
            return self._bounded
        if left_behind() >= MOST_LEFT_BEHIND:
            raise NotDelivered("the driver hangs in too many calls that never ended", code="busy", reached=False)
        driver_error = _driver_error()
        held: list[Any] = []
        bounded = Bounded("odbc", lambda: _quietly_close(held))
        self.stage = Stage.CONNECT
        try:
            bounded.call(lambda: held.append(self._connect()), self._connect_seconds + self._seconds + GRACE)
        except NeverEndedError:
            raise NotDelivered("the database does not answer in time", code="connect_timeout", reached=False) from None
        except driver_error as error:
            bounded.end()
            raise self._named(error) from None
        except HubError:
            bounded.end()
            raise
        self.stage = Stage.ASK
        self._bounded, self._connection = bounded, held[0]
        return bounded

    def _run(self, work: Callable[[Any], T], seconds: float) -> T:
        bounded = self._connected()
        connection = self._connection
        try:
            return bounded.call(lambda: work(connection), seconds + GRACE)
        except NeverEndedError:
            stage = self.stage
            self._lost()
            raise silent(stage) from None
        except _driver_error() as error:
            raise self._named(error) from None

    def _named(self, error: Exception) -> HubError:
        said = named(error, self._kind, self.stage)
        if said.lost:
            self._lost()
        return said.error

    def _connect(self) -> Any:
        import pyodbc

        pyodbc.pooling = False  # a pooled connection would keep another channel's settings
        connection = pyodbc.connect(self._string, autocommit=True, timeout=math.ceil(self._connect_seconds))
        if self._profile.raw:
            for kind in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):
                connection.setdecoding(kind, encoding="latin-1", ctype=pyodbc.SQL_CHAR)
            connection.setencoding("latin-1", ctype=pyodbc.SQL_CHAR)
        if self._profile.driver_times_out:
            connection.timeout = math.ceil(self._seconds)
        for statement in self._first:
            connection.execute(statement).close()
        self._me = connection.execute(self._writing.me).fetchone()[0] if self._writing.me else None
        return connection


def _driver_error() -> type[Exception]:
    try:
        import pyodbc
    except ImportError:
        raise Misconfigured("the ODBC driver manager is not installed: apt-get install unixodbc") from None
    found: type[Exception] = pyodbc.Error
    return found


def _rows(cursor: Any) -> tuple[list[str], list[Row]]:
    names = [column[0] for column in cursor.description or ()]
    rows = [tuple(row) for row in cursor.fetchall()] if names else []
    cursor.close()
    return names, rows


def _drain(cursor: Any) -> None:
    """An error in the middle of a procedure comes with a later result."""
    while cursor.nextset():
        pass
    cursor.close()


def _quietly_close(held: list[Any]) -> None:
    for connection in held:
        try:
            connection.close()
        except Exception:  # noqa: BLE001, S110 - a connection that is broken already: there is nothing left to close
            pass
