"""A simulated SAP: OData V2 as its Gateway speaks it. CSRF token bound to a session, If-Match, paging, deep insert, `$batch`.

403 `x-csrf-token: Required` without a token; 428 without If-Match, 412 with a stale one; 400 for a duplicate, an unknown
property or a value that is too long, each with SAP's error body, whose text repeats what was sent.
"""

from __future__ import annotations

import re
import secrets
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from hub.codecs.sap import odata_batch as batch
from hub.domain.errors import Unreadable
from hub.simulator.erp_data import KEYS, ONE, Entity, Key, SapData, SapError
from hub.simulator.http_peer import Request, response
from hub.simulator.rest import RestPeer

_JSON = {"Content-Type": "application/json;charset=utf-8"}
_PATH = re.compile(r"/(\w+)(?:\((.*)\))?(?:/(\w+))?\Z", re.DOTALL)
_LITERAL = re.compile(r"(?:(\w+)(?:=| eq ))?'((?:[^']|'')*)'", re.DOTALL)


class Reply(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    headers: dict[str, str]


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
        self.change_set_answers: list[tuple[int, dict[str, str]]] = []  # status and headers: change sets refused with these
        self.half_batches = 0  # so many batches with changes are done, and only half of their answer is sent
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
        return request.method not in ("GET", "HEAD") and not (request.target.endswith("/$batch") and _only_asks(request.body))

    def answer(self, request: Request) -> bytes:
        if self.status is not None:
            return response(*sap_error(SapError(self.status, "ASKED/000", "as asked")))
        with self.lock:
            if request.method not in ("GET", "HEAD") and not self._token_holds(request):
                return response(403, b"CSRF token validation failed", {"x-csrf-token": "Required"})
            if urlsplit(request.target).path == f"{self.path}/$batch":
                return response(*self._batch(request))
            target = request.target.removeprefix(self.path)
            return response(*self._one(batch.Request(request.method, target, request.headers, request.body)))

    def _one(self, request: batch.Request) -> Reply:
        parts = urlsplit(request.target)
        path = unquote(parts.path)
        try:
            if request.method in ("GET", "HEAD"):
                return self._read(request, path, parse_qs(parts.query))
            return self._write(request, path)
        except SapError as error:
            return sap_error(error)

    # batches

    def _batch(self, request: Request) -> Reply:
        """Each change set is done whole or not at all, and fails alone."""
        try:
            items = batch.parse_requests(request.headers.get("content-type", ""), request.body)
        except Unreadable as error:
            return sap_error(SapError(400, "005056A509B11EE1B9A8FEC11C23578E", str(error)))
        boundary = secrets.token_hex(12)
        answers = [self._inside(item) if isinstance(item, batch.Request) else self._change_set(item) for item in items]
        body = batch.dump_answers(answers, boundary)
        if self.half_batches and not _only_asks(request.body):
            self.half_batches -= 1
            body = body[: len(body) // 2]
        return Reply(202, body, {"Content-Type": batch.content_type(boundary)})

    def _inside(self, request: batch.Request) -> batch.Answer:
        names = {name.lower(): value for name, value in request.headers.items()}
        reply = self._one(batch.Request(request.method, f"/{request.target.lstrip('/')}", names, request.body))
        return batch.Answer(reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.body, request.content_id)

    def _change_set(self, requests: list[batch.Request]) -> batch.Answer | list[batch.Answer]:
        if self.change_set_answers:
            status, headers = self.change_set_answers.pop(0)
            error = sap_error(SapError(status, "ASKED/000", "as asked"))
            return batch.Answer(status, error.headers | headers, error.body)
        received = len(self.received)
        self.data.begin()
        answers = []
        for request in requests:
            answer = self._inside(request)
            if answer.status >= 400:
                self.data.roll_back()
                del self.received[received:]
                return answer
            answers.append(answer)
        return answers

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

    def _read(self, request: batch.Request, path: str, query: dict[str, list[str]]) -> Reply:
        headers = _JSON | (self._session() if request.headers.get("x-csrf-token", "").lower() == "fetch" else {})
        if path in ("", "/"):
            return Reply(200, orjson.dumps({"d": {"EntitySets": sorted(KEYS)}}), headers)
        entity_set, key, navigation = self._resolve(path)
        paths = [one.split("/") for one in query.get("$expand", [""])[0].split(",") if one]
        if key is None:
            return Reply(200, self._page(entity_set, query, paths), headers)
        entity = self._known(entity_set, key)
        if navigation:
            child_set = self.data.child_set(entity_set, navigation)
            shown: Any = {"results": [self._shown(child_set, one, []) for one in self.data.below(entity_set, entity, navigation)]}
        else:
            shown = self._shown(entity_set, entity, paths)
            headers = headers | {"ETag": entity["__etag"]}
        return Reply(200, orjson.dumps({"d": shown}), headers)

    def _page(self, entity_set: str, query: dict[str, list[str]], paths: list[list[str]]) -> bytes:
        wanted = _wanted(query.get("$filter", [""])[0])
        found = [
            one for one in self.data.tables[entity_set].values() if all(one.get(name) in some for name, some in wanted.items())
        ]
        start = int(query.get("$skiptoken", ["0"])[0])
        here = found[start : start + self.page_size]
        shown: dict[str, Any] = {"results": [self._shown(entity_set, one, paths) for one in here]}
        if start + self.page_size < len(found):
            shown["__next"] = f"http://internal-host:8000{self.path}/{entity_set}?$skiptoken={start + self.page_size}"
        return orjson.dumps({"d": shown})

    def _shown(self, entity_set: str, entity: Entity, paths: list[list[str]]) -> Entity:
        key = ",".join(f"{name}='{entity[name]}'" for name in KEYS[entity_set])
        uri = f"http://internal-host:8000{self.path}/{entity_set}({key})"
        shown = {name: value for name, value in entity.items() if name != "__etag"}
        shown["__metadata"] = {"id": uri, "uri": uri, "type": f"API_BUSINESS_PARTNER.{entity_set}Type", "etag": entity["__etag"]}
        if entity_set == "A_BusinessPartner":
            empty: Entity = dict.fromkeys(("FirstName", "SearchTerm2", "Customer", "CorrespondenceLanguage"), "")
            empty |= dict.fromkeys(("BirthDate", "BusinessPartnerDeathDate"))
            flags = ("IsMale", "IsFemale", "IsSexUnknown", "BusinessPartnerIsBlocked", "IsMarkedForArchiving")
            shown = empty | dict.fromkeys(flags, False) | shown
        shown = {name: value for name, value in shown.items() if name not in self.data.gone}
        for navigation in dict.fromkeys(path[0] for path in paths):
            child_set = self.data.child_set(entity_set, navigation)
            rest = [path[1:] for path in paths if path[0] == navigation and len(path) > 1]
            below = self.data.below(entity_set, entity, navigation)
            children = [self._shown(child_set, one, rest) for one in below]
            shown[navigation] = {"results": children} if navigation not in ONE else children[0] if children else None
        return shown

    # writing

    def _write(self, request: batch.Request, path: str) -> Reply:
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
        return Reply(204, b"", {"ETag": entity["__etag"]} if method != "DELETE" else {})

    def _create(self, request: batch.Request, entity_set: str, key: Key | None, navigation: str) -> Reply:
        if key is None:
            entity = self.data.create(entity_set, _body(request))
        else:
            parent = self._known(entity_set, key)
            entity = self.data.create_below(entity_set, parent, navigation, _body(request))
            entity_set = self.data.child_set(entity_set, navigation)
        self._changed("POST", entity_set, tuple(str(entity[name]) for name in KEYS[entity_set]), entity)
        return Reply(201, orjson.dumps({"d": self._shown(entity_set, entity, [])}), _JSON | {"ETag": entity["__etag"]})

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
        return response(*sap_error(SapError(400, "R11/108", f"No: {request.body.decode('utf-8', 'replace')}")))

    def busy(self, _request: Any) -> bytes:
        return response(503, b"", {"Retry-After": "7"})


def sap_error(error: SapError) -> Reply:
    """SAP Gateway's error body."""
    body = {"error": {"code": error.code, "message": {"lang": "en", "value": error.text}, "innererror": {"transactionid": "0"}}}
    return Reply(error.status, orjson.dumps(body), _JSON)


def _only_asks(body: bytes) -> bool:
    """Whether a batch has no change set."""
    return b"multipart/mixed; boundary=" not in body


def _wanted(text: str) -> dict[str, set[str]]:
    """`A eq 'x' and (B eq 'y' or B eq 'z')` -> {A: {x}, B: {y, z}}."""
    found: dict[str, set[str]] = {}
    for name, value in _LITERAL.findall(text):
        found.setdefault(name, set()).add(value.replace("''", "'"))
    return found


def _body(request: batch.Request) -> dict[str, Any]:
    try:
        found = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise SapError(400, "005056A509B11ED19BEB6513D1A11A2B", "Malformed body")
    return found
