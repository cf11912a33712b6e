"""Tryton's JSON, and what becomes of a patient there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.adapters.erp import tryton_in, tryton_party
from hub.codecs import tryton
from hub.domain.errors import Unreadable
from tests.contract.case import patient

NAMES = st.text().filter(lambda name: name != "__class__")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.datetimes()
    | st.dates()
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_reads_back(value: Any) -> None:
    assert tryton.load(tryton.dump(value)) == value


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff", b"<html>", b'{"__class__": "date", "year": 0, "month": 1, "day": 1}', b"[" * 100_000,
        b'{"__class__": "datetime"}', b'{"__class__": "Decimal", "decimal": "x"}', b'{"__class__": "Decimal", "decimal": []}',
    ],
)  # fmt: skip
def test_what_is_no_answer_says_so(body: bytes) -> None:
    with pytest.raises(Unreadable):
        tryton.load(body)


def test_of_phones_that_at_home_goes_first_and_work_stays_at_home() -> None:
    record = patient()
    record["telecom"] = [
        {"system": "phone", "value": "+82211112222"},
        {"system": "phone", "value": "+82233334444", "use": "home"},
        {"system": "phone", "value": "+82255556666", "use": "work"},
    ]
    values = tryton_party.new(record, "P1", "", {}).values
    assert values["contact_mechanisms"] == [["create", [{"type": "phone", "value": "02-3333-4444"}]]]


@pytest.mark.parametrize(
    ("address", "street", "city"),
    [
        ({"text": "서울시 강남구 테헤란로 1"}, "서울시 강남구 테헤란로 1", ""),
        ({"text": "x", "line": ["테헤란로 1", "2층"], "city": "강남구", "state": "서울"}, "테헤란로 1\n2층", "서울 강남구"),
    ],
)
def test_an_address_is_whole_or_in_parts(address: dict[str, Any], street: str, city: str) -> None:
    record = {**patient(), "address": [address]}
    ((_, (values,)),) = tryton_party.new(record, "P1", "", {"KR": 1}).values["addresses"]
    assert (values["street"], values["city"], values.get("country")) == (street, city, None)


def test_what_stands_in_a_row_is_plain() -> None:
    row = tryton_in._payment({"id": 3, "credit": Decimal("45000"), "debit": Decimal("0"), "invoice_payment": 7, "move.": None})
    assert row == {"number": None, "invoice": "account.invoice,7", "date": None, "amount": "45000", "currency": None}
