"""Watermarks that miss no row of a transaction that commits late.

A row gets its cursor value (a time, a sequence number) when it is written, but shows only when its transaction commits; rows
with greater values may be seen before it. So the lower bound of a poll is not the greatest value seen, but one that was
seen so long ago (`overlap`, longer than the longest transaction) that whatever was being written then has been polled
since. That holds for times and numbers alike, and over any time in which nobody polled: the bound moves only after a
poll that began `overlap` after the value was seen.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

SAMPLES = 20  # how finely the time of the overlap is divided


@dataclass(slots=True)
class Watermark:
    """One cursor column's."""

    overlap_us: int
    low: Any = None  # the next poll reads from here on; None: all
    samples: list[tuple[int, Any]] = field(default_factory=list)  # (µs when it was surely seen, greatest value until then)

    def seen(self, value: Any, at: int) -> bool:
        """The greatest value of a poll that ended at `at` (µs). Whether that has to be remembered."""
        if value is None or (self.samples and at - self.samples[-1][0] < self.overlap_us // SAMPLES):
            return False
        newest = self.samples[-1][1] if self.samples else self.low
        if newest is not None and value <= newest:
            return False
        self.samples.append((at, value))
        return True

    def polled(self, began: int) -> bool:
        """A poll that began at `began` (µs) has read all from `low` on: what was seen an overlap before is the new bound."""
        old = [sample for sample in self.samples if sample[0] <= began - self.overlap_us]
        if not old:
            return False
        self.low = old[-1][1]
        self.samples = self.samples[len(old) :]
        return True

    def dump(self) -> dict[str, Any]:
        return {"low": dump(self.low), "samples": [[at, dump(value)] for at, value in self.samples]}

    @classmethod
    def load(cls, overlap_us: int, saved: dict[str, Any]) -> Watermark:
        return cls(overlap_us, restore(saved["low"]), [(at, restore(value)) for at, value in saved["samples"]])


def ceiling(value: Any, now: Any) -> Any:
    """`value`, but no later than the source's clock: one time in the future (2099-12-31) must not hide all that comes.

    Times as digits in text columns (YYYYMMDD, YYYYMMDDHHMMSS) too.
    """
    if isinstance(now, str):
        try:
            now = dt.datetime.fromisoformat(now)
        except ValueError:
            return value
    if not isinstance(now, dt.datetime):
        return value
    if isinstance(value, dt.datetime):
        return min(value, now.replace(tzinfo=value.tzinfo))
    if isinstance(value, dt.date):
        return min(value, now.date())
    if isinstance(value, str) and value.isdigit() and len(value) in (8, 14):
        return min(value, now.strftime("%Y%m%d%H%M%S")[: len(value)])
    return value


_TYPES: dict[str, Any] = {
    "datetime": dt.datetime.fromisoformat, "date": dt.date.fromisoformat, "Decimal": Decimal, "bytes": bytes.fromhex,
}  # fmt: skip


def dump(value: Any) -> Any:
    """A value of a column as JSON, with the type's name where JSON has none."""
    if value is None or isinstance(value, str | int | float):
        return value
    kind = type(value).__name__
    if kind not in _TYPES:
        raise TypeError(f"a cursor column cannot be {kind}")
    return {kind: value.isoformat() if isinstance(value, dt.date) else value.hex() if isinstance(value, bytes) else str(value)}


def restore(saved: Any) -> Any:
    """The value that `dump` wrote."""
    if not isinstance(saved, dict):
        return saved
    ((kind, text),) = saved.items()
    return _TYPES[kind](text)


def dumps(marks: dict[str, Watermark]) -> str:
    return orjson.dumps({column: mark.dump() for column, mark in marks.items()}).decode()


def loads(text: str, columns: tuple[str, ...], overlap_us: int) -> dict[str, Watermark] | None:
    """As kept; None where nothing was, or for other columns."""
    saved = orjson.loads(text) if text else {}
    if set(saved) != set(columns):
        return None
    return {column: Watermark.load(overlap_us, saved[column]) for column in columns}
