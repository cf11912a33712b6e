"""Slots: a patient's contact points compete one by one (mobile, home, e-mail), and so do start and end of a visit.

A source's `telecom` list is kept in its source record as `telecom.<slot>` fields; a list that a message carries is a
snapshot, so slots it no longer has are deleted for that source. The golden record has the list again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_DIGITS = re.compile(r"\D")
TELECOM = "telecom"
OPEN = frozenset({"planned", "arrived", "in-progress", "onleave"})
ORDER = ("mobile", "home", "work", "phone", "email")


def slot_of(point: Mapping[str, Any]) -> str:
    """`mobile`, `home`, `work` … for phones with a use, else the system: `phone`, `email`, `fax`."""
    system = point.get("system", "phone")
    if system in ("phone", "sms"):
        return str(point.get("use") or "phone")
    return str(system)


def slot_name(name: str) -> bool:
    """Whether this field of a source record is a contact point: `telecom.mobile`."""
    return name.startswith("telecom.")


def changed_slots(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The slots of two documents whose contact point differs, `telecom.mobile.2` for the second mobile phone."""
    old, new = (explode({TELECOM: document.get(TELECOM)}, {}) for document in (before, after))
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def difference(stand: Mapping[str, Any], points: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What somebody who sends a whole list back has changed of it: slot -> contact point, or None where it was taken away.

    `stand`: the contact points that stand, by slot. A point that is new takes the place of one of its kind that is gone.
    """
    left = dict(stand)
    fresh: list[Mapping[str, Any]] = []
    for point in points:
        found = next((name for name, value in left.items() if same(value, point)), None)
        if found is None:
            fresh.append(point)
        else:
            del left[found]
    changed: dict[str, Any] = dict.fromkeys(left)
    for point in fresh:
        base = f"telecom.{slot_of(point)}"
        free = [n for n in sorted(left) if (n == base or n.startswith(base + ".")) and changed[n] is None]
        name, number = (free or [base])[0], 2
        while not free and (name in stand or name in changed):
            name, number = f"{base}.{number}", number + 1
        changed[name] = dict(point)
    return changed


def explode(values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `telecom` as slots; slots that are known but not listed any more become None."""
    if "telecom" not in values:
        return dict(values)
    flat = {name: value for name, value in values.items() if name != "telecom"}
    for name in known:
        if name.startswith("telecom."):
            flat[name] = None
    for point in values["telecom"] or ():
        name = f"telecom.{slot_of(point)}"
        number = 2
        while flat.get(name) is not None:
            name = f"telecom.{slot_of(point)}.{number}"
            number += 1
        flat[name] = dict(point)
    return flat


def explode_period(values: Mapping[str, Any]) -> dict[str, Any]:
    """A visit's `period` as `period.start` and `period.end`: a discharge that names only the end keeps the start.

    A visit that a message says is open has no end: so a cancelled discharge (A13) takes it back.
    """
    flat = {name: value for name, value in values.items() if name != "period"}
    if "period" in values:
        period = values["period"] or {"start": None, "end": None}
        flat |= {f"period.{name}": value for name, value in period.items()}
    if values.get("status") in OPEN and "period.end" not in flat:
        flat["period.end"] = None
    return flat


def assemble_period(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The document again."""
    document = dict(flat)
    period = {name: value for name in ("start", "end") if (value := document.pop(f"period.{name}", None)) is not None}
    if period:
        document["period"] = period
    return document


def assemble(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The document again: slots as one list, in a fixed order."""
    document = {name: value for name, value in flat.items() if not name.startswith("telecom.")}
    names = sorted((n for n in flat if n.startswith("telecom.")), key=_slot_order)
    points: list[Any] = []
    for name in names:
        if flat[name] is not None and flat[name] not in points:
            points.append(flat[name])
    if points:
        document["telecom"] = points
    return document


def _slot_order(name: str) -> tuple[int, str]:
    slot = name.split(".")[1]
    return (ORDER.index(slot) if slot in ORDER else len(ORDER), name)


def same(left: Any, right: Any) -> bool:
    """Whether two values of a field say the same, however they are written (raw forms and spacing aside)."""
    if left == right:
        return True
    if isinstance(left, str) or isinstance(right, str) or (type(left) is type(right) is list and len(left) != len(right)):
        return False
    return bool(_plain(left) == _plain(right))


def is_echo(sent: Any, heard: Any) -> bool:
    """Whether `heard` is what we sent, as the target cuts and rewrites it: the same, or a cut of it."""
    if same(sent, heard):
        return True
    if sent is None or heard is None:
        return False
    left, right = _text(sent), _text(heard)
    return len(right) * 2 >= len(left) > 0 and (left.startswith(right) or left.endswith(right))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k != "raw" and v is not None}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value


def _text(value: Any) -> str:
    """What is compared: of a phone its digits, of a party its number, of anything else its text without spaces."""
    if isinstance(value, list):
        return "".join(_text(v) for v in value)
    if isinstance(value, Mapping):
        if value.get("system") in ("phone", "sms", "fax"):
            digits = _DIGITS.sub("", str(value.get("value", "")))
            return digits.removeprefix("82").lstrip("0")
        number = value.get("identifier")
        value = (number if isinstance(number, Mapping) else value).get("value") or value.get("text") or value.get("name") or ""
    return "".join(str(value).split())
