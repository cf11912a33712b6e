"""What a Patient and a visit in FHIR become, Korean ones by KR Core 2.0.0."""

from __future__ import annotations

from typing import Any

from hub.codecs.fhir_types import Systems
from hub.domain.facts import Fact, Key, Merge, Snapshot
from hub.mapping import Context, load_maps
from hub.mapping.fhir_keys import Names

MAPS = load_maps()
NAMES = Names("HOSP", "emr", Systems({"HOSP": "urn:oid:1.2.410.1"}))
CONTEXT = Context("HOSP", "emr", received_at=5)
IDS = "HOSP:emr:fhir"
KR_CODES = "http://www.hl7korea.or.kr/CodeSystem/"
KR = "http://www.hl7korea.or.kr/fhir/krcore/StructureDefinition/"
HONG: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "meta": {"versionId": "3", "lastUpdated": "2026-11-22T09:00:00.123+09:00"},
    "identifier": [
        {"system": "urn:oid:1.2.410.1", "value": "00012345",
         "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]}},
        {"system": "urn:x", "value": "801301-1234567"},
    ],
    "name": [
        {"text": "홍 길동", "use": "official"},
        {"family": "洪", "given": ["吉洞"],
         "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation", "valueCode": "IDE"}]},
        {"family": "Hong", "given": ["Gildong"]},
    ],
    "telecom": [
        {"system": "phone", "value": "010-1234-5678", "use": "home"},
        {"system": "email", "value": "Hong@Example.com"},
    ],
    "address": [
        {"postalCode": "06236", "extension": [{"url": f"{KR}krcore-roadNameAddress", "extension": [
            {"url": "district", "valueString": "강남구"},
            {"url": "roadName", "valueString": "테헤란로 152"},
            {"url": "detailedAddress", "valueString": "12층"},
        ]}]},
    ],
    "gender": "male",
    "birthDate": "1980-01",
    "contact": [
        {"relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0131", "code": "C"}]}],
         "name": {"text": "남궁민수"}, "telecom": [{"system": "phone", "value": "02-123-4567"}]},
    ],
}  # fmt: skip


def facts(document: dict[str, Any]) -> list[Any]:
    return MAPS.map_fhir(document, CONTEXT, NAMES).facts


def the(document: dict[str, Any]) -> Fact:
    found = facts(document)[0]
    assert isinstance(found, Fact)
    return found


def said(fact: Fact) -> dict[str, Any]:
    return {name: value for name, value in fact.values.items() if value is not None}


def test_a_patient() -> None:
    mapped = MAPS.map_fhir(HONG, CONTEXT, NAMES)
    fact = the(HONG)
    assert (fact.key, fact.other_keys) == (Key(IDS, "Patient/p1"), (Key("HOSP", "00012345"),))
    assert mapped.event_at == 1_795_305_600_123_000
    assert said(fact) == {
        "identifier": [{"assigner": "HOSP", "value": "00012345", "type": "MR"}],
        "name": [
            {"text": "홍길동", "family": "홍", "given": ["길동"], "use": "official"},
            {"text": "洪吉洞", "family": "洪", "given": ["吉洞"], "representation": "IDE"},
            {"text": "Gildong Hong", "family": "Hong", "given": ["Gildong"]},
        ],
        "telecom": [
            {"system": "phone", "value": "+821012345678", "use": "mobile", "raw": "010-1234-5678"},
            {"system": "email", "value": "hong@example.com", "raw": "Hong@Example.com"},
        ],
        "address": [
            {"text": "강남구 테헤란로 152 12층", "line": ["테헤란로 152", "12층"], "district": "강남구", "postalCode": "06236"}
        ],
        "gender": "male",
        "birthDate": "1980-01",
    }  # fmt: skip
    assert fact.paths["birthDate"] == "birthDate"
    assert "801301" not in repr(mapped)


def test_what_a_resource_leaves_out_was_deleted_unless_its_server_left_it_out() -> None:
    assert the(HONG).values["maritalStatus"] is None
    part = HONG | {"meta": {"tag": [{"code": "SUBSETTED"}]}, "contact": []}
    assert "maritalStatus" not in the(part).values
    assert [type(one) for one in facts(part)] == [Fact]


def test_contacts_are_a_list_that_is_replaced() -> None:
    listed = facts(HONG)[1]
    assert isinstance(listed, Snapshot)
    assert (listed.kind, listed.patient, listed.group) == ("RelatedPerson", Key(IDS, "Patient/p1"), "contact")
    assert listed.items == [
        {
            "role": "emergency_contact",
            "name": [{"text": "남궁민수", "family": "남궁", "given": ["민수"]}],
            "telecom": [{"system": "phone", "value": "+8221234567", "raw": "02-123-4567"}],
        }
    ]
    assert facts({**HONG, "contact": []})[1].items == []


def test_a_number_tells_birth_date_and_sex_where_nothing_else_does() -> None:
    number = {"resourceType": "Patient", "id": "p", "identifier": [{"value": "800101-2******"}, {"value": "801301-1234567"}]}
    assert said(the(number)) == {"birthDate": "1980-01-01", "gender": "female"}
    assert "801301" not in repr(facts(number))


def test_one_who_was_merged_away() -> None:
    document = HONG | {"link": [{"type": "replaced-by", "other": {"reference": "Patient/p2"}}]}
    assert facts(document) == [Merge("patient", Key(IDS, "Patient/p2"), Key(IDS, "Patient/p1"), "id")]


def test_a_visit_of_kr_core() -> None:
    fact = the(
        {
            "resourceType": "Encounter", "id": "v1", "status": "triaged",
            "extension": [{
                "url": f"{KR}krcore-insuranceTypes",
                "valueCodeableConcept": {"coding": [{"system": f"{KR_CODES}hira-insurance-types", "code": "4"}]},
            }],
            "identifier": [{"system": "urn:oid:1.2.410.1", "value": "V1"}],
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "serviceType": {"coding": [{"system": "http://www.mohw.go.kr/CodeSystem/practitioner-specialty", "code": "01"}]},
            "subject": {"reference": "Patient/p1"},
            "participant": [
                {"type": [{"coding": [{"code": "ATND"}]}], "individual": {"reference": "Practitioner/d1", "display": "이의사"}}
            ],
            "period": {"start": "2026-11-22T09:00:00+09:00"},
            "reasonCode": [{"coding": [{"system": f"{KR_CODES}kostat-kcd-8", "code": "N20.1"}]}],
            "location": [{"location": {"display": "내과 진료실 3"}}],
        }
    )  # fmt: skip
    assert (fact.key, fact.patient, fact.other_keys) == (
        Key(IDS, "Encounter/v1"),
        Key(IDS, "Patient/p1"),
        (Key("HOSP", "V1"),),
    )
    assert said(fact) == {
        "identifier": [{"assigner": "HOSP", "value": "V1"}],
        "status": "arrived", "class": "AMB", "department": "01", "insuranceType": "NHI", "location": "내과 진료실 3",
        "period": {"start": "2026-11-22T09:00:00+09:00"},
        "participant": [{"identifier": {"assigner": IDS, "value": "Practitioner/d1"}, "name": "이의사", "role": "attending"}],
        "reason": [{"code": "N20.1", "system": "KCD"}],
    }  # fmt: skip


def test_what_is_deleted_is_gone() -> None:
    mapped = MAPS.map_fhir({"resourceType": "Encounter", "id": "v1", "meta": {"tag": [
        {"system": "urn:hospital-hub:tag", "code": "deleted"}]}}, CONTEXT, NAMES)  # fmt: skip
    (fact,) = mapped.facts
    assert isinstance(fact, Fact)
    assert (mapped.event, fact.key, fact.gone, fact.create, fact.values) == (
        "Encounter.deleted", Key(IDS, "Encounter/v1"), True, False, {},
    )  # fmt: skip


def test_what_is_nobodys_is_said_and_left() -> None:
    mapped = MAPS.map_fhir({"resourceType": "Encounter", "id": "v1", "subject": {"reference": "Group/g"}}, CONTEXT, NAMES)
    assert (mapped.facts, mapped.warnings) == ([], ["subject: no patient, so no Encounter"])
