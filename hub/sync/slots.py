"""Slots: a patient's contact points compete one by one (mobile, home, e-mail), not as one list.

A source's `telecom` list is kept in its source record as `telecom.<slot>` fields; a list that a message carries is a
snapshot, so slots it no longer has are deleted for that source. The golden record has the list again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_DIGITS = re.compile(r"\D")
ORDER = ("mobile", "home", "work", "phone", "email")


def slot_of(point: Mapping[str, Any]) -> str:
    """`mobile`, `home`, `work` … for phones with a use, else the system: `phone`, `email`, `fax`."""
    system = point.get("system", "phone")
    if system in ("phone", "sms"):
        return str(point.get("use") or "phone")
    return str(system)


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
    return left == right or bool(_plain(left) == _plain(right))


def is_echo(sent: Any, heard: Any) -> bool:
    """Whether `heard` is what we sent, as the target cuts and rewrites it: the same, or a cut of it."""
    if same(sent, heard):
        return True
    left, right = _text(sent), _text(heard)
    return len(right) * 2 >= len(left) > 0 and (left.startswith(right) or left.endswith(right))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k != "raw" and v is not None}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value


def _text(value: Any) -> str:
    """What is compared of a contact point or address: its digits, or its text without spaces."""
    if isinstance(value, list):
        return "".join(_text(v) for v in value)
    if isinstance(value, Mapping):
        if value.get("system") in ("phone", "sms", "fax"):
            digits = _DIGITS.sub("", str(value.get("value", "")))
            return digits.removeprefix("82").lstrip("0")
        value = value.get("value") or value.get("text") or ""
    return "".join(str(value).split())
