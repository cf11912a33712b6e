"""FHIR R4 answers that hold other things: searchset and history Bundles, OperationOutcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.codecs.fhir import Document
from hub.codecs.fhir_types import present

ISSUE_OF = {  # HTTP status -> issue-type (valueset-issue-type.html)
    400: "invalid", 401: "login", 403: "forbidden", 404: "not-found", 405: "not-supported", 406: "not-supported",
    409: "conflict", 410: "deleted", 412: "conflict", 413: "too-long", 415: "not-supported", 422: "processing",
    428: "required", 429: "throttled", 502: "transient", 503: "transient", 504: "timeout",
}  # fmt: skip


@dataclass(slots=True)
class Found:
    """What a search answers: resources that match, resources beside them, and what the caller should know."""

    matches: list[Document]
    included: list[Document] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    total: int | None = None  # where it costs nothing to know


def searchset(base: str, self_url: str, next_url: str | None, found: Found) -> Document:
    """A searchset Bundle (http.html#search): matches, then what came with them, then an outcome where there is one."""
    entries = [_entry(base, one, "match") for one in found.matches]
    entries += [_entry(base, one, "include") for one in found.included]
    if found.warnings:
        outcome = issues([("warning", "not-supported", text) for text in found.warnings])
        entries.append({"resource": outcome, "search": {"mode": "outcome"}})
    links = [{"relation": "self", "url": self_url}]
    if next_url:
        links.append({"relation": "next", "url": next_url})
    bundle = {"resourceType": "Bundle", "type": "searchset", **({} if found.total is None else {"total": found.total})}
    return bundle | present({"link": links, "entry": entries})


def history(base: str, self_url: str, next_url: str | None, versions: Sequence[tuple[Document, bool]]) -> Document:
    """A history Bundle, the newest first; (resource, whether this version removed it)."""
    entries = []
    for one, removed in versions:
        url, number = f"{one['resourceType']}/{one['id']}", one["meta"]["versionId"]
        method, status = ("DELETE", "204") if removed else ("POST", "201") if number == "1" else ("PUT", "200")
        request = {"method": method, "url": url.partition("/")[0] if method == "POST" else url}
        response = {"status": status, "etag": f'W/"{number}"', "lastModified": one["meta"]["lastUpdated"]}
        body = {} if removed else {"resource": one}
        entries.append({"fullUrl": f"{base}/{url}", **body, "request": request, "response": response})
    links = [{"relation": "self", "url": self_url}]
    if next_url:
        links.append({"relation": "next", "url": next_url})
    return present({"resourceType": "Bundle", "type": "history", "link": links, "entry": entries})


def outcome(status: int, text: str, code: str, errors: Sequence[Mapping[str, Any]] = ()) -> Document:
    """An OperationOutcome for an answer that says no. `code` is the hub's own, stable one."""
    kind = ISSUE_OF.get(status, "exception" if status >= 500 else "processing")
    told = [("error", kind, text)] + [("error", "value", f"{one['pointer'][2:]}: {one['detail']}") for one in errors]
    made = issues(told)
    made["issue"][0]["details"] = {"coding": [{"system": "urn:hospital-hub:problem", "code": code}]}
    return made


def issues(told: Sequence[tuple[str, str, str]]) -> Document:
    """An OperationOutcome of (severity, issue-type, text) each."""
    listed = [present({"severity": severity, "code": kind, "diagnostics": text}) for severity, kind, text in told]
    return {"resourceType": "OperationOutcome", "issue": listed}


def _entry(base: str, resource: Document, mode: str) -> Document:
    url = f"{base}/{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": url, "resource": resource, "search": {"mode": mode}}
