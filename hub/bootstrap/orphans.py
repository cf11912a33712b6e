"""What a killed worker left behind is taken up at once, not when its lease runs out (20 s) or its claim does (120 s).

A process that is known to have ended cannot be working: its lanes are given back, and what it had on its way counts as
lost. Workers of other hosts, of whom nothing is known here, keep their leases until these run out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from hub import log
from hub.db.store import SqlStore
from hub.domain.errors import HubError
from hub.sync.owner import is_dead

_log = log.get(__name__)
LOOK_SECONDS = 1.0


class Orphans:
    """Looks once a second."""

    def __init__(self, store: SqlStore, wake: Callable[[str], None] | None = None) -> None:
        self._store = store
        self._wake = wake

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.look_once()
            stop.wait(LOOK_SECONDS)
        self._store.close()

    def look_once(self) -> None:
        """`look`, where a store that cannot be reached now is none of the caller's business."""
        try:
            self.look()
        except HubError as error:
            _log.warning("leases not looked at this time", extra={"reason": error.reason})

    def look(self) -> list[str]:
        """Frees what dead workers hold; returns their names."""
        with self._store.snapshot() as tx:
            dead = [owner for owner in tx.owners() if is_dead(owner)]
        if not dead:
            return []
        with self._store.transaction(durable=False) as tx:
            for owner in dead:
                tx.bury(owner)
        for owner in dead:
            _log.warning("a worker ended in the middle: its lanes are free again", extra={"worker": owner})
        if dead and self._wake is not None:
            for direction in ("in", "out"):
                self._wake(direction)
        return dead
