"""What is asked of an entity set that is polled, and what its entities are as rows. Texts only.

Sources: OData V2 "URI Conventions" §4.5 ($filter) and its literals, "JSON Format" §4 (primitive types) and §5 (expanded and
deferred navigation). A walk goes by key (`key gt last`), not by the pages that a server offers: what changes meanwhile moves no
page, and a key is a place to go on from after any interruption.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

from hub.codecs.sap import odata
from hub.domain.errors import Unreadable

DEEPEST = 16  # levels of rows in rows: an address's phones are the third
_TIME = re.compile(r"PT(?:(\d{1,2})H)?(?:(\d{1,2})M)?(?:(\d{1,2})(?:\.\d{1,9})?S)?\Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?\Z", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_TYPED = re.compile(
    r"(?:(?:datetime|datetimeoffset|time|guid)'[0-9A-Za-z:.+\-]+'|-?\d{1,30}(?:\.\d{1,9})?[mMdDfFL]|true|false|null)\Z", re.ASCII
)

Row = dict[str, Any]


def row_of(entity: Mapping[str, Any], depth: int = 0) -> Row:
    """An entity as a row: metadata and what was not expanded left out, expanded navigation as a row or a list of rows.

    Raises Unreadable where it is nested deeper than any business object.
    """
    if depth > DEEPEST:
        raise Unreadable(f"more than {DEEPEST} levels of rows in rows", code="too_deep")
    return {
        name: _plain(value, depth)
        for name, value in entity.items()
        if name != "__metadata" and not (isinstance(value, Mapping) and "__deferred" in value)
    }


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        results = value.get("results")
        return _plain(results, depth) if isinstance(results, list) else row_of(value, depth + 1)
    if isinstance(value, list):
        return [row_of(one, depth + 1) if isinstance(one, Mapping) else _leaf(one, depth) for one in value]
    return value


def _leaf(value: Any, depth: int) -> Any:
    """What stands in a list and is no row; lists in lists are no rows either, however deep."""
    if isinstance(value, list):
        if depth > DEEPEST:
            raise Unreadable(f"more than {DEEPEST} levels of rows in rows", code="too_deep")
        return [_leaf(one, depth + 1) for one in value]
    return value


def key_of(entity: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The key of an entity. Raises Unreadable where it does not show all of it."""
    found = {name: entity.get(name) for name in names}
    missing = [name for name, value in found.items() if not isinstance(value, str | int) or value == ""]
    if missing:
        raise Unreadable(f"an entity without its key {', '.join(missing)}", code="no_key")
    return {name: str(value) for name, value in found.items()}


# times of changes: comparable texts, `2026-11-22` for a day, `2026-11-22T09:00:00` for a moment


def changed_at(entity: Mapping[str, Any], stamp: str) -> str | None:
    """An Edm.DateTimeOffset (or DateTime) in UTC, whole seconds; None where it is empty or no time of this world."""
    return _moment(entity.get(stamp))


def changed_on(entity: Mapping[str, Any], days: Sequence[str], clocks: Sequence[str] = ()) -> str | None:
    """The latest of some Edm.DateTime that mean days; with `clocks`, the Edm.Time beside each of them, as a moment."""
    found = [_day(entity, day, clock) for day, clock in zip_longest(days, clocks, fillvalue="")]
    return max((one for one in found if one is not None), default=None)


def _day(entity: Mapping[str, Any], day: str, clock: str) -> str | None:
    moment = _moment(entity.get(day))
    if moment is None or not clock:
        return moment and moment[:10]
    return f"{moment[:10]}T{time_of_day(entity.get(clock)) or '00:00:00'}"


def _moment(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        at = _EPOCH + timedelta(milliseconds=odata.parse_moment(value).ms)
    except (Unreadable, OverflowError):
        return None
    return at.strftime("%Y-%m-%dT%H:%M:%S") if 1900 <= at.year < 9000 else None


def time_of_day(value: object) -> str | None:
    """`PT09H30M00S` (Edm.Time) -> `09:30:00`; None for what is none."""
    found = _TIME.match(value) if isinstance(value, str) else None
    if found is None:
        return None
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}" if hours < 24 and minutes < 60 and seconds < 60 else None


def since_stamp(stamp: str, at: str) -> str:
    """`$filter`: changed at a moment (UTC) or later."""
    return f"{stamp} ge datetimeoffset'{_iso(at)}Z'"


def since_day(days: Sequence[str], at: str, clocks: Sequence[str] = ()) -> str:
    """`$filter`: any of some days that day or later; with the `clocks` beside them to the second."""
    day, _, time = _iso(at).partition("T")
    midnight = f"datetime'{day}T00:00:00'"
    if not clocks or not time:
        return either(f"{name} ge {midnight}" for name in days)
    hours, minutes, seconds = time.split(":")
    clock_time = f"time'PT{hours}H{minutes}M{seconds}S'"
    pairs = zip(days, clocks, strict=True)
    return either(f"({name} gt {midnight} or ({name} eq {midnight} and {clock} ge {clock_time}))" for name, clock in pairs)


def _iso(at: str) -> str:
    if not _ISO.match(at):
        raise ValueError("no day and no moment")
    return at


def behind(names: Sequence[str], key: Mapping[str, str]) -> str:
    """`$filter`: keys greater than this one, in the order of their parts."""
    terms = []
    for at, name in enumerate(names):
        equal = [f"{one} eq {odata.literal(key[one])}" for one in names[:at]]
        terms.append(" and ".join([*equal, f"{name} gt {odata.literal(key[name])}"]))
    return either(f"({term})" if " and " in term else term for term in terms)


def typed(value: str) -> str:
    """A value that somebody wrote down as a literal: a day, what says its type itself (datetime'…', 12.5m, true), else a text."""
    if _DAY.match(value):
        return f"datetime'{value}T00:00:00'"
    return value if _TYPED.match(value) else odata.literal(value)


def either(terms: Iterable[str]) -> str:
    found = list(terms)
    return found[0] if len(found) == 1 else f"({' or '.join(found)})"


def both(*terms: str) -> str:
    """All of the terms that say something."""
    return " and ".join(term for term in terms if term)
