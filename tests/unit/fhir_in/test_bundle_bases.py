"""References in a bundle whose entries come from many servers: each is looked up, none compared with every address."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from hub.codecs.fhir_bundle_in import Entry, entries, relate


def bundle(size: int, reference: str) -> dict[str, Any]:
    """As many addresses as entries, and ten references in each."""
    return {
        "resourceType": "Bundle", "type": "collection",
        "entry": [
            {
                "fullUrl": f"http://s{at}.x/fhir/Observation/{at}",
                "resource": {
                    "resourceType": "Observation", "id": str(at), "derivedFrom": [{"reference": reference} for _ in range(10)],
                },
            }
            for at in range(size)
        ],
    }  # fmt: skip


def work(size: int, reference: str) -> int:
    """Calls, of C too, that it takes to read the entries of such a bundle."""
    calls, told = 0, bundle(size, reference)

    def count(_frame: FrameType, event: str, _what: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        entries(told, lambda _: "h", size)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("reference", ["http://zzzz/A/1", "Patient/1", "http://zzzz/" + "Aa/" * 200, "Patient?identifier=a|b"])
def test_twice_the_entries_are_twice_the_work(reference: str) -> None:
    assert work(100, reference) < 2.2 * work(50, reference)


BASES = {"http://a.example/fhir/", "https://b.example/FHIR/R4/"}


@pytest.mark.parametrize(
    ("told", "becomes"),
    [
        ("http://a.example/fhir/Patient/1", "Patient/1"),
        ("https://b.example/FHIR/R4/Patient/1/_history/2", "Patient/1/_history/2"),
        ("http://a.example/fhir/Patient/1#x", "Patient/1#x"),
        ("http://a.example/fhir/Patient/a-b.c", "Patient/a-b.c"),
        ("http://a.example/fhir/other/Patient/1", "http://a.example/fhir/other/Patient/1"),
        ("http://c.example/fhir/Patient/1", "http://c.example/fhir/Patient/1"),
        ("Patient/1", "Patient/1"),
        ("http://a.example/fhir/", "http://a.example/fhir/"),
        ("http://a.example/fhir/Patient/" + "1" * 65, "http://a.example/fhir/Patient/" + "1" * 65),
    ],
)
def test_only_below_an_address_of_the_bundle_is_a_reference_its_own(told: str, becomes: str) -> None:
    reference: dict[str, Any] = {"reference": told}
    relate(reference, {}, BASES)
    assert reference == {"reference": becomes}


def test_a_condition_below_such_an_address_is_a_logical_reference() -> None:
    reference: dict[str, Any] = {"reference": "http://a.example/fhir/Patient?identifier=urn:x|1"}
    relate(reference, {}, BASES)
    assert reference == {"type": "Patient", "identifier": {"system": "urn:x", "value": "1"}}


def test_of_a_bundle_the_addresses_are_those_of_its_entries() -> None:
    told = bundle(2, "http://s1.x/fhir/Patient/7")
    (first, _) = entries(told, lambda _: "h", 2)
    assert isinstance(first, Entry)
    assert first.document["derivedFrom"][0] == {"reference": "Patient/7"}
