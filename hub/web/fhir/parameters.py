"""Which search parameters each kind has, of which type, and what can come along with it: one table for search and metadata."""

from __future__ import annotations

from collections.abc import Mapping

from hub.codecs.fhir_resource import MAKERS

COMMON = {"_id": "token", "_lastUpdated": "date"}
NUMBERED = {"identifier": "token"}
OWNED = {"patient": "reference"}
CLINICAL = COMMON | OWNED | {"subject": "reference", "encounter": "reference"}
STATED = {"status": "token"}
CODED = {"code": "token"}
DATED = {"date": "date"}
PARAMETERS: dict[str, dict[str, str]] = {
    "Patient": COMMON | NUMBERED | {
        "name": "string", "family": "string", "given": "string", "phone": "token", "telecom": "token", "birthdate": "date",
        "gender": "token", "active": "token",
    },
    "RelatedPerson": COMMON | OWNED,
    "Practitioner": COMMON | NUMBERED,
    "Organization": COMMON | NUMBERED,
    "Encounter": COMMON | NUMBERED | OWNED | {
        "subject": "reference", "date": "date", "status": "token", "class": "token", "practitioner": "reference",
        "participant": "reference",
    },
    "Appointment": COMMON | NUMBERED | OWNED | {
        "actor": "reference", "date": "date", "status": "token", "practitioner": "reference",
    },
    "Coverage": COMMON | OWNED | {"beneficiary": "reference"},
    "ServiceRequest": CLINICAL | NUMBERED | STATED | CODED | {
        "authored": "date", "priority": "token", "category": "token", "requester": "reference", "performer": "reference",
    },
    "MedicationRequest": CLINICAL | NUMBERED | STATED | CODED | {"authoredon": "date", "requester": "reference"},
    "DiagnosticReport": CLINICAL | NUMBERED | STATED | CODED | DATED | {
        "category": "token", "based-on": "reference", "imaging-study": "reference",
    },
    "Observation": CLINICAL | STATED | CODED | DATED | {"report": "reference"},  # R4 has no way from a value to its report
    "ImagingStudy": CLINICAL | NUMBERED | STATED | {
        "started": "date", "modality": "token", "basedon": "reference", "referrer": "reference", "interpreter": "reference",
    },
    "DocumentReference": CLINICAL | NUMBERED | STATED | DATED | {"type": "token", "author": "reference"},
    "Condition": CLINICAL | NUMBERED | CODED | {"recorded-date": "date", "category": "token", "verification-status": "token"},
    "Procedure": CLINICAL | NUMBERED | STATED | CODED | DATED | {"performer": "reference"},
    "AllergyIntolerance": COMMON | OWNED | CODED | {"category": "token", "criticality": "token"},
    "Schedule": COMMON | NUMBERED | {"active": "token", "actor": "reference", "service-type": "token"},
    "Slot": COMMON | NUMBERED | STATED | {"start": "date", "schedule": "reference", "service-type": "token"},
    "Location": COMMON | NUMBERED | STATED | {"type": "token"},
    "Invoice": COMMON | OWNED | NUMBERED | STATED | DATED | {"subject": "reference", "type": "token", "participant": "reference"},
}  # fmt: skip
ELEMENTS = {  # where the element is not called like its parameter
    "practitioner": "participant", "actor": "participant", "verification-status": "verificationStatus", "based-on": "basedOn",
    "imaging-study": "imagingStudy",
    "basedon": "basedOn", "report": "extension", "service-type": "serviceType",
}  # fmt: skip
BEGINS = (
    "date",
    "start",
    "authored",
    "authoredon",
    "started",
    "recorded-date",
)  # parameters of the time by which a kind is ordered
_WHO = ("Practitioner", "Organization")
_CLINICAL = {
    "patient": ("subject", ("Patient",)), "subject": ("subject", ("Patient",)), "encounter": ("encounter", ("Encounter",)),
}  # fmt: skip
INCLUDES: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]] = {  # kind -> parameter -> (element, kinds it leads to)
    "RelatedPerson": {"patient": ("patient", ("Patient",))},
    "Encounter": {
        "patient": ("subject", ("Patient",)), "subject": ("subject", ("Patient",)),
        "practitioner": ("participant", ("Practitioner",)), "participant": ("participant", ("Practitioner", "RelatedPerson")),
    },
    "Appointment": {
        "patient": ("participant", ("Patient",)), "practitioner": ("participant", ("Practitioner",)),
        "actor": ("participant", ("Patient", "Practitioner", "RelatedPerson")),
    },
    "Coverage": {
        "patient": ("beneficiary", ("Patient",)), "beneficiary": ("beneficiary", ("Patient",)),
        "payor": ("payor", ("Organization",)),
    },
    "ServiceRequest": _CLINICAL | {
        "requester": ("requester", _WHO), "performer": ("performer", _WHO),
    },
    "MedicationRequest": _CLINICAL | {"requester": ("requester", _WHO)},
    "DiagnosticReport": _CLINICAL | {
        "based-on": ("basedOn", ("ServiceRequest",)), "imaging-study": ("imagingStudy", ("ImagingStudy",)),
    },
    "Observation": _CLINICAL | {"report": ("extension", ("DiagnosticReport",))},
    "ImagingStudy": _CLINICAL | {
        "basedon": ("basedOn", ("ServiceRequest",)), "referrer": ("referrer", _WHO), "interpreter": ("interpreter", _WHO),
    },
    "DocumentReference": _CLINICAL | {"author": ("author", _WHO)},
    "Condition": _CLINICAL,
    "Procedure": _CLINICAL | {"performer": ("performer", _WHO)},
    "AllergyIntolerance": {"patient": ("patient", ("Patient",))},
    "Schedule": {"actor": ("actor", ("Practitioner",))},
    "Slot": {"schedule": ("schedule", ("Schedule",))},
    "Invoice": {
        "patient": ("subject", ("Patient",)), "subject": ("subject", ("Patient",)),
        "participant": ("participant", ("Practitioner",)),
    },
}  # fmt: skip
WHOSE = ("patient", "subject", "beneficiary", "actor")  # parameters that can name the patient
OF_PATIENT = tuple(kind for kind in MAKERS if any(name in PARAMETERS[kind] for name in OWNED))


def include_names() -> dict[str, list[str]]:
    """_include values of each kind, for the CapabilityStatement."""
    return {kind: [f"{kind}:{name}" for name in found] for kind, found in INCLUDES.items()}


def revinclude_names() -> dict[str, list[str]]:
    """_revinclude values: what belongs to a patient."""
    return {"Patient": [f"{kind}:{name}" for kind in OF_PATIENT for name in WHOSE if name in INCLUDES.get(kind, {})]}
