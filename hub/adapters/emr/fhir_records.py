"""What changes in the EMR's Appointment, Encounter or ServiceRequest, element by element: pure, on documents.

A changed canonical field stands in certain elements of the resource; those are replaced, everything else stays as the EMR
wrote it: its own numbers, extensions, participants whom the hub does not know. Our ids mean nothing there: people and visits
are named by their numbers (references.html#logical).
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from hub.adapters.emr.merge import Merged
from hub.codecs import fhir, fhir_orders, fhir_visits
from hub.codecs.fhir_types import OWN, Systems
from hub.sync.slots import explode_period

_TIMES = ("start", "_start", "end", "_end", "minutesDuration")
_EXTENSION = "extension:"  # an element that is the extension with this URL
ELEMENTS: dict[str, dict[str, tuple[str, ...]]] = {  # kind -> canonical field -> where it stands
    "Appointment": {
        "status": ("status",), "start": _TIMES, "end": _TIMES, "minutes": _TIMES, "department": ("serviceType",),
        "type": ("appointmentType",), "reason": ("reasonCode",), "comment": ("comment",), "location": ("participant",),
        "participant": ("participant",),
    },
    "Encounter": {
        "status": ("status",), "state": (f"{_EXTENSION}{OWN}extension:visit-state",), "class": ("class",), "type": ("type",),
        "visitKind": (f"{_EXTENSION}{OWN}extension:visit-kind",), "department": ("serviceType",), "period": ("period",),
        "location": ("location",), "priorLocation": ("location",), "participant": ("participant",), "reason": ("reasonCode",),
        "account": ("account",), "admitSource": ("hospitalization",), "dischargeDisposition": ("hospitalization",),
        "insuranceType": (f"{_EXTENSION}{fhir_visits.KR_INSURANCE}",),
    },
    "ServiceRequest": {
        "status": ("status",), "category": ("category",), "code": ("code",), "priority": ("priority",),
        "group": ("requisition",), "authoredOn": ("authoredOn",), "occurrence": ("occurrenceDateTime",),
        "department": (f"{_EXTENSION}{OWN}extension:department",), "participant": ("requester", "performer"),
        "reason": ("reasonCode",), "encounter": ("encounter",),
    },
}  # fmt: skip
_MAKERS = {
    "Appointment": fhir_visits.appointment, "Encounter": fhir_visits.encounter, "ServiceRequest": fhir_orders.service_request,
}  # fmt: skip


def made(kind: str, data: Mapping[str, Any], systems: Mapping[str, str], patient_id: str) -> fhir.Document:
    """The whole resource as it is created there. `systems`: assigner -> identifier.system; other numbers stay at home."""
    plain = _at_home(data)
    plain["identifier"] = [one for one in plain.get("identifier") or [] if one.get("assigner") in systems]
    return {"resourceType": kind, **_MAKERS[kind](plain, Systems(systems), patient_id)}


def merge(
    kind: str,
    document: fhir.Document,
    data: Mapping[str, Any],
    changed: Collection[str],
    systems: Mapping[str, str],
    patient_id: str,
) -> Merged:
    """The EMR's `document` with the `changed` fields of the canonical `data`; `patient_id`: whose it is now, "": as it was."""
    fields = [name for name in ELEMENTS[kind] if name in {one.partition(".")[0] for one in changed}]
    ours, merged = made(kind, data, systems, patient_id), Merged(copy.deepcopy(document))
    for element in dict.fromkeys(element for name in fields for element in ELEMENTS[kind][name]):
        if element.startswith(_EXTENSION):
            _extension(merged.document, ours, element.removeprefix(_EXTENSION))
        elif element == "participant":
            _participants(merged.document, ours)
        elif not _same(merged.document.get(element), ours.get(element)):
            _put(merged.document, element, ours.get(element))
    if patient_id:
        _belongs(merged.document, f"Patient/{patient_id}")
    merged.sent_fields = sent_fields(kind, data, fields, merged.document)
    return merged


def sent_fields(kind: str, data: Mapping[str, Any], fields: Collection[str], document: Mapping[str, Any]) -> dict[str, Any]:
    """Canonical field -> value as sent, by which what is read back is known for an echo. `document`: what was sent."""
    said = {name: data.get(name) for name in fields}
    if "end" in document and {"start", "minutes"} & set(fields):
        said["end"] = document["end"]  # FHIR wants one (app-3), even where nobody said it
    return explode_period(said) if kind == "Encounter" else said


def _put(document: fhir.Document, element: str, value: object) -> None:
    document.pop(element, None)
    if value not in (None, [], {}, ""):
        document[element] = value


def _extension(document: fhir.Document, ours: fhir.Document, url: str) -> None:
    theirs = fhir.objects(document.get("extension"))
    mine = [one for one in fhir.objects(ours.get("extension")) if one.get("url") == url]
    if [one for one in theirs if one.get("url") == url] != mine:
        _put(document, "extension", [*(one for one in theirs if one.get("url") != url), *mine])


def _participants(document: fhir.Document, ours: fhir.Document) -> None:
    """Who refers to a resource there stays (the patient, people whom the EMR knows); who is only named is named anew."""
    theirs = fhir.objects(document.get("participant"))
    kept = [one for one in theirs if _who(one).get("reference")]
    mine = [one for one in fhir.objects(ours.get("participant")) if _named(_who(one))]
    if [_who(one) for one in theirs if one not in kept] != [_who(one) for one in mine]:
        _put(document, "participant", [*kept, *mine])


def _named(who: Mapping[str, Any]) -> bool:
    """By a number or in words; neither an absent actor (a participant there must be) nor the patient."""
    return "reference" not in who and bool(who.get("identifier") or who.get("display"))


def _belongs(document: fhir.Document, patient: str) -> None:
    """Encounter.subject, ServiceRequest.subject, the participant of an Appointment who is a Patient."""
    references = [document.get("subject"), *(_who(one) for one in fhir.objects(document.get("participant")))]
    for one in references:
        if isinstance(one, dict) and "Patient/" in str(one.get("reference", "")) and not str(one["reference"]).endswith(patient):
            one["reference"] = patient


def _who(participant: Mapping[str, Any]) -> Mapping[str, Any]:
    """Appointment.participant.actor, Encounter.participant.individual."""
    found = participant.get("actor") or participant.get("individual")
    return found if isinstance(found, Mapping) else {}


def _same(theirs: object, ours: object) -> bool:
    """Whether two values say the same: a moment in two zones is one."""
    if theirs == ours:
        return True
    if isinstance(theirs, str) and isinstance(ours, str) and "T" in theirs and "T" in ours:
        try:
            return datetime.fromisoformat(theirs) == datetime.fromisoformat(ours)
        except (ValueError, TypeError):
            return False
    return isinstance(theirs, dict) and isinstance(ours, dict) and theirs.keys() == ours.keys() and all(
        _same(theirs[name], ours[name]) for name in ours
    )  # fmt: skip


def _at_home(data: Mapping[str, Any]) -> dict[str, Any]:
    """Without references to resources of ours."""
    found = dict(data)
    for name, value in data.items():
        if isinstance(value, Mapping) and "reference" in value:
            found[name] = {key: one for key, one in value.items() if key != "reference"}
        elif name == "participant":
            found[name] = [{key: one for key, one in party.items() if key != "reference"} for party in value]
    return found
