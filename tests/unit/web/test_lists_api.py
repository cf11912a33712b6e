"""/api/v1: master data and slots as lists in pages, who sent the hospital its patients; each by an index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert
from starlette.testclient import TestClient

from hub.db import tables as t
from hub.db.views import lists
from hub.web.app import WebHub
from tests.web_kit import HONG, NAMGUNG, NOW, SECOND, add_resource

As = Callable[[str], TestClient]
DAY = 86_400 * SECOND


def row_id(number: int) -> str:
    return f"01900000-0000-7000-8000-0000000009{number:02d}"


def numbered(conn: Any, number: int, kind: str, document: dict[str, Any], *numbers: str) -> None:
    add_resource(conn, row_id(number), kind, None, document)
    for value in numbers:
        conn.execute(
            insert(t.identifier).values(
                kind=kind, assigner="HOSP", value=value, resource_id=row_id(number), home_id=row_id(number), type=""
            )
        )


@pytest.fixture(autouse=True)
def staff(engine: Engine) -> None:
    """Three doctors, one of whom has two numbers and one of whom left; a department; slots of two days; who sent whom."""
    with engine.begin() as conn:
        numbered(conn, 0, "Practitioner", {"name": [{"text": "남궁민수"}], "department": "IM"}, "D1", "D9")
        numbered(conn, 1, "Practitioner", {"name": [{"text": "뷁"}], "department": "IM", "active": False}, "D2")
        numbered(conn, 2, "Practitioner", {"name": [{"text": "洪吉洞"}], "department": "GS"}, "D3")
        numbered(conn, 3, "Organization", {"name": "내과", "type": "dept"}, "IM")
        numbered(conn, 4, "Organization", {"name": "공단"}, "NHIS")
        for day in range(4):
            document = {
                "status": "free" if day % 2 else "busy-unavailable",
                "participant": [{"reference": f"Practitioner/{row_id(0)}", "identifier": {"assigner": "HOSP", "value": "D1"}}],
            }
            add_resource(conn, row_id(10 + day), "Slot", None, document, sort_at=NOW + day * DAY)
        clinic = {"role": "referring", "name": "펲시의원", "identifier": {"assigner": "HIRA", "value": "31100000"}}
        add_resource(conn, row_id(20), "Encounter", HONG, {"participant": [clinic]}, sort_at=NOW + DAY)
        add_resource(conn, row_id(21), "Encounter", NAMGUNG, {"participant": [clinic | {"role": "attending"}]}, sort_at=NOW + DAY)
        letter = {
            "category": "referral",
            "participant": [{"role": "requester", "name": "펲시 의원"}, {"role": "performer", "name": "내과"}],
        }
        add_resource(conn, row_id(22), "ServiceRequest", NAMGUNG, letter, sort_at=NOW + 2 * DAY)
        add_resource(conn, row_id(23), "Encounter", HONG, {"participant": [clinic]}, sort_at=NOW + 3 * DAY)


def pages(client: TestClient, path: str, **asked: Any) -> list[list[str]]:
    """The ids of every page."""
    found, cursor = [], ""
    while cursor is not None:
        answer = client.get(f"/api/v1/{path}", params={**asked, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        found.append([one["resource"]["id"] if path == "referrals" else one["id"] for one in answer.json()["items"]])
        cursor = answer.json()["next"]
    return found


def test_master_data_comes_by_number_each_once_and_narrowed(as_role: As) -> None:
    crm = as_role("crm")
    assert pages(crm, "practitioners", limit=2) == [[row_id(0), row_id(1)], [row_id(2)]]
    assert pages(crm, "practitioners", department="IM", active="true") == [[row_id(0)]]
    assert pages(crm, "organizations", type="dept") == [[row_id(3)]]
    assert pages(crm, "catalogue") == pages(crm, "schedules") == [[]]
    assert crm.get("/api/v1/practitioners", params={"cursor": "x"}).status_code == 400


def test_a_page_looks_at_so_much_and_no_more(as_role: As, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "WINDOW", 2)
    crm = as_role("crm")
    assert pages(crm, "practitioners", department="GS") == [[], [row_id(2)]]
    assert pages(crm, "slots", status="free", limit=1) == [[row_id(11)], [row_id(13)], []]
    assert [one for page in pages(crm, "referrals") for one in page] == [row_id(20), row_id(22), row_id(23)]


def test_slots_by_day_state_and_doctor(as_role: As) -> None:
    crm = as_role("crm")
    assert pages(crm, "slots", start="2026-11-23", end="2026-11-25") == [[row_id(11), row_id(12)]]
    assert pages(crm, "slots", status="free") == [[row_id(11), row_id(13)]]
    assert pages(crm, "slots", participant="D1", limit=3) == [[row_id(10), row_id(11), row_id(12)], [row_id(13)]]
    assert pages(crm, "slots", participant=row_id(0), status="free", limit=500) == [[row_id(11), row_id(13)]]
    assert pages(crm, "slots", participant="D2") == [[]]
    assert crm.get("/api/v1/slots", params={"start": "tomorrow"}).status_code == 422


def test_who_sent_us_patients(as_role: As, hub: WebHub) -> None:
    crm = as_role("crm")
    assert pages(crm, "referrals", limit=2) == [[row_id(20), row_id(22)], [row_id(23)]]
    assert pages(crm, "referrals", referrer="31100000") == [[row_id(20), row_id(23)]]
    entry = hub.audit.entries()[-1]  # type: ignore[attr-defined]
    assert (entry["action"], entry["detail"]["ids"]) == ("patient.searched", [HONG])
    [letter] = crm.get("/api/v1/referrals", params={"start": "2026-11-24", "end": "2026-11-25"}).json()["items"]
    assert (letter["by"], letter["patientId"], letter["to"]["name"]) == ("letter", NAMGUNG, "내과")
    counted = crm.get("/api/v1/referrers", params={"start": "2026-11-22", "end": "2026-12-01"}).json()["items"]
    assert [(one["referrer"]["name"], one["patients"], one["referrals"]) for one in counted] == [
        ("펲시의원", 1, 2),
        ("펲시 의원", 1, 1),
    ]
    assert crm.get("/api/v1/referrers").status_code == 422  # a period is needed


def test_a_period_that_is_too_long_is_refused(as_role: As, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "WINDOW", 1)
    monkeypatch.setattr("hub.web.api.lists.PAGES", 2)
    answer = as_role("crm").get("/api/v1/referrers", params={"start": "2026-11-22", "end": "2026-12-01"})
    assert (answer.status_code, answer.json()["code"]) == (422, "period_too_long")


def test_no_list_reads_a_table_from_end_to_end(as_role: As, engine: Engine) -> None:
    seen: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *args: seen.append((args[2], args[3])))
    for path, index in (("practitioners", "INDEX"), ("slots", "resource_by_start"), ("referrals", "resource_by_start")):
        seen.clear()
        as_role("crm").get(f"/api/v1/{path}", params={"start": "2026-11-22"} if path != "practitioners" else {})
        asked = [(sql, values) for sql, values in seen if "resource" in sql and sql.startswith("SELECT")]
        assert asked
        with engine.connect() as conn:
            for sql, values in asked:
                plan = "\n".join(str(row[-1]) for row in conn.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, values))
                assert index in plan
                assert "SCAN" not in plan
