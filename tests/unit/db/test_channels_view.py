"""The view of channels, while messages move between its statements."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import Connection

from hub.db.views.channels import status


class Moving:
    """A database in which a lane came to a stop between two statements: answers in the order in which `status` asks."""

    def __init__(self) -> None:
        dead = SimpleNamespace(channel="ocs-in", state="dead", n=1)
        front = SimpleNamespace(lane="in:HOSP|1", channel="ocs-in", message_id=7, state="dead", reason="no_key", at=1)
        behind = [SimpleNamespace(lane="in:HOSP|1", n=2), SimpleNamespace(lane="in:HOSP|2", n=5)]
        self._answers: list[list[Any]] = [[dead], [], [], [], [front], behind, [], []]

    def execute(self, _statement: object) -> list[Any]:
        return self._answers.pop(0)


def test_a_lane_that_stops_meanwhile_is_told_of_by_the_next_look() -> None:
    found = status(cast(Connection, Moving()), ["ocs-in"], now=10)
    assert [(lane.lane, lane.waiting) for lane in found[0].blocked_lanes] == [("in:HOSP|1", 2)]
