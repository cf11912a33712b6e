"""From an outbound message to the row or the call that an outbound map makes of it. What cannot be said is Unmappable."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from hub.domain.errors import Unmappable
from hub.domain.ports import Outbound
from hub.mapping.out_functions import Cell
from hub.mapping.row_out import SLOT_SYSTEMS, Column, OutMap, Path, Rule, When, Write
from hub.mapping.times import BadValue


@dataclass(slots=True)
class Value:
    """One column's value. `field`: the canonical field it comes from, "" for one of the map's own; `canonical`: that field."""

    column: Column
    cell: Cell
    field: str = ""
    canonical: Any = None


@dataclass(slots=True)
class OutRow:
    """What is to be written. `values` are in the map's order."""

    write: Write
    values: list[Value]

    def cell(self, column: str) -> Cell:
        return next(value.cell for value in self.values if value.column.name == column)

    def sent_fields(self) -> dict[str, Any]:
        """Canonical field -> its value as it went out: how the target's echo is recognised."""
        return {value.field: value.canonical for value in self.values if value.field}


def compose(out_map: OutMap, message: Outbound, zone: dt.tzinfo) -> OutRow | None:
    """The row for a change; None where the map has nothing for it. Raises Unmappable: column and reason, never a value."""
    for write in out_map.writes:
        named = write.kind == message.kind and any(fnmatchcase(message.type, event) for event in write.events)
        if named and (write.when is None or _holds(write.when, message)):
            return OutRow(write, [_value(column, message, zone) for column in write.columns])
    return None


def about(row: OutRow, changed: list[str]) -> list[Value]:
    """The values that a change of these fields is about; all of them where none is named."""
    if not changed:
        return list(row.values)
    return [value for value in row.values if any(_touches(name, field) for field in value.column.fields for name in changed)]


def _touches(changed: str, field: str) -> bool:
    """telecom.mobile.2 touches telecom.mobile; telecom touches all of it; period.start touches period."""
    return changed == field or changed.startswith(f"{field}.") or field.startswith(f"{changed}.")


def _value(column: Column, message: Outbound, zone: dt.tzinfo) -> Value:
    field = canonical = None
    for rule in column.rules:
        if rule.path is not None and rule.path.field and field is None:
            field, canonical = rule.path.field, _whole(rule.path, message)
        cell = _said(rule, column, message, zone)
        if cell is not None:
            if rule.path is not None:
                return Value(column, cell, rule.path.field, _whole(rule.path, message))
            return Value(column, cell)
    return Value(column, column.empty, field or "", canonical)


def _said(rule: Rule, column: Column, message: Outbound, zone: dt.tzinfo) -> Cell:
    if rule.when is not None and not _holds(rule.when, message):
        return None
    if rule.path is None:
        return rule.value
    found = _at(rule.path, message)
    if found is None or found == []:
        return None
    if rule.value is not None:
        return rule.value
    if rule.codes is not None:
        return _coded(rule, column, found)
    try:
        return rule.function(found, zone)
    except BadValue as error:
        raise Unmappable(f"column {column.name} ({rule.path.text}): {error.code}", code="unsayable") from None


def _coded(rule: Rule, column: Column, found: Any) -> str:
    assert rule.codes is not None
    assert rule.path is not None
    code = rule.codes.get(_word(found), rule.default)
    if code is None:
        raise Unmappable(f"column {column.name} ({rule.path.text}): a value that `codes` does not have", code="unknown_code")
    return _word(found) if code == "=" else code


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _holds(when: When, message: Outbound) -> bool:
    found = _at(when.path, message)
    if when.present is not None:
        return (found is not None) is when.present
    if when.among is not None:
        return found is not None and _word(found) in when.among
    return found is None or _word(found) not in (when.not_among or ())


def _at(path: Path, message: Outbound) -> Any:
    if path.root == "message":
        return _of_message(path.parts[0], message)
    here: Any = message.patient if path.root else message.resource
    for part in path.parts:
        here = here.get(part) if isinstance(here, Mapping) else None
        if isinstance(here, list) and here and isinstance(here[0], Mapping):
            here = _picked(here, path)
        if here is None:
            return None
    return here


def _whole(path: Path, message: Outbound) -> Any:
    """The canonical field that a value comes from: a contact point by itself, any other field whole."""
    if path.root:
        return None
    whole = message.resource.get(path.parts[0])
    return _picked(whole or (), path) if path.slot else whole


def _picked(items: Any, path: Path) -> Any:
    """The first item that is meant, one that is in use before an old one."""
    fitting = [
        item
        for item in items
        if all(str(item.get(name)) == wanted for name, wanted in path.pick) and (not path.slot or _slot(item) == path.slot)
    ]
    return next((item for item in fitting if item.get("use") != "old"), fitting[0] if fitting else None)


def _slot(point: Mapping[str, Any]) -> str:
    """As the core calls it (hub/sync/slots.py): the use of a phone, else the system."""
    system = str(point.get("system", "phone"))
    return system if system in SLOT_SYSTEMS else str(point.get("use") or "phone")


def _of_message(name: str, message: Outbound) -> Any:
    match name:
        case "id":
            return message.message_id
        case "key":
            return f"{message.resource_id}:{message.message_id}"
        case "at":
            return dt.datetime.fromtimestamp(message.at / 1e6, dt.UTC).isoformat()
        case "type":
            return message.type
        case "resource":
            return message.resource_id
    return message.version
