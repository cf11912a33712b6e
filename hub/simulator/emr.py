"""A simulated EMR: a FHIR R4 server for Patient, in memory. Search, read, conditional create, PUT with If-Match, history ids.

Versions are UUIDs and ETags are weak, as some servers have them: a client that takes a version for a number fails here.
"""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub.codecs import fhir
from hub.domain.errors import Unmappable, Unreadable
from hub.domain.ids import new_id
from hub.simulator.http_peer import Request, response
from hub.simulator.rest import RestPeer

_TYPE = {"Content-Type": "application/fhir+json; charset=utf-8"}


class EmrPeer(RestPeer):
    """`patients`: id -> document with meta.versionId. `on_change` is called with each document after a change."""

    path = "/fhir"

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        on_change: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        super().__init__(host=host, port=port, tls=tls)
        self.patients: dict[str, dict[str, Any]] = {}
        self.on_change = on_change

    # what a scenario does in the EMR itself

    def put(self, document: dict[str, Any]) -> str:
        """A clinician stores this document (a new id where it has none); returns its id."""
        with self.lock:
            peer_id = str(document.get("id") or new_id())
            self._store(peer_id, document)
        return peer_id

    def by_identifier(self, system: str, value: str) -> list[dict[str, Any]]:
        """All patients that carry this identifier."""
        with self.lock:
            return [one for one in self.patients.values() if _carries(one, system, value)]

    # FHIR

    def writes(self, request: Request) -> bool:
        return request.method not in ("GET", "HEAD") and "/_search" not in request.target

    def answer(self, request: Request) -> bytes:
        if self.status is not None:
            return outcome(self.status, "processing", "as asked")
        path = urlsplit(request.target).path.removeprefix(self.path).strip("/").split("/")
        with self.lock:
            if path == ["metadata"]:
                capability = {
                    "resourceType": "CapabilityStatement",
                    "status": "active",
                    "fhirVersion": "4.0.1",
                    "kind": "instance",
                }
                return response(200, fhir.dump(capability), _TYPE)
            if path[0] != "Patient" or len(path) > 2:
                return outcome(404, "not-found", "unknown resource")
            if path[1:] == ["_search"] or (request.method == "GET" and len(path) == 1):
                return self._search(request)
            if request.method == "POST" and len(path) == 1:
                return self._create(request)
            return self._one(request, unquote(path[1]) if len(path) > 1 else "")

    def _search(self, request: Request) -> bytes:
        text = request.body.decode() if request.method == "POST" else urlsplit(request.target).query
        found = self._matching(parse_qs(text).get("identifier", [""])[0])
        entries = [{"resource": one, "search": {"mode": "match"}} for one in found]
        return response(
            200, fhir.dump({"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries}), _TYPE
        )

    def _matching(self, token: str) -> list[dict[str, Any]]:
        system, _, value = token.replace("\\|", "\0").partition("|")
        plain = [
            part.replace("\0", "|").replace("\\,", ",").replace("\\$", "$").replace("\\\\", "\\") for part in (system, value)
        ]
        return [one for one in self.patients.values() if _carries(one, *plain)]

    def _create(self, request: Request) -> bytes:
        condition = request.headers.get("if-none-exist")
        found = self._matching(parse_qs(condition).get("identifier", [""])[0]) if condition else []
        if len(found) > 1:
            return outcome(412, "multiple-matches", "several patients match")
        if found:
            return self._shown(200, str(found[0]["id"]))
        return self._changed(request, new_id(), 201)

    def _one(self, request: Request, peer_id: str) -> bytes:
        known = self.patients.get(peer_id)
        if request.method == "GET":
            return self._shown(200, peer_id) if known else outcome(404, "not-found", "no such patient")
        if request.method != "PUT":
            return outcome(405, "not-supported", "only GET and PUT")
        if "if-match" not in request.headers:
            return outcome(428, "business-rule", "If-Match is required")
        if known is None or request.headers["if-match"] != _etag(known):
            return outcome(412, "conflict", "another version is current")
        return self._changed(request, peer_id, 200)

    def _changed(self, request: Request, peer_id: str, status: int) -> bytes:
        try:
            document = fhir.parse(request.body, resource_type="Patient")
            fhir.check(document)
        except (Unreadable, Unmappable) as error:
            return outcome(400, "structure", error.reason)
        if status == 200 and document.get("id") != peer_id:
            return outcome(400, "invalid", "the id in the body is not the one in the URL")
        self._store(peer_id, document)
        self.received.append((request.method, peer_id))
        return self._shown(status, peer_id)

    def _store(self, peer_id: str, document: dict[str, Any]) -> None:
        meta = {**document.get("meta", {}), "versionId": str(uuid.uuid4())}
        self.patients[peer_id] = {**document, "id": peer_id, "meta": meta}
        if self.on_change is not None:
            self.on_change(self.patients[peer_id])

    def _shown(self, status: int, peer_id: str) -> bytes:
        document = self.patients[peer_id]
        version = document["meta"]["versionId"]
        headers = {"ETag": _etag(document), "Location": f"{self.url}/Patient/{peer_id}/_history/{version}"}
        return response(status, fhir.dump(document), _TYPE | headers)

    # misbehaving

    def refusal(self, request: Any) -> bytes:
        """422 with diagnostics that repeat what was sent, as real servers do."""
        return outcome(422, "business-rule", f"no: {request.body.decode('utf-8', 'replace')}")

    def busy(self, _request: Any) -> bytes:
        return outcome(503, "throttled", "later", {"Retry-After": "7"})

    def wrong(self, _request: Any) -> bytes:
        """The answer to somebody else's request."""
        other = {"resourceType": "Patient", "id": "somebody-else", "meta": {"versionId": "1"}}
        return response(200, fhir.dump(other), _TYPE | {"ETag": 'W/"1"'})


def outcome(status: int, code: str, diagnostics: str, headers: dict[str, str] | None = None) -> bytes:
    """An OperationOutcome as an answer."""
    issue = {"severity": "error", "code": code, "diagnostics": diagnostics}
    return response(status, fhir.dump({"resourceType": "OperationOutcome", "issue": [issue]}), _TYPE | (headers or {}))


def _carries(document: dict[str, Any], system: str, value: str) -> bool:
    return any(one.get("system") == system and one.get("value") == value for one in fhir.objects(document.get("identifier")))


def _etag(document: dict[str, Any]) -> str:
    return f'W/"{document["meta"]["versionId"]}"'
