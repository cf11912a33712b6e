"""Set-wise SQL says of each row kind what its name says; drivers' errors are named by what happens next."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import get_args

import psycopg
import pytest
from sqlalchemy.engine import make_url

from hub.db.hot import SqliteHot, _named, group, keys_json
from hub.db.postgres import PASSING, _passing
from hub.db.setwise import ROWS, SPECS, SQLITE, Spec, postgres_statement, postgres_statements, sqlite_rows
from hub.db.tables import metadata
from hub.domain import rows as r
from hub.domain.errors import TryAgain

SPEC = {spec.row: spec for spec in SPECS}
NAMES = [spec.row.__name__ for spec in SPECS]


def test_every_row_kind_is_written_and_once() -> None:
    assert sorted(NAMES) == sorted(kind.__name__ for kind in get_args(r.Row))
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_columns_keys_and_updates_are_columns_of_the_table(spec: Spec) -> None:
    table = metadata.tables[spec.table]
    assert {*spec.columns, *spec.keys, *spec.update, *spec.add} <= {c.name for c in table.c}
    if spec.act == "upsert":
        assert set(spec.keys) == {c.name for c in table.primary_key}, "a conflict target must be the key"
    if spec.act == "insert":
        must = {c.name for c in table.c if not c.nullable and c.default is None and c.server_default is None}
        assert must <= {*spec.columns, "id", "tx"}, "a column that must be filled is left out"


@pytest.mark.parametrize("spec", SPECS, ids=NAMES)
def test_the_statements_take_as_many_values_as_there_are(spec: Spec) -> None:
    statement = SQLITE[spec.row]
    row = tuple(range(len(spec.columns)))
    if spec.act != "delete":
        assert statement.count("?") == len(sqlite_rows(spec, [row])[0])
    assert postgres_statement(spec, 3).count("?") == 3 * len(spec.columns)
    assert sqlite3.complete_statement(statement + ";")


def test_updates_put_the_keys_last() -> None:
    spec = next(s for s in SPECS if s.row is r.WorkState)
    assert SQLITE[r.WorkState] == "UPDATE work SET state = ?, attempts = ?, due = ?, reason = ? WHERE message_id = ?"
    assert sqlite_rows(spec, [r.WorkState(7, "dead", 2, 9, "no map")]) == [("dead", 2, 9, "no map", 7)]


def test_counts_are_added_and_old_rows_stand_where_nothing_is_updated() -> None:
    assert "n = tally.n + excluded.n" in SQLITE[r.TallyRow]
    assert SQLITE[r.TermRow].endswith("DO NOTHING")
    assert "created_at" not in SQLITE[r.ResourceRow].partition("DO UPDATE")[2]
    assert "home_id" not in postgres_statement(SPEC[r.IdentifierRow], 1).partition("DO UPDATE")[2]
    assert "ON CONFLICT" not in postgres_statement(SPEC[r.IdentifierNew], 1)  # the slower of two tries again


def test_the_transaction_is_stamped_by_the_database() -> None:
    for kind in (r.ChangeRow, r.EntryDraft):
        assert "pg_current_xact_id()" in postgres_statement(SPEC[kind], 1)
        assert re.search(r"tx\) VALUES \(.*, 0\)", SQLITE[kind])


def test_rows_go_in_portions_with_each_value_a_parameter() -> None:
    many = ROWS * 2 + 3
    rows: dict[type, list[r.Row]] = {
        r.WorkDone: [r.WorkDone(n) for n in range(many)],
        r.DedupeRow: [r.DedupeRow("c", "s", "홍", b"\x00\xff", 1, "AA", 5)],
    }
    portions = postgres_statements(rows)
    assert [sql.split()[0] for sql, _ in portions] == ["DELETE"] * 3 + ["INSERT"]  # the order of SPECS, not of the caller
    assert [len(values) for _, values in portions] == [ROWS, ROWS, 3, 7]
    assert [v for _, values in portions[:3] for v in values] == list(range(many))
    assert portions[-1][1] == ["c", "s", "홍", b"\x00\xff", 1, "AA", 5]


def test_tables_are_written_in_one_order_whatever_the_callers() -> None:
    """Two writers that took them in opposite orders would wait for each other."""
    at = {name: number for number, name in enumerate(NAMES)}
    assert at["ResourceRow"] < at["IdentifierNew"] < at["SourceRow"] < at["ChangeRow"] < at["MessageRow"] < at["WorkRow"]
    assert at["WorkState"] < at["WorkDone"] < at["EntryDraft"]
    assert at["TermsGone"] < at["TermRow"]
    assert NAMES[-1] == "TallyRow"  # the row that all share comes last, so that it is held for the shortest time


def test_rows_are_grouped_by_kind_in_their_order() -> None:
    a, b, c = r.WorkDone(1), r.TermsGone("p"), r.WorkDone(2)
    assert group([a, b, c]) == {r.WorkDone: [a, c], r.TermsGone: [b]}
    assert keys_json([("Patient", "H", "홍")]) == '[["Patient","H","홍"]]'


# ---- errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["BUSY", "BUSY_SNAPSHOT", "LOCKED", "FULL", "IOERR_FSYNC", "CANTOPEN", "READONLY", "NOMEM", "PROTOCOL"]
)
def test_sqlite_that_is_busy_or_full_is_tried_again(name: str) -> None:
    error = sqlite3.OperationalError("database or disk is full: 홍길동")
    error.sqlite_errorname = f"SQLITE_{name}"
    named = _named(error)
    assert isinstance(named, TryAgain)
    assert "홍길동" not in str(named)


def test_a_wrong_statement_is_our_bug_and_stays_what_it_is(tmp_path: Path) -> None:
    hot = SqliteHot(make_url(f"sqlite:///{tmp_path / 'hub.db'}"))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        hot.query("SELECT * FROM nowhere")
    hot.close()


def test_a_writer_that_meets_another_outside_the_turn_is_told_to_try_again(tmp_path: Path) -> None:
    url = make_url(f"sqlite:///{tmp_path / 'hub.db'}")
    one, other = SqliteHot(url), SqliteHot(url)
    other._connection.execute("PRAGMA busy_timeout=50")
    one.begin(durable=True)
    with pytest.raises(TryAgain, match="SQLITE_BUSY"):
        other.begin(durable=True)
    one.rollback()
    other.begin(durable=True)
    assert other.now() > 0
    for hot in (one, other):
        hot.rollback()
        hot.close()


BUSY = [
    (psycopg.errors.DeadlockDetected, "40P01"),
    (psycopg.errors.SerializationFailure, "40001"),
    (psycopg.errors.LockNotAvailable, "55P03"),
    (psycopg.errors.DiskFull, "53100"),
    (psycopg.errors.AdminShutdown, "57P01"),
    (psycopg.errors.TooManyConnections, "53300"),
]


def test_what_another_worker_made_first_is_a_conflict() -> None:
    told = _passing(psycopg.errors.UniqueViolation("Key (value)=(800101-1234567) already exists"))
    assert (told.code, str(told)) == ("conflict", "another worker made the same thing first")


@pytest.mark.parametrize(("error", "code"), BUSY)
def test_postgresql_that_is_busy_or_lost_is_tried_again(error: type[psycopg.Error], code: str) -> None:
    assert issubclass(error, PASSING)
    assert str(_passing(error("Key (value)=(800101-1234567) already exists"))) == f"the store is busy or was lost ({code})"


@pytest.mark.parametrize(
    "error", [psycopg.errors.UndefinedTable, psycopg.errors.UntranslatableCharacter, psycopg.errors.NotNullViolation]
)
def test_postgresql_that_cannot_take_a_value_is_not_tried_for_ever(error: type[psycopg.Error]) -> None:
    assert not issubclass(error, PASSING)
