"""An adapter's TOML table as its frozen `Settings`, for who has a plain table; a configured channel uses `Channel.read`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from hub.config.bind import Source, bind
from hub.config.errors import ConfigError
from hub.config.model import Common
from hub.domain.errors import Misconfigured

T = TypeVar("T")
_COMMON = frozenset(field.name for field in fields(Common))


def read_table(cls: type[T], table: Mapping[str, Any]) -> T:
    """`cls` from `table`, the keys that every channel has left aside. Raises Misconfigured saying what to write instead."""
    try:
        return bind(cls, dict(table), (), Source("settings", Path(), {}), ignore=_COMMON)
    except ConfigError as error:
        raise Misconfigured(f"{error.problem}; {error.instead}" if error.instead else error.problem, code="settings") from None


def wrong(problem: str, instead: str) -> Misconfigured:
    """The error for a value that the types cannot rule out."""
    return Misconfigured(f"{problem}; {instead}", code="settings")
