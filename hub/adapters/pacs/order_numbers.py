"""The numbers by which a PACS knows an imaging order: where the order came without one, the hub gives it, always the same.

Whoever tells the PACS of an order takes them from here (HL7, the worklist), so that it hears of one order, not of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from hub.domain.imaging import given_study

ACCESSION_LENGTH = 16  # DICOM SH (PS3.5 §6.2)


class OrderNumbers(NamedTuple):
    """`accession` names the order, `procedure` and `step` what is asked for in it (an order of the hub is one step of one)."""

    accession: str
    study_uid: str
    procedure: str
    step: str


def order_numbers(order: Mapping[str, Any], order_id: str) -> OrderNumbers:
    """`order`: a ServiceRequest, `order_id`: its id at the hub.

    Accession number: its own, else the filler's number, else the placer's, else one made of the id. Study UID: its own, else the
    one by which the hub knows it, too (hub/sync/canon.py), so that what was imaged finds it.
    """
    numbers = [str(one["value"]) for kind in ("ACSN", "FILL", "PLAC") for one in order.get("identifier", ()) if _is(one, kind)]
    fitting = [one for one in numbers if len(one) <= ACCESSION_LENGTH]
    accession = fitting[0] if fitting else UUID(order_id).hex[-ACCESSION_LENGTH:].upper()
    uids = [str(one["value"]) for one in order.get("identifier", ()) if _is(one, "UID")]
    return OrderNumbers(accession, uids[0] if uids else given_study(order_id), accession, accession)


def _is(identifier: Mapping[str, Any], kind: str) -> bool:
    return identifier.get("type") == kind and identifier.get("use") != "old"
