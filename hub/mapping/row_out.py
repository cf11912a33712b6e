"""The language of outbound maps: TOML -> a checked specification. Errors name file, line, what is wrong and what to write.

    target = "row"                                     # one file, one channel
    [write.NAME]                                       # the first whose events and `when` fit is what a change becomes
        events = ["patient.created", "patient.updated"]
        table = "IF_PATIENT" (or procedure = "OCS.SET_PATIENT"), do = "upsert" | "insert" | "update", key = ["PANO"]
        when = { path = "status", in = ["booked"] }, check = "SELECT … WHERE PANO = :PANO"
    [write.NAME.fields]
        "PANO" = { from = "identifier.value", with = { assigner = "HOSP" } }     # column <- canonical field
        "BIRTH" = { from = "birthDate", as = "date", empty = "00000000" }        # or a list: the first that says something
        "FLAG" = { value = "U" }

Canonical paths: a field of the resource, inside it with dots (`period.start`), `telecom.mobile`, the same of its patient after
`patient.`, and `message.` with id, key, type, at, resource, version. Of a list the first item that has all that `with` says.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NoReturn, cast, get_args, get_origin, get_type_hints, is_typeddict

from hub.domain import model
from hub.domain.errors import Misconfigured
from hub.domain.model import DOCUMENTS, KINDS, Kind
from hub.mapping import toml_lines
from hub.mapping.codes import CodeMap
from hub.mapping.layers import Document
from hub.mapping.out_functions import FUNCTIONS, OutFunction

Do = Literal["insert", "update", "upsert", "call"]
MESSAGE = ("id", "key", "type", "at", "resource", "version")
# What is meant by a part of several fields when only its name is given
LEAF = {
    "Identifier": "value", "HumanName": "text", "ContactPoint": "value", "Address": "text", "Coding": "code", "Money": "value",
    "Party": "name", "Reference": "reference",
}  # fmt: skip
SLOT_SYSTEMS = ("email", "fax", "pager", "url", "other")
USES = ("mobile", "home", "work", "temp", "old")
_WRITE_KEYS = {"title", "events", "table", "procedure", "do", "key", "when", "check", "fields"}
_RULE_KEYS = {"from", "as", "codes", "default", "empty", "value", "with", "when", "size"}
_WHEN_KEYS = {"path", "in", "not_in", "present"}
_COLUMN = re.compile(r"[^\W\d][\w$#]*")
_NAME = re.compile(r"[^\W\d][\w$#]*(\.[^\W\d][\w$#]*){0,2}")
_EVENT = re.compile(r"([a-z]+)\.([a-z_]+|\*)")
_OUTBOUND = re.compile(r"\ufeff?(\s*(#[^\n]*)?\n)*\s*target\s*=")
PARAMETER = re.compile(r"(?<![:\w]):([^\W\d][\w$#]*)")


@dataclass(frozen=True, slots=True)
class Path:
    """A canonical path: of the resource, of its patient, or of the message itself."""

    text: str
    root: Literal["", "patient", "message"]
    parts: tuple[str, ...]
    pick: tuple[tuple[str, str], ...] = ()
    slot: str = ""  # telecom.mobile

    @property
    def field(self) -> str:
        """The name under which a change of it is told: `telecom.mobile`, `birthDate`; "" for what is no field of the resource."""
        if self.root:
            return ""
        return f"telecom.{self.slot}" if self.slot else self.parts[0]


@dataclass(frozen=True, slots=True)
class When:
    """A condition on one path."""

    path: Path
    among: frozenset[str] | None = None
    not_among: frozenset[str] | None = None
    present: bool | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One value for a column."""

    path: Path | None
    function: OutFunction
    codes: Mapping[str, str] | None = None
    default: str | None = None
    value: str | int | None = None
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column (or parameter) and the rules for it; the first that says something counts."""

    name: str
    rules: tuple[Rule, ...]
    empty: str | int | None = None
    size: int | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(rule.path.field for rule in self.rules if rule.path is not None and rule.path.field)

    @property
    def of_message(self) -> frozenset[str]:
        return frozenset(rule.path.parts[0] for rule in self.rules if rule.path is not None and rule.path.root == "message")


@dataclass(frozen=True, slots=True)
class Write:
    """What a change becomes: one row of a table, or one call."""

    name: str
    kind: Kind
    events: tuple[str, ...]
    target: str
    do: Do
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    when: When | None = None
    check: str = ""


@dataclass(frozen=True, slots=True)
class OutMap:
    """A checked map."""

    writes: tuple[Write, ...] = field(default=())

    @property
    def events(self) -> tuple[str, ...]:
        """Change types that it knows, as patterns."""
        return tuple(dict.fromkeys(event for write in self.writes for event in write.events))


def is_outbound(text: str) -> bool:
    """Whether a map file says what goes out: it may lie in an overlay's folder, whose maps of what comes in leave it aside."""
    return _OUTBOUND.match(text) is not None


def read_out_map(name: str, text: str, codes: Mapping[str, CodeMap]) -> OutMap:
    """Raises Misconfigured: file, line, what is wrong, what to write instead."""
    data, lines = toml_lines.read(name, text)
    document = Document()
    document.lay(name, data, lines)
    return _Checker(document, codes).check()


class _Checker:
    def __init__(self, document: Document, codes: Mapping[str, CodeMap]) -> None:
        self.document = document
        self.codes = codes

    def fail(self, path: toml_lines.Path, what: str) -> NoReturn:
        raise Misconfigured(f"{self.document.where(path)}: {what}")

    def check(self) -> OutMap:
        data = self.document.data
        if data.get("target") != "row":
            self.fail(("target",), 'an outbound map begins with `target = "row"`')
        self.only(data, {"target", "write"}, ())
        writes = tuple(self.write(name, spec) for name, spec in self.table(data, "write", ()).items())
        if not writes:
            self.fail((), 'the map writes nothing: begin with `[write.patient]` and `events = ["patient.*"]`')
        return OutMap(writes)

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

    def texts(self, value: object, path: toml_lines.Path) -> tuple[str, ...]:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            self.fail(path, f"`{path[-1]}` must be a text or a list of texts")
        return tuple(cast("list[str]", values))

    # -- writes ----------------------------------------------------------------------------------------------------

    def write(self, name: str, spec: object) -> Write:
        at = ("write", name)
        if not isinstance(spec, dict):
            self.fail(at, "a write is a table: `[write.patient]`")
        spec = cast("dict[str, Any]", spec)
        self.only(spec, _WRITE_KEYS, at)
        kind, events = self.events(spec, at)
        target, do = self.target(spec, at)
        fields = self.table(spec, "fields", at)
        columns = tuple(self.column(column, value, kind, (*at, "fields", column)) for column, value in fields.items())
        if not columns:
            self.fail(at, f'`[write.{name}.fields]` says nothing: `"PANO" = {{ from = "identifier.value" }}`')
        key = self.texts(spec.get("key", []), (*at, "key"))
        for column in key:
            if column not in fields:
                self.fail((*at, "key"), f"`key` names `{column}`, which is not among the fields{_meant(column, fields)}")
        made = Write(
            name, kind, events, target, do, key, columns, self.when(spec.get("when"), kind, (*at, "when")),
            self.query(spec, fields, do, at),
        )  # fmt: skip
        self.told_apart(made, at)
        return made

    def events(self, spec: Mapping[str, Any], at: toml_lines.Path) -> tuple[Kind, tuple[str, ...]]:
        events, kinds, by_name = (
            self.texts(spec.get("events", []), (*at, "events")),
            set(),
            {kind.lower(): kind for kind in KINDS},
        )
        for event in events:
            match = _EVENT.fullmatch(event)
            if match is None or match.group(1) not in by_name:
                hint = _meant(event.partition(".")[0], by_name)
                self.fail((*at, "events"), f'`{event}` is no change; write "patient.updated" or "appointment.*"{hint}')
            kinds.add(by_name[match.group(1)])
        if len(kinds) != 1:
            self.fail(
                (*at, "events"), '`events` must name changes of one kind: `events = ["patient.created", "patient.updated"]`'
            )
        return kinds.pop(), events

    def target(self, spec: Mapping[str, Any], at: toml_lines.Path) -> tuple[str, Do]:
        table, procedure, do = spec.get("table"), spec.get("procedure"), spec.get("do")
        if (table is None) == (procedure is None):
            self.fail(at, "write either `table` or `procedure`")
        what, word = (table, "table") if table is not None else (procedure, "procedure")
        if not isinstance(what, str) or _NAME.fullmatch(what) is None:
            self.fail((*at, word), f'`{word}` must be a name, with its owner or without: `{word} = "OCS.IF_PATIENT"`')
        if procedure is not None:
            if do not in (None, "call"):
                self.fail((*at, "do"), "a procedure is called: leave `do` out")
            return what, "call"
        if do not in ("insert", "update", "upsert"):
            self.fail(
                (*at, "do"), '`do` is "insert" (a row a message), "upsert" (a row a thing) or "update" (of a row that is there)'
            )
        return what, cast("Do", do)

    def query(self, spec: Mapping[str, Any], fields: Mapping[str, Any], do: Do, at: toml_lines.Path) -> str:
        """`check`: how the outcome is read back, where that is not the row itself."""
        query = spec.get("check")
        if query is None:
            if do == "call":
                self.fail(
                    at, 'a procedure needs `check`, a SELECT that reads back what it did: `check = "SELECT … WHERE ID = :ID"`'
                )
            return ""
        if not isinstance(query, str) or not re.match(r"\s*(SELECT|WITH)\b", query, re.I) or ";" in query or "?" in query:
            self.fail((*at, "check"), "`check` must be one SELECT, with :COLUMN where a value goes, and neither ; nor ? in it")
        named = PARAMETER.findall(query)
        for column in named:
            if column not in fields:
                self.fail((*at, "check"), f"`check` asks for `:{column}`, which is not among the fields{_meant(column, fields)}")
        if not named:
            self.fail((*at, "check"), "`check` finds no row by its key: `… WHERE MSG_ID = :MSG_ID`")
        return query

    def told_apart(self, write: Write, at: toml_lines.Path) -> None:
        """What makes a second attempt find the first one."""
        if write.do == "call":
            return
        if not write.key:
            self.fail(at, '`key` says by which columns a row is found again: `key = ["PANO"]`')
        told = frozenset[str]().union(*(column.of_message for column in write.columns if column.name in write.key))
        if write.do == "insert" and not told & {"id", "key"}:
            instead = 'put a column with `{ from = "message.key" }` into `key`'
            self.fail((*at, "key"), f"a row a message is found again by its message only: {instead}")
        if write.do != "insert" and told & {"id", "key", "at", "type", "version"}:
            self.fail((*at, "key"), "a row a thing has no message in its `key`; write `message.resource`, or a number of it")

    # -- rules -----------------------------------------------------------------------------------------------------

    def column(self, name: str, value: object, kind: Kind, at: toml_lines.Path) -> Column:
        if _COLUMN.fullmatch(name) is None:
            self.fail(at, f"`{name}` cannot be the name of a column")
        specs = cast("list[dict[str, Any]]", value if isinstance(value, list) else [value])
        if not all(isinstance(spec, dict) for spec in specs):
            self.fail(at, f'write `"{name}" = {{ from = "…" }}`, or a list of such tables')
        for spec in specs:
            self.only(spec, _RULE_KEYS, at)
        empty = next((spec["empty"] for spec in specs if "empty" in spec), None)
        size = next((spec["size"] for spec in specs if "size" in spec), None)
        if empty is not None and (isinstance(empty, bool) or not isinstance(empty, str | int)):
            self.fail(at, '`empty` is the one text or number that the table has for nothing: `empty = "00000000"`')
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            self.fail(at, "`size` is how much the column holds, a whole number: `size = 20`")
        return Column(name, tuple(self.rule(spec, kind, at) for spec in specs), empty, size)

    def rule(self, spec: dict[str, Any], kind: Kind, at: toml_lines.Path) -> Rule:
        value = spec.get("value")
        if "from" not in spec and value is None:
            self.fail(at, "needs `from`, a canonical field, or `value`, what always stands there")
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            self.fail(at, "`value` is a text or a whole number")
        name = spec.get("as", "text")
        if name not in FUNCTIONS:
            self.fail(at, f"no function `{name}`{_meant(str(name), FUNCTIONS)}")
        path, leaf = self.path(spec["from"], kind, at, spec.get("with", {})) if "from" in spec else (None, str)
        codes = self.codes_of(spec.get("codes"), at)
        if leaf is bool and codes is None and name != "yn" and value is None:
            self.fail(at, 'yes or no: write `as = "yn"`, or `codes = { true = "1", false = "0" }`')
        if "default" in spec and codes is None:
            self.fail(at, "`default` is what an unknown code becomes; it needs `codes`")
        return Rule(path, FUNCTIONS[name], codes, spec.get("default"), value, self.when(spec.get("when"), kind, at))

    def codes_of(self, spec: object, at: toml_lines.Path) -> Mapping[str, str] | None:
        """A value map read backwards (the first code of the file that means it), or what is written here."""
        if spec is None:
            return None
        if isinstance(spec, dict):
            if not all(isinstance(code, str) for code in spec.values()):
                self.fail(at, '`codes` gives texts: `codes = { male = "M", female = "F" }`')
            return cast("dict[str, str]", spec)
        if not isinstance(spec, str) or spec not in self.codes:
            self.fail(at, f"no value map `{spec}`{_meant(str(spec), self.codes)}; a value map is a file codes/{spec}.csv")
        return self.codes[spec].backwards()

    def when(self, spec: object, kind: Kind, at: toml_lines.Path) -> When | None:
        if spec is None:
            return None
        if not isinstance(spec, dict) or "path" not in spec or len(spec) != 2:
            self.fail(at, "`when` needs a path and one of `in`, `not_in`, `present`")
        spec = cast("dict[str, Any]", spec)
        self.only(spec, _WHEN_KEYS, at)
        among, not_among = spec.get("in"), spec.get("not_in")
        return When(
            self.path(spec["path"], kind, at, {})[0],
            None if among is None else frozenset(self.texts(among, at)),
            None if not_among is None else frozenset(self.texts(not_among, at)),
            spec.get("present"),
        )

    def path(self, text: object, kind: Kind, at: toml_lines.Path, pick: object) -> tuple[Path, Any]:
        """A path, and the type of what stands there."""
        if not isinstance(text, str) or not text:
            self.fail(at, "a path is a text in quotes")
        if not isinstance(pick, dict) or not all(isinstance(one, str) for one in pick.values()):
            self.fail(at, '`with` says which item of a list is meant: `with = { assigner = "HOSP" }`')
        picks = tuple(sorted(cast("dict[str, str]", pick).items()))
        head, _, rest = text.partition(".")
        if head == "message":
            if rest not in MESSAGE:
                self.fail(at, f"a message has no `{rest}`{_meant(rest, MESSAGE)}")
            return Path(text, "message", (rest,)), str
        root: Literal["", "patient"] = "patient" if head == "patient" and rest else ""
        parts = (rest if root else text).split(".")
        document = DOCUMENTS["Patient" if root else kind]
        slot = ""
        if parts[0] == "telecom" and len(parts) > 1 and parts[1] in (*USES, *SLOT_SYSTEMS, "phone"):
            slot = parts.pop(1)
        leaf, found = self.walk(document, parts, picks, text, at)
        return Path(text, root, found, picks, slot), leaf

    def walk(
        self, document: Any, parts: Sequence[str], picks: tuple[tuple[str, str], ...], text: str, at: toml_lines.Path
    ) -> tuple[Any, tuple[str, ...]]:
        here, found, listed = document, list(parts), False
        for part in parts:
            fields = _fields(here)
            if part not in fields:
                self.fail(at, f"{here.__name__} has no field `{part}` (in `{text}`){_meant(part, fields)}")
            here = fields[part]
            if get_origin(here) is list:
                here = get_args(here)[0]
                if not listed:
                    self.fits(here, picks, at)
                listed = True
        if is_typeddict(here):
            if here.__name__ not in LEAF:
                self.fail(at, f"`{text}` has several parts: write one of {', '.join(f'{text}.{part}' for part in _fields(here))}")
            found.append(LEAF[here.__name__])
        if picks and not listed:
            self.fail(at, f"`with` picks an item of a list, and `{text}` is none")
        return here, tuple(found)

    def fits(self, item: Any, picks: tuple[tuple[str, str], ...], at: toml_lines.Path) -> None:
        for name, _ in picks:
            if not is_typeddict(item) or name not in _fields(item):
                self.fail(at, f"`with`: an item has no `{name}`{_meant(name, _fields(item) if is_typeddict(item) else ())}")


@cache
def _fields(document: Any) -> dict[str, Any]:
    hints = get_type_hints(document, vars(model))
    return {name.rstrip("_"): hint for name, hint in hints.items()}


def _meant(word: str, among: Iterable[str]) -> str:
    """`; did you mean …?` or the list of what there is."""
    known = sorted(among)
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; there are: {', '.join(known)}" if known and len(known) <= 40 else ""
