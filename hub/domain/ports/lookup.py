"""Questions of other systems: who a patient is, and which imaging orders are still to be done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hub.domain.facts import Key


class Person(NamedTuple):
    """A patient as a look-up finds him: id and golden record."""

    id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Traits:
    """What patients are looked up by; all that is given must match. Names and phones match from their beginning."""

    identifier: str = ""  # "assigner|value" or "value"
    name: str = ""
    phone: str = ""
    birth_date: str = ""
    account: str = ""  # a number of an account


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the imaging orders that are still to be done; all that is given must match."""

    start: int | None = None  # µs
    end: int | None = None  # before this one
    patient: str = ""  # a number of the patient
    order: str = ""  # a number of the order


class Order(NamedTuple):
    """An order, and whose it is. `place`: behind it the next page begins."""

    id: str
    data: Mapping[str, Any]
    patient: Person
    place: tuple[int, str]


class Lookup(Protocol):
    """What a channel that answers other systems' questions may see. Each call is bounded and sees one state of the database.

    Blocking; thread-safe; raises TryAgain where the store is not there.
    """

    def search(self, traits: Traits, *, after: str, limit: int) -> list[Person]:
        """Active patients by id, beginning behind the id `after`; more than the traits say may match."""
        ...

    def bearer(self, number: Key) -> Person | None:
        """Who bears that number now: of one that was merged away, the survivor."""
        ...

    def gives_numbers(self, assigner: str) -> bool:
        """Whether any patient has a number of that assigner."""
        ...

    def to_image(self, wanted: Wanted, *, after: tuple[int, str] | None, limit: int) -> list[Order]:
        """Imaging orders that are active, and not performed, imaged or reported yet (docs/adr/0166), the earliest first,
        beginning behind the place `after`."""
        ...

    def told(self, channel: str, asker: str, address: str, what: str, by: Sequence[str], ids: Sequence[str]) -> None:
        """The access record of one answer, durable before the answer may go out: who asked from where, by which fields, and the
        ids of all patients that he is told of."""
        ...

    def denied(self, channel: str, asker: str, address: str) -> None:
        """Somebody asked who may not."""
        ...


@runtime_checkable
class Answering(Protocol):
    """A listener that answers questions from what the hub knows. Given before `start`."""

    def look_up_in(self, lookup: Lookup) -> None: ...
