"""One connection to a database by ODBC, for reading: charset, time-outs and read-only mode set, driver errors named once.

Where a driver lets us, text is fetched as the bytes that it is (as latin-1, which loses none) and decoded by the caller,
so that one bad row costs one row, and cp949 in columns that are declared latin-1 is nothing special.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hub.domain.errors import HubError, Misconfigured, NotDelivered

Kind = Literal["mariadb", "postgresql", "sqlite", "sqlserver"]
CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Profile:
    """How one kind of database is spoken to."""

    utf8: str  # added to the connection string where the database knows its charset
    other: str  # added where text columns hold other bytes than they say
    session: tuple[str, ...]  # first statements; {seconds} and {ms}: the longest a statement may take
    now: str  # its clock, in its own time
    raw: bool = True  # text can be had as bytes
    quote: str = '""'
    limit: str = "SELECT {what} LIMIT {n}"
    times_as_text: bool = False
    patience: str = ""  # added to the connection string: for a server that is there and says nothing
    driver_times_out: bool = False  # SQL_ATTR_QUERY_TIMEOUT; psqlodbc refuses it on connections, MariaDB's takes no notice


PROFILES: dict[str, Profile] = {
    "mariadb": Profile(
        "CHARSET=utf8mb4", "CHARSET=latin1",
        ("SET SESSION TRANSACTION READ ONLY", "SET SESSION max_statement_time = {seconds}"),
        "SELECT CURRENT_TIMESTAMP", quote="``", patience="CONN_TIMEOUT={connect};READ_TIMEOUT={read}",
    ),
    "postgresql": Profile(
        "ConnSettings=SET client_encoding TO 'UTF8'", "ConnSettings=SET client_encoding TO 'SQL_ASCII'",
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET statement_timeout = {ms}"),
        "SELECT LOCALTIMESTAMP",
    ),
    "sqlite": Profile("", "", ("PRAGMA query_only = 1",), "SELECT datetime('now', 'localtime')", times_as_text=True),
    # By FreeTDS: NVARCHAR, and VARCHAR of a Korean collation, come right by themselves; cp949 in a Latin-1 collation needs
    # CAST(column AS VARBINARY(8000)) in the channel's query.
    "sqlserver": Profile(
        "", "", ("SET LOCK_TIMEOUT {ms}",), "SELECT CURRENT_TIMESTAMP", raw=False, quote="[]", limit="SELECT TOP ({n}) {what}",
        driver_times_out=True,
    ),
}  # fmt: skip


class Database:
    """A connection that is opened by its first statement. Used by one thread."""

    def __init__(self, connection: str, kind: Kind, encoding: str, seconds: float) -> None:
        self.profile = PROFILES[kind]
        addition = self.profile.utf8 if encoding in ("utf-8", "utf8") else self.profile.other
        patience = self.profile.patience.format(connect=CONNECT_SECONDS, read=int(seconds) + 5)
        self._string = ";".join(part for part in (connection.strip().rstrip(";"), addition, patience) if part)
        self._seconds = seconds
        self._connection: Any = None

    def select(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Names of the columns, and all rows. Raises NotDelivered or Misconfigured; the connection is closed then."""
        try:
            import pyodbc
        except ImportError:
            raise Misconfigured("the ODBC driver manager is not installed: apt-get install unixodbc") from None
        try:
            if self._connection is None:
                self._connection = self._connect(pyodbc)
            cursor = self._connection.execute(sql, *parameters)
            names = [column[0] for column in cursor.description]
            rows = [tuple(row) for row in cursor.fetchall()]
            cursor.close()
        except (pyodbc.Error, UnicodeError) as error:
            self.close()
            raise named(error) from None
        return names, rows

    def primary_key(self, table: str) -> list[str]:
        """The columns of a table's declared key, in its order; none where it has none or the driver cannot tell."""
        import pyodbc

        schema, _, bare = table.replace('"', "").rpartition(".")
        try:
            rows = self._connection.cursor().primaryKeys(bare, schema=schema or None).fetchall()
        except pyodbc.Error:
            return []
        return [row[3] for row in sorted(rows, key=lambda row: row[4])]  # COLUMN_NAME, KEY_SEQ (ODBC, SQLPrimaryKeys)

    def _connect(self, pyodbc: Any) -> Any:
        pyodbc.pooling = False  # a pooled connection would keep another channel's settings
        connection = pyodbc.connect(
            self._string, autocommit=True, timeout=CONNECT_SECONDS
        )  # each statement sees what is committed
        if self.profile.raw:
            for kind in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):
                connection.setdecoding(kind, encoding="latin-1", ctype=pyodbc.SQL_CHAR)
            connection.setencoding("latin-1", ctype=pyodbc.SQL_CHAR)
        if self.profile.driver_times_out:
            connection.timeout = int(self._seconds)
        for statement in self.profile.session:
            connection.execute(statement.format(seconds=self._seconds, ms=int(self._seconds * 1000)))
        return connection

    def close(self) -> None:
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        try:
            connection.close()
        except Exception:  # noqa: BLE001, S110 - a connection that is broken already: there is nothing left to close
            pass


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
    if isinstance(error, UnicodeError):
        return Misconfigured("the driver gives text that is not in the charset it says")
    state = str(error.args[0]) if error.args else ""
    if state in _WRONG:
        return Misconfigured(f"{_WRONG[state]} (SQLSTATE {state})", code=f"sql_{state.lower()}")
    return NotDelivered(f"{_PASSING.get(state, 'the database gave an error')} (SQLSTATE {state})", code=f"sql_{state.lower()}")
