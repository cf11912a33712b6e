"""What changes in a booking, visit or order there: a change applied is no change any more, and nothing else moved."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.adapters.emr import fhir_pages, fhir_records
from hub.codecs import fhir_resource

SYSTEMS = {"HOSP": "urn:oid:1.2.3", "HUB": "urn:hospital-hub:assigner:HUB"}
NAMES = st.sampled_from(["홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞"])
TIMES = st.sampled_from(["2026-12-01T09:00:00+09:00", "2026-12-01T00:00:00Z", "2026-12-02T09:30:00+09:00"])
CODING = st.builds(lambda code, name: {"code": code, "display": name}, st.sampled_from(["A1", "B2"]), NAMES)
PARTY = st.builds(
    lambda number, name, role: {"identifier": {"assigner": "HOSP", "value": number}, "name": name, "role": role},
    st.sampled_from(["D1", "D2"]), NAMES, st.sampled_from(["attending", "referring", "requester", "performer"]),
)  # fmt: skip
NUMBER = {"identifier": st.just([{"assigner": "HOSP", "value": "1", "type": "VN"}])}
DATA: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "Appointment": st.fixed_dictionaries(
        NUMBER | {"status": st.sampled_from(["pending", "booked", "cancelled"]), "start": TIMES, "minutes": st.integers(5, 60)},
        optional={"department": NAMES, "location": NAMES, "comment": NAMES, "reason": CODING, "type": CODING,
                  "participant": st.lists(PARTY, max_size=2)},
    ),
    "Encounter": st.fixed_dictionaries(
        NUMBER | {"status": st.sampled_from(["planned", "in-progress", "finished"]), "class": st.sampled_from(["AMB", "IMP"])},
        optional={"department": NAMES, "location": NAMES, "reason": st.lists(CODING, max_size=2), "state": st.just("paid"),
                  "insuranceType": st.sampled_from(["NHI", "MED_AID_1", "SELF"]), "participant": st.lists(PARTY, max_size=2),
                  "period": st.fixed_dictionaries({"start": TIMES}), "admitSource": st.just("1")},
    ),
    "ServiceRequest": st.fixed_dictionaries(
        NUMBER | {"status": st.sampled_from(["active", "completed", "revoked"]), "code": CODING},
        optional={"department": NAMES, "priority": st.just("stat"), "authoredOn": TIMES, "occurrence": TIMES,
                  "participant": st.lists(PARTY, max_size=2), "reason": st.lists(CODING, max_size=2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DATA)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_change_applied_leaves_nothing_to_change(kind: str, data: st.DataObject) -> None:
    before, after = data.draw(DATA[kind]), data.draw(DATA[kind])
    there = fhir_records.made(kind, before, SYSTEMS, "p1") | {"id": "1", "language": "ko", "implicitRules": "urn:emr:own"}
    fhir_resource.check(there)
    kept = copy.deepcopy(there)
    merged = fhir_records.merge(kind, there, after, fhir_records.ELEMENTS[kind], SYSTEMS, "")
    assert there == kept  # pure
    fhir_resource.check(merged.document)
    assert (merged.document["language"], merged.document["implicitRules"]) == ("ko", "urn:emr:own")
    again = fhir_records.merge(kind, merged.document, after, fhir_records.ELEMENTS[kind], SYSTEMS, "")
    assert again.document == merged.document
    same = fhir_records.merge(kind, kept, before, fhir_records.ELEMENTS[kind], SYSTEMS, "")
    assert same.document == kept


@pytest.mark.parametrize("kind", DATA)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_what_the_message_is_not_about_stays(kind: str, data: st.DataObject) -> None:
    before, after = data.draw(DATA[kind]), data.draw(DATA[kind])
    there = fhir_records.made(kind, before, SYSTEMS, "p1")
    assert fhir_records.merge(kind, there, after, [], SYSTEMS, "").document == there
    merged = fhir_records.merge(kind, there, after, ["status"], SYSTEMS, "").document
    assert {name for name in {*merged, *there} if merged.get(name) != there.get(name)} <= {"status"}


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-22T09:00:00.123+09:00", 1_795_305_600_123),
        ("2026-11-22T00:00:00.123456789Z", 1_795_305_600_123),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2026-11-22T00:00:00", None),
        ("2026-11-22", None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_instants_are_read_to_the_millisecond(text: str | None, ms: int | None) -> None:
    assert fhir_pages.instant(text) == ms
    if ms is not None and ms >= 0:
        assert fhir_pages.instant(fhir_pages.text_of(ms)) == ms
