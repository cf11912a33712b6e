"""Orders, results and documents as FHIR R4: ServiceRequest and MedicationRequest, DiagnosticReport and Observation, and
DocumentReference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

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
    date_time,
    every,
    extension,
    identifier,
    instant,
    one_of,
    party,
    present,
    reference,
    string,
    strings,
    words,
)
from hub.domain.model import StepState

PEOPLE = ("Practitioner", "Organization")
REQUEST_STATUSES = ("draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown")
MEDICATION_STATUSES = ("active", "on-hold", "cancelled", "completed", "entered-in-error", "stopped", "draft", "unknown")
REPORT_STATUSES = (
    "registered", "partial", "preliminary", "final", "amended", "corrected", "appended", "cancelled", "entered-in-error",
    "unknown",
)  # fmt: skip
OBSERVATION_STATUSES = (
    "registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown",
)  # fmt: skip
PRIORITIES = ("routine", "urgent", "asap", "stat")
CATEGORIES = {  # servicerequest-category
    "referral": {"coding": [{"system": "http://snomed.info/sct", "code": "3457005", "display": "Patient referral"}]},
    "imaging": {"coding": [{"system": "http://snomed.info/sct", "code": "363679005", "display": "Imaging"}]},
}
DOC_STATUSES = {  # table 0271 -> composition-status
    "AU": "final", "LA": "final", "DI": "preliminary", "DO": "preliminary", "IP": "preliminary", "IN": "preliminary",
    "PA": "preliminary",
}  # fmt: skip


def service_request(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """An order or a referral; prr-1: a code's absence is no fault here."""
    category = data.get("category")
    group = data.get("group")
    place = words(data.get("location"))
    return present(
        {
            "extension": [
                *department(data),
                *state(data),
                *station(data),
                *extension(f"{OWN}extension:modality", valueCode=code(data.get("modality"))),
            ],
            "identifier": every(identifier, data.get("identifier"), systems),
            "requisition": identifier(group, systems) if isinstance(group, Mapping) else None,
            "status": one_of(data.get("status"), REQUEST_STATUSES) or "unknown",
            "intent": "order",
            "category": [CATEGORIES[category]] if category in CATEGORIES else [made] if (made := words(category)) else None,
            "priority": one_of(data.get("priority"), PRIORITIES),
            "code": concept(data.get("code"), systems),
            "subject": subject(patient_id),
            "encounter": encounter(data, systems),
            "occurrenceDateTime": date_time(data.get("occurrence")),
            "authoredOn": date_time(data.get("authoredOn")),
            "requester": next(iter(people(data, systems, "requester")), None),
            "performer": people(data, systems, "performer"),
            "locationCode": [place] if place else None,
            "reasonCode": every(concept, data.get("reason"), systems),
        }
    )


def medication_request(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """A prescription; dose and unit are given in words, as they were told."""
    dose = string(" ".join(filter(None, (string(data.get("dose")), string(data.get("unit"))))))
    when = date_time(data.get("occurrence"))
    dosage = present({"text": dose, "timing": {"event": [when]} if when else None})
    dispensed = exact(data.get("dispensed"))
    return present(
        {
            "extension": extension(f"{OWN}extension:dispensed-at", valueDateTime=date_time(data.get("dispensedAt"))),
            "identifier": every(identifier, data.get("identifier"), systems),
            "status": one_of(data.get("status"), MEDICATION_STATUSES) or "unknown",
            "intent": "order",
            "medicationCodeableConcept": concept(data.get("code"), systems) or ABSENT,
            "subject": subject(patient_id),
            "encounter": encounter(data, systems),
            "authoredOn": date_time(data.get("authoredOn")),
            "requester": next(iter(people(data, systems, "requester")), None),
            "dosageInstruction": [dosage] if dosage else None,
            "dispenseRequest": {"quantity": {"value": dispensed}} if dispensed is not None else None,
        }
    )


def diagnostic_report(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """A result as a whole. Its values are Observations that name it (extension `report`)."""
    order = party(data.get("basedOn"), systems, ("ServiceRequest",))
    study = party(data.get("imagingStudy"), systems, ("ImagingStudy",))
    return present(
        {
            "identifier": every(identifier, data.get("identifier"), systems),
            "basedOn": [order] if order else None,
            "imagingStudy": [study] if study else None,
            "status": one_of(data.get("status"), REPORT_STATUSES) or "unknown",
            "category": [made] if (made := coded(data.get("category"), f"{V2}0074")) else None,
            "code": concept(data.get("code"), systems) or ABSENT,
            "subject": subject(patient_id),
            "encounter": encounter(data, systems),
            "effectiveDateTime": date_time(data.get("effective")),
            "issued": instant(data.get("issued")),
            "performer": people(data, systems, "performer"),
            "resultsInterpreter": people(data, systems, "interpreter"),
        }
    )


def observation(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """One value of a result: status and flag always, the value where the site keeps it."""
    limits = string(data.get("referenceRange"))
    return present(
        {
            "extension": extension(
                f"{OWN}extension:report", valueReference=party(data.get("report"), systems, ("DiagnosticReport",))
            ),
            "status": one_of(data.get("status"), OBSERVATION_STATUSES) or "unknown",
            "code": concept(data.get("code"), systems) or ABSENT,
            "subject": subject(patient_id),
            "encounter": encounter(data, systems),
            "effectiveDateTime": date_time(data.get("effective")),
            **_value(data),
            "interpretation": [
                made for one in strings(data.get("interpretation")) if (made := coded(one, f"{V3}ObservationInterpretation"))
            ],
            "referenceRange": [{"text": limits}] if limits else None,
        }
    )


def document_reference(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """That there is a document, under its title; its text is not the hub's."""
    order = party(data.get("basedOn"), systems, ("ServiceRequest",))
    visit = encounter(data, systems)
    title = string(data.get("title"))
    return present(
        {
            "identifier": every(identifier, data.get("identifier"), systems),
            "status": one_of(data.get("status"), ("current", "superseded", "entered-in-error")) or "current",
            "docStatus": DOC_STATUSES.get(str(data.get("docStatus", ""))),
            "type": concept(data.get("type"), systems),
            "subject": subject(patient_id),
            "date": instant(data.get("date")),
            "author": people(data, systems),
            "content": [{"attachment": {"title": title} if title else ABSENT}],
            "context": present({"encounter": [visit] if visit else None, "related": [order] if order else None}),
        }
    )


def subject(patient_id: str | None) -> Document:
    """Whose it is: R4 wants one in each of these."""
    return reference("Patient", patient_id) or ABSENT


def encounter(data: Mapping[str, Any], systems: Systems) -> Document:
    """The visit that it belongs to: ours, or by its number where we do not know it yet."""
    return party(data.get("encounter"), systems, ("Encounter",))


def people(data: Mapping[str, Any], systems: Systems, role: str = "") -> list[Document]:
    """Who takes part, in this role."""
    found = data.get("participant")
    listed = [one for one in (found if isinstance(found, list) else []) if isinstance(one, Mapping)]
    return [made for one in listed if (not role or one.get("role") == role) and (made := party(one, systems, PEOPLE))]


def department(data: Mapping[str, Any]) -> list[Document]:
    """The department that ordered it, as the hospital calls it."""
    return extension(f"{OWN}extension:department", valueString=string(data.get("department")))


def state(data: Mapping[str, Any]) -> list[Document]:
    """How far the modality is with it (MPPS), for which R4 has no element."""
    return extension(f"{OWN}extension:imaging-state", valueCode=one_of(data.get("state"), get_args(StepState)))


def station(data: Mapping[str, Any]) -> list[Document]:
    """The device: an AE title, or of a series the station's name."""
    return extension(f"{OWN}extension:station", valueString=string(data.get("station")))


def exact(value: object) -> int | float | None:
    """A decimal that JSON gives with the very digits it came with (datatypes.html#decimal); None for any other text."""
    text = string(value)
    if text is None or len(text) > 15:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    if text.isascii() and text.isdecimal() and str(int(text)) == text:
        return int(text)
    return number if repr(number) == text else None


def _value(data: Mapping[str, Any]) -> Document:
    """A Quantity where the text is a number that survives, else the text with its unit."""
    text, unit = string(data.get("value")), string(data.get("unit"))
    if text is None:
        return {}
    number = exact(text)
    if number is None or number != number or number in (float("inf"), float("-inf")):
        return {"valueString": f"{text} {unit}" if unit else text}
    return {"valueQuantity": present({"value": number, "unit": unit})}
