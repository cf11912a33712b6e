"""What a FHIR server answers page by page: searches and histories (FHIR R4 http.html#paging, #history), read and judged.

A page is asked for by the server's own link, opaque as it is, and only below the address that we were given. A server may
let links expire (410), give the same one for ever, or repeat and leave out what changed meanwhile: callers are told of the
first two, and live with the third (hub/adapters/emr/fhir_pull.py).
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

from hub import log
from hub.adapters.emr.fhir_client import FhirClient, kept
from hub.codecs import fhir
from hub.codecs.fhir_incoming import tombstone
from hub.domain.errors import Misconfigured, NotDelivered
from hub.transport.http import Answer

_log = log.get(__name__)
Query = Sequence[tuple[str, str]]
FRESH = 10_000  # ms: what changed so shortly before an answer may stand in it at the place of what it was before


class ExpiredError(NotDelivered):
    """The server has forgotten the search that a link belongs to (410): to be asked anew."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a kind. Times in ms since 1970 UTC, by the server's clock."""

    resources: list[fhir.Document]  # matches; of a history every version, the newest first, deletions as tombstones
    moments: list[int | None]  # when each of them was last changed
    next: str  # for FhirClient.get; "": this is the last one
    date: int | None  # when it was answered
    total: int | None  # how many there are, where the server says


def first(client: FhirClient, kind: str, query: Query, *, history: bool = False, private: bool = False) -> Page:
    """The first page of a search (`GET [base]/[kind]?…`) or of the history of all of a kind.

    `private`: there may be numbers of patients in it, so it goes by POST _search; so do links that are searches of a kind.
    """
    path = f"/{kind}/_history" if history else f"/{kind}"
    return _page(client, (kind,), f"{path}?{urlencode(query)}" if query else path, private=private)


def linked(client: FhirClient, kind: str, link: str, *, private: bool = False) -> Page:
    """The page behind a `Page.next` that was kept. Raises ExpiredError."""
    return _page(client, (kind,), link, private=private)


def follow(client: FhirClient, kinds: Collection[str], page: Page, *, private: bool = False) -> Iterator[Page]:
    """The pages after `page`, one at a time. Raises ExpiredError; Misconfigured where they go round in a circle."""
    seen = set[str]()
    while page.next:
        if page.next in seen:
            text = f"the EMR's pages of {', '.join(kinds)} go round in a circle: a next link leads to a page that was"
            raise Misconfigured(text, code="circle")
        seen.add(page.next)
        page = _page(client, kinds, page.next, private=private)
        yield page


def everything(client: FhirClient, path: str, kinds: Collection[str]) -> Iterator[Page]:
    """All pages of an operation's answer, as far as they are of these kinds."""
    page = _page(client, kinds, path)
    yield page
    yield from follow(client, kinds, page)


def walk(client: FhirClient, kind: str, query: Query, *, history: bool = False) -> Iterator[Page]:
    """All pages, as `follow`."""
    page = first(client, kind, query, history=history)
    yield page
    yield from follow(client, (kind,), page)


_SEARCH = re.compile(r"/([A-Z][A-Za-z]{1,63})(?:/_search)?\?(.*)", re.DOTALL)


def _page(client: FhirClient, kinds: Collection[str], path: str, *, private: bool = False) -> Page:
    search = _SEARCH.fullmatch(path) if private else None
    if search is not None:
        answer = client.post_search(search[1], dict(parse_qs(search[2], keep_blank_values=True)))
    else:
        answer = client.get(path)
    if answer.status == 410:
        raise kept(
            answer, ExpiredError(f"the EMR has forgotten the search for {', '.join(kinds)} while it was read", code="expired")
        )
    if answer.status != 200:
        raise client.failure(answer, writing=False, asked_for=", ".join(kinds))
    bundle = client.document(answer, "Bundle")
    link = next((str(one.get("url", "")) for one in fhir.objects(bundle.get("link")) if one.get("relation") == "next"), "")
    found = [one for entry in fhir.objects(bundle.get("entry")) if (one := _resource(kinds, entry)) is not None]
    total = bundle.get("total")
    return Page(
        found, [moment(one) for one in found], client.linked(link, path) if link else "", date_of(answer),
        total if isinstance(total, int) else None,
    )  # fmt: skip


def _resource(kinds: Collection[str], entry: Mapping[str, Any]) -> fhir.Document | None:
    """What an entry says of one of a kind. What a server says of the search itself is logged, by its codes."""
    resource, request = entry.get("resource"), entry.get("request")
    if isinstance(request, Mapping) and request.get("method") == "DELETE":
        return _gone(entry, str(request.get("url", "")))
    if not isinstance(resource, dict):
        return None
    if resource.get("resourceType") == "OperationOutcome":
        codes = fhir.issue_codes(fhir.dump(resource))
        _log.warning("the EMR says something about a search", extra={"kinds": list(kinds), "codes": codes})
    search = entry.get("search")
    mode = search.get("mode", "match") if isinstance(search, Mapping) else "match"
    return resource if resource.get("resourceType") in kinds and mode == "match" else None


def _gone(entry: Mapping[str, Any], url: str) -> fhir.Document | None:
    """A deletion in a history: `request.url` is `Patient/1`, its time and version stand in the response."""
    found = _NAMED.search(url or str(entry.get("fullUrl", "")))
    if found is None:
        return None
    kind, resource_id = found.groups()
    response = entry.get("response")
    said = response if isinstance(response, Mapping) else {}
    version = str(said.get("etag", "")).removeprefix("W/").strip('"')
    return tombstone(kind, resource_id, version if fhir.is_id(version) else "", str(said.get("lastModified", "")))


_NAMED = re.compile(r"(?:^|/)([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[^/]*)?$")


def reached(kind: str, page: Page, at: int | None) -> int | None:
    """The last change up to which this page of a search by order is complete; None where it says none. `at`: what was asked for.

    What changed just before the answer may stand at its earlier place (servers find first and read then): it does not count.
    """
    if None in page.moments:
        raise Misconfigured(f"the EMR gives a {kind} without meta.lastUpdated: write it into whole", code="no_last_updated")
    moments = [when for when in page.moments if when is not None]
    if at is not None and any(when < at for when in moments):
        raise Misconfigured(f"the EMR does not search {kind} by _lastUpdated: write it into whole", code="no_last_updated")
    settled = [when for when in moments if page.date is None or when < page.date - FRESH]
    if settled != sorted(settled):
        raise Misconfigured(f"the EMR does not sort {kind} by _lastUpdated: write sort = false", code="no_sort")
    return settled[-1] if settled else max(moments, default=None)


# times


def moment(document: Mapping[str, Any]) -> int | None:
    """meta.lastUpdated in ms, cut off; None where there is none that tells a moment."""
    meta = document.get("meta")
    return instant(meta.get("lastUpdated")) if isinstance(meta, Mapping) else None


def instant(text: object) -> int | None:
    """An instant in ms since 1970 UTC, cut off."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if found is None or found.tzinfo is None:
        return None
    since = found - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400_000) + since.seconds * 1000 + since.microseconds // 1000


def text_of(ms: int) -> str:
    """An instant as it is asked for, in UTC: some servers compare texts."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03d}Z"


def date_of(answer: Answer) -> int | None:
    """The Date header (RFC 9110 §6.6.1), ms; None where the server gives none."""
    try:
        found = email.utils.parsedate_to_datetime(answer.headers.get("date", ""))
        return int(found.timestamp()) * 1000
    except (ValueError, TypeError, OverflowError):
        return None
