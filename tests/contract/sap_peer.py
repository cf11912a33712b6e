"""An OData V2 service as it looks to whoever polls it: filters as they are asked, order, `$top`, server-driven pages, `$expand`.

Like a gateway it refuses properties that it does not have, gives what is not expanded as `__deferred`, and names itself by
another host in `__next`. `requests`: the query of each question.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from hub.simulator.http_peer import Request, response
from hub.simulator.rest import RestPeer

Entity = dict[str, Any]
_JSON = {"Content-Type": "application/json;charset=utf-8"}
_TOKEN = re.compile(
    r"\s*(?:(?P<mark>[()])|(?P<word>and|or|eq|ne|gt|ge|lt|le)\b|"
    r"(?P<kind>datetimeoffset|datetime|time)?'(?P<text>(?:[^']|'')*)'|(?P<name>[A-Za-z_]\w*))"
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
}  # fmt: skip


class SapPeer(RestPeer):
    """`sets`: entity set -> entities by key; `properties`: what a set has, where only that may be asked for."""

    path = "/sap/opu/odata/sap/API_TEST"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.keys: dict[str, tuple[str, ...]] = {}
        self.sets: dict[str, dict[tuple[str, ...], Entity]] = {}
        self.page_size = 50
        self.requests: list[dict[str, str]] = []
        self.forgets = frozenset[str]()  # system options that it ignores: $filter, $orderby
        self.metadata = b""
        self.properties: Mapping[str, set[str]] = {}

    def put(self, entity_set: str, key: tuple[str, ...], entity: Entity) -> None:
        """`entity` there from now on, in place of one with its key; `key`: the names of the key properties."""
        with self.lock:
            self.keys[entity_set] = key
            self.sets.setdefault(entity_set, {})[tuple(str(entity[name]) for name in key)] = entity

    def writes(self, request: Request) -> bool:
        return request.method != "GET"

    def answer(self, request: Request) -> bytes:
        parts = urlsplit(request.target)
        path = unquote(parts.path.removeprefix(self.path)).strip("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with self.lock:
            if path == "$metadata":
                return response(200, self.metadata, {"Content-Type": "application/xml"})
            name, _, count = path.partition("/")
            if name not in self.sets:
                return response(404, b'{"error":{"code":"005056A509B11EE1B9A8FEC11C21178E"}}', _JSON)
            self.requests.append(query)
            asked = {one for one in re.findall(r"[A-Za-z_]\w*", query.get("$select", "")) if not one.startswith("to_")}
            if name in self.properties and asked - self.properties[name]:
                return response(400, b'{"error":{"code":"005056A509B11ED19BEB6513D1A11A2B"}}', _JSON)
            found = self._found(name, query)
            return response(200, str(len(found)).encode()) if count else self._page(name, found, query)

    def _found(self, name: str, query: Mapping[str, str]) -> list[Entity]:
        found = list(self.sets[name].values())
        if "$filter" in query and "$filter" not in self.forgets:
            tokens = [match.groupdict() | {"at": match.start()} for match in _TOKEN.finditer(query["$filter"])]
            found = [one for one in found if _Filter(tokens, one).either()]
        if "$orderby" in query and "$orderby" not in self.forgets:
            found.sort(key=lambda one: tuple(str(one[part]) for part in query["$orderby"].split(",")))
        return found

    def _page(self, name: str, found: list[Entity], query: Mapping[str, str]) -> bytes:
        most = min(self.page_size, int(query.get("$top", self.page_size)))
        expand = {one.split("/")[0] for one in query.get("$expand", "").split(",")}
        select = {one for one in query.get("$select", "").split(",") if one}
        shown: Entity = {"results": [self._shown(name, one, expand, select) for one in found[:most]]}
        if len(found) > most and most < int(query.get("$top", most + 1)):
            shown["__next"] = f"http://internal-host:8000{self.path}/{name}?$skiptoken={most}"
        return response(200, orjson.dumps({"d": shown}), _JSON)

    def _shown(self, name: str, entity: Entity, expand: set[str], select: set[str]) -> Entity:
        uri = f"http://internal-host:8000{self.path}/{name}"
        shown: Entity = {"__metadata": {"uri": uri, "etag": 'W/"1"'}}
        for column, value in entity.items():
            if column.startswith("to_") and column not in expand:
                shown[column] = {"__deferred": {"uri": f"{uri}/{column}"}}
            elif not select or column in select:
                shown[column] = {"results": value} if isinstance(value, list) else value
        return shown

    def refusal(self, _request: Any) -> bytes:
        return response(400, b'{"error":{"code":"R11/108","message":{"value":"No"}}}', _JSON)


class _Filter:
    """A `$filter` over one entity, by recursive descent. Dates of entities are compared as their literals are written."""

    def __init__(self, tokens: list[dict[str, Any]], entity: Entity) -> None:
        self.tokens, self.entity, self.at = tokens, entity, 0

    def either(self) -> bool:
        found = self.both()
        while self._takes("word", "or"):
            found = self.both() or found
        return found

    def both(self) -> bool:
        found = self.one()
        while self._takes("word", "and"):
            found = self.one() and found
        return found

    def one(self) -> bool:
        if self._takes("mark", "("):
            found = self.either()
            assert self._takes("mark", ")")
            return found
        name, compare, literal = (self.tokens[self.at + step] for step in range(3))
        self.at += 3
        value = self.entity[name["name"]]
        if value is None:
            return False
        text = literal["text"].replace("''", "'")
        return _COMPARE[compare["word"]](_comparable(value), text.rstrip("Z") if literal["kind"] else text)

    def _takes(self, kind: str, text: str) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at][kind] == text:
            self.at += 1
            return True
        return False


def _comparable(value: Any) -> str:
    found = re.match(r"/Date\((-?\d+)", str(value))
    if not found:
        return str(value)
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(found[1]))
    return at.strftime("%Y-%m-%dT%H:%M:%S")
