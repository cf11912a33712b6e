"""The promises of the core on both databases: once, in order, late messages, merges and their undoing, dead letters."""

import time
from datetime import UTC, datetime

import orjson
import pytest

from hub.config.model import RetentionSection
from hub.db.views import changes
from hub.domain.errors import Misconfigured, NotDelivered, OutcomeUnknown, Refused, Stale
from hub.domain.lifecycle import IllegalStep
from hub.domain.ports import Verdict
from hub.sync.retention import Retention
from tests.hub_kit import Kit, adt, hl7, pid, pv1


def test_a_visit_becomes_patient_encounter_and_events(kit: Kit) -> None:
    kit.tell(adt("A04", "100", "NK1|1|김^영희|SPO||^PRN^CP^^^^^^^^^010-1111-2222", pv1("V1")))
    patient = kit.patient("100")
    assert patient["name"][0]["text"].replace(" ", "") == "홍길동"
    assert patient["birthDate"] == "1980-01-01"
    assert patient["gender"] == "male"
    assert [e["identifier"][0]["value"] for e in kit.owned("100", "Encounter")] == ["V1"]
    assert kit.owned("100", "RelatedPerson")[0]["relationship"]["code"]
    assert kit.owned("100", "Relationship")[0]["related"].startswith("RelatedPerson/")
    assert {"patient.created", "encounter.created", "relatedperson.created"} <= set(kit.target().types())


def test_the_same_again_has_one_effect_and_the_stored_answer(kit: Kit) -> None:
    body = adt("A04", "100", pv1("V1"), control="C1")
    first, again = kit.receive(body)[0], kit.receive(body.replace(b"20261122090000||ADT", b"20261122090500||ADT"))[0]
    assert (again.verdict, again.duplicate_of, again.code) == (Verdict.STORED, first.message_id, "AA")
    assert kit.apply() == 1


def test_a_duplicate_within_one_batch(kit: Kit) -> None:
    body = adt("A04", "100", pv1("V1"), control="C1")
    first, second = kit.receive(body, body)
    assert second.duplicate_of == first.message_id


def test_a_reused_control_id_is_stored_and_alerts(kit: Kit) -> None:
    kit.receive(adt("A04", "100", pv1("V1"), control="C1"))
    other = kit.receive(adt("A04", "200", pv1("V2"), control="C1"))[0]
    assert other.reused
    assert other.verdict is Verdict.STORED
    assert kit.apply() == 2
    assert kit.rows("SELECT kind, channel FROM alert") == [("control_id_reused", "ocs-in")]


def test_an_older_message_is_stale_and_kept(kit: Kit) -> None:
    kit.tell(adt("A08", "100", at="20261122100000", phone="010-9999-0000"))
    late = kit.receive(adt("A08", "100", at="20261122090000", phone="010-1111-0000"))[0]
    kit.apply()
    assert kit.state(late.message_id or 0) == "done/stale"
    assert kit.patient("100")["telecom"][0]["value"].endswith("99990000")


def test_a_list_is_a_snapshot(kit: Kit) -> None:
    kit.tell(adt("A04", "100", "NK1|1|김^영희|SPO", "NK1|2|김^철수|FTH", at="20261122090000"))
    assert len(kit.owned("100", "RelatedPerson")) == 2
    kit.tell(adt("A08", "100", "NK1|1|김^영희|SPO", at="20261122090100"))
    assert [r["name"][0]["text"].replace(" ", "") for r in kit.owned("100", "RelatedPerson")] == ["김영희"]
    assert "relatedperson.removed" in kit.target().types()


def test_a_merge_moves_visits_and_an_unmerge_moves_them_back(kit: Kit) -> None:
    kit.tell(adt("A04", "100", pv1("V1")), adt("A04", "200", pv1("V2"), name="홍^길순"))
    survivor, prior = kit.patient_id("100"), kit.patient_id("200")
    kit.tell(hl7("ADT^A40^ADT_A39", pid("100"), "MRG|200^^^HOSP^MR", at="20261122091000"))
    assert kit.patient_id("200") == survivor
    assert kit.resource(prior)["replacedBy"] == survivor
    assert len(kit.owned("100", "Encounter")) == 2
    kit.tell(adt("A08", "200", at="20261122092000", name="홍^길순", phone="010-7777-8888"))  # stays with its own record
    kit.tell(hl7("ADT^A37", pid("100"), pid("200"), at="20261122093000"))
    assert kit.patient_id("200") == prior
    assert "replacedBy" not in kit.resource(prior)
    assert kit.resource(prior)["telecom"][0]["value"].endswith("77778888")
    assert [e["identifier"][0]["value"] for e in kit.owned("200", "Encounter")] == ["V2"]
    assert [e["identifier"][0]["value"] for e in kit.owned("100", "Encounter")] == ["V1"]
    assert {"patient.merged", "patient.unmerged"} <= set(kit.target().types())


def test_two_pairs_in_one_merge_are_two_merges(kit: Kit) -> None:
    kit.tell(*(adt("A04", n, pv1(f"V{n}")) for n in ("1", "2", "3", "4")))
    pairs = (pid("1"), "MRG|2^^^HOSP^MR", pid("3"), "MRG|4^^^HOSP^MR")
    kit.tell(hl7("ADT^A40^ADT_A39", *pairs, at="20261122091000"))
    assert kit.patient_id("2") == kit.patient_id("1")
    assert kit.patient_id("4") == kit.patient_id("3")
    assert kit.patient_id("1") != kit.patient_id("3")


def test_a_merge_waits_for_both_lanes(kit: Kit) -> None:
    """What came for the prior patient before the merge is applied before it, what came after waits for it."""
    kit.receive(
        adt("A04", "200", pv1("V2"), name="홍^길순"),
        hl7("ADT^A40^ADT_A39", pid("100"), "MRG|200^^^HOSP^MR", at="20261122091000"),
        adt("A04", "200", pv1("V3"), at="20261122092000", name="홍^길순"),
    )
    assert kit.apply() == 3
    assert sorted(e["identifier"][0]["value"] for e in kit.owned("100", "Encounter")) == ["V2", "V3"]


def test_a_changed_number_keeps_the_patient(kit: Kit) -> None:
    kit.tell(adt("A04", "100", pv1("V1")))
    before = kit.patient_id("100")
    kit.tell(hl7("ADT^A47^ADT_A30", pid("900"), "MRG|100^^^HOSP^MR", at="20261122091000"))
    assert kit.patient_id("900") == before
    kit.tell(adt("A08", "900", at="20261122092000", phone="010-5555-6666"))
    assert kit.patient("900")["telecom"][0]["value"].endswith("55556666")


def test_poison_holds_its_lane_only_and_replay_keeps_the_order(kit: Kit) -> None:
    poison = adt("A04", "100", pv1("V1")).replace("홍".encode(), b"\xff")
    bad = kit.receive(poison)[0].message_id or 0
    behind = kit.receive(adt("A08", "100", at="20261122091000"))[0].message_id or 0
    neighbour = kit.receive(adt("A04", "200", pv1("V2")))[0].message_id or 0
    kit.apply()
    assert (kit.state(bad), kit.state(behind), kit.state(neighbour)) == ("dead", "queued", "done/applied")
    kit.hub.operations.discard(bad, reason="unreadable", actor="token:test")
    kit.apply()
    assert (kit.state(bad), kit.state(behind)) == ("discarded", "done/applied")
    with pytest.raises(IllegalStep):
        kit.hub.operations.replay(bad, reason="too late", actor="token:test")


def test_a_skipping_channel_goes_on_behind_poison(skipping_kit: Kit) -> None:
    kit = skipping_kit
    kit.receive(adt("A04", "100", pv1("V1")).replace("홍".encode(), b"\xff"))
    behind = kit.receive(adt("A08", "100", at="20261122091000"))[0].message_id or 0
    kit.apply()
    assert kit.state(behind) == "done/applied"


def test_order_is_kept_while_a_target_fails_now_and_then(kit: Kit) -> None:
    calls = {"n": 0}

    def sometimes(_message: object) -> NotDelivered | OutcomeUnknown | None:
        calls["n"] += 1
        return (NotDelivered("503"), OutcomeUnknown("no answer"))[calls["n"] % 2] if calls["n"] % 3 == 0 else None

    kit.target().fail = sometimes
    for number in range(1, 11):
        kit.receive(adt("A04", "100", pv1(f"V{number:02}"), at=f"202611220900{number:02}"))
    kit.apply()
    kit.deliver()
    visits = [m.event["data"]["version"] for m in kit.target().sent if m.type == "patient.created" and m.event]
    assert visits == [1]
    ids = [m.message_id for m in kit.target().sent if m.patient_id == kit.patient_id("100")]
    assert ids == sorted(ids)
    assert len(ids) == 11
    assert kit.target().types().count("encounter.created") == 10


def test_refused_is_dead_and_blocks_its_lane_only(kit: Kit) -> None:
    kit.target().fail = lambda m: Refused("422") if m.type == "patient.created" else None
    kit.tell(adt("A04", "100", pv1("V1")))
    assert kit.rows("SELECT state FROM work WHERE direction = 'out' AND channel = 'crm' AND state = 'dead'") == [("dead",)]
    assert [m for m in kit.target().sent if m.patient_id] == []
    dead = kit.rows("SELECT message_id FROM work WHERE state = 'dead'")[0][0]
    kit.target().fail = lambda m: None
    kit.hub.operations.replay(dead, reason="mended", actor="token:test")
    kit.deliver()
    assert [m.type for m in kit.target().sent if m.patient_id] == ["patient.created", "encounter.created"]


def test_a_target_that_is_down_makes_no_dead_letters_and_alerts_once(kit: Kit) -> None:
    kit.target().fail = lambda m: NotDelivered("refused connection", reached=False)
    kit.hub.targets()["crm"].breaker.seconds = 0.05
    for number in range(20):
        kit.receive(adt("A04", str(number), pv1(f"V{number}")))
    kit.apply()
    kit.deliver(steps=60)
    assert kit.rows("SELECT COUNT(*) FROM work WHERE state = 'dead'") == [(0,)]
    assert kit.rows("SELECT kind FROM alert") == [("breaker_open",)]
    kit.target().fail = lambda m: None
    for _ in range(50):
        kit.deliver()
        if kit.target().types().count("patient.created") == 20:
            break
        time.sleep(0.1)  # until the next trial
    assert kit.target().types().count("patient.created") == 20
    assert [r[0] for r in kit.rows("SELECT kind FROM alert ORDER BY id")] == ["breaker_open", "breaker_closed"]


def test_at_most_n_attempts_that_reached_the_target(kit: Kit) -> None:
    tries = []
    kit.target().fail = lambda m: tries.append(m.message_id) or NotDelivered("500")
    kit.hub.targets()["crm"].breaker.failures_to_open = 99
    kit.receive(adt("A28", "100"))
    kit.apply()
    for _ in range(10):
        kit.deliver(steps=20)
        time.sleep(0.03)
    first = tries[0]
    assert tries.count(first) == 3
    assert kit.state(first) == "dead"


def test_misconfigured_stops_the_channel_and_says_so_once(kit: Kit) -> None:
    kit.target().fail = lambda m: Misconfigured("410 gone", code="gone")
    kit.tell(*(adt("A28", n) for n in ("1", "2", "3")))
    assert kit.rows("SELECT COUNT(*) FROM alert WHERE kind = 'channel_stopped'") == [(1,)]
    assert kit.rows("SELECT COUNT(*) FROM work WHERE state = 'dead'") == [(0,)]
    kit.target().fail = lambda m: None
    kit.hub.operations.resume("crm", reason="new address", actor="token:test")
    kit.deliver()
    assert kit.target().types().count("patient.created") == 3


def test_a_change_of_the_front_office_goes_out_and_its_echo_is_no_news(kit: Kit) -> None:
    kit.tell(adt("A04", "100", phone="010-1111-2222", at="20261122090000"))
    id_ = kit.patient_id("100")
    version = kit.rows("SELECT version FROM resource WHERE id = ?", id_)[0][0]
    point = {"system": "phone", "use": "mobile", "value": "+821033334444"}
    kit.target("ocs-out").answer.sent_fields = {"telecom.mobile": point}
    kit.hub.front_office.change_patient(id_, {"telecom": [point]}, expected=version, actor="token:desk")
    kit.deliver()
    assert kit.target("ocs-out").types() == ["patient.updated"]
    with pytest.raises(Stale):
        kit.hub.front_office.change_patient(id_, {"telecom": [point]}, expected=version, actor="token:desk")
    before = kit.rows("SELECT version FROM resource WHERE id = ?", id_)
    kit.tell(adt("A08", "100", phone="010-3333-4444", at="20261122100000"))  # the OCS repeats what we sent
    assert kit.rows("SELECT version FROM resource WHERE id = ?", id_) == before
    assert kit.target("ocs-out").types() == ["patient.updated"]


def test_an_old_phone_repeated_by_the_ocs_does_not_take_back_the_front_office(kit: Kit) -> None:
    kit.tell(adt("A04", "100", phone="010-1111-2222", at="20261122090000"))
    id_ = kit.patient_id("100")
    version = kit.rows("SELECT version FROM resource WHERE id = ?", id_)[0][0]
    point = {"system": "phone", "use": "mobile", "value": "+821033334444"}
    kit.hub.front_office.change_patient(id_, {"telecom": [point]}, expected=version, actor="token:desk")
    kit.tell(adt("A08", "100", phone="010-1111-2222", at="20991122090000"))
    assert kit.patient("100")["telecom"][0]["value"] == "+821033334444"


def test_identity_is_not_the_front_offices_to_change(kit: Kit) -> None:
    kit.tell(adt("A04", "100"))
    id_ = kit.patient_id("100")
    version = kit.rows("SELECT version FROM resource WHERE id = ?", id_)[0][0]
    with pytest.raises(Refused, match="birthDate"):
        kit.hub.front_office.change_patient(id_, {"birthDate": "1999-01-01"}, expected=version, actor="token:desk")


def test_a_booking_is_pending_until_the_ocs_confirms_it(kit: Kit) -> None:
    kit.tell(adt("A04", "100"))
    made = kit.hub.front_office.book(
        kit.patient_id("100"), {"start": "2026-12-01T10:00:00+09:00", "minutes": 15}, actor="token:desk"
    )
    assert kit.resource(made.resource_id)["status"] == "pending"
    kit.deliver()
    assert kit.target("ocs-out").types() == ["appointment.created"]
    fields = {1: f"{made.resource_id}^HUB", 2: "F77^OCS", 9: "15", 10: "min", 11: "^^^20261201100000", 25: "Booked"}
    sch = "|".join(["SCH", *(fields.get(n, "") for n in range(1, 26))])
    kit.tell(hl7("SIU^S12", sch, pid("100"), at="20991122091000"))
    assert kit.resource(made.resource_id)["status"] == "booked"
    assert len(kit.owned("100", "Appointment")) == 1


def test_what_the_ocs_only_took_is_sent_until_it_tells_of_it(kit: Kit) -> None:
    kit.tell(adt("A04", "100"))
    kit.target("ocs-out").answer.confirms = False
    id_ = kit.patient_id("100")
    made = kit.hub.front_office.book(id_, {"start": "2026-12-01T10:00:00+09:00", "minutes": 15}, actor="token:desk")
    kit.deliver()
    with kit.hub.engine.connect() as conn:
        states = {s["state"] for s in changes.sync_of_patient(conn, id_) if s["target"] == "ocs-out"}
    assert states == {"sent"}
    fields = {1: f"{made.resource_id}^HUB", 2: "F77^OCS", 9: "15", 10: "min", 11: "^^^20261201100000", 25: "Booked"}
    sch = "|".join(["SCH", *(fields.get(n, "") for n in range(1, 26))])
    kit.tell(hl7("SIU^S12", sch, pid("100"), at="20991122091000"))
    with kit.hub.engine.connect() as conn:
        states = {s["state"] for s in changes.sync_of_patient(conn, id_) if s["target"] == "ocs-out"}
    assert states == {"confirmed"}


def test_two_systems_telling_of_one_visit_make_one_encounter(kit: Kit) -> None:
    kit.tell(adt("A04", "100", pv1("V1")))
    kit.tell(adt("A08", "100", pv1("V1")), channel="emr-in")
    assert len(kit.owned("100", "Encounter")) == 1
    assert kit.rows("SELECT COUNT(*) FROM source_record WHERE kind = 'Encounter'") == [(2,)]


def test_every_value_says_where_it_came_from(kit: Kit) -> None:
    receipt = kit.receive(adt("A04", "100", pv1("V1")))[0]
    kit.apply()
    lineage = orjson.loads(kit.rows("SELECT lineage FROM source_record WHERE kind = 'Patient'")[0][0])
    path, message_id, map_version, since = lineage["birthDate"]
    assert (path, message_id) == ("PID-7", receipt.message_id)
    assert map_version == kit.hub.maps.version
    assert since > 0


def test_a_discharge_that_names_only_the_end_keeps_the_start_and_can_be_cancelled(kit: Kit) -> None:
    kit.tell(adt("A01", "100", pv1("V1", "I"), at="20261122090000"))
    fields = {1: "1", 2: "I", 19: "V1^^^HOSP", 45: "20261125100000"}
    discharge = "|".join(["PV1", *(fields.get(n, "") for n in range(1, 46))])
    kit.tell(adt("A03", "100", discharge, at="20261125100000"))
    visit = kit.owned("100", "Encounter")[0]
    assert visit["period"] == {"start": "2026-11-22T09:00:00+09:00", "end": "2026-11-25T10:00:00+09:00"}
    assert visit["status"] == "finished"
    kit.tell(adt("A13", "100", "PV1|1|I|W1" + "|" * 16 + "V1^^^HOSP", at="20261125110000"))
    visit = kit.owned("100", "Encounter")[0]
    assert visit["period"] == {"start": "2026-11-22T09:00:00+09:00"}
    assert visit["status"] == "in-progress"


def test_a_confirmation_in_the_second_of_the_booking_counts(kit: Kit) -> None:
    """Senders give whole seconds: a confirmation must not look older than the booking that it confirms."""
    kit.tell(adt("A04", "100"))
    made = kit.hub.front_office.book(
        kit.patient_id("100"), {"start": "2026-12-01T10:00:00+09:00", "minutes": 15}, actor="token:desk"
    )
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    fields = {1: f"{made.resource_id}^HUB", 2: "F77^OCS", 9: "15", 10: "min", 11: "^^^20261201100000", 25: "Booked"}
    sch = "|".join(["SCH", *(fields.get(n, "") for n in range(1, 26))])
    kit.tell(hl7("SIU^S12", sch, pid("100"), at=f"{now}+0000"))
    assert kit.resource(made.resource_id)["status"] == "booked"


def test_retention_erases_by_class_and_never_what_is_undelivered(kit: Kit) -> None:
    kit.target().fail = lambda m: NotDelivered("down", reached=False) if m.patient_id else None
    done = kit.receive(hl7("ADT^A99", pid("300")))[0].message_id  # no map: ignored, nothing goes out
    waiting = kit.receive(adt("A04", "100", pv1("V1")))[0].message_id
    kit.apply()
    kit.deliver(steps=10)
    with kit.hub.store.transaction() as tx:
        tx.execute("UPDATE message SET at = at - ?", 400 * 86_400_000_000)
    counts = Retention(kit.hub.store, RetentionSection(), {"ocs-in": 7}).purge()
    assert counts["ignored"] == 1
    bodies = dict(kit.rows("SELECT id, body IS NULL FROM message WHERE direction = 'in'"))
    assert bool(bodies[done])
    assert not bodies[waiting]
