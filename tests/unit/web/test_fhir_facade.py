"""The façade at /fhir/R4 reads as R4 says: Bundles with links, weak ETags, OperationOutcomes, and every read is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import Engine, insert
from starlette.testclient import TestClient

from hub.codecs.fhir import KR_CORE_PATIENT, MEDIA_TYPE
from hub.codecs.fhir_resource import check
from hub.codecs.fhir_types import Systems
from hub.db import tables as t
from hub.web.app import WebHub
from tests import web_kit
from tests.web_kit import BOOKING, HONG, KIN, MERGED, NAMGUNG, NOW, PROSPECT, SECOND, VISIT

As = Callable[[str], TestClient]
BASE = "/fhir/R4"
DOCTOR, INSURANCE, SLOT, GONE = (f"01900000-0000-7000-8000-0000000007{n:02d}" for n in range(4))


@pytest.fixture
def hub(engine: Engine) -> WebHub:
    return web_kit.make_hub(engine, fhir=Systems({"HOSP": "urn:oid:1.2.410.100110.1"}))


@pytest.fixture
def crm(as_role: As) -> TestClient:
    return as_role("crm")


@pytest.fixture
def ward(engine: Engine) -> None:
    """A doctor whom visit and booking name, an insurance, a closed slot, a relative who was withdrawn."""
    doctor = {"reference": f"Practitioner/{DOCTOR}", "name": "남궁민수", "role": "performer"}
    with engine.begin() as conn:
        web_kit.add_resource(conn, DOCTOR, "Practitioner", None, {"name": [{"text": "남궁민수"}]})
        web_kit.add_resource(conn, INSURANCE, "Coverage", HONG, {"subscriberId": "7", "payor": {"name": "공단"}})
        closed = {"status": "busy-unavailable", "start": "2026-11-25T09:00:00+09:00", "participant": [doctor]}
        web_kit.add_resource(conn, SLOT, "Slot", None, closed, sort_at=NOW + 3 * 86_400 * SECOND)
        web_kit.add_resource(conn, GONE, "RelatedPerson", HONG, {"name": [{"text": "뷁"}]}, status="removed")
        for number in range(5):
            row_id, start = f"01900000-0000-7000-8000-0000000006{number:02d}", f"2026-12-{number + 1:02d}T09:00:00+09:00"
            document = {"status": "booked" if number % 2 else "noshow", "start": start, "minutes": 10, "participant": [doctor]}
            at = NOW + (number + 9) * 86_400 * SECOND
            web_kit.add_resource(conn, row_id, "Appointment", NAMGUNG, document, sort_at=at)
            web_kit.add_change(conn, "appointment.created", "Appointment", row_id, NAMGUNG, 1, [], document, None, "test")


def get(client: TestClient, path: str, status: int = 200, **more: Any) -> Any:
    """The document of an answer, checked to be FHIR."""
    answer = client.get(BASE + path, **more)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    check(answer.json())
    return answer.json()


def ids(bundle: Any, mode: str = "match") -> list[str]:
    return [one["resource"]["id"] for one in bundle.get("entry", []) if one["search"]["mode"] == mode]


def link(bundle: Any, relation: str) -> str | None:
    return next((one["url"] for one in bundle["link"] if one["relation"] == relation), None)


def asked(bundle: Any) -> list[tuple[str, str]]:
    """What the self link says was understood."""
    return parse_qsl(urlsplit(link(bundle, "self") or "").query)


def pages(client: TestClient, path: str) -> list[list[str]]:
    """The ids of every page."""
    found, here = [], path
    for _ in range(20):
        bundle = get(client, here)
        found.append(ids(bundle))
        following = link(bundle, "next")
        if following is None:
            return found
        here = following.partition(BASE)[2]
    raise AssertionError("the pages do not end")


def test_metadata_says_what_can_be_searched(hub: WebHub) -> None:
    statement = get(web_kit.api(hub), "/metadata")  # no token: it shows no data
    kinds = {one["type"]: one for one in statement["rest"][0]["resource"]}
    assert statement["fhirVersion"] == "4.0.1"
    assert {"Patient", "RelatedPerson", "Encounter", "Appointment", "Coverage", "Practitioner", "Organization"} <= set(kinds)
    assert {"identifier", "name", "phone", "birthdate"} <= {one["name"] for one in kinds["Patient"]["searchParam"]}
    assert "Encounter:patient" in kinds["Encounter"]["searchInclude"]


def test_a_patient_is_read_with_etag_and_recorded(crm: TestClient, hub: WebHub) -> None:
    answer = crm.get(f"{BASE}/Patient/{HONG}")
    patient = answer.json()
    check(patient)
    assert patient["name"][0] | {"text": "홍길동", "family": "홍", "given": ["길동"]} == patient["name"][0]
    assert patient["name"][1]["text"] == "洪吉洞"
    assert patient["identifier"][0]["system"] == "urn:oid:1.2.410.100110.1"  # hub.toml
    assert patient["identifier"][1]["system"] == "urn:hospital-hub:assigner:EMR"  # the default
    assert patient["meta"]["profile"] == [KR_CORE_PATIENT]
    assert answer.headers["etag"] == f'W/"{patient["meta"]["versionId"]}"'
    assert answer.headers["last-modified"] == "Sun, 22 Nov 2026 00:00:00 GMT"
    entry = hub.audit.entries()[-1]  # type: ignore[attr-defined]
    assert (entry["action"], entry["resource_id"], entry["actor"]) == ("patient.read", HONG, "token:crm-1")
    again = crm.get(f"{BASE}/Patient/{HONG}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_merged_patient_leads_to_the_survivor(crm: TestClient) -> None:
    merged = get(crm, f"/Patient/{MERGED}")
    assert merged["active"] is False
    assert merged["link"] == [{"other": {"reference": f"Patient/{HONG}", "type": "Patient"}, "type": "replaced-by"}]


@pytest.mark.parametrize(
    "query",
    [
        "identifier=urn:oid:1.2.410.100110.1|00012345", "identifier=HOSP|00012345", "identifier=00012345",
        "identifier=urn:hospital-hub:assigner:EMR|E-77", "identifier=nobody|1,HOSP|00012345", "name=홍길", "family=홍&given=길동",
        "name=길동", "phone=010-1234-5678", "telecom=phone|%2B821012345678", f"_id={HONG}", f"_id={HONG},unknown",
        "name=홍&birthdate=1980-02-03", "name=홍&birthdate=1980", "name=홍&birthdate=ge1980-02&birthdate=lt1981",
        "name=洪&gender=male",
    ],
)  # fmt: skip
def test_a_patient_is_found(crm: TestClient, hub: WebHub, query: str) -> None:
    bundle = get(crm, f"/Patient?{query}")
    assert ids(bundle) == [HONG]
    assert bundle["total"] == 1
    assert bundle["entry"][0]["fullUrl"] == f"http://testserver{BASE}/Patient/{HONG}"
    entry = hub.audit.entries()[-1]  # type: ignore[attr-defined]
    assert (entry["action"], entry["detail"]["ids"]) == ("patient.searched", [HONG])


@pytest.mark.parametrize(
    "query",
    [
        "identifier=EMR|00012345", "identifier=urn:oid:9.9|00012345", "name=!!", "phone=5678", "family=길", "given=홍",
        "name=홍길동&gender=female", "name=홍&birthdate=gt1980-02-03", "birthdate=1980-13", "_id=unknown",
    ],
)  # fmt: skip
def test_a_search_never_widens(crm: TestClient, query: str) -> None:
    if query == "birthdate=1980-13":
        assert ids(get(crm, f"/Patient?{query}")) == []
        return
    bundle = get(crm, f"/Patient?{query}")
    assert (ids(bundle), bundle["total"]) == ([], 0)


def test_a_form_searches_without_a_url(crm: TestClient) -> None:
    answer = crm.post(f"{BASE}/Patient/_search", data={"name": "홍길동"})
    assert ids(answer.json()) == [HONG]


def test_unknown_parameters_are_left_out_or_refused(crm: TestClient) -> None:
    bundle = get(crm, f"/Patient?_id={HONG}&favourite-colour=blue&_total=accurate")
    assert asked(bundle) == [("_id", HONG)]
    assert "favourite-colour" in str(bundle["entry"][-1]["resource"]["issue"])
    refused = get(crm, f"/Patient?_id={HONG}&favourite-colour=blue", 400, headers={"Prefer": "handling=strict"})
    assert refused["resourceType"] == "OperationOutcome"
    assert "favourite-colour" in refused["issue"][1]["diagnostics"]


@pytest.mark.parametrize(
    ("path", "status", "issue"),
    [
        ("/Patient/unknown", 404, "not-found"), ("/Basic", 404, "not-found"), ("/Patient?name:contains=x", 400, "invalid"),
        ("/Patient?_count=0", 400, "invalid"), ("/Patient?identifier=HOSP|", 400, "invalid"), ("/a/b/c/d", 404, "not-found"),
        ("/Encounter?date=ne2026", 400, "invalid"), ("/Encounter?date=2026-02-30", 400, "invalid"),
        ("/Patient?_cursor=x", 400, "invalid"), ("/Patient?_format=xml", 406, "not-supported"),
        ("/Patient?telecom=email|x@y", 400, "invalid"), (f"/Patient/{HONG}/_history/99", 404, "not-found"),
    ],
)  # fmt: skip
def test_errors_are_operation_outcomes(crm: TestClient, path: str, status: int, issue: str) -> None:
    outcome = get(crm, path, status)
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"][0]["code"] == issue


def test_nobody_writes_and_an_auditor_reads_nothing(crm: TestClient, as_role: As, hub: WebHub) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = crm.request(method, f"{BASE}/Patient/{HONG}")
        assert answer.status_code == 405
        assert answer.json()["issue"][0]["code"] == "not-supported"
    for path in (f"/Patient/{HONG}", "/Patient?name=홍", f"/Patient/{HONG}/$everything", f"/Patient/{HONG}/_history"):
        assert get(as_role("auditor"), path, 403)["issue"][0]["code"] == "forbidden"
        assert get(web_kit.api(hub), path, 401)["issue"][0]["code"] == "login"


def test_formats_are_tolerated(crm: TestClient) -> None:
    for query in ("?_format=json", "?_format=application/fhir%2Bjson&_pretty=true", "?_format=application/fhir+json"):
        get(crm, f"/Patient/{HONG}{query}")
    get(crm, f"/Patient/{HONG}", headers={"Accept": "application/fhir+json; fhirVersion=4.0"})
    get(crm, f"/Patient/{HONG}", 406, headers={"Accept": "application/fhir+xml"})


def test_visits_and_bookings_by_patient(crm: TestClient, ward: None) -> None:
    for query in (
        f"patient={HONG}",
        f"subject=Patient/{HONG}",
        "patient.identifier=HOSP|00012345",
        "identifier=HOSP|V1&status=in-progress",
    ):
        assert ids(get(crm, f"/Encounter?{query}")) in ([VISIT], []), query
    bundle = get(crm, f"/Encounter?patient={HONG}&date=2026-11-22&_include=Encounter:patient")
    assert (ids(bundle), ids(bundle, "include")) == ([VISIT], [HONG])
    assert bundle["entry"][0]["resource"]["class"]["code"] == "AMB"
    assert ids(get(crm, f"/Encounter?patient={HONG}&date=lt2026-11-22")) == []
    assert ids(get(crm, f"/Encounter?patient={HONG}&status=finished,in-progress&class=AMB")) == [VISIT]
    booking = get(crm, f"/Appointment?actor=Patient/{HONG}&_include=Appointment:actor")
    assert (ids(booking), ids(booking, "include")) == ([BOOKING], [HONG])
    assert booking["entry"][0]["resource"]["end"] == "2026-11-25T10:50:00+09:00"
    theirs = get(crm, f"/Appointment?patient={NAMGUNG}&practitioner={DOCTOR}&status=booked&_include=Appointment:practitioner")
    assert (len(ids(theirs)), ids(theirs, "include")) == (2, [DOCTOR])


def test_pages_hold_everything_once_in_order(crm: TestClient, ward: None) -> None:
    whole = [one for page in pages(crm, f"/Appointment?patient={NAMGUNG}&_sort=date&_count=100") for one in page]
    assert len(whole) == 5
    for sort, expected in (("date", whole), ("-date", whole[::-1])):
        got = pages(crm, f"/Appointment?patient={NAMGUNG}&_sort={sort}&_count=2")
        assert [len(page) for page in got] == [2, 2, 1]
        assert [one for page in got for one in page] == expected
    assert (
        sorted(one for page in pages(crm, f"/Appointment?patient={NAMGUNG}&_sort=-_lastUpdated&_count=2") for one in page)
        == whole
    )


def test_what_changed_since(crm: TestClient, ward: None) -> None:
    changed = pages(crm, "/Appointment?_lastUpdated=ge2026-11-21&_sort=_lastUpdated&_count=2")
    assert [one[-2:] for page in changed for one in page] == ["00", "01", "02", "03", "04"]
    assert pages(crm, "/Appointment?_lastUpdated=gt2026-11-23") == [[]]
    assert asked(get(crm, "/Appointment?_lastUpdated=ge2026-11-21&_sort=-date"))[-1][0] == "_lastUpdated"


def test_everybodys_bookings_of_a_day(crm: TestClient, ward: None) -> None:
    assert [one[-2:] for one in ids(get(crm, "/Appointment?date=ge2026-12-01&date=lt2026-12-04&status=booked,noshow"))] == [
        "00",
        "01",
        "02",
    ]
    backwards = [one[-2:] for page in pages(crm, "/Appointment?date=ge2026-12-01&_sort=-date&_count=2") for one in page]
    assert backwards == ["04", "03", "02", "01", "00"]
    assert asked(get(crm, "/Appointment?date=2026-12-01&_sort=_lastUpdated")) == [("date", "2026-12-01")]


def test_what_the_house_did_is_shown_too(crm: TestClient, engine: Engine) -> None:
    rows = [f"01900000-0000-7000-8000-0000000005{n:02d}" for n in range(6)]
    visit = {"reference": f"Encounter/{VISIT}", "identifier": {"assigner": "HOSP", "value": "V1"}}
    code = {"code": "R3505", "system": "EDI", "display": "혈액검사"}
    documents = {
        "ServiceRequest": {"status": "active", "code": code, "encounter": visit, "authoredOn": "2026-11-22T09:00:00+09:00"},
        "DiagnosticReport": {"status": "final", "code": code, "basedOn": {"reference": f"ServiceRequest/{rows[0]}"}},
        "Procedure": {"code": code, "performed": "2026-11-22"},
        "Condition": {"code": {"code": "J00", "system": "KCD8", "display": "급성 비인두염"}, "category": "F", "rank": 1},
        "AllergyIntolerance": {"code": {"display": "페니실린"}, "category": "medication", "reaction": ["두드러기"]},
        "Observation": {"code": code, "interpretation": ["H"], "report": {"reference": f"DiagnosticReport/{rows[1]}"}},
    }
    with engine.begin() as conn:
        for row_id, (kind, document) in zip(rows, documents.items(), strict=True):
            web_kit.add_resource(conn, row_id, kind, HONG, document, sort_at=NOW)
    for row_id, kind in zip(rows, documents, strict=True):
        assert ids(get(crm, f"/{kind}?patient={HONG}")) == [row_id]
        assert get(crm, f"/{kind}/{row_id}")["code"]["text"]
    assert ids(get(crm, f"/ServiceRequest?patient={HONG}&encounter=Encounter/{VISIT}&status=active&authored=2026-11-22")) == [
        rows[0]
    ]
    with_order = get(crm, f"/DiagnosticReport?patient={HONG}&_include=DiagnosticReport:based-on")
    assert (ids(with_order), ids(with_order, "include")) == ([rows[1]], [rows[0]])
    values = get(crm, f"/Observation?patient={HONG}&report={rows[1]}&_include=Observation:report")
    assert (ids(values), ids(values, "include")) == ([rows[5]], [rows[1]])
    kcd = "http://www.hl7korea.or.kr/CodeSystem/kostat-kcd-8"
    assert ids(get(crm, f"/Condition?patient={HONG}&code={kcd}|J00&verification-status=confirmed")) == [rows[3]]
    assert ids(get(crm, f"/Condition?patient={HONG}&code=http://loinc.org|J00")) == []
    assert set(rows) < set(ids(get(crm, f"/Patient/{HONG}/$everything")))


def test_what_belongs_to_a_patient_comes_along(crm: TestClient, ward: None, hub: WebHub) -> None:
    bundle = get(
        crm,
        f"/Patient?_id={HONG}&_revinclude=RelatedPerson:patient&_revinclude=Coverage:beneficiary&_revinclude=Encounter:patient",
    )
    assert ids(bundle) == [HONG]
    assert set(ids(bundle, "include")) == {KIN, INSURANCE, VISIT}
    everything = get(crm, f"/Patient/{HONG}/$everything")
    assert set(ids(everything)) == {HONG, KIN, INSURANCE, VISIT, BOOKING}
    entry = hub.audit.entries()[-1]  # type: ignore[attr-defined]
    assert (entry["action"], entry["resource_id"], entry["detail"]["what"]) == ("patient.read", HONG, "fhir.everything")
    assert ids(get(crm, f"/Patient/{HONG}/$everything?_type=Coverage")) == [INSURANCE]
    theirs = [one for page in pages(crm, f"/Patient/{NAMGUNG}/$everything?_count=2") for one in page]
    assert len(theirs) == len(set(theirs)) == 6


def test_slots_are_found_by_their_start(crm: TestClient, ward: None) -> None:
    assert ids(get(crm, "/Slot?start=2026-11-25")) == [SLOT]
    assert ids(get(crm, "/Slot?start=ge2026-11-25&status=free")) == []
    assert ids(get(crm, "/Slot?start=2026-11-26")) == []
    found = get(crm, f"/Slot/{SLOT}")
    assert found["extension"][0]["valueReference"]["reference"] == f"Practitioner/{DOCTOR}"
    assert "_end" in found  # R4 wants one, and nobody told us


def test_what_was_withdrawn_is_gone(crm: TestClient, ward: None) -> None:
    get(crm, f"/Appointment/{SLOT}", 404)
    get(crm, f"/RelatedPerson/{GONE}", 410)
    assert ids(get(crm, f"/RelatedPerson?patient={HONG}")) == [KIN]
    assert get(crm, f"/RelatedPerson/{KIN}")["patient"]["reference"] == f"Patient/{HONG}"


def test_versions_are_kept(crm: TestClient, engine: Engine) -> None:
    with engine.begin() as conn:
        for version, name in ((1, "홍길둥"), (2, "홍길동")):
            document = {"name": [{"text": name}]}
            web_kit.add_change(conn, "patient.updated", "Patient", PROSPECT, PROSPECT, version, ["name"], document, None, "x")
    bundle = get(crm, f"/Patient/{PROSPECT}/_history")
    assert [one["resource"]["name"][0]["text"] for one in bundle["entry"]] == ["홍길동", "홍길둥"]
    assert [one["request"]["method"] for one in bundle["entry"]] == ["PUT", "POST"]
    assert get(crm, f"/Patient/{PROSPECT}/_history/1")["name"][0]["text"] == "홍길둥"
    first = get(crm, f"/Patient/{PROSPECT}/_history?_count=1")
    second = get(crm, (link(first, "next") or "").partition(BASE)[2])
    assert second["entry"][0]["resource"]["meta"]["versionId"] == "1"


STUDY_ID, ORDER_ID, REPORT_ID = (f"01900000-0000-7000-8000-0000000008{n:02d}" for n in range(3))
STUDY_UID = "1.2.840.113619.2.1"


@pytest.fixture
def imaged(engine: Engine) -> None:
    """An order, its study of two series, and the report of it."""
    numbers = [
        {"assigner": "DICOM", "value": STUDY_UID, "type": "UID"},
        {"assigner": "HOSP:accession", "value": "A1", "type": "ACSN"},
    ]
    study = {
        "identifier": numbers, "status": "available", "state": "completed", "modality": ["CT", "SR"], "numberOfSeries": 2,
        "started": "2026-11-22T09:30:00+09:00", "description": "흉부 CT(뷁)",
        "basedOn": {"reference": f"ServiceRequest/{ORDER_ID}"},
        "series": [{"uid": f"{STUDY_UID}.1", "number": 1, "modality": "CT", "station": "CT01"}, {"uid": "../no"}],
    }  # fmt: skip
    order = {"category": "imaging", "status": "active", "state": "completed", "modality": "CT", "station": "CT01AE"}
    report = {"status": "final", "imagingStudy": {"reference": f"ImagingStudy/{STUDY_ID}"}, "category": "CT"}
    with engine.begin() as conn:
        web_kit.add_resource(conn, ORDER_ID, "ServiceRequest", HONG, order)
        web_kit.add_resource(conn, STUDY_ID, "ImagingStudy", HONG, study, sort_at=NOW)
        web_kit.add_resource(conn, REPORT_ID, "DiagnosticReport", HONG, report)
        for one in numbers:
            conn.execute(
                insert(t.identifier).values(
                    kind="ImagingStudy", assigner=one["assigner"], value=one["value"], resource_id=STUDY_ID, home_id=STUDY_ID,
                    type=one["type"],
                )
            )  # fmt: skip


@pytest.mark.usefixtures("imaged")
def test_an_imaging_study_is_found_by_its_numbers_and_leads_to_order_and_report(crm: TestClient) -> None:
    found = get(crm, f"/ImagingStudy/{STUDY_ID}")
    assert found["identifier"][0] == {
        "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "UID"}]},
        "system": "urn:dicom:uid", "value": f"urn:oid:{STUDY_UID}",
    }  # fmt: skip
    assert found["modality"][0] == {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}
    assert [one["uid"] for one in found["series"]] == [f"{STUDY_UID}.1"]  # a UID that is none is left out
    for query in (
        f"identifier=urn:dicom:uid|urn:oid:{STUDY_UID}", f"identifier={STUDY_UID}", "identifier=HOSP:accession|A1",
        f"patient={HONG}&modality=CT", f"patient={HONG}&started=2026-11-22", f"patient={HONG}&status=available",
        f"patient={HONG}&basedon=ServiceRequest/{ORDER_ID}", f"patient={HONG}&_lastUpdated=gt2020",
    ):  # fmt: skip
        assert ids(get(crm, f"/ImagingStudy?{query}")) == [STUDY_ID], query
    for query in (f"patient={HONG}&modality=MR", "identifier=urn:dicom:uid|urn:oid:1.2", f"patient={HONG}&started=2026-11-25"):
        assert ids(get(crm, f"/ImagingStudy?{query}")) == [], query
    bundle = get(
        crm, f"/DiagnosticReport?patient={HONG}&imaging-study=ImagingStudy/{STUDY_ID}&_include=DiagnosticReport:imaging-study"
    )
    assert (ids(bundle), ids(bundle, "include")) == ([REPORT_ID], [STUDY_ID])
    everything = get(crm, f"/Patient/{HONG}/$everything?_count=200")
    assert {STUDY_ID, ORDER_ID, REPORT_ID} <= {one["resource"]["id"] for one in everything["entry"]}
    [order] = get(crm, f"/ServiceRequest?patient={HONG}&category=363679005")["entry"]
    assert {one["url"].rpartition(":")[2] for one in order["resource"]["extension"]} == {"imaging-state", "station", "modality"}


def test_a_study_without_an_image_yet_is_registered(crm: TestClient, engine: Engine) -> None:
    with engine.begin() as conn:
        web_kit.add_resource(conn, STUDY_ID, "ImagingStudy", HONG, {"state": "in-progress"})
    assert get(crm, f"/ImagingStudy/{STUDY_ID}")["status"] == "registered"
