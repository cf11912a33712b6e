"""One connection to a database by ODBC: charset, time-outs and, unless it is to write, read-only mode; driver errors named once.

Where a driver lets us, text is fetched as the bytes that it is (as latin-1, which loses none) and decoded by the caller,
so that one bad row costs one row, and cp949 in columns that are declared latin-1 is nothing special.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from hub.domain.errors import HubError, Misconfigured, NotDelivered
from hub.transport.bounded import MOST_LEFT_BEHIND, Bounded, NeverEndedError, left_behind

Kind = Literal["mariadb", "postgresql", "sqlite", "sqlserver", "oracle"]
CONNECT_SECONDS = 10
GRACE = 5.0  # seconds that the server gets to end a statement by itself
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Profile:
    """How one kind of database is spoken to."""

    utf8: str  # added to the connection string where the database knows its charset
    other: str  # added where text columns hold other bytes than they say
    session: tuple[str, ...]  # first statements; {seconds} and {ms}: the longest a statement may take
    reading: tuple[str, ...]  # and these where nothing is to be written
    now: str  # its clock, in its own time
    raw: bool = True  # text can be had as bytes
    quote: str = '""'
    limit: str = "SELECT {what} LIMIT {n}"
    times_as_text: bool = False  # as parameters: SQLite keeps them so, and MariaDB's driver cuts what is less than a second
    patience: str = ""  # added to the connection string: for a server that is there and says nothing
    driver_times_out: bool = False  # SQL_ATTR_QUERY_TIMEOUT; psqlodbc refuses it on connections, MariaDB's takes no notice
    hangs: bool = False  # its drivers wait for ever for a server that says nothing, so each call gets an end of ours
    writing: tuple[str, ...] = ()  # first statements where something is to be written
    fold: Literal["", "lower", "upper"] = ""  # what becomes of names without double quotes, where its catalogue must be asked so
    hint: str = ""  # behind the table's name of a SELECT that locks its rows and leaves out those that others hold
    lock: str = " FOR UPDATE SKIP LOCKED"  # the same at the end of it


PROFILES: dict[str, Profile] = {
    "mariadb": Profile(
        "CHARSET=utf8mb4", "CHARSET=latin1",
        # MariaDB reads the first comment, MySQL the second (where a SELECT alone can be given up)
        ("SET SESSION /*M! max_statement_time = {seconds}, */ /*!50708 max_execution_time = {ms}, */ net_write_timeout = 60",),
        ("SET SESSION TRANSACTION READ ONLY",),
        "SELECT CURRENT_TIMESTAMP", quote="``", times_as_text=True, patience="CONN_TIMEOUT={connect};READ_TIMEOUT={read}",
        writing=("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",),  # without it a lock holds the gap between rows, too
    ),
    "postgresql": Profile(
        "ConnSettings=SET client_encoding TO 'UTF8'", "ConnSettings=SET client_encoding TO 'SQL_ASCII'",
        ("SET statement_timeout = {ms}",), ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",), "SELECT LOCALTIMESTAMP",
        patience="KeepaliveTime=30;KeepaliveInterval=10", hangs=True,
        fold="lower",
    ),
    "sqlite": Profile(
        "", "", (), ("PRAGMA query_only = 1",), "SELECT datetime('now', 'localtime')", times_as_text=True, lock="",
    ),
    # By FreeTDS: NVARCHAR, and VARCHAR of a Korean collation, come right by themselves; cp949 in a Latin-1 collation needs
    # CAST(column AS VARBINARY(8000)) in the channel's query.
    "sqlserver": Profile(
        "", "", ("SET LOCK_TIMEOUT {ms}",), (), "SELECT CURRENT_TIMESTAMP", raw=False, quote="[]",
        limit="SELECT TOP ({n}) {what}", driver_times_out=True, hint=" WITH (UPDLOCK, READPAST, ROWLOCK)", lock="",
    ),
    # By URL only (hub/transport/sql_url.py). ROWNUM is known to every version. A read-only transaction would see for ever what
    # there was when it began, so there the user's rights are all there is, as on SQL Server.
    "oracle": Profile(
        "", "", (), (), "SELECT SYSDATE FROM DUAL", raw=False, limit="SELECT * FROM (SELECT {what}) WHERE ROWNUM <= {n}",
        fold="upper",
    ),
}  # fmt: skip


class Database:
    """A connection that is opened by its first statement. Used by one thread.

    Each statement sees what is committed, and is a transaction of its own outside of `transaction()`. All raise NotDelivered or
    Misconfigured; the connection is closed then, and what was not committed is undone.
    """

    def __init__(self, connection: str, kind: Kind, encoding: str, seconds: float, *, writes: bool = False) -> None:
        self.profile = PROFILES[kind]
        addition = self.profile.utf8 if encoding in ("utf-8", "utf8") else self.profile.other
        patience = self.profile.patience.format(connect=CONNECT_SECONDS, read=int(seconds) + 5)
        self._string = ";".join(part for part in (connection.strip().rstrip(";"), addition, patience) if part)
        self._encoding = encoding
        self._seconds = seconds
        self._writes = writes
        self._connection: Any = None
        self._bounded: Bounded | None = None
        self._together = False  # a transaction is open

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Names of the columns, and all rows."""
        return self._run(sql, parameters, _rows)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """How many rows it changed. Only where this connection is one that writes."""
        return self._run(sql, parameters, lambda cursor: int(cursor.rowcount))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """The statements inside commit together, or not at all."""
        self._guard(self._begin)
        self._together = True
        try:
            yield
            self._guard(self._commit)
        except BaseException:
            self.close()
            raise
        finally:
            self._together = False

    def _run(self, sql: str, parameters: Sequence[Any], take: Callable[[Any], T]) -> T:
        def work() -> T:
            connection = self._connection
            cursor = self._cursor(sql, parameters)
            result = take(cursor)
            cursor.close()
            if not self._together and self._connection is connection:  # else this call was given up
                self._end()
            return result

        return self._guard(work)

    def _guard(self, work: Callable[[], T]) -> T:
        errors: tuple[type[Exception], ...] = (*self._errors(), UnicodeError)
        try:
            if self._connection is None:
                self._connection = self._open()
            return self._within(work, self._seconds)
        except errors as error:
            self.close()
            raise self._named(error) from None

    def _open(self) -> Any:
        if not self.profile.hangs:
            return self._connect()
        if left_behind() >= MOST_LEFT_BEHIND:
            raise NotDelivered("the driver hangs in too many calls that never ended", code="busy")
        self.close()
        held: list[Any] = []
        self._bounded = Bounded("database", lambda: _quietly_close(*held))
        self._within(lambda: held.append(self._connect()), CONNECT_SECONDS + self._seconds)
        return held[0]

    def _within(self, work: Callable[[], T], seconds: float) -> T:
        """A connection whose call never ended is left to the thread that hangs in it."""
        if self._bounded is None:
            return work()
        try:
            return self._bounded.call(work, seconds + GRACE)
        except NeverEndedError:
            self._connection = self._bounded = None
            raise by_state("HYT01") from None

    # -- what a driver does its own way ---------------------------------------------------------------------------

    def _errors(self) -> tuple[type[Exception], ...]:
        try:
            import pyodbc
        except ImportError:
            raise Misconfigured("the ODBC driver manager is not installed: apt-get install unixodbc") from None
        return (pyodbc.Error,)

    def _named(self, error: Exception) -> HubError:
        return named(error)

    def _cursor(self, sql: str, parameters: Sequence[Any]) -> Any:
        if self.profile.raw and not sql.isascii():  # the driver sends text as latin-1, byte by byte
            sql = sql.encode(self._encoding).decode("latin-1")
        return self._connection.execute(sql, *parameters)

    def _begin(self) -> None:
        self._connection.autocommit = False

    def _commit(self) -> None:
        connection = self._connection
        connection.commit()
        connection.autocommit = True

    def _end(self) -> None:
        """A statement that is a transaction of its own."""

    def primary_key(self, table: str) -> list[str]:
        """The columns of a table's declared key, in its order; none where it has none or the driver cannot tell."""
        import pyodbc

        schema, bare = self._in_catalogue(table)
        try:
            rows = self._connection.cursor().primaryKeys(bare, schema=schema or None).fetchall()
        except pyodbc.Error:
            return []
        return [row[3] for row in sorted(rows, key=lambda row: row[4])]  # COLUMN_NAME, KEY_SEQ (ODBC, SQLPrimaryKeys)

    def _in_catalogue(self, table: str) -> tuple[str, str]:
        """Schema ("" where none is named) and table as the database's catalogue has them."""
        fold = self.profile.fold
        parts = [
            part.strip('"') if part.startswith('"') or not fold else getattr(part, fold)()
            for part in re.findall(r'"[^"]+"|[^.]+', table)
        ]
        return ".".join(parts[:-1]), parts[-1]

    def _connect(self) -> Any:
        import pyodbc

        pyodbc.pooling = False  # a pooled connection would keep another channel's settings
        connection = pyodbc.connect(self._string, autocommit=True, timeout=CONNECT_SECONDS)
        if self.profile.raw:
            for kind in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):
                connection.setdecoding(kind, encoding="latin-1", ctype=pyodbc.SQL_CHAR)
            connection.setencoding("latin-1", ctype=pyodbc.SQL_CHAR)
        if self.profile.driver_times_out:
            connection.timeout = int(self._seconds)
        for statement in self._first():
            connection.execute(statement)
        return connection

    def _first(self) -> list[str]:
        """The first statements of a session."""
        own = self.profile.writing if self._writes else self.profile.reading
        return [one.format(seconds=self._seconds, ms=int(self._seconds * 1000)) for one in (*self.profile.session, *own)]

    def close(self) -> None:
        connection, self._connection = self._connection, None
        bounded, self._bounded = self._bounded, None
        if connection is not None:
            _quietly_close(connection)
        if bounded is not None:
            bounded.end()


def _quietly_close(*connections: Any) -> None:
    for connection in connections:
        try:
            connection.close()
        except Exception:  # noqa: BLE001, S110 - a connection that is broken already: there is nothing left to close
            pass


def _rows(cursor: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
    names = [column[0].partition("\0")[0] for column in cursor.description]  # ANSI drivers say Korean names with rubbish behind
    return names, [tuple(row) for row in cursor.fetchall()]


# SQLSTATE (ISO/IEC 9075-2 §24.1, ODBC appendix A): first what a person has to put right
_WRONG = {
    "28000": "the database refuses this user or password",
    "28P01": "the database refuses this user or password",
    "3D000": "there is no such database",
    "42000": "the statement is wrong, or this user may not run it",
    "42501": "this user may not read it",
    "42P01": "there is no such table or view",
    "42S02": "there is no such table or view",
    "42S22": "there is no such column",
    "42703": "there is no such column",
    "IM002": "there is no such ODBC driver or data source",
    "01000": "the ODBC driver cannot be loaded",
}
_PASSING = {
    "57014": "a statement took too long",
    "70100": "a statement took too long",
    "HY018": "a statement took too long",  # MariaDB's driver
    "HYT00": "the database does not answer in time",
    "HYT01": "the database does not answer in time",
    "08001": "the database cannot be reached",
    "08S01": "the connection broke",
}


def named(error: Exception) -> HubError:
    """By its SQLSTATE alone: the driver's own text may quote values."""
    if isinstance(error, UnicodeEncodeError):
        return Misconfigured("the statement has letters that the channel's encoding does not have")
    if isinstance(error, UnicodeError):
        return Misconfigured("the driver gives text that is not in the charset it says")
    return by_state(str(error.args[0]) if error.args else "")


def by_state(state: str) -> HubError:
    """What a SQLSTATE, or a driver's own code, means for the channel."""
    if state in _WRONG:
        return Misconfigured(f"{_WRONG[state]} (SQLSTATE {state})", code=f"sql_{state.lower()}")
    return NotDelivered(f"{_PASSING.get(state, 'the database gave an error')} (SQLSTATE {state})", code=f"sql_{state.lower()}")
