"""What a patient can be found by: one normal form for names and phones, used when writing terms and when searching.

A term is a pair (kind, value) as kept in the table `term`; `terms(document)` lists all of a Patient document:

    name       NFC, letters and digits only, casefolded; as written, family first, and given first (길동홍 finds 길동)
    phone      national digits *backwards*: the last four digits that a caller gives are then a prefix of the term
    birthDate  as it stands: YYYY-MM-DD, YYYY-MM or YYYY

Only this module knows the forms: apply calls `terms`, the API calls `name_prefix`, `phone_prefix` and `birth_date`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, cast

Term = tuple[str, str]

NAME = "name"
PHONE = "phone"
BIRTH_DATE = "birthDate"
MIN_PHONE_DIGITS = 4
_PHONE_SYSTEMS = frozenset({"phone", "sms"})
_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?\Z")


def terms(document: Mapping[str, Any]) -> list[Term]:
    """Every (kind, value) that this Patient document is found by, sorted, without repeats."""
    found = {(NAME, value) for value in name_terms(document)}
    found |= {(PHONE, value) for value in phone_terms(document)}
    birth = document.get("birthDate")
    if birth:
        found.add((BIRTH_DATE, str(birth)))
    return sorted(found)


def name_terms(document: Mapping[str, Any]) -> set[str]:
    """The normal forms of all names: as written, family before given, given before family."""
    found: set[str] = set()
    for name in cast("list[dict[str, Any]]", document.get("name") or ()):
        family, given = name.get("family") or "", "".join(name.get("given") or ())
        found |= {normal_name(name.get("text") or ""), normal_name(family + given), normal_name(given + family)}
    found.discard("")
    return found


def phone_terms(document: Mapping[str, Any]) -> set[str]:
    """The national digits of every phone, backwards."""
    found = {
        national_digits(str(point.get("value") or ""))[::-1]
        for point in cast("list[dict[str, Any]]", document.get("telecom") or ())
        if point.get("system", "phone") in _PHONE_SYSTEMS
    }
    return {value for value in found if len(value) >= MIN_PHONE_DIGITS}


def normal_name(text: str) -> str:
    """NFC, letters, marks and digits only, casefolded: `Hong, Gil-dong` and `HONG GIL DONG` are one name."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    kept = "".join(c for c in folded if unicodedata.category(c)[0] in "LMN")
    return unicodedata.normalize("NFC", kept)  # once more: what was dropped may have kept marks apart


def national_digits(phone: str) -> str:
    """`+82 10-1234-5678`, `0082 10 …` and `010-1234-5678` -> `01012345678`; other countries keep their country code."""
    ascii_phone = unicodedata.normalize("NFKC", phone)
    digits = "".join(c for c in ascii_phone if "0" <= c <= "9")
    if ascii_phone.strip().startswith("+"):
        return "0" + digits[2:].removeprefix("0") if digits.startswith("82") else digits
    if digits.startswith("0082"):
        return "0" + digits[4:].removeprefix("0")
    return digits


def national_phone(value: str) -> tuple[str, str]:
    """E.164 as people in its country write it, and that country: `+821012345678` -> (`010-1234-5678`, `KR`).

    Other countries keep their E.164 form and get no country: their trunk prefixes are not ours to guess.
    """
    if not value.startswith("+82"):
        return value, ""
    digits = national_digits(value)
    area = 2 if digits.startswith("02") else 4 if digits.startswith("050") else 3
    if (digits.startswith("01") and len(digits) < 8) or len(digits) < area + 7:  # 1588-1234 and other short numbers
        bare = digits.removeprefix("0")
        return (f"{bare[:4]}-{bare[4:]}" if len(bare) == 8 else digits), "KR"
    return f"{digits[:area]}-{digits[area:-4]}-{digits[-4:]}", "KR"


def name_prefix(text: str) -> str:
    """What name terms must begin with to match what somebody typed; "" where nothing searchable was typed."""
    return normal_name(text)


def phone_prefix(text: str) -> str:
    """What phone terms must begin with: the whole number or its last digits; "" where fewer than four were typed."""
    digits = national_digits(text)
    return digits[::-1] if len(digits) >= MIN_PHONE_DIGITS else ""


def birth_date(text: str) -> str:
    """The birth date to look for, or "" where `text` is no date: YYYY-MM-DD, YYYY-MM, YYYY, also YYYYMMDD."""
    compact = text.strip()
    if len(compact) == 8 and compact.isascii() and compact.isdigit():
        compact = f"{compact[:4]}-{compact[4:6]}-{compact[6:]}"
    return compact if _DATE.match(compact) else ""
