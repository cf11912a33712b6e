"""Datatype functions: tables of what is met in the field, and properties over what is not foreseen."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.codecs.hl7v2 import DEFAULT_DELIMITERS, escape
from hub.mapping.composites import as_cwe, as_pl, as_xad, as_xcn, as_xon, as_xpn, as_xtn
from hub.mapping.functions import Reader, functions
from hub.mapping.keys import key_cx, key_ei, key_ei_placer
from hub.mapping.korean import normalise_phone, split_name
from hub.mapping.times import BadValue, iso_date, iso_time, later, micros

READER = Reader(DEFAULT_DELIMITERS, "utf-8", "HOSP", "ocs", "Asia/Seoul")
TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20)
FIELD = st.text(max_size=60)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("19800131", "1980-01-31"),
        ("1980", "1980"),
        ("198001", "1980-01"),
        ("19800131235959", "1980-01-31"),
        ("1980-01-31", "1980-01-31"),
        ("19800131+0900", "1980-01-31"),
        ("20000229", "2000-02-29"),
        ("19000229", None),
        ("19801301", None),
        ("19800100", None),
        ("00000000", None),
        ("0000", None),
        ("99999999", None),
        ("198", None),
        ("1980013", None),
        ("abc", None),
        ("１９８００１３１", None),
    ],
)
def test_dates(text: str, iso: str | None) -> None:
    if iso is None:
        with pytest.raises(BadValue):
            iso_date(text)
    else:
        assert iso_date(text) == iso


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("20261122090507", "2026-11-22T09:05:07+09:00"),
        ("202611220905", "2026-11-22T09:05:00+09:00"),
        ("2026112209", "2026-11-22T09:00:00+09:00"),
        ("20261122", "2026-11-22"),
        ("202611", "2026-11"),
        ("20261122090507.123", "2026-11-22T09:05:07.123+09:00"),
        ("20261122090507-0400", "2026-11-22T09:05:07-04:00"),
        ("20261122240000", "2026-11-23T00:00:00+09:00"),
        ("202612312400", "2027-01-01T00:00:00+09:00"),
        ("19870601120000", "1987-06-01T12:00:00+10:00"),
        ("2026-11-22 09:05:07", "2026-11-22T09:05:07+09:00"),
        ("2026-11-22T00:05:07Z", "2026-11-22T00:05:07+00:00"),
        ("20261122250000", None),
        ("20261122096000", None),
        ("20261322090000", None),
        ("2026112209050", None),
        ("00000101000000", None),
    ],
)
def test_times_keep_precision_and_zone(text: str, iso: str | None) -> None:
    """1987: summer time in Korea."""
    if iso is None:
        with pytest.raises(BadValue):
            iso_time(text, "Asia/Seoul")
    else:
        assert iso_time(text, "Asia/Seoul") == iso


@given(st.datetimes(datetime(1912, 1, 1), datetime(2099, 12, 31)), st.sampled_from(["Asia/Seoul", "UTC", "Europe/Berlin"]))  # noqa: DTZ001
def test_a_time_and_its_micros_are_the_same_moment(moment: datetime, zone: str) -> None:
    text = moment.strftime("%Y%m%d%H%M%S").rjust(14, "0")
    iso = iso_time(text, zone)
    assert iso.startswith(moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0"))
    there = datetime.fromisoformat(iso)
    assert timedelta(microseconds=micros(text, zone)) == there - datetime(1970, 1, 1, tzinfo=UTC)


@given(st.dates())
def test_every_date_is_read_as_itself(day: date) -> None:
    assert iso_date(day.strftime("%Y%m%d").rjust(8, "0")) == day.isoformat()


@given(FIELD)
def test_no_text_makes_a_date_or_time_that_is_none(text: str) -> None:
    for read in (iso_date, lambda value: iso_time(value, "Asia/Seoul")):
        try:
            found = read(text)
        except BadValue:
            continue
        assert len(found) in (4, 7, 10) or datetime.fromisoformat(found).tzinfo


def test_an_hour_later_keeps_the_offset() -> None:
    assert later("2026-12-31T23:30:00+09:00", 60) == "2027-01-01T00:30:00+09:00"
    with pytest.raises(BadValue):
        later("2026-12-31", 60)


@pytest.mark.parametrize(
    ("raw", "e164"),
    [
        ("010-1234-5678", "+821012345678"),
        ("01012345678", "+821012345678"),
        ("02-123-4567", "+8221234567"),
        ("011-234-5678", "+82112345678"),
        ("031)123-4567", "+82311234567"),
        ("1588-1234", "+8215881234"),
        ("070-1234-5678", "+827012345678"),
        ("0507-1234-5678", "+8250712345678"),
        ("+82 10 1234 5678", "+821012345678"),
        ("+82-(0)10-1234-5678", "+821012345678"),
        ("0082-10-1234-5678", "+821012345678"),
        ("10-1234-5678", "+821012345678"),
        ("０１０－１２３４－５６７８", "+821012345678"),
        ("+1 281 330 8004", "+12813308004"),
        ("82-10-1234-5678", "+821012345678"),
        ("1234", "1234"),
    ],
)
def test_phones(raw: str, e164: str) -> None:
    assert normalise_phone(raw) == e164
    assert normalise_phone(e164) == e164


@pytest.mark.parametrize("raw", ["집", "-", "010-1234-567a", ""])
def test_what_is_no_phone_is_said_to_be_none(raw: str) -> None:
    with pytest.raises(BadValue):
        normalise_phone(raw)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("홍길동", ("홍", "길동")),
        ("남궁민수", ("남궁", "민수")),
        ("남궁민", ("남궁", "민")),
        ("남궁", ("남", "궁")),
        ("선우", ("선", "우")),
        ("똠방각하", ("똠", "방각하")),
        ("뷁", None),
        ("HONG", None),
        ("洪吉洞", None),
        ("아주긴이름입니다", None),
    ],
)
def test_hangul_names_are_split_as_derived(text: str, parts: tuple[str, str] | None) -> None:
    assert split_name(text) == parts


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("홍^길동^^^^^L^I", {"text": "홍길동", "family": "홍", "given": ["길동"], "use": "official", "representation": "IDE"}),
        (
            "HONG^GILDONG^^^^^L^A",
            {"text": "GILDONG HONG", "family": "HONG", "given": ["GILDONG"], "use": "official", "representation": "ABC"},
        ),
        ("洪^吉洞^^^^^L^I", {"text": "洪吉洞", "family": "洪", "given": ["吉洞"], "use": "official", "representation": "IDE"}),
        ("홍^길동^^^^^L^P", {"text": "홍길동", "family": "홍", "given": ["길동"], "use": "official", "representation": "SYL"}),
        ("남궁민수", {"text": "남궁민수", "family": "남궁", "given": ["민수"]}),
        ("펲시콜라", {"text": "펲시콜라", "family": "펲", "given": ["시콜라"]}),
        ("뷁", {"text": "뷁", "family": "뷁"}),
        (
            "Everyman&&&&X^Adam^A^III^Dr.^MD^D",
            {
                "text": "Adam A Everyman",
                "family": "Everyman",
                "given": ["Adam", "A"],
                "suffix": ["III", "MD"],
                "prefix": ["Dr."],
                "use": "usual",
            },
        ),
        ('""^""', None),
        ("^^^^^^L", None),
        ("", None),
    ],
)
def test_names(field: str, name: dict[str, object] | None) -> None:
    assert as_xpn(field.split("^"), READER) == name


@pytest.mark.parametrize(
    ("field", "point"),
    [
        ("010-1234-5678^PRN^CP", {"system": "phone", "value": "+821012345678", "raw": "010-1234-5678", "use": "mobile"}),
        ("(02)123-4567^WPN^PH", {"system": "phone", "value": "+8221234567", "raw": "(02)123-4567", "use": "work"}),
        ("^NET^Internet^GilDong@Example.ORG", {"system": "email", "value": "gildong@example.org", "raw": "GilDong@Example.ORG"}),
        ("gd@example.org", {"system": "email", "value": "gd@example.org"}),
        ("^PRN^PH^^82^10^12345678", {"system": "phone", "value": "+821012345678", "use": "mobile"}),
        ("^PRN^PH^^^02^1234567^89", {"system": "phone", "value": "021234567x89", "use": "home"}),
        ("^WPN^FX^^^^^^^^^0212345678", {"system": "fax", "value": "+82212345678", "raw": "0212345678", "use": "work"}),
        ("^BPN^^^^^^^^^^0151234567", {"system": "pager", "value": "0151234567"}),
        ("^PRN^PH", None),
        ("", None),
    ],
)
def test_telecoms(field: str, point: dict[str, object] | None) -> None:
    assert as_xtn(field.split("^"), READER) == point


def test_addresses_places_people_codes() -> None:
    assert as_xad(["1&Main Street", "Apt 2", "Seoul", "", "06236", "KOR", "O"], READER) == {
        "text": "1 Main Street, Apt 2, Seoul, 06236, KOR",
        "line": ["1 Main Street", "Apt 2"],
        "city": "Seoul",
        "postalCode": "06236",
        "country": "KOR",
        "use": "work",
    }
    assert as_pl(["W3&1.2&ISO", "301", "1", "HOSP"], READER) == "W3 301 1"
    assert as_pl(["", "", "", "HOSP", "", "", "Annex", "2"], READER) == "HOSP Annex 2"
    assert as_xcn(["D1", "김", "의사", "", "", "", "", "", "KMA&1.2&ISO", "", "", "", "MD"], READER) == {
        "identifier": {"assigner": "KMA", "value": "D1", "type": "MD"},
        "name": "김의사",
    }
    assert as_xcn(["김의사"], READER) == {"name": "김의사"}
    assert as_xon(["공단", "L", "77", "", "", "NHIS"], READER) == {
        "identifier": {"assigner": "NHIS", "value": "77"},
        "name": "공단",
    }
    assert as_cwe(["", "", "", "J00", "감기", "KCD"], READER) == {"code": "J00", "display": "감기", "system": "KCD"}


def test_keys_take_the_authority_or_the_channels_default() -> None:
    assert key_cx(["7", "", "", "OTHER&1.2&ISO"], READER) == ("OTHER", "7")
    assert key_cx(["7", "", "", "&1.2&ISO"], READER) == ("1.2", "7")
    assert key_cx(["7"], READER) == ("HOSP", "7")
    assert key_cx(['""'], READER) is None
    assert key_cx(["801301-1234567"], READER) is None
    assert key_ei(["7", "NS"], READER) == ("NS", "7")
    assert key_ei_placer(["7"], READER) == ("HOSP:placer", "7")


@pytest.mark.parametrize(
    ("day", "clock", "iso"),
    [
        ("20261122", "0930", "2026-11-22T09:30:00+09:00"),
        ("20261122", "093015", "2026-11-22T09:30:15+09:00"),
        ("2026-11-22", "09:30:15", "2026-11-22T09:30:15+09:00"),
        ("20261122", "930", "2026-11-22T09:30:00+09:00"),
        ("20261122", "2400", "2026-11-23T00:00:00+09:00"),
        ("20261122", "2430", "2026-11-23T00:30:00+09:00"),
        ("20261122", "", "2026-11-22"),
        ("", "0930", None),
    ],
)
def test_a_day_and_a_time_of_day_in_two_columns(day: str, clock: str, iso: str | None) -> None:
    assert functions()["date_time"].call([day, clock], READER) == iso


@pytest.mark.parametrize(("day", "clock"), [("00000000", "0930"), ("20261122", "9930"), ("20261122", "ab"), ("20261301", "")])
def test_a_day_and_a_time_of_day_that_are_none(day: str, clock: str) -> None:
    with pytest.raises(BadValue):
        functions()["date_time"].call([day, clock], READER)


@given(family=TEXT, given_name=TEXT, prefix=TEXT)
def test_a_name_survives_escaping(family: str, given_name: str, prefix: str) -> None:
    parts = [escape(text, DEFAULT_DELIMITERS) for text in (family, given_name, "", "", prefix)]
    name = as_xpn(parts, READER)
    kept = [text.strip() for text in (family, given_name)]
    if name is not None and all(kept) and '""' not in kept:
        assert name["family"] == kept[0]
        assert name["given"] == [kept[1]]
        assert kept[0] in name["text"]
        assert kept[1] in name["text"]


OF_TEXT = sorted(name for name, one in functions().items() if one.takes not in ("json", "nodes"))  # FHIR's: tests/unit/fhir_in


@settings(max_examples=300)
@given(name=st.sampled_from(OF_TEXT), field=FIELD, digits=st.integers(0, 999999))
def test_no_function_fails_otherwise_than_by_saying_that_it_cannot_read(name: str, field: str, digits: int) -> None:
    """Any text, also with a registration number in it: a value, None or BadValue; and the number never comes out."""
    function = functions()[name]
    number = f"801301-1{digits:06d}"
    for text in (field, f"{field} {number}", number, f"{number}^{number}^{number}&{number}"):
        try:
            if function.takes == "parts":
                found = function.call(text.split("^"), READER)
            else:
                found = function.call(READER.text(text) if function.takes == "text" else text, READER)
        except BadValue as bad:
            found = bad
        assert number not in repr(found)
