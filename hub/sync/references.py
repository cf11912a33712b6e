"""What a document names by its number (a doctor, a visit, an order) gets the id of the resource that the number stands for.

A study, and the report of one, carry the study's UID and the order's accession number. Either may be what the order (or the
study) is known by, so both are looked up, the UID first: an accession number may number several (docs/adr/0143).
What is another patient's is not what is meant (docs/adr/0179).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from hub.domain.facts import Key
from hub.domain.imaging import ACSN, DICOM, UID, numbers_of
from hub.domain.model import REFERENCES, Kind
from hub.sync.numbered import of_patient
from hub.sync.workspace import Resource, Workspace

BY_OWN_NUMBERS: dict[str, tuple[str, ...]] = {"ImagingStudy": ("basedOn",), "DiagnosticReport": ("basedOn", "imagingStudy")}


class References:
    """Resolves them within one transaction. `known`: the id of a Practitioner that need not be loaded (hub/sync/shared.py)."""

    def __init__(self, work: Workspace, known: Callable[[Key], str | None] | None) -> None:
        self._work = work
        self._known = cache(known) if known is not None else (lambda _key: None)  # once: what it knows may run out meanwhile

    def to_load(self, kind: str, values: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
        """(kind, assigner, value) of what these values name and has to be loaded."""
        for party in values.get("participant") or ():
            if party.get("identifier") and self._known(key_of(party["identifier"])) is None:
                yield ("Practitioner", *key_of(party["identifier"]))
        for name, named in _names(kind, values):
            for identifier in _numbers(kind, name, values):
                yield (named, *key_of(identifier))

    def resolve(self, resource: Resource, document: dict[str, Any]) -> None:
        """Names the Practitioner resources; on copies, because the source record keeps what the source said."""
        if "participant" in document:
            document["participant"] = [self._resolved(party) for party in document["participant"]]
        for name, kind in list(_names(resource.kind, document)):
            for identifier in _numbers(resource.kind, name, document):
                key = key_of(identifier)
                found, his = of_patient(self._work, kind, key, resource.patient_id)
                if found is not None:
                    said = document.get(name) or {"identifier": {"assigner": key.assigner, "value": key.value}}
                    document[name] = {**said, "reference": f"{kind}/{found.id}"}
                    break
                if his != key and "reference" in document.get(name, ()):  # it was his, or was taken for his
                    document[name] = {part: value for part, value in document[name].items() if part != "reference"}
                if "reference" not in document.get(name, ()) or resource.kind in BY_OWN_NUMBERS:
                    self._work.wait(kind, his, resource.id)

    def _resolved(self, party: dict[str, Any]) -> dict[str, Any]:
        identifier = party.get("identifier")
        if not identifier:
            return party
        key = key_of(identifier)
        found = self._work.find("Practitioner", key)
        id_ = found.id if found is not None else self._known(key)
        return {**party, "reference": f"Practitioner/{id_}"} if id_ else party


def _names(kind: str, document: Mapping[str, Any]) -> Iterator[tuple[str, Kind]]:
    """The references of a document: those it has, and those that its own numbers may make."""
    own = BY_OWN_NUMBERS.get(kind, ())
    for name, named in REFERENCES.items():
        if document.get(name) or (name in own and any(_numbers(kind, name, document))):
            yield name, named


def _numbers(kind: str, name: str, document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What the named thing may be known by, the surest first. (What a study says of its order is an accession number.)"""
    said = [document[name]["identifier"]] if document.get(name) else []
    if name not in BY_OWN_NUMBERS.get(kind, ()):
        return iter(said)
    study = (document.get("imagingStudy") or {}).get("identifier") or {}
    uids = [*numbers_of(document, UID), *([study] if study.get("assigner") == DICOM else ())]
    accessions = numbers_of(document, ACSN)
    return iter([*uids, *said, *accessions] if kind == "ImagingStudy" else [*said, *uids, *accessions])


def key_of(identifier: Mapping[str, Any]) -> Key:
    return Key(identifier.get("assigner", ""), identifier["value"])
