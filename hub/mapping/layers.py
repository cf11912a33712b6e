"""Map files laid over one another: a table merges, any other value replaces, `false` removes; where each key came from."""

from __future__ import annotations

from typing import Any

from hub.domain.errors import Misconfigured
from hub.mapping.toml_lines import Path


class Document:
    """Files laid over one another; remembers where each key came from."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.origin: dict[Path, tuple[str, int]] = {}
        self.below: set[Path] = set()  # what earlier layers say: only that may be replaced

    def lay(self, name: str, data: dict[str, Any], lines: dict[Path, int]) -> None:
        for path, line in lines.items():
            if len(path) > 2 and path in self.origin and path not in self.below and not isinstance(_at(data, path), dict):
                raise Misconfigured(
                    f"{name}:{line}: `{'.'.join(path)}` stands in {self.origin[path][0]} too; keep one: it is said twice"
                )
            self.origin[path] = (name, line)
        self._merge(self.data, data, (), name)

    def _merge(self, below: dict[str, Any], above: dict[str, Any], at: Path, name: str) -> None:
        for key, value in above.items():
            here = (*at, key)
            if value is False and not _is_flag(here):
                if key not in below:
                    raise Misconfigured(
                        f"{self.where(here)}: there is nothing to remove under this key; see `hub map try` for the keys"
                    )
                del below[key]
            elif isinstance(value, dict) and isinstance(below.get(key), dict) and not _is_rule(here):
                self._merge(below[key], value, here, name)
            else:
                below[key] = value

    def where(self, path: Path) -> str:
        """`file:line` of that key, or of the nearest one that holds it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origin:
                name, line = self.origin[path[:length]]
                return f"{name}:{line}"
        return "map:1"


def _at(data: dict[str, Any], path: Path) -> Any:
    found: Any = data
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _is_rule(path: Path) -> bool:
    """A rule is replaced whole: half an old rule and half a new one is nothing that anybody wrote."""
    return len(path) == 4 and path[0] == "block" and path[2] == "fields"


def _is_flag(path: Path) -> bool:
    """Where `false` is a value and not a removal."""
    return (
        (len(path) == 3 and path[2] in ("unique", "required")) or (len(path) > 3 and path[0] == "event") or "default" in path[2:3]
    )
