"""A target's own id of a patient, learnt from one delivery, is known to the next of the same lane (hub/sync/deliver.py)."""

from __future__ import annotations

from hub.domain.ports import Delivered
from tests.hub_kit import Kit, adt


def test_the_second_message_of_a_claimed_lane_knows_what_the_first_one_taught(kit: Kit) -> None:
    kit.target().answer = Delivered(peer_id="p-1", peer_etag="v1")
    kit.receive(adt("A04", "100"), adt("A08", "100", phone="01012345678", at="20261122090100"))
    kit.apply()
    kit.deliver()
    assert [(m.type, m.peer_id) for m in kit.target().sent] == [("patient.created", None), ("patient.updated", "p-1")]
