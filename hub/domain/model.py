"""The canonical patient-relationship model: what a resource of each kind holds, as JSON documents.

Names follow FHIR R4 where FHIR has a word, in its camelCase. A document holds no nulls and no empty lists: what is not
known is absent. Times are ISO 8601 with offset (`2026-11-22T09:00:00+09:00`) or, where the source gave less, as much as
it gave (`2026-11`); dates are `YYYY-MM-DD`, `YYYY-MM` or `YYYY`. `assigner` is the assigning authority (HL7 CX.4).
"""

from __future__ import annotations

from typing import Literal, TypedDict, get_args

from hub.domain.datatypes import (
    Address,
    Coding,
    ContactPoint,
    HumanName,
    Identifier,
    Money,
    Party,
    Period,
    Reference,
)

Kind = Literal[
    "Patient", "RelatedPerson", "Relationship", "Practitioner", "Organization", "Coverage", "Encounter", "Appointment",
    "ServiceRequest", "DiagnosticReport", "Observation", "MedicationRequest", "Procedure", "Condition", "AllergyIntolerance",
    "DocumentReference", "ImagingStudy", "ChargeItem", "Invoice", "Payment", "Account", "ChargeItemDefinition", "Schedule",
    "Slot", "Location", "ObservationDefinition",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
# What happened with a patient in the hospital: told under his number, moved with him or with his visit.
VISITS: tuple[Kind, ...] = ("Encounter", "Appointment")
ACTS: tuple[Kind, ...] = (
    "ServiceRequest", "DiagnosticReport", "Observation", "MedicationRequest", "Procedure", "Condition", "DocumentReference",
    "ImagingStudy", "ChargeItem", "Invoice", "Payment", "Account",
)  # fmt: skip
CLINICAL: tuple[Kind, ...] = (*VISITS, *ACTS)
LISTED: tuple[Kind, ...] = ("RelatedPerson", "Relationship", "Coverage", "AllergyIntolerance")  # told as whole lists
OWNED: tuple[Kind, ...] = (*LISTED, *CLINICAL)  # all that a patient has
# Fields that name another thing by a number of it (`Reference`), and what they name.
REFERENCES: dict[str, Kind] = {
    "encounter": "Encounter", "basedOn": "ServiceRequest", "report": "DiagnosticReport", "invoice": "Invoice",
    "schedule": "Schedule", "imagingStudy": "ImagingStudy",
}  # fmt: skip


class Patient(TypedDict, total=False):
    """The golden record of a person. A prospect is a Patient without a visit (`prospect` true)."""

    identifier: list[Identifier]
    name: list[HumanName]
    telecom: list[ContactPoint]
    address: list[Address]
    birthDate: str
    gender: Literal["male", "female", "other", "unknown"]
    deceased: bool
    deceasedAt: str
    language: str
    maritalStatus: str
    nationality: str
    importance: str  # PV1-16
    active: bool
    prospect: bool
    replacedBy: str  # id of the survivor after a merge
    note: str


class RelatedPerson(TypedDict, total=False):
    """Next of kin (NK1) or guarantor (GT1) of a patient."""

    name: list[HumanName]
    relationship: Coding  # table 0063 code
    telecom: list[ContactPoint]
    address: list[Address]
    role: str  # next_of_kin | guarantor | emergency_contact …
    birthDate: str
    gender: str


class Relationship(TypedDict, total=False):
    """Who is who to the patient: `patient` -> `related` ("RelatedPerson/<id>", "Practitioner/<id>"), under `code`."""

    patient: str
    related: str
    code: str
    role: str
    period: Period


class Practitioner(TypedDict, total=False):
    """Somebody of the hospital, or who sent a patient (XCN; as master data STF)."""

    identifier: list[Identifier]
    name: list[HumanName]
    telecom: list[ContactPoint]
    department: str
    role: str  # STF-18 job title
    active: bool


class Organization(TypedDict, total=False):
    """An insurer (IN1-3), or a department of the hospital (LDP; `type` "dept")."""

    identifier: list[Identifier]
    name: str
    type: str
    active: bool


class Coverage(TypedDict, total=False):
    """Insurance of a patient (IN1)."""

    type: Coding  # IN1-2 plan / IN1-15
    payor: Party  # IN1-3, IN1-4
    subscriberId: str  # IN1-36 / IN1-49
    subscriber: HumanName  # IN1-16
    relationship: str  # IN1-17
    group: str  # IN1-8
    period: Period  # IN1-12, IN1-13


EncounterStatus = Literal["planned", "arrived", "in-progress", "onleave", "finished", "cancelled", "entered-in-error"]


class Encounter(TypedDict, total=False):
    """A visit (PV1). `state` is the Korean visit state: registered (접수) | in-treatment (진료) | treated | paid (수납)."""

    identifier: list[Identifier]
    status: EncounterStatus
    state: str
    class_: str  # stored under the key "class": AMB | IMP | EMER | PRENC … (v3 ActCode)
    type: Coding
    visitKind: str  # new-patient (신환) | first (초진) | return (재진)
    period: Period
    location: str
    department: str
    priorLocation: str
    participant: list[Party]
    reason: list[Coding]
    account: Identifier
    admitSource: str
    dischargeDisposition: str
    insuranceType: str


AppointmentStatus = Literal["pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "entered-in-error"]


class Appointment(TypedDict, total=False):
    """A booking (SCH, AI*). `identifier` types: PLAC (SCH-1, placer), FILL (SCH-2, filler)."""

    identifier: list[Identifier]
    status: AppointmentStatus
    start: str
    end: str
    minutes: int
    reason: Coding
    type: Coding
    department: str
    location: str
    participant: list[Party]
    comment: str


# Performed Procedure Step Status (PS3.3 C.4.14), in lower case.
StepState = Literal["in-progress", "completed", "discontinued"]


class ServiceRequest(TypedDict, total=False):
    """An order (ORC, OBR), or a referral (RF1). `category`: "referral" or "imaging" where it is one."""

    identifier: list[Identifier]  # PLAC (ORC-2), FILL (ORC-3); ACSN accession number, UID study instance UID
    status: Literal["draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"]
    state: StepState  # how far the modality is with it (MPPS); its status is for who fills it to say (docs/adr/0142)
    category: str
    code: Coding  # OBR-4
    priority: str  # routine | urgent | asap | stat
    group: Identifier  # ORC-4
    authoredOn: str  # ORC-9
    occurrence: str  # when it is wanted, or scheduled: TQ1-7, OBR-6
    modality: str  # CT, MR … (PS3.3 C.7.3.1.1.1)
    station: str  # scheduled station AE title
    requestedProcedure: str  # IPC-2, requested procedure ID: as the system that fills the order numbers it
    scheduledStep: str  # IPC-4, scheduled procedure step ID
    location: str  # where it is to be done
    department: str
    participant: list[Party]  # roles: requester, performer
    reason: list[Coding]
    encounter: Reference


class DiagnosticReport(TypedDict, total=False):
    """A result: one OBR with its OBX, which are Observations."""

    identifier: list[Identifier]
    status: Literal["registered", "partial", "preliminary", "final", "amended", "corrected", "cancelled", "unknown"]
    category: str  # OBR-24, table 0074
    code: Coding
    effective: str  # OBR-7
    issued: str  # OBR-22
    participant: list[Party]  # roles: requester, interpreter
    basedOn: Reference
    imagingStudy: Reference
    encounter: Reference


class Observation(TypedDict, total=False):
    """One value of a result (OBX). Status and flag always; `value`, `unit`, `referenceRange` only with [results] keep_values."""

    status: Literal["registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"]
    code: Coding
    subId: str  # OBX-4
    interpretation: list[str]  # OBX-8, table 0078: N, L, H, LL, HH, A, AA …
    effective: str  # OBX-14
    value: str
    unit: str
    referenceRange: str
    report: Reference
    encounter: Reference


class MedicationRequest(TypedDict, total=False):
    """A prescription, its dispensing, its giving (RXO, RXE, RXD, RXA)."""

    identifier: list[Identifier]
    status: Literal["active", "on-hold", "cancelled", "completed", "stopped", "entered-in-error", "unknown"]
    code: Coding  # RXE-2, RXO-1, RXD-2
    dose: str
    unit: str
    dispensed: str  # RXD-4: how much was given out
    dispensedAt: str  # RXD-3
    administered: str  # RXA-6: how much was given last
    administeredAt: str  # RXA-3
    authoredOn: str
    occurrence: str
    participant: list[Party]
    encounter: Reference


class Procedure(TypedDict, total=False):
    """What was done (PR1)."""

    identifier: list[Identifier]
    status: str
    code: Coding
    performed: str
    participant: list[Party]
    encounter: Reference


class Condition(TypedDict, total=False):
    """A diagnosis (DG1) of a visit."""

    identifier: list[Identifier]
    status: str  # entered-in-error where it was deleted
    code: Coding
    recorded: str
    category: str  # DG1-6: A admitting, W working, F final
    rank: int  # DG1-15: 1 is the primary one
    encounter: Reference


class AllergyIntolerance(TypedDict, total=False):
    """An allergy (AL1) of a patient."""

    code: Coding
    category: str  # food | medication | environment | biologic
    criticality: str  # low | high | unable-to-assess
    reaction: list[str]
    onset: str


class DocumentReference(TypedDict, total=False):
    """That there is a document (TXA), not its text."""

    identifier: list[Identifier]
    status: Literal["current", "superseded", "entered-in-error"]
    docStatus: str  # TXA-17, table 0271
    type: Coding
    title: str
    date: str
    participant: list[Party]
    basedOn: Reference
    encounter: Reference


class ImagingSeries(TypedDict, total=False):
    """One series of a study."""

    uid: str  # Series Instance UID
    number: int
    modality: str
    description: str
    instances: int
    station: str
    bodySite: str


class ImagingStudy(TypedDict, total=False):
    """What a PACS has of one examination. Without a status nobody has told of an image yet."""

    identifier: list[Identifier]  # UID (Study Instance UID, assigner DICOM), ACSN (accession number)
    status: Literal["registered", "available", "cancelled", "entered-in-error", "unknown"]
    state: StepState
    started: str
    modality: list[str]
    description: str
    numberOfSeries: int
    numberOfInstances: int
    procedure: Coding
    participant: list[Party]  # roles: referring, performer, interpreter
    station: str  # AE title
    series: list[ImagingSeries]  # those that somebody told of: numberOfSeries may be more
    basedOn: Reference
    encounter: Reference


class ChargeItem(TypedDict, total=False):
    """A line of a bill (FT1)."""

    identifier: list[Identifier]
    type: str  # FT1-6, table 0017: CG charge, CR credit, AJ adjustment …
    code: Coding
    procedure: Coding  # FT1-25: what was done for it
    occurrence: str
    quantity: str
    amount: Money
    unitPrice: Money
    department: str
    account: Identifier
    invoice: Reference
    participant: list[Party]
    encounter: Reference


class Invoice(TypedDict, total=False):
    """A bill (계산서) of which ChargeItems are the lines and which Payments pay: both name it."""

    identifier: list[Identifier]
    status: Literal["draft", "issued", "balanced", "cancelled", "entered-in-error"]
    type: Coding
    date: str
    total: Money
    patientShare: Money  # 본인부담금: what the insurance leaves to the patient
    department: str
    account: Identifier
    participant: list[Party]
    encounter: Reference


class Payment(TypedDict, total=False):
    """Money that was paid (수납; FT1-6 PY); what the receipt (영수증) says."""

    identifier: list[Identifier]
    status: Literal["active", "cancelled", "entered-in-error"]
    code: Coding
    method: str  # cash, card … as the source calls it
    date: str
    amount: Money  # negative: paid back
    account: Identifier
    invoice: Reference
    encounter: Reference


class Account(TypedDict, total=False):
    """A patient's account (PID-18, BAR)."""

    identifier: list[Identifier]
    status: Literal["active", "inactive", "entered-in-error"]
    type: str  # PV1-20
    encounter: Reference


class ChargeItemDefinition(TypedDict, total=False):
    """A line of the hospital's catalogue of charges (CDM)."""

    identifier: list[Identifier]
    code: Coding
    title: str
    price: Money
    active: bool


class Schedule(TypedDict, total=False):
    """Whose or which calendar slots are in: a doctor's, a room's, a device's."""

    identifier: list[Identifier]
    name: str
    active: bool
    type: Coding
    department: str
    location: str
    participant: list[Party]
    period: Period  # the days that its slots are laid out for


class Slot(TypedDict, total=False):
    """A time that can be booked, or that is closed (SIU S23)."""

    identifier: list[Identifier]
    status: Literal["free", "busy", "busy-tentative", "busy-unavailable", "entered-in-error"]
    start: str
    end: str
    type: Coding
    reason: Coding
    department: str
    location: str
    participant: list[Party]
    schedule: Reference
    comment: str


class Location(TypedDict, total=False):
    """A ward, room or bed (LOC); `place` as visits and bookings name it."""

    identifier: list[Identifier]
    name: str
    place: str
    type: Coding  # table 0260
    department: str
    active: bool


class ObservationDefinition(TypedDict, total=False):
    """What a laboratory can be asked for (OM1)."""

    identifier: list[Identifier]
    code: Coding
    title: str
    unit: str
    department: str
    active: bool


DOCUMENTS: dict[Kind, type] = {
    "Patient": Patient,
    "RelatedPerson": RelatedPerson,
    "Relationship": Relationship,
    "Practitioner": Practitioner,
    "Organization": Organization,
    "Coverage": Coverage,
    "Encounter": Encounter,
    "Appointment": Appointment,
    "ServiceRequest": ServiceRequest,
    "DiagnosticReport": DiagnosticReport,
    "Observation": Observation,
    "MedicationRequest": MedicationRequest,
    "Procedure": Procedure,
    "Condition": Condition,
    "AllergyIntolerance": AllergyIntolerance,
    "DocumentReference": DocumentReference,
    "ImagingStudy": ImagingStudy,
    "ChargeItem": ChargeItem,
    "Invoice": Invoice,
    "Payment": Payment,
    "Account": Account,
    "ChargeItemDefinition": ChargeItemDefinition,
    "Schedule": Schedule,
    "Slot": Slot,
    "Location": Location,
    "ObservationDefinition": ObservationDefinition,
}
