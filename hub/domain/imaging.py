"""Numbers of imaging: who gives them out, and which of them are of a part of a study.

A UID is unique in the world (PS3.5 section 9), so its assigner is DICOM. An accession number is the hospital's: it numbers an
order for the department that images (PS3.3 C.7.2.1.1.3), and must never meet a placer's or filler's equal number.
"""

from __future__ import annotations

import re
from base64 import b32encode
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from hub.domain.facts import Key

DICOM = "DICOM"  # assigner of Study Instance UIDs
SERIES = "DICOM:series"  # of Series Instance UIDs
STEP = "DICOM:mpps"  # of SOP Instance UIDs of performed procedure steps
UID, ACSN = "UID", "ACSN"  # types of identifiers
PARTS = (STEP, SERIES)  # a source that is known by one of these tells of a part of a study; the weightier last
ACCESSION_LENGTH = 16  # DICOM SH (PS3.5 section 6.2)
_GIVEN = re.compile(r"H[A-Z2-7]{15}\Z")
_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+\Z")


def accession_of(assigner: str) -> str:
    """The assigner of accession numbers in a hospital."""
    return f"{assigner}:accession"


def accession_key(assigner: str, number: str) -> Key:
    """An accession number that a channel of that assigner tells. One that the hub gave is the hub's, whoever tells it back."""
    return Key(accession_of("HUB" if _GIVEN.match(number) else assigner), number)


def is_shared_by_orders(assigner: str) -> bool:
    """Whether it gives out numbers that several orders can have together: accession numbers and UIDs of studies."""
    return assigner == DICOM or assigner.endswith(accession_of(""))


def is_uid(text: str) -> bool:
    """PS3.5 section 9.1: at most 64 characters, components of digits without leading zeros."""
    return len(text) <= 64 and _UID.match(text) is not None


def numbers_of(document: Mapping[str, Any], *types: str) -> list[Mapping[str, Any]]:
    """The identifiers of these types that a document has, in the order of the types."""
    found = document.get("identifier") or ()
    return [one for type_ in types for one in found if one.get("type") == type_]


def is_imaging(order: Mapping[str, Any]) -> bool:
    """Whether an order is one for the PACS."""
    return order.get("category") == "imaging" or bool(order.get("modality"))


def given_study(order_id: str) -> str:
    """The Study Instance UID that the hub gives an order that came without one: its id's UUID as DICOM writes one (PS3.5 B.2)."""
    return f"2.25.{UUID(order_id).int}"


def given_accession(order_id: str) -> str:
    """The accession number that the hub gives: H, and the last 75 bits of the id, of which 73 are random (RFC 4648 section 6)."""
    return f"H{b32encode(UUID(order_id).bytes[-10:]).decode()[1:]}"


def own_accession(order: Mapping[str, Any]) -> str:
    """The accession number that an order came with; "" where there is none, or none that DICOM can say."""
    return _current(order, ACSN, ACCESSION_LENGTH)


def own_study(order: Mapping[str, Any]) -> str:
    """The Study Instance UID that an order came with, or ""."""
    return _current(order, UID, 64)


def given_numbers(order: Mapping[str, Any], order_id: str) -> dict[Key, str]:
    """What an imaging order is known by because the hub gave it (key -> type); none where the order has its own, or is none."""
    if not is_imaging(order):
        return {}
    study = {} if own_study(order) else {Key(DICOM, given_study(order_id)): UID}
    return study if own_accession(order) else study | {accession_key("", given_accession(order_id)): ACSN}


def _current(order: Mapping[str, Any], type_: str, length: int) -> str:
    numbers = (str(one["value"]) for one in numbers_of(order, type_) if one.get("use") != "old")
    return next((one for one in numbers if len(one) <= length), "")
