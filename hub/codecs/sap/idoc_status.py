"""What SAP says of an IDoc that it was sent: status records (ALEAUD01's E1STATE, SYSTAT01's E1STATS) as what they mean here.

One table of SAP's status values (EDIDS-STATUS; SAP Help "Status of an IDoc"). Only number, class and number of the message of
T100 go into texts: STATXT and its parameters may name a patient, and stay in the message's sealed body.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hub.domain.facts import Settled

EVENTS = ("idoc.ALEAUD", "idoc.STATUS")
# Value -> whether SAP acted: True posted, False it will not by itself, None on its way
STATUSES: Mapping[str, bool | None] = {
    # inbound processing in SAP, which ALEAUD tells of
    "50": None, "51": False, "52": False, "53": True, "54": False, "55": None, "56": False, "57": False, "58": None, "60": False,
    "61": None, "62": None, "63": False, "64": None, "65": False, "66": None, "68": False, "69": None, "70": None, "71": None,
    "73": None, "74": None, "75": None,
    # outbound processing, which a subsystem between us and SAP tells of
    "01": None, "02": False, "03": None, "04": False, "05": False, "06": None, "07": False, "08": None, "09": False, "10": None,
    "11": False, "12": None, "13": None, "14": None, "15": False, "16": True, "17": False, "18": None, "19": None, "20": False,
    "22": None, "23": False, "24": None, "25": None, "26": False, "29": False, "30": None, "31": False, "32": None, "33": None,
    "34": False, "35": None, "36": False, "37": False, "38": None, "39": None, "40": False, "41": True,
}  # fmt: skip
MOST = 10_000  # of one IDoc; SAP itself confirms at most 500 in one
_T100 = re.compile(r"SAP([A-Z0-9/_]{1,20}?)([0-9]{3})\Z")


class Told(NamedTuple):
    """One status: whose, which, and the message of T100 ("VG 204", or "")."""

    docnum: str
    status: str
    message: str


def settled(event: str, row: Mapping[str, Any], at: int = 0) -> list[Settled]:
    """What a status IDoc, made at `at` (µs), says of messages of ours. One whose DOCNUM is none of ours has the number 0."""
    return [_settled(one, at) for one, _ in zip(told(event, row), range(MOST), strict=False)]


def told(event: str, row: Mapping[str, Any]) -> Iterator[Told]:
    """The status records of such a row."""
    if event == "idoc.STATUS":
        for one in _rows(row, "E1STATS"):
            yield _of(one, _text(one, "DOCNUM") or _archive(one))
        return
    for head in _rows(row, "E1ADHDR"):
        for one in _rows(head, "E1STATE"):
            yield _of(one, _text(one, "DOCNUM"))


def _of(one: Mapping[str, Any], docnum: str) -> Told:
    class_, number = _text(one, "STAMID"), _text(one, "STAMNO")
    if not class_:
        found = _T100.match(_text(one, "STACOD"))
        class_, number = (found[1], found[2]) if found else ("", "")
    message = f"{class_} {number}".strip() if re.fullmatch(r"[A-Z0-9/_]{1,20}", class_) and _digits(number) else ""
    return Told(docnum, _text(one, "STATUS")[:2], message)


def _archive(one: Mapping[str, Any]) -> str:
    return _text(one, "ARCKEY").removeprefix("HUB-")


def _settled(one: Told, at: int) -> Settled:
    number = int(one.docnum) if _digits(one.docnum) and len(one.docnum) <= 16 else 0
    status = one.status if _digits(one.status) else "??"
    return Settled(number, STATUSES.get(status), f"SAP {status}" + (f" {one.message}" if one.message else ""), at)


def made_at(row: Mapping[str, Any], timezone: str) -> int | None:
    """When the IDoc was made, µs: SERIAL where it holds a time, else CREDAT and CRETIM; None where neither does."""
    control = row.get("EDI_DC40")
    if not isinstance(control, Mapping):
        return None
    serial, day = _text(control, "SERIAL"), _text(control, "CREDAT") + (_text(control, "CRETIM") or "000000")
    for text in (serial, day):
        if _digits(text[:14]) and len(text) >= 14:
            try:
                at = datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=ZoneInfo(timezone))
            except ValueError:
                continue
            more = text[14:20]
            return int(at.timestamp()) * 1_000_000 + (int(more.ljust(6, "0")) if _digits(more) else 0)
    return None


def _rows(row: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = row.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""
