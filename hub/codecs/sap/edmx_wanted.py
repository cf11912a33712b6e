"""What a channel needs of a service, held against what the service says of itself: what is missing or differs, and what of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from hub.codecs.sap.edmx import EntityType, Property, Service
from hub.domain.ports import Difference

SEPARATOR = "/"


class Want(NamedTuple):
    """One thing that is read or written. `path`: an entity set, what it navigates to, and at its end perhaps a property.

    `types`: the Edm types that it may have; none: it is a set or navigation. `length`: the longest text that is sent. `carries`:
    the canonical field that it is for. `needed`: why nothing works without it. `writes`: it is written.
    """

    path: str
    types: tuple[str, ...] = ()
    length: int = 0
    carries: str = ""
    needed: str = ""
    writes: bool = False


def compare(service: Service, wants: Iterable[Want], instead: str) -> list[Difference]:
    """Each difference once: what is missing is not told again of all that is below it. `instead`: what else can be done of a
    field that is not carried."""
    found: dict[str, Difference] = {}
    for want in sorted(wants, key=lambda one: (not one.needed, one.path.count(SEPARATOR))):
        difference = _difference(service, want, instead)
        if difference is not None and not any(_is_below(difference.where, known) for known in found):
            found[difference.where] = difference
    return sorted(found.values(), key=lambda one: (one.works, one.where))


def _is_below(where: str, known: str) -> bool:
    return where == known or where.startswith(known + SEPARATOR)


def _difference(service: Service, want: Want, instead: str) -> Difference | None:
    entity_set, *names = want.path.split(SEPARATOR)
    node = service.type_of(entity_set)
    if node is None:
        return _missing(want, entity_set, "there is no such entity set", instead)
    for at, name in enumerate(names):
        place = SEPARATOR.join((entity_set, *names[: at + 1]))
        if want.types and at == len(names) - 1:
            there = node.properties.get(name)
            if there is None:
                return _missing(want, place, "there is no such property", instead)
            return _differing(want, there, instead)
        link = node.navigation.get(name)
        if link is None:
            return _missing(want, place, "there is no such navigation", instead)
        node = service.types.get(link[0], EntityType())
    return None


def _missing(want: Want, where: str, what: str, instead: str) -> Difference:
    return Difference(where, not want.needed, f"{what}: {_consequence(want, instead)}")


def _differing(want: Want, there: Property, instead: str) -> Difference | None:
    if there.type not in want.types:
        what = f"it is {there.type or 'of no type'}, not {' or '.join(want.types)}"
        return Difference(want.path, not want.needed, f"{what}: {_consequence(want, instead)}")
    if want.writes and not (there.updatable or there.creatable):
        return Difference(want.path, not want.needed, f"it cannot be written there: {_consequence(want, instead)}")
    if want.length and there.length is not None and there.length < want.length:
        text = f"it holds {there.length} characters, up to {want.length} are sent: what is longer is refused, never cut"
        return Difference(want.path, True, f"{text}; shorten it in the system that owns it")
    return None


def _consequence(want: Want, instead: str) -> str:
    if want.needed:
        return want.needed
    return f"{want.carries or 'what it holds'} is not carried; {instead}"
