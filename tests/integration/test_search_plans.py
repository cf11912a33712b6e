"""What people search messages by is found through an index on both databases, though most rows are not in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from hub.db.views import messages
from hub.db.views.messages import Query
from tests.hub_kit import Kit, adt


def plan(connection: Connection, sql: str, parameters: object) -> str:
    prefix = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    return "\n".join(str(row) for row in connection.exec_driver_sql(prefix + sql, parameters).all())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("query", "index"), [(Query(patient_no="7"), "message_by_patient"), (Query(control_id="none"), "message_by_control")]
)
def test_a_search_goes_through_its_index(kit: Kit, query: Query, index: str) -> None:
    kit.receive(*(adt("A28", str(number)) for number in range(20)))
    seen: list[tuple[str, object]] = []
    with kit.hub.engine.connect() as connection:
        if connection.dialect.name == "postgresql":  # a small table is read whole otherwise, and rightly
            connection.execute(text("SET enable_seqscan = off"))
            connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        event.listen(connection, "before_cursor_execute", lambda *args: seen.append((args[2], args[3])))
        found = messages.find(connection, query)
        assert len(found) == (1 if query.patient_no else 0)
        sql, parameters = seen[-1]
        assert index in plan(connection, sql, parameters)


@pytest.mark.parametrize(
    ("question", "indexes"),
    [
        (lambda tx: tx.told([("erp", "p1")]), {"sent_field"}),
        (lambda tx: tx.identifiers_of(["p1"]), {"identifier_by_resource", "identifier_by_home"}),
    ],
    ids=["what a system was last sent", "numbers that point to a resource or are at home there"],
)
def test_what_grows_with_the_hospital_is_asked_by_an_index(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, question: Callable[[Any], object], indexes: set[str]
) -> None:
    """These are asked for changed values and merges: a look through all there is would cost more with each patient."""
    seen: list[tuple[str, object]] = []
    with kit.hub.store.transaction() as tx:
        hot = tx._hot  # type: ignore[attr-defined]
        query = type(hot).query
        monkeypatch.setattr(type(hot), "query", lambda self, sql, more=(): seen.append((sql, more)) or query(self, sql, more))
        question(tx)
        [(sql, parameters)] = seen
        if hot.dialect == "postgresql":
            query(hot, "SELECT set_config('enable_seqscan', 'off', true)")
        lines = [str(row) for row in query(hot, f"EXPLAIN {'QUERY PLAN ' if hot.dialect == 'sqlite' else ''}{sql}", parameters)]
    assert all(any(name in line for line in lines) for name in indexes), lines
    assert not any("SCAN i" in line or "SCAN s" in line or "Seq Scan" in line for line in lines), lines
