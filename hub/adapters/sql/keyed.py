"""SQL for a handful of rows named by their keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hub.adapters.sql.select import parameter, place_of
from hub.domain.errors import Misconfigured
from hub.transport.odbc import Profile

PARAMETERS = 600  # of one statement; Oracle lists at most 1000, SQL Server takes 2100 in all
Row = tuple[Any, ...]


def keys_of(columns: Sequence[str], names: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """The values of the key columns of each row, as the driver gave them. Raises Misconfigured where one is NULL."""
    places = [place_of(column, names) for column in columns]
    keys = [tuple(row[place] for place in places) for row in rows]
    if any(None in key for key in keys):
        raise Misconfigured("a key column is NULL: such rows cannot be told apart")
    return keys


def chunks(keys: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """As many at a time as a statement can name."""
    size = PARAMETERS // max(len(keys[0]), 1) if keys else 1
    for first in range(0, len(keys), size):
        yield keys[first : first + size]


def among(columns: Sequence[str], keys: Sequence[Row], profile: Profile) -> tuple[str, list[Any]]:
    """A condition on quoted columns: a IN (?, …), or ((a = ? AND b = ?) OR …); and its values."""
    values = [parameter(value, profile) for key in keys for value in key]
    if len(columns) == 1:
        return f"{columns[0]} IN ({', '.join('?' * len(keys))})", values
    one = "(" + " AND ".join(f"{column} = ?" for column in columns) + ")"
    return "(" + " OR ".join([one] * len(keys)) + ")", values
