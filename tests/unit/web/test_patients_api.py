"""/api/v1/patients: search, read, write, and what is written down about it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from hub.domain.errors import TryAgain
from hub.web.app import WebHub
from tests.web_kit import BOOKING, HONG, MERGED, NAMGUNG, PROSPECT, VISIT

As = Callable[[str], TestClient]
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"name": "홍"}, [HONG]),
        ({"name": unicodedata.normalize("NFD", "홍길동")}, [HONG]),
        ({"name": "길동"}, [HONG]),
        ({"name": "洪"}, [HONG]),
        ({"name": "남궁 민"}, [NAMGUNG]),
        ({"phone": "010-1234-5678"}, [HONG]),
        ({"phone": "5678"}, [HONG, NAMGUNG]),
        ({"phone": "5678", "name": "남궁"}, [NAMGUNG]),
        ({"birthDate": "1980-02-03"}, [HONG]),
        ({"birthDate": "1980"}, [HONG]),
        ({"identifier": "HOSP|00012345"}, [HONG]),
        ({"identifier": "00012345"}, [HONG]),
        ({"identifier": "OTHER|00012345"}, []),
        ({"name": "홍길둥"}, []),  # merged away
        ({"name": "펲시"}, [PROSPECT]),
        ({"name": "!!"}, []),  # nothing searchable: nobody, not everybody
        ({"phone": "78"}, []),
        ({"birthDate": "soon"}, []),
        ({"name": "%"}, []),
        ({"name": "_"}, []),
    ],
)
def test_search(as_role: As, query: dict[str, str], found: list[str]) -> None:
    by_post = as_role("crm").post("/api/v1/patients/search", json=query)
    by_get = as_role("crm").get("/api/v1/patients", params=query)
    assert by_post.status_code == by_get.status_code == 200
    assert [item["id"] for item in by_post.json()["items"]] == found
    assert by_get.json() == by_post.json()


def test_a_search_is_recorded_with_the_ids_it_showed_and_nothing_else(as_role: As, hub: WebHub) -> None:
    as_role("crm").post("/api/v1/patients/search", json={"name": "홍길동"})
    entry = hub.audit.entries()[-1]  # type: ignore[attr-defined]
    assert (entry["action"], entry["actor"], entry["detail"]["ids"]) == ("patient.searched", "token:crm-1", [HONG])
    assert "홍" not in str(entry)


def test_pages(as_role: As) -> None:
    first = as_role("crm").post("/api/v1/patients/search", json={"phone": "5678", "limit": 1}).json()
    assert [item["id"] for item in first["items"]] == [HONG]
    second = as_role("crm").post("/api/v1/patients/search", json={"phone": "5678", "limit": 1, "cursor": first["next"]}).json()
    assert [item["id"] for item in second["items"]] == [NAMGUNG]


def test_read_with_etag(as_role: As, hub: WebHub) -> None:
    answer = as_role("crm").get(f"/api/v1/patients/{HONG}")
    assert answer.headers["etag"] == '"v3"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["resource"]["name"][0]["text"] == "홍길동"
    again = as_role("crm").get(f"/api/v1/patients/{HONG}", headers={"If-None-Match": '"v3"'})
    assert (again.status_code, again.content) == (304, b"")
    entries = [entry for entry in hub.audit.entries() if entry["action"] == "patient.read"]  # type: ignore[attr-defined]
    assert len(entries) == 2
    assert entries[0]["resource_id"] == HONG
    assert entries[0]["detail"] == {"ip": "testclient", "what": "patient"}


def test_a_merged_patient_leads_to_the_survivor(as_role: As) -> None:
    answer = as_role("crm").get(f"/api/v1/patients/{MERGED}")
    assert (answer.status_code, answer.json()["status"]) == (200, "merged")
    assert answer.json()["replacedBy"] == {"id": HONG, "href": f"/api/v1/patients/{HONG}"}
    assert HONG in answer.headers["link"]


@pytest.mark.parametrize(
    "part", ["", "/relationships", "/encounters", "/appointments", "/timeline", "/history", "/lineage", "/sync"]
)
def test_nobody_is_404_everywhere(as_role: As, part: str) -> None:
    answer = as_role("crm").get(f"/api/v1/patients/nobody{part}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("part", "ids"), [("encounters", [VISIT]), ("appointments", [BOOKING]), ("timeline", [BOOKING, VISIT]), ("coverages", [])]
)
def test_what_belongs_to_a_patient(as_role: As, hub: WebHub, part: str, ids: list[str]) -> None:
    answer = as_role("crm").get(f"/api/v1/patients/{HONG}/{part}").json()
    assert [item["id"] for item in answer["items"]] == ids
    assert hub.audit.entries()[-1]["resource_id"] == HONG  # type: ignore[attr-defined]
    page = as_role("crm").get(f"/api/v1/patients/{HONG}/{part}", params={"limit": 1}).json()
    seen = [item["id"] for item in page["items"]]
    while page["next"]:
        page = as_role("crm").get(f"/api/v1/patients/{HONG}/{part}", params={"limit": 1, "cursor": page["next"]}).json()
        seen += [item["id"] for item in page["items"]]
    assert seen == ids


def test_relationships_name_the_person(as_role: As) -> None:
    items = as_role("crm").get(f"/api/v1/patients/{HONG}/relationships").json()["items"]
    assert items[0]["related"]["resource"]["name"][0]["text"] == "홍판서"


def test_lineage_names_message_path_map_and_time(as_role: As) -> None:
    fields = {one["field"]: one for one in as_role("crm").get(f"/api/v1/patients/{HONG}/lineage").json()["fields"]}
    phone = fields["telecom"]["sources"][0]
    assert (phone["slot"], phone["system"], phone["chosen"], phone["messageId"]) == ("telecom.mobile", "ocs", True, 1)
    assert phone["mapVersion"] == "a1b2c3d4e5f60718"
    assert phone["path"].startswith("PID-")
    assert phone["at"] == "2026-11-21T23:59:10.000000Z"
    assert [said["chosen"] for said in fields["address"]["sources"]] == [True, False]


def test_history_and_merges(as_role: As) -> None:
    answer = as_role("crm").get(f"/api/v1/patients/{HONG}/history").json()
    assert [(one["version"], one["changed"], one["messageId"]) for one in answer["items"]] == [(3, ["telecom"], 1)]
    assert answer["links"][0]["act"] == "merge"


def test_sync_says_where_each_change_stands(as_role: As) -> None:
    items = as_role("crm").get(f"/api/v1/patients/{HONG}/sync").json()["items"]
    assert {one["target"]: one["state"] for one in items} == {"crm-out": "confirmed", "erp-out": "refused", "ocs-out": "sent"}
    assert next(one["reason"] for one in items if one["target"] == "erp-out") == "422 from the target"


NEW = {
    "name": [{"text": "똠방각하"}],
    "telecom": [{"value": "010 2222 3333", "use": "mobile"}, {"system": "email", "value": "A@Example.org"}],
}


def test_create_a_prospect(as_role: As, hub: WebHub) -> None:
    answer = as_role("crm").post("/api/v1/patients", json=NEW)
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/patients/{answer.json()['id']}"
    assert answer.headers["etag"] == '"v1"'
    assert hub.front_office.calls[-1][1]["telecom"] == [  # type: ignore[attr-defined]
        {"system": "phone", "value": "+821022223333", "use": "mobile", "raw": "010 2222 3333"},
        {"system": "email", "value": "a@example.org", "raw": "A@Example.org"},
    ]
    found = as_role("crm").post("/api/v1/patients/search", json={"phone": "3333"}).json()["items"]
    assert [item["id"] for item in found] == [answer.json()["id"]]


def test_the_same_key_makes_one_prospect(as_role: As, hub: WebHub) -> None:
    headers = {"Idempotency-Key": "6f1d0c9e-1"}
    first = as_role("crm").post("/api/v1/patients", json=NEW, headers=headers)
    second = as_role("crm").post("/api/v1/patients", json=NEW, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["etag"] == first.headers["etag"]
    assert len(hub.front_office.calls) == 1  # type: ignore[attr-defined]
    other = as_role("crm").post("/api/v1/patients", json={"name": [{"text": "뷁"}]}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert as_role("admin").post("/api/v1/patients", json=NEW, headers=headers).status_code == 201  # keys are each token's own


def test_a_refused_write_frees_its_key(as_role: As) -> None:
    headers = {"Idempotency-Key": "6f1d0c9e-2", "If-Match": '"v3"', **MERGE_PATCH}
    refused = as_role("crm").patch(f"/api/v1/patients/{HONG}", json={"birthDate": "1981-01-01"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "not_allowed")
    assert as_role("crm").patch(f"/api/v1/patients/{HONG}", json={"note": "x"}, headers=headers).status_code == 200


def test_a_write_whose_end_is_unknown_is_not_done_again(as_role: As, hub: WebHub) -> None:
    client = as_role("crm")
    token_id = hub.access.tokens()[0].id
    raw = b'{"name": [{"text": "x"}]}'
    digest = hub.keys.digest(b"\0".join((b"POST", b"/api/v1/patients", b"", raw)))
    assert hub.access.begin_write(token_id, "lost-key-1", digest, now=hub.clock()) is None
    headers = {"Idempotency-Key": "lost-key-1", "Content-Type": "application/json"}
    answer = client.post("/api/v1/patients", content=raw, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "in_progress")


def test_a_write_that_was_done_and_not_answered_is_not_done_again(
    as_role: As, hub: WebHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patient is made, and then the access record cannot be written: the key must not be free for a second one."""
    client, headers = as_role("crm"), {"Idempotency-Key": "6f1d0c9e-3"}

    def busy(*_: object, **__: object) -> None:
        raise TryAgain("the store is busy")

    with monkeypatch.context() as broken:
        broken.setattr(hub.audit, "append", busy)
        assert client.post("/api/v1/patients", json=NEW, headers=headers).status_code == 503
    again = client.post("/api/v1/patients", json=NEW, headers=headers)
    assert (again.status_code, again.json()["code"]) == (409, "in_progress")
    assert len(hub.front_office.calls) == 1  # type: ignore[attr-defined]


def test_patch(as_role: As, hub: WebHub) -> None:
    url, body = f"/api/v1/patients/{HONG}", {"telecom": [{"value": "02-123-4567"}], "note": "오전 선호", "address": None}
    assert as_role("crm").patch(url, json=body, headers=MERGE_PATCH).status_code == 428
    stale = as_role("crm").patch(url, json=body, headers={**MERGE_PATCH, "If-Match": '"v2"'})
    assert (stale.status_code, stale.json()["current"], stale.headers["etag"]) == (412, 3, '"v3"')
    assert as_role("crm").patch(url, json=body, headers={**MERGE_PATCH, "If-Match": "*"}).status_code == 400
    done = as_role("crm").patch(url, json=body, headers={**MERGE_PATCH, "If-Match": '"v3"'})
    assert (done.status_code, done.headers["etag"]) == (200, '"v4"')
    assert done.json()["resource"]["note"] == "오전 선호"
    assert "address" not in done.json()["resource"]
    assert hub.front_office.calls[-1][1]["address"] is None  # type: ignore[attr-defined]


def test_appointments_are_booked_moved_and_cancelled(as_role: As, hub: WebHub) -> None:
    crm = as_role("crm")
    booked = crm.post(
        f"/api/v1/patients/{HONG}/appointments", json={"start": "2026-12-01T10:00:00+09:00", "reason": {"display": "검진"}}
    )
    assert (booked.status_code, booked.json()["resource"]["status"]) == (201, "pending")
    url = booked.headers["location"]
    moved = crm.patch(
        url, json={"start": "2026-12-02T10:00:00+09:00", "reason": {"code": "R1"}}, headers={**MERGE_PATCH, "If-Match": '"v1"'}
    )
    assert moved.json()["resource"]["reason"] == {"display": "검진", "code": "R1"}  # objects are merged (RFC 7396)
    assert crm.post(f"{url}/cancel", json={"reason": "환자 요청"}).status_code == 428
    gone = crm.post(f"{url}/cancel", json={"reason": "환자 요청"}, headers={"If-Match": '"v2"'})
    assert gone.json()["resource"]["status"] == "cancelled"
    assert hub.front_office.calls[-1] == ("cancel_appointment", "환자 요청")  # type: ignore[attr-defined]
    assert crm.delete(f"/api/v1/appointments/{BOOKING}", headers={"If-Match": '"v2"'}).json()["resource"]["status"] == "cancelled"
    assert crm.get(f"/api/v1/encounters/{VISIT}").json()["resource"]["class"] == "AMB"
    assert crm.get(f"/api/v1/encounters/{BOOKING}").status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/name"),
        ({"name": []}, "#/name"),
        ({"name": [{"text": ""}]}, "#/name/0/text"),
        ({"name": [{"text": 5}]}, "#/name/0/text"),
        ({"name": [{"text": "a", "nick": "b"}]}, "#/name/0/nick"),
        ({"name": [{"text": "a"}], "ssn": "1"}, "#/ssn"),
        ({"name": [{"text": "a"}], "active": True}, "#/active"),
        ({"name": [{"text": "a"}], "birthDate": "1980-02-30"}, "#/birthDate"),
        ({"name": [{"text": "a"}], "birthDate": "03/02/1980"}, "#/birthDate"),
        ({"name": [{"text": "a"}], "gender": "M"}, "#/gender"),
        ({"name": [{"text": "a\rPID|2"}]}, "#/name/0/text"),
        ({"name": [{"text": "801301-1234567"}]}, "#/name/0/text"),
        ({"name": [{"text": "a"}], "telecom": [{"value": "call me"}]}, "#/telecom/0"),
        ({"name": [{"text": "a"}], "telecom": [{"system": "email", "value": "nope"}]}, "#/telecom/0"),
        ([], "#"),
        ("text", "#"),
    ],
)
def test_a_wrong_field_is_pointed_at_and_not_quoted(as_role: As, body: Any, pointer: str) -> None:
    answer = as_role("crm").post("/api/v1/patients", json=body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert [error["pointer"] for error in problem["errors"]][:1] == [pointer]
    assert problem["errors"][0]["in"] == "body"
    assert "801301" not in answer.text
    assert "call me" not in answer.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"start": "tomorrow"}, "#/start"),
        ({"start": "2026-12-01T10:00:00"}, "#/start"),
        ({"start": "2026-12-01T10:00:00+09:00", "end": "2026-12-01T09:00:00+09:00"}, "#"),
        ({"start": "2026-12-01T10:00:00+09:00", "minutes": 0}, "#/minutes"),
        ({"start": "2026-12-01T10:00:00+09:00", "minutes": "20"}, "#/minutes"),
        ({"start": "2026-12-01T10:00:00+09:00", "status": "booked"}, "#/status"),
    ],
)
def test_wrong_bookings(as_role: As, body: Any, pointer: str) -> None:
    answer = as_role("crm").post(f"/api/v1/patients/{HONG}/appointments", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
