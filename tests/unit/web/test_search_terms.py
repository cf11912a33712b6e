"""The normal forms that patients are found by."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain import search

HONG = {
    "name": [
        {"text": "홍길동", "family": "홍", "given": ["길동"], "representation": "SYL"},
        {"text": "洪吉洞", "representation": "IDE"},
        {"text": "HONG, Gil-Dong", "family": "HONG", "given": ["Gil-Dong"], "representation": "ABC"},
    ],
    "telecom": [
        {"system": "phone", "value": "+821012345678", "use": "mobile"},
        {"system": "email", "value": "hong@example.org"},
    ],
    "birthDate": "1980-02-03",
}


def test_a_patient_is_found_by_every_name_phone_and_birth_date() -> None:
    assert search.terms(HONG) == [
        ("birthDate", "1980-02-03"),
        ("name", "gildonghong"),
        ("name", "honggildong"),
        ("name", "洪吉洞"),
        ("name", "길동홍"),
        ("name", "홍길동"),
        ("phone", "87654321010"),
    ]


@pytest.mark.parametrize("document", [{}, {"name": []}, {"name": [{}], "telecom": [{"system": "phone", "value": "12"}]}])
def test_nothing_to_find_it_by(document: dict[str, object]) -> None:
    assert search.terms(document) == []


@pytest.mark.parametrize(
    "typed", ["홍길", unicodedata.normalize("NFD", "홍길동"), "홍 길동", "hong gil", "洪", "Gil-Dong", "길동"]
)
def test_a_typed_prefix_matches(typed: str) -> None:
    prefix = search.name_prefix(typed)
    assert prefix
    assert any(value.startswith(prefix) for value in search.name_terms(HONG))


@pytest.mark.parametrize(
    "typed", ["010-1234-5678", "+82 10 1234 5678", "+82 (0)10-1234-5678", "0082 10-1234-5678", "5678", "12345678"]
)
def test_a_phone_or_its_last_digits_match(typed: str) -> None:
    prefix = search.phone_prefix(typed)
    assert prefix
    assert any(value.startswith(prefix) for value in search.phone_terms(HONG))


@pytest.mark.parametrize(("typed", "want"), [("678", ""), ("", ""), ("전화", ""), ("+1 (555) 010-9999", "99990105551")])
def test_phones_of_other_shapes(typed: str, want: str) -> None:
    assert search.phone_prefix(typed) == want


@pytest.mark.parametrize(
    ("typed", "want"),
    [
        ("1980-02-03", "1980-02-03"),
        ("19800203", "1980-02-03"),
        ("1980-02", "1980-02"),
        ("1980", "1980"),
        ("1980-13-01", ""),
        ("x", ""),
    ],
)
def test_birth_dates(typed: str, want: str) -> None:
    assert search.birth_date(typed) == want


@given(st.text())
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    once = search.normal_name(text)
    assert search.normal_name(once) == once
