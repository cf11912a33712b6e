"""The back office of the hospital: SAP (OData services of npm's) and the PACS, as `back` of tests.e2e.doors.Hospital.

with Hospital(…, back=BackOffice(cap)) as house:
    house.back.partner(number)
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from hub.simulator.demo.api import Api
from tests import sap_kit, servers
from tests.e2e.doors import HOSPITAL

PARTNERS, BILLING = "API_BUSINESS_PARTNER", "API_BILLING_DOCUMENT_SRV"
ITEMS = "API_OPLACCTGDOCITEMCUBE_SRV"


class BackOffice:
    """Its people work from many threads at once."""

    def __init__(self, cap: servers.Cap) -> None:
        self.cap = cap
        self._clerks = threading.local()
        self._at_work: list[sap_kit.Clerk] = []

    # -- as a part of the hospital -------------------------------------------------------------------------------------

    def piece(self) -> str:
        text = (HOSPITAL / "back-office.toml").read_text(encoding="utf-8")
        for there, here in {"http://127.0.0.1:4004": self.cap.url}.items():
            assert there in text, there
            text = text.replace(there, here)
        return text

    def furnish(self, folder: Path) -> None:
        self.folder = folder

    def start(self, api: Api) -> None:
        pass

    def stop(self) -> None:
        for clerk in self._at_work:
            clerk.close()

    # -- SAP -----------------------------------------------------------------------------------------------------------

    @property
    def clerk(self) -> sap_kit.Clerk:
        """Somebody at SAP, one a thread."""
        found: sap_kit.Clerk | None = getattr(self._clerks, "clerk", None)
        if found is None:
            found = self._clerks.clerk = sap_kit.Clerk(self.cap)
            self._at_work.append(found)
        return found

    def partners(self, number: str) -> list[str]:
        """The business partners who bear a patient number."""
        wanted = f"BPIdentificationType eq 'ZMRN' and BPIdentificationNumber eq '{number}'"
        found = self.clerk.get(f"{PARTNERS}/A_BuPaIdentification", filter=wanted)
        return [one["BusinessPartner"] for one in found["results"]]

    def partner(self, number: str) -> dict[str, Any]:
        """The one business partner who bears a patient number, with his addresses and phones."""
        [partner] = self.partners(number)
        inner = "to_BusinessPartnerAddress"
        wanted = f"{inner}/to_MobilePhoneNumber,{inner}/to_PhoneNumber,to_BusinessPartnerRole"
        return dict(self.clerk.get(f"{PARTNERS}/A_BusinessPartner('{partner}')", expand=wanted))
