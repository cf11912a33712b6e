"""ERP, outbound: a canonical patient's changes into SAP's business partner (OData V2, API_BUSINESS_PARTNER).

find (by the number learnt earlier, else by identification number) -> read with address, phones, e-mails -> write what
differs, entity by entity, each with the ETag read. Nothing differs: nothing is written. A partner that SAP does not
have is created in one request, after a search.

Why sending again is safe: every attempt reads first. A change that arrived leaves nothing to write; a partner whose
create lost its answer is found by its identification number, at once and again by the next attempt. SAP itself keeps no
such number unique, so a create that SAP finishes only after the next attempt has searched would stand twice: the waits
between attempts (retry.base_seconds) cover that, and two partners with one number are refused as ambiguous from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hub.adapters.erp import fields as bp
from hub.adapters.erp.odata_client import ODataClient
from hub.adapters.first import is_first, is_unnumbered_prospect, merged_away
from hub.adapters.settings import read_table, wrong
from hub.adapters.slots import changed_slots, in_slot, same_contact
from hub.codecs.sap import odata
from hub.codecs.sap.odata import Entity
from hub.config import option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused, Unreadable
from hub.domain.ports import Delivered, Manifest, Outbound, Target
from hub.transport.http import Answer, HttpSettings

MANIFEST = Manifest(
    name="erp.business_partner",
    title="ERP: SAP business partner",
    direction="out",
    system="erp",
    protocol="OData V2, API_BUSINESS_PARTNER",
    handles=("patient.created", "patient.updated"),
)
PEER = "the ERP"
ROUNDS = 3  # how often a partner that somebody else changed meanwhile is read and compared again
_ADDRESS = "to_BusinessPartnerAddress"
_BELOW = ("to_PhoneNumber", "to_MobilePhoneNumber", "to_EmailAddress", "to_AddressUsage")
_EXPAND = ",".join([_ADDRESS, *(f"{_ADDRESS}/{one}" for one in _BELOW)])
# slot -> navigation property, its entity set, PhoneNumberType (1 fixed line, 3 mobile) or "email"
_CONTACTS = {
    "mobile": ("to_MobilePhoneNumber", "A_AddressPhoneNumber", "3"),
    "home": ("to_PhoneNumber", "A_AddressPhoneNumber", "1"),
    "phone": ("to_PhoneNumber", "A_AddressPhoneNumber", "1"),
    "email": ("to_EmailAddress", "A_AddressEmailAddress", "email"),
}
FIELDS = ("name", "birthDate", "gender", "language", "deceasedAt", "address", "telecom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(HttpSettings):
    """A channel's own keys; see docs/erp-sap.md."""

    identification_type: str = option(
        doc="BPIdentificationType under which SAP keeps the patient number, from its customizing: ZMRN"
    )
    assigner: str = option("HOSP", doc="whose patient number that is; default: [hub] assigner")
    create: bool = option(False, doc="true: a patient whom SAP does not know becomes a business partner; false: refused")
    grouping: str = option("", doc="BusinessPartnerGrouping of those created; default: SAP's own")
    role: str = option("", doc="BusinessPartnerRole of those created: FLCU01 (customer); default: none")
    country: str = option("KR", doc="country of addresses that name none (ISO 3166, two letters)")
    sap_client: str = option("", doc="SAP client (Mandant), three digits; default: the service's own")
    update_method: Literal["PATCH", "MERGE"] = option(
        "PATCH", doc="MERGE for gateways that do not know PATCH (tunnelled in POST)"
    )

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        for name, largest in (("identification_type", 6), ("grouping", 4), ("role", 6)):
            value = getattr(self, name)
            if len(value) > largest or (name == "identification_type" and not value):
                raise wrong(f'"{name}" cannot be that', f"write the key of SAP's customizing, at most {largest} characters")
        if self.sap_client and not (len(self.sap_client) == 3 and self.sap_client.isdigit()):
            raise wrong('"sap_client" cannot be that', 'write three digits: sap_client = "100"')
        if not (len(self.country) == 2 and self.country.isascii() and self.country.isupper()):
            raise wrong('"country" cannot be that', 'write two letters: country = "KR"')
        if not self.assigner:
            raise wrong('"assigner" is empty', 'write the assigning authority of the patient number: assigner = "HOSP"')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings) -> Target:
    """The channel, ready to send; nothing is connected yet."""
    return BusinessPartner(settings)


@dataclass(slots=True)
class Found:
    """A partner as read: `address` is its standard address, None where it has none."""

    id: str
    partner: Entity
    address: Entity | None
    body: bytes


@dataclass(slots=True)
class Plan:
    """What has to be written to make SAP say what we say. Steps in order; each gives SAP's answer."""

    steps: list[Callable[[], Answer]] = field(default_factory=list)
    sent_fields: dict[str, Any] = field(default_factory=dict)


class BusinessPartner:
    """`hub.domain.ports.Target` for one SAP system."""

    resend_is_safe = True  # see the module's docstring

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sap = ODataClient(settings, peer=PEER, client=settings.sap_client, merge_verb=settings.update_method)

    def close(self) -> None:
        self._sap.close()

    def ping(self) -> str:
        """Fetches a CSRF token: shows that address, user and session work, changes nothing."""
        self._sap.token(other_than=self._sap.token())
        return "OData V2, session and CSRF token given"

    def send(self, message: Outbound) -> Delivered:
        """Brings the message's fields into SAP. See hub.domain.ports.Target.send."""
        if merged_away(message):
            return Delivered(message.peer_id, message.peer_etag, detail="nothing to do: merged into another patient")
        written: list[Answer] = []
        idle = 0
        while idle < ROUNDS:
            before = len(written)
            found = self._find(message)
            if found is None and is_unnumbered_prospect(message.resource):
                return Delivered(detail="nothing to do: a prospect without a number")
            delivered = self._change(message, found, written) if found else self._create(message)
            if delivered is not None:
                return delivered
            idle += len(written) == before  # a round that wrote something got nearer
        raise NotDelivered("the partner kept changing in the ERP while we wrote", code="conflict")

    def find(self, message: Outbound) -> Delivered | None:
        """Whether what `message` says stands in SAP already: the read leaves nothing to write."""
        found = self._find(message)
        if found is None:
            return None
        plan = self._plan(message, found)
        if plan.steps:
            return None
        return Delivered(found.id, odata.etag(found.partner), answer=found.body, detail="found", sent_fields=plan.sent_fields)

    # finding

    def _find(self, message: Outbound) -> Found | None:
        found = self._read(message.peer_id) if message.peer_id else None
        if found is not None:
            return found
        number = self._number(message)
        if not number:
            return None
        where = odata.equal(BPIdentificationType=self._settings.identification_type, BPIdentificationNumber=number)
        hits = {bp.text(one, "BusinessPartner") for one in self._sap.search("A_BuPaIdentification", where)} - {""}
        if len(hits) > 1:
            raise Refused(f"ambiguous: {len(hits)} business partners carry this patient number", code="ambiguous")
        return self._read(hits.pop()) if hits else None

    def _number(self, message: Outbound) -> str:
        ours = [one for one in message.resource.get("identifier") or [] if one.get("assigner") == self._settings.assigner]
        current = [one for one in ours if one.get("use") != "old" and one.get("type", "MR") in ("MR", "PI", "PN", "")]
        return str(current[0]["value"]) if current else ""

    def _read(self, partner_id: str) -> Found | None:
        read = self._sap.entity(odata.key("A_BusinessPartner", BusinessPartner=partner_id), _EXPAND)
        if read is None:
            return None
        partner, body = read
        try:
            addresses = odata.expanded(partner, _ADDRESS)
            standard = [one for one in addresses if _is_standard(one)] or sorted(
                addresses, key=lambda one: bp.text(one, "AddressID")
            )
        except Unreadable as error:
            odd = Misconfigured(f"the ERP does not expand addresses ({error.reason}): check url", code="not_odata")
            odd.answer = body
            raise odd from None
        return Found(partner_id, partner, standard[0] if standard else None, body)

    # writing

    def _heads(self, message: Outbound) -> set[str]:
        """The fields this message is about; a new patient is about all that is known of it."""
        if is_first(message):
            return {name for name in FIELDS if name in message.resource}
        return {"deceasedAt" if name == "deceased" else name.partition(".")[0] for name in message.changed}

    def _slots(self, message: Outbound, heads: set[str]) -> list[str]:
        """The slots to look at, one a navigation property: a home phone wins over one without a use."""
        if "telecom" not in heads:
            return []
        telecom = message.resource.get("telecom")
        named = [name for name in message.changed if name.startswith("telecom")] or ["telecom"]
        slots = [slot for slot in changed_slots(["telecom"] if is_first(message) else named, telecom) if slot in _CONTACTS]
        if "home" in slots or in_slot(telecom, "home"):
            slots = [slot for slot in slots if slot != "phone"]
        return slots

    def _change(self, message: Outbound, found: Found, written: list[Answer]) -> Delivered | None:
        """One round: compare and write. None: an entity was not there or not as read any more (404, 412), read again."""
        plan = self._plan(message, found)
        etag = odata.etag(found.partner)
        for step in plan.steps:
            answer = step()
            if answer.status in (404, 409, 412):
                return None
            if answer.status == 428:
                raise self._told(
                    answer, Misconfigured("the ERP wants If-Match but shows no ETag of its entities", code="no_version")
                )
            if answer.status not in (200, 201, 204):
                raise self._sap.error(answer)
            written.append(answer)
        if not written:
            return Delivered(found.id, etag, answer=found.body, detail="unchanged", sent_fields=plan.sent_fields)
        sent, answered = (b"\n".join(getattr(one, part) for one in written) for part in ("sent", "body"))
        etag = None if len(written) > 1 else written[0].etag
        return Delivered(found.id, etag, sent, answered, ",".join(str(one.status) for one in written), plan.sent_fields)

    def _plan(self, message: Outbound, found: Found) -> Plan:
        plan, heads = Plan(), self._heads(message)
        write, plan.sent_fields = bp.person_fields(message.resource, heads, found.partner)
        if write:
            path = odata.key("A_BusinessPartner", BusinessPartner=found.id)
            plan.steps.append(lambda: self._sap.change(path, write, odata.etag(found.partner)))
        slots = self._slots(message, heads)
        if found.address is None:
            self._plan_new_address(plan, message, found, heads, slots)
            return plan
        if "address" in heads:
            self._plan_address(plan, message, found.id, found.address)
        for slot in slots:
            self._plan_contact(plan, message, found, found.address, slot)
        return plan

    def _plan_new_address(self, plan: Plan, message: Outbound, found: Found, heads: set[str], slots: list[str]) -> None:
        """SAP keeps phones and e-mails under an address: without one, all of it comes in one request."""
        address, sent = self._new_address(message.resource, with_text="address" in heads, slots=slots)
        if address is not None:
            path = odata.key("A_BusinessPartner", BusinessPartner=found.id) + f"/{_ADDRESS}"
            plan.steps.append(lambda: self._sap.create(path, address))
            plan.sent_fields |= sent

    def _plan_address(self, plan: Plan, message: Outbound, partner_id: str, there: Entity) -> None:
        wanted = _home_address(message.resource)
        if wanted is None:  # a partner keeps its last address: SAP hangs phones and documents on it
            return
        fields = bp.address_fields(wanted, self._settings.country)
        plan.sent_fields["address"] = [bp.address_sent(fields)]
        write = bp.address_differs(there, fields)
        if write:
            path = odata.key("A_BusinessPartnerAddress", BusinessPartner=partner_id, AddressID=bp.text(there, "AddressID"))
            plan.steps.append(lambda: self._sap.change(path, write, odata.etag(there)))

    def _plan_contact(self, plan: Plan, message: Outbound, found: Found, address: Entity, slot: str) -> None:
        navigation, entity_set, kind = _CONTACTS[slot]
        name = "EmailAddress" if kind == "email" else "PhoneNumber"
        there = [
            one for one in odata.expanded(address, navigation) if kind == "email" or bp.text(one, "PhoneNumberType") in ("", kind)
        ]
        wanted = in_slot(message.resource.get("telecom"), slot)
        if not wanted:
            plan.sent_fields[f"telecom.{slot}"] = None
            plan.steps += [self._deletion(_contact_key(entity_set, one), odata.etag(one)) for one in there]
            return
        fields = bp.contact_fields(kind, str(wanted[0]["value"]))
        plan.sent_fields[f"telecom.{slot}"] = _sent_contact(wanted[0], fields[name])
        if any(same_contact(slot, bp.text(one, name), fields[name]) for one in there):
            return
        if not there:
            address_key = odata.key("A_BusinessPartnerAddress", BusinessPartner=found.id, AddressID=bp.text(address, "AddressID"))
            plan.steps.append(lambda: self._sap.create(f"{address_key}/{navigation}", fields))
            return
        default = "IsDefaultEmailAddress" if kind == "email" else "IsDefaultPhoneNumber"
        first = max(there, key=lambda one: bool(one.get(default)))
        path, etag = _contact_key(entity_set, first), odata.etag(first)
        plan.steps.append(lambda: self._sap.change(path, fields, etag))

    def _deletion(self, path: str, etag: str | None) -> Callable[[], Answer]:
        return lambda: self._sap.delete(path, etag)

    # creating

    def _create(self, message: Outbound) -> Delivered | None:
        """One deep POST. None: it turned out to be there (somebody else's, or ours whose answer was lost)."""
        number = self._number(message)
        if not self._settings.create:
            raise Refused(
                "the patient is unknown there, and this channel does not create business partners", code="unknown_there"
            )
        if not number:
            raise Refused(
                f"the patient has no number of {self._settings.assigner}, the assigner of this channel", code="no_identifier"
            )
        body, sent = self._new_partner(message.resource, number)
        try:
            answer = self._sap.create("/A_BusinessPartner", body)
            if answer.status != 201:
                raise self._sap.error(answer)
        except (OutcomeUnknown, Refused) as error:  # Refused: a duplicate is a 400 at SAP, a 409 elsewhere
            if self._stands(message):
                return None
            raise error from None
        try:
            made = odata.parse_entity(answer.body)
        except Unreadable:
            raise self._told(answer, OutcomeUnknown("the ERP's answer to a create cannot be read", code="wrong_answer")) from None
        partner_id = bp.text(made, "BusinessPartner") or None
        return Delivered(partner_id, answer.etag or odata.etag(made), answer.sent, answer.body, "201", sent)

    def _stands(self, message: Outbound) -> bool:
        """After a lost answer: is the partner there? Whatever else goes wrong now, the outcome stays unknown."""
        try:
            return self._find(message) is not None
        except HubError:
            return False

    def _new_partner(self, patient: Mapping[str, Any], number: str) -> tuple[Entity, Entity]:
        person, sent = bp.person_fields(patient, set(FIELDS), None)
        if not person.get("LastName"):
            raise Refused("a business partner needs a name, the patient has none", code="no_name")
        identification = {
            "BPIdentificationType": self._settings.identification_type,
            "BPIdentificationNumber": bp.fit("BPIdentificationNumber", number),
        }
        body: Entity = {"BusinessPartnerCategory": "1", **person, "to_BuPaIdentification": {"results": [identification]}}
        if self._settings.grouping:
            body["BusinessPartnerGrouping"] = self._settings.grouping
        if self._settings.role:
            body["to_BusinessPartnerRole"] = {"results": [{"BusinessPartnerRole": self._settings.role}]}
        telecom = patient.get("telecom")
        slots = [slot for slot in _CONTACTS if in_slot(telecom, slot) and not (slot == "phone" and in_slot(telecom, "home"))]
        address, more = self._new_address(patient, with_text=True, slots=slots)
        if address is not None:
            body[_ADDRESS] = {"results": [address]}
        return body, sent | more

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

    def _told(self, answer: Answer, error: HubError) -> HubError:
        error.answer, error.sent = answer.body, answer.sent
        return error


def _is_standard(address: Entity) -> bool:
    """The address that SAP uses where nobody says which (address usage XXDEFAULT)."""
    return any(bp.text(one, "AddressUsage") == "XXDEFAULT" for one in odata.expanded(address, "to_AddressUsage"))


def _home_address(patient: Mapping[str, Any]) -> Mapping[str, Any] | None:
    addresses = [one for one in patient.get("address") or [] if one.get("use") not in ("old", "temp", "billing", "work")]
    return addresses[0] if addresses else None


def _contact_key(entity_set: str, one: Entity) -> str:
    return odata.key(entity_set, **{name: bp.text(one, name) for name in ("AddressID", "Person", "OrdinalNumber")})


def _sent_contact(point: Mapping[str, Any], value: str) -> Entity:
    return {name: point[name] for name in ("system", "use") if name in point} | {"value": value}
