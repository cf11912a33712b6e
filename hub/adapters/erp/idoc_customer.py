"""Canonical patient -> a customer's IDoc (DEBMAS, segment E1KNA1M). Pure.

A field that the message is not about gets SAP's sign for "no data" (`/`), so that SAP keeps what it has; one that the patient has
no more goes out empty. Nothing is cut: what a field does not hold is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.adapters.erp.fields import country, main_name
from hub.adapters.first import is_first
from hub.adapters.slots import changed_slots, in_slot
from hub.codecs.sap.idoc import NOT_TOLD, Segment
from hub.codecs.sap.idoc_segments import SEGMENTS
from hub.domain.errors import Refused
from hub.domain.ports import Outbound
from hub.domain.search import national_phone

CUSTOMER = "E1KNA1M"
LENGTHS = dict(SEGMENTS[CUSTOMER])
FIELDS = ("name", "address", "telecom", "language")
PHONES = {"TELF1": ("home", "phone"), "TELF2": ("mobile",)}  # field -> slots, the first that the patient has
ADDRESS = ("STRAS", "ORT01", "ORT02", "PSTLZ", "REGIO", "LAND1")
UNNAMED = "unnamed"  # the peer's etag of somebody whom SAP was not told of, for want of a name
CREATE, REPLACE = "009", "005"  # MSGFN: original, replaced
Values = dict[str, Any]


def number_of(patient: Mapping[str, Any], assigner: str) -> str:
    """The patient's number at that assigner as SAP keeps it: digits filled up to ten (ALPHA). "" where there is none."""
    ours = [one for one in patient.get("identifier") or () if one.get("assigner") == assigner and one.get("use") != "old"]
    numbers = [str(one["value"]) for one in ours if one.get("type", "MR") in ("MR", "PI", "PN", "")]
    if not numbers:
        return ""
    number = numbers[0].zfill(LENGTHS["KUNNR"]) if numbers[0].isdigit() else numbers[0]
    return _fit("KUNNR", number)


def customer(message: Outbound, number: str, group: str, default_country: str) -> tuple[Segment, Values] | None:
    """The segment, and the canonical fields as sent; None where the message is about nothing that a customer has."""
    patient, heads = message.resource, {name.partition(".")[0] for name in message.changed}
    named = message.peer_etag == UNNAMED or (message.peer_id is None and {"identifier", "name"} <= heads)
    first = is_first(message) or named
    heads = heads if not first else {n for n in FIELDS if n in patient}
    if not first and not heads.intersection(FIELDS):
        return None
    fields, sent = dict.fromkeys(LENGTHS, NOT_TOLD), Values()
    fields |= {"MSGFN": CREATE if first else REPLACE, "KUNNR": number}
    fields |= {"KTOKD": _fit("KTOKD", group)} if first and group else {}
    fields |= {"STKZN": "X"} if first else {}
    if "name" in heads:
        name = main_name(patient)
        fields["NAME1"] = _fit("NAME1", str(name["text"]) if name else "")
        sent["name"] = [{"text": fields["NAME1"]}] if name else None
    if "address" in heads:
        fields |= _address(patient, default_country)
        sent["address"] = [{"text": " ".join(filter(None, (fields[f] for f in ADDRESS[:3])))}]
    if "telecom" in heads:
        _phones(message, first, fields, sent)
    if "language" in heads:
        code = str(patient.get("language") or "").partition("-")[0].upper()
        fields["SPRAS_ISO"] = code if len(code) == 2 else ""
        sent["language"] = code.lower() or None
    return Segment(CUSTOMER, fields), sent


def _address(patient: Mapping[str, Any], default_country: str) -> dict[str, str]:
    homes = [one for one in patient.get("address") or () if one.get("use") not in ("old", "temp", "billing", "work")]
    if not homes:
        return dict.fromkeys(ADDRESS, "")
    home, state, city = homes[0], str(homes[0].get("state") or ""), str(homes[0].get("city") or "")
    region = state if len(state) <= LENGTHS["REGIO"] and state.isascii() else ""
    if state and not region and not city.startswith(state):
        city = f"{state} {city}".strip()
    found = {
        "STRAS": " ".join(home.get("line") or ()) or ("" if city else str(home["text"])), "ORT01": city,
        "ORT02": str(home.get("district") or ""), "PSTLZ": str(home.get("postalCode") or ""), "REGIO": region,
        "LAND1": country(str(home.get("country") or "") or default_country),
    }  # fmt: skip
    return {name: _fit(name, value) for name, value in found.items()}


def _phones(message: Outbound, first: bool, fields: dict[str, str], sent: Values) -> None:
    points = message.resource.get("telecom")
    named = ["telecom"] if first else [name for name in message.changed if name.startswith("telecom")]
    slots = set(changed_slots(named, points))
    for field, places in PHONES.items():
        if not slots.intersection(places):
            continue
        slot = next((place for place in places if in_slot(points, place)), places[0])
        found = in_slot(points, slot)
        fields[field] = _fit(field, national_phone(str(found[0]["value"]))[0]) if found else ""
        sent[f"telecom.{slot}"] = (
            {**{k: found[0][k] for k in ("system", "use") if k in found[0]}, "value": fields[field]} if found else None
        )


def _fit(name: str, value: str) -> str:
    if len(value) > LENGTHS[name]:
        raise Refused(f"{CUSTOMER}-{name} holds {LENGTHS[name]} characters, the patient's value is longer", code="too_long")
    return value
