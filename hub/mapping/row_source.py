"""What the engine sees of a row: the columns that its map names, and of rows in it (OData's expanded navigation, an IDoc's
child segments, DICOM's sequences) what stands at dotted paths.

A column's value is text, a number, a list of such (its repetitions), a row, or a list of rows. `a.b` goes down; through a list
of rows it takes the first. `each = "a.b"` takes every row of every list, as `*`, and `*.c` is a column of it. What is not there
was not said; what is null, blank or an empty list was deleted. Whatever else stands at a path is Unmappable, named by the path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hub.codecs.hl7v2 import Delimiters
from hub.domain.errors import Unmappable
from hub.domain.facts import AnyFact, Key, Mapped
from hub.mapping.block import CompiledBlock
from hub.mapping.codes import CodeMap
from hub.mapping.compile import Group
from hub.mapping.engine import Context, Engine
from hub.mapping.explain import Row, fact_name, key_rows, row_of, rule_rows
from hub.mapping.functions import NULL, Reader
from hub.mapping.hl7v2_source import Segments
from hub.mapping.paths import paths_of
from hub.mapping.spec import ITEM, Maps

NEXT = "\x1e"  # between the values of one column; RS, which no text of a column keeps
_DELIMITERS = Delimiters("", "", NEXT, "", "")
MOST = 10_000  # values or rows at one path: beyond that it is no document of one thing
_ABSENT: Final = object()
Steps = tuple[str, ...]


class RowEngine(Engine):
    """All rows of the maps; an event is a table's, an entity set's or a message type's name."""

    numbers_itself = True

    def __init__(self, maps: Maps, codes: Mapping[str, CodeMap], version: str) -> None:
        super().__init__(maps, codes, version, by_event="event")
        self._columns: dict[str, dict[str, Steps]] = {}  # event -> path -> the names on the way
        for name, event in self.events.items():
            texts = {path.segment for block, _, _ in event.blocks for path in paths_of(block.block)}
            self._columns[name] = {text: tuple(text.split(".")) for text in sorted(texts) if not _of_item(text)}
        self._inner = {  # block -> path of a column of its items -> the names on the way
            name: {path.segment: tuple(path.segment.split(".")[1:]) for path in paths_of(block) if _of_item(path.segment)}
            for name, block in maps.blocks.items()
        }

    def map_row(self, table: str, row: Mapping[str, Any], context: Context) -> Mapped:
        """Facts of one row. Trailing blanks of a column are padding. Raises Unmappable: no such event, no number, an odd type."""
        event = self.event(table)
        reader = RowReader(row, context)
        facts: list[AnyFact] = []
        self._group(event.blocks, self._grouped(table, row), [], reader, facts)
        return Mapped(facts, table, context.received_at, self.version, reader.warnings)

    def row_patient(self, table: str, row: Mapping[str, Any], context: Context) -> Key | None:
        """Whose row it is: the first key of a patient that the event's blocks find in it; None too where it cannot be mapped."""
        try:
            reader, group = RowReader(row, context), self._grouped(table, row)
        except Unmappable:
            return None  # said when it is mapped, in its channel's lane
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

    def explain(self, table: str, row: Mapping[str, Any], context: Context) -> list[Row]:
        """As hub.mapping.explain, of one row."""
        event = self.event(table)
        reader, group = RowReader(row, context), self._grouped(table, row)
        rows: list[Row] = []
        for block, fixed, _ in event.blocks:
            items = self._items(block, group, [], reader) if block.block.each else ((group, ""),)
            for number, (item, _) in enumerate(items, 1):
                reader.group = item
                if block.holds is not None and not block.holds(item, reader):
                    continue
                fact = fact_name(block) + (f" {number}" if block.block.each else "")
                rows += key_rows(block, item, reader, fact, "")
                rows += [row_of("event", True, to, value, "event", fact) for to, value in fixed.items()]
                rows += rule_rows(block, item, reader, fact, "")
        return rows

    def _grouped(self, table: str, row: Mapping[str, Any]) -> Group:
        group: Group = {}
        for text, names in self._columns.get(table, {}).items():
            found = row[text] if text in row else _down(row, names, text)  # an old column may have a dot in its name
            if found is not _ABSENT:
                group[text] = [[_raw(found, text)]]
        return group

    def _items(self, block: CompiledBlock, group: Group, _segments: Segments, reader: Reader) -> Iterator[tuple[Group, str]]:
        assert isinstance(reader, RowReader)
        inner = self._inner[block.block.name]
        for path in block.block.each:
            for one in _all(reader.row, path.segment):
                item: Group = {**group, ITEM: [[NULL if isinstance(one, Mapping) else _raw(one, path.segment)]]}
                for text, names in inner.items():
                    found = _down(one, names, f"{path.segment}{text[1:]}") if names else _ABSENT
                    if found is not _ABSENT:
                        item[text] = [[_raw(found, f"{path.segment}{text[1:]}")]]
                yield item, ""

    def _said(self, block: CompiledBlock, reader: Reader) -> bool:
        """An empty list was said too: there are none any more."""
        assert isinstance(reader, RowReader)
        paths = [path.segment for path in block.block.each]
        return any(text in reader.row or _down(reader.row, tuple(text.split(".")), text) is not _ABSENT for text in paths)


class RowReader(Reader):
    """A Reader of one row."""

    __slots__ = ("row",)

    def __init__(self, row: Mapping[str, Any], context: Context) -> None:
        super().__init__(_DELIMITERS, "utf-8", context.assigner, context.system, context.timezone)
        self.row = row


def _of_item(text: str) -> bool:
    return text == ITEM or text.startswith(f"{ITEM}.")


def _down(node: Any, names: Steps, where: str) -> Any:
    """What stands at that path: through lists of rows the first one's. Raises Unmappable where a value stands in the way."""
    for name in names:
        if isinstance(node, list):
            node = node[0] if node else None
        if node is None:
            return None
        if not isinstance(node, Mapping):
            raise Unmappable(f"`{name}` is a column of a row, and no row stands there", where=where, code="odd_type")
        if name not in node:
            return _ABSENT
        node = node[name]
    return node


def _all(row: Mapping[str, Any], where: str) -> list[Any]:
    """Every row (or value) at that path, of every list on the way."""
    if where in row:
        return _listed([row[where]], where)
    nodes: list[Any] = [row]
    for name in where.split("."):
        if not all(isinstance(node, Mapping) for node in nodes):
            raise Unmappable(f"`{name}` is a column of rows, and no rows stand there", where=where, code="odd_type")
        nodes = _listed([node.get(name) for node in nodes], where)
    return nodes


def _listed(found: list[Any], where: str) -> list[Any]:
    nodes: list[Any] = []
    for one in found:
        nodes.extend(one if isinstance(one, list) else () if one is None else (one,))
        if len(nodes) > MOST:
            raise Unmappable(f"more than {MOST:,} rows", where=where, code="too_many")
    return [node for node in nodes if node is not None]


def _raw(value: Any, where: str) -> str:
    """A column's value as the engine handles it; `""` where it is null, blank or an empty list."""
    if value is None or isinstance(value, str):
        text = value or ""
        return (text.replace(NEXT, " ") if NEXT in text else text).rstrip() or NULL
    if isinstance(value, list):
        if len(value) > MOST:
            raise Unmappable(f"more than {MOST:,} values", where=where, code="too_many")
        return NEXT.join(text for one in value if (text := _raw(_no_list(one, where), where)) != NULL) or NULL
    if isinstance(value, Mapping):
        raise Unmappable("a row stands there, and a value was expected: name a column of it", where=where, code="odd_type")
    return str(value).rstrip() or NULL


def _no_list(value: Any, where: str) -> Any:
    if isinstance(value, list):
        raise Unmappable("a list stands in a list, and values were expected", where=where, code="odd_type")
    return value
