"""EMR, outbound: a canonical patient's changes into the EMR's FHIR R4 Patient, over its REST API.

find (by the id learnt earlier, else by identifier) -> read -> change the mapped fields only -> PUT with If-Match. A
patient that the EMR does not have is created with If-None-Exist. Identifiers go in request bodies and headers, never in
a URL (FHIR R4 http.html: POST _search). Every write is conditional on the version read, so sending again after a lost
answer is safe: what arrived already shows up in the read and leaves nothing to write, or loses against its own version.
"""
# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hub.adapters.emr import merge
from hub.adapters.emr.fhir_client import FhirClient, Found, kept
from hub.adapters.emr.smart import SmartSettings
from hub.adapters.first import NAMELESS, is_first, is_nameless, is_unnumbered_prospect, merged_away
from hub.adapters.settings import read_table, wrong
from hub.codecs import fhir
from hub.config import option
from hub.domain.errors import NotDelivered, Refused, Unmappable
from hub.domain.ports import Delivered, Manifest, Outbound, Target

MANIFEST = Manifest(
    name="emr.fhir_patient",
    title="EMR: FHIR R4 Patient",
    direction="out",
    system="emr",
    protocol="FHIR R4 (REST, JSON)",
    handles=("patient.created", "patient.updated", "patient.merged", "patient.unmerged"),
)
ROUNDS = 3  # how often a document that somebody else changed meanwhile is read and merged again


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(SmartSettings):
    """A channel's own keys; see docs/emr-fhir.md."""

    identifier_systems: dict[str, str] = option(
        doc='how the EMR writes the numbers of each assigner: { HOSP = "urn:oid:1.2.410.…" }, from its Patient.identifier.system'
    )
    create: bool = option(False, doc="true: a patient whom the EMR does not know is created there; false: refused")
    fields: tuple[str, ...] = option(merge.FIELDS, doc="what we may change there: " + ", ".join(merge.FIELDS))
    profile: str = option("", doc="meta.profile of what we create: empty, or KR Core's patient profile")

    def __post_init__(self) -> None:
        SmartSettings.__post_init__(self)
        if not self.identifier_systems or not all(self.identifier_systems.values()):
            raise wrong('"identifier_systems" names no system', 'write identifier_systems = { HOSP = "urn:oid:1.2.410.…" }')
        if not self.fields or not set(self.fields) <= set(merge.FIELDS):
            raise wrong('"fields" has a name that cannot be written there', f"write a list out of {', '.join(merge.FIELDS)}")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings) -> Target:
    """The channel, ready to send; nothing is connected yet."""
    return FhirPatient(settings)


class FhirPatient:
    """`hub.domain.ports.Target` for one EMR."""

    resend_is_safe = True  # every write carries If-Match or If-None-Exist (FHIR R4 http.html#concurrency, #ccreate)

    def __init__(self, settings: Settings, client: FhirClient | None = None) -> None:
        """`client`: of whoever writes other things to the same EMR, and closes it."""
        self._settings = settings
        self._emr = client or FhirClient(settings)

    def close(self) -> None:
        self._emr.close()

    def ping(self) -> str:
        """GET [base]/metadata: what the EMR says it is."""
        return f"FHIR {self._emr.capability()['fhirVersion']}"

    def send(self, message: Outbound) -> Delivered:
        """Brings the message's fields into the EMR. See hub.domain.ports.Target.send."""
        if message.type == "patient.merged":
            return self._merged(message)
        if merged_away(message):
            return Delivered(message.peer_id, message.peer_etag, detail="nothing to do: merged into another patient")
        if message.type == "patient.unmerged":
            return self._unmerged(message)
        return self._told(message)

    def _told(self, message: Outbound) -> Delivered:
        for _ in range(ROUNDS):
            found = self.locate(message)
            if found is None and is_unnumbered_prospect(message.resource):
                return Delivered(detail="nothing to do: a prospect without a number")
            try:
                delivered = self._change(message, found) if found else self._create(message)
            except Refused as error:
                if found is None and is_nameless(message.resource) and error.code != "ambiguous":
                    return Delivered(detail=NAMELESS)
                raise
            if delivered is not None:
                return delivered
        raise NotDelivered("the EMR's document kept changing while we wrote", code="conflict")

    def find(self, message: Outbound) -> Delivered | None:
        """Whether what `message` says stands in the EMR already: the read leaves nothing to write."""
        found = self.locate(message)
        if found is None:
            return None
        merged = merge.merge(found.document, message.resource, self._changed(message), self._settings.fields)
        if merged.document != found.document:
            return None
        return Delivered(found.id, found.etag, answer=found.body, detail="found", sent_fields=merged.sent_fields)

    # finding

    def locate(self, message: Outbound, *, but: str = "") -> Found | None:
        """His document there: by the id learnt earlier, else by his numbers. `but`: an id that is known to be somebody else's."""
        if message.peer_id and fhir.is_id(message.peer_id):
            found = self._emr.read("Patient", message.peer_id)
            if found is not None and not fhir.is_replaced(found.document):
                return found
        hits: dict[str, fhir.Document] = {}
        for system, value in self._tokens(message):
            hits |= {str(one.get("id")): one for one in self._emr.search("Patient", system, value) if one.get("id") != but}
        current = [one for one in hits if not fhir.is_replaced(hits[one])] or list(hits)
        if len(current) > 1:
            raise Refused(f"ambiguous: {len(current)} patients in the EMR carry these identifiers", code="ambiguous")
        return self._emr.read("Patient", current[0]) if current else None

    def _tokens(self, message: Outbound) -> list[tuple[str, str]]:
        systems = self._settings.identifier_systems
        ours = [one for one in message.resource.get("identifier") or [] if one.get("use") != "old"]
        return [(systems[one["assigner"]], one["value"]) for one in ours if one.get("assigner") in systems and one.get("value")]

    # writing

    def _changed(self, message: Outbound) -> list[str]:
        """The fields this message is about; a new patient is about all that is known of it."""
        if is_first(message):
            return [name for name in (*merge.FIELDS, "deceasedAt") if name in message.resource]
        return message.changed

    def _change(self, message: Outbound, found: Found) -> Delivered | None:
        """One round: merge and PUT. None: somebody else was faster (or removed it), read again."""
        merged = merge.merge(found.document, message.resource, self._changed(message), self._settings.fields)
        if merged.document == found.document:
            return Delivered(found.id, found.etag, answer=found.body, detail="unchanged", sent_fields=merged.sent_fields)
        answer = self._emr.put("Patient", found, merged.document)
        if answer.status in (404, 409, 410, 412):
            return None
        return self._emr.delivered("Patient", answer, found.id, merged.sent_fields)

    def _create(self, message: Outbound) -> Delivered | None:
        """POST with If-None-Exist. None: somebody else created it meanwhile, find it again."""
        tokens = self._tokens(message)
        if not self._settings.create:
            raise Refused("the patient is unknown there, and this channel does not create patients", code="unknown_there")
        if not tokens:
            raise Refused("the patient has no number that the EMR knows: see identifier_systems", code="no_identifier")
        document = fhir.patient_to_fhir(message.resource, self._settings.identifier_systems)
        if self._settings.profile:
            document["meta"] = {"profile": [self._settings.profile]}
        try:
            fhir.check(document)
        except Unmappable as error:
            raise Refused(error.reason, code=error.code) from None
        answer = self._emr.create("Patient", document, *tokens[0])
        if answer.status in (200, 409):  # 200: it was there already and was left as it is
            return None
        if answer.status == 412:
            raise kept(answer, Refused("ambiguous: several patients in the EMR carry this identifier", code="ambiguous"))
        made = self._emr.body(answer, "Patient")
        if (
            answer.status == 201
            and made
            and not {(one.get("system"), one.get("value")) for one in fhir.objects(made.get("identifier"))} & set(tokens)
        ):
            raise self._emr.about_another(answer, "Patient")
        sent = merge.merge({"resourceType": "Patient"}, message.resource, self._changed(message), merge.FIELDS)
        return self._emr.delivered("Patient", answer, None, sent.sent_fields)

    def _merged(self, message: Outbound) -> Delivered:
        """`patient.merged`: this patient's document there becomes inactive and points at its survivor, where both are known."""
        for _ in range(ROUNDS):
            prior = self._emr.read("Patient", message.peer_id) if message.peer_id and fhir.is_id(message.peer_id) else None
            survivor = self._survivor(message)
            if prior is None or not message.resource.get("replacedBy") or survivor in (None, prior.id):
                return Delivered(message.peer_id, message.peer_etag, detail="nothing to do")
            link = {"other": {"reference": f"Patient/{survivor}"}, "type": "replaced-by"}
            if link in fhir.objects(prior.document.get("link")) and prior.document.get("active") is False:
                return Delivered(prior.id, prior.etag, answer=prior.body, detail="unchanged")
            links = [one for one in fhir.objects(prior.document.get("link")) if one.get("type") != "replaced-by"]
            answer = self._emr.put("Patient", prior, prior.document | {"active": False, "link": [*links, link]})
            if answer.status not in (409, 412):
                return self._emr.delivered("Patient", answer, prior.id, {})
        raise NotDelivered("the EMR's document kept changing while we wrote", code="conflict")

    def _unmerged(self, message: Outbound) -> Delivered:
        """`patient.unmerged`: this patient's document there is active again and points at nobody; what changed about him
        meanwhile, when the EMR was told nothing of him, comes with it. One that the EMR does not have is created."""
        whole = replace(message, changed=[])
        for _ in range(ROUNDS):
            found = self._emr.read("Patient", message.peer_id) if message.peer_id and fhir.is_id(message.peer_id) else None
            if found is None:
                self._require_own(whole)
                return self._told(whole)
            merged = merge.merge(found.document, whole.resource, self._changed(whole), self._settings.fields)
            if fhir.is_replaced(found.document):
                self._forget(found)
                _drop_links(merged.document, lambda link: link.get("type") == "replaced-by")
                merged.document["active"] = True
            if merged.document == found.document:
                return Delivered(found.id, found.etag, answer=found.body, detail="unchanged", sent_fields=merged.sent_fields)
            answer = self._emr.put("Patient", found, merged.document)
            if answer.status not in (404, 409, 410, 412):
                return self._emr.delivered("Patient", answer, found.id, merged.sent_fields)
        raise NotDelivered("the EMR's document kept changing while we wrote", code="conflict")

    def _require_own(self, message: Outbound) -> None:
        """What is found by his number may be the survivor's document, if that was created while the number was the survivor's:
        it carries a number besides that is not his. Refused: whose numbers are whose is for a person to put right there."""
        found, mine = self.locate(message), set(self._tokens(message))
        systems = {system for system, _ in mine}
        there = (
            {(one.get("system"), one.get("value")) for one in fhir.objects(found.document.get("identifier"))} if found else set()
        )
        if {one for one in there if one[0] in systems} - mine:
            raise Refused("the patient's number stands with another patient in the EMR: separate them there", code="ambiguous")

    def _forget(self, prior: Found) -> None:
        """The survivor's own link back (`replaces`) goes first, if the EMR made one: until the prior one's is gone, too, a next
        attempt finds its way here again."""
        for link in fhir.objects(prior.document.get("link")):
            survivor = (
                self._emr.read("Patient", _linked_id(link))
                if link.get("type") == "replaced-by" and fhir.is_id(_linked_id(link))
                else None
            )
            if survivor is None:
                continue
            document = dict(survivor.document)
            _drop_links(document, lambda one: one.get("type") == "replaces" and _linked_id(one) == prior.id)
            if document != survivor.document:
                answer = self._emr.put("Patient", survivor, document)
                if answer.status in (409, 412):
                    raise NotDelivered("the EMR's document changed while we wrote", code="conflict")
                self._emr.delivered("Patient", answer, survivor.id, {})

    def _survivor(self, message: Outbound) -> str | None:
        """The survivor's id there: as learnt, else by the numbers of the golden record that the prior one belongs to now."""
        if message.patient_peer_id and message.patient_peer_id != message.peer_id and fhir.is_id(message.patient_peer_id):
            return message.patient_peer_id
        if message.patient == message.resource:
            return None
        found = self.locate(replace(message, resource=message.patient, peer_id=None), but=message.peer_id or "")
        return found.id if found else None


def _linked_id(link: Mapping[str, Any]) -> str:
    """The id in a link's reference, relative or absolute (FHIR R4 references.html#literal); a version in it is left out."""
    other = link.get("other")
    reference = str(other.get("reference") or "") if isinstance(other, dict) else ""
    return reference.rpartition("Patient/")[2].partition("/")[0]


def _drop_links(document: fhir.Document, unwanted: Callable[[Mapping[str, Any]], bool]) -> None:
    links = [one for one in fhir.objects(document.get("link")) if not unwanted(one)]
    document.pop("link", None)
    if links:
        document["link"] = links
