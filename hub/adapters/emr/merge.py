"""What changes in the EMR's Patient, element by element: pure, on documents; everything not named here stays as it is.

A repeating element is changed at the place it has: the name of the same use and representation, the contact point of the
same slot, the address of the same use. Period, rank, extensions and ids of that place stay. Names are never removed.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.adapters.slots import changed_slots, in_slot, same_contact
from hub.codecs import fhir
from hub.codecs.fhir import Document
from hub.sync.slots import slot_of

FIELDS = ("name", "telecom", "address", "birthDate", "gender", "deceased", "language", "maritalStatus")
_ALIASES = {"deceasedAt": "deceased"}
_NAME_PARTS = ("family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("line", "city", "district", "state", "postalCode", "country")


@dataclass(slots=True)
class Merged:
    """The document to write, and what of the canonical patient it carries: `telecom.mobile` -> the contact point as sent."""

    document: Document
    sent_fields: dict[str, Any] = field(default_factory=dict)


def merge(document: Document, patient: Mapping[str, Any], changed: Collection[str], allowed: Collection[str]) -> Merged:
    """The EMR's `document` with the `changed` fields of the canonical `patient`, as far as they are `allowed`.

    A changed field that the patient no longer has is removed there (names and genders apart: a person keeps those).
    """
    heads = {_ALIASES.get(name.partition(".")[0], name.partition(".")[0]) for name in changed} & set(allowed)
    merged = Merged(copy.deepcopy(document))
    if "name" in heads:
        _names(merged, patient)
    if "telecom" in heads:
        _telecom(merged, patient, changed_slots(changed, patient.get("telecom")))
    if "address" in heads:
        _addresses(merged, patient)
    for name in ("birthDate", "gender"):
        if name in heads and (patient.get(name) or name == "birthDate"):
            _put(merged.document, name, patient.get(name))
            merged.sent_fields[name] = patient.get(name)
    if "deceased" in heads:
        _deceased(merged, patient)
    if "language" in heads and patient.get("language"):
        _language(merged, patient)
    if "maritalStatus" in heads:
        _marital(merged, patient)
    return merged


def _put(document: Document, key: str, value: object) -> None:
    """Sets or removes; a changed primitive loses its extensions (`_birthDate`), which spoke of the old value."""
    if document.get(key) == value:
        return
    document.pop(f"_{key}", None)
    document.pop(key, None)
    if value not in (None, [], ""):
        document[key] = value


def _names(merged: Merged, patient: Mapping[str, Any]) -> None:
    names: list[Document] = patient.get("name") or []
    places = fhir.objects(merged.document.get("name"))
    taken: set[int] = set()
    for one in names:
        ours = fhir.name_to_fhir(one)
        place = next((at for at in _name_places(places, one) if at not in taken), None)
        if place is None:
            places.append(ours)
            taken.add(len(places) - 1)
            continue
        taken.add(place)
        theirs = places[place]
        if fhir.name_text(theirs) == one["text"] and all(theirs.get(key) == ours[key] for key in _NAME_PARTS if key in ours):
            continue
        _put(theirs, "text", one["text"])
        for key in _NAME_PARTS:  # parts of the old name beside the new text would contradict it
            _put(theirs, key, ours.get(key))
    if names:
        merged.document["name"] = places
        merged.sent_fields["name"] = names


def _name_places(places: list[Document], one: Mapping[str, Any]) -> list[int]:
    """Where this name may stand, best first: same use and representation, then where one side does not say."""
    ranked = []
    for at, place in enumerate(places):
        if (place.get("period") or {}).get("end"):
            continue
        pairs = ((place.get("use"), one.get("use")), (fhir.representation(place), one.get("representation")))
        if any(theirs and ours and theirs != ours for theirs, ours in pairs):
            continue
        ranked.append((sum(theirs != ours for theirs, ours in pairs), at))
    return [at for _, at in sorted(ranked)]


def _telecom(merged: Merged, patient: Mapping[str, Any], slots: Mapping[str, int]) -> None:
    """Slot by slot: what says the same stays, what says something else is replaced at its place, what is new is appended.

    Points there that the hub does not know stay, unless the message says that one of the slot was deleted: which one, only
    what is left can tell, and a resend must not take away one more each time.
    """
    places = fhir.objects(merged.document.get("telecom"))
    for slot, touched in slots.items():
        wanted = in_slot(patient.get("telecom"), slot)
        free = sorted(
            (at for at, one in enumerate(places) if _current(one, slot)), key=lambda at: (places[at].get("rank") or 99, at)
        )
        sent: list[Document | None] = []
        for one in wanted:
            same = next((at for at in free if same_contact(slot, str(places[at].get("value", "")), one["value"])), None)
            if same is not None:
                free.remove(same)
            sent.append(None if same is None else _said(places[same]))
        for number, one in enumerate(wanted):
            if sent[number] is not None:
                continue
            if free:
                place = places[free.pop(0)]
                _put(place, "value", one["value"])
            else:
                places.append(fhir.telecom_to_fhir(one))
                place = places[-1]
            sent[number] = _said(place) | ({"raw": one["raw"]} if "raw" in one else {})  # as it will be heard again
        gone = set(free) if touched > len(wanted) else set()
        places = [one for at, one in enumerate(places) if at not in gone]
        for number in range(max(touched, len(wanted))):
            name = f"telecom.{slot}" if number == 0 else f"telecom.{slot}.{number + 1}"
            merged.sent_fields[name] = sent[number] if number < len(wanted) else None
    _put(merged.document, "telecom", places)


def _current(place: Document, slot: str) -> bool:
    return slot_of(place) == slot and not (place.get("period") or {}).get("end")


def _said(place: Document) -> Document:
    return {key: place[key] for key in ("system", "value", "use") if key in place}


def _addresses(merged: Merged, patient: Mapping[str, Any]) -> None:
    places = fhir.objects(merged.document.get("address"))
    wanted: list[Document] = patient.get("address") or []
    if not wanted:
        places = [one for one in places if one.get("use") in ("old", "billing")]
    for one in wanted:
        ours = fhir.address_to_fhir(one)
        uses = (ours.get("use"), None) if ours.get("use") else (None, "home")
        found = next((at for use in uses for at, place in enumerate(places) if place.get("use") == use), None)
        if found is None:
            places.append(ours)
            continue
        theirs = places[found]
        if any(theirs.get(key) != ours.get(key) for key in ("text", *_ADDRESS_PARTS) if key in ours):
            for key in ("text", *_ADDRESS_PARTS):
                _put(theirs, key, ours.get(key))
            theirs.pop("extension", None)  # krcore-roadNameAddress, geolocation: they spoke of the old address
    _put(merged.document, "address", places)
    merged.sent_fields["address"] = wanted or None


def _deceased(merged: Merged, patient: Mapping[str, Any]) -> None:
    said = fhir.deceased_to_fhir(patient)
    if not said and "deceasedBoolean" not in merged.document and "deceasedDateTime" not in merged.document:
        return
    if said == {"deceasedBoolean": True} and merged.document.get("deceasedDateTime"):
        said = {"deceasedDateTime": merged.document["deceasedDateTime"]}  # the EMR knows more than we do
    for key in ("deceasedBoolean", "deceasedDateTime"):
        _put(merged.document, key, said.get(key))
    merged.sent_fields |= {key: patient.get(key) for key in ("deceased", "deceasedAt") if key in patient}


def _language(merged: Merged, patient: Mapping[str, Any]) -> None:
    """Becomes the preferred language; other languages stay, no longer preferred."""
    if fhir.patient_from_fhir(merged.document, {}).get("language") == patient["language"]:
        return
    ours = fhir.language_to_fhir(patient)["communication"]
    others = [one for one in fhir.objects(merged.document.get("communication")) if one.get("language") != ours[0]["language"]]
    for one in others:
        one.pop("preferred", None)
    merged.document["communication"] = ours + others
    merged.sent_fields["language"] = patient["language"]


def _marital(merged: Merged, patient: Mapping[str, Any]) -> None:
    if fhir.patient_from_fhir(merged.document, {}).get("maritalStatus") != patient.get("maritalStatus"):
        _put(merged.document, "maritalStatus", fhir.marital_to_fhir(patient).get("maritalStatus"))
        merged.sent_fields["maritalStatus"] = patient.get("maritalStatus")
