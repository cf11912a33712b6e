"""A change's receivers in SAP's words: every state has a code, and the whole follows from its parts."""

from __future__ import annotations

import pytest

from hub.domain.lifecycle import UNCONFIRMED, State
from hub.domain.receivers import CODES, NAMES, code_of, code_of_all


@pytest.mark.parametrize(("state", "reason", "attempts", "verdict", "code"), [
    ("", "", 0, "", "I02"), ("queued", "", 0, "", "I02"), ("queued", "503", 2, "not_delivered", "R01"),
    ("queued", "no connection", 0, "not_delivered", "R01"), ("in_flight", "", 1, "", "I04"),
    ("done", UNCONFIRMED, 0, "delivered", "O01"),
    ("done", "", 0, "confirmed", "F02"), ("dead", "SAP 51", 0, "refused", "F01"),
    ("dead", "10 attempts", 10, "not_delivered", "E06"),
    ("uncertain", "", 1, "outcome_unknown", "E01"), ("discarded", "", 0, "", "F03"), ("refused", "", 0, "", "F01"),
])  # fmt: skip
def test_a_receiver(state: str, reason: str, attempts: int, verdict: str, code: str) -> None:
    assert code_of(state, reason, attempts, verdict) == code


def test_every_state_has_one() -> None:
    assert {code_of(state, "", 0) for state in State} <= NAMES.keys()
    assert len({one.code for one in CODES}) == len(CODES)


@pytest.mark.parametrize(("codes", "code"), [
    ([], "F05"), (["F02", "F02"], "F04"), (["F02", "F03"], "F04"), (["F02", "O01"], "O01"), (["I02"], "O01"),
    (["F01", "F02"], "E02"),
    (["F01"], "F01"), (["E06", "E06"], "E06"), (["E06", "R01"], "E02"), (["F01", "E06"], "E02"),
])  # fmt: skip
def test_the_whole(codes: list[str], code: str) -> None:
    assert code_of_all(codes) == code
    assert code in NAMES
