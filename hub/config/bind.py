"""From a TOML table to a frozen dataclass: types checked, unknown keys refused, every error with its line.

The dataclass is the schema: field names are the keys, annotations the types, `option(...)` adds bounds and the sentence
that docs/configuration.md prints. Adapters' Settings are read by the same code.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from hub.config.errors import ConfigError, did_you_mean
from hub.config.lines import Place

T = TypeVar("T")
NAMES = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false", Path: "a path in quotes"}
MAX_SECRET = 1 << 20


class Secret(str):
    """A text that came from `{ file = … }` or `{ env = … }`: never shown by repr()."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


def option(default: Any = dataclasses.MISSING, *, doc: str = "", low: float | None = None, high: float | None = None) -> Any:
    """A field of a settings dataclass. `low` and `high` bound numbers, inclusive; a callable default is a factory."""
    metadata = {"doc": doc, "low": low, "high": high}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Source:
    """The file that values come from, and where in it each key stands."""

    file: str
    folder: Path  # relative paths start here
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)

    def error(self, place: Place, problem: str, instead: str = "") -> ConfigError:
        return ConfigError(self.file, self.line(place), problem, instead)


def resolve_secrets(value: Any, place: Place, source: Source) -> Any:
    """Every `{ file = "…" }` and `{ env = "…" }` in `value` replaced by the Secret that it points to."""
    if isinstance(value, list):
        return [resolve_secrets(item, (*place, i), source) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and isinstance(pointer := next(iter(value.values())), str):
        if "file" in value:
            return _from_file(pointer, place, source)
        if "env" in value:
            return _from_env(pointer, place, source)
    return {key: resolve_secrets(item, (*place, key), source) for key, item in value.items()}


def _from_file(name: str, place: Place, source: Source) -> Secret:
    path = source.folder / name
    try:
        if path.stat().st_size > MAX_SECRET:
            raise source.error(place, f"{path} is no secret: it is larger than 1 MiB")
        return Secret(path.read_text(encoding="utf-8").strip())
    except OSError as error:
        raise source.error(place, f"cannot read {path}: {error.strerror}", "create the file, or name the right one") from None
    except UnicodeDecodeError:
        raise source.error(place, f"{path} is not UTF-8 text") from None


def _from_env(name: str, place: Place, source: Source) -> Secret:
    if name not in os.environ:
        raise source.error(place, f"the environment has no {name}", f"set {name} before hub starts, or use {{ file = … }}")
    return Secret(os.environ[name])


def bind(cls: type[T], table: dict[str, Any], place: Place, source: Source, *, ignore: frozenset[str] = frozenset()) -> T:
    """A `cls` made of `table`; keys in `ignore` are left alone. Secrets must have been resolved. Raises ConfigError."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    where = f"[{'.'.join(map(str, place))}]" if place else "the file"
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in ignore:
            continue
        if key not in fields:
            raise source.error((*place, key), f'unknown key "{key}" in {where}', did_you_mean(key, fields.keys() | ignore))
        values[key] = convert(hints[key], value, (*place, key), source)
        _check_bounds(fields[key].metadata, values[key], (*place, key), source)
    for name, field in fields.items():
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            doc = field.metadata.get("doc", "")
            raise source.error(place, f'{where} has no "{name}"', f"write {name} = … ({doc})" if doc else f"write {name} = …")
    return cls(**values)


def _check_bounds(metadata: Any, value: Any, place: Place, source: Source) -> None:
    low, high = metadata.get("low"), metadata.get("high")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if (low is not None and value < low) or (high is not None and value > high):
        span = (
            f"{low} to {high}"
            if low is not None and high is not None
            else f"at least {low}"
            if high is None
            else f"at most {high}"
        )
        raise source.error(place, f'"{place[-1]}" is {value}', f"write a number of {span}")


def convert(hint: Any, value: Any, place: Place, source: Source) -> Any:
    """`value` as the annotation `hint` wants it. Raises ConfigError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _union([a for a in args if a is not type(None)], value, place, source)
    if origin is Literal:
        if value not in args:
            choices = ", ".join(f'"{a}"' if isinstance(a, str) else str(a) for a in args)
            raise source.error(place, f'"{place[-1]}" cannot be {_shown(value)}', f"write one of {choices}")
        return value
    if origin in (tuple, list):
        if not isinstance(value, list | tuple):
            raise source.error(place, f'"{place[-1]}" is not a list', f"write {place[-1]} = [ … ]")
        items = [convert(args[0], item, (*place, i), source) for i, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if isinstance(hint, type) and isinstance(value, hint) and dataclasses.is_dataclass(hint):
        return value
    if origin is dict or dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise source.error(place, f'"{place[-1]}" is not a table', f"write {place[-1]} = {{ key = value, … }}")
        if origin is dict:
            return {key: convert(args[1], item, (*place, key), source) for key, item in value.items()}
        return bind(typing.cast(type[Any], hint), value, place, source)
    return _scalar(hint, value, place, source)


def _union(choices: list[Any], value: Any, place: Place, source: Source) -> Any:
    problem: ConfigError | None = None
    for choice in choices:
        try:
            return convert(choice, value, place, source)
        except ConfigError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _scalar(hint: Any, value: Any, place: Place, source: Source) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str | Path) and str(value):
        return (source.folder / value).absolute()
    if hint is Secret:
        if isinstance(value, Secret):
            return value
        instead = f'write {place[-1]} = {{ file = "secrets/{place[-1]}" }} or {{ env = "NAME" }}'
        raise source.error(place, f'"{place[-1]}" is a secret and must not stand in this file', instead)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint in (int, float) and isinstance(value, bool)):
        return value
    raise source.error(place, f'"{place[-1]}" cannot be {_shown(value)}', f"write {NAMES.get(hint, hint)}")


def _shown(value: Any) -> str:
    if isinstance(value, Secret):
        return "this secret"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value) if isinstance(value, int | float) else "this"
