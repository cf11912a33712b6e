"""Authority: which system's word stands for a field of a golden record.

A record's value competes with the time at which *that source changed it* (its lineage), not with the time of the last
message: an OCS that repeats the old phone in every snapshot is not news. Two policies: `ranked` (the best-ranked system
that has a value) and `newest` (the newest change among the systems listed; the rank breaks ties). Records that are at
home with a patient come before records that a merge brought in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hub.domain.model import KINDS

DEFAULT_RANK = ("ocs", "emr", "erp", "pacs", "crm")


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may set a field, best first, and how they compete. Systems not listed only fill what nobody listed says."""

    systems: tuple[str, ...] = DEFAULT_RANK
    policy: Literal["ranked", "newest"] = "ranked"


RANKED = Rule()
NEWEST = Rule(policy="newest")
# Identity: best-ranked system. Contact: newest change. What the front office owns: the CRM first.
SHIPPED: dict[str, Rule] = {
    "Patient.*": Rule(("ocs", "emr", "erp", "crm", "pacs")),  # a PACS has what somebody typed at a modality
    "Patient.telecom": NEWEST,
    "Patient.address": NEWEST,
    "Patient.language": NEWEST,
    "Patient.note": Rule(("crm",)),
    "Appointment.*": NEWEST,
    "Encounter.*": RANKED,
    # Who fills an order knows better than who placed it how far it is; a correction is newer than what it corrects.
    "ServiceRequest.status": NEWEST,
    "MedicationRequest.*": NEWEST,
    "DiagnosticReport.*": NEWEST,
    "Observation.*": NEWEST,
    "DocumentReference.*": NEWEST,
    "ImagingStudy.*": Rule(("pacs", *(system for system in DEFAULT_RANK if system != "pacs"))),
    "Slot.*": NEWEST,
    # Money is the ERP's where there is one; how far it is paid is whoever's word is newest, since the counter knows first.
    "Invoice.*": Rule(("erp", *(system for system in DEFAULT_RANK if system != "erp"))),
    "Invoice.status": NEWEST,
    "Payment.*": Rule(("erp", *(system for system in DEFAULT_RANK if system != "erp"))),
    "Payment.status": NEWEST,
}
# What a front-end may set on its own, even where another system has a word on it too.
FRONT_OFFICE = frozenset(
    {"telecom", "address", "language", "note"}
    | {"start", "end", "minutes", "status", "reason", "type", "department", "location", "participant", "comment"}
)


@dataclass(slots=True)
class Claim:
    """One source's value of one field: `since` is when that source changed it, µs."""

    system: str
    value: Any
    since: int
    at_home: int = 1  # 0: brought in by a merge; the greater, the nearer


@dataclass(frozen=True, slots=True)
class Authority:
    """The rules in force: shipped ones under the site's `[authority]`."""

    rules: Mapping[str, Rule] = field(default_factory=lambda: SHIPPED)

    def rule(self, kind: str, name: str) -> Rule:
        """The rule for a field; a slot (`telecom.mobile`) follows its field."""
        base = name.split(".", 1)[0]
        rules = self.rules
        return rules.get(f"{kind}.{name}") or rules.get(f"{kind}.{base}") or rules.get(f"{kind}.*") or RANKED

    def decide(self, kind: str, name: str, claims: Iterable[Claim]) -> Any:
        """The value that stands; None where nobody has one."""
        rule = self.rule(kind, name)
        best: tuple[Any, ...] | None = None
        value: Any = None
        for claim in claims:
            listed = claim.system in rule.systems
            rank = -rule.systems.index(claim.system) if listed else -len(rule.systems)
            if claim.value is None and not (rule.policy == "newest" and listed):
                continue  # in a ranking, silence of the best leaves the word to the next; a newest deletion deletes
            order = (
                (listed, claim.at_home, claim.since, rank)
                if rule.policy == "newest"
                else (listed, claim.at_home, rank, claim.since)
            )
            if best is None or order > best:
                best, value = order, claim.value
        return value

    def may_front_office_set(self, name: str, systems_that_say_it: Iterable[str]) -> bool:
        """A contact field always; an identity field only while no other system has said it (a prospect)."""
        return name.split(".", 1)[0] in FRONT_OFFICE or not any(s != "crm" for s in systems_that_say_it)


def overridden(overrides: Mapping[str, tuple[tuple[str, ...], Literal["ranked", "newest"]]]) -> Authority:
    """Shipped rules with a site's on top: `{"Appointment.start": …, "telecom.email": …}`, the second a Patient's."""
    site = {
        name if name.partition(".")[0] in KINDS else f"Patient.{name}": Rule(systems, policy)
        for name, (systems, policy) in overrides.items()
    }
    return Authority({**SHIPPED, **site})
