"""Statements for reading a table or view in blocks, put together from names of hub.toml; values are parameters only."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hub.domain.errors import Misconfigured
from hub.transport.odbc import Database

_PLAIN = re.compile(r"[^\W\d][\w$#]*")  # letters of any script: Korean names stand as they are


def name(text: str, quote: str) -> str:
    """A column or table (`OWNER.TABLE`) as SQL; in double quotes where hub.toml has it so, or where it is no plain word."""
    parts = []
    for part in re.findall(r'"[^"]+"|[^.]+', text):
        bare = part.strip('"')
        if not bare or any(mark in bare for mark in '"`[]\0;'):
            raise Misconfigured(f'"{text}" cannot be a name in SQL')
        parts.append(part if _PLAIN.fullmatch(part) else quote[0] + bare + quote[1])
    return ".".join(parts)


@dataclass(frozen=True, slots=True)
class Relation:
    """What is read: FROM, which columns, and WHERE."""

    source: str  # a quoted name, or (query) hub_rows
    columns: str  # *, or a list of quoted names
    condition: str = ""  # of every row: SQL of ours with question marks
    values: tuple[Any, ...] = ()  # for them

    def blocks(
        self,
        database: Database,
        order: Sequence[str],
        size: int,
        first: Any = None,
        *,
        present: bool = False,
        after: Sequence[Any] = (),
    ) -> Iterator[tuple[list[str], list[tuple[Any, ...]]]]:
        """All rows in the order of the columns `order`, which tell rows apart; from `first` on, a value of the first of them.
        `present`: only where that one is not NULL. `after`: only behind these values of all of them.

        Each block is a statement of its own, behind the last row of the one before.
        """
        profile = database.profile
        columns = [name(column, profile.quote) for column in order]
        where = f"{columns[0]} IS NOT NULL" if present else ""
        values, before = list[Any](), list[Any]()
        if first is not None:
            where, values = f"{columns[0]} >= ?", [first]
        if after:
            where, values = behind(columns, after)
        while True:
            conditions = " AND ".join(one for one in (self.condition, where) if one)
            what = (
                f"{self.columns} FROM {self.source}{' WHERE ' + conditions if conditions else ''} ORDER BY {', '.join(columns)}"
            )
            parameters = [parameter(value, profile) for value in (*self.values, *values)]
            names, rows = database.select(profile.limit.format(what=what, n=size), parameters)
            yield names, rows
            if len(rows) < size:
                return
            places = [place_of(column, names) for column in order]
            last = [rows[-1][place] for place in places]
            if None in last:
                raise Misconfigured("a key column is NULL: such rows cannot be told apart")
            if last == before:  # else it would be read for ever, and nothing behind it
                raise Misconfigured(
                    f"the same rows come again and again: the driver does not say {order[0]} as exactly as it stands"
                )
            before = last
            where, values = behind(columns, last)

    def greatest(self, database: Database, column: str) -> Any:
        """Its largest value now, or None."""
        wanted = name(column, database.profile.quote)
        what = f"{wanted} FROM {self.source} WHERE {wanted} IS NOT NULL ORDER BY {wanted} DESC"  # MAX() loses SQLite's types
        _, rows = database.select(database.profile.limit.format(what=what, n=1))
        return rows[0][0] if rows else None


def behind(columns: Sequence[str], last: Sequence[Any]) -> tuple[str, list[Any]]:
    """The rows after `last` in the order of `columns`: a >= ? AND (a > ? OR (a = ? AND b > ?) …), the first for the index."""
    terms: list[str] = []
    values = [last[0]]
    for i, column in enumerate(columns):
        terms.append("(" + " AND ".join([*(f"{c} = ?" for c in columns[:i]), f"{column} > ?"]) + ")")
        values += last[: i + 1]
    return f"{columns[0]} >= ? AND ({' OR '.join(terms)})", values


def parameter(value: Any, profile: Any) -> Any:
    """Times as text where the database or its driver wants that."""
    if not profile.times_as_text:
        return value
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value


def bare(column: str) -> str:
    """As names of columns are compared."""
    return column.rpartition(".")[2].strip('"').lower()


def place_of(column: str, names: Sequence[str]) -> int:
    """Where a column stands; databases fold names to upper or lower case."""
    wanted = bare(column)
    for place, found in enumerate(names):
        if found.lower() == wanted:
            return place
    raise Misconfigured(f'the rows have no column "{column}"')
