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


class WrongSettingError(Misconfigured, ValueError):
    """A value that the types cannot rule out: Misconfigured by itself, a ConfigError with its line through `Channel.read`."""


def read_table(cls: type[T], table: Mapping[str, Any]) -> T:
    """`cls` from `table`; keys that every channel has are left aside, but for those that `cls` wants.

    Raises Misconfigured saying what to write instead.
    """
    own = {field.name for field in fields(cls)}  # type: ignore[arg-type]  # T is a dataclass
    try:
        return bind(cls, dict(table), (), Source("settings", Path(), {}), ignore=_COMMON - own)
    except ConfigError as error:
        raise Misconfigured(f"{error.problem}; {error.instead}" if error.instead else error.problem, code="settings") from None


def wrong(problem: str, instead: str) -> WrongSettingError:
    """The error for a value that the types cannot rule out, to be raised in `__post_init__`."""
    return WrongSettingError(f"{problem}; {instead}", code="settings")
