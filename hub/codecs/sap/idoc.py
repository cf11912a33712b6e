"""An IDoc as it is, whatever carries it: a control record (EDI_DC40) and a tree of segments; and as a row for the maps.

Values are texts without the blanks that fill a field up. Segments go by their type (E1KNA1M), not by the definition with its
version (E2KNA1M005) that stands in files. Bounds hold for every IDoc: so many segments, so deep, so large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.codecs.sap.idoc_segments import QUALIFIERS, SEGMENTS, Layout

MOST_SEGMENTS = 100_000  # of one IDoc
MOST_DEPTH = 20  # SAP's own hierarchies have at most nine levels
MOST_FIELDS = 2_000  # of one segment: a thousand characters hold no more
MOST_BYTES = 32 << 20  # of one IDoc
NOT_TOLD = "/"  # SAP's sign for "no data" in master data (NODATA_SIGN): the field is not to be touched
RAW = "SDATA"  # the column of what no table names


@dataclass(slots=True)
class Segment:
    """One segment with those below it. `fields` holds no empty text."""

    name: str
    fields: dict[str, str] = field(default_factory=dict)
    children: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class Idoc:
    """`control`: fields of EDI_DC40 that are not empty."""

    control: dict[str, str]
    segments: list[Segment] = field(default_factory=list)

    def __getitem__(self, name: str) -> str:
        return self.control.get(name, "")

    def walk(self) -> Iterator[Segment]:
        """All segments, each before those below it."""
        stack = list(reversed(self.segments))
        while stack:
            one = stack.pop()
            yield one
            stack += reversed(one.children)

    def all(self, name: str) -> list[Segment]:
        """Every segment of that type, in order."""
        return [one for one in self.walk() if one.name == name]


def type_of(definition: str, tables: Mapping[str, Layout] = SEGMENTS) -> str:
    """E2KNA1M005 -> E1KNA1M, Z2PATIENT000 -> Z1PATIENT; what no table knows stays as it is."""
    if definition in tables:
        return definition
    plain = f"{definition[:1]}1{definition[2:]}" if definition[1:2] == "2" else definition
    if plain in tables:
        return plain
    return plain[:-3] if plain[-3:].isdigit() and plain[:-3] in tables else definition


def row(idoc: Idoc) -> dict[str, Any]:
    """As maps read it: {"EDI_DC40": {…}, "E1KNA1M": [{…, "E1KNVKM": [{…}]}]}.

    A segment whose meaning stands in a field of it has a second column, `E1EDS01_011`, with those of that meaning. What is
    empty, or marked as not told (`/`), is left out.
    """
    return {"EDI_DC40": dict(idoc.control), **_columns(idoc.segments)}


def _columns(segments: Sequence[Segment]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in segments:
        told: dict[str, Any] = {name: value for name, value in one.fields.items() if value != NOT_TOLD}
        told |= _columns(one.children)
        found.setdefault(one.name, []).append(told)
        meaning = one.fields.get(QUALIFIERS.get(one.name, ""), "")
        if meaning:
            found.setdefault(f"{one.name}_{meaning}", []).append(told)
    return found


def trimmed(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Without fillers and without what is empty."""
    return {name: text for name, value in pairs if (text := value.rstrip(" \x00"))}
