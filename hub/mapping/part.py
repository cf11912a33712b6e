"""The patient's part of a message: what hangs on nothing but his own segments, known again by its raw fields.

Nearly every message of a patient repeats his PID, NK1 and IN1 byte for byte. Which blocks of an event make up his part is
decided once, from the paths that their rules, keys and conditions name: so the digest of those fields (and of what else
the facts hang on: maps, charset, assigner, zone) stands for its facts, and whoever knows the digest need not map it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from hub.mapping.compile import FindKeys, Group
from hub.mapping.functions import Reader
from hub.mapping.paths import paths_of
from hub.mapping.spec import ITEM, Block, KeySpec

if TYPE_CHECKING:
    from hub.mapping.block import CompiledBlock, Plan

Pick = Callable[[list[str]], tuple[str, ...]]


class PartPlan:
    """The plan of one event, taken apart: blocks `before` the patient's part, the `part`, and those `behind` it."""

    __slots__ = ("_head", "_segments", "before", "behind", "key", "part")

    def __init__(self, before: Plan, part: Plan, behind: Plan, key: FindKeys, version: str) -> None:
        self.before = before
        self.part = part
        self.behind = behind
        self.key = key
        said = [(block.block.name, fixed, default) for block, fixed, default in part]
        self._head = f"{version} {said!r}"
        self._segments = _segments([block.block for block, _, _ in part])

    def digest(self, group: Group, reader: Reader) -> bytes:
        """16 bytes that stand for all that the facts of the part are made of."""
        text = [self._head, reader.codec, reader.assigner, reader.system, reader.zone]
        for name, pick, blanks in self._segments:
            for fields in group.get(name, ()):
                text += pick(fields + blanks)  # the segment's name first: one that is there and empty says something
        return hashlib.blake2b("\r".join(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def part_of(plan: Plan, version: str) -> PartPlan | None:
    """The plan of an event whose part can stand by itself; None where the event says more of patients than who he is."""
    patients = [block for block, _, _ in plan if block.block.kind == "Patient" and not block.block.snapshot]
    lists = [block.block.snapshot for block, _, _ in plan if block.block.snapshot]
    if len(patients) != 1 or len(set(lists)) != len(lists) or any(block.block.fact for block, _, _ in plan):
        return None
    key = patients[0].block.keys["key"]
    mine = [_is_his(block, patients[0], key) for block, _, _ in plan]
    if patients[0].block.each:
        return None
    first = mine.index(True)
    rest = [step for own, step in zip(mine[first:], plan[first:], strict=True) if not own]
    part = [step for own, step in zip(mine, plan, strict=True) if own]
    return PartPlan(plan[:first], part, rest, patients[0].keys["key"], version)


def _is_his(block: CompiledBlock, patient: CompiledBlock, key: KeySpec) -> bool:
    """Whether the block hangs on nothing but the patient: what he is, or a list of his."""
    return (block.block.patient == key and block.each_local) if block.block.snapshot else block is patient


def _segments(blocks: list[Block]) -> list[tuple[str, Pick, list[str]]]:
    """Which fields of which segments these blocks look at, as functions of a segment's fields and the blanks it may lack."""
    fields: dict[str, set[int]] = {}
    for block in blocks:
        for path in (*block.each, *paths_of(block)):
            if path.segment != ITEM:  # the item of an `each`, whose own path is among them
                fields.setdefault(path.segment, {0}).add(path.field)
    return [(name, _pick(sorted(numbers)), [""] * (max(numbers) + 1)) for name, numbers in sorted(fields.items())]


def _pick(numbers: list[int]) -> Pick:
    if len(numbers) == 1:
        return lambda fields: (fields[0],)
    found: Any = itemgetter(*numbers)
    return found  # type: ignore[no-any-return]
