"""One row or one call into an old database: looked for first, written, read back and compared, then committed.

Whoever writes again after a lost answer finds what the first attempt wrote, so a resend is safe. What is read back and is not
what was sent (a silent cut, another charset, a trigger) is taken back before the commit. Names come from a map that was checked;
values are parameters only.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from hub.adapters.sql.clean import PADDING
from hub.adapters.sql.fit import Fit
from hub.adapters.sql.select import name as quoted
from hub.adapters.sql.select import place_of
from hub.domain.errors import HubError, Misconfigured, Refused
from hub.mapping.row_compose import OutRow, Value
from hub.mapping.row_out import PARAMETER, Write
from hub.transport.odbc import PROFILES, Kind
from hub.transport.odbc_errors import DUPLICATE
from hub.transport.odbc_write import WRITING, Session

ROUNDS = 3  # how often a row that somebody else made meanwhile is looked for again
_DIGITS = re.compile(r"\D")


@dataclass(frozen=True, slots=True)
class Task:
    """What one message does. `changed`: the columns that it is about, for a row that is there."""

    row: OutRow
    changed: Sequence[Value]
    again: bool  # an earlier attempt may have written it


class RowWriter:
    """Writes by one map into one database. Holds no connection and no state but what the catalogue said."""

    def __init__(self, kind: Kind, fit: Fit) -> None:
        self._kind, self._fit = kind, fit
        self._quote = PROFILES[kind].quote
        self._profile = WRITING[kind]

    # -- the ways of a message ------------------------------------------------------------------------------------

    def carry_out(self, session: Session, task: Task) -> str:
        """ "inserted", "updated", "called", "found" or "unchanged". Raises the four errors of the Target port."""
        self._fit.check(session, task.row)
        for _ in range(ROUNDS):
            try:
                done = self._round(session, task)
            except HubError as error:
                session.rollback()
                if isinstance(error, Refused) and error.code == DUPLICATE and task.row.write.key:
                    continue  # somebody was faster, or an earlier attempt of ours: found with the next look
                raise
            except BaseException:
                session.close()
                raise
            return done
        raise Refused("there is a row with the same unique values, but not with this key", code="key_taken")

    def learn(self, session: Session, write: Write) -> None:
        """What the catalogue says of the write's table. Raises Misconfigured where it or a column is not there."""
        self._fit.learn(session, write)

    def found(self, session: Session, task: Task) -> bool:
        """Whether what `task` says stands there."""
        self._fit.learn(session, task.row.write)
        session.begin()  # which ends what an earlier attempt may have left at work
        names, rows = self._look(session, task.row)
        session.rollback()
        if len(rows) != 1:
            return False
        return task.row.write.do == "insert" or not self._differing(task.row, names, rows[0], task.changed)

    def _round(self, session: Session, task: Task) -> str:
        write = task.row.write
        session.begin()
        names, rows = self._look(session, task.row)
        if len(rows) > 1:
            raise Refused("several rows have this key: it does not tell rows apart", code="ambiguous")
        if rows:
            said = self._there(task, names, rows[0])
            if said:
                session.rollback()
                return said
        elif write.do == "update":
            raise Refused("there is no row with this key, and the map only updates", code="unknown_there")
        done = self._do(session, task, bool(rows))
        self._read_back(session, task, made=not rows)
        session.commit()
        return done

    def _there(self, task: Task, names: Sequence[str], row: Sequence[Any]) -> str:
        """What there is to say where the row is there already; "" where there is something to do."""
        columns = task.row.values if task.row.write.do in ("insert", "call") else task.changed
        differing = self._differing(task.row, names, row, columns)
        if not differing:
            return "found" if task.row.write.do in ("insert", "call") else "unchanged"
        if task.row.write.do != "insert":
            return ""
        if task.again:
            return "found"  # as it stood then; what changed since has a message of its own
        columns_text = ", ".join(differing)
        raise Refused(f"a row with this message's key is there and says something else in {columns_text}", code="key_taken")

    def _do(self, session: Session, task: Task, there: bool) -> str:
        write = task.row.write
        if write.do == "call":
            marks = ", ".join("?" for _ in task.row.values)
            call = self._profile.call.format(name=quoted(write.target, self._quote), marks=marks)
            session.write(call, [self._fit.parameter(value) for value in task.row.values])
            return "called"
        if there:
            changed = [value for value in task.changed if value.column.name not in write.key]
            if changed:
                self._update(session, task.row, changed)
            return "updated"
        self._insert(session, task.row)
        return "inserted"

    # -- statements -----------------------------------------------------------------------------------------------

    def _insert(self, session: Session, row: OutRow) -> None:
        columns = ", ".join(self._column(value) for value in row.values)
        marks = ", ".join(self._mark(value.column.name) for value in row.values)
        sql = f"INSERT INTO {quoted(row.write.target, self._quote)} ({columns}) VALUES ({marks})"  # noqa: S608 - names are checked, values parameters
        session.write(sql, [self._fit.parameter(value) for value in row.values])

    def _update(self, session: Session, row: OutRow, changed: Sequence[Value]) -> None:
        sets = ", ".join(f"{self._column(value)} = {self._mark(value.column.name)}" for value in changed)
        where, parameters = self._where(row)
        sql = f"UPDATE {quoted(row.write.target, self._quote)} SET {sets} WHERE {where}"  # noqa: S608 - as above
        session.write(sql, [*(self._fit.parameter(value) for value in changed), *parameters])

    def _where(self, row: OutRow) -> tuple[str, list[Any]]:
        keys = [value for value in row.values if value.column.name in row.write.key]
        where = " AND ".join(f"{self._column(value)} = {self._mark(value.column.name)}" for value in keys)
        return where, [self._fit.parameter(value) for value in keys]

    def _mark(self, column: str) -> str:
        return self._profile.bytes_in if self._fit.as_bytes(column) else "?"

    def _look(self, session: Session, row: OutRow) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The row as it stands: by the map's own query, else by the key."""
        if row.write.check:
            return session.query(*self._check(row))
        where, parameters = self._where(row)
        columns = ", ".join(self._read(value) for value in row.values)
        sql = f"SELECT {columns} FROM {quoted(row.write.target, self._quote)} WHERE {where}"  # noqa: S608 - as above
        return session.query(sql, parameters)

    def _column(self, value: Value) -> str:
        """As the catalogue writes it, and quoted: it may be a word of SQL's own."""
        return self._quote[0] + self._fit.column(value.column.name) + self._quote[1]

    def _read(self, value: Value) -> str:
        bare = self._column(value)
        return f"{self._profile.bytes_out.format(bare)} AS {bare}" if self._fit.as_bytes(value.column.name) else bare

    def _check(self, row: OutRow) -> tuple[str, list[Any]]:
        by_name = {value.column.name: value for value in row.values}
        named = PARAMETER.findall(row.write.check)
        sql = PARAMETER.sub(lambda match: self._mark(match.group(1)), row.write.check)
        return sql, [self._fit.parameter(by_name[name]) for name in named]

    # -- reading back ---------------------------------------------------------------------------------------------

    def _read_back(self, session: Session, task: Task, *, made: bool) -> None:
        names, rows = self._look(session, task.row)
        if len(rows) != 1:
            raise Refused(f"{len(rows)} rows have this key after the write; it was taken back", code="not_kept")
        columns = task.row.values if made or task.row.write.do == "call" else task.changed
        differing = self._differing(task.row, names, rows[0], columns)
        if differing:
            raise Refused(
                f"the database kept something else than was sent in {', '.join(differing)}; it was taken back", code="not_kept"
            )

    def _differing(self, row: OutRow, names: Sequence[str], found: Sequence[Any], values: Sequence[Value]) -> list[str]:
        """The columns (of those that were read) in which the row does not say what is to stand there."""
        folded = {name.lower() for name in names}
        read = [value for value in values if value.column.name.lower() in folded]
        if not read and row.write.check:
            raise Misconfigured("`check` reads no column that the map writes: name its results as the fields are named")
        return [
            value.column.name
            for value in read
            if not same(value.cell, self._fit.text(value.column.name, found[place_of(value.column.name, names)]))
        ]


def same(sent: Any, kept: Any) -> bool:
    """Whether a column says what was sent: padding aside, numbers by value, dates however they are written, "" as NULL."""
    left, right = _plain(sent), _plain(kept)
    if left == right or (not left and not right and not isinstance(left, Decimal) and not isinstance(right, Decimal)):
        return True
    if isinstance(right, Decimal) or isinstance(left, Decimal):
        return _decimal(left) == _decimal(right) is not None
    if isinstance(kept, dt.date | dt.time) or isinstance(sent, dt.date):
        return bool(left) and _date_digits(left) == _date_digits(right)
    return False


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return Decimal(int(value))
    if isinstance(value, int | float | Decimal):
        return Decimal(str(value))
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if value is None:
        return ""
    return str(value).rstrip(PADDING)


def _decimal(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        return None


def _date_digits(value: Any) -> str:
    """20260102030405 of whatever writing; midnight goes without saying."""
    digits = _DIGITS.sub("", str(value).partition(".")[0])
    return digits.removesuffix("000000") if len(digits) == 14 else digits


def require_unique(session: Session, write: Write) -> None:
    """Two writers must not make two rows of one key: that only an index can rule out. Raises Misconfigured."""
    schema, _, table = write.target.rpartition(".")
    found = session.unique(schema, table)
    key = {column.lower() for column in write.key}
    if found is not None and not any(set(index) <= key for index in found):
        raise Misconfigured(
            f"no unique index of {write.target} lies within {', '.join(write.key)}: make one, else rows may double"
        )
