"""A patient as Tryton's party: what stands there, and the values that make it say what we say. Pure: nothing is sent here.

All of a party goes in one write, in one transaction there: its own fields and, as commands, what is to be made, changed and
deleted of its contact mechanisms, addresses and identifiers. Tryton's party knows no birth date and no sex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.adapters.erp.fields import main_name
from hub.adapters.first import is_first
from hub.adapters.slots import changed_slots, in_slot, same_contact
from hub.codecs.tryton import Record
from hub.domain.ports import Outbound
from hub.domain.search import national_phone, normal_name

PARTY, MECHANISM, ADDRESS, IDENTIFIER = "party.party", "party.contact_mechanism", "party.address", "party.identifier"
FIELDS = ("name", "address", "telecom")
READ = (
    "name", "active", "_timestamp",
    "identifiers.type", "identifiers.code", "identifiers._timestamp",
    "contact_mechanisms.type", "contact_mechanisms.value", "contact_mechanisms._timestamp",
    "addresses.street", "addresses.city", "addresses.postal_code", "addresses.country.code", "addresses._timestamp",
)  # fmt: skip
TYPES = {"mobile": "mobile", "home": "phone", "phone": "phone", "email": "email", "fax": "fax"}  # slot -> type


@dataclass(slots=True)
class Plan:
    """Values of `party.party.write` or `create`; `stamps` say as of when we read what they change."""

    values: Record = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)
    sent_fields: dict[str, Any] = field(default_factory=dict)

    def command(self, name: str, *command: Any) -> None:
        self.values.setdefault(name, []).append(list(command))

    def touch(self, model: str, record: Mapping[str, Any]) -> None:
        self.stamps[f"{model},{record['id']}"] = str(record.get("_timestamp") or "")


def below(party: Mapping[str, Any], name: str) -> list[Record]:
    """What a party has of a kind, as `search_read` gives it for dotted names."""
    return list(party.get(f"{name}.") or ())


def patient_number(patient: Mapping[str, Any], assigner: str) -> str:
    """The number under which the ERP knows a patient; "" without one."""
    for one in patient.get("identifier") or ():
        if one.get("assigner") == assigner and one.get("use") != "old" and one.get("type", "MR") in ("MR", "PI", "PN", ""):
            return str(one["value"])
    return ""


def new(patient: Mapping[str, Any], number: str, identifier_type: str, countries: Mapping[str, int]) -> Plan:
    """A party that does not exist yet. `countries`: code -> Tryton's id."""
    plan = Plan({"name": _name(patient)})
    plan.sent_fields["name"] = [{"text": plan.values["name"]}]
    plan.command("identifiers", "create", [{"type": identifier_type or None, "code": number}])
    for slot in _best(patient, list(TYPES)):
        _contact(plan, patient, slot, [])
    _address(plan, patient, [], countries)
    return plan


def change(message: Outbound, party: Mapping[str, Any], countries: Mapping[str, int]) -> Plan:
    """What differs from what the message says; no values: nothing does."""
    plan, patient = Plan(), message.resource
    first = is_first(message)
    heads = set(FIELDS) if first else {name.partition(".")[0] for name in message.changed}
    name = _name(patient)
    if "name" in heads and name:
        plan.sent_fields["name"] = [{"text": name}]
        if normal_name(str(party.get("name") or "")) != normal_name(name):
            plan.values["name"] = name
    if "telecom" in heads:
        named = ["telecom"] if first else [one for one in message.changed if one.partition(".")[0] == "telecom"]
        slots = [slot for slot in changed_slots(named, patient.get("telecom")) if slot in TYPES]
        for slot in _best(patient, slots):
            _contact(plan, patient, slot, below(party, "contact_mechanisms"))
    if "address" in heads:
        _address(plan, patient, below(party, "addresses"), countries)
    if plan.values:
        plan.touch(PARTY, party)
    return plan


def _best(patient: Mapping[str, Any], slots: list[str]) -> list[str]:
    """Tryton has one type for a phone at home and one of which nothing is said: that at home goes first."""
    return [slot for slot in slots if slot != "phone" or not ("home" in slots or in_slot(patient.get("telecom"), "home"))]


def _contact(plan: Plan, patient: Mapping[str, Any], slot: str, there: list[Record]) -> None:
    points, kind = in_slot(patient.get("telecom"), slot), TYPES[slot]
    same = [one for one in there if one.get("type") == kind]
    if not points:
        if same:
            plan.sent_fields[f"telecom.{slot}"] = None
            plan.command("contact_mechanisms", "delete", [one["id"] for one in same])
            for one in same:
                plan.touch(MECHANISM, one)
        return
    value = str(points[0]["value"])
    written = value if slot == "email" else _phone(value)
    plan.sent_fields[f"telecom.{slot}"] = {**{k: points[0][k] for k in ("system", "use") if k in points[0]}, "value": written}
    if any(same_contact(slot, str(one.get("value") or ""), written) for one in same):
        return
    if not same:
        plan.command("contact_mechanisms", "create", [{"type": kind, "value": written}])
        return
    plan.command("contact_mechanisms", "write", [same[0]["id"]], {"value": written})
    plan.touch(MECHANISM, same[0])


def _phone(value: str) -> str:
    text, country = national_phone(value)
    return text if country == "KR" else value


def _address(plan: Plan, patient: Mapping[str, Any], there: list[Record], countries: Mapping[str, int]) -> None:
    """The first address that is none of his work's, a former or a passing one. A party keeps its last one: documents name it."""
    homes = [one for one in patient.get("address") or () if one.get("use") not in ("old", "temp", "billing", "work")]
    if not homes:
        return
    wanted = homes[0]
    city = " ".join(str(wanted[key]) for key in ("state", "city", "district") if wanted.get(key))
    lines = [str(one) for one in wanted.get("line") or ()] or ([] if city else [str(wanted.get("text", ""))])
    values: Record = {"street": "\n".join(lines), "city": city, "postal_code": str(wanted.get("postalCode", ""))}
    text = ", ".join(part for part in (*lines, city, values["postal_code"]) if part)
    plan.sent_fields["address"] = [{"text": text, "line": lines, "city": city, "postalCode": values["postal_code"]}]
    country = str(wanted.get("country", ""))
    if country in countries:
        values["country"] = countries[country]
    if not there:
        plan.command("addresses", "create", [values])
        return
    first = there[0]
    stands = {name: first.get(name) or "" for name in ("street", "city", "postal_code")}
    place = (first.get("country.") or {}).get("code") or ""
    if stands != {name: values[name] for name in stands} or ("country" in values and place != country):
        plan.command("addresses", "write", [first["id"]], values)
        plan.touch(ADDRESS, first)


def _name(patient: Mapping[str, Any]) -> str:
    name = main_name(patient)
    return str(name["text"]) if name else ""
