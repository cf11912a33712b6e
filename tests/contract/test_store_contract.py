"""One suite for the store port: the fake in memory, SQLite and PostgreSQL must agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.db import schema
from hub.db.engine import make_engine, parse_url
from hub.db.store import SqlStore
from hub.domain.errors import TryAgain
from hub.domain.rows import (
    FOREVER,
    AlertRow,
    AwaitedGone,
    AwaitedRow,
    ChangeRow,
    DedupeRow,
    EntryDraft,
    IdentifierNew,
    IdentifierRow,
    LinkKeyRow,
    MarkNew,
    MarkRow,
    MessageRow,
    OutcomeRow,
    ResourceRow,
    SentFieldRow,
    SourceRow,
    SourceTouched,
    TallyRow,
    TermRow,
    TermsGone,
    WorkBucket,
    WorkDone,
    WorkRow,
    WorkState,
)
from hub.domain.store import BEHIND, Conflict, LeaseLost, Store
from tests.fakes.store import FakeStore

ALL = list(range(8))


@pytest.fixture(params=["fake", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "fake":
        yield FakeStore(buckets=8)
        return
    url = f"sqlite:///{tmp_path / 'hub.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    engine = make_engine(parse_url(url))
    schema.upgrade(engine)
    engine.dispose()
    made = SqlStore(parse_url(url))
    yield made
    made.close()


def message(id_: int, *, direction: str = "in", lane: str = "a", **more: Any) -> MessageRow:
    usual: dict[str, Any] = {
        "channel": "c", "at": 5, "sender": "S", "control_id": f"C{id_}", "type": "ADT^A08", "patient_no": "1", "bucket": 0,
        "body": b"\x00\xff sealed", "charset": "", "answer_owed": True, "code": "AA", "cause": None, "change_id": None,
        "resource_id": None,
    }  # fmt: skip
    return MessageRow(id=id_, direction=direction, lane=lane, **(usual | more))


def work(id_: int, lane: str = "a", *, direction: str = "in", **more: Any) -> WorkRow:
    usual: dict[str, Any] = {
        "bucket": 0, "channel": "c", "state": "queued", "barrier": False, "paired": False, "attempts": 0, "due": 0,
        "reason": "", "at": 5,
    }  # fmt: skip
    return WorkRow(direction=direction, message_id=id_, lane=lane, **(usual | more))


def queue(store: Store, *works: WorkRow) -> None:
    ids = {w.message_id: w for w in works}
    with store.transaction() as tx:
        tx.write([*works, *(message(i, direction=w.direction, lane=w.lane, bucket=w.bucket) for i, w in ids.items())])


def due(store: Store, *, barred: tuple[str, ...] = (), limit: int = 80) -> list[int]:
    with store.transaction() as tx:
        return [w.message_id for w in tx.due_inbound(ALL, barred, limit)]


def out(store: Store) -> list[tuple[int, str]]:
    with store.transaction() as tx:
        return [(w.message_id, w.state) for w in tx.due_outbound(ALL, (), 80)]


# ---- transactions ------------------------------------------------------------------------------------------------------


def test_what_a_transaction_wrote_is_gone_when_it_fails(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction() as tx:
        tx.write([message(1), work(1)])
        raise ZeroDivisionError
    assert due(store) == []


def test_a_transaction_sees_what_it_wrote(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([message(1), work(1)])
        assert [w.message_id for w in tx.due_inbound(ALL, (), 8)] == [1]


def test_ids_rise(store: Store) -> None:
    with store.transaction() as tx:
        first, second = list(tx.ids("message", 3)), list(tx.ids("message", 2))
        assert list(tx.ids("change", 0)) == []
    assert first + second == sorted({*first, *second})
    with store.transaction() as tx:
        assert next(iter(tx.ids("message", 1))) > second[-1]


def test_the_clock_is_one_of_microseconds(store: Store) -> None:
    with store.transaction() as tx:
        first = tx.now
    with store.transaction() as tx:
        assert first <= tx.now < first + 60_000_000
    with store.snapshot() as tx:
        assert tx.now >= first


def test_a_snapshot_reads(store: Store) -> None:
    queue(store, work(1))
    with store.snapshot() as tx:
        assert [w.message_id for w in tx.due_inbound(ALL, (), 8)] == [1]


# ---- whose turn it is --------------------------------------------------------------------------------------------------


def test_bodies_come_back_as_they_went(store: Store) -> None:
    queue(store, work(1))
    with store.transaction() as tx:
        [found] = tx.due_inbound(ALL, (), 8)
    assert (found.body, found.control_id, found.lane, found.paired) == (b"\x00\xff sealed", "C1", "a", False)


def test_all_that_is_due_of_a_lane_comes_in_order(store: Store) -> None:
    queue(store, work(3), work(1), work(2, "b"))
    assert due(store) == [1, 2, 3]
    assert due(store, limit=8 * 2) == [1, 2]


def test_what_waits_for_its_time_holds_its_lane_only(store: Store) -> None:
    queue(store, work(1, due=FOREVER), work(2), work(3, "b"))
    assert due(store) == [3]


@pytest.mark.parametrize("until", [FOREVER, 0])
def test_a_dead_message_holds_its_lane_or_lets_it_go(store: Store, until: int) -> None:
    queue(store, work(1, state="dead", due=until), work(2), work(3, "b"))
    assert due(store) == ([3] if until else [2, 3])


def test_a_channel_that_is_paused_is_passed_over(store: Store) -> None:
    queue(store, work(1), work(2, "b", channel="other"))
    assert due(store, barred=("c",)) == [2]
    assert due(store, barred=("c", "other")) == []


def test_a_merge_waits_for_both_lanes_and_holds_both(store: Store) -> None:
    """1 is in lane b; 2 merges b into a; 3 is in a, 4 in b, 5 elsewhere."""
    queue(store, work(1, "b"), work(2, "b", barrier=True), work(2, "a", paired=True), work(3, "a"), work(4, "b"), work(5, "z"))
    assert due(store) == [1, 5]
    with store.transaction() as tx:
        tx.write([WorkDone(1)])
    assert due(store) == [2, 5]
    with store.transaction() as tx:
        tx.write([WorkDone(2)])
    assert due(store) == [3, 4, 5]


@pytest.mark.parametrize(("until", "left"), [(FOREVER, []), (0, [3, 4])])
def test_a_dead_merge_holds_both_lanes_or_lets_both_go(store: Store, until: int, left: list[int]) -> None:
    queue(store, work(2, "b", barrier=True), work(2, "a", paired=True), work(3, "a"), work(4, "b"))
    with store.transaction() as tx:
        tx.write([WorkState(2, "dead", 1, until, "no map")])
    assert due(store) == left


def test_a_merge_does_not_wait_for_the_dead_of_a_channel_that_skips_them(store: Store) -> None:
    queue(store, work(1, "b", state="dead"), work(2, "b", barrier=True), work(2, "a", paired=True))
    assert due(store) == [2]


def test_what_is_in_flight_is_due_again_when_its_time_is_over(store: Store) -> None:
    queue(
        store, work(1, direction="out", state="in_flight", due=FOREVER), work(2, direction="out"), work(3, "b", direction="out")
    )
    assert out(store) == [(3, "queued")]
    with store.transaction() as tx:
        tx.write([WorkState(1, "in_flight", 1, 0, "")])
    assert out(store) == [(1, "in_flight"), (2, "queued"), (3, "queued")]


def test_buckets_that_have_something_due_and_nobody_who_works_on_them(store: Store) -> None:
    queue(
        store,
        work(1, bucket=3),
        work(2, "b", bucket=5, due=FOREVER),
        work(3, "c", bucket=6, barrier=True),
        work(4, "d", bucket=7),
    )
    with store.transaction() as tx:
        assert tx.neglected("in", 8, tx.now) == [3, 7]
        assert tx.neglected("in", 8, 4) == []  # all of it came at 5
        assert tx.neglected("out", 8, tx.now) == []
        assert tx.take("worker", "in", [7], 1, 60.0) is not None
    with store.transaction() as tx:
        assert tx.neglected("in", 8, tx.now) == [3]


def test_the_first_of_what_may_wait(store: Store) -> None:
    queue(
        store, work(1, bucket=BEHIND, state="dead"), work(2, bucket=BEHIND, state="in_flight"), work(3, bucket=BEHIND),
        work(4, bucket=BEHIND), work(5, bucket=BEHIND + 3), work(6, bucket=3),
    )  # fmt: skip
    with store.snapshot() as tx:
        assert tx.first_loaded("in", 2) == {2, 3, 5}
        assert tx.first_loaded("in", 9) == {2, 3, 4, 5}
        assert tx.first_loaded("out", 2) == set()


def test_the_main_row_of_a_message(store: Store) -> None:
    queue(store, work(2, "b", barrier=True), work(2, "a", paired=True, attempts=4))
    with store.transaction() as tx:
        assert tx.work_of(2) == ("in", "c", "queued", 4, 0)
        assert tx.work_of(9) is None


def test_whether_a_replay_would_wait_behind_another(store: Store) -> None:
    queue(store, work(1, state="dead", due=FOREVER), work(2, state="dead", due=FOREVER))
    with store.transaction() as tx:
        assert tx.replay_lane_ready(1)
        assert not tx.replay_lane_ready(2)


# ---- what may wait --------------------------------------------------------------------------------------------------


def test_what_may_wait_is_due_besides(store: Store) -> None:
    queue(store, work(1, bucket=BEHIND + 3), work(2, "b", bucket=BEHIND + 3), work(3, "c", bucket=3), work(4, "d", bucket=3))
    with store.transaction() as tx:
        assert [w.message_id for w in tx.due_inbound([3], [], 10)] == [3, 4]
        assert [w.message_id for w in tx.due_inbound([3], [], 1, 1)] == [3, 1]
        assert [w.message_id for w in tx.due_inbound([3, 5], [], 20, 20)] == [3, 4, 1, 2]
        assert tx.loaded(10) == {"in": 2, "out": 0}
        assert tx.loaded(1)["in"] == 1
        assert tx.neglected("in", 8, tx.now) == [3]


def test_what_stands_ahead_in_a_lane(store: Store) -> None:
    queue(store, work(1, bucket=BEHIND), work(2, bucket=BEHIND, state="dead"), work(3), work(4, "b"), work(5, bucket=BEHIND))
    with store.transaction() as tx:
        assert tx.ahead("in", [("a", 3), ("b", 4)]) == [(1, "a", BEHIND, "c")]
        assert sorted(tx.ahead("in", [("a", 5)])) == [(1, "a", BEHIND, "c"), (3, "a", 0, "c")]
        assert tx.ahead("out", [("a", 5)]) == []
        tx.write([WorkBucket(1, 0)])
    with store.transaction() as tx:
        assert [w.message_id for w in tx.due_inbound([0], [], 10)] == [1, 3, 4]


def test_marks_by_key(store: Store) -> None:
    with store.transaction() as tx:
        tx.write(
            [MarkRow("c", bytes([n]) * 16, b"v%d" % n, n, None, 5) for n in range(1, 4)]
            + [MarkRow("d", b"\1" * 16, b"", 9, None, 5)]
        )
    with store.transaction() as tx:
        found = {(bytes(key), bytes(value), n, at) for key, value, n, at in tx.marks("c", [b"\1" * 16, b"\3" * 16, b"\4" * 16])}
    assert found == {(b"\1" * 16, b"v1", 1, 5), (b"\3" * 16, b"v3", 3, 5)}
    with pytest.raises(Conflict), store.transaction() as tx:
        tx.write([MarkNew("c", b"\1" * 16, b"v2", 1, None, 5)])  # somebody was first


def test_nobody_waits_for_an_answer_to_what_was_polled(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([DedupeRow("c", sender, f"C{n}", b"d" * 16, n, "", 50) for n, sender in enumerate(("S", "S", ""))])
        assert tx.arrived(49) == 2


# ---- leases ------------------------------------------------------------------------------------------------------------


def test_buckets_are_leased_to_one_worker_at_a_time(store: Store) -> None:
    with store.transaction() as tx:
        mine = tx.take("me", "in", ALL, 3, 60)
        yours = tx.take("you", "in", ALL, 99, 60)
        assert mine is not None
        assert yours is not None
        assert (len(mine.names), len(yours.names)) == (3, 5)
        assert not set(mine.names) & set(yours.names)
        assert tx.take("third", "in", ALL, 1, 60) is None
        assert tx.take("third", "out", ALL, 1, 60) is not None
        assert tx.owners() == ["me", "third", "you"]


def test_a_lease_that_ran_out_is_fenced_off(store: Store) -> None:
    with store.transaction() as tx:
        old = tx.take("old", "in", ALL, 99, -1)
        new = tx.take("new", "in", ALL, 99, 60)
        assert old is not None
        assert new is not None
        assert new.token > old.token
        tx.hold(new, 60)
        tx.release(old)  # too late: nothing happens
        tx.hold(new, 60)
    with pytest.raises(LeaseLost), store.transaction() as tx:
        tx.hold(old, 60)


def test_a_released_lease_is_free_and_over(store: Store) -> None:
    with store.transaction() as tx:
        lease = tx.take("me", "in", ALL, 99, 60)
        assert lease is not None
        tx.release(lease)
        assert tx.take("you", "in", ALL, 99, 60) is not None
    with pytest.raises(LeaseLost), store.transaction() as tx:
        tx.hold(lease, 60)


def test_what_a_dead_worker_had_in_flight_is_due_at_once(store: Store) -> None:
    queue(store, work(1, direction="out", state="in_flight", due=FOREVER), work(2, "b", direction="out", bucket=1, due=FOREVER))
    with store.transaction() as tx:
        tx.take("dead", "out", ALL, 99, 60)
        tx.bury("dead")
        assert tx.owners() == []
        assert tx.take("heir", "out", ALL, 99, 60) is not None
    assert out(store) == [(1, "in_flight")]


# ---- sets of keys ------------------------------------------------------------------------------------------------------


def test_intake_learns_what_came_before_and_which_ids_are_free(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([DedupeRow("c", "S", "1", b"\x01\x02", 7, "AA", 100), DedupeRow("c", "S", "2", b"\x03", 8, "AA", 10)])
        first = tx.ids("message", 1)[0]
    with store.transaction() as tx:
        found, ids = tx.arrivals([("c", "S", "1"), ("c", "S", "3"), ("c", "T", "1")], 3)
        assert [(*row[:3], bytes(row[3]), *row[4:]) for row in found] == [("c", "S", "1", b"\x01\x02", 7, "AA", 100)]
        assert list(ids) == [first + 1, first + 2, first + 3]
        found, ids = tx.arrivals([], 1)
        assert (found, list(ids)) == ([], [first + 4])


def patient(id_: str, version: int = 1, **more: Any) -> ResourceRow:
    usual: dict[str, Any] = {
        "kind": "Patient", "patient_id": id_, "patient_key": f"H|{id_}", "status": "active", "sort_at": 0,
        "data": '{"name":[{"text":"홍길동"}]}', "created_at": 1, "updated_at": 1,
    }  # fmt: skip
    return ResourceRow(id=id_, version=version, **(usual | more))


def test_resources_come_in_key_order_with_what_was_written(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([patient("p2"), patient("p1"), patient("e1", kind="Encounter", patient_id="p1", sort_at=9)])
        tx.write([patient("p1", 2, data="{}", created_at=99)])
        assert [r[0] for r in tx.resources(["p2", "p1", "nobody"])] == ["p1", "p2"]
        assert tx.resources(["p1"]) == [("p1", "Patient", "p1", "H|p1", 2, "active", 0, "{}", 1)]  # created_at stands
        assert [r[0] for r in tx.children(["p1"], ["Encounter", "Coverage"])] == ["e1"]
        assert tx.resources([]) == []


def test_identifiers_are_found_by_key_and_by_what_they_stand_for(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([IdentifierNew("Patient", "H", "1", "p1", "p1", "MR"), IdentifierNew("Patient", "H", "2", "p2", "p2", "")])
        tx.write([IdentifierRow("Patient", "H", "2", "p1", "ignored", "ignored")])
        assert tx.identifiers([("Patient", "H", "2"), ("Patient", "H", "3")]) == [("Patient", "H", "2", "p1", "p2", "")]
        assert sorted(i[2] for i in tx.identifiers_of(["p1"])) == ["1", "2"]
        assert [i[2] for i in tx.identifiers_of(["p2"])] == ["2"]  # at home there


def test_who_names_a_thing_in_vain_is_remembered_once_until_it_is_there(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([AwaitedRow("Encounter", "H", "V1", "o1"), AwaitedRow("Encounter", "H", "V1", "o2")])
        tx.write([AwaitedRow("Encounter", "H", "V1", "o1"), AwaitedRow("Encounter", "H", "V2", "o1")])
    with store.transaction() as tx:
        found = tx.awaiting([("Encounter", "H", "V1"), ("ServiceRequest", "H", "V1")])
        assert sorted(found) == [("Encounter", "H", "V1", "o1"), ("Encounter", "H", "V1", "o2")]
        tx.write([AwaitedGone("Encounter", "H", "V1")])
    with store.snapshot() as tx:
        assert tx.awaiting([("Encounter", "H", "V1"), ("Encounter", "H", "V2")]) == [("Encounter", "H", "V2", "o1")]
        assert tx.awaiting([]) == []


def test_two_who_make_the_same_identifier_at_once_try_again(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([IdentifierNew("Practitioner", "H", "D1", "d1", "d1", "")])
    with pytest.raises((TryAgain, Exception)) as failed, store.transaction() as tx:
        tx.write([message(1), IdentifierNew("Practitioner", "H", "D1", "d2", "d2", "")])
    assert isinstance(failed.value, TryAgain) or "UNIQUE" in str(failed.value)  # SQLite: one writer, it cannot happen
    with store.transaction() as tx:
        assert tx.identifiers([("Practitioner", "H", "D1")])[0][3] == "d1"


def test_a_plan_is_confirmed_while_nothing_of_it_has_changed(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([patient("p1"), patient("e1", kind="Encounter", patient_id="p1")])
    for versions in ({"p1": (1, "p1"), "e1": (1, "p1")}, {}):
        with store.transaction() as tx:
            tx.confirm(versions, list(versions)[:1])
    for changed in ({"p1": (2, "p1")}, {"e1": (1, "p2")}, {"gone": (1, None)}):
        with pytest.raises(Conflict), store.transaction() as tx:
            tx.confirm(changed, [])


def source(key: str, event_at: int = 1, data: str = "{}") -> SourceRow:
    return SourceRow("Patient", "ocs", key, "p1", None, data, "{}", event_at, None, "c")


def test_source_records_are_replaced_or_touched(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([source("H|1"), source("H|2")])
        tx.write([source("H|1", 5, '{"gender":"male"}'), SourceTouched("Patient", "ocs", "H|2", 9)])
        found = sorted((s[2], s[5], s[7]) for s in tx.sources(["p1"]))
        assert found == [("H|1", '{"gender":"male"}', 5), ("H|2", "{}", 9)]
        assert tx.execute("DELETE FROM source_record WHERE kind = ? AND system = ? AND key = ?", "Patient", "ocs", "H|1") == 1
        assert [s[2] for s in tx.sources(["p1"])] == ["H|2"]


def test_when_a_source_record_was_heard_last_and_of_which_message_it_is(store: Store) -> None:
    listed = SourceRow("Coverage", "ocs", "H|1#in1", "p1", "H|1", "{}", "{}", 4, 8, "c")
    with store.transaction() as tx:
        tx.write([patient("p1", 3), source("H|1")._replace(message_id=7), listed, SourceTouched("Patient", "ocs", "H|1", 9)])
        keys = [("Patient", "ocs", "H|1"), ("Coverage", "ocs", "H|1#in1"), ("Patient", "emr", "H|1")]
        found = sorted(tx.heard(keys), reverse=True)
        assert found[0] == ("Patient", "ocs", "H|1", "p1", 7, 9, 3, "p1")
        assert found[1] == ("Coverage", "ocs", "H|1#in1", "p1", 8, 4, None, None)
        assert len(found) == 2
        assert tx.heard([]) == []


def test_changes_peers_and_what_was_sent(store: Store) -> None:
    change = ChangeRow(4, 1, "patient.created", "Patient", "p1", "p1", 1, "[]", "{}", 7, "c")
    with store.transaction() as tx:
        tx.write([change, LinkKeyRow("erp", "p1", "BP1", 'W/"1"', 1), SentFieldRow("erp", "p1", "address", "null", 3)])
        tx.write([LinkKeyRow("erp", "p1", "BP1", 'W/"2"', 2)])
        assert tx.changes([4, 5]) == [tuple(change)]
        assert (tx.versions("p1", 0), tx.versions("p1", 1)) == ([(1, "c", "{}")], [])
        assert tx.link_keys([("erp", "p1"), ("emr", "p1")]) == [("erp", "p1", "BP1", 'W/"2"')]
        assert tx.told([("erp", "p1"), ("emr", "p1")]) == [("erp", "p1", "address", "null", 3)]


def test_counts_add_up_and_terms_are_replaced(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([TallyRow("c", "applied", 1, 2), TermRow("name", "홍길동", "p1"), TermRow("name", "홍길동", "p1")])
        tx.write([TallyRow("c", "applied", 1, 3), TermsGone("p1"), TermRow("phone", "4321", "p1")])
        tx.write([OutcomeRow(1, "done", "applied", "", 1), EntryDraft(1, "hub.started", "system", "", None, None, "{}")])
    if isinstance(store, FakeStore):
        assert [t["n"] for t in store.rows("tally")] == [5]
        assert [t["value"] for t in store.rows("term")] == ["4321"]
    else:
        with store.transaction() as tx:
            assert tx.one("SELECT n FROM tally") == (5,)
            assert tx.one("SELECT value FROM term WHERE patient_id = ?", "p1") == ("4321",)


# ---- channels ----------------------------------------------------------------------------------------------------------


def test_a_channels_state_is_made_when_first_set(store: Store) -> None:
    with store.transaction() as tx:
        assert tx.channel_states() == []
        tx.set_channel_state("crm", breaker="open", breaker_until=5, failures=4)
        tx.set_channel_state("crm", paused=True)
        assert [tuple(s) for s in tx.channel_states()] == [("crm", True, "", "open", 5, 4)]
        with pytest.raises(ValueError, match="column"):
            tx.set_channel_state("crm", colour="red")


def test_alerts_are_cleared_by_kind_and_channel(store: Store) -> None:
    with store.transaction() as tx:
        tx.write([AlertRow(1, "breaker_open", "crm", "", None), AlertRow(1, "disk_full", "crm", "", None)])
        sql = "UPDATE alert SET cleared_at = ? WHERE channel = ? AND cleared_at IS NULL AND kind IN ('breaker_open')"
        assert tx.execute(sql, 9, "crm") == 1
        assert tx.execute(sql, 9, "crm") == 0
