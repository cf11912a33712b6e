"""Rules and keys -> closures. Everything that can be decided once is decided here, so that a message costs microseconds.

A `Group` is what a rule sees of a message: name -> occurrences, each a list of raw fields. HL7 gives segments; a row gives
its columns, and the item of an `each` gives `*`, as occurrences of one field (number 0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from hub.domain.facts import Key
from hub.mapping.codes import CodeMap
from hub.mapping.functions import NULL, Function, Reader
from hub.mapping.memory import MEMORY, Memory
from hub.mapping.spec import KeyPath, KeySpec, PathSpec, Rule, When
from hub.mapping.times import BadValue

Group = dict[str, list[list[str]]]
Values = dict[str, Any]
Paths = dict[str, str]
Run = Callable[[str, Reader, Values, Paths], None]
KEEP = "="  # `default = "="`: an unknown code stays as it came (and is warned of)


def fetch(path: PathSpec, group: Group) -> str:
    """The raw field at that path, all its repetitions; "" where there is none."""
    found = group.get(path.segment)
    at = path.occurrence - 1 if path.occurrence else 0
    if found is None or at >= len(found):
        return ""
    fields = found[at]
    return fields[path.field] if path.field < len(fields) else ""


def repetition(raw: str, path: PathSpec, reader: Reader) -> str:
    """The repetition that the path means: the first, unless it says another."""
    if reader.repetition not in raw:
        return raw if path.repetition < 2 else ""
    reps = raw.split(reader.repetition)
    at = path.repetition - 1 if path.repetition else 0
    return reps[at] if at < len(reps) else ""


def narrow(raw: str, path: PathSpec, reader: Reader) -> str:
    """One repetition -> the component and sub-component that the path means (the first ones, unless it says others)."""
    for mark, wanted in ((reader.component, path.component), (reader.subcomponent, path.subcomponent)):
        if mark in raw:
            pieces = raw.split(mark)
            at = wanted - 1 if wanted else 0
            raw = pieces[at] if at < len(pieces) else ""
        elif wanted > 1:
            return ""
    return raw


def condition(when: When) -> Callable[[Group, Reader], bool]:
    """A `when` as a function of the group."""
    paths = when.paths

    def holds(group: Group, reader: Reader) -> bool:
        text = ""
        for path in paths:
            text = reader.text(narrow(repetition(fetch(path, group), path, reader), path, reader))
            if text:
                break
        if when.present is not None:
            return bool(text) == when.present
        if when.among is not None:
            return text in when.among
        if when.codes is not None:
            return when.codes.get(text) is not None
        return text not in (when.not_among or ())

    return holds


def rule_runner(rule: Rule, codes: Mapping[str, CodeMap], fallback: bool) -> Run:
    """The closure of one rule over the raw field. `fallback`: an earlier rule has the same target; it goes first."""
    table = codes.get(rule.codes) if rule.codes else None
    if rule.each:
        run = _each(rule, table)
    elif _is_plain(rule):
        run = _once_text(rule, table, fallback)
    else:
        run = _once(rule, table, fallback)
    if rule.function.pure and not rule.each and len(rule.to) == 1 and len(rule.paths) == 1 and rule.value is None:
        run = _remembering(rule, run)
    if rule.when is None:
        return run
    holds = condition(rule.when)

    def guarded(raw: str, reader: Reader, values: Values, paths: Paths) -> None:
        if holds(reader.group, reader):
            run(raw, reader, values, paths)

    return guarded


def _is_plain(rule: Rule) -> bool:
    """The most frequent rule: one text, first component of the first repetition, into a field of its own."""
    path = rule.paths[0]
    first = not path.repetition and path.component < 2 and path.subcomponent < 2
    return first and rule.function.takes == "text" and len(rule.to) == 1 and len(rule.paths) == 1 and rule.value is None


Convert = Callable[[str, Reader], Any]


def _converter(rule: Rule, table: CodeMap | None) -> Convert:
    """One repetition (still escaped) -> the canonical value, or None."""
    read = _reading(rule)
    extra, path = dict(rule.extra), rule.path
    if rule.value is not None:
        constant = rule.value
        return lambda _raw, _reader: constant
    if table is None and not extra:
        return read

    def convert(raw: str, reader: Reader) -> Any:
        value = read(raw, reader)
        if value is None:
            return None
        if table is not None:
            value = _coded(value, table, rule.default, reader, path)
        if extra and isinstance(value, dict):
            for key, constant in extra.items():
                value.setdefault(key, constant)
        return value

    return convert


def _reading(rule: Rule) -> Convert:
    call, takes, path, empty = rule.function.call, rule.function.takes, rule.paths[0], rule.empty
    if len(rule.paths) > 1:
        return _joined(rule)
    if takes == "field":
        return call
    if takes == "parts":
        return lambda raw, reader: call(raw.split(reader.component), reader)
    if takes == "json":
        return lambda raw, reader: call(reader.node(raw), reader)
    if takes == "nodes":
        return lambda raw, reader: call([reader.node(one) for one in raw.split(reader.repetition)], reader)

    def read(raw: str, reader: Reader) -> Any:
        text = reader.text(narrow(raw, path, reader))
        return None if text in empty else call(text, reader)

    return read


def _joined(rule: Rule) -> Convert:
    """Several paths: their texts, in order, are the parts. The raw field of the first is what makes the rule run."""
    call, paths = rule.function.call, rule.paths

    def read(_raw: str, reader: Reader) -> Any:
        parts = [narrow(repetition(fetch(path, reader.group), path, reader), path, reader) for path in paths]
        return call(["" if part == NULL else part for part in parts], reader)

    return read


def _coded(value: Any, table: CodeMap, default: str | None, reader: Reader, path: str) -> Any:
    """The value under the value map: a plain code, or an object with `code`. Unknown: warned of; the default, or nothing."""
    plain = not isinstance(value, dict)
    code = str(value) if plain else value.get("code") or value.get("display")
    if not code:
        return value
    hit = table.get(code)
    if hit is None:
        reader.warn(path, f"unknown code in {table.name}")
        if default is None:
            return None
        if default == KEEP:
            return value
    new = hit.value if hit else default
    if plain:
        return new
    if "display" not in value and hit and hit.text:
        value["display"] = hit.text
    value["code"] = new
    return value


def _remembering(rule: Rule, run: Run) -> Run:
    """Codes, dates, departments and places come again and again: the value of a raw field is kept where it is immutable."""
    label, target = rule.path, rule.to[0]
    known: dict[str, Any] = {}

    def recall(raw: str, reader: Reader, values: Values, paths: Paths) -> None:
        if not reader.common or target in values or reader.escape in raw:
            run(raw, reader, values, paths)
            return
        value = known.get(raw)
        if value is not None:
            values[target] = value
            paths[target] = label
            return
        warned = len(reader.warnings)
        run(raw, reader, values, paths)
        value = values.get(target)
        if value is not None and len(reader.warnings) == warned:
            if len(known) >= MEMORY:
                known.clear()
            known[raw] = value

    return recall


def _once_text(rule: Rule, table: CodeMap | None, fallback: bool) -> Run:
    label, target, call, empty, default = rule.path, rule.to[0], rule.function.call, rule.empty, rule.default

    def run(raw: str, reader: Reader, values: Values, paths: Paths) -> None:
        if target in values:
            return
        if reader.repetition in raw:
            raw = raw.split(reader.repetition, 1)[0]
        if reader.component in raw:
            raw = raw.split(reader.component, 1)[0]
        if reader.subcomponent in raw:
            raw = raw.split(reader.subcomponent, 1)[0]
        if raw == NULL:
            if not fallback:
                values[target] = None
                paths[target] = label
            return
        text = reader.text(raw)
        if not text or text in empty:
            return
        try:
            value = call(text, reader)
        except BadValue as bad:
            reader.warn(label, bad.code)
            return
        if table is not None:
            value = _coded(value, table, default, reader, label)
        if value is not None:
            values[target] = value
            paths[target] = label

    return run


def _once(rule: Rule, table: CodeMap | None, fallback: bool) -> Run:
    convert = _converter(rule, table)
    memory = Memory() if rule.function.gives == "object" and len(rule.paths) == 1 and rule.value is None else None
    label, path, target = rule.path, rule.paths[0], rule.to[0]
    inner = rule.to[1] if len(rule.to) > 1 else None
    whole = rule.function.takes in ("field", "nodes") or len(rule.paths) > 1
    first_only = not path.repetition

    def run(raw: str, reader: Reader, values: Values, paths: Paths) -> None:
        if target in values:
            said = values[target]
            if inner is None or not isinstance(said, dict) or inner in said:
                return
        if not whole and (reader.repetition in raw or not first_only):
            raw = repetition(raw, path, reader)
        if raw == NULL or (path.component and narrow(raw, path, reader) == NULL):
            if not fallback and inner is None:
                values[target] = None
                paths[target] = label
            return
        try:
            value = memory.recall(raw, reader, convert) if memory is not None and reader.common else convert(raw, reader)
        except BadValue as bad:
            reader.warn(label, bad.code)
            return
        if value is None:
            return
        if inner is None:
            values[target] = value
            paths[target] = label
        elif target in values:
            values[target][inner] = value
            paths[target] = f"{paths[target]}, {label}"
        else:
            values[target] = {inner: value}
            paths[target] = label

    return run


def _each(rule: Rule, table: CodeMap | None) -> Run:
    """Every repetition, appended to the list. `""` says that the list was said, and is empty unless something follows."""
    label, target, only = rule.path, rule.to[0], rule.paths[0].repetition
    convert = _converter(rule, table)
    memory = Memory() if rule.function.gives == "object" and len(rule.paths) == 1 and rule.value is None else None

    def read(raw: str, reader: Reader) -> list[Any]:
        reps = raw.split(reader.repetition) if reader.repetition in raw else [raw]
        found: list[Any] = []
        for rep in reps[only - 1 : only] if only else reps:
            if not rep or rep == NULL:
                continue
            try:
                value = convert(rep, reader)
            except BadValue as bad:
                reader.warn(label, bad.code)
                continue
            found += [one for one in (value if isinstance(value, list) else (value,)) if one is not None and one not in found]
        return found

    def run(raw: str, reader: Reader, values: Values, paths: Paths) -> None:
        items = memory.recall(raw, reader, read) if memory is not None and reader.common else read(raw, reader)
        if target not in values:
            if items or NULL in raw:
                values[target] = items
                paths[target] = label
            return
        found = values[target]
        for value in items:
            if value not in found:
                found.append(value)
                if label not in paths[target]:
                    paths[target] = f"{paths[target]}, {label}"

    return run


FindKeys = Callable[[Group, Reader], list[Key]]


@cache
def keys_finder(spec: KeySpec, every: bool) -> FindKeys:
    """Keys of a spec: `every` True all the numbers of all its paths, else those of the first path that gives one.

    One closure for equal specs, so that a key is found once a group.
    """
    finders = [_guarded(path) for path in spec]
    if every:

        def find_all(group: Group, reader: Reader) -> list[Key]:
            found: list[Key] = []
            for finder in finders:
                found += [key for key in finder(group, reader) if key not in found]
            return found

        return find_all

    def find(group: Group, reader: Reader) -> list[Key]:
        for finder in finders:
            found = finder(group, reader)
            if found:
                return found
        return []

    return find


def _guarded(key: KeyPath) -> FindKeys:
    find = _all_paths(key) if key.function.takes == "columns" else _key_path(key)
    if key.when is None:
        return find
    holds = condition(key.when)
    return lambda group, reader: found if (found := find(group, reader)) and holds(group, reader) else []


def _all_paths(key: KeyPath) -> FindKeys:
    """For functions that make one key of several places: what stands at each, still escaped."""
    call, paths = key.function.call, key.paths

    def find(group: Group, reader: Reader) -> list[Key]:
        made = call([narrow(repetition(fetch(path, group), path, reader), path, reader) for path in paths], reader)
        return [made] if made else []

    return find


def _key_path(key: KeyPath) -> FindKeys:
    path, rest, call = key.paths[0], key.paths[1:], key.function.call
    if key.function.takes == "json":
        whole = call

        def call(parts: list[str], reader: Reader) -> Any:
            return whole(reader.node(parts[0]), reader)

    def find(group: Group, reader: Reader) -> list[Key]:
        raw = fetch(path, group)
        if not raw or raw == NULL:
            return []
        if reader.repetition not in raw:
            made = call(raw.split(reader.component), reader)
            found = [made] if made else []
        else:
            reps = raw.split(reader.repetition)
            if path.repetition:
                reps = reps[path.repetition - 1 : path.repetition]
            found = [made for rep in reps if rep and rep != NULL and (made := call(rep.split(reader.component), reader))]
        if not rest or not found:
            return found
        parts = [reader.text(narrow(repetition(fetch(other, group), other, reader), other, reader)) for other in rest]
        if not all(parts):
            return []
        return [Key(found[0].assigner, "/".join([found[0].value, *parts]))]

    return find


def describe(function: Function, rule: Rule) -> str:
    """How `hub map try` names what a rule does."""
    text = "constant" if rule.value is not None else function.name
    if rule.codes:
        text += f", codes {rule.codes}"
    return text + (", each" if rule.each else "")
