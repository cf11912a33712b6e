"""OData V2: dates before 1970 and with offsets, keys and filters that nothing breaks out of, SAP's odd answers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.adapters.erp.fields import LENGTHS
from hub.codecs.sap import odata
from hub.codecs.sap.odata import Moment
from hub.domain.errors import Unreadable
from hub.simulator.erp_data import FIELDS


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("/Date(0)/", "1970-01-01"),
        ("/Date(-1)/", "1969-12-31"),
        ("/Date(-2208988800000)/", "1900-01-01"),
        ("/Date(318211200000)/", "1980-02-01"),
        ("/Date(253402300799000+0000)/", "9999-12-31"),
        ("/Date(1700000000000+0540)/", "2023-11-15"),  # 22:13 UTC is the next day in Seoul
        ("/Date(1700000000000-0540)/", "2023-11-14"),
        ("/Date(-62135769600000)/", None),  # SAP's 0000-00-00
        ("/Date(99999999999999999)/", None),
        ("", None),
        (None, None),
    ],
)
def test_days(text: str | None, day: str | None) -> None:
    assert odata.to_day(text) == day


@given(st.dates(min_value=date(1, 1, 3)))
def test_a_day_survives(day: date) -> None:
    text = odata.from_day(day.isoformat())
    assert text is not None
    assert odata.to_day(text) == day.isoformat()


@given(st.integers(-(10**16), 10**16), st.none() | st.integers(-840, 840))
def test_a_moment_survives(ms: int, offset: int | None) -> None:
    assert odata.parse_moment(odata.moment_text(ms, offset)) == Moment(ms, offset)


@given(st.integers(-(10**17) + 1, 10**17 - 1), st.integers(-9999, 9999))
def test_any_moment_is_a_day_or_none(ms: int, offset: int) -> None:
    day = odata.to_day(odata.moment_text(ms, offset))
    assert day is None or date.fromisoformat(day) > date(1, 1, 2)


@pytest.mark.parametrize("day", ["1980", "1980-02", "1980-02-30", "19800201", "1980-13-01", "", "١٩٨٠-01-01"])
def test_what_is_no_full_day_is_not_sent(day: str) -> None:
    assert odata.from_day(day) is None


@pytest.mark.parametrize(
    "text", ["/Date()/", "/Date(1)", "Date(1)", "/Date(1+)/", "/Date(1.5)/", "2026-01-01T00:00:00", "/Date(１)/"]
)
def test_what_is_no_date_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        odata.parse_moment(text)


NASTY = st.text(
    alphabet=st.sampled_from(list("'\"()/,=?#&%+\\ ;홍뷁\n\0")) | st.characters(exclude_categories=["Cs"]), max_size=20
)


@given(NASTY, NASTY)
def test_nothing_breaks_out_of_a_key(one: str, other: str) -> None:
    path = odata.key("A_AddressPhoneNumber", AddressID=one, Person="", OrdinalNumber=other)
    assert re.fullmatch(r"/A_AddressPhoneNumber\([A-Za-z0-9=,'%._~\-]*\)", path)
    found = re.fullmatch(
        r"/A_AddressPhoneNumber\(AddressID='((?:[^']|'')*)',Person='',OrdinalNumber='((?:[^']|'')*)'\)", unquote(path), re.DOTALL
    )
    assert found
    assert [part.replace("''", "'") for part in found.groups()] == [one, other]


@given(NASTY)
def test_one_key_goes_without_its_name(value: str) -> None:
    path = unquote(odata.key("A_BusinessPartner", BusinessPartner=value))
    found = re.fullmatch(r"/A_BusinessPartner\('((?:[^']|'')*)'\)", path, re.DOTALL)
    assert found
    assert found[1].replace("''", "'") == value


@given(NASTY, NASTY)
def test_nothing_breaks_out_of_a_filter(one: str, other: str) -> None:
    text = odata.equal(BPIdentificationType=one, BPIdentificationNumber=other)
    found = re.fullmatch(
        r"BPIdentificationType eq '((?:[^']|'')*)' and BPIdentificationNumber eq '((?:[^']|'')*)'", text, re.DOTALL
    )
    assert found
    assert [part.replace("''", "'") for part in found.groups()] == [one, other]


@pytest.mark.parametrize("name", ["a b", "x' or 1 eq 1", "", "1a", "a(b"])
def test_a_name_that_is_none_is_our_bug(name: str) -> None:
    with pytest.raises(ValueError):
        odata.equal(**{name: "x"})
    with pytest.raises(ValueError):
        odata.key(name, A="x")


@pytest.mark.parametrize(
    ("answer", "count", "token"),
    [
        ({"d": {"results": []}}, 0, None),
        ({"d": [{"a": 1}]}, 1, None),
        ({"d": {"results": [{"a": 1}], "__next": "http://inside:8000/s/A?$filter=x%20eq%20'1'&$skiptoken=50"}}, 1, "50"),
        ({"d": {"results": [{}], "__next": "A?%24skiptoken=a%26b"}}, 1, "a&b"),
    ],
)
def test_pages(answer: Any, count: int, token: str | None) -> None:
    page = odata.parse_page(orjson.dumps(answer))
    assert (len(page.entities), page.skiptoken) == (count, token)


NO_TOKEN = b'{"d":{"results":[],"__next":"A?$top=1"}}'


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"value":[]}', b'{"d":7}', b'{"d":{"results":7}}', b'{"d":[1]}', NO_TOKEN, b"<feed/>"]
)
def test_what_is_no_page_is_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        odata.parse_page(body)


def test_an_entity_its_etag_and_what_hangs_on_it() -> None:
    entity = odata.parse_entity(
        b'{"d":{"__metadata":{"etag":"W/\\"\'7\'\\""},"to_A":{"results":[{"x":1}]},"to_B":{"__deferred":{"uri":"u"}}}}'
    )
    assert odata.etag(entity) == "W/\"'7'\""
    assert odata.expanded(entity, "to_A") == [{"x": 1}]
    with pytest.raises(Unreadable):
        odata.expanded(entity, "to_B")
    with pytest.raises(Unreadable):
        odata.parse_entity(b'{"d":{"results":[]}}')


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error":{"code":"R11/401","message":{"lang":"ko","value":"secret"}}}', "R11/401"),
        (b'{"error":{"code":"R11 secret words","message":{}}}', ""),
        (b'{"error":"x"}', ""),
        (b"[]", ""),
        (b"<html>", ""),
    ],
)
def test_only_the_code_of_an_error_is_told(body: bytes, code: str) -> None:
    assert odata.error_code(body) == code


def test_a_day_later_is_a_day_later() -> None:
    first = odata.from_day("1969-12-31")
    second = odata.from_day((date(1969, 12, 31) + timedelta(1)).isoformat())
    assert (first, second) == ("/Date(-86400000)/", "/Date(0)/")


@pytest.mark.corpus
def test_names_and_lengths_are_those_of_the_service(corpus: Path) -> None:
    """Ours and the simulator's, against a $metadata of the real service."""
    tree = ET.parse(corpus / "sap" / "incidents-app" / "API_BUSINESS_PARTNER.edmx")
    known: dict[str, dict[str, int]] = {}
    for entity in (one for one in tree.iter() if one.tag.endswith("}EntityType")):
        properties = (one for one in entity if one.tag.endswith("}Property"))
        known[str(entity.get("Name")).removesuffix("Type")] = {
            str(one.get("Name")): int(one.get("MaxLength") or 0) for one in properties
        }
    for entity_set, fields in FIELDS.items():
        for name, length in fields.items():
            assert known[entity_set][name] == length, (entity_set, name)
    for name, length in LENGTHS.items():
        assert length in {fields[name] for fields in known.values() if name in fields}
