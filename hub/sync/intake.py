"""Intake: a batch of received messages becomes durable in one commit, before any of them is answered (promises 1, 2).

Same channel, sender and control id with the same content within the window: the stored answer again, nothing else.
Other content: control ids wrap in the field, so it is stored and an alert raised, or refused, as the channel says.
Only messages that were stored replay their answer: a refused one is refused anew.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from hub.audit.actions import Action
from hub.domain.errors import HubError, TryAgain
from hub.domain.facts import Key
from hub.domain.lifecycle import Outcome, State
from hub.domain.ports import Keys, Receipt, Received, Verdict
from hub.domain.rows import (
    AlertRow,
    AnsweredRow,
    DedupeNew,
    DedupeRow,
    EntryDraft,
    MessageRow,
    OutcomeRow,
    Row,
    TallyRow,
    WorkRow,
)
from hub.domain.store import BEHIND, Conflict, Store, Tx
from hub.sync.lanes import bucket_of, inbound_lane, outbound_lane
from hub.sync.marks import OVERTAKEN, Marks
from hub.sync.passing import Passage, owner_of, passed_rows, wanted
from hub.sync.record import reason_text

DAY_US = 86_400_000_000
ANSWERED_SECONDS = 0.25  # a row a commit would cost more than it tells
POSITIVE = frozenset({"AA", "CA"})


@dataclass(frozen=True, slots=True)
class IntakePolicy:
    """What a channel says about intake."""

    dedupe_days: int = 7
    refuse_reuse: bool = False


def _clean(text: str) -> str:
    """Database text: PostgreSQL takes no NUL, and lone surrogates are no text."""
    return _text(text)[:200]


def _text(text: str) -> str:
    if text.isascii() and "\x00" not in text:  # nearly always
        return text
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


def _cleaned(key: Key) -> Key:
    """Not cut: two numbers that begin alike are two lanes."""
    return Key(*map(_text, key))


def _lane(channel: str, patient: Key | None) -> str:
    return inbound_lane(channel, _cleaned(patient) if patient else None)


Known = dict[tuple[str, str, str], dict[bytes, DedupeRow]]  # what came under a control id, by content


class IntakeService:
    """Stores batches (hub.domain.ports.Intake). One a listening process; called from its loop, never concurrently."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        policies: Mapping[str, IntakePolicy],
        buckets: int,
        passages: Callable[[], Sequence[Passage]] = tuple,
    ) -> None:
        """`passages`: what is passed on as it came, as hub.toml says now."""
        self._passages = passages
        self._store = store
        self._keys = keys
        self._policies = policies
        self._buckets = buckets
        self._shard = os.getpid() % 1024
        self._answered: list[AnsweredRow] = []
        self._answered_since = 0.0  # when the oldest of them was added, monotonic
        self._guard = threading.Lock()
        self.full: str = ""  # a reason to take nothing: disk nearly full, queue too long (set by the keeper)
        self.stored_in: set[int] = set()  # buckets that got work since somebody last asked: whom to wake

    def store(self, batch: Sequence[Received]) -> list[Receipt]:
        """Receipts in the order of `batch`; all of one commit. A busy or full store gives TRY_AGAIN to all."""
        if self.full:
            return [Receipt(Verdict.TRY_AGAIN, reason=self.full) for _ in batch]
        passages = self._passages()
        passed = [wanted(passages, message) for message in batch] if passages else [[]] * len(batch)
        answered = self._take_answered()
        try:
            try:  # nearly always nothing of it came before
                return self._transaction(batch, passed, answered, presume=True)
            except Conflict:
                return self._transaction(batch, passed, answered, presume=False)
        except TryAgain as error:
            self._give_back(answered)
            return [Receipt(Verdict.TRY_AGAIN, reason=error.reason) for _ in batch]

    def _transaction(
        self, batch: Sequence[Received], passed: Sequence[list[str]], answered: Sequence[Row], *, presume: bool
    ) -> list[Receipt]:
        urgent, durable = (not all(one) for one in ([m.later for m in batch], [m.followed for m in batch]))
        with self._store.transaction(urgent=urgent, durable=durable) as tx:
            return _Batch(self, tx, answered).run(batch, passed, presume=presume)

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None:
        """Recorded with a commit of the next quarter of a second, or by `flush` when none comes; runs of ids as one."""
        row = AnsweredRow(first_id, last_id, orjson.dumps(list(undelivered)).decode())
        with self._guard:
            if not self._answered:
                self._answered_since = time.monotonic()
            before = self._answered[-1] if self._answered else None
            if before is not None and before.last_id + 1 == first_id and before.undelivered == row.undelivered == "[]":
                self._answered[-1] = before._replace(last_id=last_id)
            else:
                self._answered.append(row)

    def flush(self) -> None:
        """Writes what is known of answers where no message came to carry it. Called about once a second."""
        answered = self._take_answered(0.0)
        if not answered:
            return
        try:
            with self._store.transaction() as tx:
                tx.write(answered)
        except HubError:
            self._give_back(answered)

    def _take_answered(self, seconds: float = ANSWERED_SECONDS) -> list[AnsweredRow]:
        """What is known of answers, if it has been for so long."""
        with self._guard:
            if not self._answered or time.monotonic() - self._answered_since < seconds:
                return []
            rows, self._answered = self._answered, []
        return list({row.first_id: row for row in rows}.values())

    def _give_back(self, rows: list[AnsweredRow]) -> None:
        with self._guard:
            self._answered = rows + self._answered

    def policy(self, channel: str) -> IntakePolicy:
        return self._policies.get(channel) or IntakePolicy()


class _Batch:
    """One batch in one transaction."""

    def __init__(self, service: IntakeService, tx: Tx, rows: Sequence[Row]) -> None:
        self._service = service
        self._tx = tx
        self._rows: list[Row] = list(rows)
        self._tally: Counter[tuple[str, str]] = Counter()
        self._fresh: Iterator[int] = iter(())  # ids of what is passed on
        self._dedupe: dict[tuple[tuple[str, str, str], bytes], DedupeRow] = {}
        self._marks: Marks

    def run(self, batch: Sequence[Received], passed: Sequence[list[str]], *, presume: bool) -> list[Receipt]:
        """`passed`: for each message the channels that it goes on to as it is."""
        tx = self._tx
        # Locked before anything is asked: what another hub stored of these rows is then seen, and ids rise as the rows changed.
        self._marks = Marks(tx, batch)
        presume = presume and not self._marks.locked
        more = sum(map(len, passed))
        asked = [(m.channel, _clean(m.sender), _clean(m.control_id)) for m in batch if m.refused is None and m.control_id]
        before, ids = tx.arrivals(asked, len(batch) + more, presume=presume)
        self._fresh = iter(ids[len(batch) :])
        known: Known = {}
        for c, s, i, digest, message_id, code, at in before or ():
            if at >= tx.now - self._service.policy(c).dedupe_days * DAY_US:
                row = DedupeRow(c, s, i, bytes(digest), message_id, code, tx.now)
                known.setdefault((c, s, i), {})[row.digest] = row
        receipts = [self._one(*one, known) for one in zip(batch, ids[: len(batch)], passed, strict=True)]
        self._rows += self._dedupe.values() if before is not None else [DedupeNew(*row) for row in self._dedupe.values()]
        self._rows += [TallyRow(c, s, self._service._shard, n) for (c, s), n in self._tally.items()]
        self._rows += self._marks.rows()
        tx.write(self._rows)
        return receipts

    def _one(self, message: Received, message_id: int, passed: Sequence[str], known: Known) -> Receipt:
        if not self._marks.stands(message):
            return Receipt(Verdict.TRY_AGAIN, code=Conflict.code, reason=OVERTAKEN)
        if message.refused is not None:
            self._mark(message)
            return self._refuse(message, message_id, message.refused)
        key = (message.channel, _clean(message.sender), _clean(message.control_id))
        digest = self._service._keys.digest(message.content or message.body)
        before = known.get(key) if message.control_id else None
        first = before.get(digest) if before else None
        if first is not None:
            self._mark(message)
            self._tally[message.channel, "duplicate"] += 1
            self._entry(Action.MESSAGE_DUPLICATE, message.channel, first.message_id, {"digest": digest.hex()})
            return Receipt(Verdict.STORED, first.message_id, duplicate_of=first.message_id, code=first.code)
        reused = bool(before)
        if reused:
            self._alert_reuse(message.channel, message_id)
            if self._service.policy(message.channel).refuse_reuse:
                if message.mark is not None and not message.mark.n:
                    self._mark(message)  # a place: it is behind us. A count would make the same known when it comes again
                return self._refuse(message, message_id, "control id used again for other content", code="control_id_reused")
        self._mark(message)
        self._save(message, message_id, digest, passed)
        if message.control_id:
            row = DedupeRow(*key, digest, message_id, message.code, self._tx.now)
            known.setdefault(key, {})[digest] = self._dedupe[key, digest] = row
        return Receipt(Verdict.STORED, message_id, code=message.code, reused=reused)

    def _mark(self, message: Received) -> None:
        if message.mark is not None:
            self._marks.set(message.mark, message.mark_before)

    def _save(self, message: Received, message_id: int, digest: bytes, passed: Sequence[str]) -> None:
        lane = _lane(message.channel, message.patient)
        bucket = bucket_of(lane, self._service._buckets)
        self._message(message, message_id, lane, bucket)
        self._tally[message.channel, "received"] += 1
        now = self._tx.now
        detail: dict[str, object] = {"digest": digest.hex()}
        if passed:
            fresh = [(next(self._fresh), channel) for channel in passed]
            patients = [_cleaned(key) for key in (message.patient, message.other_patient) if key is not None]
            self._rows += passed_rows(
                _clean(message.type), patients, message_id, fresh, now, self._service._buckets, message.later
            )
            if len(patients) == 2:
                for channel in passed:
                    self._make_way(outbound_lane(channel, owner_of(patients[0])), outbound_lane(channel, owner_of(patients[1])))
            detail["passed"] = [list(one) for one in fresh]
        self._entry(Action.MESSAGE_STORED, message.channel, message_id, detail)
        if message.filtered:
            self._rows.append(OutcomeRow(message_id, State.DONE, Outcome.IGNORED, "filtered by the channel's accept list", now))
            self._tally[message.channel, "ignored"] += 1
            return
        second = _lane(message.channel, message.other_patient) if message.other_patient else lane
        place = bucket + BEHIND if message.later and second == lane else bucket
        self._rows.append(
            WorkRow("in", place, message_id, lane, message.channel, State.QUEUED, False, second != lane, 0, 0, "", now)
        )
        if second != lane:
            self._make_way(lane, second)
            other = bucket_of(second, self._service._buckets)
            self._rows.append(WorkRow("in", other, message_id, second, message.channel, State.QUEUED, True, False, 0, 0, "", now))
        self._service.stored_in.add(bucket)

    def _make_way(self, lane: str, second: str) -> None:
        """What waits for both lanes does not wait for a load: nothing in them may wait."""
        if second != lane:
            sql = "UPDATE work SET bucket = bucket - ? WHERE lane IN (?, ?) AND bucket >= ?"
            self._tx.execute(sql, BEHIND, lane, second, BEHIND)

    def _refuse(self, message: Received, message_id: int, reason: str, code: str = "refused") -> Receipt:
        self._message(message, message_id, "", 0)
        self._rows.append(OutcomeRow(message_id, State.REFUSED, "", _clean(reason), self._tx.now))
        self._tally[message.channel, "received"] += 1
        self._tally[message.channel, "refused"] += 1
        self._entry(Action.MESSAGE_REFUSED, message.channel, message_id, {"code": code, "reason": reason_text(reason)})
        return Receipt(Verdict.NEVER, message_id, code=message.code, reason=reason)

    def _message(self, m: Received, message_id: int, lane: str, bucket: int) -> None:
        sealed = self._service._keys.seal("message", message_id, m.body)
        self._rows.append(
            MessageRow(
                message_id, m.channel, "in", self._tx.now, _clean(m.sender), _clean(m.control_id), _clean(m.type),
                _clean(m.patient.value) if m.patient else "", lane, bucket, sealed, _clean(m.charset), m.answer_owed,
                m.code, None, None, None,
            )
        )  # fmt: skip

    def _entry(self, action: Action, channel: str, message_id: int, detail: Mapping[str, object]) -> None:
        text = orjson.dumps(detail, option=orjson.OPT_SORT_KEYS).decode()
        self._rows.append(EntryDraft(self._tx.now, action, "system", channel, message_id, None, text))

    def _alert_reuse(self, channel: str, message_id: int) -> None:
        text = f"message {message_id} carries a control id that stood for other content"
        self._rows.append(AlertRow(self._tx.now, "control_id_reused", channel, text, None))
        self._entry(Action.MESSAGE_CONTROL_ID_REUSED, channel, message_id, {})
