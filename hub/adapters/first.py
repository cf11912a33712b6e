"""What a record system is told the first time it hears of a patient, and of whom it is told nothing (any more)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.crm.commands import ASSIGNER
from hub.domain.ports import Outbound

NAMELESS = "nothing to do yet: a patient without a name"  # said of whom is_nameless knows, where he would be a dead letter


def is_first(message: Outbound) -> bool:
    """Whether the message is about all that is known: a new patient, or a prospect who became a patient just now."""
    return message.type == "patient.created" or not message.changed or (message.peer_id is None and "prospect" in message.changed)


def is_unnumbered_prospect(resource: Mapping[str, Any]) -> bool:
    """A prospect whom no system has given a number yet (the hub's own aside): only the front office knows this person."""
    numbers = [i for i in resource.get("identifier") or () if i.get("assigner") != ASSIGNER]
    return bool(resource.get("prospect")) and not numbers


def is_nameless(patient: Mapping[str, Any]) -> bool:
    """Nobody has said yet who he is, only that something happened to him (docs/adr/0137), and he may be no patient at all, but an
    insurer that SAP bills: who needs a name is told when it comes, for that is a change of its own."""
    return not patient.get("name")


def merged_away(message: Outbound) -> bool:
    """Whether the patient has a survivor by now: a merge may come between a message and its sending.

    His number is the survivor's then, so what is found under it is the survivor's record, which must not get his values.
    """
    return bool(message.resource.get("replacedBy"))
