"""The simulated SAP's tables: a subset of API_BUSINESS_PARTNER with its keys, lengths, navigation and ETags. No HTTP.

Names and lengths as in the service's public $metadata. A value that is too long or a property that does not exist is an
`SapError`, as there.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Entity = dict[str, Any]
Key = tuple[str, ...]

KEYS: dict[str, tuple[str, ...]] = {
    "A_BusinessPartner": ("BusinessPartner",),
    "A_BusinessPartnerAddress": ("BusinessPartner", "AddressID"),
    "A_AddressPhoneNumber": ("AddressID", "Person", "OrdinalNumber"),
    "A_AddressEmailAddress": ("AddressID", "Person", "OrdinalNumber"),
    "A_BuPaIdentification": ("BusinessPartner", "BPIdentificationType", "BPIdentificationNumber"),
    "A_BusinessPartnerRole": ("BusinessPartner", "BusinessPartnerRole"),
    "A_BuPaAddressUsage": ("BusinessPartner", "AddressUsage", "AddressID"),
    "A_Customer": ("Customer",),
    "A_CustomerCompany": ("Customer", "CompanyCode"),
    "A_CustomerSalesArea": ("Customer", "SalesOrganization", "DistributionChannel", "Division"),
}
CUSTOMER_ROLES = ("FLCU00", "FLCU01")
ONE = frozenset({"to_Customer"})  # navigation to one entity, not to a list
# property -> length; 0: no text (date, flag)
FIELDS: dict[str, dict[str, int]] = {
    "A_BusinessPartner": {
        "BusinessPartner": 10, "BusinessPartnerCategory": 1, "BusinessPartnerGrouping": 4, "FirstName": 40, "LastName": 40,
        "CorrespondenceLanguage": 2, "BirthDate": 0, "BusinessPartnerDeathDate": 0, "IsMale": 0, "IsFemale": 0,
        "IsSexUnknown": 0, "SearchTerm1": 20, "SearchTerm2": 20, "BusinessPartnerIsBlocked": 0, "IsMarkedForArchiving": 0,
    },
    "A_BusinessPartnerAddress": {
        "BusinessPartner": 10, "AddressID": 10, "StreetName": 60, "HouseNumber": 10, "StreetSuffixName": 40,
        "AdditionalStreetSuffixName": 40, "CityName": 40, "District": 40, "PostalCode": 10, "Region": 3, "Country": 3,
    },
    "A_AddressPhoneNumber": {
        "AddressID": 10, "Person": 10, "OrdinalNumber": 3, "DestinationLocationCountry": 3, "IsDefaultPhoneNumber": 0,
        "PhoneNumber": 30, "PhoneNumberExtension": 10, "PhoneNumberType": 1,
    },
    "A_AddressEmailAddress": {
        "AddressID": 10, "Person": 10, "OrdinalNumber": 3, "IsDefaultEmailAddress": 0, "EmailAddress": 241,
    },
    "A_BuPaIdentification": {"BusinessPartner": 10, "BPIdentificationType": 6, "BPIdentificationNumber": 60},
    "A_BusinessPartnerRole": {"BusinessPartner": 10, "BusinessPartnerRole": 6},
    "A_BuPaAddressUsage": {"BusinessPartner": 10, "AddressUsage": 10, "AddressID": 10},
    "A_Customer": {"Customer": 10, "CustomerAccountGroup": 4, "BillingIsBlockedForCustomer": 2},
    "A_CustomerCompany": {"Customer": 10, "CompanyCode": 4, "ReconciliationAccount": 10, "PaymentTerms": 4},
    "A_CustomerSalesArea": {
        "Customer": 10, "SalesOrganization": 4, "DistributionChannel": 2, "Division": 2, "Currency": 5,
        "CustomerPaymentTerms": 4,
    },
}  # fmt: skip
# (entity set, navigation property) -> entity set, properties of the parent that the child shares, values that select
LINKS: dict[tuple[str, str], tuple[str, tuple[str, ...], Mapping[str, str]]] = {
    ("A_BusinessPartner", "to_BusinessPartnerAddress"): ("A_BusinessPartnerAddress", ("BusinessPartner",), {}),
    ("A_BusinessPartner", "to_BuPaIdentification"): ("A_BuPaIdentification", ("BusinessPartner",), {}),
    ("A_BusinessPartner", "to_BusinessPartnerRole"): ("A_BusinessPartnerRole", ("BusinessPartner",), {}),
    ("A_BusinessPartnerAddress", "to_PhoneNumber"): ("A_AddressPhoneNumber", ("AddressID",), {"PhoneNumberType": "1"}),
    ("A_BusinessPartnerAddress", "to_MobilePhoneNumber"): ("A_AddressPhoneNumber", ("AddressID",), {"PhoneNumberType": "3"}),
    ("A_BusinessPartnerAddress", "to_EmailAddress"): ("A_AddressEmailAddress", ("AddressID",), {}),
    ("A_BusinessPartnerAddress", "to_AddressUsage"): ("A_BuPaAddressUsage", ("BusinessPartner", "AddressID"), {}),
    ("A_BusinessPartner", "to_Customer"): ("A_Customer", ("Customer",), {}),
    ("A_Customer", "to_CustomerCompany"): ("A_CustomerCompany", ("Customer",), {}),
    ("A_Customer", "to_CustomerSalesArea"): ("A_CustomerSalesArea", ("Customer",), {}),
}


class SapError(Exception):
    """What SAP answers: a status, a message code, a text (which repeats the caller's values, as real ones do)."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(code)
        self.status, self.code, self.text = status, code, text


@dataclass
class SapData:
    """`tables`: entity set -> key -> entity, each with its ETag under `__etag`."""

    tables: dict[str, dict[Key, Entity]] = field(default_factory=lambda: {name: {} for name in KEYS})
    gone: set[str] = field(default_factory=set)  # properties that this release of the service does not have (any more)
    unique_types: frozenset[str] = frozenset({"ZMRN"})  # identification types whose numbers SAP was told to keep unique
    _undo: list[tuple[str, Key, Entity | None]] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1_000_001))
    _versions: Any = field(default_factory=lambda: itertools.count(1))

    def begin(self) -> None:
        """From here on everything can be taken back."""
        self._undo = []

    def roll_back(self) -> None:
        """To where `begin` was."""
        for entity_set, key, entity in reversed(self._undo):
            if entity is None:
                self.tables[entity_set].pop(key, None)
            else:
                self.tables[entity_set][key] = entity
        self._undo = []

    def _remember(self, entity_set: str, key: Key) -> None:
        there = self.tables[entity_set].get(key)
        self._undo.append((entity_set, key, dict(there) if there is not None else None))

    def create(self, entity_set: str, body: Mapping[str, Any], fixed: Mapping[str, str] | None = None) -> Entity:
        """A deep insert: the entity and what its navigation properties hold. All of it or nothing."""
        flat = {name: value for name, value in body.items() if not name.startswith(("to_", "__"))}
        self._check(entity_set, flat)
        entity = flat | dict(fixed or {})
        self._fill_keys(entity_set, entity)
        if entity_set == "A_BusinessPartner" and (body.get("to_Customer") or _customer_role(body)):
            entity["Customer"] = entity["BusinessPartner"]
            body = {**body, "to_Customer": body.get("to_Customer") or {}}
        if entity_set == "A_BusinessPartner":
            self._check_identifications(body)
            if not entity.get("LastName") and entity.get("BusinessPartnerCategory") == "1":
                raise SapError(400, "R11/124", "Enter a last name")
        key = self._key(entity_set, entity)
        if key in self.tables[entity_set]:
            raise SapError(400, "R11/401", f"Entity {key} exists already")
        self._store(entity_set, entity)
        for name, value in body.items():
            if name.startswith("to_"):
                for child in _children(name, value):
                    self.create_below(entity_set, entity, name, child)
        if entity_set == "A_BusinessPartnerAddress" and not self.below("A_BusinessPartnerAddress", entity, "to_AddressUsage"):
            shared = {name: entity[name] for name in ("BusinessPartner", "AddressID")}
            only = sum(key[0] == entity["BusinessPartner"] for key in self.tables["A_BusinessPartnerAddress"]) == 1
            self._store("A_BuPaAddressUsage", {**shared, "AddressUsage": "XXDEFAULT" if only else "SHIP_TO"})
        if entity_set == "A_BusinessPartnerRole" and entity["BusinessPartnerRole"] in CUSTOMER_ROLES:
            self._make_customer(entity["BusinessPartner"])
        return entity

    def _make_customer(self, number: str) -> None:
        """Of a partner in a customer's role, with the same number."""
        partner = self.tables["A_BusinessPartner"].get((number,))
        if partner is not None and not partner.get("Customer"):
            self._remember("A_BusinessPartner", (number,))
            partner["Customer"] = number
            self._store("A_Customer", {"Customer": number})

    def create_below(self, entity_set: str, parent: Entity, navigation: str, body: Mapping[str, Any]) -> Entity:
        child_set, shared, selects = self._link(entity_set, navigation)
        return self.create(child_set, {**selects, **body}, {name: parent[name] for name in shared})

    def change(self, entity_set: str, entity: Entity, fields: Mapping[str, Any]) -> None:
        self._check(entity_set, fields)
        if any(name in KEYS[entity_set] and entity[name] != value for name, value in fields.items()):
            raise SapError(400, "R11/045", "Keys cannot be changed")
        self._remember(entity_set, self._key(entity_set, entity))
        entity.update(fields)
        self._store(entity_set, entity)

    def delete(self, entity_set: str, entity: Entity) -> None:
        self._remember(entity_set, self._key(entity_set, entity))
        del self.tables[entity_set][self._key(entity_set, entity)]

    def below(self, entity_set: str, parent: Entity, navigation: str) -> list[Entity]:
        child_set, shared, selects = self._link(entity_set, navigation)
        wanted = {name: parent.get(name) for name in shared} | dict(selects)
        return [one for one in self.tables[child_set].values() if wanted.items() <= one.items()]

    def child_set(self, entity_set: str, navigation: str) -> str:
        return self._link(entity_set, navigation)[0]

    def _link(self, entity_set: str, navigation: str) -> tuple[str, tuple[str, ...], Mapping[str, str]]:
        if (entity_set, navigation) not in LINKS:
            raise SapError(404, "005056A509B11EE1B9A8FEA8DE87F78E", f"Resource not found for segment '{navigation}'")
        return LINKS[entity_set, navigation]

    def _key(self, entity_set: str, entity: Entity) -> Key:
        return tuple(str(entity[name]) for name in KEYS[entity_set])

    def _store(self, entity_set: str, entity: Entity) -> None:
        if self.tables[entity_set].get(self._key(entity_set, entity)) is None:
            self._remember(entity_set, self._key(entity_set, entity))
        entity["__etag"] = f"W/\"'{next(self._versions):026d}'\""
        self.tables[entity_set][self._key(entity_set, entity)] = entity

    def _fill_keys(self, entity_set: str, entity: Entity) -> None:
        for name in KEYS[entity_set]:
            if name in ("BusinessPartner", "AddressID") and not entity.get(name):
                entity[name] = str(next(self._numbers))
            elif name == "OrdinalNumber" and not entity.get(name):
                entity[name] = str(sum(key[0] == entity["AddressID"] for key in self.tables[entity_set]) + 1)
            elif name == "Person":
                entity.setdefault(name, "")

    def _check(self, entity_set: str, fields: Mapping[str, Any]) -> None:
        known = FIELDS[entity_set]
        for name, value in fields.items():
            if name not in known or name in self.gone:
                raise SapError(400, "005056A509B11ED19BEB6513D1A11A2B", f"Property '{name}' is invalid")
            if known[name] and isinstance(value, str) and len(value) > known[name]:
                raise SapError(400, "005056A509B11EE3AEB5EBD5DD3C5BD9", f"Property '{name}' has invalid value '{value}'")

    def _check_identifications(self, body: Mapping[str, Any]) -> None:
        for one in (body.get("to_BuPaIdentification") or {}).get("results", []):
            if one["BPIdentificationType"] not in self.unique_types:
                continue
            pair = (one["BPIdentificationType"], one["BPIdentificationNumber"])
            if any(key[1:] == pair for key in self.tables["A_BuPaIdentification"]):
                raise SapError(400, "R11/401", f"Identification number {pair[1]} exists already")


def _children(navigation: str, value: Any) -> list[Any]:
    """The entities of a deep insert's navigation property."""
    if navigation in ONE:
        return [value]
    return list(value.get("results", [])) if isinstance(value, dict) else list(value)


def _customer_role(body: Mapping[str, Any]) -> bool:
    roles = _children("to_BusinessPartnerRole", body.get("to_BusinessPartnerRole") or [])
    return any(one.get("BusinessPartnerRole") in CUSTOMER_ROLES for one in roles)
