"""Calendars, places and bills as FHIR R4: Schedule, Slot, Location, Invoice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.codecs.fhir import Document
from hub.codecs.fhir_orders import encounter, exact, people, subject
from hub.codecs.fhir_types import (
    ABSENT,
    OWN,
    Systems,
    code,
    concept,
    date_time,
    every,
    extension,
    identifier,
    instant,
    one_of,
    party,
    period,
    present,
    string,
    words,
)

SLOT_STATUSES = ("busy", "free", "busy-unavailable", "busy-tentative", "entered-in-error")
INVOICE_STATUSES = ("draft", "issued", "balanced", "cancelled", "entered-in-error")
ACTORS = ("Practitioner", "Patient", "RelatedPerson")


def schedule(data: Mapping[str, Any], systems: Systems, _patient_id: str | None) -> Document:
    """A calendar; R4 wants to know whose it is."""
    name = string(data.get("name"))
    active = data.get("active")
    return present(
        {
            "identifier": every(identifier, data.get("identifier"), systems),
            "active": active if isinstance(active, bool) else None,
            "serviceType": _listed(concept(data.get("type"), systems), words(data.get("department"))),
            "actor": _actors(data, systems) or [ABSENT],
            "planningHorizon": period(data.get("period")),
            "comment": name,
        }
    )


def slot(data: Mapping[str, Any], systems: Systems, _patient_id: str | None) -> Document:
    """A time in a calendar. Whose it is stands in its Schedule; where nobody told us of one, in an extension of our own."""
    calendar = party(data.get("schedule"), systems, ("Schedule",))
    times = {name: instant(data.get(name)) for name in ("start", "end")}
    return present(
        {
            "extension": [{"url": f"{OWN}extension:actor", "valueReference": one} for one in _actors(data, systems)],
            "identifier": every(identifier, data.get("identifier"), systems),
            "serviceType": _listed(concept(data.get("type"), systems), words(data.get("department"))),
            "schedule": calendar or ABSENT,
            "status": one_of(data.get("status"), SLOT_STATUSES) or "busy",
            **{name: at for name, at in times.items() if at},
            **{f"_{name}": ABSENT for name, at in times.items() if not at},
            "comment": string(data.get("comment")) or concept(data.get("reason"), systems).get("text"),
        }
    )


def location(data: Mapping[str, Any], systems: Systems, _patient_id: str | None) -> Document:
    """A ward, a room or a bed."""
    active = data.get("active")
    return present(
        {
            "identifier": every(identifier, data.get("identifier"), systems),
            "status": ("active" if active else "inactive") if isinstance(active, bool) else None,
            "name": string(data.get("name")) or string(data.get("place")),
            "alias": [place] if (place := string(data.get("place"))) and string(data.get("name")) else None,
            "mode": "instance",
            "type": _listed(concept(data.get("type"), systems)),
        }
    )


def invoice(data: Mapping[str, Any], systems: Systems, patient_id: str | None) -> Document:
    """A bill: what it comes to; its lines are the hub's ChargeItems, which the façade does not show."""
    account = data.get("account")
    number = identifier(account, systems) if isinstance(account, Mapping) else {}
    return present(
        {
            "extension": [
                *extension(f"{OWN}extension:patient-share", valueMoney=money(data.get("patientShare"))),
                *extension(f"{OWN}extension:encounter", valueReference=encounter(data, systems)),
            ],
            "identifier": every(identifier, data.get("identifier"), systems),
            "status": one_of(data.get("status"), INVOICE_STATUSES) or "issued",
            "type": concept(data.get("type"), systems),
            "subject": subject(patient_id),
            "date": date_time(data.get("date")),
            "participant": [{"actor": one} for one in people(data, systems)],
            "account": {"identifier": number} if number else None,
            "totalGross": money(data.get("total")),
        }
    )


def money(one: object) -> Document:
    """Money: an amount that a JSON number can hold, and its currency where that is a code of ISO 4217's form."""
    if not isinstance(one, Mapping):
        return {}
    text = (string(one.get("value")) or "").removeprefix("+")
    value = exact(text)
    if value is None and "." in text:
        value = exact(text.rstrip("0").removesuffix("."))  # 12.50 is 12.5: an amount, whatever its digits
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return {}
    currency = code(one.get("currency")) or ""
    return {"value": value} | ({"currency": currency} if len(currency) == 3 and currency.isascii() and currency.isupper() else {})


def _actors(data: Mapping[str, Any], systems: Systems) -> list[Document]:
    """Whose times these are: people, devices, the room."""
    found = [made for one in data.get("participant") or () if (made := party(one, systems, ACTORS))]
    place = string(data.get("location"))
    return [*found, *([{"type": "Location", "display": place}] if place else [])]


def _listed(*concepts: Document) -> list[Document]:
    return [one for one in concepts if one]
