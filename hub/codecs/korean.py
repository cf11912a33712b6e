"""Resident registration numbers (주민등록번호): recognised so that they never travel further, and read for what they tell.

13 digits YYMMDD-GXXXXXX. G: 1/2 1900s, 3/4 2000s, 9/0 1800s, 5/6 and 7/8 foreigners of the 1900s and 2000s; odd is male. Since
2020-10 the digits after G are random, so no check digit is asked for. Month 13 counts as a number here: nobody has it,
and test data that uses it must be kept as secret as the real thing.
"""

from __future__ import annotations

import datetime as dt
import re

from hub.domain.facts import Key

_SHAPE = re.compile(r"(?<![0-9])([0-9]{2})(0[1-9]|1[0-3])(0[1-9]|[12][0-9]|3[01])[- ]?([0-9])([0-9]{6})(?![0-9])")
_MASKED = re.compile(r"[0-9]{6}[- ]?[0-9*]\*{6}")
_CENTURY = {"9": 1800, "0": 1800, "1": 1900, "2": 1900, "5": 1900, "6": 1900, "3": 2000, "4": 2000, "7": 2000, "8": 2000}
_TELLING = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2})[- ]?([0-9])[0-9*]{6}")
_MASK = "######-#######"


def looks_like_rrn(text: str) -> bool:
    """Whether the whole text is such a number, with or without its hyphen; or masked, as many have it."""
    text = text.strip()
    return _SHAPE.fullmatch(text) is not None or (text.endswith("******") and _MASKED.fullmatch(text) is not None)


def patient_key(assigner: str, number: object) -> Key | None:
    """A message's patient, for its lane and for search, which are kept in the clear; None for what is no number of a patient's:
    no text, none at all, or a resident registration number."""
    if not isinstance(number, str) or not number or looks_like_rrn(number):
        return None
    return Key(assigner, number)


def rrn_birth_date(text: str) -> str | None:
    """The birth date that a number tells ("1980-01-31"); None where there is no such date, or it is no such number.

    A masked tail (`800101-1******`) tells as much as the whole number.
    """
    digits = _TELLING.fullmatch(text.strip())
    if digits is None:
        return None
    year, month, day, kind = digits.groups()
    try:
        return dt.date(_CENTURY[kind] + int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


def rrn_gender(text: str) -> str | None:
    """The sex that a number tells: "male" or "female"; None where it is no such number."""
    digits = _TELLING.fullmatch(text.strip())
    return None if digits is None else "male" if int(digits[4]) % 2 else "female"


def scrub(text: str) -> str:
    """The text with every such number in it made unreadable."""
    return _SHAPE.sub(_MASK, text)
