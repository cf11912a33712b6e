"""An entity set read whole, in blocks of its key, from wherever an earlier load stopped; or the entities under one number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from hub.adapters.erp.odata_client import ODataClient
from hub.adapters.erp.odata_in_pages import Pages
from hub.adapters.erp.odata_in_rows import PATIENT, Rows
from hub.adapters.erp.odata_in_sets import EntitySet
from hub.codecs.sap import odata, odata_feed
from hub.domain.errors import Misconfigured
from hub.domain.ports import Condition, Feed, Loaded

NAME = re.compile(r"[A-Za-z_]\w{0,127}\Z", re.ASCII)
_OPERATORS = {"=": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


@dataclass(frozen=True, slots=True)
class ODataLoad:
    """hub.domain.ports.Loadable of one channel; entities are of whatever kinds its map makes of them."""

    sap: ODataClient
    pages: Pages
    rows: Rows
    name: str
    shape: EntitySet
    identification_type: str

    def total(self, where: Sequence[Condition]) -> int:
        """What the service counts."""
        return self.sap.count(self.name, odata_feed.both(self.shape.where, _filter(where)))

    def load(self, feed: Feed, where: Sequence[Condition], place: str) -> Iterator[Loaded]:
        """All of them in the order of the key, behind `place`."""
        after = orjson.loads(place) if place else None
        for entities in self.pages.walk(_filter(where), after):
            told = feed.rows(self.name, [self.rows.found(one) for one in entities])
            yield Loaded(orjson.dumps(self.rows.key(entities[-1])).decode(), len(entities), told)

    def request(self, feed: Feed, number: str, columns: Sequence[str]) -> int:
        """The entities whose `columns` hold the number; several columns share it, joined by `/` as in maps."""
        if tuple(columns) == (PATIENT,):
            return sum(self._hand(feed, odata.equal(BusinessPartner=partner)) for partner in self._partners(number))
        parts = number.split("/") if len(columns) > 1 else [number]
        if len(parts) != len(columns):
            raise Misconfigured(f"this number has {len(columns)} parts: write {'/'.join(columns)}")
        return self._hand(feed, odata.equal(**dict(zip(columns, parts, strict=True))))

    def _partners(self, number: str) -> list[str]:
        where = odata.equal(BPIdentificationType=self.identification_type, BPIdentificationNumber=number)
        [found] = self.sap.ask([("A_BuPaIdentification", {"$filter": where})])
        return sorted({str(one["BusinessPartner"]) for one in found if one.get("BusinessPartner")})

    def _hand(self, feed: Feed, where: str) -> int:
        found = 0
        for entities in self.pages.walk(where):
            feed.rows(self.name, [self.rows.found(one) for one in entities])
            found += len(entities)
        return found


def _filter(where: Sequence[Condition]) -> str:
    """Conditions of a command line as a `$filter`. A value is a text, unless it says what it is: datetime'…', 12m, true."""
    terms = []
    for one in where:
        if one.operator not in _OPERATORS:
            raise Misconfigured(f'"{one.operator}" compares nothing; write one of {" ".join(_OPERATORS)}')
        if not NAME.match(one.column):
            raise Misconfigured("that is no name of a property; see hub check --ping, or $metadata", code="no_column")
        terms.append(f"{one.column} {_OPERATORS[one.operator]} {odata_feed.typed(one.value)}")
    return " and ".join(terms)
