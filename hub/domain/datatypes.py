"""The data types that documents of the canonical model are made of: numbers, names, contact points, codes, money.

They are HL7's (CX, XPN, XTN, XAD, CWE …), under the names of FHIR R4 where it has a word. `assigner`: assigning authority (CX.4).
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict


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


class Reference(TypedDict, total=False):
    """Another thing, by a number of it: `reference` ("Encounter/<id>") once we know it under that number."""

    reference: str
    identifier: Identifier


class Money(TypedDict, total=False):
    """`value` is the decimal as text, so that nothing is rounded."""

    value: str
    currency: str  # ISO 4217; absent where the source says none
