"""The canonical patient-relationship model: what a resource of each kind holds, as JSON documents.

Names follow FHIR R4 where FHIR has a word, in its camelCase. A document holds no nulls and no empty lists: what is not
known is absent. Times are ISO 8601 with offset (`2026-11-22T09:00:00+09:00`) or, where the source gave less, as much as
it gave (`2026-11`); dates are `YYYY-MM-DD`, `YYYY-MM` or `YYYY`. `assigner` is the assigning authority (HL7 CX.4).
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

Kind = Literal["Patient", "RelatedPerson", "Relationship", "Practitioner", "Organization", "Coverage", "Encounter", "Appointment"]
KINDS: tuple[Kind, ...] = (
    "Patient", "RelatedPerson", "Relationship", "Practitioner", "Organization", "Coverage", "Encounter", "Appointment",
)  # fmt: skip


class Identifier(TypedDict):
    """HL7 CX: `assigner` CX.4.1, `value` CX.1, `type` CX.5 (table 0203: MR, VN, AN …)."""

    assigner: str
    value: str
    type: NotRequired[str]
    use: NotRequired[Literal["usual", "official", "temp", "secondary", "old"]]


class HumanName(TypedDict):
    """`text` is the truth; family/given as supplied. `representation`: IDE, ABC or SYL (iso21090-EN-representation; XPN.8)."""

    text: str
    family: NotRequired[str]
    given: NotRequired[list[str]]
    prefix: NotRequired[list[str]]
    suffix: NotRequired[list[str]]
    use: NotRequired[str]
    representation: NotRequired[Literal["IDE", "ABC", "SYL"]]


class ContactPoint(TypedDict):
    """`value` normalised (E.164 for phones: +821012345678; lower case for e-mail), `raw` as supplied where it differs."""

    system: Literal["phone", "email", "fax", "pager", "url", "sms", "other"]
    value: str
    use: NotRequired[Literal["mobile", "home", "work", "temp", "old"]]
    raw: NotRequired[str]


class Address(TypedDict):
    """HL7 XAD."""

    text: str
    line: NotRequired[list[str]]
    city: NotRequired[str]
    district: NotRequired[str]
    state: NotRequired[str]
    postalCode: NotRequired[str]
    country: NotRequired[str]
    use: NotRequired[str]


class Coding(TypedDict):
    """A code with its system; `text` where only words came."""

    code: NotRequired[str]
    system: NotRequired[str]
    display: NotRequired[str]


class Period(TypedDict, total=False):
    start: str
    end: str


class Party(TypedDict, total=False):
    """A person or organisation named in a message (XCN, XON): `reference` once it is a resource of ours."""

    reference: str  # "Practitioner/<id>"
    identifier: Identifier
    name: str
    role: str  # attending | referring | consulting | admitting | performer | location …


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
    identifier: list[Identifier]
    name: list[HumanName]


class Organization(TypedDict, total=False):
    identifier: list[Identifier]
    name: str


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


AppointmentStatus = Literal["pending", "booked", "arrived", "fulfilled", "cancelled", "noshow", "blocked", "entered-in-error"]


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


DOCUMENTS: dict[Kind, type] = {
    "Patient": Patient,
    "RelatedPerson": RelatedPerson,
    "Relationship": Relationship,
    "Practitioner": Practitioner,
    "Organization": Organization,
    "Coverage": Coverage,
    "Encounter": Encounter,
    "Appointment": Appointment,
}
