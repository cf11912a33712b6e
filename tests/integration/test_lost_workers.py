"""Workers that die, stop or are too late: what they had in hand is neither lost nor done twice nor blamed on the target."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from hub.domain.errors import NotDelivered
from hub.domain.ports import Delivered, Outbound, Verdict
from hub.domain.store import Lease, LeaseLost
from tests.hub_kit import Kit, adt, pv1


def take(kit: Kit, direction: str, owner: str) -> Lease:
    with kit.hub.store.transaction() as tx:
        lease = tx.take(owner, direction, range(kit.hub.buckets), 99, 600)
    assert lease is not None
    return lease


def expire(kit: Kit, direction: str) -> None:
    """As if the holder had died: its lease is over and was not given back."""
    with kit.hub.store.transaction() as tx:
        tx.execute("UPDATE lease SET until = 0 WHERE name LIKE ?", f"{direction}:%")


def test_a_message_that_kills_its_workers_ends_dead_alone(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    poison = kit.receive(adt("A04", "666", pv1("V666")))[0].message_id or 0
    fine = kit.receive(adt("A04", "100", pv1("V1")))[0].message_id or 0
    prepare = type(kit.applier)._prepare

    def dies(self: object, work: object) -> object:
        if work.message_id == poison and work.attempts <= 3:
            raise SystemExit("killed")  # nothing catches it, as nothing catches SIGKILL
        return prepare(self, work)

    monkeypatch.setattr(type(kit.applier), "_prepare", dies)
    deaths = 0
    for number in range(8):
        expire(kit, "in")
        applier, lease = kit.hub.applier(), take(kit, "in", f"worker{number}")
        assert lease.inherited
        try:
            while applier.step(lease):
                pass
            break
        except SystemExit:
            deaths += 1
    assert deaths == 3
    assert (kit.state(poison), kit.state(fine)) == ("dead", "done/applied")


def test_what_a_lost_courier_had_on_its_way_is_due_at_once_and_counted(kit: Kit) -> None:
    kit.receive(adt("A28", "100"))
    kit.apply()
    with kit.hub.store.transaction() as tx:
        tx.execute("UPDATE work SET state = 'in_flight', due = ? WHERE direction = 'out'", tx.now + 300_000_000)
    expire(kit, "out")
    kit.leases["out"] = take(kit, "out", "next")
    kit.deliver()
    sent = kit.target().sent
    assert [m.type for m in sent] == ["patient.created"]
    assert sent[0].attempt == 2


def test_a_target_that_was_never_reached_makes_no_dead_letter_however_often_we_restart(kit: Kit) -> None:
    kit.target().fail = lambda m: NotDelivered("refused connection", reached=False)
    kit.hub.targets()["crm"].breaker.failures_to_open = 99
    kit.receive(adt("A28", "100"))
    kit.apply()
    for number in range(6):
        with kit.hub.store.transaction() as tx:
            tx.execute("UPDATE work SET due = 0 WHERE direction = 'out'")
        kit.courier = kit.hub.courier()
        expire(kit, "out")
        kit.leases["out"] = take(kit, "out", f"courier{number}")
        kit.deliver(steps=6)
        kit.courier.taking = False
        while kit.courier.busy:
            kit.courier.step(kit.leases["out"])
    assert kit.rows("SELECT state, attempts FROM work WHERE direction = 'out' AND channel = 'crm'") == [("queued", 0)]


def test_a_result_that_comes_after_its_lease_was_lost_is_not_written(kit: Kit) -> None:
    kit.receive(adt("A28", "100"))
    kit.apply()
    late = kit.courier
    late.step(kit.leases["out"])  # claimed and sent
    expire(kit, "out")
    other = take(kit, "out", "other")
    with pytest.raises(LeaseLost):
        while True:
            late.step(kit.leases["out"], wait=0.2)
    assert kit.rows("SELECT COUNT(*) FROM outcome o JOIN message m ON m.id = o.message_id WHERE m.direction = 'out'") == [(0,)]
    kit.courier, kit.leases["out"] = kit.hub.courier(), other
    kit.deliver()
    ids = [m.message_id for m in kit.target().sent]
    assert len(set(ids)) == 1  # twice on the wire, under one id


def test_a_result_that_cannot_be_written_is_uncertain_alone(kit: Kit) -> None:
    kit.tell(adt("A28", "1"), adt("A28", "2"))
    kit.target().sent.clear()
    kit.receive(
        adt("A08", "1", at="20991122090000", phone="010-1111-2222"), adt("A08", "2", at="20991122090000", phone="010-3333-4444")
    )
    kit.apply()
    bad = kit.patient_id("1")

    def answer(message: Outbound) -> Delivered:
        return Delivered(detail="204", peer_id="x" if message.patient_id != bad else object(), peer_etag="")  # type: ignore[arg-type]

    kit.target().send = answer
    kit.deliver()
    states = kit.rows("SELECT w.state FROM work w WHERE w.direction = 'out' AND w.channel = 'crm'")
    assert states == [("uncertain",)]


def test_the_same_again_after_other_content_under_its_control_id(kit: Kit) -> None:
    """A, then B under A's control id, then A resent: A is known, although B came last."""
    first = adt("A04", "1", pv1("V1"), control="C1")
    a = kit.receive(first)[0]
    b = kit.receive(adt("A04", "2", pv1("V2"), control="C1"))[0]
    again = kit.receive(first)[0]
    assert b.reused
    assert (again.verdict, again.duplicate_of) == (Verdict.STORED, a.message_id)


def test_a_number_that_the_front_office_made_meanwhile_is_no_dead_letter(kit: Kit) -> None:
    from hub.sync import apply

    message = kit.receive(adt("A28", "100"))[0].message_id or 0
    confirm = apply.Plan.compute
    made = []

    def meanwhile(self: apply.Plan, tx: object, run: object) -> None:
        confirm(self, tx, run)
        if not made:
            values = {"name": [{"text": "홍길동"}], "identifier": [{"assigner": "HOSP", "value": "100"}]}
            with ThreadPoolExecutor(1) as desk:  # the front office is another process
                made.append(desk.submit(kit.hub.front_office.create_patient, values, actor="token:desk").result())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply.Plan, "compute", meanwhile)
        kit.apply()
    assert kit.state(message) == "done/applied"
    assert kit.patient_id("100") == made[0].resource_id
