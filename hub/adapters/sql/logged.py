"""A log that triggers write, an entry a change: read, its row fetched or taken from the entry, then acknowledged or deleted.

What counts is the newest that is known of a row, not the single entry. So entries may be read again after a kill, in whatever
blocks: the hub meets the same state, or a newer one, and never goes back (ADR 0101).
"""

# ruff: noqa: RUF009, S608 - option() makes a dataclass field; statements are made of names of hub.toml (`name` checks them)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hub.adapters.sql.clean import Cleaner
from hub.adapters.sql.flags import Value, holds
from hub.adapters.sql.keyed import Row, among, chunks, keys_of
from hub.adapters.sql.select import Relation, name, place_of
from hub.config import option
from hub.domain.errors import Misconfigured
from hub.domain.ports import Feed, Found
from hub.transport.odbc import Database


@dataclass(frozen=True, slots=True)
class Log:
    """Where triggers write down what changed."""

    table: str = option(doc='the log: "OPD_PATIENT_LOG"')
    order: str = option(doc="its column that tells entries apart and grows with them: LOG_ID")
    key: tuple[str, ...] = option(
        (), doc="its columns that hold the row's key, in the order of the channel's; default: the same names"
    )
    action: str = option("", doc="its column that says what was done; without it, only a compare notices that rows are gone")
    deleted: str = option("D", doc="what that column says of a row that was deleted")
    flag: str = option("", doc="its column that says whether an entry was read; without it, entries that were read are deleted")
    new: Value = option("N", doc="of an entry to be read; an empty text: NULL or blank")
    done: Value = option("Y", doc="of an entry that was read")

    def __post_init__(self) -> None:
        if not (self.table and self.order):
            raise Misconfigured('"log" needs table and order')
        if self.new == self.done:
            raise Misconfigured('"log" needs two different values: new and done')

    @property
    def own(self) -> list[str]:
        """Its columns that are none of the row."""
        return [column for column in (self.order, self.action, self.flag) if column]


@dataclass(frozen=True, slots=True)
class LoggedTable:
    """One such log, and the table whose changes it holds. `database` is a connection that writes."""

    log: Log
    relation: Relation | None  # of the table; None: the entries hold the row
    database: Database
    cleaner: Cleaner  # of the table, or of the entries
    key: Sequence[str]  # of the table
    block: int
    event: str
    gone_event: str

    def __post_init__(self) -> None:
        _ = self._entries()  # said now where something is no name

    def poll(self, feed: Feed, seen: set[bytes] | None = None) -> int:
        """All entries that are there; how many messages that made. `seen`: of a compare that is under way."""
        told = 0
        for names, rows in self._entries().blocks(self.database, [self.log.order], self.block):
            if rows:
                told += self._hand_on(feed, names, rows, seen)
            if feed.ending():
                break
        return told

    def _hand_on(self, feed: Feed, names: list[str], rows: list[Row], seen: set[bytes] | None) -> int:
        if self.relation is None:
            rows = self._all_of_the_same(names, rows)
        newest = dict(zip(keys_of(self._log_key, names, rows), rows, strict=True))
        deleted = [key for key, row in newest.items() if self._says_deleted(names, row)]
        if self.relation is None:
            key_names = list(self._log_key)
            found = self.cleaner.block(names, [row for key, row in newest.items() if key not in deleted])
        else:
            key_names, found = self._fetch(self.relation, list(newest))
        here = {tuple(one.key.values()) for one in found}
        gone = [key for key in (self.cleaner.found(key_names, key).key for key in deleted) if tuple(key.values()) not in here]
        told = feed.rows(self.event, found, seen)
        told += feed.gone(self.gone_event, [feed.digest(self.event, key) for key in gone])
        self._acknowledge(keys_of([self.log.order], names, rows))  # durable from here on
        return told

    def _entries(self) -> Relation:
        columns = [self.log.order, *self._log_key, *([self.log.action] if self.log.action else [])]
        condition, values = self._unread()
        what = "*" if self.relation is None else ", ".join(map(self._name, columns))
        return Relation(self._table, what, condition, values)

    def _all_of_the_same(self, names: Sequence[str], rows: Sequence[Row]) -> list[Row]:
        """All entries of the rows that these are about: the newest one of a row may be in a block to come."""
        entries, found = self._entries(), list[Row]()
        keys = dict.fromkeys(keys_of(self._log_key, names, rows))
        place = place_of(self.log.order, names)
        for chunk in chunks(list(keys)):
            where, values = among([self._name(column) for column in self._log_key], chunk, self.database.profile)
            conditions = " AND ".join(one for one in (entries.condition, where) if one)
            sql = f"SELECT * FROM {self._table} WHERE {conditions}"
            found += self.database.select(sql, [*entries.values, *values])[1]
        return sorted(found, key=lambda row: row[place])

    def _fetch(self, relation: Relation, keys: Sequence[Row]) -> tuple[list[str], list[Found]]:
        """The rows that the entries are about, as they are now; and how the table writes its key columns."""
        found, names = list[Found](), list[str]()
        for chunk in chunks(keys):
            where, values = among([self._name(column) for column in self.key], chunk, self.database.profile)
            sql = f"SELECT {relation.columns} FROM {relation.source} WHERE {where}"
            names, rows = self.database.select(sql, values)
            found += self.cleaner.block(names, rows)
        return [names[place_of(column, names)] for column in self.key], found

    def _says_deleted(self, names: Sequence[str], row: Row) -> bool:
        return bool(self.log.action) and str(row[place_of(self.log.action, names)]).strip() == self.log.deleted

    def _acknowledge(self, numbers: Sequence[Row]) -> None:
        mark = f"UPDATE {self._table} SET {self._name(self.log.flag)} = ?" if self.log.flag else f"DELETE FROM {self._table}"
        marked = [self.log.done] if self.log.flag else []
        for chunk in chunks(numbers):
            where, values = among([self._name(self.log.order)], chunk, self.database.profile)
            self.database.execute(f"{mark} WHERE {where}", [*marked, *values])

    def _unread(self) -> tuple[str, tuple[Value, ...]]:
        return holds(self._name(self.log.flag), self.log.new) if self.log.flag else ("", ())

    @property
    def _log_key(self) -> Sequence[str]:
        return self.log.key or self.key

    @property
    def _table(self) -> str:
        return self._name(self.log.table)

    def _name(self, text: str) -> str:
        return name(text, self.database.profile.quote)
