"""What a raw field meant when it was seen before: the same ward, doctor and insurer come again and again."""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import Any

from hub.mapping.functions import Reader

MEMORY = 4096  # fields remembered by a rule, in each half


class Memory:
    """Names, addresses, doctors and insurers of raw fields seen before, packed, so that each reader gets objects of its own.

    A field is kept from its second sight on. When the young half is full it becomes the old one, which is asked too.
    `shared`: the values are facts, which nobody changes; they are kept as they are, and each reader gets the same ones.
    """

    __slots__ = ("_old", "_pack", "_seen", "_unpack", "_young")

    def __init__(self, *, shared: bool = False) -> None:
        self._young: dict[tuple[str, str], Any] = {}  # (default assigner, raw field) -> packed value
        self._old: dict[tuple[str, str], Any] = {}
        self._seen: set[int] = set()
        self._pack: Callable[[Any], Any] = _same if shared else marshal.dumps
        self._unpack: Callable[[Any], Any] = _same if shared else marshal.loads  # our own bytes, packed below

    def recall(self, raw: str, reader: Reader, read: Callable[[str, Reader], Any]) -> Any:
        """What `read` makes of the raw field, or made of it before. What was warned of is not kept."""
        if reader.escape in raw:  # what it means hangs on the charset
            return read(raw, reader)
        key = (reader.assigner, raw)
        packed = self._young.get(key)
        if packed is not None:
            return self._unpack(packed)
        packed = self._old.get(key)
        if packed is not None:
            self._keep(key, packed)
            return self._unpack(packed)
        warned = len(reader.warnings)
        value = read(raw, reader)
        sight = hash(key)
        if sight not in self._seen:
            if len(self._seen) >= 8 * MEMORY:
                self._seen.clear()
            self._seen.add(sight)
        elif len(reader.warnings) == warned:
            self._keep(key, self._pack(value))
        return value

    def _keep(self, key: tuple[str, str], packed: Any) -> None:
        if len(self._young) >= MEMORY:
            self._old, self._young = self._young, {}
        self._young[key] = packed


def _same(value: Any) -> Any:
    return value
