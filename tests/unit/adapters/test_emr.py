"""EMR adapter: which answer becomes which of the four errors, and how a patient is found, changed, created."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import respx

from hub.adapters.emr.fhir_patient import MANIFEST, ROUNDS, Settings, build
from hub.config import Secret
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.ports import Outbound, Target

BASE = "http://emr.test/fhir"
SYSTEM = "urn:oid:1.2.410.99999.1"
NUMBER = "CANARY-0001"


@pytest.fixture
def mock() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=BASE, assert_all_called=False) as router:
        yield router


def settings(**more: Any) -> Settings:
    return Settings.from_table({"url": BASE, "identifier_systems": {"HOSP": SYSTEM}, "timeout_seconds": 2.0, **more})


def target(**more: Any) -> Target:
    return build(settings(**more))


def message(**more: Any) -> Outbound:
    record = {
        "identifier": [{"assigner": "HOSP", "value": NUMBER, "type": "MR"}],
        "name": [{"text": "홍길동"}],
        "telecom": [{"system": "phone", "value": "+821099998888", "use": "mobile"}],
        "gender": "male",
        "birthDate": "1980-01-31",
    }
    values: dict[str, Any] = {
        "message_id": 1, "channel": "emr", "type": "patient.updated", "at": 0, "attempt": 1, "kind": "Patient",
        "resource_id": "r", "version": 2, "resource": record, "changed": ["telecom.mobile"], "patient_id": "r", "patient": record,
        "peer_id": "p1",
    }  # fmt: skip
    return Outbound(**(values | more))


def document(**more: Any) -> dict[str, Any]:
    identifier = [{"system": SYSTEM, "value": NUMBER}]
    return {
        "resourceType": "Patient",
        "id": "p1",
        "meta": {"versionId": "1"},
        "identifier": identifier,
        "name": [{"text": "홍길동"}],
        **more,
    }


def shown(status: int = 200, etag: str | None = 'W/"v1"', **more: Any) -> httpx.Response:
    return httpx.Response(status, json=document(**more), headers={"ETag": etag} if etag else {})


def bundle(*documents: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"resourceType": "Bundle", "entry": [{"resource": one} for one in documents]})


def outcome(status: int, code: str = "invalid", headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code, "diagnostics": f"{NUMBER} 홍길동"}]}
    return httpx.Response(status, json=body, headers=headers)


# status -> on a read, on a write
TABLE: list[tuple[int, type[HubError], type[HubError]]] = [
    (301, Misconfigured, Misconfigured),
    (400, Refused, Refused),
    (401, Misconfigured, Misconfigured),
    (403, Misconfigured, Misconfigured),
    (405, Misconfigured, Misconfigured),
    (408, NotDelivered, NotDelivered),
    (413, Refused, Refused),
    (422, Refused, Refused),
    (429, NotDelivered, NotDelivered),
    (500, NotDelivered, OutcomeUnknown),
    (501, Misconfigured, Misconfigured),
    (502, NotDelivered, OutcomeUnknown),
    (503, NotDelivered, NotDelivered),
    (504, NotDelivered, OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "on_read", "_on_write"), TABLE)
def test_what_a_status_means_on_a_read(mock: respx.MockRouter, status: int, on_read: type[HubError], _on_write: Any) -> None:
    mock.get("/Patient/p1").mock(return_value=outcome(status, "processing"))
    with pytest.raises(HubError) as caught:
        target().send(message())
    assert type(caught.value) is on_read
    told(caught.value, status)


@pytest.mark.parametrize(("status", "_on_read", "on_write"), TABLE)
def test_what_a_status_means_on_a_write(mock: respx.MockRouter, status: int, _on_read: Any, on_write: type[HubError]) -> None:
    mock.get("/Patient/p1").mock(return_value=shown())
    mock.put("/Patient/p1").mock(return_value=outcome(status, "processing"))
    with pytest.raises(HubError) as caught:
        target().send(message())
    assert type(caught.value) is on_write
    told(caught.value, status)
    assert b"+821099998888" in caught.value.sent


def told(error: HubError, status: int) -> None:
    """The code of the OperationOutcome is told, its diagnostics only kept."""
    assert f"{status} (processing)" in str(error)
    assert NUMBER not in str(error)
    assert NUMBER.encode() in error.answer


@pytest.mark.parametrize("status", [429, 503])
def test_the_peer_says_when_to_come_again(mock: respx.MockRouter, status: int) -> None:
    mock.get("/Patient/p1").mock(return_value=outcome(status, headers={"Retry-After": "17"}))
    with pytest.raises(NotDelivered) as caught:
        target().send(message())
    assert caught.value.retry_after == 17
    assert caught.value.reached


@pytest.mark.parametrize(
    ("failure", "on_read", "on_write", "reached"),
    [
        (httpx.ConnectError, NotDelivered, NotDelivered, False),
        (httpx.ConnectTimeout, NotDelivered, NotDelivered, False),
        (httpx.PoolTimeout, NotDelivered, NotDelivered, False),
        (httpx.ReadTimeout, NotDelivered, OutcomeUnknown, True),
        (httpx.ReadError, NotDelivered, OutcomeUnknown, True),
        (httpx.WriteError, NotDelivered, OutcomeUnknown, True),
        (httpx.RemoteProtocolError, NotDelivered, OutcomeUnknown, True),
        (httpx.DecodingError, NotDelivered, OutcomeUnknown, True),
    ],
)
def test_a_broken_connection(mock: respx.MockRouter, failure: Any, on_read: Any, on_write: Any, reached: bool) -> None:
    reading = mock.get("/Patient/p1").mock(side_effect=failure(f"http://x?{NUMBER}"))
    with pytest.raises(on_read) as caught:
        target().send(message())
    assert reading.call_count == 3  # an idempotent read is tried again within the attempt
    assert caught.value.reached is reached
    assert NUMBER not in str(caught.value)
    mock.get("/Patient/p1").mock(return_value=shown())
    writing = mock.put("/Patient/p1").mock(side_effect=failure(f"http://x?{NUMBER}"))
    with pytest.raises(on_write) as caught:
        target().send(message())
    assert writing.call_count == (1 if on_write is OutcomeUnknown else 3)  # what may have arrived is not sent again here
    assert NUMBER not in str(caught.value)


@pytest.mark.parametrize("etag", ['W/"1"', '"strong"', 'W/"9f0c1f4e-6a3e-4d52-8a86-1f0d4c0a0f11"'])
def test_the_put_carries_the_version_read_and_all_that_was_there(mock: respx.MockRouter, etag: str) -> None:
    mock.get("/Patient/p1").mock(return_value=shown(etag=etag, contact=[{"name": {"text": "김보호"}}]))
    put = mock.put("/Patient/p1").mock(return_value=shown(etag='W/"v2"'))
    done = target().send(message())
    request = put.calls.last.request
    assert request.headers["if-match"] == etag
    assert request.headers["content-type"] == "application/fhir+json"
    mobile = {"system": "phone", "value": "+821099998888", "use": "mobile"}
    assert json.loads(request.content) == document(contact=[{"name": {"text": "김보호"}}], telecom=[mobile])
    assert (done.peer_id, done.peer_etag, done.detail) == ("p1", 'W/"v2"', "200")
    assert done.sent == request.content
    assert done.sent_fields == {"telecom.mobile": mobile}


def test_a_version_without_etag_header_is_taken_from_the_document(mock: respx.MockRouter) -> None:
    mock.get("/Patient/p1").mock(return_value=shown(etag=None))
    put = mock.put("/Patient/p1").mock(return_value=httpx.Response(200))
    target().send(message())
    assert put.calls.last.request.headers["if-match"] == 'W/"1"'


def test_without_any_version_nothing_is_written(mock: respx.MockRouter) -> None:
    mock.get("/Patient/p1").mock(return_value=shown(etag=None, meta={}))
    with pytest.raises(Misconfigured, match="version"):
        target().send(message())


def test_nothing_differs_nothing_is_written(mock: respx.MockRouter) -> None:
    mock.get("/Patient/p1").mock(return_value=shown(telecom=[{"system": "phone", "value": "010-9999-8888", "use": "mobile"}]))
    done = target().send(message())
    assert (done.detail, done.sent, done.peer_etag) == ("unchanged", b"", 'W/"v1"')
    assert done.sent_fields["telecom.mobile"]["value"] == "010-9999-8888"


@pytest.mark.parametrize("status", [409, 412])
def test_somebody_else_was_faster(mock: respx.MockRouter, status: int) -> None:
    mock.get("/Patient/p1").mock(side_effect=[shown(), shown(etag='W/"v2"', active=True)])
    put = mock.put("/Patient/p1").mock(side_effect=[outcome(status), shown(etag='W/"v3"')])
    assert target().send(message()).peer_etag == 'W/"v3"'
    assert put.calls.last.request.headers["if-match"] == 'W/"v2"'
    assert json.loads(put.calls.last.request.content)["active"] is True


@pytest.mark.parametrize("status", [409, 412])
def test_somebody_else_is_always_faster(mock: respx.MockRouter, status: int) -> None:
    mock.get("/Patient/p1").mock(return_value=shown())
    put = mock.put("/Patient/p1").mock(return_value=outcome(status))
    with pytest.raises(NotDelivered, match="kept changing"):
        target().send(message())
    assert put.call_count == ROUNDS


@pytest.mark.parametrize("status", [404, 410])
def test_a_known_id_that_is_gone_is_searched_again(mock: respx.MockRouter, status: int) -> None:
    mock.get("/Patient/p1").mock(return_value=outcome(status, "not-found"))
    search = mock.post("/Patient/_search").mock(return_value=bundle(document(id="p2")))
    mock.get("/Patient/p2").mock(return_value=httpx.Response(200, json=document(id="p2"), headers={"ETag": 'W/"1"'}))
    mock.put("/Patient/p2").mock(return_value=httpx.Response(200, headers={"ETag": 'W/"2"'}))
    assert target().send(message()).peer_id == "p2"
    request = search.calls.last.request
    assert parse_qs(request.content.decode()) == {"identifier": [f"{SYSTEM}|{NUMBER}"]}
    assert NUMBER not in str(request.url)


def test_two_patients_with_one_number_are_refused(mock: respx.MockRouter) -> None:
    mock.post("/Patient/_search").mock(return_value=bundle(document(id="a"), document(id="b")))
    with pytest.raises(Refused, match="ambiguous") as caught:
        target(create=True).send(message(peer_id=None))
    assert caught.value.code == "ambiguous"


def test_a_merged_one_beside_its_survivor_is_not_ambiguous(mock: respx.MockRouter) -> None:
    merged = document(id="a", active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/p1"}}])
    mock.post("/Patient/_search").mock(return_value=bundle(merged, document()))
    mock.get("/Patient/p1").mock(return_value=shown())
    mock.put("/Patient/p1").mock(return_value=shown())
    assert target().send(message(peer_id=None)).peer_id == "p1"


def test_unknown_there_is_refused_unless_creating_is_on(mock: respx.MockRouter) -> None:
    mock.post("/Patient/_search").mock(return_value=bundle())
    with pytest.raises(Refused) as caught:
        target().send(message(peer_id=None))
    assert caught.value.code == "unknown_there"


@pytest.mark.parametrize("peer_id", [None, "..", "a/b", "x" * 65])
def test_create_is_conditional_on_the_identifier(mock: respx.MockRouter, peer_id: str | None) -> None:
    mock.post("/Patient/_search").mock(return_value=bundle())
    headers = {"Location": f"{BASE}/Patient/new-1/_history/1", "ETag": 'W/"1"'}
    create = mock.post("/Patient").mock(return_value=httpx.Response(201, headers=headers))
    done = target(create=True, profile="urn:profile").send(message(peer_id=peer_id))
    request = create.calls.last.request
    assert parse_qs(request.headers["if-none-exist"]) == {"identifier": [f"{SYSTEM}|{NUMBER}"]}
    made = json.loads(request.content)
    assert made["meta"] == {"profile": ["urn:profile"]}
    assert made["name"] == [{"text": "홍길동"}]
    assert (done.peer_id, done.peer_etag, done.detail) == ("new-1", 'W/"1"', "201")
    assert "telecom.mobile" in done.sent_fields


def test_create_that_meets_an_existing_one_goes_on_with_it(mock: respx.MockRouter) -> None:
    mock.post("/Patient/_search").mock(side_effect=[bundle(), bundle(document())])
    mock.post("/Patient").mock(return_value=shown())
    mock.get("/Patient/p1").mock(return_value=shown())
    put = mock.put("/Patient/p1").mock(return_value=shown(etag='W/"2"'))
    assert target(create=True).send(message(peer_id=None)).detail == "200"
    assert put.called


def test_create_with_several_matches_is_ambiguous(mock: respx.MockRouter) -> None:
    mock.post("/Patient/_search").mock(return_value=bundle())
    mock.post("/Patient").mock(return_value=outcome(412, "multiple-matches"))
    with pytest.raises(Refused, match="ambiguous"):
        target(create=True).send(message(peer_id=None))


def test_a_patient_without_a_number_there_is_not_created(mock: respx.MockRouter) -> None:
    numberless = {"identifier": [{"assigner": "LAB", "value": "1"}], "name": [{"text": "뷁"}]}
    with pytest.raises(Refused) as caught:
        target(create=True).send(message(peer_id=None, resource=numberless))
    assert caught.value.code == "no_identifier"
    assert not mock.calls


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"resourceType":"Bundle"}', b"[]"])
def test_an_answer_that_is_no_patient_is_a_wrong_url(mock: respx.MockRouter, body: bytes) -> None:
    mock.get("/Patient/p1").mock(return_value=httpx.Response(200, content=body))
    with pytest.raises(Misconfigured, match="url"):
        target().send(message())


def test_an_answer_about_another_patient_is_no_answer(mock: respx.MockRouter) -> None:
    mock.get("/Patient/p1").mock(return_value=shown())
    mock.put("/Patient/p1").mock(return_value=shown(id="somebody"))
    with pytest.raises(OutcomeUnknown):
        target().send(message())


def test_find_says_whether_it_stands_there(mock: respx.MockRouter) -> None:
    mock.get("/Patient/p1").mock(
        side_effect=[shown(), shown(telecom=[{"system": "phone", "value": "+821099998888", "use": "mobile"}])]
    )
    one = target()
    assert one.find(message()) is None
    found = one.find(message())
    assert found is not None
    assert (found.peer_id, found.detail) == ("p1", "found")


def test_a_merge_points_the_prior_one_at_its_survivor(mock: respx.MockRouter) -> None:
    mock.get("/Patient/p1").mock(return_value=shown())
    put = mock.put("/Patient/p1").mock(return_value=shown())
    merged = message(type="patient.merged", patient_peer_id="p9", resource={"replacedBy": "s"})
    target().send(merged)
    sent = json.loads(put.calls.last.request.content)
    assert sent["active"] is False
    assert sent["link"] == [{"other": {"reference": "Patient/p9"}, "type": "replaced-by"}]


def test_the_survivor_of_a_merge_is_found_by_its_numbers(mock: respx.MockRouter) -> None:
    mock.get("/Patient/p1").mock(return_value=shown())
    mock.post("/Patient/_search").mock(return_value=bundle(document(id="p9")))
    mock.get("/Patient/p9").mock(return_value=httpx.Response(200, json=document(id="p9"), headers={"ETag": 'W/"1"'}))
    put = mock.put("/Patient/p1").mock(return_value=shown())
    survivor = {"identifier": [{"assigner": "HOSP", "value": "0009"}]}
    target().send(message(type="patient.merged", resource={"replacedBy": "s"}, patient=survivor))
    assert json.loads(put.calls.last.request.content)["link"][0]["other"] == {"reference": "Patient/p9"}


def test_the_prior_one_is_not_taken_for_its_own_survivor(mock: respx.MockRouter) -> None:
    """The golden record has both numbers by then, and in the EMR both patients are still active."""
    mock.get("/Patient/p1").mock(return_value=shown())
    mock.post("/Patient/_search").mock(return_value=bundle(document(id="p1"), document(id="p9")))
    mock.get("/Patient/p9").mock(return_value=httpx.Response(200, json=document(id="p9"), headers={"ETag": 'W/"1"'}))
    put = mock.put("/Patient/p1").mock(return_value=shown())
    survivor = {"identifier": [{"assigner": "HOSP", "value": "0009"}, {"assigner": "HOSP", "value": NUMBER}]}
    target().send(message(type="patient.merged", resource={"replacedBy": "s"}, patient=survivor))
    assert json.loads(put.calls.last.request.content)["link"][0]["other"] == {"reference": "Patient/p9"}


def test_a_prospect_without_a_number_is_not_the_emrs_business(mock: respx.MockRouter) -> None:
    done = target(create=True).send(
        message(type="patient.created", peer_id=None, resource={"prospect": True, "name": [{"text": "뷁"}]})
    )
    assert done.detail.startswith("nothing to do")
    assert not mock.calls


def test_a_prospect_who_became_a_patient_is_sent_whole(mock: respx.MockRouter) -> None:
    mock.post("/Patient/_search").mock(return_value=bundle(document()))
    mock.get("/Patient/p1").mock(return_value=shown())
    mock.put("/Patient/p1").mock(return_value=shown())
    done = target().send(message(peer_id=None, changed=["identifier", "prospect"]))
    assert {"telecom.mobile", "birthDate", "gender", "name"} <= set(done.sent_fields)


def test_a_merge_of_what_the_emr_never_knew_is_nothing(mock: respx.MockRouter) -> None:
    done = target().send(message(type="patient.merged", peer_id=None, patient_peer_id="p9", resource={"replacedBy": "s"}))
    assert done.detail == "nothing to do"
    assert not mock.calls


def test_ping(mock: respx.MockRouter) -> None:
    mock.get("/metadata").mock(side_effect=[
        httpx.Response(200, json={"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}),
        httpx.Response(200, json={"resourceType": "CapabilityStatement", "fhirVersion": "3.0.2"}),
    ])  # fmt: skip
    one = target()
    assert one.ping() == "FHIR 4.0.1"
    with pytest.raises(Misconfigured, match="R4"):
        one.ping()


def test_who_we_are(mock: respx.MockRouter) -> None:
    route = mock.get("/metadata").mock(
        return_value=httpx.Response(200, json={"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"})
    )
    target(token=Secret("t0k")).ping()
    assert route.calls.last.request.headers["authorization"] == "Bearer t0k"
    target(user="hub", password=Secret("pw")).ping()
    assert route.calls.last.request.headers["authorization"].startswith("Basic ")


def test_no_url_and_no_value_reaches_the_log(mock: respx.MockRouter, caplog: pytest.LogCaptureFixture) -> None:
    mock.post("/Patient/_search").mock(return_value=bundle(document()))
    mock.get("/Patient/p1").mock(return_value=shown())
    mock.put("/Patient/p1").mock(return_value=shown())
    caplog.set_level(logging.DEBUG)
    target().send(message(peer_id=None))
    assert "Patient" not in caplog.text
    assert NUMBER not in caplog.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"identifier_systems": {}}, "identifier_systems"),
        ({"identifier_systems": {"HOSP": ""}}, "identifier_systems"),
        ({"fields": ["identifier"]}, "telecom"),
        ({"fields": []}, "fields"),
        ({"url": "emr.test"}, "https://"),
        ({"url": "http://u:p@emr.test"}, "without user"),
        ({"url": "http://emr.test:99999"}, "https://"),
        ({"url": "http://emr.test/?a=b"}, "https://"),
        ({"user": "hub"}, "password"),
        ({"user": "hub", "password": Secret("x"), "token": Secret("y")}, "bearer"),
        ({"password": "in clear"}, "{ file ="),
        ({"key_file": "/nowhere"}, "cert_file"),
        ({"ca_file": "/nowhere/ca.pem"}, "file"),
        ({"timeout_seconds": 0}, "0.1"),
        ({"create": "yes"}, "true or false"),
    ],
)
def test_a_wrong_setting_says_what_to_write(more: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        settings(**more)
    assert said in str(caught.value)


def test_a_certificate_file_that_is_none(tmp_path: Any) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(Misconfigured, match="PEM"):
        target(url="https://emr.test/fhir", ca_file=str(file))


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(settings(token=Secret("hush")))
    assert MANIFEST.name == "emr.fhir_patient"


@pytest.mark.parametrize(("create", "numbers"), [(False, ["1"]), (True, [])])
def test_whom_nobody_has_named_waits_where_he_would_be_refused(mock: respx.MockRouter, create: bool, numbers: list[str]) -> None:
    mock.post("/Patient/_search").mock(return_value=httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset"}))
    record = {"identifier": [{"assigner": "HOSP", "value": number, "type": "MR"} for number in numbers]}
    unnamed = message(type="patient.created", resource=record, changed=[], peer_id=None)
    assert target(create=create).send(unnamed).detail == "nothing to do yet: a patient without a name"
    with pytest.raises(Refused):
        target(create=create).send(message(resource=record | {"name": [{"text": "뷁"}]}, changed=["name"], peer_id=None))
