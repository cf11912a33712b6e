"""A business partner as read, and what has to be written to make SAP say what we say. Pure: nothing is sent here.

What SAP derives (full names, search forms of numbers, a customer of a role) is not compared. What belongs to SAP once it was
set up (roles, company code and sales area) is looked at when the hub meets a partner, and never again: ADR 0146.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.adapters.erp import fields as bp
from hub.adapters.erp.settings import Settings
from hub.adapters.first import is_first
from hub.adapters.slots import changed_slots, in_slot, same_contact
from hub.codecs.sap import odata
from hub.codecs.sap.odata import Entity
from hub.domain.errors import Misconfigured, Refused, Unreadable
from hub.domain.ports import Outbound

FIELDS = ("name", "birthDate", "gender", "language", "deceasedAt", "address", "telecom", "identifier")
POINTER = "MERGED"  # SearchTerm2 of a partner whose patient was merged away: this word and the survivor's partner
_ADDRESS = "to_BusinessPartnerAddress"
_BELOW = ("to_PhoneNumber", "to_MobilePhoneNumber", "to_EmailAddress", "to_AddressUsage")
# slot -> navigation property, its entity set, PhoneNumberType (1 fixed line, 3 mobile) or "email"
_CONTACTS = {
    "mobile": ("to_MobilePhoneNumber", "A_AddressPhoneNumber", "3"),
    "home": ("to_PhoneNumber", "A_AddressPhoneNumber", "1"),
    "phone": ("to_PhoneNumber", "A_AddressPhoneNumber", "1"),
    "email": ("to_EmailAddress", "A_AddressEmailAddress", "email"),
}
_FLAGS = {"archive": "IsMarkedForArchiving", "block": "BusinessPartnerIsBlocked"}


@dataclass(frozen=True, slots=True)
class Change:
    """One step: POST creates `fields` under `path`, PATCH changes them, DELETE takes the entity away."""

    method: str
    path: str
    fields: Mapping[str, Any] | None = None
    etag: str | None = None


@dataclass(slots=True)
class Plan:
    """Steps in order. `again`: what SAP makes of them has to be read before the rest can be said."""

    changes: list[Change] = field(default_factory=list)
    sent_fields: dict[str, Any] = field(default_factory=dict)
    again: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A partner as read: `address` is its standard address, None where it has none."""

    id: str
    partner: Entity
    address: Entity | None

    @classmethod
    def of(cls, partner: Entity) -> Found:
        """Raises Misconfigured where the service does not expand what it was asked to."""
        try:
            addresses = odata.expanded(partner, _ADDRESS)
            standard = [one for one in addresses if _is_standard(one)] or sorted(
                addresses, key=lambda one: bp.text(one, "AddressID")
            )
        except Unreadable as error:
            raise Misconfigured(f"the ERP does not expand addresses ({error.reason}): check url", code="not_odata") from None
        return cls(bp.text(partner, "BusinessPartner"), partner, standard[0] if standard else None)

    @property
    def path(self) -> str:
        return odata.key("A_BusinessPartner", BusinessPartner=self.id)


class Planner:
    """What a channel's settings make of a message."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        more = ["to_BusinessPartnerRole"] if settings.roles else []
        more += ["to_BuPaIdentification"] if settings.identifications else []
        customer = [("to_CustomerCompany", settings.company), ("to_CustomerSalesArea", settings.sales_area)]
        self._customer = {name: table for name, table in customer if table}
        if self._customer:
            more += ["to_Customer", *(f"to_Customer/{name}" for name in self._customer)]
        self.expand = ",".join([_ADDRESS, *(f"{_ADDRESS}/{one}" for one in _BELOW), *more])

    def number(self, patient: Mapping[str, Any]) -> str:
        """The patient number that SAP knows; "" without one. Raises Refused."""
        ours = [one for one in patient.get("identifier") or [] if one.get("assigner") == self._settings.assigner]
        current = [one for one in ours if one.get("use") != "old" and one.get("type", "MR") in ("MR", "PI", "PN", "")]
        return bp.fit("BPIdentificationNumber", str(current[0]["value"])) if current else ""

    # a partner that SAP has

    def change(self, message: Outbound, found: Found) -> Plan:
        """What differs from what the message says."""
        plan, heads = Plan(), self._heads(message)
        write, plan.sent_fields = bp.person_fields(message.resource, heads, found.partner)
        if message.type == "patient.unmerged":
            write |= self._unmerged(found)
        if write:
            plan.changes.append(Change("PATCH", found.path, write, odata.etag(found.partner)))
        slots = self._slots(message, heads)
        if found.address is None:
            self._new_address_of(plan, message, found, heads, slots)
        else:
            if "address" in heads:
                self._address(plan, message, found.id, found.address)
            for slot in slots:
                self._contact(plan, message, found, found.address, slot)
        if "identifier" in heads:
            self._identifications(plan, message, found)
        if message.peer_id != found.id:
            self._set_up(plan, found)
        return plan

    def merged(self, found: Found, survivor: str) -> Plan:
        """What is said of the partner of a patient who was merged away; `survivor`: that patient's partner, "" unknown."""
        how = self._settings.merged
        if how == "nothing" or found.id == survivor:
            return Plan()
        term = bp.text(found.partner, "SearchTerm2")
        write: Entity = {}
        pointer = f"{POINTER} {survivor}".strip()[:20]
        if "SearchTerm2" in found.partner and term != pointer and (not term or term.startswith(POINTER)):
            write["SearchTerm2"] = pointer  # older releases have none: what they do not show is not written
        if found.partner.get(_FLAGS.get(how, ""), True) is False:
            write[_FLAGS[how]] = True
        return Plan([Change("PATCH", found.path, write, odata.etag(found.partner))] if write else [])

    def _unmerged(self, found: Found) -> Entity:
        """The same taken back: only what we say there ourselves."""
        flag = _FLAGS.get(self._settings.merged)
        write: Entity = {"SearchTerm2": ""} if bp.text(found.partner, "SearchTerm2").startswith(POINTER) else {}
        return write | ({flag: False} if flag and found.partner.get(flag) else {})

    def _heads(self, message: Outbound) -> set[str]:
        """The fields this message is about; a new patient is about all that is known of it."""
        if is_first(message) or message.type == "patient.unmerged":
            return {name for name in FIELDS if name in message.resource}
        return {"deceasedAt" if name == "deceased" else name.partition(".")[0] for name in message.changed}

    def _slots(self, message: Outbound, heads: set[str]) -> list[str]:
        """The slots to look at, one a navigation property: a home phone wins over one without a use."""
        if "telecom" not in heads:
            return []
        telecom = message.resource.get("telecom")
        whole = is_first(message) or message.type == "patient.unmerged"
        named = [name for name in message.changed if name.startswith("telecom")] or ["telecom"]
        slots = [slot for slot in changed_slots(["telecom"] if whole else named, telecom) if slot in _CONTACTS]
        if "home" in slots or in_slot(telecom, "home"):
            slots = [slot for slot in slots if slot != "phone"]
        return slots

    def _new_address_of(self, plan: Plan, message: Outbound, found: Found, heads: set[str], slots: list[str]) -> None:
        """SAP keeps phones and e-mails under an address: without one, all of it comes in one request."""
        address, sent = self._new_address(message.resource, with_text="address" in heads, slots=slots)
        if address is not None:
            plan.changes.append(Change("POST", f"{found.path}/{_ADDRESS}", address))
            plan.sent_fields |= sent

    def _address(self, plan: Plan, message: Outbound, partner_id: str, there: Entity) -> None:
        wanted = _home_address(message.resource)
        if wanted is None:  # a partner keeps its last address: SAP hangs phones and documents on it
            return
        fields = bp.address_fields(wanted, self._settings.country)
        plan.sent_fields["address"] = [bp.address_sent(fields)]
        write = bp.address_differs(there, fields)
        if write:
            plan.changes.append(Change("PATCH", _address_key(partner_id, there), write, odata.etag(there)))

    def _contact(self, plan: Plan, message: Outbound, found: Found, address: Entity, slot: str) -> None:
        navigation, entity_set, kind = _CONTACTS[slot]
        name = "EmailAddress" if kind == "email" else "PhoneNumber"
        there = [
            one for one in odata.expanded(address, navigation) if kind == "email" or bp.text(one, "PhoneNumberType") in ("", kind)
        ]
        wanted = in_slot(message.resource.get("telecom"), slot)
        ours = _ours(message, slot, [(one, bp.text(one, name)) for one in there])
        taken_away = [Change("DELETE", _contact_key(entity_set, one), None, odata.etag(one)) for one in ours]
        if not wanted:
            plan.sent_fields[f"telecom.{slot}"] = None
            plan.changes += taken_away
            return
        fields = bp.contact_fields(kind, str(wanted[0]["value"]))
        plan.sent_fields[f"telecom.{slot}"] = _sent_contact(wanted[0], fields[name])
        if any(same_contact(slot, bp.text(one, name), fields[name]) for one in there):
            plan.changes += taken_away
        elif not ours:
            plan.changes.append(Change("POST", f"{_address_key(found.id, address)}/{navigation}", fields))
        else:
            plan.changes.append(Change("PATCH", _contact_key(entity_set, ours[0]), fields, odata.etag(ours[0])))

    def _identifications(self, plan: Plan, message: Outbound, found: Found) -> None:
        """Numbers of the types configured: those that are new are added, those that the hub calls old are taken away."""
        if not self._settings.identifications:
            return
        there = {
            (bp.text(one, "BPIdentificationType"), bp.text(one, "BPIdentificationNumber")): one
            for one in odata.expanded(found.partner, "to_BuPaIdentification")
        }
        for one in self._further(message.resource, old=False):
            if _number_key(one) not in there:
                plan.changes.append(Change("POST", f"{found.path}/to_BuPaIdentification", one))
        for one in self._further(message.resource, old=True):
            if (known := there.get(_number_key(one))) is not None:
                plan.changes.append(
                    Change("DELETE", odata.key("A_BuPaIdentification", BusinessPartner=found.id, **one), None, odata.etag(known))
                )

    def _further(self, patient: Mapping[str, Any], *, old: bool) -> list[dict[str, str]]:
        """The patient's numbers of the types in `identifications`, as A_BuPaIdentification."""
        return [
            {
                "BPIdentificationType": self._settings.identifications[one["type"]],
                "BPIdentificationNumber": bp.fit("BPIdentificationNumber", str(one["value"])),
            }
            for one in patient.get("identifier") or []
            if one.get("type") in self._settings.identifications and (one.get("use") == "old") is old
        ]

    def _set_up(self, plan: Plan, found: Found) -> None:
        """A partner that we meet for the first time gets the roles and the customer's data that are configured."""
        if self._settings.roles:
            there = {bp.text(one, "BusinessPartnerRole") for one in odata.expanded(found.partner, "to_BusinessPartnerRole")}
            for role in self._settings.roles:
                if role not in there:
                    plan.changes.append(Change("POST", f"{found.path}/to_BusinessPartnerRole", {"BusinessPartnerRole": role}))
        customer = found.partner.get("to_Customer")
        if not isinstance(customer, dict) or not customer.get("Customer"):
            plan.again = bool(self._customer and plan.changes)  # SAP makes the customer of the role
            return
        path = odata.key("A_Customer", Customer=bp.text(customer, "Customer"))
        for navigation, table in self._customer.items():
            keys = [name for name in ("CompanyCode", "SalesOrganization", "DistributionChannel", "Division") if name in table]
            if not any(all(one.get(key) == table[key] for key in keys) for one in odata.expanded(customer, navigation)):
                plan.changes.append(Change("POST", f"{path}/{navigation}", table))

    # a partner that SAP does not have

    def new(self, patient: Mapping[str, Any], number: str) -> Plan:
        """One deep POST. Raises Refused."""
        person, sent = bp.person_fields(patient, set(FIELDS), None)
        if not person.get("LastName"):
            raise Refused("a business partner needs a name, the patient has none", code="no_name")
        numbers = [
            {"BPIdentificationType": self._settings.identification_type, "BPIdentificationNumber": number},
            *self._further(patient, old=False),
        ]
        body: Entity = {"BusinessPartnerCategory": "1", **person, "to_BuPaIdentification": {"results": numbers}}
        if self._settings.grouping:
            body["BusinessPartnerGrouping"] = self._settings.grouping
        if self._settings.roles:
            body["to_BusinessPartnerRole"] = {"results": [{"BusinessPartnerRole": role} for role in self._settings.roles]}
        if self._customer:
            body["to_Customer"] = {name: {"results": [table]} for name, table in self._customer.items()}
        telecom = patient.get("telecom")
        slots = [slot for slot in _CONTACTS if in_slot(telecom, slot) and not (slot == "phone" and in_slot(telecom, "home"))]
        address, more = self._new_address(patient, with_text=True, slots=slots)
        if address is not None:
            body[_ADDRESS] = {"results": [address]}
        return Plan([Change("POST", "/A_BusinessPartner", body)], sent | more)

    def _new_address(self, patient: Mapping[str, Any], *, with_text: bool, slots: list[str]) -> tuple[Entity | None, Entity]:
        """A new address with its phones and e-mails, and the canonical fields as sent; None where there is nothing to say."""
        wanted = _home_address(patient) if with_text else None
        body: Entity = {"Country": self._settings.country}
        sent: Entity = {}
        if wanted is not None:
            fields = bp.address_fields(wanted, self._settings.country)
            body = {name: value for name, value in fields.items() if value}
            sent["address"] = [bp.address_sent(fields)]
        for slot in slots:
            points = in_slot(patient.get("telecom"), slot)
            if not points:
                continue
            navigation, _, kind = _CONTACTS[slot]
            contact = bp.contact_fields(kind, str(points[0]["value"]))
            body[navigation] = {"results": [contact]}
            sent[f"telecom.{slot}"] = _sent_contact(points[0], contact.get("PhoneNumber") or contact["EmailAddress"])
        return (body if sent else None), sent


def _is_standard(address: Entity) -> bool:
    """The address that SAP uses where nobody says which (address usage XXDEFAULT)."""
    return any(bp.text(one, "AddressUsage") == "XXDEFAULT" for one in odata.expanded(address, "to_AddressUsage"))


def _home_address(patient: Mapping[str, Any]) -> Mapping[str, Any] | None:
    addresses = [one for one in patient.get("address") or [] if one.get("use") not in ("old", "temp", "billing", "work")]
    return addresses[0] if addresses else None


def _address_key(partner_id: str, address: Entity) -> str:
    return odata.key("A_BusinessPartnerAddress", BusinessPartner=partner_id, AddressID=bp.text(address, "AddressID"))


def _contact_key(entity_set: str, one: Entity) -> str:
    return odata.key(entity_set, **{name: bp.text(one, name) for name in ("AddressID", "Person", "OrdinalNumber")})


def _ours(message: Outbound, slot: str, there: Sequence[tuple[Entity, str]]) -> list[Entity]:
    """Of the contacts there those that say what SAP was last sent, or what the patient had before, and has no more.

    The others are somebody else's: a clerk in finance may write down a second number.
    """
    slots = [one for one in _CONTACTS if _CONTACTS[one][0] == _CONTACTS[slot][0]]
    known = [message.said.get(f"telecom.{one}") for one in slots]
    known += [point for one in slots for point in in_slot(message.before.get("telecom"), one)[:1]]
    gone = [str(point["value"]) for point in known if point]
    kept = [str(point["value"]) for one in slots for point in in_slot(message.resource.get("telecom"), one)]

    def among(value: str, values: Sequence[str]) -> bool:
        return any(same_contact(slot, value, one) for one in values)

    return [one for one, value in there if among(value, gone) and not among(value, kept)]


def _number_key(one: Mapping[str, str]) -> tuple[str, str]:
    return one["BPIdentificationType"], one["BPIdentificationNumber"]


def _sent_contact(point: Mapping[str, Any], value: str) -> Entity:
    return {name: point[name] for name in ("system", "use") if name in point} | {"value": value}
