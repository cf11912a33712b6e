"""No search of the façade reads a table from end to end, on both databases."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import event, text

from hub.db.views import fhir
from hub.db.views.fhir import Span, Wanted
from tests.hub_kit import Kit, adt, pv1
from tests.integration.test_search_plans import plan

ALL = Span(0, 2**62)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted("Patient", ids=("nobody",)), 0), (Wanted("Patient", numbers=((("HOSP",), "7"),)), 1),
        (Wanted("Patient", numbers=(((), "7"),)), 1), (Wanted("Patient", terms=(fhir.name_term("홍길"),)), 20),  # type: ignore[arg-type]
        (Wanted("Patient", terms=(fhir.phone_term("010-1234-0007"),)), 1),  # type: ignore[arg-type]
        (Wanted("Patient", terms=(fhir.birth_term("ge", "1980"),)), 20),  # type: ignore[arg-type]
        (Wanted("Encounter", begins=ALL), 20), (Wanted("Encounter", begins=ALL, order="-sort_at"), 20),
        (Wanted("Encounter", patients=("nobody",), begins=ALL, order="-updated_at"), 0),
        (Wanted("Patient", updated=ALL), 20), (Wanted("Patient"), 20), (Wanted("Encounter", updated=ALL, begins=ALL), 20),
    ],
    ids=lambda one: "",
)  # fmt: skip
def test_every_search_goes_by_an_index(kit: Kit, wanted: Wanted, found: int) -> None:
    kit.receive(*(adt("A04", str(n), pv1(f"V{n}"), phone=f"010-1234-{n:04d}") for n in range(20)))
    kit.apply()
    seen: list[tuple[str, object]] = []
    with kit.hub.engine.connect() as connection:
        if connection.dialect.name == "postgresql":  # a small table is read whole otherwise, and rightly
            connection.execute(text("SET enable_seqscan = off"))
            connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        event.listen(connection, "before_cursor_execute", lambda *args: seen.append((args[2], args[3])))
        page = fhir.find(connection, wanted, after=None, limit=50)
        assert len(page.rows) == found
        after: tuple[int, str] | None = None
        rows: list[str] = []
        while True:
            one = fhir.find(connection, wanted, after=after, limit=7)
            rows += [row.id for row in one.rows]
            after = one.after
            if after is None:
                break
        assert rows == [row.id for row in page.rows]
        asked = seen.copy()  # explaining is asking too
        for sql, parameters in asked:
            told = plan(connection, sql, parameters)
            assert not re.search(r"SCAN (resource|identifier|term)\b|Seq Scan", told), (sql, told)
            assert "SCAN change" not in told or "LIMIT" in sql, (sql, told)
