"""Visits, bookings and insurance as FHIR R4: Encounter, Appointment, Coverage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from hub.codecs.fhir import Document
from hub.codecs.fhir_types import (
    ABSENT,
    OWN,
    V2,
    V3,
    Systems,
    code,
    coded,
    concept,
    every,
    extension,
    human_name,
    identifier,
    instant,
    one_of,
    party,
    period,
    present,
    reference,
    string,
    words,
)

ENCOUNTER_STATUSES = ("planned", "arrived", "triaged", "in-progress", "onleave", "finished", "cancelled", "entered-in-error")
APPOINTMENT_STATUSES = (
    "proposed", "pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "entered-in-error", "checked-in", "waitlist",
)  # fmt: skip
UNSETTLED = frozenset({"proposed", "cancelled", "waitlist"})  # app-3: these need no start and end
ACT_CODES = frozenset({"AMB", "EMER", "FLD", "HH", "IMP", "ACUTE", "NONAC", "OBSENC", "PRENC", "SS", "VR"})  # v3-ActEncounterCode
V2_CLASSES = frozenset("EIOPRBCNU")  # table 0004
PARTICIPATION = {"attending": "ATND", "referring": "REF", "consulting": "CON", "admitting": "ADM", "performer": "PPRF"}
ACCEPTED = frozenset({"booked", "arrived", "fulfilled", "checked-in", "noshow"})

KR_INSURANCE = "http://www.hl7korea.or.kr/fhir/krcore/StructureDefinition/krcore-insuranceTypes"
HIRA_INSURANCE = "http://www.hl7korea.or.kr/CodeSystem/hira-insurance-types"
HIRA_TYPES = {  # canonical insurance -> hira-insurance-types; the others (산재, 자보, 일반 …) have no code there
    "NHI": ("4", "건강보험"), "MED_AID_1": ("5", "의료급여"), "MED_AID_2": ("5", "의료급여"), "VETERANS": ("7", "보훈"),
    "FREE": ("9", "무료진료"),
}  # fmt: skip


def encounter(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """A visit. The Korean visit state (접수, 진료, 수납) and kind (신환, 초진, 재진) are extensions of our own."""
    account = data.get("account")
    number = identifier(account, systems) if isinstance(account, Mapping) else {}
    return present(
        {
            "extension": [
                *extension(KR_INSURANCE, valueCodeableConcept=_insurance(data.get("insuranceType"))),
                *extension(f"{OWN}extension:visit-state", valueCode=code(data.get("state"))),
                *extension(f"{OWN}extension:visit-kind", valueCode=code(data.get("visitKind"))),
            ],
            "identifier": every(identifier, data.get("identifier"), systems),
            "status": one_of(data.get("status"), ENCOUNTER_STATUSES) or "unknown",
            "class": _class(data.get("class")),
            "type": _list(concept(data.get("type"), systems)),
            "serviceType": words(data.get("department")),
            "subject": reference("Patient", patient_id),
            "participant": every(_participant, data.get("participant"), systems),
            "period": period(data.get("period")),
            "reasonCode": every(concept, data.get("reason"), systems),
            "account": [{"identifier": number}] if number else None,
            "hospitalization": present(
                {
                    "admitSource": coded(data.get("admitSource"), f"{V2}0023"),
                    "dischargeDisposition": coded(data.get("dischargeDisposition"), f"{V2}0112"),
                }
            ),
            "location": [
                *_place(data.get("location")),
                *({**place, "status": "completed"} for place in _place(data.get("priorLocation"))),
            ],
        }
    )


def appointment(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """A booking. app-2 and app-3: start and end are both there; one that nobody told is marked absent."""
    status = one_of(data.get("status"), APPOINTMENT_STATUSES) or "pending"
    minutes = data.get("minutes")
    minutes = minutes if isinstance(minutes, int) and not isinstance(minutes, bool) and 0 < minutes < 1_000_000 else None
    start = instant(data.get("start"))
    end = instant(data.get("end")) or _after(start, minutes)
    said = "accepted" if status in ACCEPTED else "declined" if status in ("cancelled", "entered-in-error") else "needs-action"
    actors = [reference("Patient", patient_id)] if patient_id else []
    actors += [party(one, systems, ("Practitioner", "RelatedPerson", "Location")) for one in data.get("participant") or ()]
    place = string(data.get("location"))
    if place:
        actors.append({"type": "Location", "display": place})
    return present(
        {
            "identifier": every(identifier, data.get("identifier"), systems),
            "status": status,
            "serviceType": _list(words(data.get("department"))),
            "appointmentType": concept(data.get("type"), systems),
            "reasonCode": _list(concept(data.get("reason"), systems)),
            **_from_to(start, end, status),
            "minutesDuration": minutes,
            "comment": string(data.get("comment")),
            "participant": [{"actor": actor, "status": said} for actor in actors if actor] or [{"actor": ABSENT, "status": said}],
        }
    )


def coverage(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """Insurance; HL7's v2-to-FHIR calls whatever an IN1 tells active."""
    payor = party(data.get("payor"), systems, ("Organization", "Patient", "RelatedPerson"))
    subscriber = data.get("subscriber")
    name = human_name(subscriber) if isinstance(subscriber, Mapping) else {}
    group = string(data.get("group"))
    return present(
        {
            "contained": [_subscriber(name, patient_id)] if name else None,
            "status": "active",
            "type": concept(data.get("type"), systems),
            "subscriber": {"reference": "#subscriber", "display": name["text"]} if name else None,
            "subscriberId": string(data.get("subscriberId")),
            "beneficiary": reference("Patient", patient_id) or ABSENT,
            "relationship": _to_subscriber(data.get("relationship")),
            "period": period(data.get("period")),
            "payor": [payor or ABSENT],
            "class": [{"type": coded("group", "http://terminology.hl7.org/CodeSystem/coverage-class"), "value": group}]
            if group
            else None,
        }
    )


def _subscriber(name: Document, patient_id: str | None) -> Document:
    owner = reference("Patient", patient_id) or ABSENT
    return {"resourceType": "RelatedPerson", "id": "subscriber", "patient": owner, "name": [name]}


def _to_subscriber(value: object) -> Document:
    """Table 0063's code of the insured (IN1-17)."""
    return coded(value, f"{V2}0063") if isinstance(value, str) and value.isascii() else words(value)


def _class(value: object) -> Document:
    """Encounter.class must be there (v3-ActCode); what table 0004 knows beyond it keeps its own system."""
    found = code(value)
    if found in ACT_CODES:
        return {"system": f"{V3}ActCode", "code": found}
    if found in V2_CLASSES:
        return {"system": f"{V2}0004", "code": found}
    return present({"system": f"{V3}NullFlavor", "code": "OTH" if found else "UNK", "display": found})


def _insurance(value: object) -> Document:
    """hira-insurance-types; the binding is required, so that the other canonical kinds give no extension at all."""
    if not isinstance(value, str) or value not in HIRA_TYPES:
        return {}
    number, display = HIRA_TYPES[value]
    return {"coding": [{"system": HIRA_INSURANCE, "code": number, "display": display}]}


def _participant(one: Mapping[str, Any], systems: Systems) -> Document:
    who = party(one, systems, ("Practitioner", "RelatedPerson"))
    if not who:
        return {}
    role = code(one.get("role"))
    kind = coded(PARTICIPATION[role], f"{V3}ParticipationType") if role in PARTICIPATION else words(role)
    return present({"type": _list(kind), "individual": who})


def _place(value: object) -> list[Document]:
    place = string(value)
    return [{"location": {"display": place}}] if place else []


def _from_to(start: str | None, end: str | None, status: str) -> Document:
    found = present({"start": start, "end": end})
    if len(found) == 2 or (not found and status in UNSETTLED):
        return found
    return {name: found[name] for name in found} | {f"_{name}": ABSENT for name in ("start", "end") if name not in found}


def _after(start: str | None, minutes: int | None) -> str | None:
    if start is None or minutes is None:
        return None
    try:
        return (datetime.fromisoformat(start) + timedelta(minutes=minutes)).isoformat()
    except OverflowError:  # the last year that there is
        return None


def _list(one: Document) -> list[Document]:
    return [one] if one else []
