"""What our façade writes, our maps read again: every kind, Korean text and all; nothing changes on the way."""

from __future__ import annotations

from typing import Any

import pytest

from hub.codecs.fhir import dump
from hub.codecs.fhir_incoming import read
from hub.codecs.fhir_resource import MAKERS, check, to_fhir
from hub.codecs.fhir_types import Systems
from hub.domain.facts import Fact, Key
from hub.mapping import Context, load_maps
from hub.mapping.fhir_keys import Names

VECTORS = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞")
SYSTEMS = Systems({"HOSP": "urn:oid:1.2.410.1"}, {"OCS-DEPT": "http://www.hl7korea.or.kr/CodeSystem/hira-medical-department"})
MAPS = load_maps(result_values=True)
NUMBER = {"assigner": "HOSP", "value": "1", "type": "VN"}
DOCTOR = {"identifier": {"assigner": "HOSP", "value": "D1"}, "name": "이의사"}
SAID: list[tuple[str, dict[str, Any]]] = [
    (
        "Patient",
        {
            "identifier": [
                {"assigner": "HOSP", "value": "00012345", "type": "MR"},
                {"assigner": "어디", "value": "가-1", "use": "old"},
            ],
            "telecom": [{"system": "phone", "value": "+821012345678", "use": "mobile"}, {"system": "email", "value": "a@b.kr"}],
            "address": [
                {
                    "text": "서울특별시 종로구 세종대로 1",
                    "line": ["세종대로 1"],
                    "city": "서울",
                    "postalCode": "03154",
                    "use": "home",
                }
            ],
            "birthDate": "1980-01",
            "gender": "female",
            "deceased": True,
            "deceasedAt": "2026-11-22T09:00:00+09:00",
            "language": "ko",
            "maritalStatus": "M",
            "nationality": "대한민국",
            "importance": "VIP",
            "active": True,
        },
    ),
    ("Practitioner", {"identifier": [NUMBER], "role": "과장", "active": False}),
    ("Organization", {"identifier": [NUMBER], "type": "dept", "active": True}),
    (
        "Encounter",
        {
            "identifier": [NUMBER],
            "status": "in-progress",
            "state": "in-treatment",
            "visitKind": "return",
            "class": "AMB",
            "type": {"code": "A", "system": "SCT", "display": "외래"},
            "period": {"start": "2026-11-22T09:00:00+09:00"},
            "location": "내과 진료실 3",
            "priorLocation": "접수",
            "department": "내과",
            "participant": [{**DOCTOR, "role": "attending"}],
            "reason": [{"code": "N20.1", "system": "KCD", "display": "요관결석"}],
            "account": {"assigner": "HOSP", "value": "A1", "type": "AN"},
            "admitSource": "1",
            "dischargeDisposition": "01",
            "insuranceType": "NHI",
        },
    ),
    (
        "Appointment",
        {
            "identifier": [{**NUMBER, "type": "PLAC"}],
            "status": "booked",
            "start": "2026-11-22T09:00:00+09:00",
            "end": "2026-11-22T09:15:00+09:00",
            "minutes": 15,
            "reason": {"display": "정기 검진"},
            "department": "내과",
            "comment": "뷁",
            "location": "3번 방",
            "participant": [{**DOCTOR}],
        },
    ),
    (
        "Coverage",
        {
            "type": {"code": "NHI", "system": "OCS-DEPT", "display": "건강보험"},
            "payor": {"name": "국민건강보험공단"},
            "subscriberId": "1-2",
            "subscriber": {"text": "홍길동", "family": "홍", "given": ["길동"]},
            "relationship": "SEL",
            "group": "직장",
            "period": {"start": "2026-01-01", "end": "2026-12-31"},
        },
    ),
    (
        "ServiceRequest",
        {
            "identifier": [{**NUMBER, "type": "PLAC"}],
            "status": "active",
            "category": "referral",
            "priority": "stat",
            "code": {"code": "1", "system": "LN"},
            "group": {"assigner": "HOSP", "value": "G"},
            "authoredOn": "2026-11-22",
            "occurrence": "2026-11-23T00:00:00+09:00",
            "department": "내과",
            "reason": [{"display": "흉통"}],
            "participant": [{**DOCTOR, "role": "requester"}],
        },
    ),
    (
        "DiagnosticReport",
        {
            "identifier": [{**NUMBER, "type": "FILL"}],
            "status": "final",
            "category": "LAB",
            "code": {"display": "혈액검사"},
            "effective": "2026-11-22",
            "issued": "2026-11-22T09:00:00+09:00",
            "participant": [{**DOCTOR, "role": "interpreter"}],
            "basedOn": {"identifier": {"assigner": "HOSP", "value": "O1"}},
            "encounter": {"identifier": {"assigner": "HOSP", "value": "V1"}},
        },
    ),
    (
        "Observation",
        {
            "status": "final",
            "code": {"code": "718-7", "system": "LN", "display": "Hb"},
            "interpretation": ["L", "A"],
            "effective": "2026-11-22",
            "value": "13.5",
            "unit": "g/dL",
            "referenceRange": "12-16",
        },
    ),
    (
        "MedicationRequest",
        {
            "identifier": [NUMBER],
            "status": "active",
            "code": {"display": "타이레놀"},
            "authoredOn": "2026-11-22",
            "dispensedAt": "2026-11-23",
            "participant": [{**DOCTOR, "role": "requester"}],
        },
    ),
    (
        "Procedure",
        {"identifier": [NUMBER], "status": "completed", "code": {"code": "R3505", "system": "EDI"}, "performed": "2026-11-22"},
    ),
    (
        "Condition",
        {
            "identifier": [NUMBER],
            "code": {"code": "N20.1", "system": "KCD"},
            "recorded": "2026-11-22",
            "category": "F",
            "rank": 1,
        },
    ),
    (
        "AllergyIntolerance",
        {"code": {"display": "새우"}, "category": "food", "criticality": "high", "reaction": ["두드러기"], "onset": "2020"},
    ),
    (
        "DocumentReference",
        {"identifier": [NUMBER], "status": "current", "docStatus": "AU", "title": "소견서", "type": {"display": "소견"}},
    ),
    (
        "ServiceRequest",
        {
            "identifier": [
                {**NUMBER, "type": "PLAC"},
                {"assigner": "HOSP:accession", "value": "A1", "type": "ACSN"},
                {"assigner": "DICOM", "value": "1.2.840.1", "type": "UID"},
            ],
            "status": "active",
            "category": "imaging",
            "state": "in-progress",
            "modality": "CT",
            "station": "CT01AE",
            "location": "CT실",
            "occurrence": "2026-11-23T09:30:00+09:00",
        },
    ),
    (
        "ImagingStudy",
        {
            "identifier": [
                {"assigner": "DICOM", "value": "1.2.840.1", "type": "UID"},
                {"assigner": "HOSP:accession", "value": "A1", "type": "ACSN"},
            ],
            "status": "available",
            "state": "completed",
            "started": "2026-11-22T09:30:00+09:00",
            "modality": ["CT", "SR"],
            "description": "흉부 CT(뷁)",
            "numberOfSeries": 1,
            "numberOfInstances": 120,
            "procedure": {"code": "X100", "system": "EDI", "display": "흉부 CT"},
            "station": "CT01AE",
            "participant": [{"name": "김의사", "role": "referring"}],
            "series": [
                {
                    "uid": "1.2.840.1.7",
                    "number": 3,
                    "modality": "CT",
                    "description": "펲시콜라",
                    "instances": 120,
                    "station": "CT01",
                    "bodySite": "CHEST",
                }
            ],
        },
    ),
    (
        "RelatedPerson",
        {"relationship": {"code": "MTH", "system": "HL70063", "display": "어머니"}, "role": "guarantor", "gender": "female"},
    ),
    (
        "Slot",
        {"identifier": [NUMBER], "status": "free", "start": "2026-11-22T09:00:00+09:00", "end": "2026-11-22T09:15:00+09:00"},
    ),
    ("Schedule", {"identifier": [NUMBER], "name": "이의사 외래", "active": True, "location": "3번 방"}),
    (
        "Invoice",
        {
            "identifier": [NUMBER],
            "status": "issued",
            "date": "2026-11-22",
            "total": {"value": "12000", "currency": "KRW"},
            "patientShare": {"value": "3600", "currency": "KRW"},
        },
    ),
]


def again(kind: str, said: dict[str, Any]) -> dict[str, Any]:
    document = to_fhir(kind, "x1", "p1", 1, 1_795_305_600_000_000, said, SYSTEMS)
    check(document)
    mapped = MAPS.map_fhir(read(dump(document)), Context("HOSP", "emr"), Names("HOSP", "emr", SYSTEMS))
    assert mapped.warnings == []
    first = mapped.facts[0]
    assert isinstance(first, Fact)
    assert first.key == Key("HOSP:emr:fhir", f"{kind}/x1")
    return {name: value for name, value in first.values.items() if value is not None}


@pytest.mark.parametrize(("kind", "said"), SAID, ids=[kind for kind, _ in SAID])
def test_every_kind(kind: str, said: dict[str, Any]) -> None:
    assert again(kind, said) == said


@pytest.mark.parametrize("text", VECTORS)
@pytest.mark.parametrize("kind", ["Patient", "Practitioner", "RelatedPerson"])
def test_names(kind: str, text: str) -> None:
    name = again(kind, {"name": [{"text": text, "use": "official"}], "identifier": [NUMBER]})["name"][0]
    assert name["text"] == text
    assert "".join((name.get("family", ""), *name.get("given", ()))) in ("", text)


def test_every_kind_of_the_facade_is_read_again() -> None:
    assert {kind for kind in MAKERS if not MAPS.handles_fhir(kind)} <= {"ObservationDefinition"}
    assert {kind for kind, _ in SAID} >= set(MAKERS) - {"Location", "ObservationDefinition"}
