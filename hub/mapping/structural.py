"""Blocks that make structural facts: who is merged with whom, what moves, which number follows which, who is linked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from hub.domain.errors import Unmappable
from hub.domain.facts import AnyFact, ChangeIdentifier, Key, Link, Merge, Move
from hub.mapping.block import CompiledBlock
from hub.mapping.compile import Group
from hub.mapping.functions import Reader


def _needed(block: CompiledBlock, name: str, item: Group, reader: Reader) -> list[Key]:
    keys = block.keys[name](item, reader)
    if not keys:
        where = block.block.keys[name][0].paths[0].text
        raise Unmappable(f"no number for the {name.replace('_', ' ')} of the {block.block.fact}", where=where, code="no_key")
    return keys


def _merges(block: CompiledBlock, item: Group, reader: Reader) -> list[AnyFact]:
    """One Merge for each prior number: MRG-1 may list several numbers of the one who is merged away."""
    spec = block.block
    survivor = _needed(block, "survivor", item, reader)[0]
    path = spec.keys["prior"][0].paths[0].text
    priors = _needed(block, "prior", item, reader)
    if survivor in priors:
        reader.warn(path, "the prior number is the surviving one")
    scope = cast("Literal['patient', 'visit', 'account']", spec.scope)
    return [Merge(scope, survivor, prior, path) for prior in priors if prior != survivor]


def _moves(block: CompiledBlock, item: Group, reader: Reader) -> list[AnyFact]:
    to_patient, from_patient = (_needed(block, name, item, reader)[0] for name in ("to_patient", "from_patient"))
    what = _needed(block, "what", item, reader)[0] if "what" in block.keys else None
    scope = cast("Literal['patient', 'visit', 'account']", block.block.scope)
    return [Move(scope, to_patient, from_patient, what)]


def _changes(block: CompiledBlock, item: Group, reader: Reader) -> list[AnyFact]:
    new, old = (_needed(block, name, item, reader)[0] for name in ("new", "old"))
    if new == old:
        reader.warn(block.block.keys["old"][0].paths[0].text, "the old number is the new one")
        return []
    return [ChangeIdentifier(cast("Literal['patient', 'visit', 'account']", block.block.scope), new, old)]


def _links(linked: bool) -> Callable[[CompiledBlock, Group, Reader], list[AnyFact]]:
    def make(block: CompiledBlock, item: Group, reader: Reader) -> list[AnyFact]:
        first, second = (_needed(block, name, item, reader)[0] for name in ("first", "second"))
        return [Link(first, second, linked)]

    return make


MAKERS: dict[str, Callable[[CompiledBlock, Group, Reader], list[AnyFact]]] = {
    "merge": _merges,
    "move": _moves,
    "change_identifier": _changes,
    "link": _links(True),
    "unlink": _links(False),
}
