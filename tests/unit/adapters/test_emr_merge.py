"""What a change does to the EMR's document: the mapped place changes, everything else stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.adapters.emr.merge import FIELDS, merge
from hub.codecs import fhir

ROAD = {"url": "http://www.hl7korea.or.kr/fhir/krcore/StructureDefinition/krcore-roadNameAddress", "extension": []}


def emr() -> dict[str, Any]:
    """A document with much that the hub knows nothing of."""
    return {
        "resourceType": "Patient",
        "id": "p1",
        "meta": {"versionId": "7", "tag": [{"code": "local"}]},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">…</div>'},
        "extension": [{"url": "urn:x", "valueDecimal": 1}],
        "identifier": [{"system": "urn:h", "value": "1", "assigner": {"display": "원무과"}}],
        "active": True,
        "name": [
            {"id": "n1", "use": "official", "text": "홍길동", "family": "홍", "given": ["길동"], "period": {"start": "2000"}},
            {"use": "old", "text": "홍개똥"},
        ],
        "telecom": [
            {"system": "phone", "value": "02-123-4567", "use": "home", "rank": 2},
            {"system": "phone", "value": "010-1111-2222", "use": "mobile", "rank": 1, "extension": [{"url": "urn:v"}]},
            {"system": "phone", "value": "010-0000-0000", "use": "mobile", "period": {"end": "2010-01-01"}},
            {"system": "email", "value": "Old@x.kr"},
        ],
        "gender": "male",
        "birthDate": "1980-01-31",
        "_birthDate": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime"}]},
        "address": [
            {"use": "home", "text": "서울 옛길 1", "city": "서울", "extension": [ROAD]},
            {"use": "billing", "text": "회사"},
        ],
        "contact": [{"name": {"text": "김보호"}}],
        "generalPractitioner": [{"reference": "Practitioner/1"}],
    }


def changed_keys(patient: dict[str, Any], changed: list[str]) -> set[str]:
    before, after = emr(), merge(emr(), patient, changed, FIELDS).document
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.mark.parametrize("written", ["+821011112222", "010-1111-2222", "01011112222", "+82 10 1111 2222"])
def test_the_same_phone_in_another_writing_changes_nothing(written: str) -> None:
    patient = {"telecom": [{"system": "phone", "value": written, "use": "mobile"}]}
    merged = merge(emr(), patient, ["telecom.mobile"], FIELDS)
    assert merged.document == emr()
    assert merged.sent_fields == {"telecom.mobile": {"system": "phone", "value": "010-1111-2222", "use": "mobile"}}


def test_a_new_phone_takes_the_place_of_its_slot() -> None:
    patient = {"telecom": [{"system": "phone", "value": "+821099998888", "use": "mobile"}]}
    merged = merge(emr(), patient, ["telecom.mobile"], FIELDS)
    expected = emr()
    expected["telecom"][1]["value"] = "+821099998888"  # rank and extension stay, the ended one stays
    assert merged.document == expected
    assert merged.sent_fields["telecom.mobile"]["value"] == "+821099998888"


def test_only_the_slots_named_are_touched() -> None:
    patient = {
        "telecom": [{"system": "phone", "value": "+821099998888", "use": "mobile"}, {"system": "email", "value": "new@x.kr"}]
    }
    merged = merge(emr(), patient, ["telecom.email"], FIELDS)
    assert [one["value"] for one in merged.document["telecom"]] == ["02-123-4567", "010-1111-2222", "010-0000-0000", "new@x.kr"]
    assert set(merged.sent_fields) == {"telecom.email"}


def test_the_whole_list_means_every_slot_that_the_patient_has() -> None:
    patient = {"telecom": [{"system": "phone", "value": "+821099998888", "use": "mobile"}, {"system": "phone", "value": "119"}]}
    merged = merge(emr(), patient, ["telecom"], FIELDS)
    values = [one["value"] for one in merged.document["telecom"]]
    assert values == ["02-123-4567", "+821099998888", "010-0000-0000", "Old@x.kr", "119"]
    assert set(merged.sent_fields) == {"telecom.mobile", "telecom.phone"}


def test_a_deleted_slot_is_removed_but_not_what_has_ended() -> None:
    merged = merge(emr(), {}, ["telecom.mobile"], FIELDS)
    assert [one["value"] for one in merged.document["telecom"]] == ["02-123-4567", "010-0000-0000", "Old@x.kr"]
    assert merged.sent_fields == {"telecom.mobile": None}


def test_of_two_phones_in_a_slot_the_right_one_goes() -> None:
    document = {
        "resourceType": "Patient",
        "telecom": [_mobile("010-1111-1111"), _mobile("010-2222-2222"), _mobile("010-3333-3333")],
    }
    patient = {"telecom": [{"system": "phone", "value": "+821022222222", "use": "mobile"}]}
    merged = merge(document, patient, ["telecom.mobile", "telecom.mobile.2"], FIELDS)
    assert [one["value"] for one in merged.document["telecom"]] == ["010-2222-2222"]
    assert merged.sent_fields == {"telecom.mobile": _mobile("010-2222-2222"), "telecom.mobile.2": None}


def test_a_second_phone_is_appended() -> None:
    document = {"resourceType": "Patient", "telecom": [_mobile("010-1111-1111")]}
    patient = {"telecom": [_mobile("+821011111111"), _mobile("+821022222222")]}
    merged = merge(document, patient, ["telecom.mobile.2"], FIELDS)
    assert [one["value"] for one in merged.document["telecom"]] == ["010-1111-1111", "+821022222222"]
    assert set(merged.sent_fields) == {"telecom.mobile", "telecom.mobile.2"}


def _mobile(value: str) -> dict[str, str]:
    return {"system": "phone", "value": value, "use": "mobile"}


@pytest.mark.parametrize("text", ["똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"])
def test_a_new_name_keeps_its_place_and_loses_the_old_parts(text: str) -> None:
    merged = merge(emr(), {"name": [{"text": text, "use": "official"}]}, ["name"], FIELDS)
    expected = emr()
    expected["name"][0] = {"id": "n1", "use": "official", "text": text, "period": {"start": "2000"}}
    assert merged.document == expected


def test_the_same_name_without_parts_changes_nothing() -> None:
    assert changed_keys({"name": [{"text": "홍길동", "representation": "IDE"}]}, ["name"]) == set()


def test_a_romanised_name_never_overwrites_the_hangul_one() -> None:
    document = emr()
    document["name"] = [{"text": "홍길동", "extension": [{"url": fhir.REPRESENTATION, "valueCode": "SYL"}]}]
    merged = merge(document, {"name": [{"text": "HONG GILDONG", "representation": "ABC"}]}, ["name"], FIELDS)
    assert [one["text"] for one in merged.document["name"]] == ["홍길동", "HONG GILDONG"]


def test_names_are_never_removed() -> None:
    assert changed_keys({}, ["name", "gender"]) == set()


def test_a_new_address_loses_what_spoke_of_the_old_one() -> None:
    patient = {"address": [{"text": "부산 새길 2", "city": "부산", "postalCode": "48058", "use": "home"}]}
    merged = merge(emr(), patient, ["address"], FIELDS)
    assert merged.document["address"] == [
        {"use": "home", "text": "부산 새길 2", "city": "부산", "postalCode": "48058"},
        {"use": "billing", "text": "회사"},
    ]


def test_an_address_that_says_nothing_new_changes_nothing() -> None:
    assert changed_keys({"address": [{"text": "서울 옛길 1", "city": "서울"}]}, ["address"]) == set()


def test_a_new_birth_date_loses_its_birth_time() -> None:
    assert changed_keys({"birthDate": "1981-02-03"}, ["birthDate"]) == {"birthDate", "_birthDate"}


def test_the_same_birth_date_keeps_it() -> None:
    assert changed_keys({"birthDate": "1980-01-31"}, ["birthDate"]) == set()


@pytest.mark.parametrize(
    ("there", "patient", "after"),
    [
        ({}, {"deceased": True}, {"deceasedBoolean": True}),
        ({"deceasedBoolean": False}, {"deceased": True, "deceasedAt": "2026-01-02"}, {"deceasedDateTime": "2026-01-02"}),
        ({"deceasedDateTime": "2026-01-02"}, {"deceased": True}, {"deceasedDateTime": "2026-01-02"}),
        ({"deceasedDateTime": "2026-01-02"}, {"deceased": False}, {"deceasedBoolean": False}),
        ({"deceasedBoolean": True}, {}, {}),
        ({}, {}, {}),
    ],
)
def test_deceased(there: dict[str, Any], patient: dict[str, Any], after: dict[str, Any]) -> None:
    merged = merge({"resourceType": "Patient", **there}, patient, ["deceased", "deceasedAt"], FIELDS)
    assert merged.document == {"resourceType": "Patient", **after}


def test_what_the_channel_may_not_change_stays() -> None:
    patient = {"birthDate": "1999-01-01", "telecom": [_mobile("+821099998888")]}
    merged = merge(emr(), patient, ["birthDate", "telecom.mobile"], ["telecom"])
    assert merged.document["birthDate"] == "1980-01-31"
    assert set(merged.sent_fields) == {"telecom.mobile"}


def test_language_and_marital_status() -> None:
    merged = merge(emr() | {"communication": [{"language": {"text": "English"}, "preferred": True}]}, {"language": "ko", "maritalStatus": "M"}, ["language", "maritalStatus"], FIELDS)  # fmt: skip  # noqa: E501
    assert fhir.patient_from_fhir(merged.document, {})["language"] == "ko"
    assert merged.document["communication"][1] == {"language": {"text": "English"}}
    assert merged.document["maritalStatus"]["coding"][0]["code"] == "M"


values = st.sampled_from(["+821011112222", "+821033334444", "010-5555-6666", "a@b.kr"])
points = st.lists(st.builds(lambda s, v, u: {"system": s, "value": v, "use": u}, st.sampled_from(["phone", "email"]), values, st.sampled_from(["home", "mobile"])), max_size=4)  # fmt: skip  # noqa: E501


@given(points, points, st.sets(st.sampled_from(["telecom", "telecom.mobile", "telecom.home", "telecom.email", "name"])))
def test_merging_twice_is_merging_once_and_never_alters_its_input(theirs: Any, ours: Any, changed: set[str]) -> None:
    document = {"resourceType": "Patient", "telecom": theirs}
    before = copy.deepcopy(document)
    once = merge(document, {"telecom": ours}, sorted(changed), FIELDS)
    assert document == before
    twice = merge(once.document, {"telecom": ours}, sorted(changed), FIELDS)
    assert [one["value"] for one in twice.document.get("telecom", [])] == [
        one["value"] for one in once.document.get("telecom", [])
    ]
