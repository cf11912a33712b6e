"""ImagingStudy as FHIR R4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.codecs.fhir import Document
from hub.codecs.fhir_orders import encounter, people, state, station, subject
from hub.codecs.fhir_types import (
    ABSENT,
    Systems,
    concept,
    date_time,
    every,
    identifier,
    one_of,
    party,
    present,
    string,
    strings,
)
from hub.domain.imaging import is_uid

MODALITIES = "http://dicom.nema.org/resources/ontology/DCM"
STATUSES = ("registered", "available", "cancelled", "entered-in-error", "unknown")
_MOST = (1 << 31) - 1  # unsignedInt


def imaging_study(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """What a PACS has of one examination. Of which nobody has told an image yet is `registered`."""
    order = party(data.get("basedOn"), systems, ("ServiceRequest",))
    procedure = concept(data.get("procedure"), systems)
    return present(
        {
            "extension": [*state(data), *station(data)],
            "identifier": every(identifier, data.get("identifier"), systems),
            "status": (one_of(data["status"], STATUSES) or "unknown") if "status" in data else "registered",
            "modality": [_modality(one) for one in strings(data.get("modality"))],
            "subject": subject(patient_id),
            "encounter": encounter(data, systems),
            "started": date_time(data.get("started")),
            "basedOn": [order] if order else None,
            "referrer": next(iter(people(data, systems, "referring")), None),
            "interpreter": people(data, systems, "interpreter"),
            "numberOfSeries": _count(data.get("numberOfSeries")),
            "numberOfInstances": _count(data.get("numberOfInstances")),
            "procedureCode": [procedure] if procedure else None,
            "description": string(data.get("description")),
            "series": every(_series, data.get("series")),
        }
    )


def _series(one: Mapping[str, Any]) -> Document:
    uid = string(one.get("uid"))
    if uid is None or not is_uid(uid):
        return {}
    site = string(one.get("bodySite"))
    kind = string(one.get("modality"))
    return present(
        {
            "extension": station(one),
            "uid": uid,
            "number": _count(one.get("number")),
            "modality": _modality(kind) if kind else ABSENT,
            "description": string(one.get("description")),
            "numberOfInstances": _count(one.get("instances")),
            "bodySite": {"display": site} if site else None,
        }
    )


def _modality(text: str) -> Document:
    return {"system": MODALITIES, "code": " ".join(text.split())}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else None
