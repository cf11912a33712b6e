"""Retention: bodies are erased by age and class, in small portions, never those of anything undelivered.

The message, its audit entries and what it did stay; the windows (dedupe, answers, alerts) are cut too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hub.audit.actions import Action
from hub.audit.entry import detail_text
from hub.config.model import RetentionSection
from hub.domain.rows import EntryDraft
from hub.domain.store import Store, Tx

DAY_US = 86_400_000_000
PORTION = 500  # rows a transaction, so that nobody waits long for the write turn
LONGEST_WINDOW_DAYS = 400


class Retention:
    """Erases what is older than the configuration allows."""

    def __init__(self, store: Store, keep: RetentionSection) -> None:
        self._store = store
        self._keep = keep

    def purge(self, *, actor: str = "system", progress: Callable[[int], None] | None = None) -> dict[str, int]:
        """Erased bodies by class, and rows cut from windows. `progress` gets the running total."""
        k = self._keep
        classes = {
            "ignored": (k.ignored_days, "o.outcome = 'ignored'"),
            "refused": (k.refused_days, "o.state = 'refused'"),
            "discarded": (k.dead_days, "o.state = 'discarded'"),
            "done": (k.done_days, "o.state = 'done' AND o.outcome <> 'ignored'"),
        }
        counts: dict[str, int] = {}
        for name, (days, where) in classes.items():
            counts[name] = self._portions(partial(_bodies, days=days, where=where), progress)
        counts["dedupe"] = self._portions(_dedupe, progress)
        if any(counts.values()):
            with self._store.transaction() as tx:
                tx.write([EntryDraft(tx.now, Action.PURGE_DONE, actor, "", None, None, detail_text(dict(counts)))])
        return counts

    def _portions(self, act: Callable[[Tx], int], progress: Callable[[int], None] | None) -> int:
        total = 0
        while True:
            with self._store.transaction() as tx:
                done = act(tx)
            total += done
            if progress is not None:
                progress(total)
            if done < PORTION:
                return total


def _bodies(tx: Tx, days: int, where: str) -> int:
    """Bodies of one class; a message that still has work is never touched."""
    before = tx.now - days * DAY_US
    return tx.execute(
        "UPDATE message SET body = NULL WHERE id IN (SELECT m.id FROM message m JOIN outcome o ON o.message_id = m.id"  # noqa: S608
        f" WHERE m.body IS NOT NULL AND m.at < ? AND {where}"
        " AND NOT EXISTS (SELECT 1 FROM work w WHERE w.message_id = m.id)"
        " AND NOT EXISTS (SELECT 1 FROM message c JOIN work w ON w.message_id = c.id WHERE c.cause = m.id)"
        " ORDER BY m.id LIMIT ?)",
        before, PORTION,
    )  # fmt: skip


def _dedupe(tx: Tx) -> int:
    before = tx.now - LONGEST_WINDOW_DAYS * DAY_US
    keys = "SELECT channel, sender, control_id FROM dedupe WHERE at < ? LIMIT ?"
    return tx.execute(f"DELETE FROM dedupe WHERE (channel, sender, control_id) IN ({keys})", before, PORTION)  # noqa: S608
