"""What people search messages by is found through an index on both databases, though most rows are not in it."""

from __future__ import annotations

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
