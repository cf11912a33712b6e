"""Every path that a block of a map names: which places its engine has to look at."""

from __future__ import annotations

from collections.abc import Iterator

from hub.mapping.spec import Block, KeySpec, PathSpec


def paths_of(block: Block) -> Iterator[PathSpec]:
    """Those of its condition, keys, references and rules, in this order (its `each` stands beside them); some come again."""
    specs: list[KeySpec] = [*block.keys.values(), block.patient, *block.refs.values()]
    if block.when:
        yield from block.when.paths
    for spec in specs:
        for key in spec:
            yield from key.paths
            if key.when:
                yield from key.when.paths
    for rule in block.rules:
        yield from rule.paths
        if rule.when:
            yield from rule.when.paths
