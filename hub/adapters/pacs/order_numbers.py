"""The numbers by which a PACS knows an imaging order: where the order came without one, the hub gives it, always the same.

Whoever tells the PACS of an order takes them from here (HL7, the worklist), so that it hears of one order, not of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hub.domain.imaging import given_accession, given_study, own_accession, own_study

SHORT = 16


class OrderNumbers(NamedTuple):
    """`accession` names the order, `procedure` and `step` what is asked for in it (an order of the hub is one step of one).

    Those two are as the system that fills the order numbers them (IPC-2, IPC-4), else the accession number.
    """

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
    procedure, step = (_short(order.get(name)) for name in ("requestedProcedure", "scheduledStep"))
    return OrderNumbers(accession, own_study(order) or given_study(order_id), procedure or accession, step or accession)


def _short(said: Any) -> str:
    """As DICOM can say it (SH, PS3.5 section 6.2); what is longer would come back as something else."""
    text = str(said or "")
    return text if len(text) <= SHORT else ""
