"""How the record systems see a patient's contact points: by slot, named as the sync core names them (hub/sync/slots.py).

`telecom.mobile`, `telecom.home` … are phones with a use, `telecom.phone` one without, `telecom.email`, `telecom.fax` go by
their system; `telecom.mobile.2` is a second mobile phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hub.domain.search import national_digits
from hub.sync.slots import slot_of

Points = Iterable[Mapping[str, Any]] | None


def in_slot(points: Points, slot: str) -> list[dict[str, Any]]:
    """The contact points of one slot, in their order: the first is `telecom.<slot>`, the second `telecom.<slot>.2` …"""
    return [dict(point) for point in points or () if slot_of(point) == slot]


def changed_slots(changed: Iterable[str], points: Points) -> dict[str, int]:
    """The slots that a message is about, and how many of each it names: `telecom` stands for all that the patient has."""
    found: dict[str, int] = {}
    for name in changed:
        head, _, slot = name.partition(".")
        if head == "telecom":
            for one in [slot.partition(".")[0]] if slot else {slot_of(point) for point in points or ()}:
                found[one] = found.get(one, 0) + 1
    return found


def same_contact(slot: str, one: str, other: str) -> bool:
    """Whether two writings mean one contact point: 010-1234-5678 and +821012345678, A@b.kr and a@b.kr."""
    if slot in ("email", "url", "other"):
        return one.strip().casefold() == other.strip().casefold()
    return national_digits(one).lstrip("0") == national_digits(other).lstrip("0")
