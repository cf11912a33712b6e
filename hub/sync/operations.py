"""What operators do to messages and channels: each one audited act with its reason, by the life-cycle's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hub.audit.actions import Action
from hub.audit.entry import detail_text
from hub.domain.errors import Misconfigured, NotFound
from hub.domain.lifecycle import IllegalStep, Outcome, State, Step, after
from hub.domain.ports import Pinged
from hub.domain.rows import FOREVER, EntryDraft, OutcomeRow, Row, TallyRow, WorkDone, WorkState
from hub.domain.store import Store, Tx
from hub.sync.record import reason_text


class OperationsService:
    """hub.domain.ports.Operations."""

    def __init__(self, store: Store, channels: Callable[[], Mapping[str, Any]], target: Callable[[str], Pinged]) -> None:
        """`channels`: configured names; `target`: builds the named channel's target, for a ping."""
        self._store = store
        self._channels = channels
        self._target = target

    def replay(self, message_id: int, *, reason: str, actor: str) -> None:
        """Back into its place in its lane: messages of the lane that came later still wait behind it."""
        self._act(message_id, Step.REPLAY, Action.MESSAGE_REPLAYED, reason, actor)

    def discard(self, message_id: int, *, reason: str, actor: str) -> None:
        self._act(message_id, Step.DISCARD, Action.MESSAGE_DISCARDED, reason, actor)

    def settle(self, message_id: int, *, acted: bool, reason: str, actor: str) -> None:
        self._act(message_id, Step.CONFIRM if acted else Step.DENY, Action.MESSAGE_SETTLED, reason, actor)

    def _act(self, message_id: int, step: Step, action: Action, reason: str, actor: str) -> None:
        with self._store.transaction() as tx:
            channel, state = self._state(tx, message_id)
            new = after(state, step)
            rows: list[Row] = [
                _entry(tx, action, actor, channel, message_id, {"step": str(step), "reason": reason, "from": str(state)})
            ]
            if new is State.QUEUED:
                rows.append(WorkState(message_id, State.QUEUED, 0, 0, ""))
            else:
                outcome = Outcome.DELIVERED if new is State.DONE else ""
                rows += [WorkDone(message_id), OutcomeRow(message_id, new, outcome, reason_text(reason), tx.now)]
                rows.append(TallyRow(channel, str(outcome or new), 0, 1))
            tx.write(rows)

    def _state(self, tx: Tx, message_id: int) -> tuple[str, State]:
        work = tx.work_of(message_id)
        if work is not None:
            return work[1], State(work[2])
        final = tx.one(
            "SELECT m.channel, o.state FROM message m LEFT JOIN outcome o ON o.message_id = m.id WHERE m.id = ?", message_id
        )
        if final is None:
            raise NotFound("there is no message with this id")
        raise IllegalStep(f"this message is {final[1] or 'gone'}: there is nothing to do")

    def pause(self, channel: str, *, reason: str, actor: str) -> None:
        self._set(channel, Action.CHANNEL_PAUSED, reason, actor, paused=True)

    def resume(self, channel: str, *, reason: str, actor: str) -> None:
        """Ends a pause, a stop and an open breaker alike: a person says that it can go on."""
        self._set(
            channel,
            Action.CHANNEL_RESUMED,
            reason,
            actor,
            paused=False,
            stopped="",
            breaker="closed",
            breaker_until=0,
            failures=0,
        )

    def _set(self, channel: str, action: Action, reason: str, actor: str, **columns: Any) -> None:
        if channel not in self._channels():
            raise NotFound(f"there is no channel {channel}")
        with self._store.transaction() as tx:
            tx.set_channel_state(channel, **columns)
            if action is Action.CHANNEL_RESUMED:
                tx.execute(  # what waits for its next attempt need not wait any more
                    "UPDATE work SET due = 0 WHERE channel = ? AND state = 'queued' AND due > ? AND due < ?",
                    channel, tx.now, FOREVER,
                )  # fmt: skip
                tx.execute(
                    "UPDATE alert SET cleared_at = ? WHERE channel = ? AND cleared_at IS NULL"
                    " AND kind IN ('breaker_open', 'channel_stopped')",
                    tx.now,
                    channel,
                )
            tx.write([_entry(tx, action, actor, channel, None, {"reason": reason})])

    def ping(self, channel: str, *, actor: str) -> str:
        if channel not in self._channels():
            raise NotFound(f"there is no channel {channel}")
        try:
            answer = self._target(channel).ping()
        except KeyError:
            raise Misconfigured(f"{channel} is a listener: there is nobody to ask") from None
        with self._store.transaction() as tx:
            tx.write([_entry(tx, Action.CHANNEL_PINGED, actor, channel, None, {})])
        return answer


def _entry(tx: Tx, action: Action, actor: str, channel: str, message_id: int | None, detail: Mapping[str, Any]) -> EntryDraft:
    return EntryDraft(
        tx.now,
        action,
        actor,
        channel,
        message_id,
        None,
        detail_text({k: reason_text(v) if k == "reason" else v for k, v in detail.items()}),
    )
