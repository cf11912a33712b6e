"""One SAP Gateway service: CSRF token, paging, errors. No knowledge of business partners.

SAP Gateway wants an `x-csrf-token` on every change, which belongs to the session cookie; it is fetched once and again
when the service says `x-csrf-token: Required` with a 403. Texts of the service go to `HubError.answer`, codes to its text.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from hub.codecs.sap import odata
from hub.codecs.sap.odata import Entity
from hub.domain.errors import HubError, Misconfigured, Unreadable
from hub.transport.http import Answer, HttpClient, HttpSettings, failure

MAX_PAGES = 20  # of a search by number: more than a handful of hits is an error in any case


class ODataClient:
    """Thread-safe. Every call ends as hub.domain.ports.Target.send does: an answer or one of four errors."""

    def __init__(self, settings: HttpSettings, *, peer: str, client: str, merge_verb: str) -> None:
        """`client`: SAP's client (Mandant), "" for the service's own; `merge_verb`: PATCH, or MERGE tunnelled through POST."""
        self.peer = peer
        self._http = HttpClient(settings, peer=peer)
        self._headers = {"Accept": "application/json"} | ({"sap-client": client} if client else {})
        self._merge_verb = merge_verb
        self._token = ""
        self._lock = threading.Lock()

    def close(self) -> None:
        self._http.close()

    def entity(self, path: str, expand: str) -> tuple[Entity, bytes] | None:
        """One entity with what hangs on it, and the bytes it came in; None where there is no such thing."""
        answer = self._http.read("GET", path, headers=self._headers, params={"$format": "json", "$expand": expand})
        if answer.status == 404:
            return None
        try:
            return odata.parse_entity(self._ok(answer).body), answer.body
        except Unreadable as error:
            raise self._odd(answer, error) from None

    def search(self, entity_set: str, where: str) -> list[Entity]:
        """All entities of a set that match a `$filter`. OData V2 has no search by body: the filter stands in the URL."""
        found: list[Entity] = []
        params = {"$format": "json", "$filter": where}
        for _ in range(MAX_PAGES):
            page = self.page(entity_set, params)
            found += page.entities
            if page.skiptoken is None:
                return found
            params = params | {"$skiptoken": page.skiptoken}
        raise Misconfigured(f"{self.peer} gives ever more pages for one number: check identification_type", code="endless")

    def page(self, entity_set: str, params: Mapping[str, str]) -> odata.Page:
        """One page of a set, as the system options of `params` ask for it ($filter, $orderby, $top …)."""
        answer = self._ok(self._http.read("GET", f"/{entity_set}", headers=self._headers, params=params))
        try:
            return odata.parse_page(answer.body)
        except Unreadable as error:
            raise self._odd(answer, error) from None

    def count(self, entity_set: str, where: str) -> int:
        """How many entities match a `$filter`; "" for all. Raises as the others do."""
        params = {"$filter": where} if where else {}
        headers = self._headers | {"Accept": "text/plain"}
        answer = self._ok(self._http.read("GET", f"/{entity_set}/$count", headers=headers, params=params))
        text = answer.body.removeprefix(b"\xef\xbb\xbf").strip()
        if not (text.isdigit() and len(text) < 16):
            raise self._odd(answer, Unreadable("not a number of entities", code="not_odata"))
        return int(text)

    def metadata(self) -> bytes:
        """The service's description of itself ($metadata), XML as it came."""
        return self._ok(self._http.read("GET", "/$metadata", headers=self._headers | {"Accept": "application/xml"})).body

    def token(self, *, other_than: str = "") -> str:
        """The CSRF token of our session; fetched anew if it is still `other_than`, the one that was refused."""
        with self._lock:
            if not self._token or self._token == other_than:
                answer = self._ok(self._http.read("GET", "/", headers=self._headers | {"X-CSRF-Token": "Fetch"}))
                self._token = answer.headers.get("x-csrf-token", "")
                if not self._token:
                    raise Misconfigured(
                        f"{self.peer} gives no x-csrf-token: url must be the service's root", code="no_csrf_token"
                    )
            return self._token

    def change(self, path: str, fields: Mapping[str, Any], etag: str | None) -> Answer:
        """Changes the fields named (PATCH or MERGE). Any status; 403 for the token is dealt with."""
        verb = {"X-HTTP-Method": "MERGE"} if self._merge_verb == "MERGE" else {}
        return self._write("POST" if verb else "PATCH", path, odata.dump(fields), verb, etag)

    def create(self, path: str, fields: Mapping[str, Any]) -> Answer:
        return self._write("POST", path, odata.dump(fields), {}, None)

    def delete(self, path: str, etag: str | None) -> Answer:
        return self._write("DELETE", path, b"", {}, etag)

    def _write(self, method: str, path: str, body: bytes, more: Mapping[str, str], etag: str | None) -> Answer:
        headers = self._headers | dict(more) | ({"If-Match": etag} if etag else {})
        if body:
            headers["Content-Type"] = "application/json"
        token = self.token()
        for _ in range(2):
            answer = self._http.write(method, path, headers=headers | {"X-CSRF-Token": token}, body=body)
            if answer.status != 403 or answer.headers.get("x-csrf-token", "").lower() != "required":
                return answer
            token = self.token(other_than=token)
        raise self.error(answer)

    def error(self, answer: Answer, *, writing: bool = True) -> HubError:
        """What an answer without success means."""
        return failure(answer, peer=self.peer, writing=writing, codes=odata.error_code(answer.body))

    def _ok(self, answer: Answer) -> Answer:
        if answer.status != 200:
            raise self.error(answer, writing=False)
        return answer

    def _odd(self, answer: Answer, error: Unreadable) -> HubError:
        odd = Misconfigured(f"{self.peer} answered something else than OData V2 ({error.reason}): check url", code="not_odata")
        odd.answer = answer.body
        return odd
