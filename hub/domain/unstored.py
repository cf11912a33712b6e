"""What a listener saw of which no message is kept: questions that it answered itself, and peers that it turned away."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable


class TurnedAway(NamedTuple):
    """A peer that may not speak here. `who`: what it calls itself, where that can be shown; `code`: why."""

    address: str
    who: str
    code: str


class Unstored(NamedTuple):
    """Since it was last asked. `refused`: questions that got no answer, and peers that could not ask one."""

    answered: int = 0
    refused: int = 0
    turned_away: tuple[TurnedAway, ...] = ()


@runtime_checkable
class Counting(Protocol):
    """A listener that counts what nobody stores. Asked in its loop, about once a second."""

    def take_unstored(self) -> Unstored:
        """What came since the last call; it is said once."""
        ...
