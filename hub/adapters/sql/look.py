"""Whether a polled table can be read as its channel says: it answers, it is there, and it has every column that is named.

Asked by `hub channel ping` and `hub check --ping`. One row is read, none is kept or shown; nothing is written.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import suppress

from hub.adapters.sql.select import bare
from hub.domain.errors import HubError, Misconfigured, NotDelivered
from hub.transport.odbc import Database


class Look:
    """One database, looked at. Whatever is wrong is raised as what the hub would meet, with the setting that says it."""

    def __init__(self, database: Database, kind: str) -> None:
        self._database = database
        self._kind = kind

    def connect(self) -> None:
        """Raises Misconfigured or NotDelivered."""
        try:
            self._database.select(self._database.profile.now)
        except HubError as error:
            raise _at(f"connecting to {self._kind}", error) from None

    def columns(self, place: str, source: str, wanted: str, named: Sequence[str] = ()) -> list[str]:
        """The columns that `SELECT wanted FROM source` gives. `place`: as hub.toml has it, `table = "OPD_PATIENT"`; `named`: the
        columns that `wanted` lists, where it lists any."""
        try:
            return self._first(source, wanted)
        except HubError as error:
            there: list[str] = []
            if named:  # else what is wrong is the table
                with suppress(HubError):
                    there = self._first(source, "*")
            if there:
                present(place, there, {"columns": named})
            raise _at(place, error) from None

    def _first(self, source: str, wanted: str) -> list[str]:
        return self._database.select(self._database.profile.limit.format(what=f"{wanted} FROM {source}", n=1))[0]


def present(place: str, there: Sequence[str], settings: Mapping[str, Sequence[str]]) -> None:
    """That each column which a setting names is among those that are there. Raises Misconfigured for the first that is not."""
    folded = {one.lower(): one for one in there}
    for setting, named in settings.items():
        for column in named:
            if bare(column) not in folded:
                close = difflib.get_close_matches(bare(column), folded, n=1)
                instead = f'did you mean "{folded[close[0]]}"?' if close else f"it has {', '.join(there)}"
                raise Misconfigured(f'{place} has no column "{column}", which {setting} names; {instead}', code="no_column")


def _at(place: str, error: HubError) -> HubError:
    """The same error, with the setting it is about."""
    kind = Misconfigured if isinstance(error, Misconfigured) else NotDelivered
    return kind(f"{place}: {error.reason}", code=error.code)
