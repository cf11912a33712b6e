"""Diagnoses, procedures and allergies as FHIR R4: Condition, Procedure, AllergyIntolerance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.codecs.fhir import Document
from hub.codecs.fhir_orders import PEOPLE, encounter, subject
from hub.codecs.fhir_types import (
    OWN,
    Systems,
    concept,
    date_time,
    every,
    extension,
    identifier,
    one_of,
    party,
    present,
    strings,
    words,
)

_HL7 = "http://terminology.hl7.org/CodeSystem/"
PROCEDURE_STATUSES = (
    "preparation", "in-progress", "not-done", "on-hold", "stopped", "completed", "entered-in-error", "unknown",
)  # fmt: skip
VERIFIED = {"W": "provisional", "F": "confirmed"}  # DG1-6, table 0052
DIAGNOSIS = {"coding": [{"system": f"{_HL7}condition-category", "code": "encounter-diagnosis"}]}


def condition(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """A diagnosis of a visit. con-5: one that was entered in error has no clinical status, and none is told for the others."""
    status = "entered-in-error" if data.get("status") == "entered-in-error" else VERIFIED.get(str(data.get("category", "")))
    rank = data.get("rank")
    rank = rank if isinstance(rank, int) and not isinstance(rank, bool) and 0 < rank < 2**31 else None
    return present(
        {
            "extension": extension(f"{OWN}extension:diagnosis-rank", valuePositiveInt=rank),
            "identifier": every(identifier, data.get("identifier"), systems),
            "verificationStatus": {"coding": [{"system": f"{_HL7}condition-ver-status", "code": status}]} if status else None,
            "category": [DIAGNOSIS],
            "code": concept(data.get("code"), systems),
            "subject": subject(patient_id),
            "encounter": encounter(data, systems),
            "recordedDate": date_time(data.get("recorded")),
        }
    )


def procedure(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """What was done."""
    return present(
        {
            "identifier": every(identifier, data.get("identifier"), systems),
            "status": one_of(data.get("status"), PROCEDURE_STATUSES) or "unknown",
            "code": concept(data.get("code"), systems),
            "subject": subject(patient_id),
            "encounter": encounter(data, systems),
            "performedDateTime": date_time(data.get("performed")),
            "performer": every(_performer, data.get("participant"), systems),
        }
    )


def allergy(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """An allergy; ait-1: it has a clinical status."""
    category = one_of(data.get("category"), ("food", "medication", "environment", "biologic"))
    return present(
        {
            "clinicalStatus": {"coding": [{"system": f"{_HL7}allergyintolerance-clinical", "code": "active"}]},
            "category": [category] if category else None,
            "criticality": one_of(data.get("criticality"), ("low", "high", "unable-to-assess")),
            "code": concept(data.get("code"), systems),
            "patient": subject(patient_id),
            "onsetDateTime": date_time(data.get("onset")),
            "reaction": [{"manifestation": [words(one)]} for one in strings(data.get("reaction"))],
        }
    )


def _performer(one: Mapping[str, Any], systems: Systems) -> Document:
    actor = party(one, systems, PEOPLE)
    return present({"function": words(one.get("role")), "actor": actor}) if actor else {}
