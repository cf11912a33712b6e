"""Paths into a FHIR resource: `name.given`, `extension[URL].valueCode`, `identifier[type.coding.code=VN].value`, `*.actor`.

A path goes through objects and lists alike and gives everything that stands there. In brackets stands which of several is meant:
`[path=value]`, or for extensions their URL alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from hub.codecs.fhir_types import string

_STEP = re.compile(r"([A-Za-z][A-Za-z0-9_]*|\*)(?:\[([^\]]+)\])?(\.|\Z)")


class Step(NamedTuple):
    """One name of a path, and of what stands there only what has `value` at `path`."""

    name: str
    path: tuple[Step, ...] = ()
    value: str = ""


@lru_cache(maxsize=4096)
def steps(text: str) -> tuple[Step, ...]:
    """A path's steps. Raises ValueError where it is none."""
    found: list[Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (match[3] == "." and match.end() == len(text)) or (match[1] == "*" and at):
            raise ValueError(text)
        where, equal, value = (match[2] or "").partition("=")
        if match[2] and not equal:
            where, value = "url", match[2]
        found.append(Step(match[1], steps(where) if where else (), value))
        at = match.end()
    return tuple(found)


def at_path(node: Any, path: tuple[Step, ...]) -> list[Any]:
    """Everything that stands there, in order."""
    nodes = [node]
    for step in path:
        inner = [node.get(step.name) for node in nodes if isinstance(node, Mapping)]
        nodes = [one for found in inner for one in (found if isinstance(found, list) else (found,)) if one is not None]
        if step.path:
            nodes = [one for one in nodes if any(text_of(found) == step.value for found in at_path(one, step.path))]
    return nodes


def text_of(node: Any) -> str:
    """A text, number or boolean as text, without control characters; "" for anything else."""
    if isinstance(node, str):
        return string(node) or ""
    if isinstance(node, bool):
        return "true" if node else "false"
    return str(node) if isinstance(node, int | float | Decimal) else ""
