"""A simulated SAP: OData V2 as its Gateway speaks it. CSRF token bound to a session, If-Match, paging, deep insert.

403 `x-csrf-token: Required` without a token; 428 without If-Match, 412 with a stale one; 400 for a duplicate, an unknown
property or a value that is too long, each with SAP's error body, whose text repeats what was sent.
"""

from __future__ import annotations

import re
import secrets
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from hub.simulator.erp_data import KEYS, Entity, Key, SapData, SapError
from hub.simulator.http_peer import Request, response
from hub.simulator.rest import RestPeer

_JSON = {"Content-Type": "application/json;charset=utf-8"}
_PATH = re.compile(r"/(\w+)(?:\((.*)\))?(?:/(\w+))?\Z", re.DOTALL)
_LITERAL = re.compile(r"(?:(\w+)(?:=| eq ))?'((?:[^']|'')*)'", re.DOTALL)


class ErpPeer(RestPeer):
    """`data.tables` is what SAP knows; `received` the (method, entity set, key) of every change. `page_size` of searches."""

    path = "/sap/opu/odata/sap/API_BUSINESS_PARTNER"

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        on_change: Callable[[Entity], None] | None = None,
    ) -> None:
        super().__init__(host=host, port=port, tls=tls)
        self.data = SapData()
        self.page_size = 50
        self.on_change = on_change
        self._sessions: dict[str, str] = {}  # cookie -> token

    def expire_sessions(self) -> None:
        """Every CSRF token handed out so far is refused from now on."""
        with self.lock:
            self._sessions.clear()

    def add_partner(self, identification: str, kind: str = "ZMRN", **body: Any) -> str:
        """A clerk creates a business partner with this identification number; returns its number."""
        with self.lock:
            numbers = {"results": [{"BPIdentificationType": kind, "BPIdentificationNumber": identification}]}
            made = self.data.create(
                "A_BusinessPartner", {"BusinessPartnerCategory": "1", "to_BuPaIdentification": numbers, **body}
            )
            return str(made["BusinessPartner"])

    def partner(self, identification: str) -> Entity | None:
        """The partner with this identification number, its addresses, phones and e-mails expanded; None without one."""
        with self.lock:
            ids = [key[0] for key in self.data.tables["A_BuPaIdentification"] if key[2] == identification]
            if not ids:
                return None
            below = ("to_PhoneNumber", "to_MobilePhoneNumber", "to_EmailAddress")
            paths = [["to_BusinessPartnerAddress", one] for one in below]
            return self._shown("A_BusinessPartner", self.data.tables["A_BusinessPartner"][ids[0],], paths)

    def writes(self, request: Request) -> bool:
        return request.method not in ("GET", "HEAD")

    def answer(self, request: Request) -> bytes:
        if self.status is not None:
            return sap_error(SapError(self.status, "ASKED/000", "as asked"))
        parts = urlsplit(request.target)
        with self.lock:
            try:
                if self.writes(request):
                    if not self._token_holds(request):
                        return response(403, b"CSRF token validation failed", {"x-csrf-token": "Required"})
                    return self._write(request, unquote(parts.path.removeprefix(self.path)))
                return self._read(request, unquote(parts.path.removeprefix(self.path)), parse_qs(parts.query))
            except SapError as error:
                return sap_error(error)

    # sessions

    def _token_holds(self, request: Request) -> bool:
        token = request.headers.get("x-csrf-token", "")
        cookies = dict(one.strip().split("=", 1) for one in request.headers.get("cookie", "").split(";") if "=" in one)
        return bool(token) and self._sessions.get(cookies.get("SAP_SESSIONID", "")) == token

    def _session(self) -> dict[str, str]:
        cookie, token = secrets.token_hex(8), secrets.token_urlsafe(18)
        self._sessions[cookie] = token
        return {"x-csrf-token": token, "Set-Cookie": f"SAP_SESSIONID={cookie}; path=/; HttpOnly"}

    # reading

    def _read(self, request: Request, path: str, query: dict[str, list[str]]) -> bytes:
        headers = _JSON | (self._session() if request.headers.get("x-csrf-token", "").lower() == "fetch" else {})
        if path in ("", "/"):
            return response(200, orjson.dumps({"d": {"EntitySets": sorted(KEYS)}}), headers)
        entity_set, key, navigation = self._resolve(path)
        paths = [one.split("/") for one in query.get("$expand", [""])[0].split(",") if one]
        if key is None:
            return response(200, self._page(entity_set, query), headers)
        entity = self._known(entity_set, key)
        if navigation:
            child_set = self.data.child_set(entity_set, navigation)
            shown: Any = {"results": [self._shown(child_set, one, []) for one in self.data.below(entity_set, entity, navigation)]}
        else:
            shown = self._shown(entity_set, entity, paths)
            headers = headers | {"ETag": entity["__etag"]}
        return response(200, orjson.dumps({"d": shown}), headers)

    def _page(self, entity_set: str, query: dict[str, list[str]]) -> bytes:
        wanted = _literals(query.get("$filter", [""])[0])
        found = [one for one in self.data.tables[entity_set].values() if wanted.items() <= one.items()]
        start = int(query.get("$skiptoken", ["0"])[0])
        shown: dict[str, Any] = {"results": [self._shown(entity_set, one, []) for one in found[start : start + self.page_size]]}
        if start + self.page_size < len(found):
            shown["__next"] = f"http://internal-host:8000{self.path}/{entity_set}?$skiptoken={start + self.page_size}"
        return orjson.dumps({"d": shown})

    def _shown(self, entity_set: str, entity: Entity, paths: list[list[str]]) -> Entity:
        key = ",".join(f"{name}='{entity[name]}'" for name in KEYS[entity_set])
        uri = f"http://internal-host:8000{self.path}/{entity_set}({key})"
        shown = {name: value for name, value in entity.items() if name != "__etag"}
        shown["__metadata"] = {"id": uri, "uri": uri, "type": f"API_BUSINESS_PARTNER.{entity_set}Type", "etag": entity["__etag"]}
        if entity_set == "A_BusinessPartner":
            empty = {"FirstName": "", "BirthDate": None, "BusinessPartnerDeathDate": None, "CorrespondenceLanguage": ""}
            shown = empty | {"IsMale": False, "IsFemale": False, "IsSexUnknown": False} | shown
        for navigation in dict.fromkeys(path[0] for path in paths):
            child_set = self.data.child_set(entity_set, navigation)
            rest = [path[1:] for path in paths if path[0] == navigation and len(path) > 1]
            below = self.data.below(entity_set, entity, navigation)
            shown[navigation] = {"results": [self._shown(child_set, one, rest) for one in below]}
        return shown

    # writing

    def _write(self, request: Request, path: str) -> bytes:
        entity_set, key, navigation = self._resolve(path)
        method = request.headers.get("x-http-method", request.method)
        if method == "POST":
            return self._create(request, entity_set, key, navigation)
        if key is None or navigation:
            raise SapError(405, "005056A509B11EE1B9A8FEC11C21578E", "Method not allowed")
        entity = self._known(entity_set, key)
        if "if-match" not in request.headers:
            raise SapError(428, "005056A509B11EE3AEB5EBD5DD3C9BD9", "Precondition required: If-Match")
        if request.headers["if-match"] not in (entity["__etag"], "*"):
            raise SapError(412, "005056A509B11EE1B9A8FEC11C24178E", "Precondition failed")
        if method == "DELETE":
            self.data.delete(entity_set, entity)
        elif method in ("PATCH", "MERGE"):
            self.data.change(entity_set, entity, _body(request))
        else:
            raise SapError(405, "005056A509B11EE1B9A8FEC11C21578E", "Method not allowed")
        self._changed(method, entity_set, key, entity)
        return response(204, b"", {"ETag": entity["__etag"]} if method != "DELETE" else {})

    def _create(self, request: Request, entity_set: str, key: Key | None, navigation: str) -> bytes:
        if key is None:
            entity = self.data.create(entity_set, _body(request))
        else:
            parent = self._known(entity_set, key)
            entity = self.data.create_below(entity_set, parent, navigation, _body(request))
            entity_set = self.data.child_set(entity_set, navigation)
        self._changed("POST", entity_set, tuple(str(entity[name]) for name in KEYS[entity_set]), entity)
        return response(201, orjson.dumps({"d": self._shown(entity_set, entity, [])}), _JSON | {"ETag": entity["__etag"]})

    def _changed(self, method: str, entity_set: str, key: Key, entity: Entity) -> None:
        self.received.append((method, entity_set, key))
        if self.on_change is not None:
            self.on_change(entity)

    def _resolve(self, path: str) -> tuple[str, Key | None, str]:
        found = _PATH.match(path)
        if not found or found[1] not in KEYS:
            raise SapError(404, "005056A509B11EE1B9A8FEC11C21178E", "Resource not found")
        if found[2] is None:
            return found[1], None, found[3] or ""
        literals = [(name, value.replace("''", "'")) for name, value in _LITERAL.findall(found[2])]
        names = KEYS[found[1]]
        named = {name or names[0]: value for name, value in literals}
        if set(named) != set(names):
            raise SapError(400, "005056A509B11EE1B9A8FEC11C22D78E", "Invalid key predicate")
        return found[1], tuple(named[name] for name in names), found[3] or ""

    def _known(self, entity_set: str, key: Key) -> Entity:
        if key not in self.data.tables[entity_set]:
            raise SapError(404, "005056A509B11EE1B9A8FEA8DE87F78E", f"Resource not found for {entity_set}")
        return self.data.tables[entity_set][key]

    # misbehaving

    def refusal(self, request: Any) -> bytes:
        return sap_error(SapError(400, "R11/108", f"No: {request.body.decode('utf-8', 'replace')}"))

    def busy(self, _request: Any) -> bytes:
        return response(503, b"", {"Retry-After": "7"})


def sap_error(error: SapError) -> bytes:
    """SAP Gateway's error body."""
    body = {"error": {"code": error.code, "message": {"lang": "en", "value": error.text}, "innererror": {"transactionid": "0"}}}
    return response(error.status, orjson.dumps(body), _JSON)


def _literals(text: str) -> dict[str, str]:
    """`A eq 'x' and B eq 'y'` -> {A: x, B: y}."""
    return {name: value.replace("''", "'") for name, value in _LITERAL.findall(text)}


def _body(request: Request) -> dict[str, Any]:
    try:
        found = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise SapError(400, "005056A509B11ED19BEB6513D1A11A2B", "Malformed body")
    return found
