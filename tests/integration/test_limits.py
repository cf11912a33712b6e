"""Before the disk or the queue is full, intake says TRY_AGAIN; nothing is stored, nothing breaks."""

from dataclasses import replace

import pytest

from hub.bootstrap.limits import why_full
from hub.domain.ports import Verdict
from tests.hub_kit import Kit, adt


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"disk_free_mb": 1 << 40}, "the disk is nearly full"), ({"queue": 1}, "too many messages are waiting"), ({}, "")],
)
def test_why_full(kit: Kit, limits: dict[str, int], reason: str) -> None:
    kit.receive(adt("A04", "1"), adt("A04", "2"))
    kit.hub.config = replace(kit.hub.config, limits=replace(kit.hub.config.limits, **limits))
    assert why_full(kit.hub) == reason


def test_intake_turns_senders_away(kit: Kit) -> None:
    kit.intake.full = "the disk is nearly full"
    receipt = kit.receive(adt("A04", "1"))[0]
    assert (receipt.verdict, receipt.reason) == (Verdict.TRY_AGAIN, "the disk is nearly full")
    assert kit.rows("SELECT COUNT(*) FROM message") == [(0,)]
