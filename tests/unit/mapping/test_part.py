"""The patient's part of a message: mapped apart it says what it says in its place, and equal digests mean equal facts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7v2 import parse
from hub.domain.errors import Unmappable
from hub.domain.facts import AnyFact, Fact, Mapped, Snapshot
from hub.mapping import Context, load_maps

MAPS = load_maps()
HERE = Context("HOSP", "ocs")
SEGMENTS = [
    "MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090000||ADT^A04|C1|P|2.5|||||KOR|UNICODE UTF-8",
    "EVN|A04|20261122090000",
    "PID|1||00012345^^^HOSP^MR~77^^^EMR||홍^길동^^^^^L||19800101|M|||강남대로 1^^서울||^PRN^CP^^82^10^11112222|||||AC1",
    "NK1|1|김^영희|SPO",
    "PV1|1|O|OPD^101||||D1^이^의사|||IM||||||V9|||V100|" + "|" * 24 + "20261122090000",
    "IN1|1|4|NHIS|국민건강보험공단",
]
SAID = st.sampled_from(["", "남궁^민수", '""', "펲시콜라", "1", "20260101", "M", "X~Y", "A\\T\\B", "^^^HOSP", "&"])


def message(segments: list[str]) -> bytes:
    return ("\r".join(segments) + "\r").encode()


def mapped(body: bytes, context: Context = HERE) -> Mapped:
    return MAPS.map(parse(body), context, apart=True)


def by_text(facts: list[AnyFact]) -> list[str]:
    return sorted(map(repr, facts))


def test_what_is_apart_is_what_is_the_patients_alone() -> None:
    found = mapped(message(SEGMENTS))
    assert found.part is not None
    assert [f.kind for f in found.part.facts() if isinstance(f, Fact | Snapshot)] == ["Patient", "RelatedPerson", "Coverage"]
    assert [f.kind for f in found.facts if isinstance(f, Fact)] == ["Practitioner", "Organization", "Encounter"]
    assert found.part.at == 1
    assert str(found.part.patient) == "HOSP|00012345"


def changed(segments: list[str], at: int, field: int, text: str) -> list[str]:
    fields = segments[at].split("|")
    fields += [""] * (field + 1 - len(fields))
    fields[field] = text
    return [*segments[:at], "|".join(fields), *segments[at + 1 :]]


def apart(body: bytes) -> tuple[Mapped, list[AnyFact]]:
    found = mapped(body)
    return found, found.part.facts() if found.part else []


def whole(body: bytes) -> Any:
    try:
        return MAPS.map(parse(body), HERE)
    except Unmappable as error:
        return str(error)


@given(st.lists(st.tuples(st.integers(2, 5), st.integers(1, 50), SAID), min_size=1, max_size=4))
def test_equal_digests_mean_equal_facts(changes: list[tuple[int, int, str]]) -> None:
    segments = SEGMENTS
    for at, field, text in changes:
        segments = changed(segments, at, field, text)
    body = message(segments)
    if isinstance(whole(body), str):
        with pytest.raises(Unmappable, match=re.escape(whole(body))):
            apart(body)
        return
    found, facts = apart(body)
    assert by_text([*found.facts, *facts]) == by_text(whole(body).facts)
    assert sorted(found.warnings) == sorted(whole(body).warnings)
    first = mapped(message(SEGMENTS))
    assert first.part is not None
    if found.part is not None and found.part.digest == first.part.digest:
        assert by_text(facts) == by_text(first.part.facts())


@pytest.mark.parametrize(
    ("at", "field", "same"),
    [
        (0, 10, True),
        (1, 2, True),
        (4, 3, True),
        (4, 19, True),
        (2, 33, True),
        (2, 18, True),
        (2, 5, False),
        (4, 16, False),
        (3, 3, False),
    ],
)
def test_only_what_the_facts_are_made_of_counts(at: int, field: int, same: bool) -> None:
    """The control id, the visit and PID-33 (last update) do not; PV1-16 (importance) does: the patient's map reads it."""
    fields = 1 if at == 0 else 0  # MSH-1 is the mark itself
    first, second = mapped(message(SEGMENTS)), mapped(message(changed(SEGMENTS, at, field - fields, "A0A")))
    assert first.part is not None
    assert second.part is not None
    assert (first.part.digest == second.part.digest) is same


def test_a_list_that_is_missing_is_not_one_that_is_empty() -> None:
    without, empty = [s for s in SEGMENTS if not s.startswith("IN1")], [*SEGMENTS[:5], "IN1"]
    digests = {mapped(message(s)).part.digest for s in (SEGMENTS, without, empty)}  # type: ignore[union-attr]
    assert len(digests) == 3


@pytest.mark.parametrize("other", [Context("EMR", "ocs"), Context("HOSP", "emr"), Context("HOSP", "ocs", "UTC")])
def test_another_channel_means_something_else(other: Context) -> None:
    body = message(SEGMENTS)
    assert mapped(body).part.digest != mapped(body, other).part.digest  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "segments",
    [
        [SEGMENTS[0].replace("A04", "A40"), *SEGMENTS[1:3], "MRG|2^^^HOSP^MR"],
        [SEGMENTS[0].replace("A04", "A17"), *SEGMENTS[1:3], SEGMENTS[4], SEGMENTS[2].replace("12345", "54321"), SEGMENTS[4]],
        [s.replace("^", "#") for s in SEGMENTS],
    ],
    ids=["it says who is one", "two patients", "other delimiters"],
)
def test_what_is_not_one_patients_visit_is_mapped_whole(segments: list[str]) -> None:
    assert mapped(message(segments)).part is None
