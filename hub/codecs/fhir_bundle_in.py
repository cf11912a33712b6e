"""A Bundle that came in -> single resources that stand by themselves, or what is wrong with an entry and where.

transaction and batch (http.html#transaction), history (of a server that replicates), and lists without requests, whose
entries count as updates. References by `urn:uuid:` and by the sender's own absolute URLs become relative ones,
`Patient?identifier=…` a logical one, so that a resource says the same outside its bundle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from hub.codecs.fhir import Document, is_id, objects
from hub.codecs.fhir_incoming import id_of, tombstone

TYPES = ("transaction", "batch", "history", "collection", "searchset", "subscription-notification")
BAD_ID = "an id has 1 to 64 letters, digits, - and ., and is no registration number"
METHODS = ("POST", "PUT", "DELETE")
NARRATIVE = ("Parameters", "OperationOutcome", "SubscriptionStatus")  # about the bundle itself
_KIND = re.compile(r"[A-Z][A-Za-z]{1,63}\Z")
_URL = re.compile(
    r"(?:https?://[^?\s]+/|/)?([A-Z][A-Za-z]{1,63})(?:/([A-Za-z0-9\-.]{1,64}))?(?:/_history(?:/[A-Za-z0-9\-.]*)?)?(?:\?(.*))?\Z"
)
_CALLED = re.compile(r"/[A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?\Z")
_LONGEST = 1 + 64 + 1 + 64 + len("/_history/") + 64  # characters of such an end
_AFTER = re.compile(r"[?#]")
_VERSION = re.compile(r'W?/?"?([A-Za-z0-9\-.]{1,64})"?\Z')


@dataclass(frozen=True, slots=True)
class Issue:
    """What is wrong: HTTP status, issue-type (valueset-issue-type.html), FHIRPath of the place, words without any value."""

    status: int
    code: str
    where: str
    text: str
    number: int | None = None  # of the entry, where it is one's alone


@dataclass(slots=True)
class Entry:
    """One resource out of a bundle, or a tombstone. `made`: its sender created it (POST)."""

    number: int
    document: Document
    method: str
    made: bool = False


NewId = Callable[[Document], str]


def entries(bundle: Mapping[str, Any], new_id: NewId, most: int) -> list[Entry | Issue]:
    """Every entry in order, apart from those about the bundle itself; or a single Issue about the bundle as a whole.

    `new_id`: the id of a resource that has neither id nor identifier nor a fullUrl to be called by.
    """
    kind, listed = bundle.get("type"), bundle.get("entry", [])
    if kind not in TYPES:
        return [Issue(422, "value", "Bundle.type", f"this server takes bundles of type {', '.join(TYPES)}")]
    if not isinstance(listed, list):
        return [Issue(400, "structure", "Bundle.entry", "entry is a list")]
    if len(listed) > most:
        return [Issue(413, "too-costly", "Bundle.entry", f"a bundle has at most {most} entries")]
    asked = kind in ("transaction", "batch")
    found = [_entry(number, one, asked, new_id) for number, one in enumerate(listed)]
    numbered = enumerate(found)
    kept = [replace(one, number=number) if isinstance(one, Issue) else one for number, one in numbered if one is not None]
    if kind == "transaction":
        kept += _twice(kept)
    _rewrite([one for one in kept if isinstance(one, Entry)], listed)
    return kept


def _entry(number: int, one: Any, asked: bool, new_id: NewId) -> Entry | Issue | None:
    place = f"Bundle.entry[{number}]"
    if not isinstance(one, Mapping):
        return Issue(400, "structure", place, "an entry is an object")
    request, resource = one.get("request"), one.get("resource")
    if not isinstance(request, Mapping):
        if asked:
            return Issue(400, "required", f"{place}.request", "an entry of a transaction or batch says what is to be done")
        request = {"method": "PUT"}
    method = request.get("method")
    if method not in METHODS:
        return Issue(
            405, "not-supported", f"{place}.request.method", f"this server takes {', '.join(METHODS)}; it reads by itself"
        )
    if method == "DELETE":
        return _deleted(number, place, one, request)
    if not isinstance(resource, dict) or not _KIND.match(str(resource.get("resourceType", ""))):
        return Issue(400, "required", f"{place}.resource", "a resource with its resourceType is needed")
    if resource["resourceType"] in NARRATIVE and not asked:
        return None
    return _told(number, place, one, request, resource, new_id)


def _told(
    number: int, place: str, one: Mapping[str, Any], request: Mapping[str, Any], resource: Document, new_id: NewId
) -> Entry | Issue:
    kind = resource["resourceType"]
    named, wanted, query = _asked_for(request.get("url", kind))
    if named != kind:
        return Issue(400, "invalid", f"{place}.request.url", f"the url does not name a {kind}, which the resource is")
    if resource.get("id") is not None and not id_of(resource):
        return Issue(400, "value", f"{place}.resource.id", BAD_ID)
    if request["method"] == "PUT" and wanted and resource.setdefault("id", wanted) != wanted:
        return Issue(400, "invalid", f"{place}.request.url", "the id in the url is not the resource's")
    if query:
        problem = identify(resource, query)
        if problem:
            return Issue(412, "not-supported", f"{place}.request.url", problem)
    if request.get("ifNoneExist"):
        problem = identify(resource, str(request["ifNoneExist"]))
        if problem:
            return Issue(412, "not-supported", f"{place}.request.ifNoneExist", problem)
        partial(resource)
    name(resource, str(one.get("fullUrl") or ""), new_id)
    return Entry(number, resource, request["method"], made=request["method"] == "POST")


def _deleted(number: int, place: str, one: Mapping[str, Any], request: Mapping[str, Any]) -> Entry | Issue:
    kind, resource_id, query = _asked_for(request.get("url"))
    if not kind or bool(resource_id) == bool(query):
        return Issue(
            412, "not-supported", f"{place}.request.url", "what is deleted is named by type and id, or type and identifier"
        )
    response = one.get("response")
    told = response if isinstance(response, Mapping) else {}
    version = _VERSION.match(str(told.get("etag", "")))
    made = tombstone(kind, resource_id, version[1] if version else "", str(told.get("lastModified", "")))
    if query:
        del made["id"]
        problem = identify(made, query)
        if problem:
            return Issue(412, "not-supported", f"{place}.request.url", problem)
    return Entry(number, made, "DELETE")


def _asked_for(url: Any) -> tuple[str, str, str]:
    """Type, id and condition of a request's url, absolute or not; empty texts where it is none."""
    found = _URL.match(url) if isinstance(url, str) else None
    return (found[1], found[2] or "", found[3] or "") if found else ("", "", "")


def name(resource: Document, full_url: str, new_id: NewId) -> None:
    """A resource without id and identifier gets an id: its urn:uuid's, else one made of what it says."""
    if not id_of(resource) and not resource.get("identifier"):
        local = full_url.removeprefix("urn:uuid:") if full_url.startswith("urn:uuid:") else ""
        resource["id"] = local if is_id(local) else new_id(resource)


def identify(resource: Document, query: str) -> str:
    """A condition `identifier=system|value` becomes a number of the resource; what is wrong with any other condition."""
    pairs = parse_qsl(query.partition("?")[2] or query)
    if len(pairs) != 1 or pairs[0][0] != "identifier" or not pairs[0][1].rpartition("|")[2]:
        return "of conditions this server takes identifier=system|value alone"
    one = _token(pairs[0][1])
    known = resource.get("identifier")
    if not isinstance(known, list | None) or any(
        number.get("value") == one["value"] and number.get("system") == one.get("system") for number in objects(known)
    ):
        return ""
    resource["identifier"] = [*(known or []), one]
    return ""


def partial(resource: Document) -> None:
    """What is only to be made where it is not there yet deletes nothing of what is (meta.tag SUBSETTED)."""
    meta = resource.get("meta")
    tags = objects(meta.get("tag")) if isinstance(meta, dict) else []
    subsetted = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
    resource["meta"] = {**(meta if isinstance(meta, dict) else {}), "tag": [*tags, subsetted]}


def _token(text: str) -> Document:
    system, _, value = text.rpartition("|")
    return {"system": system, "value": value} if system else {"value": value}


def _twice(found: list[Entry | Issue]) -> list[Issue]:
    """A transaction names each thing once (http.html#trules)."""
    seen: set[tuple[str, str]] = set()
    issues = []
    for one in found:
        if isinstance(one, Entry) and (number := id_of(one.document)):
            key = (one.document["resourceType"], number)
            if key in seen:
                issues.append(Issue(400, "duplicate", f"Bundle.entry[{one.number}]", "a transaction names each resource once"))
            seen.add(key)
    return issues


# -- references ---------------------------------------------------------------------------------------------------


def _rewrite(found: list[Entry], listed: list[Any]) -> None:
    known: dict[str, Document] = {}
    bases: set[str] = set()
    for entry in found:
        url = listed[entry.number].get("fullUrl")
        if isinstance(url, str) and url:
            known[url] = _named(entry.document)
            base = url.removesuffix(f"/{entry.document['resourceType']}/{entry.document.get('id', '')}")
            if base != url and base.startswith("http"):
                bases.add(base + "/")
    for entry in found:
        for reference in references(entry.document):
            relate(reference, known, bases)


def _named(document: Document) -> Document:
    """How others refer to it."""
    kind, number = document["resourceType"], id_of(document)
    if number:
        return {"reference": f"{kind}/{number}"}
    return {"type": kind, "identifier": next(iter(objects(document.get("identifier"))), {})}


def references(document: Document) -> Iterator[Document]:
    """Every Reference in it that says `reference`, however deep."""
    stack: list[Any] = [document]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if isinstance(node.get("reference"), str):
                yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def relate(reference: Document, known: Mapping[str, Document], bases: Container[str]) -> None:
    """In place: `known` are the bundle's own things by fullUrl, `bases` the addresses that stand for their server."""
    text = reference["reference"]
    if text in known:
        del reference["reference"]
        reference.update({name: value for name, value in known[text].items() if name not in reference})
        return
    text = reference["reference"] = _local(text, bases)
    kind, mark, query = text.partition("?")
    if mark and _KIND.match(kind):
        pairs = parse_qsl(query)
        if len(pairs) == 1 and pairs[0][0] == "identifier":
            del reference["reference"]
            reference.update({"type": kind, "identifier": _token(pairs[0][1])})


def _local(text: str, bases: Container[str]) -> str:
    """Without the address before `/Kind/id` or `/Kind?`, if that is one of `bases`. It is looked up: a bundle may have as many
    addresses as entries."""
    after = _AFTER.search(text)
    end = after.start() if after else len(text)
    called = _CALLED.search(text, max(0, end - _LONGEST), end)
    start = (called.start() if called else text.rfind("/", 0, end)) + 1
    return text[start:] if start < len(text) and text[:start] in bases else text
