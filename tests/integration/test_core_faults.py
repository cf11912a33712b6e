"""Faults of the core on both databases: values no database holds, two workers at once, retention, operators, merged targets."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.audit.entry import check_detail
from hub.config.model import RetentionSection
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused, TryAgain
from hub.domain.lifecycle import IllegalStep
from hub.domain.ports import Delivered, Outbound
from hub.domain.store import Lease
from hub.sync.retention import Retention
from tests.hub_kit import Kit, adt, hl7, make_kit, pid, pv1, received

DESK = {"actor": "token:desk"}
PERSON = {"reason": "looked into it", "actor": "token:test"}


def test_a_value_that_no_database_holds_dies_alone(kit: Kit) -> None:
    """NUL by an HL7 escape (§2.7.4): its neighbours of the same batch are applied."""
    bodies = [adt("A04", "1", pv1("V1")), adt("A04", "2", pv1("V2"), name="홍\\X00\\^길동"), adt("A04", "3", pv1("V3"))]
    ids = [receipt.message_id or 0 for receipt in kit.receive(*bodies)]
    kit.apply()
    assert [kit.state(i) for i in ids] == ["done/applied", "dead", "done/applied"]
    [(reason,)] = kit.rows("SELECT reason FROM work WHERE message_id = ?", ids[1])
    assert "our bug" not in reason


def test_nul_in_a_patient_number_is_stored_and_costs_no_neighbour(kit: Kit) -> None:
    bad = received(adt("A04", "1", pv1("V1")), "ocs-in")
    assert bad.patient is not None
    bad.patient = bad.patient._replace(value="1\x00\ud800")
    bad.charset = "\x00"
    receipts = kit.intake.store([bad, received(adt("A04", "2", pv1("V2")), "ocs-in")])
    assert all(r.message_id for r in receipts)


def test_what_came_after_a_merge_waits_for_it_in_both_lanes(kit: Kit) -> None:
    """The merge waits for the prior's lane; what follows it in the survivor's lane must not overtake it."""
    first = kit.receive(adt("A04", "2", pv1("V2")))[0].message_id or 0
    kit.receive(hl7("ADT^A40", pid("1"), "MRG|2^^^HOSP^MR", at="20261122091000"))
    kit.receive(adt("A08", "1", at="20261122092000"), adt("A08", "2", at="20261122092000"))
    kit.applier._batch = 99
    ends = []
    while kit.applier.step(kit.leases["in"]):
        ends.append([r[0] for r in kit.rows("SELECT message_id FROM outcome ORDER BY message_id")])
    assert ends == [[first], [first, first + 1], [first, first + 1, first + 2, first + 3]]


def test_one_step_stops_at_the_poison_of_a_lane(kit: Kit) -> None:
    poison = adt("A08", "1", at="20261122090500").replace("홍".encode(), b"\xff")
    ids = [r.message_id or 0 for r in kit.receive(adt("A04", "1"), poison, adt("A08", "1", at="20261122091000"), adt("A04", "2"))]
    assert kit.applier.step(kit.leases["in"]) == 4
    assert [kit.state(i) for i in ids] == ["done/applied", "dead", "queued", "done/applied"]


@pytest.mark.postgres
def test_two_workers_with_the_same_doctors_lose_nothing(tmp_path: Path, postgres_url: str) -> None:
    """Different patients in different buckets name the same new practitioners: who is second tries again."""
    kit = make_kit(tmp_path, postgres_url)
    doctors = [pv1("V").replace("D1^이^의사", f"D{n}^이^의사{n}") for n in range(6)]
    for n in range(60):
        kit.receive(adt("A04", f"{n}", doctors[n % 6].replace("|V^^^HOSP|", f"|V{n}^^^HOSP|")))
    with kit.hub.store.transaction() as tx:
        tx.release(kit.leases["in"])
    errors: list[BaseException] = []

    def worker(owner: str, buckets: list[int], gate: threading.Barrier) -> None:
        try:
            applier = kit.hub.applier()
            applier._batch = 40
            with kit.hub.store.transaction() as tx:
                lease = tx.take(owner, "in", buckets, 99, 600)
            assert isinstance(lease, Lease)
            gate.wait(10)
            for _ in range(200):
                try:
                    if not applier.step(lease):
                        return
                except TryAgain:
                    continue
            raise AssertionError("never came to an end")
        except BaseException as error:
            errors.append(error)
        finally:
            kit.hub.store.close()

    gate = threading.Barrier(2)
    halves = [list(range(0, kit.hub.buckets, 2)), list(range(1, kit.hub.buckets, 2))]
    threads = [threading.Thread(target=worker, args=(f"w{n}", half, gate)) for n, half in enumerate(halves)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert kit.rows("SELECT outcome, COUNT(*) FROM outcome GROUP BY outcome") == [("applied", 60)]
    made = dict(kit.rows("SELECT kind, COUNT(*) FROM resource GROUP BY kind"))
    assert (made["Patient"], made["Practitioner"]) == (60, 6)
    kit.close()


# ---- retention ------------------------------------------------------------------------------------------------------


def test_retention_erases_by_age_and_never_what_is_undelivered(kit: Kit) -> None:
    kit.target().fail = lambda m: NotDelivered("503", reached=False) if m.patient_id == waits else None
    ids = {}
    for number in ("done", "waiting", "queued"):
        ids[number] = kit.receive(adt("A28", number))[0].message_id or 0
        if number != "queued":
            kit.apply()
    waits = kit.patient_id("waiting")
    ids["dead"] = kit.receive(adt("A28", "dead").replace("홍".encode(), b"\xff"))[0].message_id or 0
    kit.deliver(steps=40)
    with kit.hub.store.transaction() as tx:
        tx.execute("UPDATE message SET at = 1")
        tx.execute("UPDATE work SET due = 9000000000000000 WHERE direction = 'in'")
    counts = Retention(kit.hub.store, RetentionSection()).purge()
    left = {r[0] for r in kit.rows("SELECT id FROM message WHERE direction = 'in' AND body IS NOT NULL")}
    assert left == {ids["waiting"], ids["queued"], ids["dead"]}
    assert counts["done"] == 1
    assert kit.rows("SELECT COUNT(*) FROM outcome")[0][0] > 0
    detail = orjson.loads(kit.rows("SELECT detail FROM entry WHERE action = 'purge.done'")[0][0])
    check_detail(detail)
    assert Retention(kit.hub.store, RetentionSection()).purge()["done"] == 0


# ---- operators ------------------------------------------------------------------------------------------------------


def _waiting(kit: Kit, state: str) -> list[int]:
    return [r[0] for r in kit.rows("SELECT message_id FROM work WHERE state = ? AND barrier = FALSE ORDER BY message_id", state)]


def test_a_dead_merge_is_replayed_and_discarded_with_both_its_lanes(kit: Kit) -> None:
    bad = hl7("ADT^A40", pid("1"), "MRG|2^^^HOSP^MR", at="20261122091000").replace("홍".encode(), b"\xff")
    merge = kit.receive(bad)[0].message_id or 0
    behind = [r.message_id or 0 for r in kit.receive(adt("A04", "1", pv1("V1")), adt("A04", "2", pv1("V2")))]
    kit.apply()
    kit.hub.operations.replay(merge, **PERSON)
    kit.apply()
    assert [kit.state(i) for i in (merge, *behind)] == ["dead", "queued", "queued"]
    kit.hub.operations.discard(merge, **PERSON)
    kit.apply()
    assert [kit.state(i) for i in (merge, *behind)] == ["discarded", "done/applied", "done/applied"]


def test_a_dead_merge_of_a_skipping_channel_holds_nobody(skipping_kit: Kit) -> None:
    kit = skipping_kit
    dead = adt("A04", "2").replace("홍".encode(), b"\xff")
    bad = hl7("ADT^A40", pid("1"), "MRG|2^^^HOSP^MR", at="20261122091000").replace("홍".encode(), b"\xff")
    later = [adt("A04", number, at="20261122093000") for number in ("1", "2")]
    good = hl7("ADT^A40", pid("1"), "MRG|2^^^HOSP^MR", at="20261122092000")
    last = [r.message_id or 0 for r in kit.receive(dead, bad, good, *later)][2:]
    kit.apply()
    assert [kit.state(i) for i in last] == ["done/applied"] * 3


def _uncertain(kit: Kit) -> int:
    kit.target().resend_is_safe = False
    kit.target().fail = lambda m: HubError("nobody foresaw it", code="bug")
    kit.target().find = lambda m: None  # type: ignore[method-assign]
    kit.tell(adt("A28", "1"))
    [message_id] = _waiting(kit, "uncertain")
    kit.target().fail = lambda m: None
    return message_id


@pytest.mark.parametrize(("acted", "state", "seen"), [(True, "done/delivered", 0), (False, "done/delivered", 1)])
def test_a_person_settles_what_is_uncertain(kit: Kit, acted: bool, state: str, seen: int) -> None:
    message_id = _uncertain(kit)
    kit.hub.operations.settle(message_id, acted=acted, **PERSON)
    kit.deliver()
    assert kit.state(message_id) == state
    assert len(kit.target().sent) == seen
    with pytest.raises(IllegalStep):
        kit.hub.operations.settle(message_id, acted=True, **PERSON)


def test_a_replayed_outbound_message_goes_before_what_waited_behind_it(kit: Kit) -> None:
    kit.target().fail = lambda m: Refused("422")
    kit.tell(adt("A28", "1"), adt("A31", "1", at="20261122091000", phone="010-1111-2222"))
    [dead] = _waiting(kit, "dead")
    with pytest.raises(IllegalStep):
        kit.hub.operations.settle(dead, acted=True, **PERSON)
    kit.target().fail = lambda m: None
    kit.hub.operations.replay(dead, reason="call 010-1234-5678 first", actor="token:test")
    kit.deliver()
    ids = [m.message_id for m in kit.target().sent]
    assert ids[0] == dead
    assert ids == sorted(ids)
    for (detail,) in kit.rows("SELECT detail FROM entry"):
        check_detail(orjson.loads(detail))


def test_alerts_end_when_a_person_resumes(kit: Kit) -> None:
    kit.target().fail = lambda m: Misconfigured("401")
    for number in range(3):
        kit.tell(adt("A28", str(number)))
    kit.target().fail = lambda m: NotDelivered("503", reached=False)
    kit.hub.operations.resume("crm", **PERSON)
    kit.tell(*(adt("A28", str(n)) for n in range(3, 9)))
    kit.deliver(steps=60)
    assert {r[0] for r in kit.rows("SELECT kind FROM alert WHERE cleared_at IS NULL")} == {"breaker_open"}
    kit.hub.operations.resume("crm", **PERSON)
    assert kit.rows("SELECT kind FROM alert WHERE cleared_at IS NULL") == []
    kit.target().fail = lambda m: None
    kit.deliver()
    assert kit.target().types().count("patient.created") == 9


def test_a_stop_is_said_once_however_many_come_back_with_it(kit: Kit) -> None:
    gate = threading.Event()

    def one_by_one(message: Outbound) -> HubError:
        if message.patient_id != first:
            gate.wait(5)
        return Misconfigured("401")

    kit.target().fail = one_by_one
    kit.receive(*(adt("A28", str(n)) for n in range(4)))
    kit.apply()
    first = kit.patient_id("0")
    for _ in range(20):
        kit.courier.step(kit.leases["out"], wait=0.05)
        if kit.rows("SELECT COUNT(*) FROM alert") == [(1,)]:
            break
    gate.set()
    kit.deliver()
    assert kit.rows("SELECT kind, COUNT(*) FROM alert GROUP BY kind") == [("channel_stopped", 1)]


# ---- what goes out --------------------------------------------------------------------------------------------------


def test_a_systems_own_id_of_the_survivor_goes_with_a_merge(kit: Kit) -> None:
    """ocs-out stands for any system of record: its `emr` twin writes the link replaced-by with it."""
    target = kit.target("ocs-out")
    target.answer = Delivered(peer_id="P", detail="200")
    kit.hub._routes = [type(r)(r.channel, "emr", ("patient.*",)) if r.channel == "ocs-out" else r for r in kit.hub.routes()]
    for number in ("A", "B"):
        target.answer = Delivered(peer_id=f"peer-{number}", detail="200")
        kit.tell(adt("A28", number))
    kit.tell(hl7("ADT^A40", pid("A"), "MRG|B^^^HOSP^MR", at="20261122091000"))
    [merged] = [m for m in target.sent if m.type == "patient.merged"]
    assert merged.resource["replacedBy"] == merged.patient_id == kit.patient_id("A")
    assert (merged.peer_id, merged.patient_peer_id) == ("peer-B", "peer-A")
    assert merged.patient == kit.patient("A")


def test_a_booking_goes_out_under_whom_it_belongs_to_now(kit: Kit) -> None:
    kit.tell(adt("A28", "A"), adt("A28", "B"))
    kit.hub.front_office.book(kit.patient_id("B"), {"start": "2026-12-01T10:00:00+09:00"}, **DESK)
    kit.receive(hl7("ADT^A40", pid("A"), "MRG|B^^^HOSP^MR", at="20261122091000"))
    kit.apply()
    kit.deliver()
    [booking] = [m for m in kit.target("ocs-out").sent if m.type == "appointment.created"]
    assert booking.patient_id == kit.patient_id("A")


def test_a_phone_taken_away_is_named_by_its_slot(kit: Kit) -> None:
    kit.tell(adt("A28", "1", phone="010-1111-2222"))
    kit.hub.front_office.change_patient(kit.patient_id("1"), {"telecom": None}, expected=1, **DESK)
    kit.deliver()
    [sent] = kit.target("ocs-out").sent
    assert sent.changed == ["telecom.mobile"]
    assert kit.target().sent[-1].event is not None
    event: dict[str, Any] = kit.target().sent[-1].event or {}
    assert event["data"]["changed"] == ["telecom", "telecom.mobile"]


def test_an_outcome_unknown_is_sent_again_where_that_is_safe(kit: Kit) -> None:
    errors: list[HubError] = [OutcomeUnknown("no answer")]
    kit.target().fail = lambda m: errors.pop() if errors else None
    kit.tell(adt("A28", "1"))
    with kit.hub.store.transaction() as tx:
        tx.execute("UPDATE work SET due = 0 WHERE due < 9000000000000000")
    kit.deliver()
    assert kit.target().types() == ["patient.created"]


def test_a_target_that_is_down_behind_a_gateway_makes_no_dead_letters(kit: Kit) -> None:
    """It answers 503: the trials of an open breaker reach it, and would use up a message's attempts."""
    breaker, tried = kit.hub.targets()["crm"].breaker, []
    breaker.failures_to_open, breaker.seconds = 2, 0.001
    kit.receive(*(adt("A28", str(number)) for number in range(6)))
    kit.apply()
    kit.target().fail = lambda m: tried.append(m.message_id) or NotDelivered("503")
    for _ in range(40):
        kit.deliver(steps=20)
        breaker.waits = 0  # the next trial is soon
        time.sleep(0.03)
    assert len(tried) > 3 * 6
    assert len(set(tried)) == 6  # each trial is another lane's
    assert kit.rows("SELECT COUNT(*) FROM work WHERE state = 'dead'") == [(0,)]
    kit.target().fail = lambda m: None
    kit.hub.operations.resume("crm", **PERSON)  # nothing waits for its next attempt any more
    kit.deliver()
    assert kit.rows("SELECT COUNT(*) FROM work WHERE direction = 'out'") == [(0,)]
