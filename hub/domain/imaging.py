"""Numbers of imaging: who gives them out, and which of them are of a part of a study.

A UID is unique in the world (PS3.5 section 9), so its assigner is DICOM. An accession number is the hospital's: it numbers an
order for the department that images (PS3.3 C.7.2.1.1.3), and must never meet a placer's or filler's equal number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

DICOM = "DICOM"  # assigner of Study Instance UIDs
SERIES = "DICOM:series"  # of Series Instance UIDs
STEP = "DICOM:mpps"  # of SOP Instance UIDs of performed procedure steps
UID, ACSN = "UID", "ACSN"  # types of identifiers
PARTS = (STEP, SERIES)  # a source that is known by one of these tells of a part of a study; the weightier last
_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+\Z")


def accession_of(assigner: str) -> str:
    """The assigner of accession numbers in a hospital."""
    return f"{assigner}:accession"


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
