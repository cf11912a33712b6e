"""Tryton 8.2 over JSON-RPC: dates, times and decimals are objects with `__class__` (trytond/protocols/jsonrpc.py). Pure."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal, InvalidOperation
from typing import Any

from hub.domain.errors import Unreadable

Record = dict[str, Any]
_DAY = ("year", "month", "day")
_TIME = ("hour", "minute", "second", "microsecond")


def dump(value: Any) -> bytes:
    """A request's body. `dt.datetime` is UTC without a zone, as the server keeps its times."""
    return json.dumps(value, default=_marked, ensure_ascii=False, separators=(",", ":")).encode()


def load(body: bytes) -> Any:
    """An answer's body, objects with a class made what they mean. Raises Unreadable."""
    try:
        return json.loads(body, object_hook=_meant)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, InvalidOperation):
        raise Unreadable("no JSON as Tryton writes it", code="not_tryton") from None


def _marked(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return {"__class__": "datetime", **{name: getattr(value, name) for name in (*_DAY, *_TIME)}}
    if isinstance(value, dt.date):
        return {"__class__": "date", **{name: getattr(value, name) for name in _DAY}}
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    raise TypeError(f"Tryton has no {type(value).__name__}")


def _meant(found: Record) -> Any:
    """Classes that nobody here asks for (bytes, timedelta) stay the objects that they are."""
    kind = found.get("__class__")
    if kind == "datetime":
        return dt.datetime(*(found[name] for name in (*_DAY, *_TIME)))  # noqa: DTZ001 - the server's UTC, without a zone
    if kind == "date":
        return dt.date(*(found[name] for name in _DAY))
    return Decimal(found["decimal"]) if kind == "Decimal" else found
