"""Apply: stored messages become canonical changes, many in one transaction (promises 2, 3 and 6).

A batch is read, opened, parsed and mapped before the write transaction begins. If one message of it fails, the whole
batch is rolled back and applied one by one, so that the bad one ends DEAD alone and costs its neighbours nothing. Effects,
outbound work, audit entries and the end of the work commit together: a crash in between leaves the message queued.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import orjson

from hub import log
from hub.audit.actions import Action
from hub.domain.errors import TryAgain, Unmappable, Unreadable
from hub.domain.facts import AnyFact, Fact, Key, Mapped, Snapshot
from hub.domain.lifecycle import UNCONFIRMED, Outcome, State
from hub.domain.ports import Keys
from hub.domain.rows import FOREVER, EntryDraft, OutcomeRow, Row, TallyRow, WorkDone, WorkState
from hub.domain.store import BEHIND, Conflict, InboundWork, Lease, LeaseLost, Store, Tx
from hub.sync.authority import Authority
from hub.sync.canon import Applied, Canon, Changed, Origin
from hub.sync.courtesy import WINDOW_US, Courtesy
from hub.sync.lanes import CHANNEL_LANE
from hub.sync.record import reason_text, record, summary
from hub.sync.repeats import Repeats, Said, Standing, Told, Who, told_by
from hub.sync.routes import Route
from hub.sync.settle import settle
from hub.sync.shared import SHARED, Shared
from hub.sync.structure import Structure, is_structural
from hub.sync.turns import Turns, sort_out
from hub.sync.workspace import Workspace

_log = log.get(__name__)
LEASE_SECONDS = 15.0
LATER = 50  # messages of a load that are applied in one step: a live one waits for no more
CAREFUL = 200  # messages applied one by one after a worker died: more than it can have had in hand
DEATHS = 3  # workers that may die of one message before it is dead itself
NOT_READ = "not read: "  # before the warnings of the map: paths and codes, never a value
REMARKS = 300  # characters; all of them stand in the audit log
CONFLICTS = 5  # times that a run is computed anew before its turn is given up


class Mapper(Protocol):
    """Bytes as received, and the event that intake saw in them -> facts; None where no map wants it.

    Raises Unreadable or Unmappable.
    """

    def __call__(self, body: bytes, event: str, received_at: int) -> Mapped | None: ...


@dataclass(frozen=True, slots=True)
class InboundChannel:
    """What apply needs to know of a channel."""

    name: str
    system: str
    mapper: Mapper
    on_dead: Literal["block", "skip"] = "block"
    answers_for: tuple[str, ...] = ()  # outbound channels of whose messages it may say what became of them


@dataclass(slots=True)
class Ready:
    """A message, parsed and mapped, or the reason why that failed."""

    work: InboundWork
    mapped: Mapped | None = None
    error: str = ""
    structural: bool = False
    said: Said | None = None  # its patient's part, where the message has one that can stand by itself
    part: list[AnyFact] | None = None  # the facts of that part, once they were wanted …
    warned: tuple[str, ...] = ()  # … and what could not be read of it

    @classmethod
    def of(cls, work: InboundWork, mapped: Mapped | None, system: str) -> Ready:
        if mapped is None:
            return cls(work)
        said = Said(system, mapped.part.patient, mapped.part.digest, mapped.event_at) if mapped.part else None
        return cls(work, mapped, structural=is_structural(mapped.facts), said=said)

    @property
    def packed(self) -> bool:
        """Whether the patient's part is not among the facts yet."""
        return self.said is not None and self.part is None

    def unpack(self) -> None:
        """The patient's part is wanted among the facts."""
        assert self.mapped is not None
        assert self.mapped.part is not None
        known = len(self.mapped.warnings)
        self.part = self.mapped.part.facts()
        self.warned = tuple(self.mapped.warnings[known:])
        at = self.mapped.part.at
        self.mapped.facts[at:at] = self.part


class Applier:
    """Applies what is due in the buckets of a lease. One a worker thread."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        channels: Callable[[], Mapping[str, InboundChannel]],
        routes: Callable[[], Sequence[Route]],
        authority: Callable[[], Authority],
        buckets: int,
        batch: int = 100,
        small_batch: int | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._channels = channels
        self._routes = routes
        self._authority = authority
        self._buckets = buckets
        self._batch = batch
        self._small_batch = small_batch
        self._shard = os.getpid() % 1024
        self.shared = Shared()
        self.repeats = Repeats()
        self._courtesy = Courtesy()
        self._in_force: Mapping[str, InboundChannel] = {}  # of the step that is going on
        self._unknown: set[str] = set()  # channels that messages wait for and that are not configured (any more, or yet)
        self._careful: dict[int, int] = {}  # lease token -> messages still to be applied one by one

    def step(self, lease: Lease) -> int:
        """Applies one batch; how many messages it dealt with (0: nothing is due). LeaseLost, TryAgain: nothing happened."""
        if lease.inherited and lease.token not in self._careful:
            self._careful = {lease.token: CAREFUL}
        careful = self._careful.get(lease.token, 0) > 0
        numbers = [int(name.split(":")[1]) for name in lease.names]
        self._courtesy.begin()
        self._in_force = self._channels()
        with self._store.snapshot() as tx:
            barred = [s.channel for s in tx.channel_states() if s.paused or s.stopped]
            barred += self._unknown.difference(self._in_force)
            arrived = tx.arrived(tx.now - WINDOW_US)
            most = 1 if careful else self._portion(arrived)
            turns = sort_out(tx, "in", tx.due_inbound(numbers, barred, most, 1 if careful else LATER), barred)
            waited = tx.now - min((work.at for work in turns.live), default=tx.now)
        self._make_way(turns, lease)
        live, later = self._known(turns.live), self._known(turns.later)
        if not live and not later:
            self._careful.update({lease.token: 0} if careful and not turns.moved else {})
            return len(turns.moved)
        if careful:
            self._careful[lease.token] -= 1
            live, later = self._counted((live or later)[:1], lease), []
        blocked: set[str] = set()
        self._apply(live, lease, blocked)
        arrived_here = arrived * len(numbers) / self._buckets
        if len(live) >= most // 2 > 0 and self._courtesy.rest(len(live), arrived_here, waited):
            return len(live)  # a flood: the load waits for its end
        self._apply(later, lease, blocked)
        return len(live) + len(later)

    def _apply(self, works: Sequence[InboundWork], lease: Lease, blocked: set[str]) -> None:
        for run in _runs([self._prepare(work) for work in works]):
            self._apply_run(run, lease, blocked)

    def _known(self, works: Sequence[InboundWork]) -> list[InboundWork]:
        """Those of configured channels. The others wait: the process that stored them may have read hub.toml before this one,
        and a channel that was taken out of it may come back."""
        channels = self._in_force
        self._unknown = {w.channel for w in works if w.channel not in channels} | self._unknown.difference(channels)
        return [w for w in works if w.channel in channels]

    def _make_way(self, turns: Turns[InboundWork], lease: Lease) -> None:
        """What could have waited, but for a live message behind it in its lane."""
        if turns.moved:
            with self._store.transaction(durable=False) as tx:
                tx.hold(lease, LEASE_SECONDS)
                tx.write(turns.moved)

    def _portion(self, arrived: int) -> int:
        """Where there is one writer, apply takes the turn for a short time only while senders wait for their answers."""
        return min(self._batch, self._small_batch) if self._small_batch is not None and arrived else self._batch

    def _counted(self, due: Sequence[InboundWork], lease: Lease) -> list[InboundWork]:
        """The last worker died, and a message may have killed it: each is counted durably before anything touches it."""
        counted = [work._replace(attempts=work.attempts + 1) for work in due]
        with self._store.transaction() as tx:
            tx.hold(lease, LEASE_SECONDS)
            tx.write([WorkState(w.message_id, State.QUEUED, w.attempts, 0, "") for w in counted])
        return counted

    # -- before the transaction -----------------------------------------------------------------------------------

    def _prepare(self, work: InboundWork) -> Ready:
        channel = self._in_force[work.channel]
        if work.body is None:
            return Ready(work, error="its body was purged")
        if work.attempts > DEATHS:
            return Ready(work, error=f"its worker died {DEATHS} times while it was applied")
        try:
            mapped = channel.mapper(self._keys.open_("message", work.message_id, work.body), work.type, work.at)
            ready = Ready.of(work, mapped, channel.system)
            if ready.said is not None and self.repeats.told(ready.said.digest) is None:
                ready.unpack()
            return ready
        except (Unreadable, Unmappable) as error:
            where = getattr(error, "where", "")
            return Ready(
                work,
                error=f"{error.code}: {error.reason}" + (f" ({where})" if isinstance(error, Unreadable) and str(where) else ""),
            )
        except Exception as error:  # noqa: BLE001 - foreseen by nobody: our bug, DEAD, never an automatic retry
            _log.exception("mapping failed", extra={"channel": work.channel, "message_id": work.message_id})
            return Ready(work, error=f"our bug: {type(error).__name__} while mapping")

    # -- the transaction ------------------------------------------------------------------------------------------

    def _apply_run(self, run: Sequence[Ready], lease: Lease, blocked: set[str]) -> None:
        """`blocked`: lanes in which a message of this batch died; what stands behind it stays queued."""
        try:
            self._transaction(run, lease, blocked)
        except (TryAgain, LeaseLost):
            raise
        except Exception as error:  # noqa: BLE001 - foreseen by nobody: our bug, DEAD, its neighbours one by one
            if len(run) > 1:
                for one in run:
                    self._apply_run([one], lease, blocked)
                return
            work = run[0].work
            if isinstance(error, Unmappable):
                reason = f"{error.code}: {error.reason}"
            else:
                _log.exception("apply failed", extra={"channel": work.channel, "message_id": work.message_id})
                reason = f"our bug: {type(error).__name__} while applying"
            self._transaction([Ready(work, error=reason)], lease, blocked)

    def _transaction(self, run: Sequence[Ready], lease: Lease, blocked: set[str]) -> None:
        """Computed from a snapshot, then written in a short transaction if nothing of it has changed meanwhile.

        So the write turn is not held while Python thinks. What is structural is computed under locks. Not durable by
        itself: what it makes leaves the house only after a delivery's claim, which is.
        """
        for _ in range(CONFLICTS):
            plan = Plan(self, blocked)
            if not run[0].structural:
                with self._store.snapshot() as tx:
                    plan.compute(tx, run)
            try:
                with self._store.transaction(durable=False) as tx:
                    tx.hold(lease, LEASE_SECONDS)
                    if plan.computed:
                        tx.confirm(*plan.versions())
                    else:
                        plan.compute(tx, run)
                    plan.write(tx)
            except Conflict:
                continue
            plan.remember()
            blocked |= plan.blocked
            return
        raise LookupError("what it rests on kept changing, or it collides with something that is there")


class Plan:
    """What one run of messages does: computed first, written then."""

    def __init__(self, applier: Applier, blocked: set[str]) -> None:
        self._applier = applier
        self.blocked = set(blocked)
        self.computed = False
        self._now = 0
        self._work: Workspace | None = None
        self._rows: list[Row] = []
        self._canonical: list[Row] = []
        self._history: list[Row] = []
        self._results: list[tuple[Ready, Applied]] = []
        self._tally: Counter[tuple[str, str]] = Counter()
        self._standing: dict[Who, Standing] = {}
        self._told: list[tuple[bytes, Told]] = []
        self._news: dict[int, list[AnyFact]] = {}  # message id -> its facts without what only repeats what is stored
        self._systems = {name: channel.system for name, channel in applier._channels().items()}
        self._distinct = tuple(dict.fromkeys(self._systems.values()))

    def _heard(self, ready: Ready) -> list[AnyFact]:
        assert ready.mapped is not None
        facts = ready.mapped.facts
        return facts if ready.structural else self._applier.shared.news(self._systems[ready.work.channel], facts)

    def _practitioner(self, key: Key) -> str | None:
        for system in self._distinct:
            id_ = self._applier.shared.resource_id("Practitioner", key, system)
            if id_ is not None:
                return id_
        return None

    def _stand(self, tx: Tx, run: Sequence[Ready]) -> dict[Who, Standing]:
        """Patients whose part is only repeated in this run; of all others it is unpacked, for what is said of one in order."""
        told = {ready.said.who for ready in run if ready.said is not None and not ready.packed}
        for ready in run:
            if ready.mapped is not None:
                told |= {(self._systems[ready.work.channel], p) for p in map(_told_of, ready.mapped.facts) if p is not None}
        said = [ready.said for ready in run if ready.packed and ready.said is not None and ready.said.who not in told]
        standing = self._applier.repeats.standing(tx, said)
        for ready in run:
            if ready.packed and ready.said is not None and ready.said.who not in standing:
                ready.unpack()
        return standing

    def remember(self) -> None:
        """What stands now of patients, doctors and insurers; after the commit."""
        for digest, told in self._told:
            self._applier.repeats.remember(digest, told)
        for ready, _ in self._results:
            for fact in self._news[ready.work.message_id]:
                if isinstance(fact, Fact) and fact.kind in SHARED and self._work is not None:
                    found = self._work.find(fact.kind, fact.key)
                    if found is not None:
                        self._applier.shared.remember(self._systems[ready.work.channel], fact, found.id)

    def compute(self, tx: Tx, run: Sequence[Ready]) -> None:
        """Applies the facts in memory."""
        self._now = tx.now
        self._work = work = Workspace(tx)
        canon = Canon(work, self._applier._authority(), tx.now, self._practitioner)
        self._standing = self._stand(tx, run)
        work.stood = {who[1]: (s.patient_id, s.loaded) for who, s in self._standing.items()}
        self._news = {r.work.message_id: self._heard(r) for r in run if r.mapped is not None}
        canon.load([fact for facts in self._news.values() for fact in facts])
        for ready in run:
            if ready.work.lane in self.blocked:
                continue
            if ready.error:
                self._dead(ready)
            elif ready.mapped is None:
                self._done(ready.work, Outcome.IGNORED, Action.MESSAGE_IGNORED, "no map for this event", {})
            else:
                self._results.append((ready, self._apply(canon, ready, self._history)))
        self._canonical = work.rows(tx.now)
        for standing in self._standing.values():
            self._canonical += standing.rows()
        self.computed = True

    def versions(self) -> tuple[dict[str, tuple[int, str | None]], list[str]]:
        """What was read, with its version and owner, and which of it is to be written."""
        assert self._work is not None
        return self._work.versions()

    def write(self, tx: Tx) -> None:
        """Everything set-wise; ids are given out here, so that they rise with the commits."""
        changes = [change for _, applied in self._results for change in applied.changes]
        later = {ready.work.message_id for ready, _ in self._results if ready.work.bucket >= BEHIND}
        rows, ids = record(tx, changes, self._applier._routes(), self._applier._buckets, later)
        for ready, applied in self._results:
            self._settle(tx, ready, applied)
            self._finish(ready, applied, ids)
        self._rows += [TallyRow(c, s, self._applier._shard, n) for (c, s), n in self._tally.items()]
        tx.write([*self._canonical, *rows, *self._history, *self._rows])
        for changed in changes:
            if changed.resource.kind == "Appointment":
                _confirm(tx, changed)

    def _settle(self, tx: Tx, ready: Ready, applied: Applied) -> None:
        """What a target says of messages that it was sent."""
        if ready.mapped is None or not ready.mapped.settled:
            return
        channel = self._applier._channels()[ready.work.channel]
        applied.notes += settle(tx, ready.mapped.settled, channel.answers_for, channel.name, self._applier._shard)

    def _apply(self, canon: Canon, ready: Ready, history: list[Row]) -> Applied:
        mapped, work = ready.mapped, ready.work
        assert mapped is not None
        channel = self._applier._channels()[work.channel]
        origin = Origin(channel.system, work.channel, work.message_id, mapped.event_at, mapped.map_version)
        if not ready.structural:
            applied = canon.apply(self._news[work.message_id], origin)
            history += canon.history
            canon.history = []
            self._repeated(ready, applied)
            return applied
        structure = Structure(canon)
        applied = structure.apply(mapped.facts, origin)
        history += [*structure.history, *canon.history]
        return applied

    def _repeated(self, ready: Ready, applied: Applied) -> None:
        """The patient's part was heard again; or, applied without a word to anybody, it will be known when it comes again."""
        said = ready.said
        if said is None or ready.mapped is None or ready.mapped.part is None or self._work is None:
            return
        if ready.part is None:
            again = self._standing[said.who].hear(said)
            ready.mapped.warnings += [note for note in again.warnings if note not in ready.mapped.warnings]
        elif not applied.notes and not applied.stale:
            left = told_by(ready.mapped.part, ready.part, ready.warned, said.system, self._work)
            if left is not None:
                self._told.append((said.digest, left))

    def _finish(self, ready: Ready, applied: Applied, ids: Mapping[int, int]) -> None:
        stale = bool(applied.stale) and not applied.changes
        outcome = Outcome.STALE if stale else Outcome.APPLIED
        detail: dict[str, object] = {}
        if applied.changes:
            detail["changes"] = summary(applied.changes, ids)
        warnings = [*applied.notes, *(ready.mapped.warnings if ready.mapped else ())]
        if warnings:
            detail["notes"] = warnings
        reason = "older than what its source said last" if stale else _remarks(applied.notes, ready)
        action = Action.MESSAGE_STALE if stale else Action.MESSAGE_APPLIED
        self._done(ready.work, outcome, action, reason, detail, _patient(applied.changes))

    def _done(
        self,
        work: InboundWork,
        outcome: Outcome,
        action: Action,
        reason: str,
        detail: Mapping[str, object],
        patient: str | None = None,
    ) -> None:
        now = self._now
        self._rows.append(WorkDone(work.message_id))
        self._rows.append(OutcomeRow(work.message_id, State.DONE, outcome, reason, now))
        self._entry(action, work, detail, patient)
        self._tally[work.channel, outcome] += 1

    def _dead(self, ready: Ready) -> None:
        """Holds its lane back, or lets it go on, as the channel says."""
        work = ready.work
        channel = self._applier._channels().get(work.channel)
        skips = work.lane.startswith(CHANNEL_LANE) or (channel is not None and channel.on_dead == "skip")
        due = 0 if skips else FOREVER  # messages that name no patient share a lane, and none of them waits for another
        if due == FOREVER:
            self.blocked.add(work.lane)
        self._rows.append(WorkState(work.message_id, State.DEAD, work.attempts + 1, due, ready.error))
        self._entry(
            Action.MESSAGE_DEAD, work, {"reason": reason_text(ready.error), "lane": "skipped" if due == 0 else "blocked"}, None
        )

    def _entry(self, action: Action, work: InboundWork, detail: Mapping[str, object], patient: str | None) -> None:
        text = orjson.dumps(detail, option=orjson.OPT_SORT_KEYS).decode() if detail else "{}"
        self._rows.append(EntryDraft(self._now, action, "system", work.channel, work.message_id, patient, text))


def _remarks(notes: Sequence[str], ready: Ready) -> str:
    """What was applied and is not all well: it stands beside the message's state, where everybody looks."""
    unread = ready.mapped.warnings if ready.mapped else ()
    said = [*dict.fromkeys(notes), *([f"{NOT_READ}{'; '.join(unread)}"] if unread else [])]
    text = ", ".join(said)
    return text if len(text) <= REMARKS else text[: REMARKS - 1] + "…"


def _runs(ready: Sequence[Ready]) -> list[list[Ready]]:
    """Runs that may share a transaction: a structural message is alone, because what it moves others have loaded."""
    runs: list[list[Ready]] = []
    alone = True
    for one in ready:
        if one.structural or alone or not runs:
            runs.append([one])
        else:
            runs[-1].append(one)
        alone = one.structural
    return runs


def _confirm(tx: Tx, changed: Changed) -> None:
    """A system that tells of a booking has thereby confirmed what it was asked about it."""
    tx.execute(
        "UPDATE outcome SET reason = '' WHERE reason = ? AND message_id IN"
        " (SELECT m.id FROM message m WHERE m.resource_id = ? AND m.direction = 'out')",
        UNCONFIRMED, changed.resource.id,
    )  # fmt: skip


def _told_of(fact: AnyFact) -> Key | None:
    """The patient whose own records a fact speaks to."""
    if isinstance(fact, Snapshot):
        return fact.patient
    return fact.key if isinstance(fact, Fact) and fact.kind == "Patient" else None


def _patient(changes: Sequence[Changed]) -> str | None:
    return next((c.resource.patient_id for c in changes if c.resource.patient_id), None)
