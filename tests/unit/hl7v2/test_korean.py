"""Resident registration numbers: recognised, told from, never shown. Numbers here have month 13: nobody has them."""

from __future__ import annotations

import pytest

from hub.codecs.korean import looks_like_rrn, patient_key, rrn_birth_date, rrn_gender, scrub
from hub.domain.facts import Key


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("801301-1234567", True), ("8013011234567", True), (" 801301-1234567 ", True), ("801301 1234567", True),
        ("00012345", False), ("801401-1234567", False), ("801332-1234567", False), ("801301-123456", False),
        ("801301-12345678", False),
        ("801301-1******", True), ("801301*******", True), ("8013-1******", False), ("", False), ("HOSP8013011234567", False),
    ],
)  # fmt: skip
def test_looks_like_rrn(text, is_one):
    assert looks_like_rrn(text) is is_one


@pytest.mark.parametrize(
    ("text", "born", "gender"),
    [
        ("800131-1******", "1980-01-31", "male"), ("050228-4******", "2005-02-28", "female"),
        ("991231-0******", "1899-12-31", "female"),
        ("800101-5******", "1980-01-01", "male"), ("100101-8******", "2010-01-01", "female"),
        ("801301-1234567", None, "male"),
        ("800230-2******", None, "female"), ("not one", None, None),
    ],
)  # fmt: skip
def test_what_it_tells(text, born, gender):
    assert (rrn_birth_date(text), rrn_gender(text)) == (born, gender)


def test_scrub_hides_every_one_and_nothing_else():
    text = "홍길동 801301-1234567, 8013012234567; tel 010-1234-5678, card 1234567890123456"
    assert scrub(text) == "홍길동 ######-#######, ######-#######; tel 010-1234-5678, card 1234567890123456"


@pytest.mark.parametrize("number", ["801301-1234567", "8013011234567", " 801301-1******", "", None, 12345, ["00012345"]])
def test_what_is_no_number_of_a_patient_names_none(number: object) -> None:
    assert patient_key("HOSP", number) is None
    assert patient_key("HOSP", "00012345") == Key("HOSP", "00012345")
