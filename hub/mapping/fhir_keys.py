"""FHIR's ways of naming a thing -> keys: logical id, identifier, and every form of reference (references.html).

A logical id is a number that its server gave out: Key("HOSP:emr:fhir", "Patient/123"). The assigner is made of the channel's
assigner and system, so that the ids of two servers never meet; the type stands before the id, because Patient/1 and
Encounter/1 are two things. An identifier's system is an assigner under the name that hub.toml declares for it
([fhir] systems). A resident registration number is no key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.codecs.fhir import objects
from hub.codecs.fhir_incoming import id_of
from hub.codecs.fhir_types import DICOM_UIDS, Systems, string
from hub.codecs.korean import looks_like_rrn, scrub
from hub.domain.facts import Key
from hub.domain.imaging import ACSN, DICOM, accession_key, is_uid
from hub.mapping.fhir_paths import at_path, steps

_RELATIVE = re.compile(r"(?:(https?://\S+)/)?([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?\Z")
_URN = re.compile(r"urn:(uuid|oid):([A-Za-z0-9\-.]{1,64})\Z")
OF_PATIENT = {  # where a resource says whose it is, unless in `subject`
    "Coverage": ("beneficiary",), "RelatedPerson": ("patient",), "AllergyIntolerance": ("patient",),
    "Appointment": ("participant",), "Immunization": ("patient",), "Claim": ("patient",), "ExplanationOfBenefit": ("patient",),
    "Consent": ("patient",), "Invoice": ("subject", "recipient"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """How one FHIR server names things: whose channel it is, and how its systems are called here."""

    assigner: str  # the channel's: of identifiers without a system
    system: str  # ocs | emr | …
    systems: Systems = field(default_factory=Systems)

    @property
    def ids(self) -> str:
        """The assigner of its logical ids."""
        return f"{self.assigner}:{self.system}:fhir"

    def of_id(self, kind: str, resource_id: str) -> Key:
        return Key(self.ids, f"{kind}/{resource_id}")

    def of_identifier(self, one: object) -> Key | None:
        """An Identifier; None where it has no value, or a resident registration number."""
        if not isinstance(one, Mapping):
            return None
        value = string(one.get("value"))
        if value is None or looks_like_rrn(value):
            return None
        system = scrub(string(one.get("system")) or "")
        if system == DICOM_UIDS:
            uid = value.removeprefix("urn:oid:")
            return Key(DICOM, uid) if is_uid(uid) else None
        if any(coding.get("code") == ACSN for coding in objects(at_path(one, steps("type.coding")))):
            return accession_key(self.assigner, value[:200])  # as in DICOM's objects, whatever its system (docs/adr/0143)
        return Key(self.systems.assigner(system) if system else self.assigner, value[:200])

    def of_resource(self, document: Mapping[str, Any]) -> list[Key]:
        """Every number of a resource, its logical id first."""
        kind, resource_id = str(document.get("resourceType", "")), id_of(document)
        found = [self.of_id(kind, resource_id)] if resource_id else []
        numbers = document.get("identifier")
        for one in objects(numbers if isinstance(numbers, list) else [numbers]):
            key = self.of_identifier(one)
            if key is not None and key not in found:
                found.append(key)
        return found

    def of_reference(self, one: object, document: Mapping[str, Any]) -> tuple[str, Key] | None:
        """What a Reference in `document` names: (its type, "" where that is not said, and its key).

        `Patient/1`, `Patient/1/_history/2`, the same under another server's URL, `urn:uuid:…`, `#contained`, a logical
        reference by identifier. The id wins over the identifier: it names one thing for certain.
        """
        if not isinstance(one, Mapping):
            return None
        text, kind = string(one.get("reference")) or "", scrub(string(one.get("type")) or "")
        if text.startswith("#"):
            return self._contained(text[1:], document)
        found = _RELATIVE.match(text)
        if found is not None and not looks_like_rrn(found[3]):
            base, kind, resource_id = found.groups()
            return kind, Key(base, f"{kind}/{resource_id}") if base else self.of_id(kind, resource_id)
        key = self.of_identifier(one.get("identifier"))
        if key is not None:
            return kind, key
        urn = _URN.match(text)
        named = urn is not None and kind and not looks_like_rrn(urn[2])
        return (kind, Key(self.ids, f"{kind}/{urn[2]}")) if urn is not None and named else None

    def _contained(self, local: str, document: Mapping[str, Any]) -> tuple[str, Key] | None:
        """A contained resource lives in its owner (references.html#contained): named by its identifier, else by where it is."""
        for inner in objects(document.get("contained")):
            if local and inner.get("id") == local:
                kind = str(inner.get("resourceType", ""))
                numbers = [key for key in self.of_resource(inner) if key.assigner != self.ids]
                owner = f"{document.get('resourceType', '')}/{id_of(document)}"
                return kind, numbers[0] if numbers else Key(self.ids, scrub(f"{owner}#{local}"))
        return None

    def patient_of(self, document: Mapping[str, Any]) -> Key | None:
        """Whose resource it is, for lane and search: himself, or the Patient whom it refers to."""
        kind = str(document.get("resourceType", ""))
        if kind == "Patient":
            return next(iter(self.of_resource(document)), None)
        for name in OF_PATIENT.get(kind, ("subject",)):
            for reference in _references(document.get(name)):
                found = self.of_reference(reference, document)
                if found is not None and found[0] in ("Patient", ""):
                    return found[1]
        return None

    def other_patient_of(self, document: Mapping[str, Any]) -> Key | None:
        """The Patient whom a merge joins this one with: both lanes wait for it (patient.html: link)."""
        if document.get("resourceType") == "Patient":
            for link in objects(document.get("link")):
                if link.get("type") in ("replaced-by", "replaces"):
                    found = self.of_reference(link.get("other"), document)
                    if found is not None:
                        return found[1]
        return None


def _references(value: object) -> Iterator[Mapping[str, Any]]:
    """A Reference, a list of them, or participants with an `actor`."""
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Mapping):
            actor = one.get("actor")
            yield actor if isinstance(actor, Mapping) else one
