"""A canonical resource as FHIR R4 JSON: one table of kinds, the frame that every resource has, and its validation."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from fhir.resources.R4B import fhirtypes, get_fhir_model_class
from fhir.resources.R4B.resource import Resource
from pydantic import ValidationError

from hub.codecs import fhir_calendars, fhir_findings, fhir_imaging, fhir_orders, fhir_people, fhir_visits
from hub.codecs.fhir import Document, dump
from hub.codecs.fhir_types import Systems, at
from hub.domain.errors import Unmappable

Maker = Callable[[Mapping[str, Any], Systems, str | None], Document]
MAKERS: dict[str, Maker] = {  # Relationship stands in its RelatedPerson; of money the bills
    "Patient": fhir_people.patient,
    "RelatedPerson": fhir_people.related_person,
    "Practitioner": fhir_people.practitioner,
    "Organization": fhir_people.organization,
    "Encounter": fhir_visits.encounter,
    "Appointment": fhir_visits.appointment,
    "Coverage": fhir_visits.coverage,
    "ServiceRequest": fhir_orders.service_request,
    "MedicationRequest": fhir_orders.medication_request,
    "DiagnosticReport": fhir_orders.diagnostic_report,
    "Observation": fhir_orders.observation,
    "ImagingStudy": fhir_imaging.imaging_study,
    "DocumentReference": fhir_orders.document_reference,
    "Condition": fhir_findings.condition,
    "Procedure": fhir_findings.procedure,
    "AllergyIntolerance": fhir_findings.allergy,
    "Schedule": fhir_calendars.schedule,
    "Slot": fhir_calendars.slot,
    "Location": fhir_calendars.location,
    "Invoice": fhir_calendars.invoice,
}


def to_fhir(
    kind: str, resource_id: str, patient_id: str | None, version: int, updated_at: int, data: Mapping[str, Any], systems: Systems
) -> Document:
    """The FHIR resource. Pure: one canonical document always gives one JSON document."""
    made = MAKERS[kind](data, systems, patient_id)
    meta = {"versionId": str(version), "lastUpdated": at(updated_at), **made.pop("meta", {})}
    return {"resourceType": kind, "id": resource_id, "meta": meta, **made}


def check(document: Mapping[str, Any]) -> None:
    """Validates any R4 resource or Bundle against R4B's models. Raises Unmappable naming elements, never values."""
    kind = str(document.get("resourceType", ""))
    try:
        _model(kind).model_validate(json.loads(dump(document)))
    except ValidationError as error:
        places = sorted({".".join(str(step) for step in one["loc"]) or kind for one in error.errors()})
        raise Unmappable(f"no valid FHIR {kind}: {', '.join(places[:8])}", code="invalid_fhir") from None


ONLY_IN_R4 = frozenset({  # R4B, whose models we have, dropped them
    "EffectEvidenceSynthesis", "MedicinalProduct", "MedicinalProductAuthorization", "MedicinalProductContraindication",
    "MedicinalProductIndication", "MedicinalProductIngredient", "MedicinalProductInteraction", "MedicinalProductManufactured",
    "MedicinalProductPackaged", "MedicinalProductPharmaceutical", "MedicinalProductUndesirableEffect", "RiskEvidenceSynthesis",
    "SubstanceNucleicAcid", "SubstancePolymer", "SubstanceProtein", "SubstanceReferenceInformation", "SubstanceSourceMaterial",
    "SubstanceSpecification",
})  # fmt: skip


def is_resource_type(name: str) -> bool:
    """Whether R4 has resources of this type."""
    try:
        return name in ONLY_IN_R4 or issubclass(_model(name), Resource)
    except ValueError:
        return False


def like(name: str) -> str:
    """The resource type that is written most like it; "" where none is."""
    known = [one.removesuffix("Type") for one in dir(fhirtypes) if one.endswith("Type")]
    return next((one for one in get_close_matches(name, known, n=5) if is_resource_type(one)), "")


@cache
def _model(kind: str) -> Any:
    return get_fhir_model_class(kind)
