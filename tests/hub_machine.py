"""The world of the state machine: a hub that crashes, targets that live on, and what must hold at any moment.

`World.crash` is a process that is killed: the hub is dropped without being closed, what its couriers had in hand is lost,
and another hub opens the same database. `World.armed(n)` kills it at the n-th statement from now, commits included.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from hub.audit.entry import check_detail
from hub.bootstrap import open_hub
from hub.db.audit import verify_database
from hub.domain.errors import HubError, TryAgain
from hub.domain.lifecycle import FINAL, State
from hub.domain.store import LeaseLost
from hub.sync.apply import Applier
from hub.sync.canon import Applied, Canon, Origin
from hub.sync.unite import settle_all
from hub.sync.workspace import Workspace
from tests.hub_kit import Kit, Recorder, make_kit

OWNED = "('Encounter', 'Appointment', 'RelatedPerson', 'Relationship', 'Coverage')"


class Killed(BaseException):
    """The process is gone."""


class World:
    """One hub after the other on one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.kit = make_kit(folder, url)
        self.others: list[Applier] = []  # of other processes, each with a memory of its own
        self.recorders: dict[str, Recorder] = self.kit.recorders
        self.stored: dict[int, bytes] = {}  # inbound messages that were answered positively
        self.plan: list[Callable[[], HubError | None]] = []  # what the target does, call by call; then it is well
        self.recorders["crm"].fail = lambda message: self.plan.pop()() if self.plan else None

    def crash(self) -> None:
        """Another process takes over; what was in flight is looked at again when its time is over, which is now."""
        self.kit.courier.close()
        self.kit.hub.store._hot().rollback()
        self.kit.hub.store.close()
        self.kit.hub.engine.dispose()
        self.kit = Kit(open_hub(self.kit.hub.config))
        self.others = []
        for name, channel in self.kit.hub.targets().items():
            channel.target = self.kit.recorders[name] = self.recorders[name]
        with self.kit.hub.store.transaction() as tx:
            tx.execute("UPDATE work SET due = 0 WHERE state = 'in_flight'")

    @contextmanager
    def armed(self, statements: int) -> Iterator[None]:
        """Kills the process at that statement, if it gets so far; then another one takes over."""
        hot: Any = self.kit.hub.store._hot()
        left = [statements]

        def fused(act: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
                return act(*arguments, **named)

            return call

        for name in ("query", "execute", "write", "commit"):
            setattr(hot, name, fused(getattr(hot, name)))
        try:
            yield
        except Killed:
            self.crash()
        else:
            for name in ("query", "execute", "write", "commit"):
                delattr(hot, name)

    def another_applier(self) -> None:
        """Another process gets the lease; the one that had it may get it back later, and remembers."""
        self.others = [*self.others[-1:], self.kit.applier]
        self.kit.applier = self.others[0] if len(self.others) > 1 else self.kit.hub.applier()

    def apply(self, batch: int) -> int:
        self.kit.applier._batch = batch
        try:
            return self.kit.applier.step(self.kit.leases["in"])
        except (TryAgain, LeaseLost):
            return 0

    def deliver(self, steps: int) -> None:
        """Waiting times are over at once; an open breaker tries again."""
        for _ in range(steps):
            with self.kit.hub.store.transaction() as tx:
                tx.execute("UPDATE work SET due = 0 WHERE state = 'queued' AND due > 0")
            for channel in self.kit.hub.targets().values():
                channel.breaker.until = 0
            if not self.kit.courier.step(self.kit.leases["out"], wait=0.02) and not self.kit.courier.busy:
                return

    def drain(self) -> None:
        """All is well with the targets: whatever can move, moves."""
        self.plan.clear()
        while self.apply(50):
            pass
        self.deliver(400)

    # -- what must hold at any moment -----------------------------------------------------------------------------

    def check(self) -> None:
        self.every_message_stands_in_one_place()
        self.effects_came_once()
        self.versions_have_no_gap()
        self.merged_patients_own_nothing()
        self.lineage_is_whole()

    def every_message_stands_in_one_place(self) -> None:
        rows = self.kit.rows(
            "SELECT m.id, m.direction, (SELECT COUNT(*) FROM work w WHERE w.message_id = m.id AND w.barrier = FALSE),"
            " (SELECT COUNT(*) FROM outcome o WHERE o.message_id = m.id),"
            " (SELECT COUNT(*) FROM work w WHERE w.message_id = m.id AND w.barrier = TRUE) FROM message m"
        )
        for message_id, _, work, outcome, barrier in rows:
            assert work + outcome == 1, f"message {message_id} stands in {work + outcome} places"
            assert work or not barrier, f"message {message_id} is over and holds a lane back"
        known = {r[0] for r in rows if r[1] == "in"}
        assert set(self.stored) <= known, "a message that was answered positively is lost"
        states = {r[0] for r in self.kit.rows("SELECT DISTINCT state FROM outcome")}
        assert states <= set(FINAL)
        assert not {r[0] for r in self.kit.rows("SELECT DISTINCT state FROM work")} & set(FINAL)

    def effects_came_once(self) -> None:
        acts = Counter(
            (message_id, action)
            for message_id, action in self.kit.rows("SELECT message_id, action FROM entry WHERE message_id IS NOT NULL")
        )
        ended = self.kit.rows(
            "SELECT o.message_id, o.outcome, o.state FROM outcome o JOIN message m ON m.id = o.message_id"
            " WHERE m.direction = 'in'"
        )
        for message_id, outcome, state in ended:
            act = f"message.{outcome or state}"
            assert acts[message_id, act] == 1, f"message {message_id} has {acts[message_id, act]} entries {act}"
        for message_id in self.stored:
            assert acts[message_id, "message.stored"] == 1
        told = self.kit.rows(
            "SELECT change_id, channel, COUNT(*) FROM message WHERE direction = 'out' GROUP BY change_id, channel"
        )
        assert all(n == 1 for _, _, n in told), "a change went out twice to one channel"

    def versions_have_no_gap(self) -> None:
        versions: dict[str, list[int]] = defaultdict(list)
        newest: dict[str, str] = {}
        for resource_id, version, data in self.kit.rows("SELECT resource_id, version, data FROM change ORDER BY id"):
            versions[resource_id].append(version)
            newest[resource_id] = data
        for id_, version, data in self.kit.rows("SELECT id, version, data FROM resource"):
            assert versions.pop(id_) == list(range(1, version + 1)), f"changes of {id_} do not count up to {version}"
            assert orjson.loads(newest[id_]) == orjson.loads(data), f"the newest change of {id_} is not what stands"
        assert not versions, "changes of a resource that is not there"

    def merged_patients_own_nothing(self) -> None:
        sql = (
            "SELECT COUNT(*) FROM resource r JOIN resource p ON p.id = r.patient_id"
            f" WHERE p.status = 'merged' AND r.status = 'active' AND r.kind IN {OWNED}"
        )
        assert self.kit.rows(sql) == [(0,)], "something still belongs to a merged patient"
        sql = (
            "SELECT COUNT(*) FROM identifier i JOIN resource p ON p.id = i.resource_id"
            " WHERE i.kind = 'Patient' AND p.status <> 'active'"
        )
        assert self.kit.rows(sql) == [(0,)], "a number stands for a patient who is not active"
        number = "i.kind = 'Patient' AND i.assigner || '|' || i.value"
        sql = f"SELECT COUNT(*) FROM source_record s JOIN identifier i ON {number} = s.key WHERE s.resource_id <> i.resource_id"
        assert self.kit.rows(sql + " AND s.kind = 'Patient'") == [(0,)], "a source record speaks for another than its number"
        sql = f"SELECT COUNT(*) FROM resource r JOIN identifier i ON {number} = r.patient_key WHERE r.patient_id <> i.resource_id"
        assert self.kit.rows(sql + f" AND r.kind IN {OWNED} AND r.status = 'active'") == [(0,)], "a visit is not with its number"

    def lineage_is_whole(self) -> None:
        for data, lineage in self.kit.rows("SELECT data, lineage FROM source_record"):
            assert orjson.loads(data).keys() <= orjson.loads(lineage).keys()

    # -- what must hold in the end --------------------------------------------------------------------------------

    def check_blocked_lanes(self) -> None:
        """What is left after draining stands behind a dead message, in its own lane or in the other one of a merge."""
        rows = self.kit.rows("SELECT message_id, lane, state, barrier FROM work ORDER BY message_id")
        lanes: dict[str, list[int]] = defaultdict(list)
        for message_id, lane, _, _ in rows:
            lanes[lane].append(message_id)
        held = {message_id for message_id, _, state, _ in rows if state in (State.DEAD, State.UNCERTAIN)}
        for message_id, lane, _, _ in rows:  # in order of arrival: what holds it back was looked at before
            if any(other in held for other in lanes[lane] if other < message_id):
                held.add(message_id)
        free = [row for row in rows if row[0] not in held]
        assert not free, f"{free} wait for nobody; {[c.breaker for c in self.kit.hub.targets().values()]}"

    def check_order(self) -> None:
        """In each lane the target saw messages for the first time in the order in which they were made."""
        lane_of = dict(self.kit.rows("SELECT id, lane FROM message WHERE direction = 'out'"))
        for name, recorder in self.recorders.items():
            lanes: dict[str, list[int]] = defaultdict(list)
            for message in recorder.sent:
                lanes[lane_of[message.message_id]].append(message.message_id)
            for lane, seen in lanes.items():
                first = list(dict.fromkeys(seen))
                assert first == sorted(first), f"{name} saw {lane} out of order"

    def check_golden(self) -> None:
        """Every golden record is what its source records make of it: computing it anew changes nothing."""
        ids = [r[0] for r in self.kit.rows("SELECT id FROM resource WHERE kind = 'Patient' AND status = 'active'")]
        with self.kit.hub.store.transaction() as tx:
            work = Workspace(tx)
            canon = Canon(work, self.kit.hub.authority(), tx.now)
            work.load_resources(ids)
            work.load_pointers_of(ids)
            applied, stood = Applied(), {id_: work.resources[id_].data for id_ in ids}
            for id_ in ids:
                settle_all(canon, work.resources[id_], Origin("ocs", "", 0, 0, ""), applied)
        for c in applied.changes:
            stands, anew = ({n: d.get(n) for n in c.fields if n in d} for d in (stood[c.resource.id], c.document))
            raise AssertionError(f"stands {stands}, computed anew {anew}")

    def check_audit(self) -> None:
        for action, detail in self.kit.rows("SELECT action, detail FROM entry"):
            try:
                check_detail(orjson.loads(detail))
            except ValueError as error:
                raise AssertionError(f"{action}: {error}") from error
        sequencer = self.kit.hub.sequencer()
        while sequencer.step():
            pass
        with self.kit.hub.engine.connect() as connection:
            report = verify_database(connection, self.kit.hub.config.audit.checkpoint_file, self.kit.hub.keys.signer.verifier)
        assert report.ok, report

    def end(self) -> None:
        """Everything is brought to its end, and looked at once more."""
        self.drain()  # what is on its way may still come back and stop a channel
        for name in self.kit.hub.config.channels:
            self.kit.hub.operations.resume(name, reason="the end", actor="token:test")
        self.drain()
        self.check()
        self.check_blocked_lanes()
        while dead := self.kit.rows("SELECT message_id FROM work WHERE state IN ('dead', 'uncertain') AND barrier = FALSE"):
            for (message_id,) in dead:
                self.kit.hub.operations.discard(message_id, reason="the end", actor="token:test")
            self.drain()
        self.check()
        assert self.kit.rows("SELECT COUNT(*) FROM work") == [(0,)], "something can never end"
        self.check_order()
        self.check_golden()
        self.check_audit()

    def close(self) -> None:
        self.kit.close()
