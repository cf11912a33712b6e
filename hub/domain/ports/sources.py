"""Systems that are asked: what a polled source finds, whom it hands it to, and how all of it, or one thing now, is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hub.domain.ports.inbound import Receipt, Received


class Found(NamedTuple):
    """A row that a source holds: the columns that tell it from all others, and all of it."""

    key: Mapping[str, Any]
    row: Mapping[str, Any]
    refused: str | None = None  # a reason: it cannot be read, so it is kept as REFUSED


class Feed(Protocol):
    """What a polled source hands its finds to. Each call is durable when it returns; TryAgain where the hub takes nothing."""

    def store(self, batch: Sequence[Received], place: tuple[str, str] | None = None) -> list[Receipt]:
        """Messages of any form, whole. Only after this may the source be told that they were taken.

        `place`: name and text as of `keep`, kept in the same commit.
        """
        ...

    def rows(self, event: str, found: Sequence[Found], seen: set[bytes] | None = None) -> int:
        """Those that are new or changed become messages of type `event`; how many. `seen` gets the digest of every one's key.

        Raises Misconfigured where two of them have one key.
        """
        ...

    def documents(self, found: Sequence[Mapping[str, Any]], place: tuple[str, str] | None = None) -> list[bool]:
        """FHIR resources as their server gave them, each with its id, or tombstones of those that it deleted.

        Those that are new or changed become messages (True); of a deleted one only if it was there when last seen.
        `place`: as of `store`, kept with the last of them.
        """
        ...

    def digest(self, event: str, key: Mapping[str, Any]) -> bytes:
        """What `known` and `gone` call the row that has this key."""
        ...

    def known(self) -> set[bytes]:
        """The digests of the keys of all rows that were there when last seen."""
        ...

    def names(self, digests: Sequence[bytes]) -> list[tuple[bytes, dict[str, Any]]]:
        """The key columns behind digests of `known`."""
        ...

    def gone(self, event: str, digests: Sequence[bytes]) -> int:
        """These rows are no longer there: a message of type `event` with nothing but the key columns; "": only remembered."""
        ...

    def place(self, name: str) -> str:
        """How far the source had come, as last kept; an empty text at the beginning."""
        ...

    def keep(self, name: str, place: str) -> None: ...

    def looking(self) -> None:
        """The source is asked now: what is handed on from here on was read after this moment. Waits while there is no room.

        Called before each poll and each block of a load; an adapter may say so again, before each statement.
        """
        ...

    def ending(self) -> bool:
        """Whether the source shall come to an end soon: asked between two blocks of a long poll."""
        ...


class Source(Protocol):
    """An inbound channel that asks instead of listening. Driven by one thread of the role `poll`; each step bounded in time."""

    pause_seconds: float  # from one poll to the next

    def poll(self, feed: Feed) -> int:
        """Hands all that is new to `feed`; how many messages that made. Raises HubError: closed, built and polled again later."""
        ...

    def close(self) -> None: ...


class Condition(NamedTuple):
    """One condition of a load: a column (or search parameter), and a value that is bound, never written into a statement."""

    column: str
    operator: str  # = != < <= > >=
    value: str


class Loaded(NamedTuple):
    """A block of a load, stored durably."""

    place: str  # where to go on after it, whoever does; means something to its source only
    read: int  # rows or resources in it
    told: int  # how many of them made a message: the others were known as they are


@runtime_checkable
class Loadable(Protocol):
    """A polled source that can also be asked: for all of a kind, and for one thing now.

    Built for itself, beside the one that polls; what both hand to their Feed makes one message. One thread; raises HubError.
    """

    def total(self, kind: str, where: Sequence[Condition]) -> int | None:
        """How many there are, for progress; None where nobody can tell cheaply. Misconfigured: no such kind, no such column."""
        ...

    def load(self, feed: Feed, kind: str, where: Sequence[Condition], place: str) -> Iterator[Loaded]:
        """Hands all of them to `feed`, a block a step, from `place` on ("": from the beginning).

        Nothing is read before the next step is asked for: whoever drives it may wait between two.
        """
        ...

    def request(self, feed: Feed, kind: str, number: str, columns: Sequence[str]) -> int:
        """Hands what is there under a number to `feed`; how many rows or resources that were, 0: there is none.

        `columns`: of rows, where the map reads that number from.
        """
        ...

    def close(self) -> None: ...
