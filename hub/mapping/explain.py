"""One message mapped, rule by rule, for `hub map try`. Slow and thorough; what it gives holds patient data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hub.codecs.hl7v2 import Message
from hub.mapping.block import CompiledBlock
from hub.mapping.compile import Group, Run, describe
from hub.mapping.engine import Context, Engine, reader_for
from hub.mapping.functions import Reader
from hub.mapping.hl7v2_source import event_of, groups_of, items_of
from hub.mapping.spec import Rule

Row = dict[str, Any]


def explain(engine: Engine, message: Message, context: Context) -> list[Row]:
    """A row per rule: path, present, to, result, function, fact, and `warning` where it could not be read. Raises Unmappable."""
    event = engine.event(event_of(message))
    reader = reader_for(message, context)
    rows: list[Row] = []
    for plan, each in ((event.blocks, event.event.each), (event.after, None)):
        if not plan:
            continue
        for group, segments in groups_of(message, each):
            for block, fixed, _ in plan:
                spec = block.block
                items = items_of(spec, group, segments, block.each_local, reader) if spec.each else [(group, "")]
                for number, (item, label) in enumerate(items, 1):
                    reader.group = item
                    if block.holds is not None and not block.holds(group if block.each_local else item, reader):
                        continue
                    fact = fact_name(block) + (f" {number}" if spec.each else "")
                    rows += key_rows(block, item, reader, fact, label)
                    rows += [row_of("MSH-9", True, to, value, "event", fact) for to, value in fixed.items()]
                    rows += rule_rows(block, item, reader, fact, label)
    return rows


def row_of(path: str, present: bool, to: str, result: Any, function: str, fact: str) -> Row:
    return {"path": path, "present": present, "to": to, "result": result, "function": function, "fact": fact}


def fact_name(block: CompiledBlock) -> str:
    """What the block makes, for people."""
    spec = block.block
    return f"{spec.kind or spec.fact}" + (f" ({spec.snapshot})" if spec.snapshot else "")


def key_rows(block: CompiledBlock, item: Group, reader: Reader, fact: str, label: str) -> Iterator[Row]:
    """A row for each number that the block looks for."""
    for name, find in [*block.keys.items(), *block.refs.items()]:
        first = (block.block.keys.get(name) or block.block.refs[name])[0]
        found = find(item, reader)
        path = label or first.paths[0].text
        yield row_of(path, bool(found), name, [str(key) for key in found], first.function.name, fact)


def rule_rows(block: CompiledBlock, item: Group, reader: Reader, fact: str, label: str) -> Iterator[Row]:
    """A row for each rule of the block."""
    for rule, run, many in _in_order(block):
        values: Row = {}
        paths: dict[str, str] = {}
        before = len(reader.warnings)
        path = rule.paths[0]
        found = item.get(path.segment) or []
        at = max(path.occurrence - 1, 0)
        present = False
        for fields in found if many else found[at : at + 1]:
            if path.field < len(fields) and fields[path.field]:
                present = True
                run(fields[path.field], reader, values, paths)
        result = values.get(rule.to[0])
        if len(rule.to) > 1 and isinstance(result, dict):
            result = result.get(rule.to[1])
        row = row_of(label or rule.path, present, ".".join(rule.to), result, describe(rule.function, rule), fact)
        if len(reader.warnings) > before:
            row["warning"] = reader.warnings[-1]
        yield row


def _in_order(block: CompiledBlock) -> Iterator[tuple[Rule, Run, bool]]:
    """Each rule with its closure: in a run of neighbours on one segment, those without `each` come first."""
    rules = list(block.block.rules)
    for _, _, once, many in block.runs:
        chunk, rules = rules[: len(once) + len(many)], rules[len(once) + len(many) :]
        yield from ((rule, run, False) for rule, (_, run) in zip([r for r in chunk if not r.each], once, strict=True))
        yield from ((rule, run, True) for rule, (_, run) in zip([r for r in chunk if r.each], many, strict=True))
