"""Channels, messages, changes, audit, health and documentation as the API gives them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert
from starlette.testclient import TestClient

from hub.db import tables as t
from hub.web.app import WebHub
from tests import web_kit
from tests.web_kit import HONG, NOW, SECOND, VISIT

As = Callable[[str], TestClient]


def test_channels(as_role: As) -> None:
    channels = {one["name"]: one for one in as_role("operator").get("/api/v1/channels").json()["items"]}
    ocs = channels["ocs-in"]
    assert ocs["counts"] == {
        "received": 70, "queued": 1, "in_flight": 0, "uncertain": 0, "dead": 1, "done": 62, "ignored": 1, "stale": 0,
        "refused": 1, "discarded": 0, "duplicate": 4,
    }  # fmt: skip
    assert ocs["lanes"] == [
        {"lane": "HOSP|00012345", "messageId": 2, "state": "dead", "reason": "PID-7: not a date",
         "since": "2026-11-21T23:43:22.000000Z", "waiting": 1}
    ]  # fmt: skip
    assert ocs["lagSeconds"] == 0  # what waits behind a dead message has no lag of its own: it is shown as blocked
    assert (channels["ocs-out"]["blockedLanes"], channels["erp-out"]["blockedLanes"]) == (1, 0)
    assert as_role("operator").get("/api/v1/channels/nobody").status_code == 404


def test_lag_is_the_age_of_the_oldest_that_can_go(hub: WebHub, as_role: As) -> None:
    with hub.write_engine.begin() as conn:
        web_kit.add_message(conn, 990, "ocs-in", "in", "ADT^A08", state="queued", lane="HOSP|1")
    assert as_role("operator").get("/api/v1/channels/ocs-in").json()["lagSeconds"] == 10


def test_pause_resume_ping(as_role: As) -> None:
    operator = as_role("operator")
    paused = operator.post("/api/v1/channels/crm-out/pause", json={"reason": "new release"})
    assert (paused.status_code, paused.json()["paused"]) == (200, True)
    assert operator.post("/api/v1/channels/crm-out/resume", json={"reason": "done"}).json()["paused"] is False
    assert operator.post("/api/v1/channels/crm-out/pause", json={}).status_code == 422
    assert operator.post("/api/v1/channels/crm-out/ping").json()["said"] == "crm-out is there"
    failed = operator.post("/api/v1/channels/erp-out/ping")
    assert (failed.status_code, failed.json()["code"]) == (502, "not_delivered")
    assert operator.post("/api/v1/channels/nobody/ping").status_code == 404


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"patient": "00012345"}, [8, 7, 6, 4, 3, 2, 1]),
        ({"patient": "nobody"}, []),
        ({"controlId": "C0002"}, [2]),
        ({"type": "ORU"}, [4]),
        ({"type": "ADT^A08"}, [3, 2, 1]),
        ({"state": "dead"}, [7, 2]),
        ({"state": "uncertain"}, [8]),
        ({"state": "queued"}, [3]),
        ({"state": "refused"}, [5]),
        ({"state": "ignored"}, [4]),
        ({"state": "delivered"}, [6]),
        ({"channel": "erp-out"}, [7]),
        ({"direction": "out"}, [8, 7, 6]),
        ({"channel": "ocs-in", "state": "dead"}, [2]),
        ({"until": "2026-11-21T23:43:23Z"}, [2, 1]),
        ({"since": "2026-11-22T08:44:28+09:00"}, [69, 68]),
        ({"since": "2026-11-21T23:43:22Z", "until": "2026-11-21T23:43:24Z"}, [3, 2]),
        ({"resourceId": HONG}, [8, 7, 6]),
        ({"type": "%"}, []),
    ],
)
def test_messages_are_found(as_role: As, query: dict[str, str], ids: list[int]) -> None:
    by_post = as_role("operator").post("/api/v1/messages/search", json=query).json()
    assert [one["id"] for one in by_post["items"]] == ids
    assert as_role("operator").get("/api/v1/messages", params=query).json() == by_post


def test_a_search_by_patient_number_is_recorded_without_the_number(as_role: As, hub: WebHub) -> None:
    as_role("operator").post("/api/v1/messages/search", json={"patient": "00012345"})
    entry = hub.audit.entries()[-1]  # type: ignore[attr-defined]
    assert entry["action"] == "message.searched"
    assert "00012345" not in str(entry)


def test_pages_of_messages(as_role: As) -> None:
    seen: list[int] = []
    cursor = ""
    while True:
        page = as_role("operator").post("/api/v1/messages/search", json={"limit": 20, "cursor": cursor}).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == list(range(69, 0, -1))


def test_the_story_of_a_message(as_role: As) -> None:
    story = as_role("operator").get("/api/v1/messages/1").json()
    assert (story["state"], story["outcome"], story["answer"], story["answerState"]) == ("done", "applied", "AA", "sent")
    assert [change["type"] for change in story["changes"]] == ["patient.updated", "encounter.created"]
    assert {one["target"]: one["state"] for one in story["deliveries"]} == {
        "crm-out": "confirmed",
        "erp-out": "refused",
        "ocs-out": "sent",
    }
    (told,) = story["receivers"]
    assert (told["type"], told["code"]) == ("patient.updated", "E02")
    assert {one["target"]: one["code"] for one in told["receivers"]} == {"crm-out": "F02", "erp-out": "F01", "ocs-out": "E01"}
    assert [entry["action"] for entry in story["audit"]] == ["message.stored", "message.applied"]
    assert {"path": "PID-5", "value": "홍길동^^^^^^L^SYL~洪吉洞^^^^^^L^IDE"} in story["content"]["segments"][2]["fields"]
    assert "8013011234567" not in str(story)
    auditor = as_role("auditor").get("/api/v1/messages/1").json()
    assert "content" not in auditor
    assert "홍길동" not in str(auditor)


@pytest.mark.parametrize(("number", "state"), [(2, "undelivered"), (3, "owed"), (5, "not_owed"), (10, "sent"), (61, "owed")])
def test_whether_the_sender_got_its_answer(as_role: As, number: int, state: str) -> None:
    assert as_role("operator").get(f"/api/v1/messages/{number}").json()["answerState"] == state


def test_an_outbound_message_says_what_it_carries(as_role: As) -> None:
    story = as_role("operator").get("/api/v1/messages/7").json()
    assert (story["state"], story["carries"]["type"], story["carries"]["messageId"]) == ("dead", "patient.updated", 1)
    assert story["attemptLog"][0]["verdict"] == "refused"
    assert story["content"]["note"] == "built when it is sent, from the current state"


def test_unreadable_bytes_are_a_note_not_a_crash(as_role: As) -> None:
    story = as_role("operator").get("/api/v1/messages/5").json()
    assert story["state"] == "refused"
    assert story["content"]["note"]


def test_replay_discard_settle(as_role: As, hub: WebHub) -> None:
    operator = as_role("operator")
    for reason in ("x", "call 010-1234-5678", "y" * 201, "801301-1234567"):
        assert operator.post("/api/v1/messages/2/replay", json={"reason": reason}).status_code == 422
    assert operator.post("/api/v1/messages/2/replay", json={"reason": "map corrected"}).json()["state"] == "queued"
    again = operator.post("/api/v1/messages/2/replay", json={"reason": "map corrected"})
    assert (again.status_code, again.json()["code"]) == (409, "illegal_step")
    assert operator.post("/api/v1/messages/7/discard", json={"reason": "entered by hand"}).json()["state"] == "discarded"
    assert operator.post("/api/v1/messages/8/settle", json={"reason": "looked it up", "acted": True}).json()["state"] == "done"
    assert operator.post("/api/v1/messages/1/discard", json={"reason": "because"}).status_code == 409
    assert operator.post("/api/v1/messages/404/discard", json={"reason": "because"}).status_code == 404
    assert hub.operations.calls[0] == ("replay", 2, "map corrected", "token:operator-1")  # type: ignore[attr-defined]


def test_the_feed_gives_every_change_once(as_role: As, hub: WebHub) -> None:
    crm = as_role("crm")
    first = crm.get("/api/v1/changes", params={"limit": 1}).json()
    assert [one["type"] for one in first["items"]] == ["patient.updated"]
    assert first["more"] is True
    second = crm.get("/api/v1/changes", params={"after": first["next"]}).json()
    assert [one["resourceId"] for one in second["items"]] == [VISIT]
    empty = crm.get("/api/v1/changes", params={"after": second["next"]}).json()
    assert (empty["items"], empty["more"]) == ([], False)
    crm.post(f"/api/v1/patients/{HONG}/appointments", json={"start": "2026-12-01T10:00:00+09:00"})
    third = crm.get("/api/v1/changes", params={"after": empty["next"]}).json()
    assert [one["type"] for one in third["items"]] == ["appointment.created"]
    deliveries = crm.get(f"/api/v1/changes/{first['items'][0]['id']}/deliveries").json()["items"]
    assert {one["target"]: one["state"] for one in deliveries} == {
        "crm-out": "confirmed",
        "erp-out": "refused",
        "ocs-out": "sent",
    }
    reads = [entry for entry in hub.audit.entries() if entry["action"] == "changes.read"]  # type: ignore[attr-defined]
    assert [entry["detail"]["ids"] for entry in reads] == [[HONG]] * 3  # an empty page shows nobody


def test_the_feed_by_kind_does_not_read_twice_what_it_left_out(as_role: As) -> None:
    page = as_role("crm").get("/api/v1/changes", params={"kind": "Coverage"}).json()
    assert page["items"] == []
    whole = as_role("crm").get("/api/v1/changes").json()
    assert page["next"] == whole["next"]
    assert as_role("crm").get("/api/v1/changes", params={"kind": "Nonsense"}).status_code == 422


def test_the_feed_waits(as_role: As) -> None:
    after = as_role("crm").get("/api/v1/changes").json()["next"]
    begin = time.monotonic()
    assert as_role("crm").get("/api/v1/changes", params={"after": after, "wait": 1}).json()["items"] == []
    assert 0.9 < time.monotonic() - begin < 5


def test_a_snapshot_and_the_feed_behind_it(as_role: As) -> None:
    crm = as_role("crm")
    seen: list[str] = []
    page: dict[str, Any] = crm.get("/api/v1/snapshot", params={"kind": ["Patient", "Encounter"], "limit": 2}).json()
    begin = page["feed"]
    crm.post("/api/v1/patients", json={"name": [{"text": "뷁"}]})
    while True:
        seen += [one["id"] for one in page["items"]]
        assert page["feed"] == begin
        if page["next"] is None:
            break
        page = crm.get("/api/v1/snapshot", params={"cursor": page["next"], "limit": 2}).json()
    assert len(seen) == len(set(seen)) == 6  # four patients, the new one, a visit
    assert [one["type"] for one in crm.get("/api/v1/changes", params={"after": begin}).json()["items"]] == ["patient.created"]


def test_audit_entries_and_checkpoints(as_role: As, hub: WebHub) -> None:
    as_role("crm").get(f"/api/v1/patients/{HONG}")
    as_role("crm").post("/api/v1/patients/search", json={"name": "홍"})
    auditor = as_role("auditor")
    seen = auditor.get("/api/v1/audit/entries", params={"resourceId": HONG}).json()["items"]
    assert [entry["action"] for entry in seen] == ["patient.searched", "patient.read"]
    assert all(entry["actor"] == "token:crm-1" for entry in seen)
    assert [entry["action"] for entry in auditor.get("/api/v1/audit/entries", params={"messageId": 1}).json()["items"]] == [
        "message.applied",
        "message.stored",
    ]
    assert auditor.get("/api/v1/audit/entries", params={"action": "audit."}).json()["items"]
    assert auditor.get("/api/v1/audit/checkpoints").json()["items"][0]["root"] == "01" * 32


def test_health_and_metrics(hub: WebHub) -> None:
    client = web_kit.api(hub)
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    metrics = client.get("/metrics").text
    assert 'hub_work{channel="ocs-in",state="dead"} 1.0' in metrics
    assert 'hub_blocked_lanes{channel="ocs-in"} 1.0' in metrics
    assert "00012345" not in metrics
    with hub.engine.begin() as conn:
        conn.exec_driver_sql("DROP TABLE work")
    assert client.get("/metrics").text == metrics  # looked up every two seconds at most, however many ask
    hub.ready = lambda: "the disk is nearly full"
    refused = client.get("/readyz")
    assert (refused.status_code, refused.json()["detail"]) == (503, "the disk is nearly full")


def test_a_database_that_is_gone_is_503(hub: WebHub) -> None:
    secret = web_kit.token_for(hub, "admin")
    with hub.write_engine.begin() as conn:
        t.work.drop(conn)
    answer = web_kit.api(hub, secret).get("/api/v1/channels")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert "work" not in answer.text


def test_openapi_is_whole(hub: WebHub) -> None:
    client = web_kit.api(hub)
    schema = client.get("/api/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    text = str(schema)
    names = set(schema["components"]["schemas"])
    for path, item in schema["paths"].items():
        assert path.startswith("/api/v1/")
        for method, call in item.items():
            assert call["summary"], (method, path)
            assert call["description"], (method, path)
            assert "admin" in call["x-roles"]
            assert "401" in call["responses"]
    for name in names:
        assert f"#/components/schemas/{name}" in text, name
    assert "ValidationError" not in names
    assert list(schema["paths"]["/api/v1/patients/{patient_id}"]["patch"]["requestBody"]["content"]) == [
        "application/merge-patch+json"
    ]


def test_the_documentation_needs_nothing_from_outside(hub: WebHub) -> None:
    client = web_kit.api(hub)
    page = client.get("/docs")
    assert page.status_code == 200
    for path in ("/static/docs.js", "/static/docs.css", "/static/hub.css", "/static/hub.js", "/static/favicon.svg"):
        assert path in page.text or path in client.get("/login").text
        answer = client.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in answer.text


def test_time_bounds_work_on_ids_with_gaps(hub: WebHub, as_role: As) -> None:
    with hub.write_engine.begin() as conn:
        for number in (10_000, 50_000, 1_000_000):
            conn.execute(insert(t.message).values(id=number, channel="x", direction="in", at=NOW + number * SECOND))
            conn.execute(insert(t.outcome).values(message_id=number, state="done", outcome="applied", at=NOW))
    found = as_role("operator").post(
        "/api/v1/messages/search", json={"since": "2026-11-22T02:00:00Z", "until": "2026-11-22T20:00:00Z"}
    )
    assert [one["id"] for one in found.json()["items"]] == [50_000, 10_000]


def test_a_write_that_went_well_is_told_to_the_workers_and_nothing_else_is(hub: WebHub) -> None:
    told: list[int] = []
    hub.written = lambda: told.append(1)
    client = web_kit.api(hub, web_kit.token_for(hub, "operator"))
    client.get("/api/v1/channels")
    client.post("/api/v1/channels/nobody/pause", json={"reason": "a test"})
    assert told == []
    assert client.post("/api/v1/channels/ocs-out/pause", json={"reason": "a test"}).status_code < 300
    assert told == [1]
