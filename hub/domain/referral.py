"""Who sent a patient: read off a visit (PV1-8, PV2-13) or a letter of referral (RF1 with PRD), wherever it was told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hub.domain.datatypes import Party
from hub.domain.model import Kind
from hub.domain.search import normal_name

# Kinds that can tell it, and what stands in the text of a document that does.
MARKS: dict[Kind, str] = {"Encounter": '"referring"', "ServiceRequest": '"referral"'}


class Referral(NamedTuple):
    """`by`: "letter" (진료의뢰서) or "visit". `to`: to whom, where a letter says so."""

    by: str
    referrer: Party | None
    to: Party | None


def referral(kind: str, data: Mapping[str, Any]) -> Referral | None:
    """What a document says of who sent the patient; None where it says nothing."""
    if kind == "ServiceRequest" and data.get("category") == "referral":
        return Referral("letter", _in_role(data, "requester"), _in_role(data, "performer"))
    if kind == "Encounter":
        referrer = _in_role(data, "referring")
        return Referral("visit", referrer, None) if referrer is not None else None
    return None


def same_as(party: Mapping[str, Any]) -> str:
    """What tells a referrer from others: our id of him, else his number, else his name in the form that searches use."""
    if party.get("reference"):
        return str(party["reference"])
    number = party.get("identifier") or {}
    if number.get("value"):
        return f"{number.get('assigner', '')}|{number['value']}"
    return "name:" + normal_name(str(party.get("name") or ""))


def _in_role(data: Mapping[str, Any], role: str) -> Party | None:
    return next((party for party in data.get("participant") or () if party.get("role") == role), None)
