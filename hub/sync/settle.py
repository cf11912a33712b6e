"""What a target says later of a message that it took: confirmed, turned down, or still on its way (SAP's status IDocs).

Done as one transaction with the message that says so. A message that was taken and not confirmed (UNCONFIRMED) is confirmed, or
becomes a dead letter with the target's reason, which holds up nobody: what came after it in its lane has gone. One that the
target turned down and then acted on after all (a person there saw to it) is done. Whatever else was said is an attempt's detail,
also a refusal that was made before the message was delivered once more: it is of the sending before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hub.audit.actions import Action
from hub.audit.entry import detail_text
from hub.domain.facts import Settled
from hub.domain.lifecycle import UNCONFIRMED, Outcome, State, Step, after
from hub.domain.rows import AlertRow, AttemptRow, EntryDraft, OutcomeRow, Row, TallyRow, WorkDone, WorkRow
from hub.domain.store import Tx

UNKNOWN = "status_unknown"  # the alert: a status of no message of ours
MEANWHILE = "the target said meanwhile: "  # reason of work that is still on its way
APART = 60_000_000  # µs that the target's clock may be behind ours
VERDICTS = {True: "confirmed", False: "refused", None: "taken"}


def settle(tx: Tx, told: Sequence[Settled], channels: Collection[str], source: str, shard: int) -> list[str]:
    """Writes what follows from each before the next is looked at: several may be of one message. Notes for what says so.

    `channels`: whose messages may be settled; `source`: the channel that brought it; `shard`: of the tally.
    """
    unknown = 0
    for one in told:
        row = tx.one("SELECT channel, lane, bucket, resource_id FROM message WHERE id = ? AND direction = 'out'", one.message_id)
        if row is None or row[0] not in channels:
            unknown += 1
            continue
        tx.write(_Message(tx, one, *row).rows(shard))
    if not unknown:
        return []
    text = f"{unknown} of {len(told)} statuses are of no message that was sent there"
    tx.write([AlertRow(tx.now, UNKNOWN, source, text, None)])
    return [UNKNOWN]


def meanwhile(tx: Tx, message_id: int) -> tuple[bool, str] | None:
    """Whether the target has confirmed or turned down a message, and how it said so, before its delivery was written down."""
    row = tx.one("SELECT reason FROM work WHERE message_id = ? AND state = 'in_flight' AND NOT barrier", message_id)
    if row is None or not str(row[0]).startswith(MEANWHILE):
        return None
    verdict, _, detail = str(row[0]).removeprefix(MEANWHILE).partition(": ")
    return verdict == VERDICTS[True], detail


class _Message:
    def __init__(self, tx: Tx, one: Settled, channel: str, lane: str, bucket: int, resource_id: str | None) -> None:
        self._tx, self._one = tx, one
        self._channel, self._lane, self._bucket, self._resource = channel, lane, int(bucket), resource_id

    def rows(self, shard: int) -> list[Row]:
        tx, one, id_ = self._tx, self._one, self._one.message_id
        n = int((tx.one("SELECT coalesce(max(n), 0) FROM attempt WHERE message_id = ?", id_) or (0,))[0])
        said = AttemptRow(id_, n + 1, tx.now, VERDICTS[one.acted], one.detail, None, None)
        return [said, *self._follows(one.acted, shard)] if one.acted is not None else [said]

    def _follows(self, acted: bool, shard: int) -> list[Row]:
        tx, one, id_ = self._tx, self._one, self._one.message_id
        work = tx.work_of(id_)
        if work is None:
            done = tx.one("SELECT state, reason FROM outcome WHERE message_id = ?", id_)
            if done is None or done[0] != State.DONE or done[1] != UNCONFIRMED:
                return []  # confirmed before, or given up: said twice, or too late
            if acted:
                return self._confirmed()
            return [] if self._of_an_earlier_sending() else self._dead(shard)
        if work[2] == State.IN_FLIGHT:
            said = f"{MEANWHILE}{VERDICTS[acted]}: {one.detail}"
            tx.execute("UPDATE work SET reason = ? WHERE message_id = ? AND state = 'in_flight' AND NOT barrier", said, id_)
        elif work[2] == State.DEAD and acted and self._was_delivered():
            state = after(State.DEAD, Step.ACCEPT)
            done_now = OutcomeRow(id_, state, Outcome.DELIVERED, "", tx.now)
            return [WorkDone(id_), done_now, self._entry(), TallyRow(self._channel, "delivered", shard, 1)]
        return []

    def _confirmed(self) -> list[Row]:
        return [OutcomeRow(self._one.message_id, State.DONE, Outcome.DELIVERED, "", self._tx.now), self._entry()]

    def _dead(self, shard: int) -> list[Row]:
        """A dead letter of what was delivered. Its outcome stays beneath it, as of a message that is replayed."""
        id_, now, reason = self._one.message_id, self._tx.now, self._one.detail
        state, detail = after(State.DONE, Step.DECLINE), detail_text({"reason": reason, "lane": "skipped"})
        return [
            WorkRow("out", self._bucket, id_, self._lane, self._channel, state, False, False, 0, 0, reason, now),
            EntryDraft(now, Action.MESSAGE_DEAD, "system", self._channel, id_, self._resource, detail),
            TallyRow(self._channel, "delivered", shard, -1),
        ]

    def _of_an_earlier_sending(self) -> bool:
        """A message that a person sent once more has the same number there: only the time tells which sending is meant."""
        sql = "SELECT count(*), max(at) FROM attempt WHERE message_id = ? AND verdict = 'delivered'"
        times, last = self._tx.one(sql, self._one.message_id) or (0, 0)
        return bool(times > 1 and 0 < self._one.at < last - APART)

    def _was_delivered(self) -> bool:
        row = self._tx.one("SELECT outcome FROM outcome WHERE message_id = ?", self._one.message_id)
        return row is not None and row[0] == Outcome.DELIVERED

    def _entry(self) -> EntryDraft:
        detail = detail_text({"step": "confirm", "reason": self._one.detail})
        return EntryDraft(
            self._tx.now, Action.MESSAGE_SETTLED, "system", self._channel, self._one.message_id, self._resource, detail
        )  # fmt: skip
