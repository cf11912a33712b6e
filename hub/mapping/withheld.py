"""What maps may read and the hub does not keep unless hub.toml says so: the values of results ([results] keep_values).

Taken out of the compiled maps, whatever their source and whoever wrote them, so that no overlay can keep them by mistake
(docs/adr/0125). Status and flag of a result are always kept.
"""

from __future__ import annotations

from dataclasses import replace

from hub.mapping.spec import Maps

VALUES = frozenset({"value", "unit", "referenceRange"})


def without_values(maps: Maps) -> Maps:
    """The maps without the rules that read the value of an Observation."""
    blocks = {
        name: replace(block, rules=tuple(rule for rule in block.rules if rule.to[0] not in VALUES))
        if block.kind == "Observation"
        else block
        for name, block in maps.blocks.items()
    }
    return replace(maps, blocks=blocks)
