"""A simulated EMR: a FHIR R4 server, in memory. Search by page, read, conditional create, PUT with If-Match, history.

Versions are UUIDs and ETags are weak, as some servers have them: a client that takes a version for a number fails here.
"""

from __future__ import annotations

import json
import re
import ssl
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from hub.codecs import fhir, fhir_resource
from hub.domain.errors import Unmappable, Unreadable
from hub.domain.ids import new_id
from hub.simulator.authorization import AuthorizationPeer
from hub.simulator.http_peer import Request, response
from hub.simulator.rest import RestPeer

_TYPE = {"Content-Type": "application/fhir+json; charset=utf-8"}


class EmrPeer(RestPeer):
    """`resources`: kind -> id -> document with meta.versionId; `patients`: those of the kind Patient. `on_change` is called with
    each document after a change. What the server can do is set by attributes, as real servers differ."""

    path = "/fhir"

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        on_change: Callable[[dict[str, Any]], None] | None = None,
        authorization: AuthorizationPeer | None = None,
    ) -> None:
        """`authorization`: who gives out the tokens that are asked for; None: nobody has to show any."""
        super().__init__(host=host, port=port, tls=tls)
        self.resources: dict[str, dict[str, dict[str, Any]]] = {"Patient": {}}
        self.past: dict[str, list[dict[str, Any]]] = {}  # every version of a kind, deletions too, in their order
        self.on_change = on_change
        self.authorization = authorization
        self.sorts = self.searches_by_time = self.keeps_history = True
        self.counts_versions = False  # "1", "2" … instead of UUIDs
        self.offers_everything = False  # Patient/$everything
        self.clock_ahead = 0.0  # seconds
        self.after_page: Callable[[str, int], None] | None = None  # kind and offset of a page that was just made
        self.expired_links = 0  # so many of the links that are followed next are forgotten

    # what a scenario does in the EMR itself

    @property
    def patients(self) -> dict[str, dict[str, Any]]:
        return self.resources["Patient"]

    def put(self, document: dict[str, Any]) -> str:
        """A clinician stores this document (a new id where it has none); returns its id."""
        with self.lock:
            peer_id = str(document.get("id") or new_id())
            self._store(peer_id, {"resourceType": "Patient", **document})
        return peer_id

    def delete(self, kind: str, peer_id: str) -> None:
        with self.lock:
            document = self.resources[kind].pop(peer_id)
            gone = {"resourceType": kind, "id": peer_id, "meta": self._meta(document, {}), "gone": True}
            self.past.setdefault(kind, []).append(gone)

    def by_identifier(self, system: str, value: str, kind: str = "Patient") -> list[dict[str, Any]]:
        """All of a kind that carry this identifier."""
        with self.lock:
            return [one for one in self.resources.get(kind, {}).values() if _carries(one, system, value)]

    # FHIR

    def writes(self, request: Request) -> bool:
        return request.method not in ("GET", "HEAD") and "/_search" not in request.target

    def answer(self, request: Request) -> bytes:
        if self.status is not None:
            return outcome(self.status, "processing", "as asked")
        path = urlsplit(request.target).path.removeprefix(self.path).strip("/").split("/")
        if path == [".well-known", "smart-configuration"] and self.authorization is not None:
            return response(200, json.dumps(self.authorization.configuration()).encode(), {"Content-Type": "application/json"})
        if self.authorization is not None and not self.authorization.knows(request.headers.get("authorization", "")):
            return outcome(401, "login", "no token that is good")
        with self.lock:
            if path == ["metadata"]:
                return response(200, fhir.dump(self._capability()), _TYPE)
            if path[0] == "Patient" and path[2:] == ["$everything"] and self.offers_everything:
                return self._everything(request, path[1])
            if not re.fullmatch("[A-Z][A-Za-z]+", path[0]) or len(path) > 2:
                return outcome(404, "not-found", "unknown resource")
            if path[1:] == ["_history"] and self.keeps_history:
                return self._history(request, path[0])
            if path[1:] == ["_search"] or (request.method == "GET" and len(path) == 1):
                return self._search(request, path[0])
            if request.method == "POST" and len(path) == 1:
                return self._create(request, path[0])
            return self._one(request, path[0], unquote(path[1]) if len(path) > 1 else "")

    def _capability(self) -> dict[str, Any]:
        history = [{"code": "history-type"}] if self.keeps_history else []
        kinds = [{"type": kind, "interaction": [{"code": "search-type"}, *history]} for kind in self.resources]
        operations = [{"name": "everything"}] if self.offers_everything else []
        rest = [{"mode": "server", "resource": kinds, "operation": operations}]
        return {
            "resourceType": "CapabilityStatement", "status": "active", "fhirVersion": "4.0.1", "kind": "instance", "rest": rest,
        }  # fmt: skip

    def _search(self, request: Request, kind: str) -> bytes:
        text = request.body.decode() if request.method == "POST" else urlsplit(request.target).query
        asked = parse_qs(text)
        token, since = asked.get("identifier", [""])[0], asked.get("_lastUpdated", ["ge"])[0].removeprefix("ge")
        found = self._matching(kind, token) if token else list(self.resources.get(kind, {}).values())
        whose = asked.get("patient", [""])[0]
        if whose:
            found = [one for one in found if f'"{whose}"' in json.dumps(one, default=str)]
        if since and self.searches_by_time:
            found = [one for one in found if one["meta"]["lastUpdated"] >= since]
        if asked.get("_sort") == ["_lastUpdated"] and self.sorts:
            found.sort(key=lambda one: one["meta"]["lastUpdated"])
        elif asked.get("_sort") == ["-_lastUpdated"] and self.sorts:
            found.sort(key=lambda one: one["meta"]["lastUpdated"], reverse=True)
        entries = [{"resource": one, "search": {"mode": "match"}} for one in found]
        return self._page(request, kind, asked, "searchset", entries)

    def _everything(self, request: Request, peer_id: str) -> bytes:
        """The patient, and what refers to him."""
        about = [one for found in self.resources.values() for one in found.values() if f'"Patient/{peer_id}"' in json.dumps(one)]
        entries = [{"resource": one} for one in [self.patients[peer_id], *about]]
        return self._page(request, "Patient", parse_qs(urlsplit(request.target).query), "searchset", entries)

    def _history(self, request: Request, kind: str) -> bytes:
        asked = parse_qs(urlsplit(request.target).query)
        since = asked.get("_since", [""])[0]
        entries = []
        for one in reversed(self.past.get(kind, [])):
            if one["meta"]["lastUpdated"] >= since:
                body = {} if "gone" in one else {"resource": one}
                stamp = {"lastModified": one["meta"]["lastUpdated"], "etag": _etag(one)}
                method = "DELETE" if "gone" in one else "PUT"
                entries.append({**body, "request": {"method": method, "url": f"{kind}/{one['id']}"}, "response": stamp})
        return self._page(request, kind, asked, "history", entries)

    def _page(self, request: Request, kind: str, asked: dict[str, list[str]], type_: str, entries: list[dict[str, Any]]) -> bytes:
        """Slices by offset, as many servers do: what changes between two pages shifts the second one."""
        count, offset = int(asked.get("_count", ["1000"])[0]), int(asked.get("_offset", ["0"])[0])
        if offset and self.expired_links:
            self.expired_links -= 1
            return outcome(410, "not-found", "this search is no longer known")
        shown, links = entries[offset : offset + count], []
        if offset + count < len(entries):
            query = urlencode({**{name: values[0] for name, values in asked.items()}, "_offset": offset + count})
            links = [{"relation": "next", "url": f"{self.url}{urlsplit(request.target).path.removeprefix(self.path)}?{query}"}]
        bundle = {"resourceType": "Bundle", "type": type_, "total": len(entries), "link": links, "entry": shown}
        answer = response(200, fhir.dump(bundle), _TYPE | {"Date": self._date()})
        if self.after_page is not None:
            self.after_page(kind, offset)
        return answer

    def _date(self) -> str:
        return formatdate(time.time() + self.clock_ahead, usegmt=True)

    def _matching(self, kind: str, token: str) -> list[dict[str, Any]]:
        system, bar, value = token.replace("\\|", "\0").partition("|")
        plain = [
            part.replace("\0", "|").replace("\\,", ",").replace("\\$", "$").replace("\\\\", "\\") for part in (system, value)
        ]
        known = self.resources.get(kind, {}).values()
        if not bar:
            return [one for one in known if any(i.get("value") == plain[0] for i in fhir.objects(one.get("identifier")))]
        return [one for one in known if _carries(one, *plain)]

    def _create(self, request: Request, kind: str) -> bytes:
        condition = request.headers.get("if-none-exist")
        found = self._matching(kind, parse_qs(condition).get("identifier", [""])[0]) if condition else []
        if len(found) > 1:
            return outcome(412, "multiple-matches", "several match")
        if found:
            return self._shown(200, kind, str(found[0]["id"]))
        return self._changed(request, kind, new_id(), 201)

    def _one(self, request: Request, kind: str, peer_id: str) -> bytes:
        known = self.resources.get(kind, {}).get(peer_id)
        if request.method == "GET":
            return self._shown(200, kind, peer_id) if known else outcome(404, "not-found", "there is none")
        if request.method != "PUT":
            return outcome(405, "not-supported", "only GET and PUT")
        if "if-match" not in request.headers:
            return outcome(428, "business-rule", "If-Match is required")
        if known is None or request.headers["if-match"] != _etag(known):
            return outcome(412, "conflict", "another version is current")
        return self._changed(request, kind, peer_id, 200)

    def _changed(self, request: Request, kind: str, peer_id: str, status: int) -> bytes:
        try:
            document = fhir.parse(request.body, resource_type=kind)
            fhir_resource.check(document)
        except (Unreadable, Unmappable) as error:
            return outcome(400, "structure", error.reason)
        if status == 200 and document.get("id") != peer_id:
            return outcome(400, "invalid", "the id in the body is not the one in the URL")
        self._store(peer_id, document)
        self.received.append((request.method, peer_id))
        return self._shown(status, kind, peer_id)

    def _store(self, peer_id: str, document: dict[str, Any]) -> None:
        kind = str(document["resourceType"])
        known = self.resources.setdefault(kind, {})
        meta = self._meta(known.get(peer_id, {}), document.get("meta", {}))
        known[peer_id] = {**document, "id": peer_id, "meta": meta}
        self.past.setdefault(kind, []).append(known[peer_id])
        if self.on_change is not None:
            self.on_change(known[peer_id])

    def _meta(self, before: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
        now = datetime.fromtimestamp(time.time() + self.clock_ahead, UTC).isoformat(timespec="milliseconds")
        number = str(int(before["meta"]["versionId"]) + 1 if before else 1) if self.counts_versions else str(uuid.uuid4())
        return {**said, "versionId": number, "lastUpdated": now.replace("+00:00", "Z")}

    def _shown(self, status: int, kind: str, peer_id: str) -> bytes:
        document = self.resources[kind][peer_id]
        version = document["meta"]["versionId"]
        headers = {"ETag": _etag(document), "Location": f"{self.url}/{kind}/{peer_id}/_history/{version}"}
        return response(status, fhir.dump(document), _TYPE | headers)

    # misbehaving

    def refusal(self, request: Any) -> bytes:
        """422 with diagnostics that repeat what was sent, as real servers do."""
        return outcome(422, "business-rule", f"no: {request.body.decode('utf-8', 'replace')}")

    def busy(self, _request: Any) -> bytes:
        return outcome(503, "throttled", "later", {"Retry-After": "7"})

    def wrong(self, request: Any) -> bytes:
        """The answer to somebody else's request."""
        kind = urlsplit(request.target).path.removeprefix(self.path).strip("/").split("/")[0]
        other = {"resourceType": kind, "id": "somebody-else", "meta": {"versionId": "1"}}
        return response(200, fhir.dump(other), _TYPE | {"ETag": 'W/"1"'})


def outcome(status: int, code: str, diagnostics: str, headers: dict[str, str] | None = None) -> bytes:
    """An OperationOutcome as an answer."""
    issue = {"severity": "error", "code": code, "diagnostics": diagnostics}
    return response(status, fhir.dump({"resourceType": "OperationOutcome", "issue": [issue]}), _TYPE | (headers or {}))


def _carries(document: dict[str, Any], system: str, value: str) -> bool:
    return any(one.get("system") == system and one.get("value") == value for one in fhir.objects(document.get("identifier")))


def _etag(document: dict[str, Any]) -> str:
    return f'W/"{document["meta"]["versionId"]}"'
