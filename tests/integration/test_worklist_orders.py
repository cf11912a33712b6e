"""The orders of a worklist are read by an index that has only those still to be done, on both databases."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import event, insert, text

from hub.db.tables import identifier, resource
from hub.db.views import orders
from hub.domain.ports import Wanted
from tests.hub_kit import Kit
from tests.integration.test_search_plans import plan

DAY = 86_400_000_000
TODAY = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1e6)


def put(kit: Kit, kind: str, number: int, document: dict[str, Any], sort_at: int, patient: str, status: str = "active") -> str:
    id_ = str(uuid.UUID(int=number))
    row = {
        "id": id_,
        "kind": kind,
        "patient_id": patient or id_,
        "patient_key": "",
        "version": 1,
        "status": status,
        "sort_at": sort_at,
        "data": orjson.dumps(document).decode(),
        "created_at": 0,
        "updated_at": 0,
    }
    names = [
        {
            "kind": kind,
            "assigner": one["assigner"],
            "value": one["value"],
            "resource_id": id_,
            "home_id": id_,
            "type": one["type"],
        }
        for one in document["identifier"]
    ]
    with kit.hub.write_engine.begin() as conn:
        conn.execute(insert(resource), row)
        if names:
            conn.execute(insert(identifier), names)
    return id_


def order(n: int, **more: Any) -> dict[str, Any]:
    return {
        "identifier": [{"assigner": "HOSP:accession", "value": f"A{n}", "type": "ACSN"}],
        "status": "active",
        "category": "imaging",
        "modality": "CT",
        "occurrence": f"{datetime(2026, 11, 22, tzinfo=UTC) + timedelta(days=n):%Y-%m-%d}",
    } | more


def numbers(found: list[Any]) -> list[str]:
    return [one.data["identifier"][0]["value"] for one in found]


def test_only_what_is_still_to_be_done_is_found_and_by_its_index(kit: Kit) -> None:
    patient = {"identifier": [{"assigner": "HOSP", "value": "P1", "type": "MR"}], "name": [{"text": "홍길동"}]}
    whose = put(kit, "Patient", 1, patient, 0, "")
    other = put(kit, "Patient", 2, {"identifier": [{"assigner": "HOSP", "value": "P2", "type": "MR"}]}, 0, "")
    for n in range(10):
        put(kit, "ServiceRequest", 100 + n, order(n), TODAY + n * DAY, whose if n % 2 else other)
    done: list[dict[str, Any]] = [
        {"status": "revoked"},
        {"status": "completed"},
        {"state": "completed"},
        {"state": "discontinued"},
        {"category": "laboratory"},
    ]
    for n, more in enumerate(done):
        put(kit, "ServiceRequest", 200 + n, order(50 + n, **more), TODAY, whose)
    put(kit, "ServiceRequest", 300, order(60), TODAY, whose, status="removed")
    put(kit, "ServiceRequest", 301, order(61, state="in-progress"), TODAY - DAY, whose)
    seen: list[tuple[str, Any]] = []
    with kit.hub.engine.connect() as conn:
        if conn.dialect.name == "postgresql":  # a small table is read whole otherwise, and rightly
            conn.execute(text("SET enable_seqscan = off"))
        event.listen(conn, "before_cursor_execute", lambda *args: seen.append((args[2], args[3])))
        every = orders.to_image(conn, Wanted(), after=None, limit=100)
        assert numbers(every) == ["A61", *(f"A{n}" for n in range(10))]
        assert every[2].patient.data["name"] == [{"text": "홍길동"}]
        window = Wanted(start=TODAY + DAY, end=TODAY + 4 * DAY)
        assert numbers(orders.to_image(conn, window, after=None, limit=100)) == ["A1", "A2", "A3"]
        assert "resource_to_image" in plan(conn, *seen[-2])
        first = orders.to_image(conn, window, after=None, limit=2)
        assert numbers(orders.to_image(conn, window, after=first[-1].place, limit=2)) == ["A3"]
        assert numbers(orders.to_image(conn, Wanted(patient="P2"), after=None, limit=100)) == ["A0", "A2", "A4", "A6", "A8"]
        assert numbers(orders.to_image(conn, Wanted(order="A7", patient="P1"), after=None, limit=100)) == ["A7"]
        assert orders.to_image(conn, Wanted(order="A50"), after=None, limit=100) == []


def test_what_came_of_the_orders_of_these_days_is_read_by_its_patient(kit: Kit) -> None:
    """An order of nobody's state is done by its study or its final report, and by nothing else; within the asked days only."""
    whose = put(kit, "Patient", 1, {"identifier": [{"assigner": "HOSP", "value": "P1", "type": "MR"}]}, 0, "")
    made = [put(kit, "ServiceRequest", 100 + n, order(n), TODAY + n * DAY, whose) for n in range(8)]
    came: list[tuple[str, dict[str, Any], int, str]] = [
        ("ImagingStudy", {"status": "available"}, 0, "active"),
        ("ImagingStudy", {}, 0, "active"),  # somebody spoke of it: there is no image yet
        ("ImagingStudy", {"status": "available"}, 0, "removed"),
        ("DiagnosticReport", {"status": "preliminary"}, 0, "active"),
        ("DiagnosticReport", {"status": "final"}, -3 * DAY, "active"),  # he came earlier than he was to
        ("DiagnosticReport", {"status": "corrected"}, DAY, "active"),
        ("DiagnosticReport", {"status": "final"}, -400 * DAY, "active"),
    ]
    for n, (kind, document, later, status) in enumerate(came):
        based = {"identifier": [], "basedOn": {"reference": f"ServiceRequest/{made[n]}"}}
        put(kit, kind, 400 + n, document | based, TODAY + n * DAY + later, whose, status)
    seen: list[tuple[str, Any]] = []
    with kit.hub.engine.connect() as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(text("SET enable_seqscan = off"))
        event.listen(conn, "before_cursor_execute", lambda *args: seen.append((args[2], args[3])))
        found = orders.to_image(conn, Wanted(start=TODAY, end=TODAY + 9 * DAY), after=None, limit=100)
        assert numbers(found) == ["A1", "A2", "A3", "A6", "A7"]
        read = plan(conn, *seen[0])
        assert "resource_to_image" in read
        assert "resource_by_patient" in read
        assert numbers(orders.to_image(conn, Wanted(order="A0"), after=None, limit=100)) == ["A0"]
