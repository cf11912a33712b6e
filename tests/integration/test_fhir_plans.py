"""The façade on both databases: it finds the same, and no search of it reads a table from end to end."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import event, text
from starlette.testclient import TestClient

from hub.codecs.fhir_resource import check
from hub.db.views import fhir
from hub.db.views.fhir import Span, Wanted
from hub.web.app import create_app
from hub.web.serve import web_hub
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


def test_the_facade_over_both_databases(kit: Kit) -> None:
    kit.receive(*(adt("A04", str(n), pv1(f"V{n}"), phone=f"010-1234-{n:04d}", name="남궁^민수") for n in range(12)))
    kit.apply()
    hub = web_hub(kit.hub)
    token = hub.access.create_token("crm-1", "crm", now=0)[1]
    client = TestClient(create_app(hub), headers={"Authorization": f"Bearer {token}"})

    def found(path: str) -> list[str]:
        ids: list[str] = []
        url = f"/fhir/R4/{path}"
        while url:
            bundle = client.get(url).json()
            check(bundle)
            ids += [one["resource"]["id"] for one in bundle.get("entry", ())]
            url = next((one["url"].partition("testserver")[2] for one in bundle["link"] if one["relation"] == "next"), "")
        return ids

    seven = kit.patient_id("7")
    assert found("Patient?identifier=HOSP|7") == found("Patient?phone=010-1234-0007") == [seven]
    assert len(found("Patient?name=남궁&_count=5")) == len(set(found("Patient?_lastUpdated=ge2026&_count=5"))) == 12
    assert len(found("Encounter?date=2026-11-22&_count=5")) == 12
    assert found(f"Encounter?patient={seven}&_include=Encounter:patient")[1] == seven
    assert seven in found(f"Patient/{seven}/$everything")
    answer = client.get("/fhir/R4/Patient", params={"name": "x", "identifier": "HOSP|\x00"})
    assert answer.json()["resourceType"] in ("Bundle", "OperationOutcome")  # no database holds a NUL
    assert answer.status_code in (200, 422)
    sql = "SELECT count(*) FROM entry WHERE action = 'patient.searched' AND detail LIKE ?"
    assert kit.rows(sql, f"%{seven}%")[0][0] >= 4
