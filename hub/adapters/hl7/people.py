"""Canonical patients as HL7 v2 segments: PID, and the messages that tell of a patient alone (ADT).

Pure: documents in, segments (hub.codecs.hl7v2.writer) out; the reverse of the tables that the shipped maps read by, so
that what comes back from the peer reads as what was sent. Sections are HL7 v2.5.1's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any

from hub.adapters.first import is_nameless
from hub.codecs.hl7v2 import NULL
from hub.codecs.hl7v2.writer import Field, Fields, Repetition
from hub.domain.ports import Outbound
from hub.domain.search import national_phone
from hub.sync.slots import explode, slot_of

HUB = "HUB"  # assigner of numbers that the hub itself gives out
NAMELESS: Repetition = ("", "", "", "", "", "", "U")  # PID-5 is required: table 0200, unspecified
Segments = list[tuple[str, Fields]]
Document = Mapping[str, Any]

NAME_TYPE = {"usual": "D", "maiden": "M", "nickname": "N", "anonymous": "S", "temp": "TEMP", "old": "BAD"}  # table 0200
REPRESENTATION = {"ABC": "A", "IDE": "I", "SYL": "P"}  # table 0465
SEX = {"male": "M", "female": "F", "other": "O", "unknown": "U"}  # table 0001
ADDRESS_TYPE = {"home": "H", "work": "B", "temp": "C", "old": "BA", "billing": "BI"}  # table 0190
PHONE_USE = {"mobile": ("PRN", "CP"), "home": ("PRN", "PH"), "work": ("WPN", "PH"), "temp": ("VHN", "PH")}  # 0201, 0202


@dataclass(slots=True)
class Built:
    """One message before its header: event, segments, canonical fields as sent, and the number the peer knows the thing by.

    `nothing`: why there is nothing to tell the peer. `already`: error codes (table 0357) of a "no" that says that what we want
    is so already. `unknown`: what it is told instead where it does not know the thing (204 Unknown key identifier).
    """

    event: str
    segments: Segments
    sent_fields: dict[str, Any] = field(default_factory=dict)
    peer_id: str | None = None
    nothing: str = ""
    already: frozenset[str] = frozenset()
    unknown: Built | None = None


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


def patient_message(message: Outbound, *, event: str, assigner: str, zone: tzinfo, peer: str) -> Built:
    """ADT^A08 or A31 of the current golden record: EVN, PID, PV1 (§3.3.8, §3.3.31)."""
    at = hl7_instant(message.at, zone)
    number = _numbers(message.patient, message.patient_id, assigner)[0]
    segments: Segments = [
        ("EVN", {1: event[-3:], 2: at}),
        ("PID", pid(message, assigner, zone, message.changed)),
        ("PV1", {1: "1", 2: "N"}),  # table 0004 N: no visit is meant
    ]
    nothing = "" if _is_own(number, assigner) else f"a patient without a number of {peer}"
    if is_nameless(message.patient):
        nothing = "a patient without a name"
    return Built(event, segments, _sent_of_patient(message), number[0], nothing)


def merge_message(message: Outbound, *, assigner: str, zone: tzinfo, peer: str) -> Built:
    """ADT^A40 (§3.3.40): the survivor as he stands now in PID, the numbers that were his prior record's in MRG."""
    prior = _numbers(message.resource, message.resource_id, assigner)
    survivor = {
        **message.patient,
        "identifier": [one for one in message.patient.get("identifier", ()) if not _is_among(one, prior)],
    }
    numbers = _numbers(survivor, message.patient_id, assigner)
    segments: Segments = [
        ("EVN", {1: "A40", 2: hl7_instant(message.at, zone)}),
        ("PID", {1: "1", 3: list[Repetition](numbers), **person_fields(message.patient, zone)}),
        ("MRG", {1: list[Repetition](prior), 7: [_xpn(name) for name in message.resource.get("name", ())[:1]]}),
    ]
    both = _is_own(prior[0], assigner) and _is_own(numbers[0], assigner)
    nothing = "" if both else f"a merge of patients who have not two numbers of {peer}"
    return Built("ADT^A40", segments, peer_id=prior[0][0], nothing=nothing)


# ---- PID (§3.4.2) ------------------------------------------------------------------------------------------------------


def pid(message: Outbound, assigner: str, zone: tzinfo, changed: Iterable[str] = ()) -> dict[int, Field]:
    """PID of the patient as he stands now. `changed`: what of it the message is about, so that what was taken away is deleted."""
    numbers = _numbers(message.patient, message.patient_id, assigner)
    fields = {1: "1", 3: list[Repetition](numbers), **person_fields(message.patient, zone)}
    for name, number in (("address", 11), ("telecom", 13)):
        if not fields[number] and any(one.partition(".")[0] == name for one in changed):
            fields[number] = NULL  # it was taken away: an empty field would mean "no change" (§2.5.3)
    return fields


def person_fields(patient: Document, zone: tzinfo) -> dict[int, Field]:
    """PID from PID-5 on: who somebody is, without his numbers."""
    points = [point for point in patient.get("telecom", ()) if point.get("use") != "old"]
    fields: dict[int, Field] = {
        5: [_xpn(name) for name in patient.get("name", ())] or [NAMELESS],
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


def _numbers(patient: Document, patient_id: str, assigner: str) -> list[tuple[str, ...]]:
    """PID-3: the peer's own number first; the hub's where it gave none (a prospect), so that it can answer with its own."""
    found: list[tuple[str, ...]] = [
        (str(one["value"]), "", "", str(one["assigner"]), str(one.get("type", "MR")))
        for one in patient.get("identifier", ())
        if one.get("use") != "old"
    ]
    own = [one for one in found if _is_own(one, assigner)]
    others = [one for one in found if one not in own]
    if not own and not any(one[3] == HUB for one in others):
        others.append((patient_id, "", "", HUB, "PI"))
    return own + others


def _is_own(number: tuple[str, ...], assigner: str) -> bool:
    """A number that the peer goes by; where the channel names no assigner, any that is not the hub's."""
    return number[3] == assigner if assigner else number[3] != HUB


def _is_among(identifier: Document, numbers: Iterable[tuple[str, ...]]) -> bool:
    return any((one[0], one[3]) == (identifier["value"], identifier["assigner"]) for one in numbers)


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


# ---- numbers, codes and people, as other segments name them ------------------------------------------------------------


def number_of(document: Document, kind: str) -> tuple[str, str] | None:
    """An EI of the document's identifier of a type (PLAC, FILL …)."""
    for one in document.get("identifier", ()):
        if one.get("type") == kind:
            return str(one["value"]), str(one.get("assigner", ""))
    return None


def coded(coding: Document | None) -> Field:
    """CE."""
    if not coding:
        return ""
    return str(coding.get("code", "")), str(coding.get("display", "")), str(coding.get("system", ""))


def xcn(party: Document) -> Repetition:
    """XCN of a person that a document names."""
    number = party.get("identifier") or {}
    return (str(number.get("value", "")), str(party.get("name", "")), "", "", "", "", "", "", str(number.get("assigner", "")))
