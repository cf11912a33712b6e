"""The keeper's pace: it signs what is there and does not run after what comes meanwhile."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from hub.bootstrap import keeper
from hub.bootstrap.keeper import Keeper
from hub.bootstrap.watchdog import Beat
from hub.db.audit import FULL_STEP
from hub.domain.errors import Misconfigured


class Sequencer:
    """Signs as many entries a step as it is told, and remembers when."""

    def __init__(self, *counts: int) -> None:
        self.counts = list(counts)
        self.times: list[float] = []

    def step(self) -> int:
        self.times.append(time.monotonic())
        return self.counts.pop(0) if self.counts else 1


class Store:
    def __init__(self) -> None:
        self.tidied = 0
        self.long = False

    def tidy(self) -> None:
        self.tidied += 1

    def log_is_long(self) -> bool:
        return self.long


def a_keeper(sequencer: Any, store: Store | None = None) -> Keeper:
    hub: Any = SimpleNamespace(sequencer=lambda: sequencer, store=store or Store())
    made = Keeper(hub, Beat())
    made._purge = lambda: None  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize(
    ("counts", "steps"), [((0,), 1), ((3, 3, 3), 1), ((FULL_STEP, FULL_STEP, 9, 9), 3), ((FULL_STEP - 1, 5), 1)]
)
def test_it_stops_at_the_first_step_that_was_not_full(counts: tuple[int, ...], steps: int) -> None:
    sequencer = Sequencer(*counts)
    a_keeper(sequencer)._sign()
    assert len(sequencer.times) == steps


class Clock:
    """Time that passes only while the keeper waits; the wait number `turns` is the end."""

    def __init__(self, turns: int) -> None:
        self.now, self.turns, self.waits = 1000.0, turns, list[float]()

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self.waits.append(seconds)
        return len(self.waits) > self.turns


def test_entries_that_never_cease_are_signed_at_a_steady_pace_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, sequencer, store = Clock(turns=30), Sequencer(), Store()
    monkeypatch.setattr(keeper, "time", clock)
    a_keeper(sequencer, store).run(clock)  # type: ignore[arg-type]  # it only waits
    assert max(clock.waits) <= 0.5
    assert len(sequencer.times) == 30 + 1  # once a wait, however much there is, and once at the end
    assert store.tidied == 8  # the first time, and every fourth: TIDY_SECONDS are past after four waits
    store.long = True
    a_keeper(sequencer, store).run(Clock(turns=5))  # type: ignore[arg-type]  # as above
    assert store.tidied == 8 + 5


def test_an_altered_log_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Sequencer):
        def step(self) -> int:
            raise Misconfigured("the log was altered")

    one = a_keeper(Broken())
    for _ in range(3):
        one._sign()
    assert [r.getMessage() for r in caplog.records] == ["the audit log is not signed any more"]
