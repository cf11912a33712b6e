"""The DICOM JSON model (PS3.18 annex F) as rows of keywords, as header.py makes them of a data set's bytes.

Values that are elsewhere (BulkDataURI) or binary (InlineBinary) are not read: no column of ours is one. What is no value of its
element is left out, as if nothing had been said; what is no data set at all raises Unreadable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from hub.codecs.dicom import uid
from hub.codecs.dicom.columns import LISTS, Columns
from hub.codecs.dicom.elements import name_of
from hub.domain.errors import Unreadable

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
MOST_VALUES = 1000  # of one element
LONGEST = 10240  # characters of a value


def documents(body: bytes) -> list[Mapping[str, Any]]:
    """The data sets of an answer: an array of objects, or one. Raises Unreadable."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"no JSON, from character {error.pos} on", code="not_json") from None
    listed = found if isinstance(found, list) else [found]
    if not all(isinstance(one, dict) for one in listed):
        raise Unreadable("DICOM JSON is an array of objects", code="not_dicom_json")
    return listed


def row(document: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """One data set. Raises Unreadable, which names the element and never its value."""
    made: dict[str, Any] = {}
    for tag, column in columns.items():
        element = document.get(f"{tag:08X}", document.get(f"{tag:08x}"))
        if element is None:
            continue
        if not isinstance(element, Mapping):
            raise Unreadable(f"{name_of(tag)} {column.keyword} is no object", code="not_dicom_json")
        values = list(_values(element, tag, column.keyword))
        if column.items is not None:
            rows = [row(one, column.items) for one in values if isinstance(one, Mapping)]
            made |= {column.keyword: rows} if any(rows) else {}
            continue
        plain = [value for value in (_plain(one, column.vr, tag) for one in values) if value != ""]
        if plain:
            made[column.keyword] = plain if len(plain) > 1 or column.keyword in LISTS else plain[0]
    return made


def _values(element: Mapping[str, Any], tag: int, keyword: str) -> Iterator[Any]:
    values = element.get("Value")
    if values is None:
        return
    if not isinstance(values, list) or len(values) > MOST_VALUES:
        raise Unreadable(f"{name_of(tag)} {keyword} has no list of values, or too long a one", code="not_dicom_json")
    yield from values


def _plain(value: Any, vr: str, tag: int) -> Any:
    """Text, or a whole number (F.2.3): JSON's null is an empty value of several (F.2.5)."""
    if vr == "PN" and isinstance(value, Mapping):
        groups = [value.get(group) for group in GROUPS]
        text = "=".join(group if isinstance(group, str) else "" for group in groups).rstrip("=")
    elif isinstance(value, bool) or value is None or isinstance(value, Mapping | list):
        return ""
    elif vr == "IS" and isinstance(value, int | float):
        return int(value) if value == int(value) else ""
    else:
        text = str(value)
    text = text.strip(" \0")
    if len(text) > LONGEST:
        raise Unreadable(f"{name_of(tag)} has a value of more than {LONGEST} characters", code="not_dicom_json")
    if vr == "UI" and text and not uid.is_uid(text):
        raise Unreadable(f"{name_of(tag)} is no UID", code="not_a_uid")
    if vr == "IS" and text.lstrip("+-").isdecimal() and text.isascii() and len(text) <= 12:
        return int(text)
    return text
