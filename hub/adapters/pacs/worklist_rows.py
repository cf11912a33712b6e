"""Orders as a modality worklist has them (PS3.4 K.6.1.2.2), and what it asks for: rows of keywords, without sockets.

All keys match as C.2.2.2 says: single value, list of UID, universal, wildcard, range, sequence. A name matches in whichever of
its groups, without regard to case, and whether it is written with ^ or not: reception and modality seldom agree on that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from hub.adapters.pacs.order_numbers import order_numbers
from hub.codecs import korean
from hub.codecs.dicom.charset import codec_of
from hub.codecs.dicom.columns import CHARSET, Columns, columns
from hub.codecs.dicom.elements import Walk
from hub.codecs.dicom.header import row as row_of
from hub.codecs.dicom.uid import EXPLICIT_LITTLE
from hub.domain.ports import Order, Wanted

Row = dict[str, Any]
STEP_SEQUENCE = "ScheduledProcedureStepSequence"
CODE = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
TOP = (
    "AccessionNumber", "ReferringPhysicianName", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate",
    "PatientSex", "StudyInstanceUID", "RequestingPhysician", "RequestingService", "RequestedProcedureDescription",
    "RequestedProcedureID",
    "ReasonForTheRequestedProcedure", "RequestedProcedurePriority", "RequestedProcedureComments",
    "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest", "IssueDateOfImagingServiceRequest",
)  # fmt: skip
STEP = (
    "Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime",
    "ScheduledPerformingPhysicianName", "ScheduledProcedureStepDescription", "ScheduledProcedureStepID",
    "ScheduledProcedureStepLocation", "ScheduledProcedureStepStatus",
)  # fmt: skip
PRIORITY = {"stat": "STAT", "asap": "HIGH", "urgent": "HIGH", "routine": "ROUTINE"}
NUMBERS = (None, "", "MR", "PI", "PT")  # types of a patient's numbers (HL7 table 0203)
SEX = {"male": "M", "female": "F", "other": "O"}
START = ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")
PEOPLE = frozenset({"PatientName", "ReferringPhysicianName", "RequestingPhysician", "ScheduledPerformingPhysicianName"})
DAY, SPREAD = timedelta(days=1), timedelta(hours=14)  # an order without a time of day stands in the index by some zone's midnight
BROAD = frozenset({"utf-8", "cp949", "gb18030"})  # codecs that can say a Korean name


@dataclass(frozen=True, slots=True)
class Asked:
    """The identifier of a C-FIND: keys of the order and of its step, "" for what is only to be returned; None: no step."""

    keys: Row
    step: Row | None
    charset: tuple[str, ...]

    def value(self, keyword: str) -> str:
        found = self.keys.get(keyword) or (self.step or {}).get(keyword) or ""
        return found if isinstance(found, str) else ""


def read(data: bytes, syntax: str, default: str) -> Asked:
    """Raises Unreadable."""
    known = _columns()
    found = Walk(data, explicit=syntax == EXPLICIT_LITTLE).read(known.asked)
    values = row_of(found, known, default)
    keys: Row = {}
    step: Row | None = None
    for tag, element in found.items():
        column = known.get(tag)
        if column is not None and column.keyword == STEP_SEQUENCE and column.items is not None:
            inner = element.items[0] if element.items else {}
            said = (values.get(STEP_SEQUENCE) or [{}])[0]
            step = {one.keyword: said.get(one.keyword, "") for at, one in column.items.items() if at in inner or not inner}
        elif column is not None:
            keys[column.keyword] = values.get(column.keyword, "")
    declared = found.get(CHARSET)
    terms = declared.value.decode("ascii", "replace").strip(" \0").split("\\") if declared is not None else []
    return Asked(keys, step, tuple(term.strip() for term in terms) if any(terms) else ())


def _columns() -> Columns:
    known = columns((*TOP, STEP_SEQUENCE), {"RequestedProcedureCodeSequence": CODE})
    tag = next(tag for tag, one in known.items() if one.keyword == STEP_SEQUENCE)
    step = columns(STEP, {"ScheduledProtocolCodeSequence": CODE})
    return Columns({**known, tag: type(known[tag])(STEP_SEQUENCE, "SQ", step)})


def terms_for(asked: Asked, default: Sequence[str]) -> tuple[str, ...]:
    """The character set of the answers: as asked where that can say Korean names, else the channel's."""
    return asked.charset if any(codec_of(term) in BROAD for term in asked.charset) else tuple(default)


def wanted(asked: Asked, zone: tzinfo, past_days: int, ahead_days: int) -> Wanted:
    """What to read of the orders: by number and day. What is read is held against all keys afterwards.

    Whatever is asked but an order's number, it begins with a day: what nobody ever closes is not read again by each question.
    """
    patient, order = _plain(asked.value("PatientID")), _plain(asked.value("AccessionNumber"))
    order = order or _plain(asked.value("RequestedProcedureID"))
    day = asked.value(START[0])
    first, last = (_day(text, zone) for text in _range(day))
    today = datetime.now(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    start = None if order else _micros(today - timedelta(days=past_days))
    end = None if order or patient or day else _micros(today + timedelta(days=ahead_days))
    return Wanted(_micros(first - SPREAD) if first else start, _micros(last + DAY + SPREAD) if last else end, patient, order)


def row(order: Order, zone: tzinfo, assigner: str) -> Row:
    """All that is known of an order: one requested procedure of one step. `assigner`: whose patient numbers modalities know."""
    data, patient = order.data, order.patient.data
    numbers = order_numbers(data, order.id)
    date, time = _start(data, zone)
    issuer, number = _number(patient, assigner)
    code = data.get("code") or {}
    what = str(code.get("display") or code.get("code") or "")
    named = str(code.get("code") or "")[:16]
    coded = {"CodeValue": named, "CodingSchemeDesignator": str(code.get("system") or "L")[:16], "CodeMeaning": what[:64]}
    codes = [coded] if named else None
    performer = _party(data, "performer")
    return {
        "AccessionNumber": numbers.accession,
        "ReferringPhysicianName": _party(data, "referring", "requester"),
        "PatientName": person_name(patient.get("name") or ()),
        "PatientID": number,
        "IssuerOfPatientID": issuer,
        "PatientBirthDate": str(patient.get("birthDate", "")).replace("-", "")[:8],
        "PatientSex": SEX.get(str(patient.get("gender", "")), ""),
        "StudyInstanceUID": numbers.study_uid,
        "RequestingPhysician": _party(data, "requester"),
        "RequestingService": str(data.get("department", ""))[:64],
        "RequestedProcedureDescription": what[:64],
        "RequestedProcedureCodeSequence": codes,
        "RequestedProcedureID": numbers.procedure,
        "ReasonForTheRequestedProcedure": _reason(data)[:64],
        "RequestedProcedurePriority": PRIORITY.get(str(data.get("priority", "")), "ROUTINE"),
        "RequestedProcedureComments": str(data.get("comment", ""))[:10240],
        "PlacerOrderNumberImagingServiceRequest": _identifier(data, "PLAC"),
        "FillerOrderNumberImagingServiceRequest": _identifier(data, "FILL"),
        "IssueDateOfImagingServiceRequest": str(data.get("authoredOn", ""))[:10].replace("-", ""),
        STEP_SEQUENCE: [
            {
                "Modality": _modality(order),
                "ScheduledStationAETitle": str(data.get("station", ""))[:16],
                START[0]: date,
                START[1]: time,
                "ScheduledPerformingPhysicianName": performer,
                "ScheduledProcedureStepDescription": what[:64],
                "ScheduledProtocolCodeSequence": codes,
                "ScheduledProcedureStepID": numbers.step,
                "ScheduledProcedureStepLocation": str(data.get("location", ""))[:16],
                "ScheduledProcedureStepStatus": "STARTED" if data.get("state") == "in-progress" else "SCHEDULED",
            }
        ],
    }


def _modality(order: Order) -> str:
    return str(order.data.get("modality") or "OT")  # type 1; OT is Other (PS3.3 C.7.3.1.1.1)


def may_match(order: Order, asked: Asked) -> bool:
    """What most questions ask for, and costs nothing to see: whether a row of it need be made at all."""
    return _match(_modality(order), (asked.step or {}).get("Modality"), "")


def matches(full: Row, asked: Asked) -> bool:
    """Whether an order meets every key that has a value."""
    step = full[STEP_SEQUENCE][0]
    if not all(_match(full.get(keyword), value, keyword) for keyword, value in asked.keys.items()):
        return False
    wanted_step = dict(asked.step or {})
    date, time = (str(wanted_step.pop(keyword, "") or "") for keyword in START)
    if not _starts(step[START[0]], step[START[1]], date, time):
        return False
    station = wanted_step.pop("ScheduledStationAETitle", "")
    if station and step["ScheduledStationAETitle"] and not _match(step["ScheduledStationAETitle"], station, ""):
        return False
    return all(_match(step.get(keyword), value, keyword) for keyword, value in wanted_step.items())


def answer(full: Row, asked: Asked, asker: str) -> Row:
    """What was asked for of it. A step that nobody gave to a station is that of whoever asks (`asker`: its AE title)."""
    found: Row = {keyword: full.get(keyword, "") for keyword in asked.keys}
    if asked.step is not None:
        station = asked.step.get("ScheduledStationAETitle") or ""
        own = station if isinstance(station, str) and _plain(station) else asker
        step = full[STEP_SEQUENCE][0]
        said = step | {"ScheduledStationAETitle": step["ScheduledStationAETitle"] or own}
        found[STEP_SEQUENCE] = [{keyword: said.get(keyword, "") for keyword in asked.step}]
    return found


# -- values -------------------------------------------------------------------------------------------------------


def person_name(names: Iterable[Mapping[str, Any]]) -> str:
    """PN by its groups (PS3.5 6.2.1, annex I). Without a name in Latin letters the Hangul stands in the first group: it is the
    only one that many modalities show."""
    by_script: dict[str, str] = {}
    for name in names:
        if name.get("use") not in ("old", "anonymous"):
            by_script.setdefault(str(name.get("representation") or _script(str(name.get("text", "")))), _components(name))
    latin, hanja, hangul = (by_script.get(script, "") for script in ("ABC", "IDE", "SYL"))
    groups = [latin, hanja, hangul] if latin else [hangul or hanja, hanja if hangul else "", ""]
    return "=".join(groups).rstrip("=")


def _components(name: Mapping[str, Any]) -> str:
    family, given = str(name.get("family", "")), " ".join(name.get("given") or ())
    text = f"{family}^{given}" if family and given else family or str(name.get("text", ""))
    return re.sub(r"[=\\\x00-\x1f]", " ", text)[:64]


def _script(text: str) -> str:
    if any("가" <= letter <= "힣" for letter in text):
        return "SYL"
    return "ABC" if text.isascii() else "IDE"


def _party(data: Mapping[str, Any], *roles: str) -> str:
    parties = [one for role in roles for one in data.get("participant") or () if one.get("role") == role and one.get("name")]
    return _components({"text": parties[0]["name"]}) if parties else ""


def _identifier(data: Mapping[str, Any], kind: str) -> str:
    return next((str(one["value"])[:64] for one in data.get("identifier") or () if one.get("type") == kind), "")


def _number(patient: Mapping[str, Any], assigner: str) -> tuple[str, str]:
    """Issuer and number: of `assigner`, else the first that there is. Never a resident registration number."""
    known = [
        (str(one["assigner"])[:64], str(one["value"])[:64])
        for one in patient.get("identifier") or ()
        if one.get("use") != "old" and one.get("type") in NUMBERS and not korean.looks_like_rrn(str(one["value"]))
    ]
    own = [one for one in known if one[0] == assigner]
    return next(iter([*own, *known]), ("", ""))


def _reason(data: Mapping[str, Any]) -> str:
    return "; ".join(str(one.get("display") or one.get("code") or "") for one in data.get("reason") or ())


def _start(data: Mapping[str, Any], zone: tzinfo) -> tuple[str, str]:
    """DA and TM, in the hospital's zone: type 1, so an order without a schedule is of the day it was given."""
    text = str(data.get("occurrence") or data.get("authoredOn") or "")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return "", ""
    if at.tzinfo is not None:
        at = at.astimezone(zone)
    return f"{at:%Y%m%d}", f"{at:%H%M%S}"


# -- matching -----------------------------------------------------------------------------------------------------


def _match(held: Any, asked: Any, keyword: str) -> bool:
    if asked in ("", None, []):
        return True
    if isinstance(held, list) or (isinstance(asked, list) and asked and isinstance(asked[0], Mapping)):  # a sequence (C.2.2.2.6)
        items = [one for one in asked if isinstance(one, Mapping)] if isinstance(asked, list) else []
        return all(
            any(all(_match(one.get(key), value, key) for key, value in item.items()) for one in held or ()) for item in items
        )
    texts = asked if isinstance(asked, list) else [asked]
    return any(_matches(str(held or ""), str(text), keyword) for text in texts)


def _matches(held: str, asked: str, keyword: str) -> bool:
    if keyword.endswith("Date") and "-" in asked:
        first, last = _range(asked)
        return bool(held) and (not first or held >= first) and (not last or held <= last)
    if keyword in PEOPLE:
        return any(_wild(mine, wanted_) for mine in _forms(held) for wanted_ in _forms(asked))
    return _wild(held, asked)


def _forms(name: str) -> set[str]:
    """A name whole and by its groups, with its components apart and together, in lower case."""
    groups = {name, *name.split("=")} - {""}
    said = {group.casefold().strip(" ^") for group in groups}
    return said | {one.replace("^", "") for one in said} | {one.replace("^", " ") for one in said}


def _wild(held: str, asked: str) -> bool:
    """`*` any letters, `?` one (C.2.2.2.4); in as many steps as both have letters, whatever the pattern is."""
    held, asked = held.strip(), asked.strip()
    at = here = 0
    star, since = -1, 0
    while at < len(held):
        if here < len(asked) and asked[here] == "*":
            star, since, here = here, at, here + 1
        elif here < len(asked) and asked[here] in (held[at], "?"):
            at, here = at + 1, here + 1
        elif star >= 0:
            since, here = since + 1, star + 1
            at = since
        else:
            return False
    return not asked[here:].strip("*")


def _starts(date: str, time: str, asked_date: str, asked_time: str) -> bool:
    """Two ranges are one, from the first day's first moment to the last day's last one (K.6.1.2.2, remark on Start Time)."""
    first_day, last_day = _range(asked_date)
    first, last = _range(asked_time)
    if asked_date and asked_time and "-" in asked_date and "-" in asked_time:
        moment = date + time
        begin, end = (
            (first_day or "00000000") + first.ljust(6, "0")[:6],
            (last_day or "99999999") + (last or "235959").ljust(6, "9")[:6],
        )
        return begin <= moment <= end
    in_days = not asked_date or ((not first_day or date >= first_day) and (not last_day or date <= last_day))
    in_hours = not asked_time or (time[: len(first)] >= first and time[: len(last)] <= last)
    return in_days and in_hours and bool(date or not asked_date)


def _range(text: str) -> tuple[str, str]:
    """First and last of `20261122-20261124`, `-20261124`, `20261122-`; of a single value it is both."""
    first, dash, last = text.partition("-")
    clean = [re.sub(r"[.:]", "", part).strip() for part in (first, last)]
    return (clean[0], clean[1]) if dash else (clean[0], clean[0])


def _plain(text: str) -> str:
    """A value without wildcards."""
    return text if not re.search(r"[*?\\]", text) else ""


def _day(text: str, zone: tzinfo) -> datetime | None:
    try:
        at = datetime.strptime(text, "%Y%m%d").replace(tzinfo=zone) if text else None
    except ValueError:
        return None
    return at if at is not None and 1 < at.year < 9999 else None


def _micros(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
