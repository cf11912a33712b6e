"""The keys of an `erp.business_partner` channel; see docs/erp-sap.md."""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hub.adapters.settings import read_table, wrong
from hub.config import option
from hub.transport.http import HttpSettings

_FIELD = re.compile(r"[A-Z][A-Za-z0-9]{1,39}\Z")
_SALES_KEYS = ("SalesOrganization", "DistributionChannel", "Division")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(HttpSettings):
    """Checked against what SAP's fields hold; what SAP's customizing holds only SAP knows."""

    identification_type: str = option(
        doc="BPIdentificationType under which SAP keeps the patient number, from its customizing: ZMRN"
    )
    assigner: str = option("HOSP", doc="whose patient number that is; default: [hub] assigner")
    identifications: dict[str, str] = option(
        dict, doc='further numbers: canonical identifier type -> BPIdentificationType, { PPN = "FS0002" }'
    )
    create: bool = option(False, doc="true: a patient whom SAP does not know becomes a business partner; false: refused")
    grouping: str = option("", doc="BusinessPartnerGrouping of those created; default: SAP's own")
    roles: tuple[str, ...] = option((), doc='BusinessPartnerRole of patients: ["FLCU00", "FLCU01"] (customer); default: none')
    company: dict[str, str] = option(dict, doc="a customer's company code data, in SAP's words (A_CustomerCompany)")
    sales_area: dict[str, str] = option(dict, doc="a customer's sales area, in SAP's words (A_CustomerSalesArea)")
    merged: Literal["tell", "archive", "block", "nothing"] = option(
        "tell", doc="what SAP is told of a partner whose patient was merged into another"
    )
    country: str = option("KR", doc="country of addresses that name none (ISO 3166, two letters)")
    sap_client: str = option("", doc="SAP client (Mandant), three digits; default: the service's own")
    update_method: Literal["PATCH", "MERGE"] = option("PATCH", doc="MERGE for gateways that do not know PATCH")
    metadata: Path | None = option(None, doc="the service's $metadata as a file, for hub check where SAP cannot be asked")
    batch: int = option(50, doc="patients that one $batch carries at most", low=1, high=200)
    batches: int = option(2, doc="how many of them may be on their way at once", low=1, high=8)

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        types = {"identification_type": [self.identification_type], "identifications": [*self.identifications.values()]}
        for name, value in ((name, one) for name, some in {**types, "roles": [*self.roles]}.items() for one in some):
            if not 1 <= len(value) <= 6:
                raise wrong(f'"{name}" cannot be that', "write the key of SAP's customizing, at most 6 characters")
        if len(self.grouping) > 4:
            raise wrong('"grouping" cannot be that', "write the key of SAP's customizing, at most 4 characters")
        if self.sap_client and not (len(self.sap_client) == 3 and self.sap_client.isdigit()):
            raise wrong('"sap_client" cannot be that', 'write three digits: sap_client = "100"')
        if not (len(self.country) == 2 and self.country.isascii() and self.country.isupper()):
            raise wrong('"country" cannot be that', 'write two letters: country = "KR"')
        if not self.assigner:
            raise wrong('"assigner" is empty', 'write the assigning authority of the patient number: assigner = "HOSP"')
        self._check_customer()

    def _check_customer(self) -> None:
        for name, table, keys in (("company", self.company, ("CompanyCode",)), ("sales_area", self.sales_area, _SALES_KEYS)):
            if not table:
                continue
            if not all(table.get(key) for key in keys) or not all(_FIELD.match(key) for key in table):
                raise wrong(f'"{name}" is not complete', f"write SAP's own field names, {', '.join(keys)} among them")
            if not any(role.startswith("FLCU") for role in self.roles):
                raise wrong(f'"{name}" needs a customer', 'write the role that makes one: roles = ["FLCU00", "FLCU01"]')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)
