"""The pages of an entity set, by key: each is asked for from the last key of the one before, so nothing shifts and nothing is
followed that the server names. A `__next` only says that there is more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from hub.adapters.erp.odata_client import ODataClient
from hub.adapters.erp.odata_in_sets import EntitySet
from hub.codecs.sap import odata_feed
from hub.codecs.sap.odata import Entity
from hub.domain.errors import Misconfigured, NotDelivered, Refused, Unreadable


class Pages:
    """Of one channel. `more`: whether there is another page behind the one that was given last."""

    def __init__(self, sap: ODataClient, name: str, shape: EntitySet, size: int) -> None:
        self._sap = sap
        self._name = name
        self._shape = shape
        self._size = size
        self.more = False

    def first(self, where: str, most: int) -> list[Entity]:
        """The first ones that match, expanded; no more than a page."""
        return self._page(where, None, most)[0]

    def walk(self, where: str, after: Mapping[str, str] | None = None) -> Iterator[list[Entity]]:
        """All entities that match a `$filter`, behind a key; only pages that hold some. An answer that is too large is asked for
        again as smaller ones."""
        while True:
            try:
                found, self.more = self._page(where, after, self._size)
            except NotDelivered as error:
                if error.code != "too_large" or self._size == 1:
                    raise
                self._size = max(1, self._size // 4)
                continue
            if not found:
                return
            after = self._forward(found, after)
            yield found
            if not self.more:
                return

    def all_keys(self) -> Iterator[list[Entity]]:
        """Nothing but the keys of all that the channel speaks of."""
        after: Mapping[str, str] | None = None
        while True:
            found, more = self._ask(self._shape.where, after, self._size * 10, ",".join(self._shape.key), "")
            if not found:
                return
            after = self._forward(found, after)
            yield found
            if not more:
                return

    def _page(self, where: str, after: Mapping[str, str] | None, most: int) -> tuple[list[Entity], bool]:
        wanted = odata_feed.both(self._shape.where, where)
        return self._ask(wanted, after, most, ",".join(self._selected()), ",".join(self._shape.expand))

    def _selected(self) -> list[str]:
        """What is expanded has to be selected, too (URI Conventions §4.8)."""
        return [*self._shape.select, *self._shape.expand] if self._shape.select else []

    def _ask(self, where: str, after: Mapping[str, str] | None, most: int, select: str, expand: str) -> tuple[list[Entity], bool]:
        behind = odata_feed.behind(self._shape.key, after) if after else ""
        wanted = {"$filter": odata_feed.both(where, behind), "$select": select, "$expand": expand}
        params = {"$format": "json", "$orderby": ",".join(self._shape.key), "$top": str(most)}
        params |= {name: value for name, value in wanted.items() if value}
        try:
            page = self._sap.page(self._name, params)
        except Refused as error:
            odd = Misconfigured(
                f"{error.reason} to a question for {self._name}: it does not have what is asked for any more? "
                "hub check --ping names what is missing there", code="changed_metadata",
            )  # fmt: skip
            odd.answer = error.answer
            raise odd from None
        return page.entities, page.skiptoken is not None or len(page.entities) >= most

    def _forward(self, found: list[Entity], after: Mapping[str, str] | None) -> Mapping[str, str]:
        """The last key of a page. A server that does not go on behind the key asked for would be read for ever."""
        try:
            keys = [odata_feed.key_of(one, self._shape.key) for one in found]
        except Unreadable as error:
            raise Misconfigured(f"the ERP gives {self._name} as {error.reason}: check set and key", code="no_key") from None
        names = ", ".join(self._shape.key)
        if after is not None and after in keys:
            raise Misconfigured(f"the ERP gives the same {self._name} again: it does not filter by {names}", code="endless")
        order = [tuple(key.values()) for key in keys]
        if len(set(order)) < len(order):
            raise Misconfigured(f"two {self._name} have the same key: check key", code="same_key")
        behind = [*([tuple(after.values())] if after else ()), *order]
        if _is_comparable(behind) and not _is_sorted(behind):
            raise Misconfigured(f"the ERP does not sort {self._name} by {names}", code="no_sort")
        return keys[-1]


def _is_comparable(order: Sequence[tuple[str, ...]]) -> bool:
    """Whether we know how the server sorts them: letters it sorts its own way, digits nobody does."""
    return all(part.isascii() and part.isdigit() for key in order for part in key)


def _as_number(part: str) -> tuple[int, str]:
    return len(part), part


def _is_sorted(order: Sequence[tuple[str, ...]]) -> bool:
    """As texts or, where SAP pads the number with zeros inside (conversion exit ALPHA), as numbers: each part of the key in one
    way throughout. A server filters as it sorts, so both are ways to go on by key (docs/adr/0150)."""
    ways: list[tuple[Callable[[str], Any], ...]] = [(str, _as_number)] * len(order[0])
    for one, other in pairwise(order):
        at = next(at for at, (here, there) in enumerate(zip(one, other, strict=True)) if here != there)
        ways[at] = tuple(way for way in ways[at] if way(one[at]) < way(other[at]))
        if not ways[at]:
            return False
    return True
