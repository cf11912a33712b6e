"""The numbers by which a PACS knows an imaging order: where the order came without one, the hub gives it, always the same.

Whoever tells the PACS of an order takes them from here (HL7, the worklist), so that it hears of one order, not of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hub.domain.imaging import given_accession, given_study, own_accession, own_study


class OrderNumbers(NamedTuple):
    """`accession` names the order, `procedure` and `step` what is asked for in it (an order of the hub is one step of one)."""

    accession: str
    study_uid: str
    procedure: str
    step: str


def order_numbers(order: Mapping[str, Any], order_id: str) -> OrderNumbers:
    """`order`: a ServiceRequest, `order_id`: its id at the hub.

    Both numbers are its own, else those that the hub gives it and knows it by, too (hub/sync/canon.py), so that what was imaged
    finds it. The filler's or the placer's number is none: another order may have it from elsewhere (docs/adr/0170).
    """
    accession = own_accession(order) or given_accession(order_id)
    return OrderNumbers(accession, own_study(order) or given_study(order_id), accession, accession)
