"""The simulated hospital says what the hub can read: every step of every journey maps, and only the poison does not."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from hub.codecs.hl7v2 import parse, peek, write
from hub.codecs.mllp import Splitter
from hub.domain.errors import Unmappable
from hub.domain.facts import Fact, Merge
from hub.mapping import load_maps
from hub.mapping.engine import Context
from hub.simulator.journeys import SEOUL, Step, journeys, poison
from hub.simulator.load import message

MAPS = load_maps()
BEGIN = datetime(2026, 11, 22, 9, tzinfo=SEOUL)


def mapped(step: Step, charset: str) -> Any:
    kind, _, trigger = step.event.partition("^")
    msh = {3: "OCS", 4: "HOSP", 7: "20261122090000", 9: (kind, trigger), 10: "1", 11: "P", 12: "2.5"}
    body = write([("MSH", msh), *step.segments], charset=charset)
    return MAPS.map(parse(body, charset), Context("HOSP", "ocs"))


@pytest.mark.parametrize("charset", ["utf-8", "cp949"])
def test_every_step_maps(charset: str) -> None:
    events: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for step in journeys(patients=40, begin=BEGIN):
        facts = mapped(step, charset).facts
        assert facts, step.event
        events[step.event] += 1
        kinds.update(fact.kind for fact in facts if isinstance(fact, Fact))
        if step.event == "ADT^A40":
            assert sum(isinstance(fact, Merge) for fact in facts) == 1
    assert {"ADT^A01", "ADT^A02", "ADT^A03", "ADT^A04", "ADT^A08", "ADT^A11", "ADT^A31", "ADT^A40"} <= set(events)
    assert {"SIU^S12", "SIU^S13", "SIU^S15"} <= set(events)
    assert {"Patient", "Encounter", "Appointment", "Practitioner"} <= set(kinds)


def test_a_seed_gives_the_same_journeys_and_a_patient_keeps_its_order() -> None:
    one = list(journeys(patients=12, seed=3, begin=BEGIN))
    assert one == list(journeys(patients=12, seed=3, begin=BEGIN))
    assert one != list(journeys(patients=12, seed=4, begin=BEGIN))
    times: dict[str, str] = {}
    for step in one:
        if step.segments[0][0] == "EVN":
            at = str(step.segments[0][1][2])
            assert times.get(step.patient, "") < at
            times[step.patient] = at


def test_no_registration_number_is_anybodys() -> None:
    for step in journeys(patients=30, begin=BEGIN):
        for name, fields in step.segments:
            if name == "PID":
                assert str(fields[19])[2:4] == "13"


def test_the_poison_does_not_map() -> None:
    with pytest.raises(Unmappable):
        mapped(poison(), "utf-8")


def test_a_load_message_is_one_frame_that_the_hub_reads() -> None:
    (body,) = Splitter().feed(message("B", 7, 2, "B-0-1"))
    head = peek(body)
    assert (head.type, head.control_id, head.patient) == ("ADT^A04", "B-0-1", ("HOSP", "BP0000007"))
    facts = MAPS.map(parse(body), Context("HOSP", "ocs")).facts
    assert {"Patient", "Encounter"} <= {fact.kind for fact in facts if isinstance(fact, Fact)}
    encounter = next(fact for fact in facts if isinstance(fact, Fact) and fact.kind == "Encounter")
    assert encounter.key.value == "BV0000007-000002"
