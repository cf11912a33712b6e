"""TOML with line numbers: `tomllib` does not keep them, and a map error without its line is no help.

Reads the text a second time, line by line, only to note where each key stands. Keys inside a value that spans lines have
the line of the key that holds them, or their own where they begin a line.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from hub.domain.errors import Misconfigured

Path = tuple[str, ...]
_KEY_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_\-]+))\s*""")


def read(name: str, text: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """The document and the line of each key path. Raises Misconfigured (file, line, what) where it is no TOML."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        line = found.group(1) if found else str(text.count("\n") + 1)
        what = str(error).split(" (at ")[0]
        raise Misconfigured(f'{name}:{line}: {what}; a path must stand in quotes: `"PID-3" = {{ to = … }}`') from None
    return document, _lines(text)


def _lines(text: str) -> dict[Path, int]:
    lines: dict[Path, int] = {}
    table: Path = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("[") and not stripped.startswith(("[[", "[{")):
            parts, rest = _dotted(stripped[1:])
            if parts and rest.startswith("]"):
                table = parts
                _note(lines, table, number)
                continue
        parts, rest = _dotted(stripped)
        if parts and rest.startswith("="):
            _note(lines, table + parts, number)
    return lines


def _note(lines: dict[Path, int], path: Path, number: int) -> None:
    lines[path] = number
    for length in range(1, len(path)):
        lines.setdefault(path[:length], number)


def _dotted(text: str) -> tuple[Path, str]:
    """`a."b".c = …` -> (("a", "b", "c"), "= …")."""
    parts: list[str] = []
    at = 0
    while match := _KEY_PART.match(text, at):
        parts.append(next(group for group in match.groups() if group is not None))
        at = match.end()
        if text[at : at + 1] != ".":
            break
        at += 1
    return tuple(parts), text[at:]
