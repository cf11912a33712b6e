"""What an error of an ODBC driver means for a write: by SQLSTATE, the driver's native code, and how far the work had come.

A driver's own text may quote values and is looked into, never passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.transport.odbc import Kind


class Stage(IntEnum):
    """How far the work on a connection has come."""

    CONNECT = 0
    ASK = 1  # nothing was written yet
    WRITE = 2  # something was, and not committed
    COMMIT = 3  # the commit is on its way


@dataclass(frozen=True, slots=True)
class Said:
    """`lost`: the connection is of no use any more."""

    error: HubError
    lost: bool


_NATIVE = re.compile(r"\((\d+)\)(?: \(SQL\w+\))?\s*$")
_NATIVE_PSQL = re.compile(r"\((\d+)\) \(SQL\w+\)")
_CONFIGURED = {  # SQLSTATE (ISO/IEC 9075-2 §24.1, ODBC appendix A): what a person has to put right
    "28000": "the database refuses this user or password",
    "28P01": "the database refuses this user or password",
    "3D000": "there is no such database",
    "3F000": "there is no such schema",
    "42000": "the statement is wrong, or this user may not run it",
    "42501": "this user may not write there",
    "42601": "the statement is wrong",
    "42703": "there is no such column",
    "42804": 'a value is of another type than its column: write as = "number", "sql_date" or "sql_time"',
    "42809": "that is no procedure",
    "42883": "there is no such procedure with these parameters",
    "42P01": "there is no such table or view",
    "42S02": "there is no such table or view",
    "42S22": "there is no such column",
    "IM002": "there is no such ODBC driver or data source",
    "25006": "the database is read-only",
}
_REFUSED = {
    "22001": "a value is longer than its column",
    "22003": "a number is out of its column's range",
    "22007": "a value is no date or not in the column's charset",
    "22008": "a date is out of range",
    "22018": "a value does not fit its column's type",
    "22021": "a character is not in the database's charset",
    "22P02": "a value does not fit its column's type",
    "22P05": "a character is not in the database's charset",
    "23000": "a constraint of the table",
    "23502": "a column may not be empty",
    "23503": "a foreign key: what the row refers to is not there",
    "23505": "there is a row with this key already",
    "23514": "a check of the table",
    "44000": "a check of the view",
    "45000": "a trigger or procedure said no",
    "P0001": "a trigger or procedure said no",
}
_LATER = {
    "40001": "a deadlock",
    "40P01": "a deadlock",
    "55P03": "a lock was not to be had in time",
    "57014": "a statement took too long",
    "70100": "a statement took too long",
    "HY018": "a statement took too long",
    "HYT00": "a statement took too long",
    "53300": "the database has too many connections",
    "57P03": "the database is starting",
    "08004": "the database has too many connections",
}
_LOST = frozenset({"08001", "08003", "08006", "08007", "08S01", "57P01", "57P02", "HYT01", "HY117"})
_MARIADB = {  # native codes of errors that have no SQLSTATE of their own (HY000)
    1040: "08004", 1205: "55P03", 1213: "40001", 1290: "25006", 1364: "23502", 1366: "22007", 1292: "22007", 1265: "22018",
    1370: "42501", 1305: "42883", 1044: "28000", 1045: "28000", 1049: "3D000", 1142: "42501", 1143: "42501", 1969: "57014",
    1317: "57014", 1062: "23505", 1586: "23505", 1406: "22001", 1264: "22003",
}  # fmt: skip
_SQLITE = {19: "23000", 1: "42S02", 5: "55P03", 6: "55P03", 8: "25006", 14: "3D000", 26: "3D000", 13: "53300", 11: "25006"}
_TLS_MARIADB = 2026
DUPLICATE = "sql_23505"


def named(error: Exception, kind: Kind, stage: Stage) -> Said:
    """By SQLSTATE, the driver's native code and how far we had come; the driver's own text may quote values."""
    state = str(error.args[0]) if error.args else ""
    text = str(error.args[1]) if len(error.args) > 1 else ""
    native = _native(text)
    if kind == "mariadb":
        state = _MARIADB.get(native, state)
    elif kind == "sqlite" and state == "HY000":
        state = "23505" if native == 19 and "UNIQUE" in text else _SQLITE.get(native, state)
    elif kind == "sqlserver" and native in (2601, 2627):
        state = "23505"
    if stage is Stage.CONNECT:
        return Said(_connecting(state, native, text, kind), lost=True)
    code = f"sql_{state.lower()}"
    if _is_lost(state, native, kind):
        return Said(broken(stage, code), lost=True)
    if state in _CONFIGURED:
        return Said(Misconfigured(f"{_CONFIGURED[state]} (SQLSTATE {state})", code=code), lost=False)
    if state in _LATER:
        return Said(NotDelivered(f"{_LATER[state]} (SQLSTATE {state})", code=code), lost=False)
    if state in _REFUSED or state[:2] in ("22", "23"):
        return Said(
            Refused(f"the database refuses it: {_REFUSED.get(state, 'a value')} (SQLSTATE {state})", code=code), lost=False
        )
    return Said(broken(stage, code), lost=True)  # nobody knows what it is: the connection is not used any more


def _native(text: str) -> int:
    found = _NATIVE_PSQL.findall(text) or _NATIVE.findall(text)
    return int(found[-1]) if found else 0


def _is_lost(state: str, native: int, kind: Kind) -> bool:
    """MariaDB's client library has 2000 to 2999 for itself; psqlodbc 35 and 26 for a connection that is gone or broken."""
    if state in _LOST or (kind == "mariadb" and 2000 <= native < 3000):
        return True
    return kind == "postgresql" and state not in _CONFIGURED and native in (26, 35)


def broken(stage: Stage, code: str) -> HubError:
    if stage >= Stage.WRITE:
        return OutcomeUnknown(f"the connection broke before the database confirmed ({code})", code=code)
    return NotDelivered(f"the connection broke ({code})", code=code)


def _connecting(state: str, native: int, text: str, kind: Kind) -> HubError:
    code = f"sql_{state.lower()}"
    if (kind == "mariadb" and native == _TLS_MARIADB) or (kind == "postgresql" and "certificate" in text):
        return Misconfigured("the database's certificate is not trusted, or it speaks no TLS", code="tls_untrusted")
    if state == "01000" and "open lib" in text:
        return Misconfigured("the ODBC driver cannot be loaded (SQLSTATE 01000)", code=code)
    if state in _CONFIGURED:
        return Misconfigured(f"{_CONFIGURED[state]} (SQLSTATE {state})", code=code)
    if kind == "postgresql" and "password authentication failed" in text:  # psqlodbc has 08001 for whatever it is
        return Misconfigured("the database refuses this user or password", code="login")
    if kind == "postgresql" and "FATAL" in text and "does not exist" in text:
        return Misconfigured("there is no such database or user", code="login")
    return NotDelivered(f"the database cannot be reached (SQLSTATE {state})", code=code, reached=False)


def silent(stage: Stage) -> HubError:
    if stage >= Stage.WRITE:
        return OutcomeUnknown("the database did not answer in time", code="no_answer")
    return NotDelivered("the database did not answer in time", code="no_answer")
