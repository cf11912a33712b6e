"""FHIR coming in at our own address, through a whole hub: what is stored, what it becomes, what its sender is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.fhir_kit import BASE, FhirKit, make_fhir_kit, transaction

KR = "http://www.hl7korea.or.kr/fhir/krcore/StructureDefinition/"
HONG: dict[str, Any] = {
    "resourceType": "Patient", "id": "p1", "meta": {"versionId": "1", "lastUpdated": "2026-11-22T00:00:00Z"},
    "identifier": [{"system": "urn:oid:1.2.410.1", "value": "00012345"}],
    "name": [{"text": "홍길동"}], "gender": "male", "birthDate": "1980-01-01",
    "telecom": [{"system": "phone", "value": "010-1234-5678", "use": "mobile"}],
}  # fmt: skip
VISIT: dict[str, Any] = {
    "resourceType": "Encounter", "id": "v1", "meta": {"versionId": "1"}, "status": "in-progress",
    "identifier": [{"system": "urn:oid:1.2.410.1", "value": "V1"}],
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    "subject": {"reference": "Patient/p1"}, "period": {"start": "2026-11-22T09:00:00+09:00"},
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirKit]:
    kit = make_fhir_kit(tmp_path_factory.mktemp("hub"))
    yield kit
    kit.kit.close()


@pytest.fixture
def fhir(tmp_path: Path) -> Iterator[FhirKit]:
    kit = make_fhir_kit(tmp_path)
    yield kit
    kit.kit.close()


@pytest.fixture
def either(tmp_path: Path, database_url: str) -> Iterator[FhirKit]:
    """On SQLite and on PostgreSQL."""
    kit = make_fhir_kit(tmp_path, database_url)
    yield kit
    kit.kit.close()


def stamped(document: dict[str, Any], version: int, **more: Any) -> dict[str, Any]:
    return {**document, "meta": {"versionId": str(version), "lastUpdated": f"2026-11-22T00:00:{version:02d}Z"}, **more}


def test_a_subscription_tells_of_a_patient_and_his_visit(fhir: FhirKit) -> None:
    answer = fhir.put(HONG)
    assert (answer.status_code, answer.json()["issue"][0]["diagnostics"]) == (200, "stored")
    assert fhir.put(VISIT).status_code == 200
    fhir.kit.apply()
    assert fhir.of("Patient", "p1")["name"][0]["text"] == "홍길동"
    assert fhir.kit.owned("00012345", "Encounter")[0]["status"] == "in-progress"
    assert [outcome for _, outcome, _ in fhir.outcomes()] == ["applied", "applied"]
    entries = fhir.kit.rows("SELECT actor, channel FROM entry WHERE action = 'message.received'")
    assert entries == [("token:emr-push", "emr-fhir")] * 2


def test_the_same_again_is_known_and_has_no_effect(fhir: FhirKit) -> None:
    fhir.tell(HONG)
    again = fhir.put(HONG)
    assert (again.status_code, again.json()["issue"][0]["diagnostics"]) == (200, "known already")
    assert len(fhir.outcomes()) == 1


def test_without_versions_what_changes_back_is_news(either: FhirKit) -> None:
    first = {name: value for name, value in HONG.items() if name != "meta"}
    second = first | {"telecom": [{"system": "phone", "value": "010-9999-0000", "use": "mobile"}]}
    either.tell(first, second, first)
    assert either.put(first).json()["issue"][0]["diagnostics"] == "known already"
    assert len(either.outcomes()) == 3
    assert either.of("Patient", "p1")["telecom"][0]["value"] == "+821012345678"


def test_an_older_version_that_comes_late_changes_nothing(fhir: FhirKit) -> None:
    fhir.tell(stamped(HONG, 5, gender="female"), stamped(HONG, 2, gender="male"))
    assert fhir.of("Patient", "p1")["gender"] == "female"
    assert [outcome for _, outcome, _ in fhir.outcomes()] == ["applied", "stale"]


def test_what_the_resource_leaves_out_is_deleted(fhir: FhirKit) -> None:
    fhir.tell(stamped(HONG, 1), stamped({k: v for k, v in HONG.items() if k != "telecom"}, 2))
    assert "telecom" not in fhir.of("Patient", "p1")


def test_an_ocs_and_an_emr_telling_of_one_visit_make_one(fhir: FhirKit) -> None:
    from tests.hub_kit import adt, pv1

    fhir.kit.tell(adt("A04", "00012345", pv1("V1")))
    fhir.tell(HONG, VISIT)
    assert len(fhir.all_of("Patient")) == len(fhir.all_of("Encounter")) == 1


def test_deleted_is_withdrawn_and_told_again_is_back(either: FhirKit) -> None:
    either.tell(HONG, VISIT)
    assert either.client.delete(f"{BASE}/Encounter/v1").status_code == 204
    either.kit.apply()
    assert either.all_of("Encounter") == []
    changes = [row[0] for row in either.kit.rows("SELECT type FROM change WHERE kind = 'Encounter' ORDER BY id")]
    assert changes == ["encounter.created", "encounter.removed"]
    either.tell(VISIT | {"meta": {"versionId": "3"}})
    assert len(either.all_of("Encounter")) == 1


def test_deleted_by_one_of_two_systems_stays(fhir: FhirKit) -> None:
    from tests.hub_kit import adt, pv1

    fhir.kit.tell(adt("A04", "00012345", pv1("V1")))
    fhir.tell(HONG, VISIT)
    fhir.client.delete(f"{BASE}/Encounter/v1")
    fhir.kit.apply()
    assert len(fhir.all_of("Encounter")) == 1


def test_a_patient_who_was_merged_away(either: FhirKit) -> None:
    other = stamped(HONG, 1, id="p2", identifier=[{"system": "urn:oid:1.2.410.1", "value": "00099999"}])
    either.tell(stamped(HONG, 1), other, VISIT)
    either.tell(stamped(HONG, 2, active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/p2"}}]))
    assert either.kit.patient_id("00012345") == either.kit.patient_id("00099999")
    assert len(either.kit.owned("00099999", "Encounter")) == 1
    assert either.of("Patient", "p2").get("active") is not False


def test_relatives_coverage_and_allergies_come_and_go(fhir: FhirKit) -> None:
    mother = {
        "resourceType": "RelatedPerson", "id": "r1", "patient": {"reference": "Patient/p1"}, "name": [{"text": "남궁민수"}],
        "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}],
    }  # fmt: skip
    insured = {
        "resourceType": "Coverage", "id": "c1", "status": "active", "beneficiary": {"reference": "Patient/p1"},
        "payor": [{"display": "국민건강보험공단"}], "subscriberId": "1-2345",
    }  # fmt: skip
    allergy = {
        "resourceType": "AllergyIntolerance", "id": "a1", "patient": {"reference": "Patient/p1"}, "code": {"text": "페니실린"},
        "clinicalStatus": {"coding": [{"code": "active"}]},
    }  # fmt: skip
    fhir.tell(HONG, stamped(mother, 1), stamped(insured, 1), stamped(allergy, 1))
    assert fhir.all_of("RelatedPerson")[0]["relationship"]["code"] == "MTH"
    assert fhir.all_of("Relationship")[0]["code"] == "MTH"
    assert fhir.all_of("Coverage")[0]["payor"] == {"name": "국민건강보험공단"}
    fhir.tell(stamped(mother, 2, active=False), stamped(insured, 2, status="cancelled"))
    fhir.tell(stamped(allergy, 2, clinicalStatus={"coding": [{"code": "resolved"}]}))
    for kind in ("RelatedPerson", "Relationship", "Coverage", "AllergyIntolerance"):
        assert fhir.all_of(kind) == []
    fhir.tell(stamped(mother, 3))
    assert len(fhir.all_of("RelatedPerson")) == len(fhir.all_of("Relationship")) == 1


def test_a_report_and_its_values(fhir: FhirKit) -> None:
    value = {
        "resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "Hb"},
        "subject": {"reference": "Patient/p1"}, "valueQuantity": {"value": 13.5, "unit": "g/dL"},
        "interpretation": [{"coding": [{"code": "L"}]}],
    }  # fmt: skip
    report = {
        "resourceType": "DiagnosticReport", "id": "d1", "status": "final", "code": {"text": "CBC"},
        "subject": {"reference": "Patient/p1"}, "result": [{"reference": "Observation/o1"}, {"reference": "Observation/o2"}],
    }  # fmt: skip
    fhir.tell(HONG, stamped(value, 1), stamped(report, 1))
    (found,) = fhir.all_of("Observation")
    assert found["report"]["reference"].startswith("DiagnosticReport/")
    assert found["interpretation"] == ["L"]
    assert "value" not in found
    fhir.tell(stamped(value, 2, status="corrected"))
    assert fhir.all_of("Observation")[0]["report"] == found["report"]


# -- bundles ------------------------------------------------------------------------------------------------------


def test_a_transaction_is_one_commit_and_its_references_resolve(either: FhirKit) -> None:
    uuid = "6f3c2a9e-0000-4000-8000-000000000001"
    doctor = {"resourceType": "Practitioner", "identifier": [{"value": "D1"}], "name": [{"text": "이의사"}]}
    visit = VISIT | {
        "subject": {"reference": f"urn:uuid:{uuid}"},
        "participant": [{"individual": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000001"}}],
    }
    bundle = transaction(HONG | {"id": uuid}, doctor, visit, {"resourceType": "Basic", "id": "b1", "code": {"text": "x"}})
    answer = either.send(bundle)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["type"], [one["response"]["status"] for one in told["entry"]]) == ("transaction-response", ["201"] * 4)
    assert told["entry"][0]["response"]["location"] == f"Patient/{uuid}/_history/1"
    either.kit.apply()
    (found,) = either.all_of("Encounter")
    assert found["participant"][0]["reference"].startswith("Practitioner/")
    assert [outcome for _, outcome, _ in either.outcomes()] == ["applied"] * 3 + ["ignored"]
    again = either.send(bundle).json()
    assert {one["response"]["outcome"]["issue"][0]["diagnostics"] for one in again["entry"]} == {"known already"}
    assert len(either.outcomes()) == 4


def test_of_a_transaction_everything_or_nothing(fhir: FhirKit) -> None:
    bundle = transaction(HONG, VISIT)
    del bundle["entry"][1]["resource"]["resourceType"]
    answer = fhir.send(bundle)
    assert answer.status_code == 400
    issue = answer.json()["issue"][0]
    assert (issue["code"], issue["expression"]) == ("required", ["Bundle.entry[1].resource"])
    assert [(kind, outcome) for kind, outcome, _ in fhir.outcomes()] == [("Bundle", "refused")]


def test_of_a_batch_what_is_good(fhir: FhirKit) -> None:
    bundle = transaction(HONG, VISIT, kind="batch", method="PUT")
    bundle["entry"].insert(1, {"request": {"method": "GET", "url": "Patient/p1"}})
    bundle["entry"].append({"request": {"method": "DELETE", "url": "Encounter/v9"}})
    answer = fhir.send(bundle)
    assert [one["response"]["status"] for one in answer.json()["entry"]] == ["200", "405", "200", "204"]
    fhir.kit.apply()
    assert len(fhir.all_of("Patient")) == len(fhir.all_of("Encounter")) == 1


def test_a_history_bundle_tells_of_deletions(fhir: FhirKit) -> None:
    fhir.tell(HONG, VISIT)
    history = {
        "resourceType": "Bundle", "type": "history",
        "entry": [
            {"fullUrl": "https://emr.example/fhir/Encounter/v1", "request": {"method": "DELETE", "url": "Encounter/v1"},
             "response": {"status": "204", "etag": 'W/"2"', "lastModified": "2026-11-23T00:00:00Z"}},
        ],
    }  # fmt: skip
    assert fhir.send(history).json()["entry"][0]["response"]["status"] == "204"
    fhir.kit.apply()
    assert fhir.all_of("Encounter") == []


def test_conditional_references_creates_and_updates(fhir: FhirKit) -> None:
    fhir.tell(HONG)
    visit = VISIT | {"subject": {"reference": "Patient?identifier=urn:oid:1.2.410.1|00012345"}}
    bundle = transaction(visit)
    bundle["entry"].append({
        "resource": {"resourceType": "Patient", "name": [{"text": "홍길동"}]},
        "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:oid:1.2.410.1|00012345"},
    })  # fmt: skip
    bundle["entry"].append({
        "resource": {"resourceType": "Practitioner", "name": [{"text": "이의사"}]},
        "request": {"method": "PUT", "url": "Practitioner?identifier=urn:x|D1"},
    })  # fmt: skip
    assert fhir.send(bundle).status_code == 200
    fhir.kit.apply()
    assert len(fhir.all_of("Patient")) == 1
    assert fhir.all_of("Patient")[0]["birthDate"] == "1980-01-01"
    assert len(fhir.kit.owned("00012345", "Encounter")) == 1
    refused = fhir.send(transaction(HONG) | {"entry": [{"resource": HONG, "request": {
        "method": "POST", "url": "Patient", "ifNoneExist": "name=홍길동"}}]})  # fmt: skip
    assert (refused.status_code, "홍길동" in refused.text) == (412, False)


def test_a_create_without_any_number_gets_an_id_that_is_the_same_for_the_same(fhir: FhirKit) -> None:
    allergy = {"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/p1"}, "code": {"text": "새우"}}
    first, second = (fhir.send(allergy, "/AllergyIntolerance") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.headers["location"] == second.headers["location"]
    fhir.kit.apply()
    assert len(fhir.all_of("AllergyIntolerance")) == 1


# -- who may, and what cannot be taken ----------------------------------------------------------------------------


def test_only_a_token_that_a_channel_names_may_send(shared: FhirKit) -> None:
    url = f"{BASE}/Patient/p1"
    body = orjson.dumps(HONG)
    assert shared.by("hub_wrong").put(url, content=body).status_code == 401
    assert shared.by(shared.stranger).put(url, content=body).status_code == 403
    assert shared.by(shared.tokens["auditor"]).put(url, content=body).status_code == 403
    crm = shared.crm.put(url, content=body)
    assert (crm.status_code, crm.json()["resourceType"], crm.headers["allow"]) == (405, "OperationOutcome", "GET")
    assert shared.client.get(url).status_code == 403
    assert shared.client.get("/api/v1/patients").status_code == 403
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://testserver"}
    login = shared.client.post("/login", content=f"token={shared.tokens['sender']}", headers=form)
    assert (login.status_code, "set-cookie" in login.headers) == (401, False)
    assert shared.outcomes() == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "structure"),
        (b"{", 400, "structure"),
        (b"[]", 400, "structure"),
        (b'{"resourceType": "Patient", "id": "p1", "id": "p2"}', 400, "structure"),
        ('{"resourceType": "Patient", "id": "p1", "name": "홍길동"}'.encode("cp949"), 400, "structure"),
        (b'{"resourceType": "Patient", "id": "p1", "x": ' + b'{"a":' * 400 + b"1" + b"}" * 401, 400, "structure"),
        (b'{"resourceType": "Encounter", "id": "p1"}', 400, "invalid"),
        (b'{"resourceType": "Patient", "id": "p2"}', 400, "invalid"),
        (b'{"resourceType": "Patient", "id": "a b"}', 400, "value"),
    ],
)
def test_what_cannot_be_taken_is_said_in_fhir_and_kept(shared: FhirKit, body: bytes, status: int, code: str) -> None:
    before = len(shared.outcomes())
    answer = shared.send(body, "/Patient/p1", "PUT")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/fhir+json")
    assert answer.json()["issue"][0]["code"] == code
    *_, (_, outcome, reason) = shared.outcomes()
    assert (len(shared.outcomes()) - before, outcome) == (1, "refused")
    assert reason
    assert "홍길동" not in answer.text + reason


def test_a_body_too_large_or_of_another_kind_is_not_read(shared: FhirKit) -> None:
    before = len(shared.outcomes())
    assert shared.send(b"x" * ((1 << 20) + 1), "/Patient/p1", "PUT").status_code == 413
    assert shared.send(iter([b"x" * 700_000] * 2) and b"x" * 1_400_000).status_code == 413
    assert shared.send(b"<Patient/>", "/Patient/p1", "PUT", **{"Content-Type": "application/fhir+xml"}).status_code == 415
    cp949 = {"Content-Type": "application/fhir+json; charset=euc-kr"}
    assert shared.send(HONG, "/Patient/p1", "PUT", **cp949).status_code == 415
    assert len(shared.outcomes()) == before


def test_bundles_that_nobody_can_take(shared: FhirKit) -> None:
    many = {"resourceType": "Bundle", "type": "batch", "entry": [{}] * 5001}
    assert shared.send(many).status_code == 413
    assert shared.send({"resourceType": "Bundle", "type": "document", "entry": []}).status_code == 422
    assert shared.send({"resourceType": "Bundle", "type": "batch", "entry": {"a": 1}}).status_code == 400
    twice = shared.send(transaction(HONG, HONG))
    assert (twice.status_code, twice.json()["issue"][0]["code"]) == (400, "duplicate")
    empty = shared.send({"resourceType": "Bundle", "type": "batch"})
    assert (empty.status_code, empty.json()["entry"]) == (200, [])


def test_a_full_hub_says_come_slower_and_a_store_that_is_down_come_again(fhir: FhirKit) -> None:
    from hub.domain.errors import TryAgain

    doors = fhir.app.state.hub.doors
    doors._looked = float("inf")
    doors._intake.full = "too many messages are waiting"
    slower = fhir.put(HONG)
    assert (slower.status_code, slower.headers["retry-after"], slower.json()["issue"][0]["code"]) == (429, "30", "throttled")
    doors._intake.full = "the disk is nearly full"
    assert fhir.put(HONG).status_code == 503
    doors._intake.full = ""

    def down(**_more: Any) -> Any:
        raise TryAgain("the database is busy")

    doors._intake._store = type("Down", (), {"transaction": staticmethod(down)})()
    answer = fhir.send(transaction(HONG, VISIT))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert fhir.outcomes() == []


def test_only_what_the_channel_accepts_and_what_is_valid_r4(tmp_path: Path) -> None:
    fhir = make_fhir_kit(tmp_path, more='accept = ["Patient"]\nvalidation = "r4"')
    assert fhir.put(VISIT).status_code == 200
    wrong = fhir.put(HONG | {"gender": ["male"]})
    assert (wrong.status_code, "gender" in wrong.json()["issue"][0]["diagnostics"]) == (422, True)
    fhir.kit.apply()
    assert [outcome for _, outcome, _ in fhir.outcomes()] == ["ignored", "refused"]
    fhir.kit.close()


@pytest.mark.parametrize("text", ["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"])
def test_korean_text_goes_in_and_out_unchanged(shared: FhirKit, text: str) -> None:
    """As UTF-8 and as escapes; the bytes are kept as they came, and the façade gives the same text out."""
    number = text.encode().hex()
    for at, ascii_only in enumerate((False, True)):
        document = HONG | {
            "id": number, "name": [{"text": text}], "meta": {"versionId": str(at)},
            "identifier": [{"system": "urn:oid:1.2.410.1", "value": number}], "address": [{"text": f"{text} 1길"}],
        }  # fmt: skip
        body = json.dumps(document, ensure_ascii=ascii_only).encode()
        assert shared.send(body, f"/Patient/{number}", "PUT").status_code == 200
        shared.kit.apply()
        row = shared.kit.rows("SELECT id, body FROM message WHERE direction = 'in' ORDER BY id DESC LIMIT 1")[0]
        assert shared.kit.hub.keys.open_("message", row[0], bytes(row[1])) == body
    found = shared.crm.get(f"{BASE}/Patient?identifier={number}").json()["entry"][0]["resource"]
    assert (found["name"][0]["text"], found["address"][0]["text"]) == (text, f"{text} 1길")
