"""What a map says once it is checked: the specification that the engine compiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hub.domain.model import Kind
from hub.mapping.codes import CodeMap
from hub.mapping.functions import Function

Source = Literal["hl7v2", "row", "fhir"]
ITEM = "*"  # the repetition that a block's `each` stands at


@dataclass(frozen=True, slots=True)
class PathSpec:
    """One place: a field of a segment, a column or FHIR path, or (`segment` "*") the item of `each`. 0 means "not said".

    `segment` may be several, "ORC,OBR", in an `each`: an item begins at any of them that follows none of the later ones.
    """

    text: str
    segment: str = ""
    occurrence: int = 0
    field: int = 0
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0


@dataclass(frozen=True, slots=True)
class When:
    """A condition on one path; nothing more is expressible."""

    paths: tuple[PathSpec, ...]  # the first that says something
    among: frozenset[str] | None = None
    not_among: frozenset[str] | None = None
    present: bool | None = None
    codes: CodeMap | None = None  # a code that this value map has


@dataclass(frozen=True, slots=True)
class KeyPath:
    """Where a key stands and the function that reads it; several paths make one key together (joined by `/`, unless the
    function takes them all)."""

    paths: tuple[PathSpec, ...]
    function: Function
    when: When | None = None


KeySpec = tuple[KeyPath, ...]  # the first that gives a number


@dataclass(frozen=True, slots=True)
class Rule:
    """canonical field <- path."""

    paths: tuple[PathSpec, ...]
    to: tuple[str, ...]
    function: Function
    codes: str | None = None
    default: str | None = None
    each: bool = False
    when: When | None = None
    value: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        return ",".join(path.text for path in self.paths)


@dataclass(frozen=True, slots=True)
class Block:
    """What makes facts of one sort."""

    name: str
    kind: Kind | None
    snapshot: str | None
    fact: str | None
    scope: str
    include: tuple[str, ...]
    keys: Mapping[str, KeySpec]
    patient: KeySpec
    each: tuple[PathSpec, ...]
    when: When | None
    unique: bool
    required: bool
    rules: tuple[Rule, ...]
    default: Mapping[str, Any]
    within: PathSpec | None = None  # the segments that a group of items belongs to, where `each` is one of several in it
    refs: Mapping[str, KeySpec] = field(default_factory=dict)  # field -> the number of the thing that it names
    create: bool = True  # False: only of what is known
    gone: bool = False  # the source has deleted it
    common: frozenset[str] = frozenset()  # segments that belong to every item, wherever they stand


@dataclass(frozen=True, slots=True)
class Event:
    """Which blocks an event runs."""

    name: str
    title: str
    source: Source
    blocks: tuple[str, ...]
    after: tuple[str, ...]  # once, over the whole message, when all groups of `each` are done
    each: str | None
    set: Mapping[str, Mapping[str, Any]]
    default: Mapping[str, Mapping[str, Any]]


@dataclass(slots=True)
class Maps:
    """All that the files of one source say."""

    source: Source
    blocks: dict[str, Block]
    events: dict[str, Event]
