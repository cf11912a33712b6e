"""How the record systems see a patient's contact points: by slot, one of each.

`telecom.mobile`, `telecom.home`, `telecom.work`, `telecom.temp`, `telecom.old` and `telecom.phone` (no use) are phones;
`telecom.email`, `telecom.fax` … are named by their system. The sync core names changed contact points the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hub.domain.search import national_digits

PHONES = frozenset({"phone", "sms"})


def slot_of(point: Mapping[str, Any]) -> str:
    """`mobile`, `home`, … for a phone with a use, `phone` for one without, else the system: `email`, `fax`, `url` …"""
    system = str(point.get("system") or "phone")
    return str(point.get("use") or "phone") if system in PHONES else system


def by_slot(points: Iterable[Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """The first point of each slot: canonical lists are sorted by preference."""
    found: dict[str, dict[str, Any]] = {}
    for point in points or ():
        found.setdefault(slot_of(point), dict(point))
    return found


def changed_slots(changed: Iterable[str], points: Iterable[Mapping[str, Any]] | None) -> set[str]:
    """The slots that a message is about: `telecom.mobile` names one, `telecom` all that the patient has."""
    found: set[str] = set()
    for name in changed:
        head, _, slot = name.partition(".")
        if head == "telecom":
            found |= {slot} if slot else set(by_slot(points))
    return found


def same_contact(slot: str, one: str, other: str) -> bool:
    """Whether two writings mean one contact point: 010-1234-5678 and +821012345678, A@b.kr and a@b.kr."""
    if slot in ("email", "url", "other"):
        return one.strip().casefold() == other.strip().casefold()
    return national_digits(one).lstrip("0") == national_digits(other).lstrip("0")


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
