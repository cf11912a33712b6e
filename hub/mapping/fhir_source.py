"""What the engine sees of a FHIR resource: the values at the paths that its map names, each path a column of its own.

Texts, numbers and booleans are the raw values; an object stands as a mark that the functions which take JSON turn back into it.
A resource says all that its server knows of the thing, so what it leaves out was deleted (except where the server says that it
left something out: meta.tag SUBSETTED).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hub.codecs.fhir import objects
from hub.codecs.fhir_incoming import type_of
from hub.codecs.fhir_types import instant, string
from hub.codecs.hl7v2 import Delimiters
from hub.codecs.korean import scrub
from hub.domain.facts import AnyFact, Fact, Mapped, Snapshot
from hub.mapping.block import CompiledBlock, Plan
from hub.mapping.codes import CodeMap
from hub.mapping.compile import Group, Values
from hub.mapping.engine import Context, Engine
from hub.mapping.explain import Row, fact_name, key_rows, row_of, rule_rows
from hub.mapping.fhir_keys import Names
from hub.mapping.fhir_paths import Step, at_path, steps, text_of
from hub.mapping.functions import Reader
from hub.mapping.hl7v2_source import Segments
from hub.mapping.paths import paths_of
from hub.mapping.spec import ITEM, Block, Maps
from hub.mapping.structural import MAKERS
from hub.mapping.times import micros

_NEXT, _OBJECT = "\x1e", "\x1f"  # no text of a resource holds control characters (datatypes.html#string); `raw` sees to it
_DELIMITERS = Delimiters("", "", _NEXT, "", "")
SUBSETTED = "SUBSETTED"


class FhirReader(Reader):
    """A Reader of one resource: which server names things how, and the objects behind the marks."""

    __slots__ = ("document", "names", "nodes")

    def __init__(self, document: Mapping[str, Any], names: Names, zone: str) -> None:
        super().__init__(_DELIMITERS, "utf-8", names.assigner, names.system, zone)
        self.document = document
        self.names = names
        self.nodes: list[Any] = []

    def raw(self, nodes: list[Any]) -> str:
        """What stands at a path, as the engine handles it."""
        found = []
        for node in nodes:
            if isinstance(node, Mapping):
                found.append(f"{_OBJECT}{len(self.nodes)}")
                self.nodes.append(node)
            else:
                found.append(text_of(node))
        return _NEXT.join(filter(None, found))

    def node(self, raw: str) -> Any:
        """The object behind a mark, or the text."""
        return self.nodes[int(raw[1:])] if raw[:1] == _OBJECT else raw

    def text(self, raw: str) -> str:
        """As Reader.text; an object is no text."""
        return "" if raw[:1] == _OBJECT else scrub(raw)

    def plain(self, raw: str) -> str:
        return "" if raw[:1] == _OBJECT else raw

    def words(self, value: object) -> str:
        """A text inside an object, as people read it: registration numbers removed; "" where there is none."""
        return scrub(string(value) or "")


class FhirEngine(Engine):
    """All resource types of the maps; an event is a type, or `Type.deleted`."""

    def __init__(self, maps: Maps, codes: Mapping[str, CodeMap], version: str) -> None:
        super().__init__(maps, codes, version, by_event="event")
        self._paths = {name: _paths_of(event.blocks) for name, event in self.events.items()}
        self._inner = {
            name: {text[2:]: steps(text[2:]) for text in _texts(block) if text.startswith("*.")}
            for name, block in maps.blocks.items()
        }

    def map_resource(self, document: Mapping[str, Any], context: Context, names: Names) -> Mapped:
        """Facts of one resource. Raises Unmappable: no such type, no id and no identifier."""
        name = type_of(document)
        event = self.event(name)
        reader = FhirReader(document, names, context.timezone)
        facts: list[AnyFact] = []
        self._group(event.blocks, self.group(name, document, reader), [], reader, facts)
        return Mapped(facts, name, _changed_at(document, context), self.version, reader.warnings)

    def group(self, name: str, document: Mapping[str, Any], reader: FhirReader) -> Group:
        """What stands at the paths that the type's blocks name."""
        found = {text: reader.raw(at_path(document, path)) for text, path in self._paths[name].items()}
        return {text: [[raw]] for text, raw in found.items() if raw}

    def explain(self, document: Mapping[str, Any], context: Context, names: Names) -> list[Row]:
        """As hub.mapping.explain, of one resource."""
        name = type_of(document)
        reader = FhirReader(document, names, context.timezone)
        group = self.group(name, document, reader)
        rows: list[Row] = []
        for block, fixed, _ in self.event(name).blocks:
            items = self._items(block, group, [], reader) if block.block.each else ((group, ""),)
            for number, (item, label) in enumerate(items, 1):
                reader.group = item
                if block.holds is not None and not block.holds(item, reader):
                    continue
                fact = fact_name(block) + (f" {number}" if block.block.each else "")
                rows += key_rows(block, item, reader, fact, label)
                rows += [row_of(name, True, to, value, "event", fact) for to, value in fixed.items()]
                rows += rule_rows(block, item, reader, fact, "")
        return rows

    def _items(self, block: CompiledBlock, group: Group, _segments: Segments, reader: Reader) -> Iterator[tuple[Group, str]]:
        """Each thing at the paths of the block's `each`, as `*`; what is inside it as `*.…`."""
        assert isinstance(reader, FhirReader)
        inner = self._inner[block.block.name]
        for path in block.block.each:
            for raw in group[path.segment][0][0].split(_NEXT) if path.segment in group else ():
                item: Group = {**group, ITEM: [[raw]]}
                for text, way in inner.items():
                    if found := reader.raw(at_path(reader.node(raw), way)):
                        item[f"*.{text}"] = [[found]]
                yield item, path.text

    def _group(self, plan: Plan, group: Group, _segments: Any, reader: Reader, facts: list[AnyFact]) -> None:
        assert isinstance(reader, FhirReader)
        whole = not any(tag.get("code") == SUBSETTED for tag in objects(at_path(reader.document, steps("meta.tag"))))
        reader.keys_of = group
        reader.keys.clear()
        for block, fixed, default in plan:
            if block.block.snapshot is not None:
                self._list(block, group, reader, facts, default, whole=whole)
                continue
            for item, label in self._items(block, group, [], reader) if block.block.each else ((group, ""),):
                reader.group = item
                if block.holds is not None and not block.holds(item, reader):
                    continue
                if block.block.fact is not None:
                    facts.extend(MAKERS[block.block.fact](block, item, reader))
                elif self._has_owner(block, group, reader):
                    known = len(facts)
                    self._fact(block, item, group, reader, facts, fixed, default, label, None)
                    for fact in facts[known:]:
                        _complete(block, fact, whole=whole)

    def _list(
        self, block: CompiledBlock, group: Group, reader: FhirReader, facts: list[AnyFact], default: Values, *, whole: bool
    ) -> None:
        """All that a resource lists of one sort; an empty list where it has none, which replaces what was there."""
        spec = block.block
        patient = block.patient(group, reader) if block.patient else []
        reader.group = group
        if not patient or (block.holds is not None and not block.holds(group, reader)):
            return
        found: list[Values] = []
        for item, _ in self._items(block, group, [], reader):
            values: Values = {}
            block.read(item, reader, values, {})
            values = {name: value for name, value in values.items() if value is not None}
            if values and (one := {**default, **values}) not in found:
                found.append(one)
        if found or whole:
            facts.append(Snapshot(block.kind, patient[0], spec.snapshot or "", found, spec.each[0].text))

    def _has_owner(self, block: CompiledBlock, group: Group, reader: Reader) -> bool:
        """What is a group's, a device's or nobody's is not the hub's: said, and nothing made of it."""
        if block.patient is None or not block.block.required or block.patient(group, reader):
            return True
        reader.warn(block.block.patient[0].paths[0].text, f"no patient, so no {block.kind}")
        return False


def _complete(block: CompiledBlock, fact: AnyFact, *, whole: bool) -> None:
    """What the resource left out was deleted."""
    assert isinstance(fact, Fact)
    if whole and not fact.gone:
        for name in (*(rule.to[0] for rule in block.block.rules), *block.refs):
            fact.values.setdefault(name, None)


def _changed_at(document: Mapping[str, Any], context: Context) -> int:
    """µs of meta.lastUpdated, else of the arrival: decides which of two messages is the later one."""
    meta = document.get("meta")
    told = instant(meta.get("lastUpdated")) if isinstance(meta, Mapping) else None
    return micros(told, context.timezone) if told else context.received_at


def _paths_of(plan: Plan) -> dict[str, tuple[Step, ...]]:
    texts = {text for block, _, _ in plan for text in _texts(block.block) if not text.startswith("*")}
    return {text: steps(text) for text in sorted(texts)}


def _texts(block: Block) -> Iterator[str]:
    """Every path that a block names."""
    return (path.segment for path in (*block.each, *paths_of(block)))
