"""The journey through all four systems: its messages mean what they say; SAP's books answer filters as they are asked."""

from __future__ import annotations

from typing import Any

import pytest

from hub.codecs.hl7v2 import parse
from hub.domain.facts import Fact
from hub.mapping import Context, load_maps
from hub.simulator.demo import scenes
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.imaging import STATION, Traveller
from hub.simulator.journeys import Step
from hub.simulator.sap_books import _fits

CONTEXT = Context("HOSP", "ocs", "Asia/Seoul", 0)
DESK = Hl7Sender("127.0.0.1", 1)  # never started: it only writes messages here
TRAVELLERS = [Traveller(one) for one in scenes.TRAVELLERS]


def said(step: Step) -> dict[str, dict[str, Any]]:
    body = DESK.compose(step.event, step.segments, "C1", step.at)
    facts = load_maps().map(parse(body, "utf-8"), CONTEXT).facts
    return {fact.kind: fact.values for fact in facts if isinstance(fact, Fact)}


def test_a_ct_is_ordered_for_a_station_under_an_accession_number() -> None:
    for one in TRAVELLERS:
        order = said(one.ordered())["ServiceRequest"]
        assert (order["category"], order["modality"], order["station"]) == ("imaging", "CT", STATION)
        numbers = {(number["type"], number["value"]) for number in order["identifier"]}
        assert numbers >= {("PLAC", one.placer), ("ACSN", one.accession)}


def test_a_report_is_final_and_names_its_order() -> None:
    report = said(TRAVELLERS[0].reported())["DiagnosticReport"]
    assert report["status"] == "final"
    assert {"assigner": "OCS", "value": TRAVELLERS[0].placer, "type": "PLAC"} in report["identifier"]


def test_no_two_travellers_share_a_number_and_all_have_names_that_only_unicode_or_cp949_can_say() -> None:
    assert len({number for one in TRAVELLERS for number in (one.number, one.placer, one.accession)}) == 3 * len(TRAVELLERS)
    assert {one.name for one in TRAVELLERS} >= {"펲시콜라", "똠방각하", "洪吉洞"}


ENTITY = {"A": "5", "B": "x", "D": "/Date(1795305600000)/", "N": None}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ("A eq '5'", True),
        ("A eq '4' or B eq 'x'", True),
        ("A eq '4' or A eq '5' and B eq 'y'", False),
        ("(A eq '4' or A eq '5') and B eq 'x'", True),
        ("(A gt '4') and (B eq 'y' or (B eq 'x' and A lt '9'))", True),
        ("D ge datetime'2026-11-22T00:00:00' and A eq '5'", True),
        ("D gt datetimeoffset'2026-11-22T00:00:00Z'", False),
        ("N eq 'x' or N eq 'y' or A eq '5'", True),
        ("B eq 'O''Neill'", False),
    ],
)
def test_saps_books_answer_a_filter_as_it_is_asked(text: str, fits: bool) -> None:
    assert _fits(text, ENTITY) is fits
