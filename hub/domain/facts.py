"""Facts: what a mapper read in one message. Pure data, in the order in which they are to be applied.

`Key` names a thing as its sources name it: (assigner, value), e.g. ("HOSP", "00012345"). A fact's `values` hold only
what the message said: an absent field was not said, None means "delete" (HL7 `""`). `paths` says for each field where
it stood ("PID-5"), which becomes its lineage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from hub.domain.model import Kind


class Key(NamedTuple):
    """A number and who gave it out."""

    assigner: str
    value: str

    def __str__(self) -> str:
        return f"{self.assigner}|{self.value}"


@dataclass(slots=True)
class Fact:
    """One system says this of one thing: becomes that system's source record of it."""

    kind: Kind
    key: Key
    values: dict[str, Any]
    paths: dict[str, str] = field(default_factory=dict)
    patient: Key | None = None  # whose it is; None for Patient itself, Practitioner, Organization
    other_keys: tuple[Key, ...] = ()  # further identifiers of the same thing (PID-3 repetitions, SCH-1 beside SCH-2)
    resource_id: str | None = None  # where the front office makes the thing: the id that it gets
    create: bool = True  # False: only change what is known (cancel of a visit never heard of is still created)
    gone: bool = False  # the system does not have it any more; `values` are then empty


@dataclass(slots=True)
class Snapshot:
    """All the things of one kind that a message lists for one patient (NK1s, IN1s): replaces the earlier list.

    `items` hold values as in Fact; `group` keeps two lists of one kind apart (nk1, gt1).
    """

    kind: Kind
    patient: Key
    group: str
    items: list[dict[str, Any]]
    path: str  # "NK1", "IN1"


@dataclass(slots=True)
class Merge:
    """`prior` and `survivor` are one (A40 …): patients, visits or accounts."""

    scope: Literal["patient", "visit", "account"]
    survivor: Key
    prior: Key
    path: str = "MRG-1"


@dataclass(slots=True)
class Move:
    """A visit, an account or all of a patient's visits go from one patient to another (A43 patient, A44 account, A45 visit)."""

    scope: Literal["patient", "visit", "account"]
    to_patient: Key
    from_patient: Key
    what: Key | None = None  # the visit or account number; None: all of them


@dataclass(slots=True)
class ChangeIdentifier:
    """A number is replaced by another for the same thing (A46 … A51): no second thing existed."""

    scope: Literal["patient", "visit", "account"]
    new: Key
    old: Key


@dataclass(slots=True)
class Link:
    """Two patient numbers belong to one person (A24), or no longer (A37: `linked` False)."""

    first: Key
    second: Key
    linked: bool = True


@dataclass(frozen=True, slots=True)
class Settled:
    """What a target says later of a message that it took: no fact of a patient, but the end of that message."""

    message_id: int  # of ours, as the target had it; 0: none that we could have sent
    acted: bool | None  # None: still on its way there
    detail: str  # free of patient data: "SAP 51 VG 204"
    at: int = 0  # µs: when the target made this word, by its own clock; 0: it does not say


AnyFact = Fact | Snapshot | Merge | Move | ChangeIdentifier | Link


@dataclass(frozen=True, slots=True)
class Part:
    """What a message says of its patient and of nothing else (PID, NK1, IN1 …), not mapped yet.

    `digest` stands for all that its facts are made of: equal digests, equal facts. `at`: its place among the facts of the
    message. `facts()` maps it, anew each time; what cannot be read is added to the message's warnings, or raises Unmappable.
    """

    patient: Key
    digest: bytes
    at: int
    facts: Callable[[], list[AnyFact]]


@dataclass(slots=True)
class Mapped:
    """What a map made of one message."""

    facts: list[AnyFact]
    event: str  # "ADT^A08"
    event_at: int  # µs since 1970 UTC, EVN-2 else MSH-7 else arrival: decides which of two messages is the later one
    map_version: str  # content hash of the compiled map
    warnings: list[str] = field(default_factory=list)  # codes and paths, never values
    part: Part | None = None  # what is not among `facts`
    settled: list[Settled] = field(default_factory=list)
