"""A front-end's writes as facts: the CRM is one more source, whose records are named after the canonical resource.

So a phone number that the front office sets competes under the same authority rules as one that the OCS sent, keeps its
lineage, and can be told from an echo.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.domain.facts import Fact, Key
from hub.domain.model import Kind

ASSIGNER = "HUB"  # who assigns the numbers of what the front office makes: the hub itself
APPOINTMENT_TYPE = "PLAC"


def own_key(resource_id: str) -> Key:
    """The number under which the CRM's record of a resource is kept."""
    return Key(ASSIGNER, resource_id)


def own_fact(kind: Kind, resource_id: str, values: Mapping[str, Any], patient: Key | None = None) -> Fact:
    """The front office says this of a resource. Its lineage points to the API."""
    return Fact(kind, own_key(resource_id), dict(values), dict.fromkeys(values, "api"), patient=patient, resource_id=resource_id)


def prospect_values(values: Mapping[str, Any], resource_id: str) -> dict[str, Any]:
    """A new patient of the front office's own: no visit yet, and a number of the hub's."""
    numbers = [*(values.get("identifier") or ()), {"assigner": ASSIGNER, "value": resource_id, "type": "PI"}]
    return {**values, "identifier": numbers, "prospect": True}


def booking_values(values: Mapping[str, Any], resource_id: str) -> dict[str, Any]:
    """A booking waits for the OCS: pending until it confirms. The hub's number is the placer's (SCH-1)."""
    placer = {"assigner": ASSIGNER, "value": resource_id, "type": APPOINTMENT_TYPE}
    return {**values, "identifier": [placer], "status": "pending"}
