"""The map language: TOML -> a checked specification. Errors name the file, the line, what is wrong and what to write.

    source = "hl7v2"                       # or "row", "fhir"
    [key]      patient = ["PID-3", "PID-2"]            # a named key: the first path that gives a number
    [block.NAME]                           # makes facts of one kind
        kind = "Patient" | snapshot = "nk1" (with kind) | fact = "merge" … | include = ["other", "blocks"]
        key, keys, patient, each, within, when, unique, required, other_keys, create, like = "another block"
        [block.NAME.refs]   encounter = "visit"        # another thing, by its number
        [block.NAME.fields]  "PID-7" = { to = "birthDate", as = "date" }      # or a list of such tables
        [block.NAME.default] role = "next_of_kin"      # where the message says nothing
    [event."ADT^A01"]                      # which blocks an event runs, and what it says by being that event
        blocks = ["visit"], each = "PID", after = ["link"], set = { encounter = { status = "in-progress" } }, default = { … }

A site's overlay is laid over by key: a table merges, any other value replaces, `false` removes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, cast

from hub.domain.errors import Misconfigured
from hub.domain.model import DOCUMENTS, REFERENCES, Kind
from hub.mapping import fhir_paths, toml_lines
from hub.mapping.codes import CodeMap
from hub.mapping.functions import Function, functions
from hub.mapping.layers import Document
from hub.mapping.paths import paths_of
from hub.mapping.spec import ITEM, Block, Event, KeyPath, KeySpec, Maps, PathSpec, Rule, Source, When

FACTS: dict[str, tuple[str, ...]] = {  # fact -> the keys that it needs
    "merge": ("survivor", "prior"),
    "move": ("to_patient", "from_patient"),
    "change_identifier": ("new", "old"),
    "link": ("first", "second"),
    "unlink": ("first", "second"),
}
SCOPES = ("patient", "visit", "account")
KEY_FUNCTION: dict[Source, str] = {"hl7v2": "cx_key", "row": "number_key", "fhir": "fhir_key"}  # where a key names none
_HL7_PATH = re.compile(r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?-(\d+)(?:\((\d+)\))?(?:\.(\d+))?(?:\.(\d+))?\Z")
_RULE_KEYS = {"to", "as", "codes", "default", "each", "when", "value", "with", "empty"}
_BLOCK_KEYS = {
    "kind", "snapshot", "fact", "scope", "include", "key", "keys", "other_keys", "patient", "each", "when", "unique", "required",
    "fields", "default", "within", "refs", "create", "gone", "like",
    "common",
}  # fmt: skip
_SEGMENTS = re.compile(r"[A-Z][A-Z0-9]{2}(,[A-Z][A-Z0-9]{2})*\Z")
_EVENT_KEYS = {"title", "blocks", "after", "each", "set", "default"}
_WHEN_KEYS = {"path", "in", "not_in", "present", "codes"}


def read_maps(layers: Iterable[Mapping[str, str]], codes: Mapping[str, CodeMap]) -> list[Maps]:
    """Compile layers of files (name -> text; the shipped first, then overlays) into one Maps per source.

    Raises Misconfigured: file, line, what is wrong, what to write instead.
    """
    documents: dict[Source, Document] = {}
    for layer in layers:
        for document in documents.values():
            document.below = set(document.origin)
        for name, text in layer.items():
            data, lines = toml_lines.read(name, text)
            source = data.pop("source", None)
            if source not in ("hl7v2", "row", "fhir"):
                at = lines.get(("source",), 1)
                raise Misconfigured(f'{name}:{at}: a map file begins with `source = "hl7v2"`, "row" or "fhir"')
            documents.setdefault(source, Document()).lay(name, data, lines)
    return [_Checker(source, document, codes).check() for source, document in documents.items()]


class _Checker:
    def __init__(self, source: Source, document: Document, codes: Mapping[str, CodeMap]) -> None:
        self.source = source
        self.document = document
        self.codes = codes
        self.functions = functions()
        self.named: dict[str, KeySpec] = {}

    def fail(self, path: toml_lines.Path, what: str) -> NoReturn:
        raise Misconfigured(f"{self.document.where(path)}: {what}")

    def check(self) -> Maps:
        data = self.document.data
        self.only(data, {"key", "block", "event"}, ())
        for name, spec in self.table(data, "key", ()).items():
            self.named[name] = self.key(spec, ("key", name))
        blocks = {name: self.block(name, spec) for name, spec in self.table(data, "block", ()).items()}
        for block in blocks.values():
            for other in block.include:
                if other not in blocks:
                    self.fail(("block", block.name, "include"), f"no block `{other}`{_meant(other, blocks)}")
        events = {name: self.event(name, spec, blocks) for name, spec in self.table(data, "event", ()).items()}
        return Maps(self.source, blocks, events)

    # -- small readers ---------------------------------------------------------------------------------------------

    def only(self, table: Mapping[str, Any], allowed: Iterable[str], path: toml_lines.Path) -> None:
        for key in table:
            if key not in allowed:
                self.fail((*path, key), f"unknown key `{key}`{_meant(key, allowed)}")

    def table(self, data: Mapping[str, Any], key: str, path: toml_lines.Path) -> dict[str, Any]:
        value = data.get(key, {})
        if not isinstance(value, dict):
            self.fail((*path, key), f"`{key}` must be a table: `{key} = {{ … }}`")
        return cast("dict[str, Any]", value)

    def text(self, value: object, path: toml_lines.Path) -> str:
        if not isinstance(value, str) or not value:
            self.fail(path, f"`{path[-1]}` must be a text in quotes")
        return value

    def texts(self, value: object, path: toml_lines.Path) -> tuple[str, ...]:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            self.fail(path, f"`{path[-1]}` must be a text or a list of texts")
        return tuple(cast("list[str]", values))

    def path(self, text: str, path: toml_lines.Path) -> PathSpec:
        text = text.strip()
        if self.source == "fhir":
            return self.fhir_path(text, path)
        if self.source == "row":
            return self.column(text, path)
        if text == ITEM or text.startswith(ITEM + "."):
            parts = text.split(".")[1:]
            if len(parts) > 2 or not all(part.isdigit() for part in parts):
                self.fail(path, f"`{text}` is no path of an item; write `*`, `*.1` or `*.4.2`")
            numbers = [int(part) for part in parts] + [0, 0]
            return PathSpec(text, ITEM, component=numbers[0], subcomponent=numbers[1])
        match = _HL7_PATH.match(text)
        if match is None:
            self.fail(
                path, f"`{text}` is no HL7 path; write segment, field and, if need be, component: `PID-5` or `PID-3(2).4.1`"
            )
        segment, *numbers_text = match.groups()
        return PathSpec(text, segment, *(int(number) if number else 0 for number in numbers_text))

    def column(self, text: str, path: toml_lines.Path) -> PathSpec:
        """A column's name, `a.b` of a row in it, `*.c` of the item of `each`."""
        names = text.split(".")
        if not all(names) or ITEM in names[1:]:
            self.fail(path, f"`{text}` is no path of a row; write a column, `to_Address.CityName`, or of an item `*.CityName`")
        return PathSpec(text, text)

    def fhir_path(self, text: str, path: toml_lines.Path) -> PathSpec:
        try:
            fhir_paths.steps(text)
        except ValueError:
            self.fail(path, f"`{text}` is no FHIR path; write names with dots: `name.given`, `extension[URL].valueCode`")
        return PathSpec(text, text)

    def function(self, name: object, path: toml_lines.Path, key: bool) -> Function:
        if not isinstance(name, str) or name not in self.functions:
            self.fail(path, f"no function `{name}`{_meant(str(name), self.functions)}")
        found = self.functions[name]
        if (found.gives == "key") != key:
            other = "a key" if key else "a value"
            self.fail(path, f"function `{name}` does not give {other}")
        if found.takes in ("json", "nodes") and self.source != "fhir":
            self.fail(path, f'function `{name}` reads FHIR; it is for maps of `source = "fhir"`')
        return found

    def when(self, data: object, path: toml_lines.Path) -> When | None:
        if data is None:
            return None
        if not isinstance(data, dict) or "path" not in data:
            self.fail(path, '`when` must be a table with a path: `when = { path = "PV1-2", in = ["I"] }`')
        data = cast("dict[str, Any]", data)
        self.only(data, _WHEN_KEYS, path)
        if len(data) != 2:
            self.fail(path, "`when` needs a path and one of `in`, `not_in`, `present`, `codes`")
        among, not_among = data.get("in"), data.get("not_in")
        return When(
            tuple(self.path(part, path) for part in self.text(data["path"], path).split(",")),
            None if among is None else frozenset(self.texts(among, path)),
            None if not_among is None else frozenset(self.texts(not_among, path)),
            data.get("present"),
            self.codes[self.value_map(data["codes"], path)] if "codes" in data else None,
        )

    def value_map(self, name: object, path: toml_lines.Path) -> str:
        if not isinstance(name, str) or name not in self.codes:
            self.fail(path, f"no value map `{name}`{_meant(str(name), self.codes)}; a value map is a file codes/{name}.csv")
        return name

    def key(self, spec: object, path: toml_lines.Path) -> KeySpec:
        if isinstance(spec, str) and spec in self.named:
            return self.named[spec]
        found: list[KeyPath] = []
        for entry in spec if isinstance(spec, list) else [spec]:
            name, where, when = KEY_FUNCTION[self.source], entry, None
            if isinstance(entry, dict):
                self.only(entry, {"path", "as", "when"}, path)
                where, name, when = entry.get("path"), entry.get("as", name), self.when(entry.get("when"), path)
            texts = self.texts(where, path)
            if self.source == "row" and any("," in text for text in texts):
                columns = ", ".join(f'"{column.strip()}"' for column in ",".join(texts).split(","))
                self.fail(path, f"columns that make a key together are a list in a list: `[[{columns}]]`")
            if len(texts) == 1 and texts[0] in self.named and not isinstance(entry, dict):
                found.extend(self.named[texts[0]])
                continue
            paths = tuple(self.path(text, path) for text in texts)
            found.append(KeyPath(paths, self.function(name, path, key=True), when))
        if not found:
            self.fail(path, "a key needs at least one path")
        return tuple(found)

    # -- blocks ----------------------------------------------------------------------------------------------------

    def block(self, name: str, spec: object) -> Block:
        at = ("block", name)
        if not isinstance(spec, dict):
            self.fail(at, "a block is a table")
        spec = self.like(cast("dict[str, Any]", spec), at)
        self.only(spec, _BLOCK_KEYS, at)
        kind, fact, include = spec.get("kind"), spec.get("fact"), self.texts(spec.get("include", []), (*at, "include"))
        if (kind is not None) + (fact is not None) + bool(include) != 1:
            self.fail(at, "a block has exactly one of `kind`, `fact` and `include`")
        if kind is not None and kind not in DOCUMENTS:
            self.fail((*at, "kind"), f"no kind `{kind}`{_meant(str(kind), DOCUMENTS)}")
        if fact is not None and fact not in FACTS:
            self.fail((*at, "fact"), f"no fact `{fact}`{_meant(str(fact), FACTS)}")
        scope = spec.get("scope", "patient")
        if scope not in SCOPES:
            self.fail((*at, "scope"), f"no scope `{scope}`{_meant(str(scope), SCOPES)}")
        keys = self.keys_of(spec, kind, fact, at)
        rules = [rule for path, value in self.table(spec, "fields", at).items() for rule in self.rules(path, value, kind, at)]
        made = Block(
            name=name,
            kind=cast("Kind | None", kind),
            snapshot=spec.get("snapshot"),
            fact=fact,
            scope=scope,
            include=include,
            keys=keys,
            patient=self.key(spec["patient"], (*at, "patient")) if "patient" in spec else (),
            each=tuple(self.each_path(text, (*at, "each")) for text in self.texts(spec.get("each", []), (*at, "each"))),
            when=self.when(spec.get("when"), (*at, "when")),
            unique=bool(spec.get("unique", False)),
            required=bool(spec.get("required", True)),
            rules=tuple(rules),
            default=self.table(spec, "default", at),
            within=self.each_path(self.text(spec["within"], (*at, "within")), (*at, "within")) if "within" in spec else None,
            refs=self.refs(spec, kind, at),
            create=bool(spec.get("create", True)),
            gone=bool(spec.get("gone", False)),
            common=frozenset(self.texts(spec.get("common", []), (*at, "common"))),
        )
        if self.source == "row" and not made.each:
            for found in paths_of(made):
                if found.segment.startswith(ITEM):
                    self.fail((*at, "fields", found.text), f'`{found.text}` is of an item; the block needs `each = "…"`')
        return made

    def like(self, spec: dict[str, Any], at: toml_lines.Path) -> dict[str, Any]:
        """`like`: all that another block says, and what this one says over it."""
        if "like" not in spec:
            return spec
        blocks = self.table(self.document.data, "block", ())
        base = blocks.get(spec["like"])
        if not isinstance(base, dict) or "like" in base:
            self.fail(
                (*at, "like"), f"no block `{spec['like']}`{_meant(str(spec['like']), blocks)} (nor one that is `like` another)"
            )
        own = {name: value for name, value in spec.items() if name != "like"}
        tables = {name: {**base.get(name, {}), **own[name]} for name in ("fields", "refs", "default") if name in own}
        return {**base, **own, **tables}

    def refs(self, spec: dict[str, Any], kind: object, at: toml_lines.Path) -> dict[str, KeySpec]:
        """`refs = { encounter = "visit" }`: the number of another thing, which becomes a reference to it."""
        known = [name for name in REFERENCES if kind in DOCUMENTS and name in DOCUMENTS[kind].__annotations__]
        found = {}
        for name, value in self.table(spec, "refs", at).items():
            if name not in known:
                self.fail((*at, "refs", name), f"{kind} has no reference `{name}`{_meant(name, known)}")
            found[name] = self.key(value, (*at, "refs", name))
        return found

    def each_path(self, text: str, at: toml_lines.Path) -> PathSpec:
        """`each` names a segment (`NK1`), several that may begin an item (`ORC,OBR`), or a field (`PV1-7`)."""
        if self.source == "hl7v2" and _SEGMENTS.match(text):
            return PathSpec(text, text)
        return self.path(text, at)

    def keys_of(self, spec: dict[str, Any], kind: object, fact: object, at: toml_lines.Path) -> dict[str, KeySpec]:
        keys = {name: self.key(value, (*at, "keys", name)) for name, value in self.table(spec, "keys", at).items()}
        if "key" in spec:
            keys["key"] = self.key(spec["key"], (*at, "key"))
        if "other_keys" in spec:
            keys["other_keys"] = self.key(spec["other_keys"], (*at, "other_keys"))
        if isinstance(fact, str):
            for needed in FACTS[fact]:
                if needed not in keys:
                    self.fail(at, f"a {fact} needs `keys.{needed}`: the path of that number")
        elif kind is not None and "snapshot" not in spec and "key" not in keys:
            self.fail(at, "a block with a kind needs `key`: the path of its number")
        elif "snapshot" in spec and "patient" not in spec:
            self.fail(at, "a snapshot needs `patient`: the key of the patient whose list it is")
        return keys

    def rules(self, path: str, value: object, kind: object, block: toml_lines.Path) -> Iterable[Rule]:
        at = (*block, "fields", path)
        for spec in value if isinstance(value, list) else [value]:
            if not isinstance(spec, dict):
                self.fail(at, f'write `"{path}" = {{ to = "…" }}`, or a list of such tables')
            yield self.rule(path, spec, str(kind), at)

    def rule(self, path: str, spec: dict[str, Any], kind: str, at: toml_lines.Path) -> Rule:
        if any(key.isdigit() for key in spec):
            self.fail(at, f'a path with a component must stand in quotes: `"{path}.{next(iter(spec))}" = {{ to = … }}`')
        self.only(spec, _RULE_KEYS, at)
        if "to" not in spec:
            self.fail(at, f'`"{path}"` needs `to`: the canonical field')
        to = tuple(self.text(spec["to"], (*at, "to")).split("."))
        known = {name.rstrip("_") for name in DOCUMENTS[kind].__annotations__} if kind in DOCUMENTS else set()
        if to[0] not in known or len(to) > 2:
            self.fail(at, f"{kind} has no field `{'.'.join(to)}`{_meant(to[0], known)}")
        paths = tuple(self.path(part, at) for part in path.split(","))
        function = self.function(spec.get("as", "text"), at, key=False)
        if len(paths) > 1 and function.takes != "parts":
            self.fail(
                at,
                f"`{path}` gives several parts, and function `{function.name}` takes one; use one that takes parts, like `join`",
            )
        codes = self.value_map(spec["codes"], at) if "codes" in spec else None
        if "default" in spec and codes is None:
            self.fail(at, "`default` is what an unknown code becomes; it needs `codes`")
        return Rule(
            paths=paths,
            to=to,
            function=function,
            codes=codes,
            default=spec.get("default"),
            each=bool(spec.get("each", False)),
            when=self.when(spec.get("when"), at),
            value=spec.get("value"),
            extra=self.table(spec, "with", at),
            empty=frozenset(self.texts(spec.get("empty", []), at)),
        )

    # -- events ----------------------------------------------------------------------------------------------------

    def event(self, name: str, spec: object, blocks: Mapping[str, Block]) -> Event:
        at = ("event", name)
        if not isinstance(spec, dict):
            self.fail(at, f'an event is a table: `[event."{name}"]`')
        spec = cast("dict[str, Any]", spec)
        self.only(spec, _EVENT_KEYS, at)
        wanted = self.texts(spec.get("blocks", []), (*at, "blocks"))
        if not wanted:
            self.fail(at, '`blocks` says what the event makes: `blocks = ["visit"]`')
        after = self.texts(spec.get("after", []), (*at, "after"))
        for block in (*wanted, *after):
            if block not in blocks:
                self.fail((*at, "blocks"), f"no block `{block}`{_meant(block, blocks)}")
        for part in ("set", "default"):
            for block, values in self.table(spec, part, at).items():
                if block not in blocks:
                    self.fail((*at, part, block), f"no block `{block}`{_meant(block, blocks)}")
                known = {field.rstrip("_") for field in DOCUMENTS[blocks[block].kind or "Patient"].__annotations__}
                for field_name, value in values.items():
                    if field_name not in known:
                        self.fail((*at, part, block, field_name), f"no field `{field_name}`{_meant(field_name, known)}")
                    if not isinstance(value, str | int | float | bool):
                        self.fail((*at, part, block, field_name), f"`{field_name}` must be a text, a number, true or false here")
        return Event(
            name, str(spec.get("title", "")), self.source, wanted, after, spec.get("each"),
            self.table(spec, "set", at), self.table(spec, "default", at),
        )  # fmt: skip


def _meant(word: str, among: Iterable[str]) -> str:
    """`; did you mean …?` or the list of what there is."""
    known = sorted(among)
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; there are: {', '.join(known)}" if known and len(known) <= 40 else ""
