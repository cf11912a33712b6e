"""Tables and views of an old system by ODBC: rows that are new or changed become messages, rows that vanish are noticed.

A poll reads what is behind its watermarks (hub/adapters/sql/watermark.py); a compare reads everything, block by block between
polls, and finds what no cursor tells: changes without a time, and rows that are gone. Or a flag in the rows says which are new
(hub/adapters/sql/flags.py), or a log that triggers write (hub/adapters/sql/logged.py). Nothing else is ever written there.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hub import log
from hub.adapters.settings import read_table
from hub.adapters.sql.clean import Cleaner
from hub.adapters.sql.flags import Flag, FlagTable
from hub.adapters.sql.load import TableLoad
from hub.adapters.sql.logged import Log, LoggedTable
from hub.adapters.sql.look import Look, present
from hub.adapters.sql.select import Relation, bare, name, place_of
from hub.adapters.sql.watermark import Watermark, ceiling, dumps, loads
from hub.config import option
from hub.domain.errors import Misconfigured
from hub.domain.ids import now_us
from hub.domain.ports import Condition, Feed, Loaded, Manifest
from hub.transport.odbc import PROFILES
from hub.transport.sql_url import open_database

_log = log.get(__name__)

MANIFEST = Manifest(
    name="ocs.sql_in", title="tables and views of an old system", direction="in", system="ocs", protocol="ODBC",
    polled=True, form="row",
)  # fmt: skip
FEW = 20  # so many rows may always be gone at once
SWEEP_SECONDS = 1.0  # of comparing at a time, so that polls come between


@dataclass(frozen=True, slots=True)
class Settings:
    """One table, view or query."""

    database: Literal["mariadb", "postgresql", "sqlite", "sqlserver", "oracle"] = option(doc="what answers there")
    event: str = option(doc="the event of the map that its rows go through: OPD_PATIENT")
    key: tuple[str, ...] = option(doc='columns that tell rows apart: ["PANO"]')
    connection: str = option("", doc='ODBC connection string, { file = "secrets/ocs-odbc" }: DRIVER={MariaDB Unicode};SERVER=…')
    url: str = option(
        "", doc='or a SQLAlchemy URL, { file = "secrets/ocs-url" }: oracle+oracledb://USER:PASSWORD@HOST:1521/?service_name=…'
    )
    table: str = option("", doc='table or view: "OPD_PATIENT", "OCS.OPD_PATIENT"')
    query: str = option("", doc="a SELECT instead of a table, without ORDER BY")
    columns: tuple[str, ...] = option((), doc="what is read of it; default: all")
    cursor: tuple[str, ...] = option(
        (), doc='columns that grow with every change, ["UPD_DT"] or ["SEQ"]; without any, each poll reads everything'
    )
    flag: Flag | None = option(None, doc="a column that says which rows are new, instead of a cursor; the hub writes it")
    log: Log | None = option(None, doc="a table of changes that triggers write, instead of a cursor; the hub acknowledges there")
    overlap_seconds: float = option(300.0, doc="longer than the longest transaction that writes there", low=0, high=86400)
    poll_seconds: float = option(5.0, doc="pause between two polls", low=0.05, high=86400)
    compare_seconds: float = option(86400.0, doc="how often all rows are compared", low=1, high=31_536_000)
    gone_event: str = option("", doc="the map's event for a row that is gone, with its key columns; default: only remembered")
    most_gone: float = option(0.1, doc="share of the rows that may be gone at once; more is taken for a mistake", low=0, high=1)
    encoding: str = option("utf-8", doc="utf-8, or what text columns hold against their declaration: cp949")
    encodings: dict[str, str] = option(dict, doc='of single columns: { MEMO = "utf-8" }; binary ones become text by this')
    statement_seconds: float = option(30.0, doc="a statement that takes longer is given up", low=1, high=300)
    block: int = option(2000, doc="rows read by one statement", low=1, high=100_000)
    name: str = option("", doc="the channel's name; its table in hub.toml names it")

    def __post_init__(self) -> None:
        if (self.table and self.query) or not (self.table or self.query or self.log):
            raise Misconfigured('write either "table" or "query"')
        if not self.key:
            raise Misconfigured('"key" names no column')
        if sum((bool(self.cursor), self.flag is not None, self.log is not None)) > 1:
            raise Misconfigured('write one of "cursor", "flag" and "log"')
        if self.flag is not None and not self.table:
            raise Misconfigured('"flag" needs "table": that is where it is written')
        if self.log is not None and self.log.key and len(self.log.key) != len(self.key):
            raise Misconfigured('"key" of "log" needs as many columns as the channel\'s')
        for encoding in (self.encoding, *self.encodings.values()):
            try:
                codecs.lookup(encoding)
            except LookupError:
                raise Misconfigured(f'"encoding" cannot be {encoding}; write utf-8 or cp949') from None

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


@dataclass(slots=True)
class Sweep:
    """A compare that is under way."""

    blocks: Iterator[tuple[list[str], list[tuple[Any, ...]]]]
    known: set[bytes]  # rows that were there when it began
    began: int = field(default_factory=now_us)
    seen: set[bytes] = field(default_factory=set)


class SqlSource:
    """The Source of one channel."""

    def __init__(self, settings: Settings) -> None:
        self._s = s = settings
        quote = PROFILES[s.database].quote
        columns = ", ".join(name(column, quote) for column in s.columns) or "*"
        self._relation = Relation(name(s.table, quote) if s.table else f"({s.query.rstrip().rstrip(';')}) hub_rows", columns)
        writes = s.flag is not None or s.log is not None
        self._database = open_database(s.connection, s.url, s.database, s.encoding, s.statement_seconds, writes=writes)
        self._cleaner = self._how_to_clean()
        self._told = self._second_way()
        self._overlap_us = int(s.overlap_seconds * 1e6)
        self._marks: dict[str, Watermark] | None = None
        self._sweep: Sweep | None = None

    @property
    def pause_seconds(self) -> float:
        return 0.0 if self._sweep is not None else self._s.poll_seconds

    def close(self) -> None:
        self._database.close()
        self._sweep = None

    # -- asked whether it can be polled (hub.domain.ports.Pinged) ------------------------------------------------------

    def ping(self) -> str:
        """Connects and reads one row: every table and column that the settings name must be there."""
        s, look = self._s, Look(self._database, self._s.database)
        look.connect()
        said = []
        if self._has_table:
            place = f'table = "{s.table}"' if s.table else "query"
            names = look.columns(place, self._relation.source, self._relation.columns, s.columns)
            present(place, names, {"key": s.key, "cursor": s.cursor})
            present(place, names, {"encodings": list(s.encodings)})
            if s.flag is not None:
                look.columns(place, self._relation.source, name(s.flag.column, self._database.profile.quote), [s.flag.column])
            said.append(f"{s.table or 'query'} ({len(names)} columns)")
        if s.log is not None:
            place = f'log.table = "{s.log.table}"'
            names = look.columns(place, name(s.log.table, self._database.profile.quote), "*")
            present(place, names, {"log.order": [s.log.order], ("log.key" if s.log.key else "key"): s.log.key or s.key})
            present(
                place,
                names,
                {"log.action": [s.log.action] if s.log.action else [], "log.flag": [s.log.flag] if s.log.flag else []},
            )
            if not self._has_table:
                present(place, names, {"encodings": list(s.encodings)})
            said.append(f"log {s.log.table}")
        return f"{s.database}: {', '.join(said)} can be read"

    # -- asked instead of polling (hub.domain.ports.Loadable): a row is of whatever kinds its map makes of it ------------

    def total(self, _kind: str, where: Sequence[Condition]) -> int:
        return self._load().total(where)

    def load(self, feed: Feed, _kind: str, where: Sequence[Condition], place: str) -> Iterator[Loaded]:
        return self._load().load(feed, where, place)

    def request(self, feed: Feed, _kind: str, number: str, columns: Sequence[str]) -> int:
        return self._load().request(feed, number, columns)

    def _load(self) -> TableLoad:
        if not self._has_table:
            raise Misconfigured("the rows of this channel come from a log alone: there is no table to read them from")
        return TableLoad(self._relation, self._database, self._cleaner, self._s.key, self._s.block, self._s.event)

    # -- polling ----------------------------------------------------------------------------------------------------

    @property
    def _has_table(self) -> bool:
        return bool(self._s.table or self._s.query)

    def _how_to_clean(self) -> Cleaner:
        s, key, own = self._s, self._s.key, list[str]()
        if s.flag is not None:
            own = [s.flag.column]
        elif s.log is not None and not self._has_table:
            key, own = s.log.key or s.key, s.log.own
        return Cleaner(self._database.profile.raw, s.encoding, s.encodings, key, frozenset(bare(column) for column in own))

    def _second_way(self) -> FlagTable | LoggedTable | None:
        s, relation = self._s, self._relation
        if s.flag is not None:
            return FlagTable(s.flag, relation, self._database, self._cleaner, s.key, s.block, s.event)
        if s.log is not None:
            table = relation if self._has_table else None
            return LoggedTable(s.log, table, self._database, self._cleaner, s.key, s.block, s.event, s.gone_event)
        return None

    def poll(self, feed: Feed) -> int:
        told = 0
        if self._told is not None:
            told += self._told.poll(feed, self._sweep.seen if self._sweep is not None else None)
        if self._s.cursor:
            if self._marks is None:
                self._marks = loads(feed.place("cursor"), self._s.cursor, self._overlap_us) or self._begin(feed)
            for column, mark in self._marks.items():
                told += self._read_on(feed, column, mark)
        if self._sweep is None and self._compare_due(feed):
            blocks = self._relation.blocks(self._database, self._s.key, self._s.block)
            self._sweep = Sweep(blocks, feed.known())
        if self._sweep is not None:
            told += self._compare(feed, self._sweep)
        return told

    # -- what is new ----------------------------------------------------------------------------------------------

    def _begin(self, feed: Feed) -> dict[str, Watermark]:
        """The first time: from where the table is now. What is there, and what is being written now, compares will find: one at
        once, and one an overlap later."""
        marks = {}
        now = self._now()
        for column in self._s.cursor:
            marks[column] = Watermark(self._overlap_us, ceiling(self._relation.greatest(self._database, column), now))
        feed.keep("compare", str(now_us() + self._overlap_us))
        feed.keep("compared", "")
        feed.keep("cursor", dumps(marks))
        return marks

    def _read_on(self, feed: Feed, column: str, mark: Watermark) -> int:
        began, told, greatest = now_us(), 0, None
        order = (column, *(key for key in self._s.key if key.lower() != column.lower()))
        for names, rows in self._relation.blocks(self._database, order, self._s.block, mark.low, present=True):
            told += self._hand_on(feed, names, rows, self._sweep)
            if rows:
                greatest = rows[-1][place_of(column, names)]
            if feed.ending():
                return told  # not all of it was read: the watermark stays
        noted = mark.polled(began)
        if greatest is not None:
            noted |= mark.seen(ceiling(greatest, self._now()), now_us())
        if noted and self._marks is not None:
            feed.keep("cursor", dumps(self._marks))
        return told

    def _now(self) -> Any:
        return self._database.select(self._database.profile.now)[1][0][0]

    def _hand_on(self, feed: Feed, names: list[str], rows: list[tuple[Any, ...]], sweep: Sweep | None) -> int:
        found = self._cleaner.block(names, rows)
        return feed.rows(self._s.event, found, sweep.seen if sweep is not None else None)

    # -- everything -----------------------------------------------------------------------------------------------

    def _compare_due(self, feed: Feed) -> bool:
        """`compared`: when the last one ended, µs; `compare`: when another one is due, whatever that says."""
        if self._s.flag is not None or not self._has_table:
            return False  # whatever is to be taken says so
        done, due = feed.place("compared"), feed.place("compare")
        if not done or not (self._s.cursor or self._s.log):
            return True
        now = now_us()
        return bool(due and now >= int(due)) or now >= int(done) + int(self._s.compare_seconds * 1e6)

    def _compare(self, feed: Feed, sweep: Sweep) -> int:
        """A second's worth of it."""
        told, until = 0, time.monotonic() + SWEEP_SECONDS
        self._sweep = None  # one that fails is begun anew: half of it would take the rest of the rows for gone
        for names, rows in sweep.blocks:
            told += self._hand_on(feed, names, rows, sweep)
            if time.monotonic() >= until or feed.ending():
                self._sweep = sweep
                return told
        told += self._notice_gone(feed, sweep)
        feed.keep("compared", str(now_us()))
        due = feed.place("compare")
        if due and sweep.began >= int(due):
            feed.keep("compare", "")
        return told

    def _notice_gone(self, feed: Feed, sweep: Sweep) -> int:
        gone = sorted(sweep.known - sweep.seen)
        if not gone:
            return 0
        if len(gone) > max(FEW, int(self._s.most_gone * len(sweep.known))):
            raise Misconfigured(
                f"{len(gone)} of {len(sweep.known)} rows are gone at once: nothing is told of it; if it is right, raise most_gone"
            )
        _log.info("rows are gone", extra={"channel": self._s.name, "count": len(gone)})
        return feed.gone(self._s.gone_event, gone)


def build(settings: Settings, name: str = "") -> SqlSource:  # noqa: ARG001 - the settings have it
    """The source of a channel. Nothing is connected yet."""
    return SqlSource(settings)
