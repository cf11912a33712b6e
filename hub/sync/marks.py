"""Marks of polled rows, compared and set in one transaction: two may read one row, and only the newer may stay.

Whoever read a row compared it with the mark that stood then. Only while that one stands is what he read stored; else
somebody told the row meanwhile, nobody knows which of the two is the newer, and the row is read again (ADR 0070).
"""

from __future__ import annotations

from collections.abc import Sequence

from hub.domain.ports import Received
from hub.domain.rows import MarkNew, MarkRow
from hub.domain.store import Tx

OVERTAKEN = "what was read has been told by somebody else meanwhile: it is read again"


class Marks:
    """Those of one batch, locked until its commit. Nothing is asked for messages that nobody polled."""

    def __init__(self, tx: Tx, batch: Sequence[Received]) -> None:
        wanted: dict[str, set[bytes]] = {}
        for message in batch:
            if message.mark is not None and message.mark_before is not None:
                wanted.setdefault(message.mark.channel, set()).add(message.mark.key)
        self._standing = {
            (channel, bytes(key)): (n, bytes(value))
            for channel, keys in sorted(wanted.items())
            for key, value, n, _ in tx.marks(channel, sorted(keys))
        }
        self.locked = bool(wanted)
        self._here = frozenset(self._standing)
        self._rows: dict[tuple[str, bytes], MarkRow] = {}

    def stands(self, message: Received) -> bool:
        """Whether the mark stands that it was compared with; or its own one already, because another hub polls too."""
        mark = message.mark
        if mark is None or message.mark_before is None:
            return True
        standing = self._standing.get((mark.channel, mark.key), (0, b""))
        return standing[0] == message.mark_before or standing == (mark.n, mark.value)

    def set(self, mark: MarkRow, before: int | None) -> None:
        """`before`: as of `Received.mark_before`; None: whatever stands is replaced."""
        at = (mark.channel, mark.key)
        self._standing[at] = (mark.n, mark.value)
        self._rows[at] = MarkNew(*mark) if before is not None and at not in self._here else mark

    def rows(self) -> list[MarkRow]:
        """What is to be written, in the order of the keys. A first mark conflicts with another first one: PostgreSQL locks no
        row that is not there."""
        return [mark for _, mark in sorted(self._rows.items())]
