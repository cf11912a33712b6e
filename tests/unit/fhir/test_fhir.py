"""FHIR codec: nothing of a peer's document is lost, Korean names survive, errors name places and never values."""

from __future__ import annotations

import json
import string
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs import fhir
from hub.domain.errors import Unmappable, Unreadable

SYSTEMS = {"HOSP": "urn:oid:1.2.410.99999.1"}
KOREAN = ["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"]


def canonical(name: str = "홍길동") -> dict[str, Any]:
    return {
        "identifier": [{"assigner": "HOSP", "value": "00012345", "type": "MR"}],
        "name": [
            {"text": name, "family": name[0], "given": [name[1:] or name], "representation": "SYL", "use": "official"},
            {"text": "HONG GILDONG", "family": "HONG", "given": ["GILDONG"], "representation": "ABC"},
        ],
        "telecom": [{"system": "phone", "value": "+821012345678", "use": "mobile"}, {"system": "email", "value": "a@b.kr"}],
        "address": [
            {"text": "서울 강남구 테헤란로 1", "line": ["테헤란로 1"], "city": "서울", "postalCode": "06236", "use": "home"}
        ],
        "birthDate": "1980-01-31",
        "gender": "male",
        "deceased": False,
        "language": "ko",
        "maritalStatus": "M",
        "active": True,
    }


@pytest.mark.parametrize("name", KOREAN)
def test_canonical_to_fhir_and_back_is_the_same(name: str) -> None:
    document = fhir.patient_to_fhir(canonical(name), SYSTEMS)
    fhir.check(document)
    again = fhir.patient_from_fhir(fhir.parse(fhir.dump(document), resource_type="Patient"), SYSTEMS)
    assert again == canonical(name)


@pytest.mark.parametrize("name", KOREAN)
def test_what_kr_core_demands_is_there(name: str) -> None:
    """KR Core Patient: identifier.system and .value, name.text, gender, birthDate, all 1.."""
    document = fhir.patient_to_fhir(canonical(name), SYSTEMS)
    assert all(one["system"] and one["value"] for one in document["identifier"])
    assert [one["text"] for one in document["name"]] == [name, "HONG GILDONG"]
    assert document["gender"] == "male"
    assert document["birthDate"] == "1980-01-31"
    assert document["name"][0]["extension"] == [{"url": fhir.REPRESENTATION, "valueCode": "SYL"}]


def test_numbers_of_other_assigners_stay_at_home() -> None:
    patient = {"identifier": [{"assigner": "LAB", "value": "7"}], "name": [{"text": "뷁"}]}
    assert "identifier" not in fhir.patient_to_fhir(patient, SYSTEMS)


def test_an_unknown_system_is_its_own_assigner() -> None:
    document = {"resourceType": "Patient", "identifier": [{"system": "urn:other", "value": "7"}]}
    assert fhir.patient_from_fhir(document, SYSTEMS)["identifier"] == [{"assigner": "urn:other", "value": "7"}]


def test_deceased_at_wins_over_the_flag() -> None:
    patient = {"deceased": True, "deceasedAt": "2026-01-02T03:04:05+09:00"}
    document = fhir.patient_to_fhir(patient, {})
    assert document == {"resourceType": "Patient", "deceasedDateTime": "2026-01-02T03:04:05+09:00"}
    assert fhir.patient_from_fhir(document, {}) == patient


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ({"family": "홍", "given": ["길동"]}, "홍길동"),
        ({"family": "洪", "given": ["吉洞"]}, "洪吉洞"),
        ({"family": "Hong", "given": ["Gil", "Dong"]}, "Gil Dong Hong"),
        ({"text": "남궁 민수", "family": "남궁"}, "남궁 민수"),
        ({"given": ["뷁"]}, "뷁"),
        ({}, ""),
    ],
)
def test_a_name_without_text_gets_one(name: dict[str, Any], text: str) -> None:
    assert fhir.name_text(name) == text


@pytest.mark.parametrize("number", ["1.0", "1.00", "0.10", "1E+3", "12345678901234567890.5", "-0.0"])
def test_numbers_keep_their_digits(number: str) -> None:
    body = f'{{"resourceType":"Patient","extension":[{{"url":"u","valueDecimal":{number}}}]}}'.encode()
    assert fhir.dump(fhir.parse(body)) == body


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_any_document_survives(content: dict[str, Any]) -> None:
    document = {**content, "resourceType": "Patient"}
    again = fhir.parse(fhir.dump(document))
    assert again == document
    assert _literals(again) == _literals(document)


def _literals(value: Any) -> list[str]:
    if isinstance(value, Decimal):
        return [str(value)] if "." in str(value) or "E" in str(value) else []
    if isinstance(value, dict):
        return [text for key in sorted(value) for text in _literals(value[key])]
    return [text for one in value for text in _literals(one)] if isinstance(value, list) else []


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b"{", b"\xff", b'{"resourceType":"Patient","x":NaN}', b"[" * 100_000]
)
def test_what_is_no_resource_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        fhir.parse(body)


def test_half_a_surrogate_pair_survives() -> None:
    body = b'{"resourceType":"Patient","extension":[{"url":"\\ud800","valueDecimal":1.50}]}'
    assert fhir.dump(fhir.parse(body)) == body


def test_another_resource_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="not a Patient"):
        fhir.parse(b'{"resourceType":"Bundle"}', resource_type="Patient")


def test_check_names_the_place_and_not_the_value() -> None:
    with pytest.raises(Unmappable) as caught:
        fhir.check({"resourceType": "Patient", "birthDate": "비밀-13-99", "name": [{"text": 17, "family": ["홍길동"]}]})
    assert "birthDate" in str(caught.value)
    assert "name.0.family" in str(caught.value)
    assert "비밀" not in str(caught.value)
    assert "홍길동" not in str(caught.value)
    assert caught.value.__suppress_context__


OUTCOME: dict[str, Any] = {"resourceType": "OperationOutcome"}


@pytest.mark.parametrize(
    ("outcome", "codes"),
    [
        (OUTCOME | {"issue": [{"code": "duplicate", "diagnostics": "홍길동"}, {"code": "invalid"}]}, "duplicate, invalid"),
        (OUTCOME | {"issue": [{"code": "홍길동"}, {"code": 7}, 3]}, ""),
        (OUTCOME, ""),
        ({"resourceType": "Patient"}, ""),
    ],
)  # fmt: skip
def test_issue_codes_carry_no_texts(outcome: dict[str, Any], codes: str) -> None:
    assert fhir.issue_codes(json.dumps(outcome).encode()) == codes


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_search_token_stays_one_value(system: str, value: str) -> None:
    token = fhir.search_token(system, value)
    parts, escaped, current = [], False, ""
    for character in token:
        if escaped or character not in "\\|,$":
            current, escaped = current + character, False
        elif character == "\\":
            escaped = True
        else:
            assert character == "|"  # a bare comma would be a second value
            parts, current = [*parts, current], ""
    assert [*parts, current] == [system, value]


@pytest.mark.parametrize("text", ["", None, ".", "..", "...", "a/b", "a\n", "a?b", "a" * 65, "홍"])
def test_what_is_no_logical_id_never_stands_in_a_url(text: str | None) -> None:
    assert not fhir.is_id(text)


@pytest.mark.parametrize("text", ["1", "abc-1.2", "a" * 64, "0199b3a0-0000-7000-8000-000000000001"])
def test_a_logical_id_may(text: str) -> None:
    assert fhir.is_id(text)


def test_matches_leaves_out_what_was_included() -> None:
    bundle = {
        "entry": [
            {"resource": {"resourceType": "Patient", "id": "1"}, "search": {"mode": "match"}},
            {"resource": {"resourceType": "Patient", "id": "1"}},
            {"resource": {"resourceType": "Patient", "id": "2"}, "search": {"mode": "include"}},
            {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
            {"fullUrl": string.ascii_letters},
        ]
    }
    assert [one["id"] for one in fhir.matches(bundle)] == ["1"]


@pytest.mark.corpus
def test_patients_that_others_wrote_survive(corpus: Path) -> None:
    files = sorted((corpus / "fhir" / "r4-official-examples").glob("Patient-*.json"))
    assert len(files) >= 10
    for file in files:
        document = fhir.parse(file.read_bytes(), resource_type="Patient")
        assert fhir.parse(fhir.dump(document)) == document
        fhir.check(document)
        again = fhir.patient_to_fhir(fhir.patient_from_fhir(document, {}), {one: one for one in _systems(document)})
        fhir.check(again)
        assert [one["value"] for one in again.get("telecom", [])] == [
            one["value"] for one in document.get("telecom", []) if "value" in one
        ]


def _systems(document: dict[str, Any]) -> set[str]:
    return {one.get("system", "") for one in document.get("identifier", [])} - {""}
