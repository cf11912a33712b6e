"""Canonical patient -> fields of API_BUSINESS_PARTNER, and what differs from what stands there. Pure.

Lengths are those of the service's $metadata. What does not fit is refused, because a name or an address cut silently is
data lost; only a street is spread over its three lines. Nothing is guessed: a name without family and given goes whole
into LastName, `other` becomes unknown (the service has three flags), a date without a day is not sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from hub.codecs.sap import odata
from hub.codecs.sap.odata import Entity
from hub.domain.errors import Refused
from hub.domain.search import national_phone, normal_name

LENGTHS = {
    "FirstName": 40,
    "LastName": 40,
    "CorrespondenceLanguage": 2,
    "StreetName": 60,
    "StreetSuffixName": 40,
    "AdditionalStreetSuffixName": 40,
    "CityName": 40,
    "District": 40,
    "PostalCode": 10,
    "Country": 3,
    "Region": 3,
    "PhoneNumber": 30,
    "EmailAddress": 241,
    "BPIdentificationNumber": 60,
}
STREET = ("StreetName", "StreetSuffixName", "AdditionalStreetSuffixName")
# ISO 3166-1: HL7 sends three letters, SAP wants two; the countries that most foreign patients in Korea come from
COUNTRIES = {
    "KOR": "KR", "CHN": "CN", "JPN": "JP", "USA": "US", "TWN": "TW", "HKG": "HK", "MNG": "MN", "RUS": "RU", "KAZ": "KZ",
    "UZB": "UZ", "VNM": "VN", "THA": "TH", "PHL": "PH", "IDN": "ID", "MYS": "MY", "SGP": "SG", "IND": "IN", "ARE": "AE",
    "SAU": "SA", "CAN": "CA", "GBR": "GB", "DEU": "DE", "FRA": "FR", "AUS": "AU", "NPL": "NP", "KHM": "KH", "MMR": "MM",
}  # fmt: skip
_REGION = re.compile(r"[A-Z0-9]{1,3}\Z")


def fit(name: str, value: str) -> str:
    """`value`, if the service's field `name` can hold it; else Refused."""
    if len(value) > LENGTHS[name]:
        raise Refused(f"{name} holds {LENGTHS[name]} characters, the patient's value is longer", code="too_long")
    return value


def text(entity: Mapping[str, Any], name: str) -> str:
    """A field as it stands there, "" for null."""
    return str(entity.get(name) or "")


def main_name(patient: Mapping[str, Any]) -> dict[str, Any] | None:
    """The name that a business partner gets: not a former one, and rather Hangul or Han than its romanisation."""
    names = [one for one in patient.get("name") or [] if one.get("use") not in ("old", "maiden", "nickname", "anonymous")]
    return next((one for one in names if one.get("representation") != "ABC"), names[0] if names else None)


def name_fields(patient: Mapping[str, Any]) -> Entity:
    """{LastName, FirstName}; {} without a name."""
    name = main_name(patient)
    if name is None:
        return {}
    given = " ".join(name.get("given") or ())
    last, first = (name["family"], given) if name.get("family") and given else (name["text"], "")
    return {"LastName": fit("LastName", last), "FirstName": fit("FirstName", first)}


def same_name(there: Mapping[str, Any], fields: Mapping[str, str], name: Mapping[str, Any]) -> bool:
    """Whether it is the same name, however it is split there: 홍 + 길동 and 홍길동 are one."""
    if all(text(there, key) == value for key, value in fields.items()):
        return True
    last, first = text(there, "LastName"), text(there, "FirstName")
    return normal_name(name["text"]) in (normal_name(last + first), normal_name(first + last))


def person_fields(patient: Mapping[str, Any], heads: Collection[str], there: Mapping[str, Any] | None) -> tuple[Entity, Entity]:
    """What to write into A_BusinessPartner, and the canonical fields as sent. `there` None: it is being created."""
    write: Entity = {}
    sent: Entity = {}
    steps: dict[str, Callable[[Mapping[str, Any]], tuple[Entity, Any]]] = {
        "birthDate": _birth,
        "gender": _gender,
        "language": _language,
        "deceasedAt": _death,
    }
    name = main_name(patient)
    if "name" in heads and name is not None:
        fields = name_fields(patient)
        if there is None or not same_name(there, fields, name):
            write |= fields
        sent["name"] = [_name_sent(fields)] if fields["FirstName"] else [{"text": fields["LastName"]}]
    for head, step in steps.items():
        if head not in heads:
            continue
        fields, value = step(patient)
        if there is None:
            write |= {key: one for key, one in fields.items() if one is not None and key != "BusinessPartnerDeathDate"}
        else:  # older releases lack some of these fields: what they do not show is not written
            write |= {key: one for key, one in fields.items() if key in there and not _same(there[key], one)}
        if fields:
            sent[head] = value
    return write, sent


def _name_sent(fields: Mapping[str, str]) -> Entity:
    last, first = fields["LastName"], fields["FirstName"]
    joined = last + first if last >= "\u2e80" else f"{first} {last}"  # CJK and Hangul stand above this point
    return {"text": joined, "family": last, "given": first.split(" ")}


def _same(there: object, value: object) -> bool:
    if isinstance(there, str) and there.startswith("/Date("):
        return odata.to_day(there) == (odata.to_day(value) if isinstance(value, str) else None)
    return (there or None) == (value or None)


def _birth(patient: Mapping[str, Any]) -> tuple[Entity, Any]:
    day = patient.get("birthDate")
    value = odata.from_day(day) if day else None
    return ({"BirthDate": value}, day) if value or not day else ({}, None)


def _death(patient: Mapping[str, Any]) -> tuple[Entity, Any]:
    day = str(patient.get("deceasedAt") or "")[:10]
    value = odata.from_day(day) if day else None
    return ({"BusinessPartnerDeathDate": value}, day or None) if value or not day else ({}, None)


def _gender(patient: Mapping[str, Any]) -> tuple[Entity, Any]:
    gender = patient.get("gender")
    if not gender:
        return {}, None
    male, female = gender == "male", gender == "female"
    flags = {"IsMale": male, "IsFemale": female, "IsSexUnknown": not (male or female)}
    return flags, gender if male or female else "unknown"


def _language(patient: Mapping[str, Any]) -> tuple[Entity, Any]:
    code = str(patient.get("language") or "").partition("-")[0]
    return ({"CorrespondenceLanguage": code.upper()}, code.lower()) if len(code) == 2 else ({}, None)


def address_fields(address: Mapping[str, Any], default_country: str) -> Entity:
    """A canonical address as A_BusinessPartnerAddress; a state that is no region code stands before the city."""
    state, city = str(address.get("state") or ""), str(address.get("city") or "")
    region = state if _REGION.match(state) else ""
    if state and not region:
        city = city if city.startswith(state) else f"{state} {city}".strip()
    fields = {
        **_street(" ".join(address.get("line") or ()) or ("" if city else address["text"])),
        "CityName": city,
        "District": str(address.get("district") or ""),
        "PostalCode": str(address.get("postalCode") or ""),
        "Region": region,
        "Country": country(str(address.get("country") or "") or default_country),
    }
    return {name: fit(name, value) for name, value in fields.items()}


def country(code: str) -> str:
    """Two letters; Refused for a code that the table above does not know."""
    upper = code.strip().upper()
    if len(upper) == 2 and upper.isascii() and upper.isalpha():
        return upper
    if upper not in COUNTRIES:
        raise Refused("the address's country is no ISO 3166 code that SAP takes", code="unknown_code")
    return COUNTRIES[upper]


def _street(street: str) -> Entity:
    """Word by word over the three lines of a street; what is left over at the end is refused."""
    lines = dict.fromkeys(STREET, "")
    names = list(STREET)
    for word in street.split():
        while names:
            longer = f"{lines[names[0]]} {word}".strip()
            if len(longer) <= LENGTHS[names[0]]:
                lines[names[0]] = longer
                break
            names.pop(0)
        else:
            raise Refused("the street does not fit into StreetName and its two suffixes (60, 40 and 40)", code="too_long")
    return lines


def address_differs(there: Mapping[str, Any], fields: Mapping[str, str]) -> Entity:
    """The fields to write. A house number kept in its own field there counts as part of the street."""
    write = {name: value for name, value in fields.items() if text(there, name) != value}
    house = text(there, "HouseNumber")
    if house and "StreetName" in write:
        if f"{text(there, 'StreetName')} {house}" == fields["StreetName"]:
            del write["StreetName"]
        else:
            write["HouseNumber"] = ""  # else the new street would keep the old number
    return write


def address_sent(fields: Mapping[str, str]) -> Entity:
    """What was sent, as a canonical address: how its echo will read."""
    street = " ".join(fields[name] for name in STREET if fields[name])
    made = {"city": fields["CityName"], "district": fields["District"], "state": fields["Region"],
            "postalCode": fields["PostalCode"], "country": fields["Country"]}  # fmt: skip
    whole = " ".join(part for part in (fields["CityName"], fields["District"], street) if part)
    return {"text": whole, "line": [street]} | {key: value for key, value in made.items() if value}


def contact_fields(kind: str, value: str) -> Entity:
    """A phone as A_AddressPhoneNumber (`kind` its PhoneNumberType: 1 fixed, 3 mobile), an e-mail as A_AddressEmailAddress."""
    if kind == "email":
        return {"EmailAddress": fit("EmailAddress", value)}
    number, where = national_phone(value)
    fields = {"PhoneNumber": fit("PhoneNumber", number), "PhoneNumberType": kind}
    return fields | ({"DestinationLocationCountry": where} if where else {})
