"""A table read whole, in blocks of its key, from wherever an earlier load stopped; or the rows under one number.

Conditions come from a command line: their columns are looked up in what the table has, their values are bound, converted
to what the column holds. Nothing of them becomes part of a statement.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import orjson

from hub.adapters.sql.clean import Cleaner
from hub.adapters.sql.select import Relation, name, parameter, place_of
from hub.adapters.sql.watermark import dump, restore
from hub.domain.errors import Misconfigured
from hub.domain.ports import Condition, Feed, Loaded
from hub.transport.odbc import Database

BLOCK = 500  # rows read at a time at most: what is read is soon stored, or a poll may tell something newer in between
OPERATORS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_READ: Mapping[type, Callable[[str], Any]] = {
    int: int, float: float, Decimal: Decimal, dt.datetime: dt.datetime.fromisoformat, dt.date: dt.date.fromisoformat,
    dt.time: dt.time.fromisoformat, bool: lambda text: {"true": True, "1": True, "false": False, "0": False}[text.lower()],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TableLoad:
    """One table, view or query; `key` tells its rows apart, `block` rows are read by a statement."""

    relation: Relation
    database: Database
    cleaner: Cleaner
    key: Sequence[str]
    block: int
    event: str

    @property
    def _size(self) -> int:
        return min(self.block, BLOCK)

    def total(self, where: Sequence[Condition]) -> int:
        """How many rows meet the conditions now."""
        terms, values = self._terms(where)
        count = f"SELECT COUNT(*) FROM {self.relation.source}{_where(terms)}"  # noqa: S608 - names of hub.toml, checked columns
        _, rows = self.database.select(count, values)
        return int(rows[0][0])

    def load(self, feed: Feed, where: Sequence[Condition], place: str) -> Iterator[Loaded]:
        """All of them in the order of the key, behind `place`."""
        terms, values = self._terms(where)
        wanted = replace(self.relation, condition=" AND ".join(terms), values=tuple(values))
        after = [restore(value) for value in orjson.loads(place)] if place else []
        for names, rows in wanted.blocks(self.database, self.key, self._size, after=after):
            if not rows:
                return
            told = feed.rows(self.event, self.cleaner.block(names, rows))
            last = [rows[-1][place_of(column, names)] for column in self.key]
            if None in last:  # no place to go on from
                raise Misconfigured("a key column is NULL: such rows cannot be told apart")
            yield Loaded(orjson.dumps([dump(value) for value in last]).decode(), len(rows), told)

    def request(self, feed: Feed, number: str, columns: Sequence[str]) -> int:
        """The rows whose `columns` hold the number; several columns share it, joined by `/` as in maps."""
        parts = number.split("/") if len(columns) > 1 else [number]
        if len(parts) != len(columns):
            raise Misconfigured(f"this number has {len(columns)} parts: write {'/'.join(columns)}")
        terms, values = self._terms([Condition(*pair) for pair in zip(columns, "=" * len(columns), parts, strict=True)])
        names, rows = self._select(terms, values, [name(column, self.database.profile.quote) for column in self.key])
        feed.rows(self.event, self.cleaner.block(names, rows))
        return len(rows)

    def _select(
        self, terms: Sequence[str], values: Sequence[Any], order: Sequence[str]
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        profile = self.database.profile
        what = f"{self.relation.columns} FROM {self.relation.source}{_where(terms)} ORDER BY {', '.join(order)}"
        return self.database.select(profile.limit.format(what=what, n=self._size), [parameter(v, profile) for v in values])

    def _terms(self, where: Sequence[Condition]) -> tuple[list[str], list[Any]]:
        """SQL and values of the conditions. Misconfigured names a column or operator that there is not."""
        if not where:
            return [], []
        profile = self.database.profile
        names, _ = self.database.select(profile.limit.format(what=f"* FROM {self.relation.source}", n=1))
        terms, values = [], []
        for one in where:
            if one.operator not in OPERATORS:
                raise Misconfigured(f'"{one.operator}" compares nothing; write one of {" ".join(OPERATORS)}')
            place_of(one.column, names)  # says so where there is no such column
            column = name(one.column, profile.quote)
            terms.append(f"{column} {OPERATORS[one.operator]} ?")
            values.append(parameter(self._value(column, one), profile))
        return terms, values

    def _value(self, column: str, one: Condition) -> Any:
        """The value as the column's own type: some databases compare no number with a text."""
        what = f"{column} FROM {self.relation.source} WHERE {column} IS NOT NULL"
        _, rows = self.database.select(self.database.profile.limit.format(what=what, n=1))
        sample = rows[0][0] if rows else ""
        if isinstance(sample, str):
            return self.cleaner.bound(one.column, one.value)
        read = _READ.get(type(sample))
        if read is None:
            raise Misconfigured(f'column "{one.column}" holds no text, number or time: it cannot be compared')
        try:
            return read(one.value)
        except (ValueError, KeyError, ArithmeticError):
            raise Misconfigured(f'what "{one.column}" is compared with is no {type(sample).__name__}') from None


def _where(terms: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(f'({term})' for term in terms)}" if terms else ""
