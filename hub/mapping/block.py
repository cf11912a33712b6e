"""Compiled blocks and events: the rules of a map as closures over a message's segments or a row's columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from hub.domain.facts import AnyFact, Fact, Key
from hub.domain.model import Kind
from hub.mapping.codes import CodeMap
from hub.mapping.compile import FindKeys, Group, Paths, Run, Values, condition, fetch, keys_finder, rule_runner
from hub.mapping.functions import NULL, Function, Reader
from hub.mapping.memory import Memory
from hub.mapping.part import part_of
from hub.mapping.spec import ITEM, Block, Event, KeySpec, PathSpec, Rule

JOIN = "|"  # how the fields of a segment are put together again: they never hold it, or they would be two


class CompiledBlock:
    """A block with its closures."""

    __slots__ = (
        "block",
        "by_occurrence",
        "each_local",
        "holds",
        "items",
        "keys",
        "kind",
        "labels",
        "lists",
        "memory",
        "other_paths",
        "others",
        "patient",
        "read_otherwise",
        "refs",
        "runs",
        "whole",
        "whole_targets",
    )

    def __init__(self, block: Block, codes: Mapping[str, CodeMap]) -> None:
        self.block = block
        self.kind: Kind = block.kind or "Patient"
        self.runs = _runs(block.rules, codes)
        self.keys: dict[str, FindKeys] = {name: keys_finder(spec, name == "other_keys") for name, spec in block.keys.items()}
        self.others = self.keys.get("other_keys")
        self.other_paths = [key.paths[0] for key in block.keys.get("other_keys", ())]
        self.read_otherwise = bool(self.others) and _way(block.keys["other_keys"]) != _way(block.keys["key"])
        self.patient = keys_finder(block.patient, False) if block.patient else None
        self.holds = condition(block.when) if block.when else None
        self.refs = {name: keys_finder(spec, False) for name, spec in block.refs.items()}
        self.lists = tuple({rule.to[0] for rule in block.rules if rule.each})
        self.each_local = _is_local(block)
        chosen = [r for r in block.rules if r.each and r.when]  # a condition on the rule's own segment means that very one
        self.by_occurrence = {r.paths[0].segment for r in chosen if r.when and r.when.paths[0].segment == r.paths[0].segment}
        fields = [path for path in block.each if path.field]
        items = bool(block.each) and self.each_local and len(fields) in (0, len(block.each)) and (fields or len(block.each) == 1)
        plain = block.snapshot is not None or (block.unique and not block.patient and not block.default)
        self.memory = Memory(shared=block.snapshot is None) if items and plain else None
        self.items = [(path, self._read_field if path.field else self._read_segment) for path in block.each]
        self.labels = {rule.to[0]: rule.path for rule in reversed(block.rules)}
        first = [rule for rule in block.rules if _place(rule) == self.runs[0][:2]] if self.runs else []
        alone = not block.each and len(self.runs) > 0 and all(_is_within(rule, self.runs[0][0]) for rule in first)
        self.whole = Memory() if alone and len(first) > 1 and sum(run[:2] == self.runs[0][:2] for run in self.runs) == 1 else None
        self.whole_targets = frozenset(rule.to[0] for rule in first)

    def recall_items(self, group: Group, reader: Reader, facts: list[AnyFact]) -> None:
        """Facts that hang on nothing but the item (a doctor, an insurer): read once, then remembered. Each once a group."""
        memory = cast("Memory", self.memory)
        seen: set[Key] = set()
        for path, read in self.items:
            for fields in group.get(path.segment, ()):
                if not path.field:
                    raw = JOIN.join(fields)
                elif path.field < len(fields) and fields[path.field]:
                    raw = f"{path.text}{JOIN}{fields[path.field]}"
                else:
                    continue
                for fact in memory.recall(raw, reader, read):
                    if fact.key not in seen:
                        seen.add(fact.key)
                        facts.append(fact)

    def _read_segment(self, raw: str, reader: Reader) -> list[Fact]:
        return self._read_item({self.block.each[0].segment: [raw.split(JOIN)]}, "", reader)

    def _read_field(self, raw: str, reader: Reader) -> list[Fact]:
        label, _, field = raw.partition(JOIN)
        reps = [rep for rep in field.split(reader.repetition) if rep and rep != NULL]
        return [found for rep in reps for found in self._read_item({ITEM: [[rep]]}, label, reader)]

    def _read_whole(self, raw: str, reader: Reader) -> tuple[Values, Paths]:
        """What the rules of the first run make of one segment; `raw` is it, behind the time zone."""
        _, _, once, many = self.runs[0]
        fields = raw.split(JOIN)[1:]
        values: Values = {}
        paths: Paths = {}
        for at, run in (*once, *many):
            if at < len(fields) and (field := fields[at]):
                run(field, reader, values, paths)
        return values, paths

    def _read_item(self, item: Group, label: str, reader: Reader) -> list[Fact]:
        keys = self.keys["key"](item, reader)
        if not keys:
            return []
        values: Values = {}
        self.read(item, reader, values, {})
        return [Fact(self.kind, keys[0], values, {name: label or self.labels[name] for name in values})]

    def listed(self, raw: str, reader: Reader) -> Values:
        """The values of one segment of a snapshot, without what it deletes: a list is replaced whole."""
        values: Values = {}
        self.read({self.block.each[0].segment: [raw.split(JOIN)]}, reader, values, {})
        return {name: value for name, value in values.items() if value is not None}

    def has_others(self, group: Group, reader: Reader) -> bool:
        """Whether `other_keys` can give more than the key: a repetition of its first path, or anything read otherwise."""
        first, *rest = self.other_paths
        for path in rest:
            if fetch(path, group):
                return True
        return self.read_otherwise or reader.repetition in fetch(first, group)

    def read(self, group: Group, reader: Reader, values: Values, paths: Paths) -> None:
        """Run the rules over a group. What is a list and empty was deleted (`""`)."""
        reader.group = group
        whole = self.whole if reader.common and not (values.keys() & self.whole_targets) else None
        for segment, occurrence, once, many in self.runs:
            found = group.get(segment)
            if found is None or occurrence >= len(found):
                continue
            fields = found[occurrence]
            if whole is not None and once is self.runs[0][2] and len(found) == 1:
                # the segment that says the same of the same patient again and again
                said, where = whole.recall(f"{reader.zone}{JOIN}{JOIN.join(fields)}", reader, self._read_whole)
                values.update(said)
                paths.update(where)
                continue
            count = len(fields)
            for at, run in once:
                if at < count and (raw := fields[at]):
                    run(raw, reader, values, paths)
            if many:
                for fields in found:
                    count = len(fields)
                    if segment in self.by_occurrence:
                        reader.group = {**group, segment: [fields]}
                    for at, run in many:
                        if at < count and (raw := fields[at]):
                            run(raw, reader, values, paths)
                reader.group = group
        for name in self.lists:
            if name in values and not values[name]:
                values[name] = None


Runs = list[tuple[str, int, list[tuple[int, Run]], list[tuple[int, Run]]]]


def _runs(rules: tuple[Rule, ...], codes: Mapping[str, CodeMap]) -> Runs:
    """Rules in their order, neighbours on one segment together; a later rule for the same target is a fallback."""
    runs: Runs = []
    targets: set[tuple[str, ...]] = set()
    for rule in rules:
        path = rule.paths[0]
        place = (path.segment, max(path.occurrence - 1, 0))
        if not runs or runs[-1][:2] != place:
            runs.append((*place, [], []))
        (runs[-1][3] if rule.each else runs[-1][2]).append((path.field, rule_runner(rule, codes, rule.to in targets)))
        targets.add(rule.to)
    return runs


def _way(keys: KeySpec) -> tuple[PathSpec, Function]:
    """The first place of a number, and how it is read."""
    return keys[0].paths[0], keys[0].function


def _place(rule: Rule) -> tuple[str, int]:
    return rule.paths[0].segment, max(rule.paths[0].occurrence - 1, 0)


def _is_within(rule: Rule, segment: str) -> bool:
    """Whether a rule looks at nothing but this segment."""
    paths = (*rule.paths, *(rule.when.paths if rule.when else ()))
    return all(path.segment == segment for path in paths)


def _is_local(block: Block) -> bool:
    """Whether the block looks at nothing but the item of its `each`: then an item needs no view of the rest."""
    own = {path.segment if not path.field and path.segment != ITEM else ITEM for path in block.each}
    seen = {path.segment for rule in block.rules for path in (*rule.paths, *(rule.when.paths if rule.when else ()))}
    specs = (*block.keys.values(), *block.refs.values())
    seen |= {path.segment for spec in specs for key in spec for path in key.paths}
    if block.when:
        seen |= {path.segment for path in block.when.paths}
    return seen <= own and block.within is None


class CompiledEvent:
    """An event with its blocks in order."""

    __slots__ = ("after", "blocks", "event", "part")

    def __init__(self, event: Event, blocks: Mapping[str, CompiledBlock], version: str) -> None:
        self.event = event
        self.blocks = _planned(event, event.blocks, blocks)
        self.after = _planned(event, event.after, blocks)
        self.part = part_of(self.blocks, version) if not self.after else None


Plan = list[tuple["CompiledBlock", Values, Values]]  # block, what the event says, what it says where the message is silent


def _planned(event: Event, names: tuple[str, ...], blocks: Mapping[str, CompiledBlock]) -> Plan:
    return [
        (blocks[name], dict(event.set.get(name, {})), {**blocks[name].block.default, **event.default.get(name, {})})
        for name in _expand(names, blocks)
    ]


def _expand(names: tuple[str, ...], blocks: Mapping[str, CompiledBlock]) -> Iterator[str]:
    for name in names:
        inner = blocks[name].block.include
        if inner:
            yield from _expand(inner, blocks)
        else:
            yield name
