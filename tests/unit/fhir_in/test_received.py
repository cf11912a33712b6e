"""A resource as a message: what it is called, whose it is, what counts as the same; and what cannot be read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from hub.codecs.fhir_incoming import DEPTH, body_of, read, same_of, tombstone, type_of
from hub.codecs.fhir_types import Systems
from hub.domain.errors import Unreadable
from hub.domain.facts import Key
from hub.mapping.fhir_keys import Names
from hub.sync.fhir_received import of_body, of_document

NAMES = Names("HOSP", "emr", Systems({"HOSP": "urn:oid:1.2.410.1"}))
HONG: dict[str, Any] = {
    "resourceType": "Patient", "id": "p1", "meta": {"versionId": "3"},
    "identifier": [{"system": "urn:oid:1.2.410.1", "value": "00012345"}], "name": [{"text": "홍길동"}],
}  # fmt: skip


def test_a_resource_is_called_by_type_id_and_version() -> None:
    made = of_document("emr-in", NAMES, HONG)
    assert (made.type, made.control_id, made.sender) == ("Patient", "Patient/p1/3", "emr")
    assert made.patient == Key("HOSP:emr:fhir", "Patient/p1")
    assert orjson.loads(made.body) == HONG


def test_a_deleted_one_is_a_message_of_its_own() -> None:
    made = of_document("emr-in", NAMES, tombstone("Encounter", "v1", "4"))
    assert (made.type, made.control_id) == ("Encounter.deleted", "Encounter.deleted/v1/4")
    assert type_of(read(made.body)) == "Encounter.deleted"


def test_without_a_version_the_time_or_the_content_tells_two_messages_apart() -> None:
    timed = of_document("emr-in", NAMES, HONG | {"meta": {"lastUpdated": "2026-11-22T09:00:00Z"}})
    assert timed.control_id == "Patient/p1/2026-11-22T09:00:00Z"
    bare = {name: value for name, value in HONG.items() if name != "meta"}
    first, second = of_document("emr-in", NAMES, bare), of_document("emr-in", NAMES, bare | {"gender": "male"})
    again = of_body("emr-in", NAMES, b" " + body_of(dict(reversed(bare.items()))))
    assert first.control_id == again.control_id != second.control_id
    assert first.content == again.content != second.content


def test_the_content_is_the_same_whatever_the_servers_stamps_and_narrative() -> None:
    assert same_of(HONG) == same_of(HONG | {"meta": {"versionId": "9"}, "text": {"status": "generated", "div": "<div/>"}})


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"resourceType": "Encounter", "subject": {"reference": "Patient/p1"}}, ("HOSP:emr:fhir", "Patient/p1")),
        ({"resourceType": "Encounter", "subject": {"reference": "Patient/p1/_history/4"}}, ("HOSP:emr:fhir", "Patient/p1")),
        (
            {"resourceType": "Encounter", "subject": {"reference": "https://other.example/fhir/Patient/p1"}},
            ("https://other.example/fhir", "Patient/p1"),
        ),
        ({"resourceType": "Condition", "subject": {"identifier": {"system": "urn:oid:1.2.410.1", "value": "1"}}}, ("HOSP", "1")),
        ({"resourceType": "Condition", "subject": {"identifier": {"value": "1"}}}, ("HOSP", "1")),
        ({"resourceType": "Condition", "subject": {"identifier": {"system": "urn:oid:9.9", "value": "1"}}}, ("9.9", "1")),
        ({"resourceType": "Coverage", "beneficiary": {"reference": "Patient/p2"}}, ("HOSP:emr:fhir", "Patient/p2")),
        (
            {
                "resourceType": "Appointment",
                "participant": [{"actor": {"reference": "Practitioner/d"}}, {"actor": {"reference": "Patient/p3"}}],
            },
            ("HOSP:emr:fhir", "Patient/p3"),
        ),
        (
            {
                "resourceType": "Observation", "id": "o", "subject": {"reference": "#x"},
                "contained": [{"resourceType": "Patient", "id": "x"}],
            },
            ("HOSP:emr:fhir", "Observation/o#x"),
        ),
    ],
)  # fmt: skip
def test_whose_it_is(document: dict[str, Any], key: tuple[str, str]) -> None:
    assert NAMES.patient_of(document) == Key(*key)


@pytest.mark.parametrize(
    "document",
    [
        {"resourceType": "Practitioner", "id": "d1"},
        {"resourceType": "Encounter", "subject": {"reference": "Group/g"}},
        {"resourceType": "Encounter", "subject": {"reference": "urn:uuid:6f3c2a9e-0000-4000-8000-000000000001"}},
        {"resourceType": "Encounter", "subject": {"identifier": {"value": "801301-1234567"}}},
        {"resourceType": "Encounter", "subject": "Patient/p1"},
        {"resourceType": "Observation", "subject": {"reference": "#"}, "contained": [{"resourceType": "Patient"}]},
    ],
)
def test_nobodys(document: dict[str, Any]) -> None:
    assert NAMES.patient_of(document) is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b'{"resourceType": "Patient"', "not_json"),
        (b"[]", "not_fhir"),
        (b'{"resourceType": "../x"}', "not_fhir"),
        (b'{"resourceType": "Patient", "id": "1", "id": "2"}', "not_json"),
        (b'{"resourceType": "Patient", "x": NaN}', "not_json"),
        (b'{"resourceType": "Patient", "x": ' + b"9" * 41 + b"}", "not_json"),
        (b'{"resourceType": "Patient", "x": 1e999999}', "not_json"),
        ('{"resourceType": "Patient", "name": [{"text": "홍길동"}]}'.encode("cp949"), "not_utf8"),
        (b'{"resourceType": "Patient", "name": "\\ud800"}', "not_utf8"),
        (b'{"resourceType": "Patient", "x": ' + b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1) + b"}", "too_deep"),
        (b"[" * 200_000, "too_deep"),
    ],
)
def test_what_is_no_fhir_json_is_said_and_nothing_of_it(body: bytes, code: str) -> None:
    with pytest.raises(Unreadable) as error:
        read(body)
    assert error.value.code == code
    assert "홍길동" not in str(error.value)


def test_numbers_keep_their_digits() -> None:
    body = b'{"resourceType":"Observation","valueQuantity":{"value":1.00}}'
    assert body_of(read(body)) == body
