"""ERP adapter: CSRF, If-Match, paging, find before create, and which answer becomes which of the four errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx

from hub.adapters.erp.business_partner import Settings, build
from hub.adapters.erp.partner import Found, Planner
from hub.adapters.erp.upserts import ROUNDS
from hub.codecs.sap import odata_batch as batch
from hub.config import Secret
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.domain.ports import Outbound, Target

BASE = "http://sap.test/sap/opu/odata/sap/API_BUSINESS_PARTNER"
NUMBER = "CANARY-0001"
PARTNER = "/A_BusinessPartner('1000001')"
PHONE = "/A_AddressPhoneNumber(AddressID='22',Person='7',OrdinalNumber='1')"


@pytest.fixture
def mock() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=BASE, assert_all_called=False) as router:
        router.get("/", name="root").mock(return_value=httpx.Response(200, json={"d": {}}, headers={"x-csrf-token": "T1"}))
        router.post("/$batch").mock(side_effect=Gateway(router))
        yield router


class Gateway:
    """Takes a batch apart: each request in it meets the routes of the test, with the headers of the whole and its own."""

    def __init__(self, router: respx.MockRouter) -> None:
        self.router = router

    def __call__(self, request: httpx.Request) -> httpx.Response:
        items = batch.parse_requests(request.headers["content-type"], request.content)
        answers = [self.asked(one, request) if isinstance(one, batch.Request) else self.change_set(one, request) for one in items]
        headers = {"Content-Type": batch.content_type("r")}
        return httpx.Response(202, content=batch.dump_answers(answers, "r"), headers=headers)

    def inside(self, request: batch.Request, outer: httpx.Request) -> batch.Answer:
        headers = {k: v for k, v in outer.headers.items() if k in ("x-csrf-token", "cookie", "sap-client")} | dict(
            request.headers
        )
        one = httpx.Request(request.method, f"{BASE}/{request.target}", headers=headers, content=request.body)
        answer = self.router.handler(one)
        return batch.Answer(answer.status_code, dict(answer.headers), answer.content)

    def change_set(self, requests: list[batch.Request], outer: httpx.Request) -> batch.Answer | list[batch.Answer]:
        answers = [self.inside(one, outer) for one in requests]
        return next((one for one in answers if one.status >= 400), answers)

    def asked(self, request: batch.Request, outer: httpx.Request) -> batch.Answer:
        """A set of partners is what the routes say of each."""
        if not request.target.startswith("A_BusinessPartner?"):
            return self.inside(request, outer)
        keys = re.findall(r"BusinessPartner%20eq%20'(\w+)'", request.target)
        answers = [self.inside(batch.Request("GET", f"A_BusinessPartner('{key}')"), outer) for key in keys]
        found = [one for one in answers if one.status != 404]
        if any(one.status != 200 or not one.body.startswith(b'{"d"') for one in found):
            return found[0]
        return batch.Answer(200, {}, json.dumps({"d": {"results": [json.loads(one.body)["d"] for one in found]}}).encode())


def settings(**more: Any) -> Settings:
    return Settings.from_table({"url": BASE, "identification_type": "ZMRN", "timeout_seconds": 2.0, **more})


def target(**more: Any) -> Target:
    return build(settings(**more))


def message(**more: Any) -> Outbound:
    record = {
        "identifier": [{"assigner": "LAB", "value": "9"}, {"assigner": "HOSP", "value": NUMBER, "type": "MR"}],
        "name": [{"text": "홍길동"}],
        "telecom": [{"system": "phone", "value": "+821099998888", "use": "mobile"}, {"system": "email", "value": "a@b.kr"}],
        "address": [{"text": "서울 테헤란로 1", "line": ["테헤란로 1"], "city": "서울", "postalCode": "06236"}],
        "gender": "male",
        "birthDate": "1980-01-31",
    }
    values: dict[str, Any] = {
        "message_id": 1, "channel": "erp", "type": "patient.updated", "at": 0, "attempt": 1, "kind": "Patient",
        "resource_id": "r", "version": 2, "resource": record, "changed": ["telecom.mobile"], "patient_id": "r", "patient": record,
        "peer_id": "1000001",
        "before": {"telecom": [{"system": "phone", "value": "+821011112222", "use": "mobile"}]},
    }  # fmt: skip
    return Outbound(**(values | more))


def meta(etag: str | None) -> dict[str, Any]:
    return {"__metadata": {"etag": etag} if etag else {}}


def phone(number: str = "010-1111-2222", etag: str | None = "W/\"'p1'\"") -> dict[str, Any]:
    keys = {"AddressID": "22", "Person": "7", "OrdinalNumber": "1"}
    return {**meta(etag), **keys, "PhoneNumber": number, "PhoneNumberType": "3", "IsDefaultPhoneNumber": True}


def partner(*, phones: list[dict[str, Any]] | None = None, addressed: bool = True, **more: Any) -> httpx.Response:
    address = {
        **meta("W/\"'a1'\""), "BusinessPartner": "1000001", "AddressID": "22", "StreetName": "옛길 1", "CityName": "서울",
        "PostalCode": "06236", "Country": "KR", "HouseNumber": "",
        "to_PhoneNumber": {"results": []}, "to_EmailAddress": {"results": []},
        "to_AddressUsage": {"results": [{"AddressUsage": "XXDEFAULT"}]},
        "to_MobilePhoneNumber": {"results": [phone()] if phones is None else phones},
    }  # fmt: skip
    entity = {
        **meta("W/\"'b1'\""), "BusinessPartner": "1000001", "LastName": "홍", "FirstName": "길동", "BirthDate": None,
        "IsMale": False, "IsFemale": False, "IsSexUnknown": False, "CorrespondenceLanguage": "",
        "to_BusinessPartnerAddress": {"results": [address] if addressed else []},
    }  # fmt: skip
    return httpx.Response(200, json={"d": entity | more})


def hits(*numbers: str, after: str = "") -> httpx.Response:
    found = {"results": [{"BusinessPartner": one, "BPIdentificationNumber": NUMBER} for one in numbers]}
    return httpx.Response(200, json={"d": found | ({"__next": after} if after else {})})


def sap_error(status: int, code: str = "R11/401", headers: dict[str, str] | None = None) -> httpx.Response:
    body = {"error": {"code": code, "message": {"lang": "ko", "value": f"{NUMBER} 홍길동"}}}
    return httpx.Response(status, json=body, headers=headers)


def told(error: HubError, status: int) -> None:
    assert f"{status} (R11/401)" in str(error)
    assert NUMBER not in str(error)
    assert NUMBER.encode() in error.answer


TABLE: list[tuple[int, type[HubError], type[HubError]]] = [
    (302, Misconfigured, Misconfigured),
    (400, Misconfigured, Refused),  # what we ask is the same whoever it is about
    (401, Misconfigured, Misconfigured),
    (403, Misconfigured, Misconfigured),
    (405, Misconfigured, Misconfigured),
    (408, NotDelivered, NotDelivered),
    (422, Misconfigured, Refused),
    (429, NotDelivered, NotDelivered),
    (500, NotDelivered, OutcomeUnknown),
    (501, Misconfigured, Misconfigured),
    (502, NotDelivered, OutcomeUnknown),
    (503, NotDelivered, NotDelivered),
    (504, NotDelivered, OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "on_read", "_on_write"), TABLE)
def test_what_a_status_means_on_a_read(mock: respx.MockRouter, status: int, on_read: type[HubError], _on_write: Any) -> None:
    mock.get(PARTNER).mock(return_value=sap_error(status))
    with pytest.raises(HubError) as caught:
        target().send(message())
    assert type(caught.value) is on_read
    told(caught.value, status)


@pytest.mark.parametrize(("status", "_on_read", "on_write"), TABLE)
def test_what_a_status_means_on_a_write(mock: respx.MockRouter, status: int, _on_read: Any, on_write: type[HubError]) -> None:
    mock.get(PARTNER).mock(return_value=partner())
    mock.patch(PHONE).mock(return_value=sap_error(status))
    with pytest.raises(HubError) as caught:
        target().send(message())
    assert type(caught.value) is on_write
    told(caught.value, status)
    assert b"010-9999-8888" in caught.value.sent


@pytest.mark.parametrize(
    ("failure", "error", "reached"),
    [
        (httpx.ConnectError, NotDelivered, False),
        (httpx.ConnectTimeout, NotDelivered, False),
        (httpx.ReadTimeout, OutcomeUnknown, None),
        (httpx.ReadError, OutcomeUnknown, None),
        (httpx.RemoteProtocolError, OutcomeUnknown, None),
    ],
)
def test_a_broken_connection_at_a_write(mock: respx.MockRouter, failure: Any, error: Any, reached: bool | None) -> None:
    mock.get(PARTNER).mock(return_value=partner())
    mock.patch(PHONE).mock(side_effect=failure(NUMBER))
    with pytest.raises(error) as caught:
        target().send(message())
    assert getattr(caught.value, "reached", None) is reached
    assert NUMBER not in str(caught.value)


def test_a_write_carries_token_session_version_and_only_what_differs(mock: respx.MockRouter) -> None:
    mock.get("/", name="root").mock(
        return_value=httpx.Response(200, json={"d": {}}, headers={"x-csrf-token": "T1", "Set-Cookie": "SAP_SESSIONID=s1; path=/"})
    )
    mock.get(PARTNER).mock(return_value=partner())
    patch = mock.patch(PHONE).mock(return_value=httpx.Response(204, headers={"ETag": "W/\"'p2'\""}))
    done = target(sap_client="100").send(message())
    request = patch.calls.last.request
    assert request.headers["x-csrf-token"] == "T1"
    assert request.headers["cookie"] == "SAP_SESSIONID=s1"
    assert request.headers["if-match"] == "W/\"'p1'\""
    assert request.headers["sap-client"] == "100"
    assert json.loads(request.content) == {
        "PhoneNumber": "010-9999-8888",
        "PhoneNumberType": "3",
        "DestinationLocationCountry": "KR",
    }
    assert (done.peer_id, done.detail, done.sent) == ("1000001", "204", request.content)
    assert done.sent_fields == {"telecom.mobile": {"system": "phone", "use": "mobile", "value": "010-9999-8888"}}


def test_merge_where_patch_is_unknown(mock: respx.MockRouter) -> None:
    mock.get(PARTNER).mock(return_value=partner())
    merge = mock.route(method="MERGE", url=f"{BASE}{PHONE}").mock(return_value=httpx.Response(204))
    target(update_method="MERGE").send(message())
    assert merge.call_count == 1


def test_an_expired_token_is_fetched_again_once(mock: respx.MockRouter) -> None:
    root = mock.get("/", name="root").mock(
        side_effect=[httpx.Response(200, json={}, headers={"x-csrf-token": token}) for token in ("T1", "T2")]
    )
    required = httpx.Response(403, text="CSRF token validation failed", headers={"x-csrf-token": "Required"})
    mock.get(PARTNER).mock(return_value=partner())
    patch = mock.patch(PHONE).mock(side_effect=[required, httpx.Response(204)])
    one = target()
    one.send(message())
    assert patch.calls.last.request.headers["x-csrf-token"] == "T2"
    patch.side_effect = [httpx.Response(204)]
    one.send(message())
    assert root.call_count == 2  # the token is kept between messages


def test_a_token_that_never_holds_stops_the_channel(mock: respx.MockRouter) -> None:
    mock.get(PARTNER).mock(return_value=partner())
    mock.patch(PHONE).mock(return_value=httpx.Response(403, headers={"x-csrf-token": "Required"}))
    with pytest.raises(Misconfigured):
        target().send(message())


def test_a_root_without_a_token_is_a_wrong_url(mock: respx.MockRouter) -> None:
    mock.get("/", name="root").mock(return_value=httpx.Response(200, json={}))
    mock.get(PARTNER).mock(return_value=partner())
    with pytest.raises(Misconfigured, match="x-csrf-token"):
        target().send(message())


def test_nothing_differs_nothing_is_written(mock: respx.MockRouter) -> None:
    mock.get(PARTNER).mock(return_value=partner(phones=[phone("+82 10 9999 8888")]))
    done = target().send(message())
    assert (done.detail, done.sent, done.peer_etag) == ("unchanged", b"", "W/\"'b1'\"")


def test_a_stale_version_is_read_again(mock: respx.MockRouter) -> None:
    mock.get(PARTNER).mock(side_effect=[partner(), partner(phones=[phone(etag="W/\"'p2'\"")])])
    patch = mock.patch(PHONE).mock(side_effect=[sap_error(412), httpx.Response(204)])
    target().send(message())
    assert [call.request.headers["if-match"] for call in patch.calls] == ["W/\"'p1'\"", "W/\"'p2'\""]


def test_a_version_that_is_always_stale(mock: respx.MockRouter) -> None:
    mock.get(PARTNER).mock(return_value=partner())
    patch = mock.patch(PHONE).mock(return_value=sap_error(412))
    with pytest.raises(NotDelivered, match="kept changing"):
        target().send(message())
    assert patch.call_count == ROUNDS


def test_if_match_is_wanted_but_no_etag_is_shown(mock: respx.MockRouter) -> None:
    mock.get(PARTNER).mock(return_value=partner(phones=[phone(etag=None)]))
    mock.patch(PHONE).mock(return_value=sap_error(428))
    with pytest.raises(Misconfigured, match="If-Match"):
        target().send(message())


def test_all_that_differs_goes_in_one_change_set(mock: respx.MockRouter) -> None:
    """Person, address, phone, e-mail: four entities, each with its own version, done whole or not at all."""
    mock.get(PARTNER).mock(return_value=partner())
    mock.patch(PARTNER).mock(return_value=httpx.Response(204))
    mock.patch("/A_BusinessPartnerAddress(BusinessPartner='1000001',AddressID='22')").mock(return_value=httpx.Response(204))
    mock.patch(PHONE).mock(return_value=httpx.Response(204))
    emails = "/A_BusinessPartnerAddress(BusinessPartner='1000001',AddressID='22')/to_EmailAddress"
    mock.post(emails).mock(return_value=httpx.Response(201, json={"d": {}}))
    done = target().send(message(changed=["gender", "address", "telecom.mobile", "telecom.email"]))
    assert done.detail == "204,204,204,201"
    assert set(done.sent_fields) == {"gender", "address", "telecom.mobile", "telecom.email"}
    batches = [call.request for call in mock.calls if call.request.url.path.endswith("/$batch")]
    (changes,) = batch.parse_requests(batches[-1].headers["content-type"], batches[-1].content)
    assert isinstance(changes, list)
    assert [one.headers.get("if-match") for one in changes] == ["W/\"'b1'\"", "W/\"'a1'\"", "W/\"'p1'\"", None]


FINANCE = {**phone("010-7777-7777"), "OrdinalNumber": "2"}  # which is the default there
OURS = {**phone(), "IsDefaultPhoneNumber": False}
MOBILE = {"system": "phone", "value": "010-1111-2222", "use": "mobile"}


def planned(there: list[dict[str, Any]], mobiles: list[str], **more: Any) -> list[tuple[str, str]]:
    """Method and entity of what is written where SAP has these numbers and the patient now has those; PHONE is ours."""
    planner = Planner(Settings.from_table({"url": BASE, "identification_type": "ZMRN"}))
    telecom = [{**MOBILE, "value": one} for one in mobiles]
    found = Found.of(partner(phones=there).json()["d"])
    asked = message(resource={"identifier": [], "telecom": telecom}, **more)
    return [(one.method, one.path.rpartition("/")[2]) for one in planner.change(asked, found).changes]


@pytest.mark.parametrize("known", [{"said": {"telecom.mobile": MOBILE}, "before": {}}, {"before": {"telecom": [MOBILE]}}])
def test_a_number_that_somebody_else_wrote_down_stays(known: dict[str, Any]) -> None:
    """Finance wrote down one of its own: not ours to change or to delete, the first time or again."""
    ours, both = PHONE.rpartition("/")[2], [FINANCE, OURS]
    assert planned(both, ["+821099998888"], **known) == [("PATCH", ours)]
    assert planned(both, [], **known) == [("DELETE", ours)]
    assert planned([FINANCE], [], **known) == []
    assert planned([FINANCE], ["+821099998888"], **known) == [("POST", "to_MobilePhoneNumber")]
    assert planned([FINANCE, phone("010-9999-8888")], ["+821099998888"], **known) == []
    assert planned([FINANCE, OURS], ["010-7777-7777"], **known) == [("DELETE", ours)]  # the patient's is finance's now
    assert planned(both, ["+821099998888", "010-1111-2222"], **known) == [("POST", "to_MobilePhoneNumber")]  # still his second


def test_where_nothing_is_known_a_number_is_added() -> None:
    assert planned([OURS], ["+821099998888"], before={}) == [("POST", "to_MobilePhoneNumber")]
    assert planned([OURS], [], before={}) == []


def test_a_deleted_phone_is_deleted_there(mock: respx.MockRouter) -> None:
    mock.get(PARTNER).mock(return_value=partner())
    delete = mock.delete(PHONE).mock(return_value=httpx.Response(204))
    done = target().send(message(resource={"identifier": []}))
    assert delete.calls.last.request.headers["if-match"] == "W/\"'p1'\""
    assert done.sent_fields == {"telecom.mobile": None}


def test_without_an_address_a_phone_brings_one(mock: respx.MockRouter) -> None:
    mock.get(PARTNER).mock(return_value=partner(addressed=False))
    post = mock.post(f"{PARTNER}/to_BusinessPartnerAddress").mock(return_value=httpx.Response(201, json={"d": {}}))
    target().send(message())
    sent = json.loads(post.calls.last.request.content)
    assert sent["Country"] == "KR"
    assert sent["to_MobilePhoneNumber"]["results"][0]["PhoneNumber"] == "010-9999-8888"
    assert "StreetName" not in sent


def test_found_by_identification_number_over_pages(mock: respx.MockRouter) -> None:
    search = mock.get("/A_BuPaIdentification").mock(
        side_effect=[hits(after="http://inside:8000/x?$skiptoken=50"), hits("1000001")]
    )
    mock.get(PARTNER).mock(return_value=partner())
    mock.patch(PHONE).mock(return_value=httpx.Response(204))
    assert target().send(message(peer_id=None)).peer_id == "1000001"
    first, second = (call.request.url for call in search.calls)
    assert first.params["$filter"] == f"BPIdentificationType eq 'ZMRN' and (BPIdentificationNumber eq '{NUMBER}')"
    assert second.host == "sap.test"
    assert second.params["$skiptoken"] == "50"


def test_a_known_number_that_is_gone_is_searched_again(mock: respx.MockRouter) -> None:
    mock.get("/A_BusinessPartner('999')").mock(return_value=sap_error(404))
    mock.get("/A_BuPaIdentification").mock(return_value=hits("1000001"))
    mock.get(PARTNER).mock(return_value=partner(phones=[phone("010-9999-8888")]))
    assert target().send(message(peer_id="999")).peer_id == "1000001"


def test_two_partners_with_one_number_are_refused(mock: respx.MockRouter) -> None:
    mock.get("/A_BuPaIdentification").mock(return_value=hits("1", "2"))
    with pytest.raises(Refused) as caught:
        target(create=True).send(message(peer_id=None))
    assert caught.value.code == "ambiguous"


def test_pages_without_end_stop_the_channel(mock: respx.MockRouter) -> None:
    mock.get("/A_BuPaIdentification").mock(return_value=hits(after="x?$skiptoken=1"))
    with pytest.raises(Misconfigured):
        target().send(message(peer_id=None))


def test_unknown_there_is_refused_unless_creating_is_on(mock: respx.MockRouter) -> None:
    mock.get("/A_BuPaIdentification").mock(return_value=hits())
    with pytest.raises(Refused) as caught:
        target().send(message(peer_id=None))
    assert caught.value.code == "unknown_there"


def created() -> httpx.Response:
    return httpx.Response(201, json={"d": {"BusinessPartner": "1000001", "__metadata": {"etag": "W/\"'b1'\""}}})


def test_create_says_all_in_one_request(mock: respx.MockRouter) -> None:
    mock.get("/A_BuPaIdentification").mock(return_value=hits())
    post = mock.post("/A_BusinessPartner").mock(return_value=created())
    done = target(create=True, grouping="BP02", roles=["FLCU01"]).send(message(peer_id=None))
    assert json.loads(post.calls.last.request.content) == {
        "BusinessPartnerCategory": "1", "BusinessPartnerGrouping": "BP02", "LastName": "홍길동", "FirstName": "",
        "BirthDate": "/Date(318124800000)/", "IsMale": True, "IsFemale": False, "IsSexUnknown": False,
        "to_BuPaIdentification": {"results": [{"BPIdentificationType": "ZMRN", "BPIdentificationNumber": NUMBER}]},
        "to_BusinessPartnerRole": {"results": [{"BusinessPartnerRole": "FLCU01"}]},
        "to_BusinessPartnerAddress": {"results": [{
            "StreetName": "테헤란로 1", "CityName": "서울", "PostalCode": "06236", "Country": "KR",
            "to_MobilePhoneNumber": {"results": [
                {"PhoneNumber": "010-9999-8888", "PhoneNumberType": "3", "DestinationLocationCountry": "KR"},
            ]},
            "to_EmailAddress": {"results": [{"EmailAddress": "a@b.kr"}]},
        }]},
    }  # fmt: skip
    assert (done.peer_id, done.peer_etag, done.detail) == ("1000001", "W/\"'b1'\"", "201")
    assert {"name", "birthDate", "gender", "address", "telecom.mobile", "telecom.email"} <= set(done.sent_fields)


@pytest.mark.parametrize(
    "answer", [httpx.ReadTimeout(""), httpx.RemoteProtocolError(""), sap_error(500), sap_error(400), sap_error(409)]
)
def test_a_create_that_did_happen_is_found(mock: respx.MockRouter, answer: Any) -> None:
    """Ours whose answer was lost, or somebody else's: not created twice."""
    mock.get("/A_BuPaIdentification").mock(side_effect=[hits(), hits("1000001"), hits("1000001")])
    post = mock.post("/A_BusinessPartner").mock(side_effect=[answer])
    mock.get(PARTNER).mock(return_value=partner(phones=[phone("010-9999-8888")]))
    assert target(create=True).send(message(peer_id=None)).detail == "found"
    assert post.call_count == 1


@pytest.mark.parametrize("search", [hits(), sap_error(503), httpx.ConnectError("")])
def test_a_create_whose_answer_is_lost_stays_unknown(mock: respx.MockRouter, search: Any) -> None:
    mock.get("/A_BuPaIdentification").mock(side_effect=[hits(), search, search, search])
    mock.post("/A_BusinessPartner").mock(side_effect=httpx.ReadTimeout(NUMBER))
    with pytest.raises(OutcomeUnknown) as caught:
        target(create=True).send(message(peer_id=None))
    assert NUMBER not in str(caught.value)
    assert NUMBER.encode() in caught.value.sent


def test_a_refused_create_is_refused(mock: respx.MockRouter) -> None:
    mock.get("/A_BuPaIdentification").mock(return_value=hits())
    mock.post("/A_BusinessPartner").mock(return_value=sap_error(400))
    with pytest.raises(Refused) as caught:
        target(create=True).send(message(peer_id=None))
    told(caught.value, 400)


@pytest.mark.parametrize(
    ("resource", "code"),
    [
        ({"identifier": [{"assigner": "HOSP", "value": "1"}], "name": [{"text": ""}]}, "no_name"),
        ({"name": [{"text": "뷁"}]}, "no_identifier"),
    ],
)
def test_what_a_partner_must_have(mock: respx.MockRouter, resource: dict[str, Any], code: str) -> None:
    mock.get("/A_BuPaIdentification").mock(return_value=hits())
    with pytest.raises(Refused) as caught:
        target(create=True).send(message(peer_id=None, resource=resource))
    assert caught.value.code == code


def test_a_patient_whose_name_nobody_has_said_yet_waits_for_it(mock: respx.MockRouter) -> None:
    """A table told of his visit before the registration's message came: with his name comes a change of its own."""
    mock.get("/A_BuPaIdentification").mock(return_value=hits())
    nameless = {"identifier": [{"assigner": "HOSP", "value": "1"}], "telecom": [{"system": "phone", "value": "+821012345678"}]}
    done = target(create=True).send(message(type="patient.created", peer_id=None, resource=nameless))
    assert done.detail == "nothing to do yet: a patient without a name"
    assert done.peer_id is None


def test_a_prospect_without_a_number_is_not_the_erps_business(mock: respx.MockRouter) -> None:
    done = target(create=True).send(
        message(type="patient.created", peer_id=None, resource={"prospect": True, "name": [{"text": "뷁"}]})
    )
    assert done.detail.startswith("nothing to do")
    assert not mock.calls


def test_find_says_whether_it_stands_there(mock: respx.MockRouter) -> None:
    mock.get(PARTNER).mock(side_effect=[partner(), partner(phones=[phone("010-9999-8888")])])
    one = target()
    assert one.find(message()) is None
    found = one.find(message())
    assert found is not None
    assert found.peer_id == "1000001"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"value":[]}', b'{"d":{"BusinessPartner":"1000001"}}'])
def test_an_answer_that_is_no_odata_is_a_wrong_url(mock: respx.MockRouter, body: bytes) -> None:
    mock.get(PARTNER).mock(return_value=httpx.Response(200, content=body))
    with pytest.raises(Misconfigured, match="url"):
        target().send(message())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"identification_type": ""}, "6 characters"),
        ({"identification_type": "TOOLONG"}, "6 characters"),
        ({"grouping": "TOOLONG"}, "4 characters"),
        ({"roles": ["TOOLONG"]}, "6 characters"),
        ({"company": {"CompanyCode": "1000"}}, "roles"),
        ({"company": {"PaymentTerms": "0001"}, "roles": ["FLCU00"]}, "CompanyCode"),
        ({"sales_area": {"SalesOrganization": "1000"}, "roles": ["FLCU01"]}, "Division"),
        ({"merged": "delete"}, "archive"),
        ({"batch": 0}, "1 to 200"),
        ({"sap_client": "1"}, '"100"'),
        ({"country": "KOR"}, '"KR"'),
        ({"assigner": ""}, "HOSP"),
        ({"update_method": "PUT"}, "MERGE"),
        ({"user": "x"}, "password"),
        ({"identifcation_type": "x"}, "did you mean"),
    ],
)
def test_a_wrong_setting_says_what_to_write(more: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        settings(**more)
    assert said in str(caught.value)


def test_ping_fetches_a_token(mock: respx.MockRouter) -> None:
    assert "CSRF" in target(user="hub", password=Secret("x")).ping()
