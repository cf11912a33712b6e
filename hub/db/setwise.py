"""Set-wise writes: from row tuples to one statement a table, for SQLite and PostgreSQL.

SQLite takes `executemany`; PostgreSQL takes up to ROWS rows a statement, each value a parameter (ADR 0066). The order of
`SPECS` is the order of writing, so that two writers never lock tables in opposite orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, cast

from sqlalchemy import BigInteger, Boolean, Integer

from hub.db.tables import metadata
from hub.domain import rows as r

ROWS = 16  # rows a statement on PostgreSQL: with more, each costs as much; and as many texts stay prepared for a table
PG_TX = "pg_current_xact_id()::text::bigint"


@dataclass(frozen=True, slots=True)
class Spec:
    """How rows of one kind are written to `table`.

    `keys`: the conflict target of an upsert, or what an update or delete finds its rows by. `update`: columns taken
    from the new row on conflict (empty: the old row stands). `add`: columns that are added up instead.
    """

    row: type
    table: str
    act: str = "insert"  # insert | upsert | update | delete
    keys: tuple[str, ...] = ()
    update: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    stamp_tx: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return cast("tuple[str, ...]", self.row._fields)  # type: ignore[attr-defined]


SPECS: tuple[Spec, ...] = (
    Spec(r.ResourceRow, "resource", "upsert", ("id",),
         ("patient_id", "patient_key", "version", "status", "sort_at", "data", "updated_at")),
    Spec(r.IdentifierNew, "identifier"),
    Spec(r.IdentifierRow, "identifier", "upsert", ("kind", "assigner", "value"), ("resource_id",)),
    Spec(r.AwaitedGone, "awaited", "delete", ("kind", "assigner", "value")),
    Spec(r.AwaitedRow, "awaited", "upsert", ("kind", "assigner", "value", "resource_id")),
    Spec(r.SourceRow, "source_record", "upsert", ("kind", "system", "key"),
         ("resource_id", "patient_key", "data", "lineage", "event_at", "message_id", "channel")),
    Spec(r.SourceTouched, "source_heard", "upsert", ("kind", "system", "key"), ("event_at",)),
    Spec(r.TermsGone, "term", "delete", ("patient_id",)),
    Spec(r.TermRow, "term", "upsert", ("kind", "value", "patient_id")),
    Spec(r.ChangeRow, "change", stamp_tx=True),
    Spec(r.LinkHistoryRow, "link_history"),
    Spec(r.MessageRow, "message"),
    Spec(r.WorkRow, "work"),
    Spec(r.WorkState, "work", "update", ("message_id",), ("state", "attempts", "due", "reason")),
    Spec(r.WorkBucket, "work", "update", ("message_id",), ("bucket",)),
    Spec(r.WorkDone, "work", "delete", ("message_id",)),
    Spec(r.DedupeNew, "dedupe"),
    Spec(r.DedupeRow, "dedupe", "upsert", ("channel", "sender", "control_id", "digest"), ("message_id", "code", "at")),
    Spec(r.AnsweredRow, "answered", "upsert", ("first_id",), ("last_id", "undelivered")),
    Spec(r.OutcomeRow, "outcome", "upsert", ("message_id",), ("state", "outcome", "reason", "at")),
    Spec(r.AttemptRow, "attempt", "upsert", ("message_id", "n", "at"), ("verdict", "detail", "sent", "answer")),
    Spec(r.LinkKeyRow, "link_key", "upsert", ("channel", "resource_id"), ("peer_id", "etag", "updated_at")),
    Spec(r.SentFieldRow, "sent_field", "upsert", ("system", "resource_id", "field"), ("value", "at")),
    Spec(r.MarkNew, "mark"),
    Spec(r.MarkRow, "mark", "upsert", ("channel", "key"), ("value", "n", "name", "at")),
    Spec(r.AlertRow, "alert"),
    Spec(r.EntryDraft, "entry", stamp_tx=True),
    Spec(r.TallyRow, "tally", "upsert", ("channel", "state", "shard"), (), ("n",)),
)  # fmt: skip


def _pg_type(table: str, column: str) -> str:
    kind = metadata.tables[table].c[column].type
    if isinstance(kind, BigInteger | Integer):
        return "bigint"
    if isinstance(kind, Boolean):
        return "boolean"
    return "text"


def _conflict(spec: Spec) -> str:
    if spec.act != "upsert":
        return ""
    sets = [f"{c} = excluded.{c}" for c in spec.update]
    sets += [f"{c} = {spec.table}.{c} + excluded.{c}" for c in spec.add]
    what = f"DO UPDATE SET {', '.join(sets)}" if sets else "DO NOTHING"
    return f" ON CONFLICT ({', '.join(spec.keys)}) {what}"


def sqlite_statement(spec: Spec) -> str:
    """SQL for `executemany` with one `?` a column, keys last where it is an update or delete."""
    where = " AND ".join(f"{k} = ?" for k in spec.keys)
    if spec.act == "delete":
        return f"DELETE FROM {spec.table} WHERE {where}"
    if spec.act == "update":
        return f"UPDATE {spec.table} SET {', '.join(f'{c} = ?' for c in spec.update)} WHERE {where}"
    marks = ", ".join("?" * len(spec.columns))
    columns = ", ".join(spec.columns)
    if spec.stamp_tx:
        columns, marks = f"{columns}, tx", f"{marks}, 0"
    return f"INSERT INTO {spec.table} ({columns}) VALUES ({marks}){_conflict(spec)}"


def sqlite_rows(spec: Spec, rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """The rows as `sqlite_statement` wants them."""
    if spec.act != "update":
        return rows
    order = [spec.columns.index(c) for c in spec.update + spec.keys]
    return [tuple(row[i] for i in order) for row in rows]


@cache
def postgres_statement(spec: Spec, rows: int) -> str:
    """SQL with one `?` a value of each of `rows` rows, in the order of `Spec.columns`."""
    if spec.act == "insert" or spec.act == "upsert":
        columns, marks = ", ".join(spec.columns), ", ".join("?" * len(spec.columns))
        if spec.stamp_tx:
            columns, marks = f"{columns}, tx", f"{marks}, {PG_TX}"
        return f"INSERT INTO {spec.table} ({columns}) VALUES {', '.join([f'({marks})'] * rows)}{_conflict(spec)}"
    typed = ", ".join(f"?::{_pg_type(spec.table, c)}" for c in spec.columns)
    source = f"(VALUES {', '.join([f'({typed})'] * rows)}) AS r({', '.join(spec.columns)})"
    where = " AND ".join(f"t.{k} = r.{k}" for k in spec.keys)
    if spec.act == "delete":
        return f"DELETE FROM {spec.table} t USING {source} WHERE {where}"
    return f"UPDATE {spec.table} t SET {', '.join(f'{c} = r.{c}' for c in spec.update)} FROM {source} WHERE {where}"


def postgres_statements(groups: Mapping[type, Sequence[tuple[Any, ...]]]) -> list[tuple[str, list[Any]]]:
    """All rows, in the order of `SPECS`: statements with their values, ROWS rows each."""
    statements = []
    for spec in SPECS:
        rows = groups.get(spec.row, ())
        for first in range(0, len(rows), ROWS):
            some = rows[first : first + ROWS]
            statements.append((postgres_statement(spec, len(some)), list(chain.from_iterable(some))))
    return statements


SQLITE: dict[type, str] = {s.row: sqlite_statement(s) for s in SPECS}
