"""Identifiers that the hub makes: UUID version 7 (RFC 9562), so that rows made together lie together on disk."""

from __future__ import annotations

import os
import time


def new_id() -> str:
    """A fresh UUIDv7 in its text form, 36 characters."""
    ms = time.time_ns() // 1_000_000
    raw = ms.to_bytes(6, "big") + os.urandom(10)
    h = (raw[:6] + bytes((0x70 | raw[6] & 0x0F, raw[7], 0x80 | raw[8] & 0x3F)) + raw[9:]).hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def now_us() -> int:
    """This process's clock, in microseconds since 1970 UTC: the unit of every time the hub stores."""
    return time.time_ns() // 1000
