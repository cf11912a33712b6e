"""A FHIR server asked for all of a kind, block by block, and for one thing now (hub load, hub request)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from hub.adapters.emr import fhir_pages
from hub.adapters.emr.fhir_client import FhirClient
from hub.adapters.emr.fhir_pages import ExpiredError, Page, Query
from hub.codecs import fhir
from hub.domain.errors import Misconfigured
from hub.domain.ports import Condition, Feed, Loaded

_PREFIXES = {"=": "", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}  # search.html#prefix


class FhirLoad:
    """hub.domain.ports.Loadable, as far as it needs no settings but these."""

    def __init__(self, emr: FhirClient, kinds: Sequence[str], count: int, *, sort: bool) -> None:
        self._emr = emr
        self._kinds = kinds
        self._count = count
        self._sort = sort

    def total(self, kind: str, where: Sequence[Condition]) -> int | None:
        """What the server counts (`_summary=count`); None where it does not."""
        query = [*_query(where), ("_summary", "count")]
        return fhir_pages.first(self._emr, self._known(kind), query, private=bool(where)).total

    def load(self, feed: Feed, kind: str, where: Sequence[Condition], place: str) -> Iterator[Loaded]:
        """By the order of changes, so that a place is a moment; where the server cannot sort, a place is its link."""
        self._known(kind)
        pages = self._by_order(kind, _query(where), place) if self._sort else self._by_links(kind, _query(where), place)
        for after, page in pages:
            yield Loaded(after, len(page.resources), sum(feed.documents(page.resources)))

    def _by_order(self, kind: str, where: Query, place: str) -> Iterator[tuple[str, Page]]:
        at = int(place) if place else None
        while True:
            since = [("_lastUpdated", f"ge{fhir_pages.text_of(at)}")] if at is not None else []
            query = [*where, *since, ("_sort", "_lastUpdated"), ("_count", str(self._count))]
            page = fhir_pages.first(self._emr, kind, query, private=bool(where))
            others = fhir_pages.follow(self._emr, (kind,), page, private=bool(where))
            reached = fhir_pages.reached(kind, page, at)
            while page.next and reached in (None, at):  # a single moment fills the page
                yield str(at) if at is not None else "", page
                page = next(others)
                reached = fhir_pages.reached(kind, page, at)
            at = at if reached is None else reached
            yield str(at) if at is not None else "", page
            if not page.next:
                return

    def _by_links(self, kind: str, where: Query, place: str) -> Iterator[tuple[str, Page]]:
        private = bool(where)  # a server may write the conditions into its links
        try:
            page = fhir_pages.linked(self._emr, kind, place, private=private) if place else None
        except ExpiredError:  # from the beginning: what is known makes no message
            page = None
        if page is None:
            page = fhir_pages.first(self._emr, kind, [*where, ("_count", str(self._count))], private=private)
        for one in chain((page,), fhir_pages.follow(self._emr, (kind,), page, private=private)):
            yield one.next, one

    def request(self, feed: Feed, kind: str, number: str, columns: Sequence[str]) -> int:  # noqa: ARG002 - of rows
        """By its number (`00012345`, `urn:oid:…|00012345`) or the server's id (`Patient/123`); of a patient all that is there."""
        found = self._named(self._known(kind), number)
        feed.documents(found)
        if kind != "Patient":
            return len(found)
        return len(found) + sum(self._all_of(feed, str(one.get("id", ""))) for one in found)

    def _named(self, kind: str, number: str) -> list[fhir.Document]:
        own_id = number.removeprefix(f"{kind}/")
        if own_id != number:
            one = self._emr.read(kind, own_id)
            return [one.document] if one else []
        system, bar, value = number.rpartition("|")
        return self._emr.search(kind, system if bar else None, value)

    def _all_of(self, feed: Feed, patient_id: str) -> int:
        """Patient/$everything where the server has it, else what a search by patient gives of each of our kinds."""
        others = [kind for kind in self._kinds if kind != "Patient"]
        if not fhir.is_id(patient_id) or not others:
            return 0
        count = 0
        if self._has_everything():
            pages = fhir_pages.everything(self._emr, f"/Patient/{patient_id}/$everything", others)
        else:
            query = [("patient", f"Patient/{patient_id}"), ("_count", str(self._count))]
            pages = (page for kind in others for page in fhir_pages.walk(self._emr, kind, query))
        for page in pages:
            feed.documents(page.resources)
            count += len(page.resources)
        return count

    def _has_everything(self) -> bool:
        rest = [one for one in fhir.objects(self._emr.capability().get("rest")) if one.get("mode", "server") == "server"]
        kinds = [one for side in rest for one in fhir.objects(side.get("resource")) if one.get("type") == "Patient"]
        operations = [one for holder in (*rest, *kinds) for one in fhir.objects(holder.get("operation"))]
        return any(str(one.get("name", "")).lstrip("$") in ("everything", "patient-everything") for one in operations)

    def _known(self, kind: str) -> str:
        if kind not in self._kinds:
            raise Misconfigured(
                f"this channel does not ask for {kind}: write it into kinds ({', '.join(self._kinds)})", code="no_kind"
            )
        return kind


def _query(where: Sequence[Condition]) -> list[tuple[str, str]]:
    """Search parameters of the kind; a comparison is the prefix of its value. They may name a patient: never in a URL."""
    return [(one.column, _PREFIXES[one.operator] + one.value) for one in where]
