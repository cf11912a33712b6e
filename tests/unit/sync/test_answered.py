"""What is known of answers: runs of ids as one row, with a commit of the next quarter of a second."""

from __future__ import annotations

import time

import pytest

from hub.domain.rows import AnsweredRow
from hub.sync.intake import IntakeService
from tests.fakes.store import FakeStore


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> IntakeService:
    return IntakeService(FakeStore(), None, {}, 1)  # type: ignore[arg-type]


def test_runs_of_ids_are_one_row_but_where_an_answer_was_lost(service: IntakeService) -> None:
    for first, last, lost in ((1, 3, []), (4, 8, []), (9, 9, [9]), (10, 12, []), (20, 21, []), (22, 22, [])):
        service.answered(first, last, lost)
    assert service._take_answered(0.0) == [
        AnsweredRow(1, 8, "[]"), AnsweredRow(9, 9, "[9]"), AnsweredRow(10, 12, "[]"), AnsweredRow(20, 22, "[]"),
    ]  # fmt: skip
    assert service._take_answered(0.0) == []


def test_they_wait_a_quarter_of_a_second_for_each_other(service: IntakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    service.answered(1, 1, [])
    now = 100.2
    service.answered(2, 2, [])
    assert service._take_answered() == []
    now = 100.26
    assert service._take_answered() == [AnsweredRow(1, 2, "[]")]
