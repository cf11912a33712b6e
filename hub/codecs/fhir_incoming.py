"""FHIR JSON from outside -> documents: strict and bounded, because anybody may have written it.

What R4's JSON forbids or leaves open is refused here, with the place: another charset than UTF-8, a name twice in one object
(json.html: properties are unique), NaN, numbers longer than any measurement, nesting deeper than any resource. Numbers keep their
literal as Decimal (datatypes.html#decimal). Nothing is changed, so that a document written again says what it said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hub.codecs.fhir import Document, dump, is_id
from hub.codecs.korean import looks_like_rrn
from hub.domain.errors import Unreadable, Where

DEPTH = 64  # R4's own examples reach 16; a Questionnaire of nested groups is the deepest thing there is
NUMBER = 40  # characters: 18 digits are what R4 asks servers to keep
NODES, VALUES = 500_000, 1_500_000  # a bundle of 16 MB has 400,000 objects and lists; a hostile one five millions
_SURROGATE = re.compile(rb"\\u[dD][89abAB]")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}\Z")
DELETED = {"system": "urn:hospital-hub:tag", "code": "deleted"}  # of a resource that is no longer there (`tombstone`)


def read(body: bytes) -> Document:
    """One resource. Raises Unreadable: what is wrong and at which byte or element, never a value."""
    if body.count(b"{") + body.count(b"[") > NODES or body.count(b",") > VALUES:
        raise Unreadable("more elements than any bundle", code="too_large")  # counted first: a parser would fill the memory
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable("FHIR JSON is UTF-8, this is not", where=Where(offset=error.start), code="not_utf8") from None
    try:
        found = json.loads(
            text, parse_float=_decimal, parse_int=_integer, parse_constant=_no_constant, object_pairs_hook=_unique
        )  # fmt: skip
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg}", where=Where(offset=error.pos), code="not_json") from None
    except ValueError as error:
        raise Unreadable(f"not FHIR JSON: {error}", code="not_json") from None
    except RecursionError:
        raise Unreadable("nested deeper than any resource", code="too_deep") from None
    if not isinstance(found, dict) or not isinstance(found.get("resourceType"), str) or not _TYPE.match(found["resourceType"]):
        raise Unreadable("not a FHIR resource: resourceType is missing", code="not_fhir")
    _bounded(found)
    if _SURROGATE.search(body):
        _whole_characters(found)
    return found


def type_of(document: Mapping[str, Any]) -> str:
    """What the message is: the resource's type; `Encounter.deleted` where it is no longer there."""
    kind = str(document.get("resourceType", ""))
    return f"{kind}.deleted" if is_deleted(document) else kind


def is_deleted(document: Mapping[str, Any]) -> bool:
    """Whether this stands for a resource that its server has deleted."""
    meta = document.get("meta")
    tags = meta.get("tag") if isinstance(meta, Mapping) else None
    return isinstance(tags, list) and DELETED in tags


def tombstone(kind: str, resource_id: str, version: str = "", at: str = "") -> Document:
    """What is left of a deleted resource, as a message: type, id, and where known the version and time of its deletion."""
    meta = {"versionId": version, "lastUpdated": at}
    return {"resourceType": kind, "id": resource_id, "meta": {k: v for k, v in meta.items() if v} | {"tag": [DELETED]}}


def id_of(document: Mapping[str, Any]) -> str:
    """The logical id; "" where there is none that FHIR allows, or a resident registration number, which nothing is called by."""
    found = document.get("id")
    return found if isinstance(found, str) and is_id(found) and not looks_like_rrn(found) else ""


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _decimal(text: str) -> Decimal:
    if len(text) > NUMBER:
        raise ValueError("a number that is too long")
    number = Decimal(text)
    if abs(number.adjusted()) > 400 and number:
        raise ValueError("a number that is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > NUMBER:
        raise ValueError("a number that is too long")
    return int(text)


def _no_constant(_name: str) -> None:
    raise ValueError("NaN and Infinity are no numbers")


def _bounded(document: Document) -> None:
    """Level by level, so that no depth can hurt."""
    level: list[Any] = [document]
    for _ in range(DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise Unreadable("nested deeper than any resource", code="too_deep")


def _whole_characters(document: Document) -> None:
    """Half a surrogate pair is no character: JSON can say it, UTF-8 and databases cannot."""
    try:
        json.dumps(document, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise Unreadable("a text holds half a surrogate pair", code="not_utf8") from None


def body_of(document: Mapping[str, Any]) -> bytes:
    """The document as a message's body."""
    return dump(document)


def same_of(document: Mapping[str, Any]) -> bytes:
    """What makes two messages say the same: the content, whatever the order of names, the narrative and the server's stamps."""
    content = {name: value for name, value in document.items() if name not in ("meta", "text")}
    if is_deleted(document):
        content["deleted"] = True
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode()
