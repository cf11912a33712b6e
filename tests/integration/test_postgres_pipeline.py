"""The hot path's connection to a real PostgreSQL: answers in order, errors that tell nothing, lost and interrupted exchanges."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from hub.db.pipeline import MANY_MARKS, Answer, Pipeline, Statement
from hub.db.postgres import PostgresHot
from hub.domain.errors import TryAgain
from tests.hub_kit import Kit, adt, make_kit, received

pytestmark = pytest.mark.postgres
NAME = "똠방각하 펲시콜라"


class Interruption(BaseException):
    """As Celery's time limit: raised wherever Python happens to be."""


@pytest.fixture
def hot(postgres_url: str) -> Iterator[PostgresHot]:
    made = PostgresHot(make_url(postgres_url))
    made.begin(durable=True)
    made.execute("CREATE TABLE t (n BIGINT PRIMARY KEY, s TEXT, b BYTEA, f BOOLEAN)")
    made.commit()
    yield made
    made.close()


def ask(hot: PostgresHot, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    hot.begin_reading()
    try:
        return hot.query(sql, parameters)
    finally:
        hot.rollback()


def test_values_come_back_as_they_went(hot: PostgresHot) -> None:
    rows = [(1, NAME, b"\x00\xff", True), (2, "", b"", False), (-3, None, None, None), (2**62, "a\\'\n?$1", b"\\x", True)]
    hot.begin(durable=False)
    assert [hot.execute("INSERT INTO t VALUES (?, ?, ?, ?)", row) for row in rows] == [1, 1, 1, 1]
    hot.commit()
    assert sorted(ask(hot, "SELECT n, s, b, f FROM t")) == sorted(rows)


def test_questions_are_answered_in_their_order(hot: PostgresHot) -> None:
    hot.begin(durable=True)
    assert hot.ask([("SELECT 1", ()), ("SELECT n FROM t", ()), ("SELECT CAST(? AS TEXT), 2", (NAME,))]) == [
        [(1,)],
        [],
        [(NAME, 2)],
    ]
    assert hot.ask([("SELECT 3", ()), ("SELECT 1", ())]) == [[(3,)], [(1,)]]
    hot.commit()


def test_the_clock_is_read_once_a_transaction(hot: PostgresHot) -> None:
    hot.begin(durable=True)
    first = hot.now()
    hot.query("SELECT pg_sleep(0.02)")
    assert hot.now() == first
    hot.commit()
    hot.begin(durable=True)
    assert hot.query("SELECT 1") == [(1,)]
    assert hot.now() > first
    hot.rollback()


def test_an_error_names_the_statement_and_no_value(hot: PostgresHot) -> None:
    hot.begin(durable=True)
    with pytest.raises(psycopg.errors.InvalidTextRepresentation) as told:
        hot.query("SELECT CAST(CAST(? AS TEXT) AS BIGINT)", (NAME,))
    assert NAME not in str(told.value)
    assert "SELECT CAST" in str(told.value)
    hot.rollback()
    assert ask(hot, "SELECT 1") == [(1,)]


def test_what_failed_to_be_prepared_can_be_prepared_later(hot: PostgresHot) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        ask(hot, "SELECT x FROM later")
    hot.begin(durable=True)
    hot.execute("CREATE TABLE later (x INTEGER)")
    hot.commit()
    assert ask(hot, "SELECT x FROM later") == []


def test_what_is_sent_behind_an_error_is_not_done(hot: PostgresHot) -> None:
    hot.begin(durable=True)
    with pytest.raises(psycopg.errors.DivisionByZero):
        hot.ask([("SELECT 1 / CAST(? AS INTEGER)", (0,)), ("INSERT INTO t (n) VALUES (9) RETURNING n", ())])
    with pytest.raises(TryAgain):
        hot.commit()  # the server answers ROLLBACK, and that is no commit
    hot.rollback()
    assert ask(hot, "SELECT n FROM t") == []


def test_text_that_postgresql_would_cut_is_refused(hot: PostgresHot) -> None:
    hot.begin(durable=True)
    with pytest.raises(psycopg.DataError):
        hot.execute("INSERT INTO t (n, s) VALUES (1, ?)", ("a\x00b",))
    hot.rollback()
    assert ask(hot, "SELECT n FROM t") == []


def test_lists_of_any_length(hot: PostgresHot) -> None:
    for length in (1, MANY_MARKS, MANY_MARKS + 1):
        marks = ", ".join(["CAST(? AS BIGINT)"] * length)
        assert ask(hot, f"SELECT COUNT(*) FROM unnest(ARRAY[{marks}])", *range(length)) == [(length,)]


def test_a_lost_connection_is_tried_again_on_another(hot: PostgresHot, postgres_url: str) -> None:
    hot.begin(durable=True)
    hot.execute("INSERT INTO t (n) VALUES (1)")
    pid = hot.query("SELECT pg_backend_pid()")[0][0]
    other = PostgresHot(make_url(postgres_url))
    assert ask(other, "SELECT pg_terminate_backend(?)", pid) == [(True,)]
    other.close()
    with pytest.raises(TryAgain):
        hot.commit()
    hot.rollback()
    assert ask(hot, "SELECT n FROM t") == []


def test_an_exchange_that_is_cut_short_costs_its_connection_and_nothing_else(
    hot: PostgresHot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next question would be given this one's answer."""
    hot.begin(durable=True)
    hot.execute("INSERT INTO t (n) VALUES (1)")
    real = Pipeline._take

    def interrupted(self: Pipeline, coming: Any) -> Any:
        raise Interruption

    monkeypatch.setattr(Pipeline, "_take", interrupted)
    with pytest.raises(Interruption):
        hot.query("SELECT 'an old answer'")
    monkeypatch.setattr(Pipeline, "_take", real)
    hot.rollback()
    assert ask(hot, "SELECT n FROM t") == []


def test_more_than_both_sockets_hold_goes_both_ways(hot: PostgresHot) -> None:
    text = "가" * 200_000
    hot.begin_reading()
    answers = hot.ask([("SELECT CAST(? AS TEXT)", (f"{number}{text}",)) for number in range(60)])
    assert [row[0][0][:2] for row in answers] == [f"{number}{text}"[:2] for number in range(60)]
    hot.rollback()


def test_an_empty_transaction_costs_nothing(hot: PostgresHot, exchanges: list[int]) -> None:
    hot.begin(durable=True)
    hot.commit()
    hot.begin_reading()
    hot.rollback()
    assert exchanges == []


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statements of each round trip from here on."""
    seen: list[int] = []
    real = Pipeline.exchange

    def counted(self: Pipeline, statements: list[Statement]) -> list[Answer]:
        seen.append(len(statements))
        return real(self, statements)

    monkeypatch.setattr(Pipeline, "exchange", counted)
    return seen


def test_intake_is_two_round_trips_and_one_for_senders_in_haste(tmp_path: Any, postgres_url: str, exchanges: list[int]) -> None:
    kit: Kit = make_kit(tmp_path, postgres_url)
    trips = []
    for number in range(4):
        exchanges.clear()
        kit.receive(adt("A28", f"{number}a"), adt("A28", f"{number}b"))
        trips.append(len(exchanges))
    assert trips == [2, 2, 1, 1]
    ids = [row[0] for row in kit.rows("SELECT id FROM message ORDER BY at, id")]
    assert ids == sorted(ids)
    kit.close()


def test_what_was_presumed_and_is_not_so_is_asked(tmp_path: Any, postgres_url: str) -> None:
    kit: Kit = make_kit(tmp_path, postgres_url)
    for number in range(3):
        kit.receive(adt("A28", f"{number}"))
    bodies = [adt("A28", "9", control="X1"), adt("A28", "10", control="X2")]
    first = kit.receive(*bodies)
    again = kit.receive(adt("A28", "11", control="X3"), *bodies)
    assert [receipt.duplicate_of for receipt in again] == [None, first[0].message_id, first[1].message_id]
    reused = kit.receive(adt("A28", "12", control="X1"))
    assert reused[0].reused
    assert kit.rows("SELECT COUNT(*) FROM message") == [(7,)]
    kit.close()


def test_two_listeners_that_presume_the_same_store_it_once(tmp_path: Any, postgres_url: str) -> None:
    """A sender whose connection broke sends again to another process before the first has committed."""
    kit: Kit = make_kit(tmp_path, postgres_url)
    other = kit.hub.intake()
    for number in range(3):
        kit.receive(adt("A28", f"{number}"))
    body, receipts = received(adt("A28", "9", control="X1"), "ocs-in"), []

    def elsewhere() -> None:
        for number in range(3):
            other.store([received(adt("A28", f"o{number}"), "ocs-in")])
        receipts.extend(other.store([body]))
        kit.hub.store.close()

    for _ in range(3):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        receipts.extend(kit.intake.store([body]))
        thread.join()
    assert len({receipt.message_id for receipt in receipts}) == 1
    assert kit.rows("SELECT COUNT(*) FROM message WHERE control_id = 'X1'") == [(1,)]
    kit.close()


def test_ids_rise_whatever_comes_again(tmp_path: Any, postgres_url: str) -> None:
    """Apply goes by them: after a resend a patient's later message must not get the rest of an older block."""
    kit: Kit = make_kit(tmp_path, postgres_url)
    dice = random.Random(7)
    sent: list[bytes] = []
    highest = 0
    for number in range(120):
        fresh = [adt("A28", f"{number}-{n}", control=f"R{number}-{n}") for n in range(dice.choice((1, 2, 3, 8, 40)))]
        again = dice.sample(sent, min(len(sent), dice.choice((0, 0, 0, 1, 3))))
        batch = dice.sample(fresh + again, len(fresh + again))
        ids = [r.message_id for r in kit.receive(*batch) if r.duplicate_of is None]
        assert ids == sorted(ids)
        assert not ids or (ids[0] or 0) > highest
        highest = max([highest, *(id_ or 0 for id_ in ids)])
        sent += fresh
        if dice.random() < 0.05:
            time.sleep(0.3)  # the block grows stale
    kit.close()


def test_a_patients_messages_are_applied_as_they_came_after_a_resend(tmp_path: Any, postgres_url: str) -> None:
    kit: Kit = make_kit(tmp_path, postgres_url)
    again = adt("A28", "9", control="X1")
    for body in (adt("A28", "1"), adt("A28", "2"), adt("A28", "3"), again):
        kit.receive(body)
    kit.receive(again, adt("A31", "77", name="FIRST^길동"))
    kit.receive(adt("A31", "77", name="SECOND^길동"))
    while kit.apply():
        continue
    documents = [row[0] for row in kit.rows("SELECT data FROM resource WHERE kind = 'Patient'")]
    assert any("SECOND" in document for document in documents)
    assert not any("FIRST" in document for document in documents)
    kit.close()
