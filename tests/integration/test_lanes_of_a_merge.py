"""What goes from one patient to another keeps its order on the way out: the lanes of both are waited for (promise 3)."""

from __future__ import annotations

from hub.domain.errors import HubError, NotDelivered
from hub.domain.ports import Outbound
from tests.hub_kit import Kit, adt, hl7, pid, pv1

KIN = "NK1|1|홍^판서|FTH"


def slow_lane(kit: Kit, number: str, times: int) -> None:
    """The first `times` attempts for this patient's own lane find the CRM away; everybody else's are delivered."""
    owner, left = kit.patient_id(number), [times]

    def fail(message: Outbound) -> HubError | None:
        if message.patient_id == owner and left[0] > 0:
            left[0] -= 1
            return NotDelivered("away", reached=False)
        return None

    kit.target().fail = fail


def overtaken(kit: Kit) -> list[list[tuple[int, str]]]:
    """Resources of which the CRM heard an older version after a newer one."""
    heard: dict[str, list[tuple[int, str]]] = {}
    for message in kit.target().sent:
        heard.setdefault(message.resource_id, []).append((message.version, message.type))
    return [seen for seen in heard.values() if seen != sorted(seen)]


def test_a_merge_waits_for_what_the_prior_patient_still_has_to_tell(kit: Kit) -> None:
    kit.receive(adt("A04", "100", KIN, pv1("V1")), adt("A04", "200", KIN, pv1("V2")))
    kit.apply()
    slow_lane(kit, "200", 3)
    kit.receive(hl7("ADT^A40", pid("100"), "MRG|200^^^HOSP^MR", at="20261122090100"))
    kit.receive(adt("A08", "200", KIN, pv1("V2", department="ER"), at="20261122090200"))
    kit.apply()
    kit.deliver()
    assert "patient.merged" in kit.target().types()
    assert overtaken(kit) == []


def test_an_unmerge_waits_for_what_the_survivor_still_has_to_tell(kit: Kit) -> None:
    kit.tell(adt("A04", "100", KIN, pv1("V1")), adt("A04", "200", KIN, pv1("V2")))
    kit.tell(hl7("ADT^A40", pid("100"), "MRG|200^^^HOSP^MR", at="20261122090100"))
    kit.receive(adt("A08", "200", KIN, pv1("V2", department="ER"), at="20261122090200"))
    kit.apply()
    slow_lane(kit, "100", 3)
    kit.receive(hl7("ADT^A37", pid("100"), pid("200"), at="20261122090300"))
    kit.receive(adt("A08", "200", KIN, pv1("V2", department="OS"), at="20261122090400"))
    kit.apply()
    kit.deliver()
    assert "patient.unmerged" in kit.target().types()
    assert overtaken(kit) == []


def test_a_moved_visit_waits_for_its_former_patient(kit: Kit) -> None:
    kit.receive(adt("A04", "100", pv1("V1")), adt("A04", "200", pv1("V2")))
    kit.apply()
    slow_lane(kit, "200", 3)
    kit.receive(hl7("ADT^A45", pid("100"), "MRG|200^^^HOSP^MR", pv1("V2"), at="20261122090100"))
    kit.apply()
    kit.deliver()
    assert overtaken(kit) == []
    assert sum(m.kind == "Encounter" for m in kit.target().sent) == 3
