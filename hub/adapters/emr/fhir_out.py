"""EMR, outbound: patients, bookings, visits and orders into the EMR's FHIR R4 resources, in one channel.

One channel, because a booking must come after its patient: both are in the patient's lane. Each resource is found by the id
learnt earlier, else by its numbers; read, changed where the message is about it, written with If-Match; created with
If-None-Exist. So every message can be sent again. The Patient is the business of hub/adapters/emr/fhir_patient.py.
"""
# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hub.adapters.emr import fhir_patient, fhir_records
from hub.adapters.emr.fhir_client import FhirClient, Found, kept
from hub.adapters.emr.merge import Merged
from hub.adapters.first import is_first, is_nameless, is_unnumbered_prospect
from hub.adapters.settings import read_table, wrong
from hub.codecs import fhir, fhir_resource
from hub.codecs.fhir_types import Systems
from hub.config import option
from hub.crm.commands import ASSIGNER
from hub.domain.errors import NotDelivered, Refused, Unmappable
from hub.domain.ports import Delivered, Manifest, Outbound, Target

MANIFEST = Manifest(
    name="emr.fhir_out",
    title="EMR: FHIR R4 Patient, Appointment, Encounter, ServiceRequest",
    direction="out",
    system="emr",
    protocol="FHIR R4 (REST, JSON)",
    handles=(
        *fhir_patient.MANIFEST.handles,
        *(f"{kind.lower()}.{verb}" for kind in fhir_records.ELEMENTS for verb in ("created", "updated", "cancelled")),
    ),
)
ROUNDS = fhir_patient.ROUNDS
_PATIENT = "patient.created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(fhir_patient.Settings):
    """A channel's own keys; see docs/emr-fhir.md."""

    profiles: dict[str, str] = option(
        dict,
        doc='meta.profile of what else we create: { Encounter = "http://www.hl7korea.or.kr/fhir/krcore/StructureDefinition/…" }',
    )

    def __post_init__(self) -> None:
        fhir_patient.Settings.__post_init__(self)
        if not set(self.profiles) <= set(fhir_records.ELEMENTS):
            raise wrong('"profiles" names another kind', f"write some of {', '.join(fhir_records.ELEMENTS)}; of Patient: profile")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def build(settings: Settings) -> Target:
    """The channel, ready to send; nothing is connected yet."""
    return FhirOut(settings)


class FhirOut:
    """`hub.domain.ports.Target` for one EMR."""

    resend_is_safe = True  # every write carries If-Match or If-None-Exist

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._emr = FhirClient(settings)
        self._patients = fhir_patient.FhirPatient(settings, self._emr)
        own = {ASSIGNER: Systems().of(ASSIGNER)}  # what the front office books has the hub's number until somebody gives another
        self._systems = own | settings.identifier_systems

    def close(self) -> None:
        self._emr.close()

    def ping(self) -> str:
        return self._patients.ping()

    def send(self, message: Outbound) -> Delivered:
        """Brings what the message is about into the EMR. See hub.domain.ports.Target.send."""
        if message.kind == "Patient":
            return self._patients.send(message)
        for _ in range(ROUNDS):
            delivered = self._record(message)
            if delivered is not None:
                return delivered
        raise NotDelivered("the EMR's document kept changing while we wrote", code="conflict")

    def find(self, message: Outbound) -> Delivered | None:
        """Whether what `message` says stands in the EMR already: the read leaves nothing to write."""
        if message.kind == "Patient":
            return self._patients.find(message)
        found = self._find(message)
        merged = self._merged(message, found) if found else None
        if found is None or merged is None or merged.document != found.document:
            return None
        return Delivered(found.id, found.etag, answer=found.body, detail="found", sent_fields=merged.sent_fields)

    # one round

    def _record(self, message: Outbound) -> Delivered | None:
        """None: somebody else was faster, or removed it: to be read again."""
        found = self._find(message)
        if found is None:
            return self._create(message)
        merged = self._merged(message, found)
        if merged.document == found.document:
            return Delivered(found.id, found.etag, answer=found.body, detail="unchanged", sent_fields=merged.sent_fields)
        answer = self._emr.put(message.kind, found, merged.document)
        if answer.status in (404, 409, 410, 412):
            return None
        return self._emr.delivered(message.kind, answer, found.id, merged.sent_fields)

    def _merged(self, message: Outbound, found: Found) -> Merged:
        """A message about nothing in particular is about everything: it may be another patient's now, after a merge."""
        whole = is_first(message)
        changed = fhir_records.ELEMENTS[message.kind] if whole else message.changed
        owner = message.patient_peer_id if whole and fhir.is_id(message.patient_peer_id) else None
        return fhir_records.merge(message.kind, found.document, message.resource, changed, self._systems, owner or "")

    def _find(self, message: Outbound) -> Found | None:
        if message.peer_id and fhir.is_id(message.peer_id):
            found = self._emr.read(message.kind, message.peer_id)
            if found is not None:
                return found
        hits = {
            str(one.get("id")) for system, value in self._tokens(message) for one in self._emr.search(message.kind, system, value)
        }
        if len(hits) > 1:
            raise Refused(f"ambiguous: {len(hits)} of kind {message.kind} in the EMR carry these numbers", code="ambiguous")
        return self._emr.read(message.kind, hits.pop()) if hits else None

    def _tokens(self, message: Outbound) -> list[tuple[str, str]]:
        ours = [one for one in message.resource.get("identifier") or [] if one.get("use") != "old"]
        return [(self._systems[one["assigner"]], one["value"]) for one in ours if one.get("assigner") in self._systems]

    # what the EMR does not have

    def _create(self, message: Outbound) -> Delivered | None:
        kind, tokens = message.kind, self._tokens(message)
        if message.resource.get("status") in ("cancelled", "entered-in-error", "revoked"):
            return Delivered(detail="nothing to do: cancelled before the EMR heard of it")
        if is_unnumbered_prospect(message.patient):
            return Delivered(detail="nothing to do: of a prospect without a number")
        if not self._settings.create:
            raise Refused(f"this {kind} is unknown there, and this channel creates nothing", code="unknown_there")
        if not tokens:
            raise Refused(f"this {kind} has no number that the EMR knows: see identifier_systems", code="no_identifier")
        document = fhir_records.made(kind, message.resource, self._systems, self._patient_id(message))
        if kind in self._settings.profiles:
            document["meta"] = {"profile": [self._settings.profiles[kind]]}
        try:
            fhir_resource.check(document)
        except Unmappable as error:
            raise Refused(error.reason, code=error.code) from None
        answer = self._emr.create(kind, document, *tokens[0])
        if answer.status in (200, 409):  # 200: it was there already and was left as it is
            return None
        if answer.status == 412:
            raise kept(answer, Refused(f"ambiguous: several of kind {kind} in the EMR carry this number", code="ambiguous"))
        theirs = self._emr.body(answer, kind)
        carried = {(one.get("system"), one.get("value")) for one in fhir.objects(theirs.get("identifier"))}
        if answer.status == 201 and theirs and not carried & set(tokens):
            raise self._emr.about_another(answer, kind)
        fields = [name for name in fhir_records.ELEMENTS[kind] if name in message.resource]
        sent = fhir_records.sent_fields(kind, message.resource, fields, document)
        return self._emr.delivered(kind, answer, None, sent)

    def _patient_id(self, message: Outbound) -> str:
        """The EMR's id of the patient whose it is: found as a message about him would find him, or created like that."""
        his = replace(
            message, kind="Patient", type=_PATIENT, resource_id=message.patient_id, resource=message.patient, changed=[],
            peer_id=message.patient_peer_id, peer_etag=None,
        )  # fmt: skip
        if not message.patient:
            raise Refused(f"this {message.kind} is nobody's: the EMR keeps those of patients", code="no_patient")
        found = self._patients.locate(his)
        peer_id = found.id if found else self._patients.send(his).peer_id
        if not peer_id and is_nameless(message.patient):
            raise Refused(
                f"the EMR does not have the patient of this {message.kind}, nor has the hub his name", code="no_identifier"
            )
        if not peer_id:
            raise NotDelivered("the EMR did not say which patient it created", code="no_id")
        return peer_id
