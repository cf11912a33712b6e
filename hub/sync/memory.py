"""What a listening channel must still know after a restart, or on another hub process: a thing by its name, sealed, as a mark.

It is written in the commit of the message that changed it, and only while what it was decided on still stands
(hub/sync/marks.py): two processes that are told of one thing at once do not overwrite each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from hub.domain.ids import now_us
from hub.domain.ports import Keys, Recalled
from hub.domain.rows import MarkRow
from hub.domain.store import Store


class ChannelMemory:
    """hub.domain.ports.Memory of one channel."""

    def __init__(self, channel: str, store: Store, keys: Keys) -> None:
        self._channel = channel
        self._store = store
        self._keys = keys

    def recall(self, name: str) -> Recalled:
        key = self._key(name)
        with self._store.snapshot() as tx:
            row = tx.one("SELECT n, name FROM mark WHERE channel = ? AND key = ?", self._channel, key)
        if row is None or row[1] is None:
            return Recalled(0, {})
        return Recalled(int(row[0]), orjson.loads(self._keys.open_("mark", self._place(key), bytes(row[1]))))

    def mark(self, name: str, n: int, what: Mapping[str, Any]) -> MarkRow:
        key, plain = self._key(name), orjson.dumps(what, option=orjson.OPT_SORT_KEYS)
        sealed = self._keys.seal("mark", self._place(key), plain)
        return MarkRow(self._channel, key, self._keys.digest(plain), n, sealed, now_us())

    def _key(self, name: str) -> bytes:
        return self._keys.digest(f"memory:{name}".encode())

    def _place(self, key: bytes) -> str:
        return f"{self._channel}:{key.hex()}"
