"""The named functions of `as = "…"`: what they take, what they give, and how a site adds its own.

A function takes one of: `text` (one value, escapes resolved), `parts` (the components of one repetition, still
escaped) or `field` (a whole field with its repetitions). It gives a canonical value or None ("nothing was said"), and raises
BadValue where it cannot read what is there. `Reader` is what it needs to know of the message around it.

A site's own: an entry point in the group `hub.map_functions`, whose name is the function's and which loads a `Function`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

from hub.codecs.hl7v2 import DEFAULT_DELIMITERS, Delimiters, unescape
from hub.codecs.korean import looks_like_rrn, scrub
from hub.mapping.times import BadValue, iso_date, iso_time, later

NULL = '""'
_NEVER = "\0"
GROUP = "hub.map_functions"


class Reader:
    """Delimiters, charset, zone and default assigner of the message being read; every text passes through `text`."""

    __slots__ = (
        "assigner", "codec", "common", "component", "delimiters", "escape", "group", "keys", "keys_of", "repetition",
        "subcomponent", "system", "warnings", "zone",
    )  # fmt: skip

    def __init__(self, delimiters: Delimiters, codec: str, assigner: str, system: str, zone: str) -> None:
        self.delimiters = delimiters
        self.component = delimiters.component or _NEVER
        self.subcomponent = delimiters.subcomponent or _NEVER
        self.repetition = delimiters.repetition or _NEVER
        self.escape = delimiters.escape or _NEVER
        self.codec = codec
        self.assigner = assigner
        self.system = system
        self.zone = zone
        self.warnings: list[str] = []
        self.group: dict[str, list[list[str]]] = {}  # what the rule that runs now sees
        self.keys: dict[Any, Any] = {}  # keys found already in the group `keys_of`
        self.keys_of: object = None
        self.common = delimiters[:5] == DEFAULT_DELIMITERS[:5]  # what a raw field meant in other messages, it means in this one

    def text(self, raw: str) -> str:
        """A leaf as people read it: escapes resolved, blanks around it gone, registration numbers removed, `""` empty."""
        if raw == NULL:
            return ""
        if len(raw) < 13 and self.escape not in raw:
            return raw.strip()
        if self.escape in raw:
            raw = unescape(raw, self.delimiters, self.codec)
        raw = raw.strip()
        return scrub(raw) if len(raw) > 12 else raw

    def plain(self, raw: str) -> str:
        """A leaf as it stands, registration numbers and all: only for the functions that read birth date and sex off them."""
        return "" if raw == NULL else unescape(raw, self.delimiters, self.codec).strip()

    def node(self, raw: str) -> Any:
        """What functions that take JSON are given: of FHIR the object behind a raw value."""
        return raw

    def first(self, raw: str) -> str:
        """The first sub-component, as `text`."""
        return self.text(raw.split(self.subcomponent, 1)[0] if self.subcomponent in raw else raw)

    def warn(self, path: str, code: str) -> None:
        """Note what could not be read: a path and a code, never a value."""
        note = f"{path}: {code}"
        if note not in self.warnings:
            self.warnings.append(note)


Takes = Literal["text", "parts", "columns", "field", "json", "nodes"]


@dataclass(frozen=True, slots=True)
class Function:
    """A named function: `takes` text, parts, columns (a key's: what stands at all its paths), field, or FHIR's json (nodes: all
    of it); `gives` a value, an object or a key. With `each` a value may be a list: it is taken for its items.

    `pure`: what it gives is immutable and depends on nothing but what it takes, so that the engine may remember it.
    """

    name: str
    takes: Takes
    call: Callable[[Any, Reader], Any]
    gives: Literal["value", "object", "key"] = "value"
    pure: bool = False


_SHIPPED: dict[str, Function] = {}


def function(
    name: str, takes: Takes, gives: Literal["value", "object", "key"] = "value", pure: bool = False
) -> Callable[[Any], Any]:
    """Register a shipped function."""

    def register(call: Callable[[Any, Reader], Any]) -> Callable[[Any, Reader], Any]:
        _SHIPPED[name] = Function(name, takes, call, gives, pure)
        return call

    return register


@cache
def functions() -> dict[str, Function]:
    """Every named function: the shipped ones, then those of the site's entry points (which may replace one)."""
    # they register themselves; they import this module
    from hub.mapping import composites, dicom_values, fhir_values, keys, sap_values  # noqa: F401

    found = dict(_SHIPPED)
    for entry in entry_points(group=GROUP):
        loaded = entry.load()
        if isinstance(loaded, Function):
            found[entry.name] = loaded
    return found


@function("text", "text", pure=True)
def as_text(text: str, _reader: Reader) -> str | None:
    return text or None


@function("lower", "text", pure=True)
def as_lower(text: str, _reader: Reader) -> str | None:
    return text.lower() or None


@function("upper", "text", pure=True)
def as_upper(text: str, _reader: Reader) -> str | None:
    return text.upper() or None


@function("latin1_cp949", "text", pure=True)
def as_latin1_cp949(text: str, _reader: Reader) -> str | None:
    """cp949 bytes that a driver read as latin-1: put right. Text that is not so (plain ASCII, real Hangul) stays."""
    if text.isascii():
        return text or None
    try:
        return text.encode("latin-1").decode("cp949")
    except UnicodeEncodeError:
        return text
    except UnicodeDecodeError:
        raise BadValue("not cp949") from None


@function("date", "text", pure=True)
def as_date(text: str, _reader: Reader) -> str | None:
    return iso_date(text) if text else None


@function("time", "text")
def as_time(text: str, reader: Reader) -> str | None:
    return iso_time(text, reader.zone) if text else None


@function("date_time", "parts")
def as_date_time(parts: list[str], reader: Reader) -> str | None:
    """[day, time of day], as old tables keep them, -> one time, or the date where there is no time of day: `"RSVDATE,RSVTIME"`.

    CHAR(8) and CHAR(4) as well as DATE and TIME; a time of day that was a number has lost its zero (930).
    """
    day, *rest = (reader.text(part).replace("-", "").replace(":", "") for part in parts)
    clock = rest[0] if rest else ""
    if not day or not clock:
        return iso_date(day) if day else None
    return iso_time(day + clock.rjust(6 if len(clock) > 4 else 4, "0"), reader.zone)


@function("yn", "text", pure=True)
def as_yn(text: str, _reader: Reader) -> bool | None:
    """Y/N (table 0136) and what old databases write for it."""
    match text.upper():
        case "Y" | "1" | "T" | "TRUE" | "YES":
            return True
        case "N" | "0" | "F" | "FALSE" | "NO":
            return False
        case "":
            return None
    raise BadValue("not yes or no")


@function("number", "text", pure=True)
def as_number(text: str, _reader: Reader) -> int | None:
    if not text:
        return None
    try:
        number = int(float(text)) if len(text) < 10 else int(text)
    except (ValueError, OverflowError):
        raise BadValue("not a number") from None
    if abs(number) >= 1 << 63:
        raise BadValue("a number that JSON has no room for")
    return number


_SECONDS = {"S": 1, "SEC": 1, "M": 60, "MIN": 60, "H": 3600, "HR": 3600, "D": 86400}


def _minutes(amount: str, unit: str) -> int | None:
    """Minutes out of an amount and a unit (ISO+ and what is met: s, min, minutes, h, hours); without a unit: minutes."""
    if not amount:
        return None
    try:
        number = float(amount)
    except ValueError:
        raise BadValue("not a duration") from None
    if not 0 <= number < 10_000_000:
        raise BadValue("not a duration")
    key = unit.upper().rstrip(".")
    seconds = 60 if not key else _SECONDS.get(key) or _SECONDS.get(key[:3]) or _SECONDS.get(key[:1])
    if seconds is None:
        raise BadValue("unknown unit of time")
    minutes = round(number * seconds / 60)
    return minutes or None


@function("minutes", "parts")
def as_minutes(parts: list[str], reader: Reader) -> int | None:
    """[amount, unit] -> whole minutes; use it with two paths: `"SCH-9,SCH-10"`."""
    return _minutes(reader.text(parts[0]), reader.text(parts[1]) if len(parts) > 1 else "")


@function("end_after", "parts")
def as_end_after(parts: list[str], reader: Reader) -> str | None:
    """[start, amount, unit] -> when it ends; use it with three paths: `"AIS-4,AIS-7,AIS-8"`."""
    if len(parts) < 2 or not parts[0] or not parts[1]:
        return None
    minutes = _minutes(reader.text(parts[1]), reader.text(parts[2]) if len(parts) > 2 else "")
    return later(iso_time(reader.text(parts[0]), reader.zone), minutes) if minutes else None


@function("join", "parts")
def as_join(parts: list[str], reader: Reader) -> str | None:
    """What there is of the parts, with a blank between."""
    return " ".join(text for part in parts if (text := reader.text(part))) or None


def registration_number(raw: str, reader: Reader) -> str | None:
    """The first resident registration number among the repetitions of a field, or None. For deriving, never for keeping.

    A masked one (`800101-1******`) tells as much.
    """
    for rep in raw.split(reader.repetition):
        if len(rep) >= 13:
            text = reader.plain(rep.split(reader.component, 1)[0])
            if looks_like_rrn(text):
                return text
    return None
