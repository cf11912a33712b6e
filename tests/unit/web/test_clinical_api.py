"""/api/v1 for orders, results and what else was done or paid: lists of a patient, one with ETag, lineage, who may."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from hub.domain.model import KINDS, VISITS
from hub.web.api.resources import RESOURCES, Resource
from hub.web.app import WebHub
from tests import web_kit
from tests.web_kit import HONG, NOW, add_resource

As = Callable[[str], TestClient]
IDS = {one.path: f"01900000-0000-7000-8000-0000000003{number:02d}" for number, one in enumerate(RESOURCES)}


@pytest.fixture(autouse=True)
def filled_in(engine: Engine) -> None:
    with engine.begin() as conn:
        for number, one in enumerate(RESOURCES):
            data = {"identifier": [{"assigner": "HOSP:placer", "value": f"P{number}", "type": "PLAC"}], "status": "active"}
            if one.kind == "DiagnosticReport":
                data |= {"code": {"code": "L001", "display": "혈당"}, "effective": "2026-11-22"}
            if one.kind == "Invoice":
                data |= {"total": {"value": "16970", "currency": "KRW"}}
            add_resource(conn, IDS[one.path], one.kind, HONG if one.owned else None, data, sort_at=NOW)


def test_every_kind_can_be_read() -> None:
    elsewhere = {"Patient", "RelatedPerson", "Relationship", "Coverage", *VISITS}
    assert {one.kind for one in RESOURCES} | elsewhere == set(KINDS)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda one: one.path)
def test_lists_one_and_lineage(as_role: As, hub: WebHub, resource: Resource) -> None:
    path, kind = resource.path, resource.kind
    client = as_role("crm")
    if resource.owned:
        [item] = client.get(f"/api/v1/patients/{HONG}/{path}").json()["items"]
        assert (item["id"], item["kind"]) == (IDS[path], kind)
    answer = client.get(f"/api/v1/{path}/{IDS[path]}")
    assert (answer.status_code, answer.headers["etag"]) == (200, '"v1"')
    assert client.get(f"/api/v1/{path}/{IDS[path]}", headers={"If-None-Match": '"v1"'}).status_code == 304
    assert client.get(f"/api/v1/{path}/{HONG}").status_code == 404
    told = client.get(f"/api/v1/{path}/{IDS[path]}/lineage").json()
    assert {"identifier", "status"} <= {field["field"] for field in told["fields"]}
    entry = hub.audit.entries()[-1]  # type: ignore[attr-defined]
    assert (entry["action"], entry["resource_id"], entry["detail"]["what"]) == ("resource.read", IDS[path], "lineage")


def test_orders_and_results_stand_in_the_timeline(as_role: As) -> None:
    kinds = {item["kind"] for item in as_role("crm").get(f"/api/v1/patients/{HONG}/timeline").json()["items"]}
    assert {"Encounter", "ServiceRequest", "DiagnosticReport", "MedicationRequest"} <= kinds
    assert "Observation" not in kinds


def test_the_console_shows_them_in_the_timeline(hub: WebHub) -> None:
    client = web_kit.api(hub)
    client.headers.update({"Accept": "text/html", "Accept-Language": "ko"})
    client.post("/login", data={"token": web_kit.token_for(hub, "operator", "operator-ko")})
    page = client.get(f"/patients/{HONG}")
    assert page.status_code == 200
    assert all(word in page.text for word in ("처방", "검사 결과", "시술", "혈당", "계산서", "16970 KRW"))


def test_an_auditor_reads_none_of_it(as_role: As) -> None:
    assert as_role("auditor").get(f"/api/v1/patients/{HONG}/results").status_code == 403
