"""Rows in rows: what stands at dotted paths, items of nested lists, and that nested says the same as flat."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.errors import Misconfigured, Unmappable
from hub.domain.facts import Fact, Key, Snapshot
from hub.mapping import Context
from hub.mapping.language import read_maps
from hub.mapping.row_source import MOST, RowEngine

CONTEXT = Context("HOSP", "erp", "Asia/Seoul", 1_000)
MAP = """source = "row"
[block.partner]
kind = "Patient"
key = "to_Identification.BPIdentificationNumber"
[block.partner.fields]
"Name" = { to = "name", as = "name_text", each = true }
"to_Address.to_Phone.Number" = { to = "telecom", as = "phone", each = true }
"to_Address.City" = { to = "note" }
"Languages" = { to = "language" }
[block.kin]
kind = "RelatedPerson"
snapshot = "kin"
each = "to_Relation"
patient = "to_Identification.BPIdentificationNumber"
[block.kin.fields]
"*.Name" = { to = "name", as = "name_text", each = true }
[block.invoice]
kind = "Invoice"
each = "Orders.Items"
key = "*.Number"
patient = "to_Identification.BPIdentificationNumber"
when = { path = "*.Kind", in = ["F2"] }
refs = { encounter = "*.Visit.Number" }
[block.invoice.fields]
"*.Visit.Department" = { to = "department" }
"Currency" = { to = "type", as = "cwe" }
[event.Partner]
blocks = ["partner", "kin", "invoice"]
"""
FLAT = """source = "row"
[block.partner]
kind = "Patient"
key = "ID"
[block.partner.fields]
"NAME" = { to = "name", as = "name_text", each = true }
"PHONE" = { to = "telecom", as = "phone", each = true }
"CITY" = { to = "note" }
[event.Partner]
blocks = ["partner"]
"""


@cache
def engine(text: str) -> RowEngine:
    return RowEngine(read_maps([{"in.toml": text}], {})[0], {}, "v")


def facts(row: dict[str, Any], text: str = MAP) -> list[Any]:
    return engine(text).map_row("Partner", row, CONTEXT).facts


PARTNER: dict[str, Any] = {
    "Name": "남궁민수",
    "to_Identification": [{"BPIdentificationNumber": "00012345"}, {"BPIdentificationNumber": "other"}],
    "to_Address": {"City": "서울 ", "to_Phone": [{"Number": "010-1234-5678"}, {"Number": "02-1"}]},
    "Languages": ["ko", "en"],
}


def test_dots_go_down_and_through_a_list_to_its_first_row() -> None:
    [fact] = facts(PARTNER)
    assert (fact.key, fact.values["note"], fact.paths["note"]) == (Key("HOSP", "00012345"), "서울", "to_Address.City")
    assert fact.values["telecom"][0]["value"] == "+821012345678"
    assert fact.values["language"] == "ko"
    assert fact.values["identifier"] == [{"assigner": "HOSP", "value": "00012345"}]


def test_items_of_nested_lists_with_conditions_keys_and_references() -> None:
    lines = [
        {"Number": "B1", "Kind": "F2", "Visit": {"Number": "V1", "Department": "뷁"}}, {"Number": "B2", "Kind": "S1"},
    ]  # fmt: skip
    orders = [{"Items": lines}, {"Items": []}, {}, {"Items": {"Number": "B3", "Kind": "F2", "Visit": [{"Number": "V3"}]}}]
    _, first, second = facts({**PARTNER, "Orders": orders, "Currency": "KRW"})
    assert [(one.key.value, one.patient) for one in (first, second)] == [
        ("B1", Key("HOSP", "00012345")), ("B3", Key("HOSP", "00012345")),
    ]  # fmt: skip
    assert first.values["department"] == "뷁"
    assert first.values["encounter"] == {"identifier": {"assigner": "HOSP", "value": "V1"}}
    assert (first.paths["department"], first.values["type"]) == ("*.Visit.Department", {"code": "KRW"})
    assert "department" not in second.values


def test_what_is_absent_was_not_said_and_what_is_empty_was_deleted() -> None:
    who = {"to_Identification": {"BPIdentificationNumber": "1"}}
    [fact] = facts(who)
    assert fact.values.keys() == {"identifier"}
    for empty in (None, [], {"City": None}, {"City": " "}, [{"City": None}]):
        [fact] = facts({**who, "to_Address": empty})
        assert fact.values["note"] is None
    [_, relatives] = facts({**who, "to_Relation": []})
    assert relatives == Snapshot("RelatedPerson", Key("HOSP", "1"), "kin", [], "to_Relation")
    [_, relatives] = facts({**who, "to_Relation": [{"Name": "홍길동"}, {"Name": "洪吉洞"}]})
    assert [one["name"][0]["text"] for one in relatives.items] == ["홍길동", "洪吉洞"]


def test_an_old_column_may_have_a_dot_in_its_name() -> None:
    [fact] = facts({**PARTNER, "to_Address.City": "펲시콜라"})
    assert fact.values["note"] == "펲시콜라"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"to_Address": "Seoul"}, "to_Address.City"), ({"to_Address": [["Seoul"]]}, "to_Address.City"),
        ({"Name": {"a": "b"}}, "Name"), ({"Name": [{"a": "b"}]}, "Name"), ({"Name": [["a"]]}, "Name"),
        ({"Orders": "none"}, "Orders.Items"), ({"Orders": [{"Items": ["x"]}]}, "Orders.Items.Kind"),
        ({"Orders": [{"Items": [{"Kind": {}}]}]}, "Orders.Items.Kind"), ({"Languages": ["ko"] * (MOST + 1)}, "Languages"),
        ({"Orders": [{"Items": [None]}] * (MOST + 1)}, "Orders.Items"),
    ],
)  # fmt: skip
def test_an_odd_type_is_named_by_its_path_and_never_by_its_value(change: dict[str, Any], path: str) -> None:
    with pytest.raises(Unmappable) as caught:
        facts({**PARTNER, **change})
    assert caught.value.where == path
    assert "Seoul" not in str(caught.value)
    assert engine(MAP).row_patient("Partner", {**PARTNER, **change}, CONTEXT) is None or path.startswith("Orders")


def test_whose_row_it_is_and_which_columns_say_so() -> None:
    assert engine(MAP).row_patient("Partner", PARTNER, CONTEXT) == Key("HOSP", "00012345")
    assert engine(MAP).key_columns("Partner")["Invoice"] == ("*.Number",)


def test_a_map_explains_what_it_read_where() -> None:
    order = {"Items": [{"Number": "B1", "Kind": "F2", "Visit": {"Department": "뷁"}}]}
    rows = engine(MAP).explain("Partner", {**PARTNER, "Orders": [order]}, CONTEXT)
    said = {(row["fact"], row["path"], row["to"]): row["result"] for row in rows if row["present"]}
    assert said["Patient", "to_Address.City", "note"] == "서울"
    assert said["Invoice 1", "*.Number", "key"] == ["HOSP|B1"]
    assert said["Invoice 1", "*.Visit.Department", "department"] == "뷁"


@pytest.mark.parametrize("path", ["a..b", ".a", "a.", "a.*", "*.a.*"])
def test_a_path_that_is_none_is_found_when_the_map_is_read(path: str) -> None:
    with pytest.raises(Misconfigured, match=r"in.toml:6: .* is no path of a row"):
        engine(f'{FLAT[: FLAT.index(chr(34) + "NAME")]}"{path}" = {{ to = "note" }}\n')


def test_a_path_of_an_item_needs_an_each() -> None:
    with pytest.raises(Misconfigured, match=r"in.toml:\d+: .*each"):
        engine(FLAT.replace('"CITY"', '"*.CITY"').replace('"NAME" = { to = "name", as = "name_text", each = true }\n', ""))


TEXT = st.one_of(st.none(), st.sampled_from(["홍길동", "똠방각하", "펲시콜라", "뷁", " ", "010-1234-5678"]), st.text(max_size=8))


@given(st.text("0123456789AB", min_size=1, max_size=8), TEXT, TEXT, TEXT, st.booleans())
def test_nested_says_the_same_as_flat(number: str, name: str | None, phone: str | None, city: str | None, listed: bool) -> None:
    address: Any = {"City": city, "to_Phone": [{"Number": phone}] if listed else {"Number": phone}}
    nested = {
        "Name": name, "to_Identification": [{"BPIdentificationNumber": number}], "to_Address": [address] if listed else address,
    }  # fmt: skip
    [one], [other] = facts(nested), facts({"ID": number, "NAME": name, "PHONE": phone, "CITY": city}, FLAT)
    assert (one.key, one.values) == (other.key, other.values)


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["City", "to_Phone", "Number", "Items", "Kind", "Visit", "BPIdentificationNumber", "Name"]), inner
        ),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["Name", "to_Identification", "to_Address", "to_Relation", "Orders", "Currency"]), JUNK))
def test_whatever_a_row_holds_it_is_facts_or_unmappable(row: dict[str, Any]) -> None:
    with contextlib.suppress(Unmappable):
        assert all(isinstance(fact, Fact | Snapshot) for fact in facts(row))


def test_a_row_can_be_nested_deeper_than_any_map() -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = {"City": [deep]}
    with pytest.raises(Unmappable):
        facts({**PARTNER, "to_Address": deep})
