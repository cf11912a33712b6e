"""Canonical patient -> business partner: names whole or split as supplied, nothing cut silently, equal means equal."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.adapters.erp import fields as bp
from hub.adapters.slots import changed_slots, same_contact
from hub.domain.errors import Refused
from hub.domain.search import national_digits, national_phone


@pytest.mark.parametrize(
    ("name", "last", "first"),
    [
        ({"text": "홍길동"}, "홍길동", ""),
        ({"text": "홍길동", "family": "홍", "given": ["길동"]}, "홍", "길동"),
        ({"text": "남궁민수", "family": "남궁", "given": ["민수"]}, "남궁", "민수"),
        ({"text": "뷁", "family": "뷁"}, "뷁", ""),
        ({"text": "John Q Public", "family": "Public", "given": ["John", "Q"]}, "Public", "John Q"),
        ({"text": "洪吉洞"}, "洪吉洞", ""),
    ],
)
def test_names(name: dict[str, Any], last: str, first: str) -> None:
    assert bp.name_fields({"name": [name]}) == {"LastName": last, "FirstName": first}


def test_the_hangul_name_goes_before_its_romanisation_and_old_names() -> None:
    names = [
        {"text": "HONG", "representation": "ABC"},
        {"text": "홍개똥", "use": "old"},
        {"text": "홍길동", "representation": "SYL"},
    ]
    assert bp.name_fields({"name": names})["LastName"] == "홍길동"
    assert bp.name_fields({"name": names[:1]})["LastName"] == "HONG"
    assert bp.name_fields({"name": names[1:2]}) == {}


@pytest.mark.parametrize(("last", "first"), [("홍", "길동"), ("홍길동", ""), ("길동", "홍"), ("홍 ", "길 동"), ("", "홍길동")])
def test_a_name_split_differently_there_is_the_same(last: str, first: str) -> None:
    there = {"LastName": last, "FirstName": first}
    write, sent = bp.person_fields({"name": [{"text": "홍길동"}]}, {"name"}, there)
    assert write == {}
    assert sent == {"name": [{"text": "홍길동"}]}


def test_a_name_too_long_is_refused_and_not_told() -> None:
    with pytest.raises(Refused) as caught:
        bp.name_fields({"name": [{"text": "가" * 41}]})
    assert caught.value.code == "too_long"
    assert "가" not in str(caught.value)
    assert bp.name_fields({"name": [{"text": "가" * 40}]})["LastName"] == "가" * 40


@pytest.mark.parametrize(
    ("patient", "there", "write", "sent"),
    [
        ({"birthDate": "1980-01-31"}, {"BirthDate": None}, {"BirthDate": "/Date(318124800000)/"}, {"birthDate": "1980-01-31"}),
        ({"birthDate": "1980-01-31"}, {"BirthDate": "/Date(318124800000)/"}, {}, {"birthDate": "1980-01-31"}),
        ({"birthDate": "1950-01-31"}, {"BirthDate": None}, {"BirthDate": "/Date(-628560000000)/"}, {"birthDate": "1950-01-31"}),
        ({"birthDate": "1980"}, {"BirthDate": "/Date(0)/"}, {}, {}),
        ({}, {"BirthDate": "/Date(0)/"}, {"BirthDate": None}, {"birthDate": None}),
        ({}, {"BirthDate": "/Date(-62135769600000)/"}, {}, {"birthDate": None}),
    ],
)
def test_birth_dates(patient: dict[str, Any], there: dict[str, Any], write: dict[str, Any], sent: dict[str, Any]) -> None:
    assert bp.person_fields(patient, {"birthDate"}, there) == (write, sent)


NONE = {"IsMale": False, "IsFemale": False, "IsSexUnknown": False}


@pytest.mark.parametrize(
    ("gender", "write", "sent"),
    [
        ("male", {"IsMale": True}, "male"),
        ("female", {"IsFemale": True}, "female"),
        ("unknown", {"IsSexUnknown": True}, "unknown"),
        ("other", {"IsSexUnknown": True}, "unknown"),
    ],
)
def test_sex(gender: str, write: dict[str, Any], sent: str) -> None:
    assert bp.person_fields({"gender": gender}, {"gender"}, NONE) == (write, {"gender": sent})


def test_a_field_that_this_release_does_not_have_is_not_written() -> None:
    patient = {"deceasedAt": "2026-01-02T00:00:00+09:00", "gender": "male"}
    assert bp.person_fields(patient, {"deceasedAt", "gender"}, {})[0] == {}
    write, sent = bp.person_fields(patient, {"deceasedAt"}, {"BusinessPartnerDeathDate": None})
    assert write == {"BusinessPartnerDeathDate": "/Date(1767312000000)/"}
    assert sent == {"deceasedAt": "2026-01-02"}


def address(**more: Any) -> dict[str, str]:
    return bp.address_fields({"text": "t", **more}, "KR")


def test_an_address() -> None:
    fields = address(line=["테헤란로 1", "101호"], city="서울", district="강남구", postalCode="06236", country="KOR")
    assert {name: value for name, value in fields.items() if value} == {
        "StreetName": "테헤란로 1 101호", "CityName": "서울", "District": "강남구", "PostalCode": "06236", "Country": "KR",
    }  # fmt: skip
    assert bp.address_sent(fields)["text"] == "서울 강남구 테헤란로 1 101호"


@pytest.mark.parametrize(
    ("state", "city", "region", "name"),
    [
        ("경기도", "성남시", "", "경기도 성남시"),
        ("경기도", "경기도 성남시", "", "경기도 성남시"),
        ("서울특별시", "", "", "서울특별시"),
        ("01", "서울", "01", "서울"),
        ("", "서울", "", "서울"),
    ],
)
def test_a_state_that_is_no_region_code_stands_before_the_city(state: str, city: str, region: str, name: str) -> None:
    fields = address(state=state, city=city)
    assert (fields["Region"], fields["CityName"]) == (region, name)


def test_only_text_goes_into_the_street() -> None:
    assert address()["StreetName"] == "t"
    assert address(city="서울")["StreetName"] == ""


def street(words: list[str]) -> dict[str, str]:
    fields = address(line=[" ".join(words)], city="c")
    return {name: fields[name] for name in bp.STREET}


@given(st.lists(st.text(alphabet="가나다", min_size=1, max_size=60), max_size=12))
def test_a_street_is_spread_word_by_word_or_refused(words: list[str]) -> None:
    if sum(map(len, words)) + len(words) > 60:
        with contextlib.suppress(Refused):
            assert " ".join(street(words).values()).split() == words
        return
    fields = street(words)
    assert fields["StreetName"].split() == words


@given(st.lists(st.text(alphabet="가나다", min_size=1, max_size=60), min_size=1, max_size=12))
def test_every_line_of_a_street_fits(words: list[str]) -> None:
    with contextlib.suppress(Refused):
        fields = street(words)
        assert all(len(fields[name]) <= bp.LENGTHS[name] for name in bp.STREET)


@pytest.mark.parametrize("code", ["KOREA", "ZZZ", "1", "한국"])
def test_an_unknown_country_is_refused(code: str) -> None:
    with pytest.raises(Refused) as caught:
        address(country=code)
    assert caught.value.code == "unknown_code"


@pytest.mark.parametrize("name", ["city", "district", "postalCode"])
def test_what_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="holds"):
        address(**{name: "가" * 41})


def test_a_house_number_of_its_own() -> None:
    there = {"StreetName": "Main St", "HouseNumber": "12", "Country": "KR"}
    fields = address(line=["Main St 12"], city="")
    assert bp.address_differs(there, fields) == {}
    assert bp.address_differs(there, address(line=["New St 3"])) == {"StreetName": "New St 3", "HouseNumber": ""}


@pytest.mark.parametrize(
    ("value", "number", "country"),
    [
        ("+821012345678", "010-1234-5678", "KR"),
        ("+8221234567", "02-123-4567", "KR"),
        ("+82212345678", "02-1234-5678", "KR"),
        ("+82112345678", "011-234-5678", "KR"),
        ("+82311234567", "031-123-4567", "KR"),
        ("+8250712345678", "0507-1234-5678", "KR"),
        ("+8215881234", "1588-1234", "KR"),
        ("+82119", "0119", "KR"),
        ("+8613800138000", "+8613800138000", ""),
        ("010-1", "010-1", ""),
        ("", "", ""),
    ],
)
def test_phones(value: str, number: str, country: str) -> None:
    assert national_phone(value) == (number, country)
    assert same_contact("mobile", value, number)


@given(st.from_regex(r"\+82[0-9]{3,12}", fullmatch=True))
def test_a_phone_keeps_its_digits(value: str) -> None:
    number, _ = national_phone(value)
    assert national_digits(number).lstrip("0") == national_digits(value).lstrip("0")


def test_a_phone_too_long_is_refused() -> None:
    with pytest.raises(Refused):
        bp.contact_fields("3", "9" * 31)
    with pytest.raises(Refused):
        bp.contact_fields("email", "a" * 242)


def test_changed_slots() -> None:
    telecom = [
        {"system": "phone", "value": "1", "use": "home"},
        {"system": "email", "value": "a@b"},
        {"system": "sms", "value": "2"},
    ]
    assert changed_slots(["name", "telecom.mobile", "telecom.mobile.2"], telecom) == {"mobile": 2}
    assert changed_slots(["telecom"], telecom) == {"home": 1, "email": 1, "phone": 1}
    assert changed_slots(["birthDate"], telecom) == {}
