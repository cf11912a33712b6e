"""Compiled maps: one message or row in, facts out, in the order in which the map lists its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, cast

from hub.codecs.hl7v2 import Delimiters, Message
from hub.domain.errors import Unmappable
from hub.domain.facts import AnyFact, ChangeIdentifier, Fact, Key, Link, Mapped, Merge, Move, Part, Snapshot
from hub.domain.model import DOCUMENTS, Kind
from hub.mapping.codes import CodeMap
from hub.mapping.compile import FindKeys, Group, Paths, Run, Values, condition, fetch, keys_finder, rule_runner
from hub.mapping.functions import NULL, Reader
from hub.mapping.hl7v2_source import Segments, event_at, event_of, groups_of, items_of
from hub.mapping.memory import Memory
from hub.mapping.part import PartPlan, part_of
from hub.mapping.spec import ITEM, Block, Event, Maps, Rule

JOIN = "|"  # how the fields of a segment are put together again: they never hold it, or they would be two
_PLAIN = Delimiters("", "", "", "", "")


class Context(NamedTuple):
    """What a channel adds to its messages: its default assigning authority, system, zone; when this one came (µs)."""

    assigner: str
    system: str
    timezone: str = "Asia/Seoul"
    received_at: int = 0


IDENTIFIER = "identifier"


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
        """Whether `other_keys` can give more than the key: a repetition of its first path, or anything at another one."""
        first, *rest = self.other_paths
        for path in rest:
            if fetch(path, group):
                return True
        return first != self.block.keys["key"][0].paths[0] or reader.repetition in fetch(first, group)

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


def reader_for(message: Message, context: Context) -> Reader:
    """What the functions need to know of this message."""
    return Reader(message.delimiters, message.charset, context.assigner, context.system, context.timezone)


def _row(row: Mapping[str, Any], context: Context) -> tuple[Reader, Group]:
    """A row as the rules see it: each column a segment of its own."""
    reader = Reader(_PLAIN, "utf-8", context.assigner, context.system, context.timezone)
    return reader, {name: [[("" if text is None else str(text).rstrip()) or NULL]] for name, text in row.items()}


class Engine:
    """All events of one source."""

    def __init__(self, maps: Maps, codes: Mapping[str, CodeMap], version: str) -> None:
        blocks = {name: CompiledBlock(block, codes) for name, block in maps.blocks.items()}
        self.events = {name: CompiledEvent(event, blocks, version) for name, event in maps.events.items()}
        self.version = version
        self._rows = maps.source == "row"
        self._by_event = "MSH-9" if maps.source == "hl7v2" else "event"  # where a value comes from that the event itself says

    def map(self, message: Message, context: Context, *, apart: bool = False) -> Mapped:
        """Facts of one HL7 message. Raises Unmappable: no such event, no patient number, no PID.

        `apart`: where the patient's part can stand by itself, it is left to be mapped when somebody wants it.
        """
        name = event_of(message)
        event = self.event(name)
        reader = reader_for(message, context)
        facts: list[AnyFact] = []
        groups = list(groups_of(message, event.event.each))
        mapped = Mapped(facts, name, event_at(message, reader, context.received_at), self.version, reader.warnings)
        if apart and event.part is not None and len(groups) == 1 and reader.common:
            self._apart(event.part, *groups[0], reader, mapped)
            return mapped
        for group, segments in groups:
            self._group(event.blocks, group, segments, reader, facts)
        if event.after:
            for group, segments in groups_of(message, None):
                self._group(event.after, group, segments, reader, facts)
        return mapped

    def _apart(self, plan: PartPlan, group: Group, segments: Segments, reader: Reader, mapped: Mapped) -> None:
        def facts() -> list[AnyFact]:
            found: list[AnyFact] = []
            self._group(plan.part, group, segments, reader, found)
            return found

        self._group(plan.before, group, segments, reader, mapped.facts)
        at, keys = len(mapped.facts), _cached(plan.key, group, reader)
        if keys:
            mapped.part = Part(keys[0], plan.digest(group, reader), at, facts)
        else:  # says what is missing
            mapped.facts += facts()
        self._group(plan.behind, group, segments, reader, mapped.facts)

    def map_row(self, table: str, row: Mapping[str, Any], context: Context) -> Mapped:
        """Facts of one row of a table or view. A column that is NULL or blank was deleted; trailing blanks are padding."""
        event = self.event(table)
        reader, group = _row(row, context)
        facts: list[AnyFact] = []
        self._group(event.blocks, group, [], reader, facts)
        return Mapped(facts, table, context.received_at, self.version, reader.warnings)

    def row_patient(self, table: str, row: Mapping[str, Any], context: Context) -> Key | None:
        """Whose row it is: the first key of a patient that the event's blocks find in it."""
        reader, group = _row(row, context)
        for block, _, _ in self.event(table).blocks:
            find = block.patient or (block.keys.get("key") if block.kind == "Patient" else None)
            keys = find(group, reader) if find else []
            if keys:
                return keys[0]
        return None

    def key_columns(self, table: str) -> dict[str, tuple[str, ...]]:
        """Of each kind that a row tells of: the columns of the first place that gives its number."""
        found: dict[str, tuple[str, ...]] = {}
        for block, _, _ in self.event(table).blocks:
            for kind, keys in ((block.kind, block.block.keys.get("key", ())), ("Patient", block.block.patient)):
                if keys:
                    found.setdefault(kind, tuple(path.segment for path in keys[0].paths))
        return found

    def event(self, name: str) -> CompiledEvent:
        found = self.events.get(name)
        if found is None:
            raise Unmappable(f"no map for event {name}", where="MSH-9", code="no_map")
        return found

    def _group(self, plan: Plan, group: Group, segments: Segments, reader: Reader, facts: list[AnyFact]) -> None:
        if reader.keys_of is not group:
            reader.keys_of = group
            reader.keys.clear()
        for block, fixed, default in plan:
            reader.group = group
            spec = block.block
            if block.holds is not None and (not spec.each or block.each_local) and not block.holds(group, reader):
                continue
            if spec.snapshot is not None:
                self._snapshot(block, group, segments, reader, facts, default)
            elif spec.fact is not None:
                for item, _ in items_of(spec, group, segments, block.each_local, reader) if spec.each else ((group, ""),):
                    facts.extend(MAKERS[spec.fact](block, item, reader))
            elif block.memory is not None and reader.common and not fixed and not default:
                block.recall_items(group, reader, facts)
            elif spec.each:
                seen: set[Key] = set()
                for item, label in items_of(spec, group, segments, block.each_local, reader):
                    if block.holds is not None and not block.each_local and not block.holds(item, reader):
                        continue
                    self._fact(block, item, group, reader, facts, fixed, default, label, seen)
            else:
                self._fact(block, group, group, reader, facts, fixed, default, "", None)

    def _fact(
        self, block: CompiledBlock, item: Group, group: Group, reader: Reader, facts: list[AnyFact],
        fixed: Values, default: Values, label: str, seen: set[Key] | None,
    ) -> None:  # fmt: skip
        spec = block.block
        find = block.keys["key"]
        keys = _cached(find, group, reader) if item is group else find(item, reader)
        if not keys:
            if spec.required and not spec.each:
                raise _no_key(spec)
            path = spec.keys["key"][0].paths[0]
            if path.segment in item and not spec.unique:
                reader.warn(path.text, f"no number, so no {spec.kind}")
            return
        key = keys[0]
        if seen is not None and spec.unique:
            if key in seen:
                return
            seen.add(key)
        patient = self._patient(block, group, reader)
        values: Values = dict(fixed)
        paths: Paths = dict.fromkeys(fixed, self._by_event) if fixed else {}
        block.read(item, reader, values, paths)
        for name, value in default.items():
            if name not in values:
                values[name] = value
                paths[name] = self._by_event
        for name, find in block.refs.items():
            numbers = _cached(find, group, reader) if item is group else find(item, reader)
            if numbers:
                values[name] = {"identifier": {"assigner": numbers[0].assigner, "value": numbers[0].value}}
                paths[name] = spec.refs[name][0].paths[0].text
        if label:
            paths = dict.fromkeys(values, label)
        others: tuple[Key, ...] = ()
        if block.others is not None and block.has_others(item, reader):
            others = tuple(other for other in block.others(item, reader) if other != key)
        if self._rows and IDENTIFIER not in values and IDENTIFIER in DOCUMENTS[block.kind].__annotations__:
            # what tells rows apart is the number of the thing, though no rule says so
            values[IDENTIFIER] = [{"assigner": key.assigner, "value": key.value}]
            paths[IDENTIFIER] = ",".join(path.text for path in spec.keys["key"][0].paths)
        facts.append(Fact(block.kind, key, values, paths, patient, others, create=spec.create))

    def _patient(self, block: CompiledBlock, group: Group, reader: Reader) -> Key | None:
        if block.patient is None:
            return None
        keys = _cached(block.patient, group, reader)
        if keys:
            return keys[0]
        if block.block.required:
            raise _no_patient(block.block)
        return None

    def _snapshot(
        self, block: CompiledBlock, group: Group, segments: Segments, reader: Reader,
        facts: list[AnyFact], default: Values,
    ) -> None:  # fmt: skip
        """All items of the list; nothing where the message carries no such segment at all."""
        spec = block.block
        items: list[Values] = []
        said = False
        if block.memory is not None and reader.common:
            for fields in group.get(spec.each[0].segment, ()):
                said = True
                values = block.memory.recall(JOIN.join(fields), reader, block.listed)
                if values and (found := {**default, **values}) not in items:
                    items.append(found)
        else:
            for item, _ in items_of(spec, group, segments, block.each_local, reader):
                said = True
                values = {}
                block.read(item, reader, values, {})
                values = {name: value for name, value in values.items() if value is not None}
                if values and (found := {**default, **values}) not in items:
                    items.append(found)
        if said:
            patient = self._patient(block, group, reader)
            if patient is None:
                raise _no_patient(spec)
            facts.append(Snapshot(block.kind, patient, spec.snapshot or "", items, spec.each[0].text))


def _cached(find: FindKeys, group: Group, reader: Reader) -> list[Key]:
    found: list[Key] | None = reader.keys.get(find)
    if found is None:
        found = reader.keys[find] = find(group, reader)
    return found


def _no_key(spec: Block) -> Unmappable:
    where = spec.keys["key"][0].paths[0].text
    return Unmappable(f"no number for the {spec.kind}; without one nothing can be filed", where=where, code="no_key")


def _no_patient(spec: Block) -> Unmappable:
    where = spec.patient[0].paths[0].text
    return Unmappable(f"no patient number, and the {spec.kind or spec.fact} needs one", where=where, code="no_patient")


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

__all__ = ["Context", "Engine"]
