"""Entities as the rows that maps read: expanded navigation as lists of rows, and what the channel's settings add to them.

Added are columns that say what the entity alone does not: `hub_patient`, the patient number among a partner's identifications,
and `hub_amounts` where amounts are in SAP's internal form. A partner's standard address comes first, and so does the default of
its phones: maps read the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub.adapters.erp.odata_in_sets import ADDRESS, IDENTIFICATION, ONE, EntitySet
from hub.codecs.sap import odata_feed
from hub.codecs.sap.amount import Form
from hub.domain.errors import Misconfigured, Unreadable
from hub.domain.ports import Found

PATIENT, AMOUNTS = "hub_patient", "hub_amounts"
DEFAULTS = {
    "to_PhoneNumber": "IsDefaultPhoneNumber",
    "to_MobilePhoneNumber": "IsDefaultPhoneNumber",
    "to_EmailAddress": "IsDefaultEmailAddress",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """How one channel's entities become rows."""

    shape: EntitySet
    identification_type: str
    form: Form

    def key(self, entity: Mapping[str, Any]) -> dict[str, str]:
        return odata_feed.key_of(entity, self.shape.key)

    def found(self, entity: Mapping[str, Any]) -> Found:
        """The row; one that cannot be read is refused with a reason, and keeps nobody else from coming."""
        key = self.key(entity)
        try:
            row = odata_feed.row_of(entity)
            missing = [name for name in self.shape.expand if "/" not in name and name not in ONE and name not in row]
            if missing:
                raise Misconfigured(f"the ERP does not expand {', '.join(missing)}: check url and expand", code="not_expanded")
            if self.form == "internal":
                row[AMOUNTS] = self.form
            if isinstance(row.get(IDENTIFICATION), list):
                row[PATIENT] = self._number(row[IDENTIFICATION])
            if isinstance(row.get(ADDRESS), list):
                row[ADDRESS] = _standard_first(row[ADDRESS])
        except Unreadable as error:
            return Found(key, key, error.reason)
        return Found(key, row)

    def _number(self, identifications: Sequence[Any]) -> str:
        numbers = {
            str(one.get("BPIdentificationNumber") or "")
            for one in identifications
            if isinstance(one, Mapping) and one.get("BPIdentificationType") == self.identification_type
        } - {""}
        if len(numbers) > 1:
            raise Unreadable(f"{len(numbers)} identification numbers of type {self.identification_type}: which is the patient's?")
        return numbers.pop() if numbers else ""


def _standard_first(addresses: list[Any]) -> list[Any]:
    """As whoever writes to the partner sees them: the standard address (usage XXDEFAULT), then by number."""
    rows = [one for one in addresses if isinstance(one, dict)]
    if len(rows) < len(addresses):
        raise Unreadable(f"{ADDRESS} holds something else than addresses")
    for row in rows:
        for name, default in DEFAULTS.items():
            if isinstance(row.get(name), list):
                row[name] = _default_first(row[name], default)
    return sorted(rows, key=lambda row: (not _is_standard(row), str(row.get("AddressID") or "")))


def _is_standard(row: Mapping[str, Any]) -> bool:
    usages = row.get("to_AddressUsage")
    return isinstance(usages, list) and any(isinstance(one, Mapping) and one.get("AddressUsage") == "XXDEFAULT" for one in usages)


def _default_first(contacts: list[Any], default: str) -> list[Any]:
    return sorted(contacts, key=lambda one: not (isinstance(one, Mapping) and one.get(default)))
