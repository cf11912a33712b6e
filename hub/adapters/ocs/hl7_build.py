"""Canonical documents as HL7 v2 segments: what the OCS is told of a patient (ADT^A08, A31) and a booking (SIU^S12, S13, S15).

Pure: documents in, segments (hub.codecs.hl7v2.writer) out; the reverse of the tables that the shipped maps read by, so
that what comes back from the OCS reads as what was sent. Sections are HL7 v2.5.1's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from hub.codecs.hl7v2 import NULL
from hub.codecs.hl7v2.writer import Field, Fields, Repetition
from hub.domain.errors import Refused
from hub.domain.ports import Outbound
from hub.domain.search import national_phone
from hub.sync.slots import explode, slot_of

HUB = "HUB"  # assigner of numbers that the hub itself gives out
Segments = list[tuple[str, Fields]]
Document = Mapping[str, Any]

NAME_TYPE = {"usual": "D", "maiden": "M", "nickname": "N", "anonymous": "S", "temp": "TEMP", "old": "BAD"}  # table 0200
REPRESENTATION = {"ABC": "A", "IDE": "I", "SYL": "P"}  # table 0465
SEX = {"male": "M", "female": "F", "other": "O", "unknown": "U"}  # table 0001
ADDRESS_TYPE = {"home": "H", "work": "B", "temp": "C", "old": "BA", "billing": "BI"}  # table 0190
PHONE_USE = {"mobile": ("PRN", "CP"), "home": ("PRN", "PH"), "work": ("WPN", "PH"), "temp": ("VHN", "PH")}  # 0201, 0202
STATUS = {  # table 0278
    "pending": "Pending", "booked": "Booked", "arrived": "Started", "fulfilled": "Complete", "cancelled": "Cancelled",
    "noshow": "Noshow", "entered-in-error": "Deleted",
}  # fmt: skip
GONE = frozenset({"cancelled", "entered-in-error"})
SCHEDULING = {"created": "SIU^S12", "updated": "SIU^S13", "cancelled": "SIU^S15"}


@dataclass(slots=True)
class Built:
    """One message before its header: event, segments, canonical fields as sent, and the number the OCS knows the thing by.

    `known`: whether the OCS has given the patient a number.
    """

    event: str
    segments: Segments
    sent_fields: dict[str, Any] = field(default_factory=dict)
    peer_id: str | None = None
    known: bool = True


def hl7_time(text: str, zone: tzinfo) -> str:
    """ISO 8601 -> HL7 TS: `2026-11-22T09:00:00+09:00` -> `20261122090000+0900` in `zone`; dates as long as they are."""
    if "T" not in text:
        return text.replace("-", "")
    at = datetime.fromisoformat(text)
    with suppress(OverflowError):  # within a day of the years 1 and 9999 a time stays in its own zone
        at = at.replace(tzinfo=zone) if at.tzinfo is None else at.astimezone(zone)
    return f"{at.year:04}" + at.strftime("%m%d%H%M%S%z")


def hl7_instant(micros: int, zone: tzinfo) -> str:
    """µs since 1970 UTC -> HL7 TS with offset."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).astimezone(zone).strftime("%Y%m%d%H%M%S%z")


def patient_message(message: Outbound, *, event: str, assigner: str, zone: tzinfo) -> Built:
    """ADT^A08 or A31 of the current golden record: EVN, PID, PV1 (§3.3.8, §3.3.31). Raises Refused without any number."""
    at = hl7_instant(message.at, zone)
    pid = _pid(message, assigner, zone, message.changed)
    number = _numbers(message, assigner)[0]
    segments: Segments = [("EVN", {1: event[-3:], 2: at}), ("PID", pid), ("PV1", {1: "1", 2: "N"})]  # 0004 N: no visit meant
    return Built(event, segments, _sent_of_patient(message), number[0], _is_own(number, assigner))


def booking_message(message: Outbound, *, assigner: str, zone: tzinfo) -> Built:
    """SIU of the appointment as it stands now (§10.4): S15 as soon as it is off, whatever the message was about.

    The placer's number (SCH-1) is the appointment's own, else its id under HUB; the filler's (SCH-2) where it is known.
    """
    document = message.resource
    if not document.get("start"):
        raise Refused("the appointment has no start time", code="no_start")
    action = "cancelled" if document.get("status") in GONE else message.type.rpartition(".")[2]
    placer = _number(document, "PLAC") or (message.resource_id, HUB)
    pid = _pid(message, assigner, zone, ())
    segments: Segments = [("SCH", _sch(document, placer, zone))]
    start, end = _span(document, zone)
    segments.append(("TQ1", {1: "1", 7: start, 8: end}))
    if document.get("comment"):
        segments.append(("NTE", {1: "1", 3: str(document["comment"])}))
    visit: Fields = {1: "1", 2: "O", 10: str(document.get("department", ""))}
    segments += [("PID", pid), ("PV1", visit), ("RGS", {1: "1"}), *_resources(document)]
    sent: dict[str, Any] = {
        key: document[key] for key in ("start", "end", "minutes", "status", "department", "location") if key in document
    }
    return Built(SCHEDULING.get(action, "SIU^S13"), segments, sent, placer[0])


# ---- PID (§3.4.2) ------------------------------------------------------------------------------------------------------


def _pid(message: Outbound, assigner: str, zone: tzinfo, changed: Iterable[str]) -> dict[int, Field]:
    fields = {1: "1", 3: list[Repetition](_numbers(message, assigner)), **person_fields(message.patient, zone)}
    for name, number in (("address", 11), ("telecom", 13)):
        if not fields[number] and any(one.partition(".")[0] == name for one in changed):
            fields[number] = NULL  # it was taken away: an empty field would mean "no change" (§2.5.3)
    return fields


def person_fields(patient: Document, zone: tzinfo) -> dict[int, Field]:
    """PID from PID-5 on: who somebody is, without his numbers."""
    points = [point for point in patient.get("telecom", ()) if point.get("use") != "old"]
    fields: dict[int, Field] = {
        5: [_xpn(name) for name in patient.get("name", ())],
        7: hl7_time(str(patient.get("birthDate", "")), zone),
        8: SEX.get(patient.get("gender", ""), ""),
        11: [_xad(address) for address in patient.get("address", ())],
        13: [_xtn(point) for point in points if slot_of(point) != "work"],
        14: [_xtn(point) for point in points if slot_of(point) == "work"],
        15: str(patient.get("language", "")),
    }
    if patient.get("deceased") or patient.get("deceasedAt"):
        fields |= {29: hl7_time(str(patient.get("deceasedAt", "")), zone), 30: "Y"}
    return fields


def _numbers(message: Outbound, assigner: str) -> list[tuple[str, ...]]:
    """PID-3: the OCS's own number first; the hub's where it gave none (a prospect), so that it can answer with its own."""
    found: list[tuple[str, ...]] = [
        (str(one["value"]), "", "", str(one["assigner"]), str(one.get("type", "MR")))
        for one in message.patient.get("identifier", ())
        if one.get("use") != "old"
    ]
    own = [one for one in found if _is_own(one, assigner)]
    others = [one for one in found if one not in own]
    if not own and not any(one[3] == HUB for one in others):
        others.append((message.patient_id, "", "", HUB, "PI"))
    return own + others


def _is_own(number: tuple[str, ...], assigner: str) -> bool:
    """A number that the OCS gave out; where the channel names no assigner, any that is not the hub's."""
    return number[3] == assigner if assigner else number[3] != HUB


def _xpn(name: Document) -> Repetition:
    family, given = str(name.get("family", "")), [str(one) for one in name.get("given", ())]
    if not family and not given:
        family = str(name.get("text", ""))  # whole in XPN.1, as Korean systems do
    suffix, prefix = " ".join(name.get("suffix", ())), " ".join(name.get("prefix", ()))
    return (
        family, given[0] if given else "", " ".join(given[1:]), suffix, prefix, "",
        NAME_TYPE.get(name.get("use", ""), "L"), REPRESENTATION.get(name.get("representation", ""), ""),
    )  # fmt: skip


def _xad(address: Document) -> Repetition:
    line = [str(one) for one in address.get("line", ())]
    parts = [str(address.get(key, "")) for key in ("city", "state", "postalCode", "country")]
    if not line and not any(parts[:2]):
        line = [str(address.get("text", ""))]
    return (
        line[0] if line else "", " ".join(line[1:]), *parts, ADDRESS_TYPE.get(address.get("use", ""), ""), "",
        str(address.get("district", "")),
    )  # fmt: skip


def _text(address: Document) -> str:
    """An address in one line as the maps read it back: XAD has no place for the line that was typed."""
    parts = [*address.get("line", ()), *(address.get(key) for key in ("city", "state", "postalCode", "country"))]
    return ", ".join(str(one) for one in parts if one) or str(address.get("text", ""))


def _xtn(point: Document) -> Repetition:
    value = str(point.get("value", ""))
    if point.get("system") == "email":
        return ("", "NET", "Internet", value)
    text, country = national_phone(value)
    use, equipment = PHONE_USE.get(str(point.get("use")), ("", "PH"))
    if point.get("system") in ("fax", "pager"):
        equipment = {"fax": "FX", "pager": "BP"}[str(point["system"])]
    if country != "KR":
        return (text, use, equipment)
    area, _, local = text.partition("-")
    if not local:
        return (text, use, equipment)
    return (text, use, equipment, "", "82", area.removeprefix("0"), local.replace("-", ""))


def _sent_of_patient(message: Outbound) -> dict[str, Any]:
    """What of the golden record went out, by canonical field; None where it was taken away."""
    patient = message.patient
    sent: dict[str, Any] = {key: patient[key] for key in ("name", "birthDate", "gender") if key in patient}
    if "address" in patient or "address" in message.changed:
        sent["address"] = [{**address, "text": _text(address)} for address in patient.get("address", ())] or None
    points = explode({"telecom": patient.get("telecom", ())}, {})
    sent |= {name: point for name, point in points.items() if name != "telecom.old"}
    for name in message.changed:
        if name.startswith("telecom."):
            sent.setdefault(name, None)
    return sent


# ---- SCH and its resources (§10.6) -------------------------------------------------------------------------------------


def _sch(document: Document, placer: tuple[str, str], zone: tzinfo) -> dict[int, Field]:
    start, end = _span(document, zone)
    status = str(document.get("status", "pending"))
    return {
        1: placer,
        2: _number(document, "FILL") or "",
        6: _coded(document.get("reason")) or STATUS.get(status, "Pending"),  # required; maps read it where SCH-7 is empty
        7: _coded(document.get("reason")),
        8: _coded(document.get("type")),
        9: str(document["minutes"]) if document.get("minutes") else "",
        10: "min" if document.get("minutes") else "",
        11: ("", "", "", start, end),
        16: (HUB,),  # who stands for the filler's side is not ours to say, but the field is required
        20: (HUB,),
        25: STATUS.get(status, "Pending"),
    }


def _span(document: Document, zone: tzinfo) -> tuple[str, str]:
    return hl7_time(str(document["start"]), zone), hl7_time(str(document.get("end", "")), zone)


def _number(document: Document, kind: str) -> tuple[str, str] | None:
    """An EI of the appointment's identifier of a type (PLAC, FILL)."""
    for one in document.get("identifier", ()):
        if one.get("type") == kind:
            return str(one["value"]), str(one.get("assigner", ""))
    return None


def _coded(coding: Document | None) -> Field:
    if not coding:
        return ""
    return str(coding.get("code", "")), str(coding.get("display", "")), str(coding.get("system", ""))


def _resources(document: Document) -> Segments:
    """AIL for the place, AIP for each person (§10.6.6, §10.6.7)."""
    segments: Segments = []
    if document.get("location"):
        segments.append(("AIL", {1: "1", 3: tuple(str(document["location"]).split(" ", 2)), 4: "CLINIC"}))
    for n, party in enumerate(document.get("participant", ()), 1):
        number = party.get("identifier") or {}
        name = str(party.get("name", ""))
        person = (str(number.get("value", "")), name, "", "", "", "", "", "", str(number.get("assigner", "")))
        segments.append(("AIP", {1: str(n), 3: person, 4: str(party.get("role", "performer")).upper()}))
    return segments
