"""A table whose rows say by a flag whether they were fetched: claimed, read, stored durably, acknowledged.

A row that its owner changes meanwhile gets the flag for new again by that, so it is not acknowledged but read again. Rows that
a killed hub had claimed are found by their flag. Rows that somebody else is just writing are left for the next poll: waiting
for them could lock the owner's programs against each other (ADR 0100).
"""

# ruff: noqa: RUF009, S608 - option() makes a dataclass field; statements are made of names of hub.toml (`name` checks them)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hub.adapters.sql.clean import Cleaner
from hub.adapters.sql.keyed import Row, among, chunks, keys_of
from hub.adapters.sql.select import Relation, name
from hub.config import option
from hub.domain.errors import Misconfigured
from hub.domain.ports import Feed
from hub.transport.odbc import Database

Value = str | int


@dataclass(frozen=True, slots=True)
class Flag:
    """How the rows of a table say that they are new, and how they are told that they were taken."""

    column: str = option(doc='the flag: "IF_YN"')
    new: Value = option("N", doc="of a row to be fetched; an empty text: NULL or blank")
    claimed: Value = option("P", doc="while the hub has it; no other program writes this")
    done: Value = option("Y", doc="of a row that the hub has stored")
    delete: bool = option(False, doc="delete a row that the hub has stored, instead of setting done")

    def __post_init__(self) -> None:
        if not self.column:
            raise Misconfigured('"flag" names no column')
        if self.claimed in ("", self.new) or (not self.delete and self.done in (self.new, self.claimed)):
            raise Misconfigured('"flag" needs three different values: new, claimed and done')


def holds(column: str, value: Value) -> tuple[str, tuple[Value, ...]]:
    """The condition that a flag has this value."""
    return (f"({column} IS NULL OR {column} = '')", ()) if value == "" else (f"{column} = ?", (value,))


@dataclass(frozen=True, slots=True)
class FlagTable:
    """One such table. `database` is a connection that writes."""

    flag: Flag
    relation: Relation
    database: Database
    cleaner: Cleaner
    key: Sequence[str]
    block: int
    event: str

    def __post_init__(self) -> None:
        _ = self._column, self._key  # said now where one is no name

    def poll(self, feed: Feed, _seen: set[bytes] | None = None) -> int:
        """What was left claimed, then all that is new, block by block; how many messages that made."""
        told = self._take(feed)
        only_keys = replace(self._where(self.flag.new), columns=", ".join(self._key))
        for names, rows in only_keys.blocks(self.database, self.key, self.block):
            if feed.ending():
                break
            self._move(keys_of(self.key, names, rows), self.flag.new, self._set, self.flag.claimed)
            told += self._take(feed)
        return told

    def _take(self, feed: Feed) -> int:
        told = 0
        for names, rows in self._where(self.flag.claimed).blocks(self.database, self.key, self.block):
            told += feed.rows(self.event, self.cleaner.block(names, rows))
            taken = keys_of(self.key, names, rows)  # durable from here on
            if self.flag.delete:
                self._move(taken, self.flag.claimed, f"DELETE FROM {self._table}")
            else:
                self._move(taken, self.flag.claimed, self._set, self.flag.done)
            if feed.ending():
                break
        return told

    def _move(self, keys: Sequence[Row], before: Value, change: str, *values: Value) -> None:
        """Changes those of the rows that still have the flag `before` and that nobody else holds."""
        still, flagged = holds(self._column, before)
        profile = self.database.profile
        for chunk in chunks(keys):
            with self.database.transaction():
                wanted = chunk
                if profile.lock or profile.hint:
                    where, named = among(self._key, chunk, profile)
                    free = (
                        f"SELECT {', '.join(self._key)} FROM {self._table}{profile.hint} WHERE {still} AND {where}{profile.lock}"
                    )
                    _, wanted = self.database.select(free, [*flagged, *named])
                if wanted:
                    where, named = among(self._key, wanted, profile)
                    self.database.execute(f"{change} WHERE {still} AND {where}", [*values, *flagged, *named])

    def _where(self, value: Value) -> Relation:
        condition, values = holds(self._column, value)
        return replace(self.relation, condition=condition, values=values)

    @property
    def _table(self) -> str:
        return self.relation.source

    @property
    def _set(self) -> str:
        return f"UPDATE {self._table} SET {self._column} = ?"

    @property
    def _column(self) -> str:
        return name(self.flag.column, self.database.profile.quote)

    @property
    def _key(self) -> list[str]:
        return [name(column, self.database.profile.quote) for column in self.key]
