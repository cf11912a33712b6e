"""What a target is told of earlier deliveries: its own id of a patient, what it was last sent, what stood before the change."""

from __future__ import annotations

from hub.domain.ports import Delivered
from tests.hub_kit import Kit, adt


def test_the_second_message_of_a_claimed_lane_knows_what_the_first_one_taught(kit: Kit) -> None:
    kit.target().answer = Delivered(peer_id="p-1", peer_etag="v1")
    kit.receive(adt("A04", "100"), adt("A08", "100", phone="01012345678", at="20261122090100"))
    kit.apply()
    kit.deliver()
    assert [(m.type, m.peer_id) for m in kit.target().sent] == [("patient.created", None), ("patient.updated", "p-1")]


def test_a_changed_phone_comes_with_what_was_sent_and_what_stood_before(kit: Kit) -> None:
    kit.hub.targets()["crm"].as_event = False
    mobile = {"system": "phone", "use": "mobile", "value": "010-1234-5678"}
    kit.target().answer = Delivered(peer_id="p-1", sent_fields={"telecom.mobile": mobile})
    for n, phone in enumerate(("01012345678", "01099998888")):
        kit.receive(adt("A08" if n else "A04", "100", phone=phone, at=f"202611220901{n:02}"))
        kit.apply()
        kit.deliver()
    first, second = kit.target().sent
    assert (first.said, first.before) == ({}, {})
    assert second.changed == ["telecom.mobile"]
    assert second.said == {"telecom.mobile": mobile}
    assert [one["value"] for one in second.before["telecom"]] == [one["value"] for one in first.resource["telecom"]]
    assert second.before["telecom"] != second.resource["telecom"]
