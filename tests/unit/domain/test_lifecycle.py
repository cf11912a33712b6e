"""The life-cycle's table: every state with every step, what can be reached, and its picture in docs/."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hub.domain.lifecycle import FINAL, TRANSITIONS, Answer, IllegalStep, Outcome, State, Step, after

ROOT = Path(__file__).resolve().parents[3]
TABLE = """
                claim      succeed  defer   lose       reject  exhaust  confirm  deny    replay  discard    decline  accept
    queued      in_flight  -        -       -          -       -        -        -       -       -          -        -
    in_flight   -          done     queued  uncertain  dead    dead     -        -       -       -          -        -
    uncertain   -          -        -       -          -       -        done     queued  queued  discarded  -        -
    dead        -          -        -       -          -       -        -        -       queued  discarded  -        done
    done        -          -        -       -          -       -        -        -       -       -          dead     -
    discarded   -          -        -       -          -       -        -        -       -       -          -        -
    refused     -          -        -       -          -       -        -        -       -       -          -        -
"""  # design.md, "A message's life"
_HEAD, *_LINES = [line.split() for line in TABLE.strip("\n").splitlines()]
PAIRS = [(State(line[0]), Step(step), to) for line in _LINES for step, to in zip(_HEAD, line[1:], strict=True)]


def test_the_table_names_every_state_and_every_step() -> None:
    assert {state for state, _, _ in PAIRS} == set(State)
    assert {step for _, step, _ in PAIRS} == set(Step)
    assert len(PAIRS) == len(State) * len(Step)


@pytest.mark.parametrize(("state", "step", "to"), PAIRS, ids=str)
def test_every_step_in_every_state(state: State, step: Step, to: str) -> None:
    if to == "-":
        with pytest.raises(IllegalStep, match=f"a {state} message cannot {step}"):
            after(state, step)
    else:
        assert after(state, step) is State(to)


def _reachable(start: State) -> set[State]:
    found, todo = {start}, [start]
    while todo:
        state = todo.pop()
        fresh = {to for (from_, _), to in TRANSITIONS.items() if from_ is state} - found
        found |= fresh
        todo += fresh
    return found


def test_a_queued_message_can_come_to_every_state_but_refused() -> None:
    """REFUSED is given at intake, to what never was queued."""
    assert _reachable(State.QUEUED) == set(State) - {State.REFUSED}


@pytest.mark.parametrize("state", sorted(FINAL))
def test_nothing_leaves_a_final_state(state: State) -> None:
    """But for a target that took a message, and then says that it will not have it."""
    if state is State.DONE:
        assert {step for from_, step in TRANSITIONS if from_ is state} == {Step.DECLINE}
    else:
        assert _reachable(state) == {state}


@pytest.mark.parametrize("state", sorted(set(State) - FINAL))
def test_from_every_other_state_there_is_a_way_to_an_end(state: State) -> None:
    assert _reachable(state) & FINAL


def test_a_person_can_end_whatever_waits_for_a_person() -> None:
    for state in (State.DEAD, State.UNCERTAIN):
        assert after(state, Step.REPLAY) is State.QUEUED
        assert after(state, Step.DISCARD) is State.DISCARDED


def test_texts_are_stored_and_never_change() -> None:
    assert [str(s) for s in State] == ["queued", "in_flight", "done", "uncertain", "dead", "discarded", "refused"]
    assert [str(o) for o in Outcome] == ["applied", "ignored", "stale", "delivered"]
    assert [str(a) for a in Answer] == ["not_owed", "owed", "sent", "undelivered"]


def test_the_picture_in_the_docs_is_the_table() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "lifecycle_diagram.py", "--print"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    ).stdout
    page = (ROOT / "docs" / "lifecycle.md").read_text(encoding="utf-8")
    assert page == made, "docs/lifecycle.md is not what scripts/lifecycle_diagram.py draws: run it"
    for (state, step), to in TRANSITIONS.items():
        assert f"    {state} --> {to}: {step}\n" in page
