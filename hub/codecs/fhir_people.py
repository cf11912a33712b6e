"""Persons and institutions as FHIR R4: Patient, RelatedPerson, Practitioner, Organization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.codecs.fhir import KR_CORE_PATIENT, LANGUAGE, MARITAL_STATUS, Document
from hub.codecs.fhir_types import (
    ABSENT,
    OWN,
    V2,
    V3,
    Systems,
    a_date,
    address,
    code,
    coded,
    concept,
    contact_point,
    date_time,
    every,
    extension,
    human_name,
    identifier,
    one_of,
    present,
    reference,
    string,
)

GENDERS = ("male", "female", "other", "unknown")
MARITAL_CODES = frozenset("ACDILMPSTUW")
IMPORTANCE = "http://hl7.org/fhir/StructureDefinition/patient-importance"
NATIONALITY = "http://hl7.org/fhir/StructureDefinition/patient-nationality"
PROSPECT = {"system": f"{OWN}tag", "code": "prospect"}  # somebody who has not been here yet
_TABLE_0063 = (
    "SEL SPO DOM CHD GCH NCH SCH FCH DEP WRD PAR MTH FTH CGV GRD GRP EXF "
    "SIB BRO SIS FND OAD EME EMR ASC EMC OWN TRA MGR NON UNK OTH"
)
RELATIONSHIPS = frozenset(_TABLE_0063.split())
ROLES = {  # canonical role of a contact -> its code in HL7 (table 0131; RoleClass and RoleCode where that has none)
    "next_of_kin": (f"{V2}0131", "N"), "emergency_contact": (f"{V2}0131", "C"), "employer": (f"{V2}0131", "E"),
    "federal_agency": (f"{V2}0131", "F"), "insurer": (f"{V2}0131", "I"), "state_agency": (f"{V2}0131", "S"),
    "other": (f"{V2}0131", "O"), "unknown": (f"{V2}0131", "U"), "guarantor": (f"{V3}RoleClass", "GUAR"),
    "guardian": (f"{V3}RoleCode", "GUARD"),
}  # fmt: skip


def patient(data: Mapping[str, Any], systems: Systems, _patient_id: str | None) -> Document:
    """A Patient; the profile of KR Core is claimed where its must-haves are there: identifier, name, gender, birthDate."""
    found = _person(data, systems)
    survivor = data.get("replacedBy")
    marital = code(data.get("maritalStatus"))
    language = code(data.get("language"))
    meta = present(
        {
            "profile": [KR_CORE_PATIENT] if all(found.get(k) for k in ("identifier", "name", "gender", "birthDate")) else None,
            "tag": [PROSPECT] if data.get("prospect") is True else None,
        }
    )
    return present(
        {
            "meta": meta,
            "extension": [
                *extension(IMPORTANCE, valueCodeableConcept=_text(data.get("importance"))),
                *extension(NATIONALITY, extension=extension("code", valueCodeableConcept=_text(data.get("nationality")))),
            ],
            **found,
            "active": False if survivor else _flag(data.get("active")),
            **_deceased(data),
            "maritalStatus": _marital(marital),
            "communication": [{"language": {"coding": [{"system": LANGUAGE, "code": language}]}, "preferred": True}]
            if language
            else None,
            "link": [{"other": reference("Patient", survivor), "type": "replaced-by"}] if survivor else None,
        }
    )


def related_person(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """Next of kin or guarantor; what they are to the patient, and in which role, both stand under `relationship`."""
    return present(
        {
            **_person(data, systems),
            "patient": reference("Patient", patient_id) or ABSENT,
            "relationship": [one for one in (_relationship(data.get("relationship"), systems), _role(data.get("role"))) if one],
        }
    )


def practitioner(data: Mapping[str, Any], systems: Systems, _patient_id: str | None) -> Document:
    """A doctor, nurse or technician as messages or master data name them; the title is a qualification in words."""
    title = _text(data.get("role"))
    found = {**_person(data, systems), "active": _flag(data.get("active"))}
    return present({**found, "qualification": [{"code": title}] if title else None})


def organization(data: Mapping[str, Any], systems: Systems, _patient_id: str | None) -> Document:
    """An insurer or a department; org-1: it has a name or an identifier."""
    numbers = every(identifier, data.get("identifier"), systems)
    kind = coded("dept", "http://terminology.hl7.org/CodeSystem/organization-type") if data.get("type") == "dept" else {}
    return present(
        {
            "identifier": numbers,
            "active": _flag(data.get("active")),
            "type": [kind] if kind else None,
            "name": string(data.get("name")) or (None if numbers else "?"),
        }
    )


def _person(data: Mapping[str, Any], systems: Systems) -> Document:
    return present(
        {
            "identifier": every(identifier, data.get("identifier"), systems),
            "name": every(human_name, data.get("name")),
            "telecom": every(contact_point, data.get("telecom")),
            "gender": one_of(data.get("gender"), GENDERS),
            "birthDate": a_date(data.get("birthDate")),
            "address": every(address, data.get("address")),
        }
    )


def _text(value: object) -> Document:
    return present({"text": string(value)})


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _deceased(data: Mapping[str, Any]) -> Document:
    """deceased[x]: the time where it is known, else the flag."""
    when = date_time(data.get("deceasedAt"))
    return {"deceasedDateTime": when} if when else present({"deceasedBoolean": _flag(data.get("deceased"))})


def _marital(value: str | None) -> Document:
    """v3-MaritalStatus, NullFlavor for what is not known (v2-to-FHIR, table 0002); any other code is words."""
    if value in MARITAL_CODES:
        return coded(value, MARITAL_STATUS)
    return coded(value, f"{V3}NullFlavor") if value in ("UNK", "OTH", "NAVU") else _text(value)


def _relationship(value: object, systems: Systems) -> Document:
    made = concept(value, systems)
    for coding in made.get("coding", ()):
        if "system" not in coding and coding.get("code") in RELATIONSHIPS:
            coding["system"] = f"{V2}0063"
    return made


def _role(value: object) -> Document:
    role = code(value)
    if role is None:
        return {}
    system, letter = ROLES.get(role, (f"{OWN}contact-role", role))
    return coded(letter, system)
