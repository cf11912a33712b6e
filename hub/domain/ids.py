"""Identifiers that the hub makes: UUID version 7 (RFC 9562), so that rows made together lie together on disk."""

from __future__ import annotations

import os
import threading
import time


class _Random:
    """Random bytes by the page: asking the kernel for ten at a time costs more than all the rest of an id."""

    def __init__(self) -> None:
        self._page, self._at = b"", 0

    def ten(self) -> bytes:
        if self._at + 10 > len(self._page):
            self._page, self._at = os.urandom(5120), 0
        self._at += 10
        return self._page[self._at - 10 : self._at]


_random = threading.local()
# A child must not make its parent's ids. Looked up in the child: the dict is the forking thread's own.
os.register_at_fork(after_in_child=lambda: _random.__dict__.clear())  # noqa: PLW0108


def new_id() -> str:
    """A fresh UUIDv7 in its text form, 36 characters."""
    source: _Random | None = getattr(_random, "source", None)
    if source is None:
        source = _random.source = _Random()
    ms = time.time_ns() // 1_000_000
    raw = ms.to_bytes(6, "big") + source.ten()
    h = (raw[:6] + bytes((0x70 | raw[6] & 0x0F, raw[7], 0x80 | raw[8] & 0x3F)) + raw[9:]).hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def now_us() -> int:
    """This process's clock, in microseconds since 1970 UTC: the unit of every time the hub stores."""
    return time.time_ns() // 1000
