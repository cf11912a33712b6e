"""Apply steps back for a flood only, and never for long."""

from __future__ import annotations

import pytest

from hub.sync.courtesy import MOST_SECONDS, PATIENCE_US, REST, WINDOW_US, Courtesy

SECOND = WINDOW_US / 1e6


@pytest.mark.parametrize(
    ("applied", "took", "a_second", "waited_us", "rests"),
    [
        (50, 0.05, 500, 0, 0.0),  # 1,000 a second can be applied, 500 come
        (50, 0.05, 990, 0, 0.0),  # it keeps up, just
        (50, 0.05, 2_500, 0, REST * 0.05),
        (50, 0.05, 2_500, PATIENCE_US - 1, REST * 0.05),
        (50, 0.05, 2_500, PATIENCE_US, 0.0),  # somebody has waited long enough
        (1, 0.5, 2_500, 0, MOST_SECONDS),
        (1, 0.001, 0, 0, 0.0),
    ],
)
def test_it_rests_while_more_comes_than_it_can_do(
    applied: int, took: float, a_second: float, waited_us: int, rests: float
) -> None:
    times, slept = iter([10.0, 10.0 + took]), []
    courtesy = Courtesy(slept.append, lambda: next(times))
    courtesy.begin()
    courtesy.rest(applied, a_second * SECOND, waited_us)
    assert sum(slept) == pytest.approx(rests)
