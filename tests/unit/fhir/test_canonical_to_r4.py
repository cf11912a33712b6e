"""Whatever a canonical document holds, what is made of it is valid R4: Hypothesis over every kind, by the model's own types."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.codecs.fhir_resource import MAKERS, check, to_fhir
from hub.codecs.fhir_types import Systems, a_date, date_time, instant, period
from hub.domain.model import DOCUMENTS

SYSTEMS = Systems({"HOSP": "urn:oid:1.2.410.100110.1"}, {"99LAB": "http://lab.example/codes"})
PATIENT = "01900000-0000-7000-8000-000000000001"
KOREAN = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞")
TIMES = (
    "2026-11-22T09:00:00+09:00", "2026-11-22T09:00+09:00", "2026-11-22T09:00:00", "2026-11-22", "2026-11", "2026", "2026-02-30",
    "0000", "9999-12-31T23:59:59+09:00", "2026-11-22T09:00:00.123456789Z", "2026-11-22T24:00:00Z", "2026-11-22T09:00:00+15:00",
)  # fmt: skip
CODES = (
    "HOSP", "1.2.3", "http://x.example/a", "MR", "AMB", "E", "booked", "noshow", "in-progress", "final", "active", "F", "a  b",
    "official", "male", "mobile", "NHI", "AUTO", "FTH", "next_of_kin", "referral", "KCD", "LN", "99LAB", "L", "IDE", "12.50", "7",
    " ", "1e400", f"Practitioner/{PATIENT}", f"Encounter/{PATIENT}",
)  # fmt: skip
TEXT = st.one_of(st.sampled_from(KOREAN), st.sampled_from(TIMES), st.sampled_from(CODES), st.text(max_size=12))


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type of hub/domain/model.py, and texts that its Literals do not have."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is NotRequired:
        return values(args[0])
    if origin is Literal:
        return st.one_of(st.sampled_from(args), TEXT)
    if origin is list:
        return st.lists(values(args[0]), max_size=2)
    if typing.is_typeddict(hint):
        return documents(hint)
    return {str: TEXT, int: st.integers(-10, 2**33), bool: st.booleans()}[hint]


def documents(cls: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Any part of a TypedDict's fields; what it requires is always there."""
    hints = typing.get_type_hints(cls, include_extras=True)
    made = {name.rstrip("_"): values(hint) for name, hint in hints.items()}
    needed = {name: one for name, one in made.items() if name in cls.__required_keys__}
    return st.fixed_dictionaries(needed, optional={name: one for name, one in made.items() if name not in needed})


@pytest.mark.parametrize("kind", sorted(MAKERS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_document_becomes_valid_r4(kind: Any, data: st.DataObject) -> None:
    document = data.draw(documents(DOCUMENTS[kind]))
    owner = data.draw(st.sampled_from((PATIENT, None)))
    made = to_fhir(kind, PATIENT, owner, 3, 1_795_305_600_000_000, document, SYSTEMS)
    check(made)
    assert made == to_fhir(kind, PATIENT, owner, 3, 1_795_305_600_000_000, document, SYSTEMS)
    invariants(kind, made)


def invariants(kind: str, made: Mapping[str, Any]) -> None:
    """What R4 demands beyond its shapes, of what these kinds can break."""
    assert not list(_empties(made)), "json.html: no nulls, no empty objects, lists or strings"
    if kind == "Appointment":  # app-2, app-3, app-1
        has = [name in made or f"_{name}" in made for name in ("start", "end")]
        assert has[0] == has[1]
        assert all(has) or made["status"] in ("proposed", "cancelled", "waitlist")
        assert all("actor" in one or "type" in one for one in made["participant"])
    if kind == "AllergyIntolerance":
        assert "clinicalStatus" in made  # ait-1
    if kind == "Organization":
        assert "name" in made or "identifier" in made  # org-1
    for one in made.get("telecom", ()):
        assert "system" in one  # cpt-2
    for one in made.get("identifier", ()):
        assert ":" in one["system"]  # KR Core: system and value
        assert one["value"]
    for one in made.get("name", ()) if isinstance(made.get("name"), list) else ():
        assert one["text"]  # KR Core: name.text 1..


def _empties(value: Any) -> typing.Iterator[Any]:
    if value in (None, "", [], {}):
        yield value
    for one in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _empties(one)


def test_korean_names_arrive_byte_for_byte() -> None:
    document = {"name": [{"text": name} for name in KOREAN]}
    made = to_fhir("Patient", PATIENT, PATIENT, 1, 0, document, SYSTEMS)
    assert [one["text"] for one in made["name"]] == list(KOREAN)


@pytest.mark.parametrize(
    ("assigner", "system"),
    [
        ("HOSP", "urn:oid:1.2.410.100110.1"), ("2.16.840.1", "urn:oid:2.16.840.1"), ("http://h.example/mrn", "http://h.example/mrn"),
        ("HOSP:placer", "urn:hospital-hub:assigner:HOSP%3Aplacer"), ("서울", "urn:hospital-hub:assigner:%EC%84%9C%EC%9A%B8"),
        ("0F0E5B9C-0000-4000-8000-000000000000", "urn:uuid:0f0e5b9c-0000-4000-8000-000000000000"),
    ],
)  # fmt: skip
def test_assigners_have_a_system_that_can_be_turned_back(assigner: str, system: str) -> None:
    assert SYSTEMS.of(assigner) == system
    assert assigner.lower() in [one.lower() for one in SYSTEMS.assigners(system)]


def test_code_systems_by_their_names() -> None:
    names = ("HL70063", "LN", "KCD", "99LAB", "99XXX", "L", "")
    assert [SYSTEMS.code_system(name) for name in names] == [
        "http://terminology.hl7.org/CodeSystem/v2-0063", "http://loinc.org", "http://www.hl7korea.or.kr/CodeSystem/kostat-kcd-8",
        "http://lab.example/codes", "urn:hospital-hub:codes:99XXX", None, None,
    ]  # fmt: skip


def test_times_are_as_precise_as_r4_lets_them() -> None:
    assert [instant(text) for text in TIMES[:4]] == ["2026-11-22T09:00:00+09:00", "2026-11-22T09:00:00+09:00", None, None]
    assert date_time("2026-11-22T09:00:00") == "2026-11-22"  # without a zone nobody knows when
    assert [a_date(text) for text in ("2026-02-30", "0000", "2026-13", "2026-11")] == [None, None, None, "2026-11"]
    assert period({"start": "2026-11-22", "end": "2026-11-01"}) == {"start": "2026-11-22"}  # per-1


@pytest.mark.parametrize(
    ("insurance", "code"), [("NHI", "4"), ("MED_AID_2", "5"), ("VETERANS", "7"), ("FREE", "9"), ("AUTO", None)]
)
def test_insurance_sits_on_the_visit_where_kr_core_has_a_code(insurance: str, code: str | None) -> None:
    made = to_fhir("Encounter", PATIENT, PATIENT, 1, 0, {"class": "AMB", "insuranceType": insurance}, SYSTEMS)
    found = [one["valueCodeableConcept"]["coding"][0]["code"] for one in made.get("extension", ())]
    assert found == ([code] if code else [])


def test_a_kept_value_keeps_its_digits() -> None:
    def value(text: str) -> Any:
        made = to_fhir("Observation", PATIENT, PATIENT, 1, 0, {"value": text, "unit": "g/dL"}, SYSTEMS)
        return made.get("valueQuantity", {}).get("value", made.get("valueString"))

    assert [value(text) for text in ("7", "12.5", "1.00", "nan", "< 3")] == [7, 12.5, "1.00 g/dL", "nan g/dL", "< 3 g/dL"]
