"""What listeners saw that nobody stores, into the counts of their channels and the audit log: once a second, in one commit."""

from __future__ import annotations

from collections import Counter

from hub.audit.actions import Action
from hub.audit.entry import detail_text
from hub.domain.errors import HubError
from hub.domain.rows import EntryDraft, Row, TallyRow
from hub.domain.store import Store
from hub.domain.unstored import Unstored

MOST_ENTRIES = 1000  # that wait for a store that is down


class UnstoredTally:
    """Of one process. What could not be written is written with the next; a process that is killed loses a second of counts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: Counter[tuple[str, str]] = Counter()
        self._entries: list[tuple[str, str, str]] = []

    def add(self, channel: str, seen: Unstored) -> None:
        """`received` is all of it, as with messages."""
        for state, n in (("received", seen.answered + seen.refused), ("done", seen.answered), ("refused", seen.refused)):
            if n:
                self._counts[channel, state] += n
        for one in seen.turned_away[: MOST_ENTRIES - len(self._entries)]:
            detail = detail_text({"ip": one.address, "code": one.code})
            self._entries.append((channel, f"peer:{one.who or 'unknown'}", detail))

    def write(self) -> None:
        """Nothing where nothing was seen."""
        if not self._counts and not self._entries:
            return
        try:
            with self._store.transaction() as tx:
                rows: list[Row] = [TallyRow(channel, state, 0, n) for (channel, state), n in sorted(self._counts.items())]
                rows += [
                    EntryDraft(tx.now, Action.ACCESS_DENIED, who, channel, None, None, d) for channel, who, d in self._entries
                ]
                tx.write(rows)
        except HubError:
            return  # our own store is down: with the next
        self._counts.clear()
        self._entries.clear()
