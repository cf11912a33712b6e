"""Retention: bodies are erased by age and class, in small portions, never those of anything undelivered.

The message, its audit entries and what it did stay; bytes as sent and answered go with the body, and the windows of
control ids and answers are cut. What to erase is looked up in a snapshot, so that nobody waits for the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hub.audit.actions import Action
from hub.audit.entry import detail_text
from hub.config.model import RetentionSection
from hub.domain.rows import EntryDraft
from hub.domain.store import Store

DAY_US = 86_400_000_000
PORTION = 500  # rows a transaction, so that nobody waits long for the write turn

# A message whose work is over, and everything that it caused too: what is undelivered keeps its cause readable.
_OVER = """
    m.at < ? AND NOT EXISTS (SELECT 1 FROM work w WHERE w.message_id = m.id)
    AND m.id NOT IN (SELECT c.cause FROM work w JOIN message c ON c.id = w.message_id WHERE c.cause IS NOT NULL)
"""


class Retention:
    """Erases what is older than the configuration allows. `dedupe_days`: by channel, how long control ids are kept."""

    def __init__(self, store: Store, keep: RetentionSection, dedupe_days: Mapping[str, int] | None = None) -> None:
        self._store = store
        self._keep = keep
        self._dedupe_days = dedupe_days or {}
        self._erased: dict[str, int] = {}  # class -> last id erased: where the next search begins

    def purge(self, *, actor: str = "system", progress: Callable[[int], None] | None = None) -> dict[str, int]:
        """Erased bodies by class, and rows cut from windows. `progress` gets the running total."""
        k = self._keep
        classes = {
            "ignored": (k.ignored_days, "o.outcome = 'ignored'"),
            "refused": (k.refused_days, "o.state = 'refused'"),
            "discarded": (k.dead_days, "o.state = 'discarded'"),
            "done": (k.done_days, "o.state = 'done' AND o.outcome <> 'ignored'"),
        }
        counts = {name: self._bodies(name, days, where, progress) for name, (days, where) in classes.items()}
        counts["dedupe"] = sum(self._dedupe(channel, days) for channel, days in self._dedupe_days.items())
        if any(counts.values()):
            with self._store.transaction() as tx:
                tx.write([EntryDraft(tx.now, Action.PURGE_DONE, actor, "", None, None, detail_text(dict(counts)))])
        return counts

    def _bodies(self, name: str, days: int, where: str, progress: Callable[[int], None] | None) -> int:
        """From where the last purge of this object ended; what was held back then is found by the next process's."""
        total, after = 0, self._erased.get(name, 0)
        while True:
            with self._store.snapshot() as tx:
                found = tx.many(
                    "SELECT m.id FROM message m JOIN outcome o ON o.message_id = m.id LEFT JOIN attempt a ON a.message_id = m.id"  # noqa: S608
                    " WHERE m.id > ? AND (m.body IS NOT NULL OR a.sent IS NOT NULL OR a.answer IS NOT NULL)"
                    f" AND {where} AND {_OVER}"
                    " GROUP BY m.id ORDER BY m.id LIMIT ?",
                    after, tx.now - days * DAY_US, PORTION,
                )  # fmt: skip
            ids = [int(row[0]) for row in found]
            if not ids:
                return total
            self._erase(ids)
            total, after = total + len(ids), ids[-1]
            self._erased[name] = after
            if progress is not None:
                progress(total)

    def _erase(self, ids: list[int]) -> None:
        marks = ", ".join("?" * len(ids))
        with self._store.transaction(durable=False) as tx:
            tx.execute(f"UPDATE message SET body = NULL WHERE id IN ({marks})", *ids)  # noqa: S608
            tx.execute(f"UPDATE attempt SET sent = NULL, answer = NULL WHERE message_id IN ({marks})", *ids)  # noqa: S608

    def _dedupe(self, channel: str, days: int) -> int:
        keys = "SELECT channel, sender, control_id FROM dedupe WHERE at < ? AND channel = ? LIMIT ?"
        total = 0
        while True:
            with self._store.transaction(durable=False) as tx:
                done = tx.execute(
                    f"DELETE FROM dedupe WHERE (channel, sender, control_id) IN ({keys})",  # noqa: S608
                    tx.now - days * DAY_US, channel, PORTION,
                )  # fmt: skip
            total += done
            if done < PORTION:
                return total
