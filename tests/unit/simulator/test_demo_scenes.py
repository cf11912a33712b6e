"""The demo's messages are what the story says they are: readable or not, mappable or not, the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.codecs.hl7v2 import parse, peek
from hub.codecs.hl7v2.reader import Message
from hub.domain.errors import Unmappable, Unreadable
from hub.domain.facts import Merge
from hub.mapping import Context, load_maps
from hub.simulator.demo import scenes
from hub.simulator.demo.verdict import Verdict
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.journeys import Step, journeys, poison

CONTEXT = Context("HOSP", "ocs", "Asia/Seoul", 0)
DESK = Hl7Sender("127.0.0.1", 1)  # never started: it only writes messages here


def message(step: Step) -> Message:
    return parse(DESK.compose(step.event, step.segments, "C1", step.at), "utf-8")


def test_the_same_seed_tells_the_same_story() -> None:
    one, other = ([(s.event, s.patient, s.about) for s in journeys(patients=20, seed=3)] for _ in range(2))
    assert one == other
    assert one != [(s.event, s.patient, s.about) for s in journeys(patients=20, seed=4)]


def test_every_journey_maps_and_holds_what_the_issue_asks_for() -> None:
    maps = load_maps()
    events = set()
    for step in journeys(patients=30, seed=7):
        events.add(step.event)
        assert maps.map(message(step), CONTEXT).facts
    assert events >= {"ADT^A01", "ADT^A02", "ADT^A03", "ADT^A04", "ADT^A08", "ADT^A11", "ADT^A31", "ADT^A40"}
    assert events >= {"SIU^S12", "SIU^S13", "SIU^S15"}


def test_every_journey_can_be_told_in_ks_x_1001() -> None:
    desk = Hl7Sender("127.0.0.1", 1, charset="cp949")
    for step in journeys(patients=40, seed=7):
        body = desk.compose(step.event, step.segments, "C1", step.at)
        assert peek(body).codec == "cp949"
        parse(body, "utf-8")


def test_times_of_one_patient_run_forward() -> None:
    last: dict[str, str] = {}
    for step in journeys(patients=25, seed=5):
        assert step.at > last.get(step.patient[1:], "")
        last[step.patient[1:]] = step.at


def test_one_a40_is_two_merges() -> None:
    facts = load_maps().map(message(scenes.two_merges()), CONTEXT).facts
    merges = [(one.survivor.value, one.prior.value) for one in facts if isinstance(one, Merge)]
    assert merges == [("80000003", "80000013"), ("80000004", "80000014")]


@pytest.mark.parametrize("step", [scenes.unnumbered_booking(), poison()])
def test_poison_reads_but_does_not_map(step: Step) -> None:
    with pytest.raises(Unmappable):
        load_maps().map(message(step), CONTEXT)


def test_a_line_in_a_map_is_the_antidote(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(scenes.SITE_MAP, encoding="utf-8")
    assert load_maps([tmp_path]).map(message(scenes.unnumbered_booking()), CONTEXT).facts


def test_the_broken_message_is_broken() -> None:
    assert peek(scenes.BROKEN).control_id == "BROKEN-1"
    with pytest.raises(Unreadable):
        parse(scenes.BROKEN, "utf-8")


def test_what_has_no_map_has_none() -> None:
    assert not load_maps().handles(scenes.unmapped().event)


def test_a_verdict_names_what_failed() -> None:
    verdict = Verdict()
    assert verdict.equal("one is one", 1, 1)
    assert not verdict.equal("one is two", 1, 2)
    assert not verdict.until("never", lambda: False, seconds=0.01)
    summary = verdict.summary()
    assert summary["ok"] is False
    assert summary["checks"] == 3
    assert summary["failed"] == ["one is two (1, not 2)", "never (not within 0 s)"]
