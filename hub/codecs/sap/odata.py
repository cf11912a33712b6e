"""OData V2 as SAP Gateway speaks it: JSON envelopes, `/Date()/`, keys, filters, errors. Bytes and texts only.

Sources: OData V2 "JSON Format" §4 (primitive types, `/Date(ticks[±offset])/`), "URI Conventions" §2.2 and §4.5 ($filter
literals: a quote inside a text is doubled, then the whole is percent-encoded), SAP Gateway Foundation guide (error body).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs, quote, urlsplit

import orjson

from hub.domain.errors import Unreadable

_MOMENT = re.compile(r"/Date\((-?\d{1,17})([+-]\d{1,4})?\)/\Z", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_CODE = re.compile(r"[A-Za-z0-9_/.\-]{1,64}\Z")
_MISSING = re.compile(
    r"\b[Pp]roperty[ :]*[\"'\u2018\u201c]?(\w{1,128})[\"'\u2019\u201d]? "
    r"(?:is invalid|is not defined|is unknown|does not exist|not found)"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
FIRST_DAY = date(1, 1, 3)  # SAP's initial date is 0000-00-00, which it writes as 0001-01-01 of the Julian calendar

Entity = dict[str, Any]


class Moment(NamedTuple):
    """`ms` since 1970 UTC; `offset` minutes east, None where the text names none (Edm.DateTime has no zone)."""

    ms: int
    offset: int | None


def parse_moment(text: str) -> Moment:
    """`/Date(1700000000000+0540)/`. Raises Unreadable."""
    found = _MOMENT.match(text)
    if not found:
        raise Unreadable("not an OData V2 date", code="not_a_date")
    return Moment(int(found[1]), int(found[2]) if found[2] else None)


def moment_text(ms: int, offset: int | None = None) -> str:
    """The inverse of `parse_moment`."""
    return f"/Date({ms}{'' if offset is None else f'{offset:+05d}'})/"


def to_day(text: str | None) -> str | None:
    """An Edm.DateTime that means a day, as YYYY-MM-DD; None where it is SAP's empty date or no day that exists.

    With an offset (Edm.DateTimeOffset) it is the day at that offset.
    """
    if not text:
        return None
    moment = parse_moment(text)
    try:
        at = _EPOCH + moment.ms * _MS + timedelta(minutes=moment.offset or 0)
    except OverflowError:
        return None
    return at.date().isoformat() if at.date() >= FIRST_DAY else None


def from_day(day: str) -> str | None:
    """A canonical date as Edm.DateTime at midnight; None for YYYY and YYYY-MM, which it cannot say."""
    if not _DAY.match(day):
        return None
    try:
        at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment_text((at - _EPOCH) // _MS)


def literal(text: str) -> str:
    """A text as an OData literal, quotes doubled: nothing in it can end it."""
    return "'" + text.replace("'", "''") + "'"


def key(entity_set: str, **parts: str) -> str:
    """`/A_AddressPhoneNumber(AddressID='1',Person='',OrdinalNumber='1')`, percent-encoded; one part goes without its name."""
    _check_names(entity_set, *parts)
    quoted = {name: quote(literal(value), safe="'") for name, value in parts.items()}
    inner = next(iter(quoted.values())) if len(quoted) == 1 else ",".join(f"{name}={value}" for name, value in quoted.items())
    return f"/{entity_set}({inner})"


def equal(**parts: str) -> str:
    """A `$filter` in which all of `parts` are equal; not percent-encoded yet."""
    _check_names(*parts)
    return " and ".join(f"{name} eq {literal(value)}" for name, value in parts.items())


def _check_names(*names: str) -> None:
    for name in names:
        if not _NAME.match(name):
            raise ValueError("an entity set or property has a name that OData does not allow")


def parse_entity(body: bytes) -> Entity:
    """`{"d": {…}}` -> the entity. Raises Unreadable."""
    found = _envelope(body)
    if not isinstance(found, dict) or isinstance(found.get("results"), list):
        raise Unreadable("not one OData V2 entity", code="not_odata")
    return cast(Entity, found)


class Page(NamedTuple):
    """One page of a set and the `$skiptoken` of the next."""

    entities: list[Entity]
    skiptoken: str | None


def parse_page(body: bytes) -> Page:
    """`{"d": {"results": […], "__next": …}}` or `{"d": […]}` (V1). Raises Unreadable.

    Of `__next` only the token is used: the address to ask stays ours, whatever host a proxy wrote into it.
    """
    found = _envelope(body)
    results = found.get("results") if isinstance(found, dict) else found
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise Unreadable("not a set of OData V2 entities", code="not_odata")
    after = found.get("__next") if isinstance(found, dict) else None
    if not after:
        return Page(results, None)
    try:
        token = parse_qs(urlsplit(str(after)).query).get("$skiptoken")
    except ValueError:
        token = None
    if not token:
        raise Unreadable("a further page without its $skiptoken", code="not_odata")
    return Page(results, token[0])


def _envelope(body: bytes) -> object:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unreadable("not a JSON document", code="not_json") from None
    if not isinstance(found, dict) or "d" not in found:
        raise Unreadable("not an OData V2 answer", code="not_odata")
    return found["d"]


def dump(entity: Mapping[str, Any]) -> bytes:
    """An entity as a request's body: no envelope, UTF-8."""
    return orjson.dumps(entity)


def etag(entity: Mapping[str, Any]) -> str | None:
    """`__metadata.etag`, as it came."""
    metadata = entity.get("__metadata")
    found = metadata.get("etag") if isinstance(metadata, Mapping) else None
    return found if isinstance(found, str) and found else None


def expanded(entity: Mapping[str, Any], name: str) -> list[Entity]:
    """The entities behind an expanded navigation property. Raises Unreadable where it was not expanded."""
    found = entity.get(name)
    if isinstance(found, Mapping) and "__deferred" not in found:
        found = found.get("results", [found])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Unreadable(f"{name} was not expanded", code="not_odata")
    return found


def error_code(body: bytes) -> str:
    """The code of an OData error ("R11/401", "CX_BP/012"), free of patient data; "" where there is none."""
    try:
        error = orjson.loads(body).get("error")
        code = error.get("code")
    except (orjson.JSONDecodeError, AttributeError):
        return ""
    return code if isinstance(code, str) and _CODE.match(code) else ""


def named_property(body: bytes, known: Collection[str]) -> str:
    """The property that an error says the service does not have, where it is one of `known` (ours, so no patient data); else "".

    Only the English text names it: "Property 'DeathDate' is invalid", "Navigation property "to_X" is not defined".
    """
    try:
        message = orjson.loads(body)["error"]["message"]
        text = message["value"] if isinstance(message, dict) else message
        found = _MISSING.search(text[:1000])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
    return found[1] if found and found[1] in known else ""
