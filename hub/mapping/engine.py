"""Compiled maps: one message in, facts out, in the order in which the map lists its blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from hub.codecs.hl7v2 import Message
from hub.domain.errors import Unmappable
from hub.domain.facts import AnyFact, Fact, Key, Mapped, Part, Snapshot
from hub.domain.model import DOCUMENTS
from hub.mapping.block import JOIN, CompiledBlock, CompiledEvent, Plan
from hub.mapping.codes import CodeMap
from hub.mapping.compile import FindKeys, Group, Paths, Values
from hub.mapping.functions import Reader
from hub.mapping.hl7v2_source import Segments, event_at, event_of, groups_of, items_of
from hub.mapping.part import PartPlan
from hub.mapping.spec import Block, Maps
from hub.mapping.structural import MAKERS

IDENTIFIER = "identifier"


class Context(NamedTuple):
    """What a channel adds to its messages: its default assigning authority, system, zone; when this one came (µs)."""

    assigner: str
    system: str
    timezone: str = "Asia/Seoul"
    received_at: int = 0


def reader_for(message: Message, context: Context) -> Reader:
    """What the functions need to know of this message."""
    return Reader(message.delimiters, message.charset, context.assigner, context.system, context.timezone)


class Engine:
    """All events of one source: of HL7 messages; rows (row_source.py) and FHIR resources (fhir_source.py) are seen their way."""

    numbers_itself = False  # the number that a fact is known by is an identifier of it, though no rule says so

    def __init__(self, maps: Maps, codes: Mapping[str, CodeMap], version: str, by_event: str = "MSH-9") -> None:
        """`by_event`: the path of a value that the event itself says."""
        blocks = {name: CompiledBlock(block, codes) for name, block in maps.blocks.items()}
        self.events = {name: CompiledEvent(event, blocks, version) for name, event in maps.events.items()}
        self.version = version
        self._by_event = by_event

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

    def event(self, name: str) -> CompiledEvent:
        found = self.events.get(name)
        if found is None:
            raise Unmappable(f"no map for event {name}", where=self._by_event, code="no_map")
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
                for item, _ in self._items(block, group, segments, reader) if spec.each else ((group, ""),):
                    facts.extend(MAKERS[spec.fact](block, item, reader))
            elif block.memory is not None and reader.common and not fixed and not default:
                block.recall_items(group, reader, facts)
            elif spec.each:
                seen: set[Key] = set()
                for item, label in self._items(block, group, segments, reader):
                    if block.holds is not None and not block.each_local and not block.holds(item, reader):
                        continue
                    self._fact(block, item, group, reader, facts, fixed, default, label, seen)
            else:
                self._fact(block, group, group, reader, facts, fixed, default, "", None)

    def _items(self, block: CompiledBlock, group: Group, segments: Segments, reader: Reader) -> Iterator[tuple[Group, str]]:
        """The items of the block's `each`, and where they stand if that is not where their rules say."""
        return items_of(block.block, group, segments, block.each_local, reader)

    def _said(self, _block: CompiledBlock, _reader: Reader) -> bool:
        """Whether a list without an item was told all the same: of segments, an empty list is one that is not there."""
        return False

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
        if self.numbers_itself and IDENTIFIER not in values and IDENTIFIER in DOCUMENTS[block.kind].__annotations__:
            values[IDENTIFIER] = [{"assigner": key.assigner, "value": key.value}]
            paths[IDENTIFIER] = ",".join(path.text for path in spec.keys["key"][0].paths)
        facts.append(Fact(block.kind, key, values, paths, patient, others, create=spec.create, gone=spec.gone))

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
            for item, _ in self._items(block, group, segments, reader):
                said = True
                values = {}
                block.read(item, reader, values, {})
                values = {name: value for name, value in values.items() if value is not None}
                if values and (found := {**default, **values}) not in items:
                    items.append(found)
        if said or self._said(block, reader):
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


__all__ = ["Context", "Engine"]
