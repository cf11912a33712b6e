"""Frames of all connections of a loop, collected into batches: one commit serves every sender that is ready.

Why so: the commit is what costs (one of a single message takes nearly half the processor time of one of eight).
`handle` blocks the loop thread on purpose: handing the batch to a thread and back was measured to cost more than it wins,
and no frame could be answered before the commit anyhow. `read` runs as the frame comes, while others are still on their way.

A sender in haste, who sends its next message at once after an answer, is waited for by those whose frames are here, for
`HASTE` at most: so eight busy senders make batches of eight, and a sender alone never waits. PostgreSQL does the same with
commit_delay and commit_siblings (manual, 20.5.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from hub.codecs.mllp import Scrap

if TYPE_CHECKING:
    from hub.transport.mllp import Connection

HASTE = 0.002  # seconds from an answer to the next frame of a sender in haste; to wait longer costs more than a commit


class Received(Protocol):
    """One message of a frame."""

    @property
    def connection(self) -> Connection: ...


Item = TypeVar("Item", bound=Received)


class Collector(Generic[Item]):
    """One a loop and store; every channel's listener adds to it."""

    def __init__(
        self,
        read: Callable[[Connection, bytes | Scrap], Sequence[Item]],
        handle: Callable[[list[Item]], None],
        *,
        most: int = 512,
    ) -> None:
        """`read` takes a frame apart; `handle` stores `most` messages at a time and answers through their connections."""
        self.loop = asyncio.get_running_loop()
        self._read = read
        self._handle = handle
        self._most = most
        self._pending: list[Item] = []
        self._due: asyncio.Handle | None = None
        self._awaited: set[Connection] = set()  # senders in haste that were answered and have not sent again yet
        self._until = 0.0  # loop time up to which they are waited for

    def holds(self, connection: Connection) -> bool:
        """Whether something of this connection waits for the next batch."""
        return any(one.connection is connection for one in self._pending)

    def add(self, connection: Connection, body: bytes | Scrap) -> None:
        """Takes one frame. The batch goes out once everybody in haste is here, and every callback ready in this turn has run."""
        connection.in_haste = self.loop.time() - connection.answered < HASTE
        self._awaited.discard(connection)
        self._pending += self._read(connection, body)
        self._schedule()

    def forget(self, connection: Connection) -> None:
        """It is gone: nobody waits for it."""
        if connection in self._awaited:
            self._awaited.discard(connection)
            self._schedule()

    def _schedule(self) -> None:
        if not self._pending:
            return
        waits = bool(self._awaited) and self.loop.time() < self._until
        if self._due is None:
            self._due = self.loop.call_at(self._until, self.flush) if waits else self.loop.call_soon(self.flush)
        elif not waits and isinstance(self._due, asyncio.TimerHandle):
            self._due.cancel()
            self._due = self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Hand over what is pending now."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        batch, self._pending = self._pending[: self._most], self._pending[self._most :]
        if batch:
            self._handle(batch)
            self._await(batch)
        if self._pending:
            self._due = self._due or self.loop.call_soon(self.flush)

    def _await(self, batch: list[Item]) -> None:
        now = self.loop.time()
        self._until = now + HASTE
        connections = {one.connection for one in batch}
        self._awaited = {one for one in connections if one.in_haste and one.open}
        for one in connections:
            one.answered = now
