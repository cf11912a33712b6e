"""SAP entities asked for what changed: the case of the suite, and a partner as an OData service shows him."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hub.adapters.erp import odata_in
from hub.domain.errors import Misconfigured
from hub.simulator.faults import Fault
from hub.testing.case import CITY, EMAIL, FAMILY, GIVEN, NUMBER, RAW_PHONE
from hub.testing.inbound_case import PolledCase
from tests.contract.sap_peer import SapPeer

SET, KEY = "A_BusinessPartner", ("BusinessPartner",)


def number(n: int) -> str:
    return f"{NUMBER}-{n}"


def day(text: str) -> str:
    """A day, or a moment, as OData writes it."""
    at = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return f"/Date({int(at.timestamp() * 1000)})/"


def partner(n: int, changed: str = "2026-11-21", clock: str = "PT09H00M00S", **more: Any) -> dict[str, Any]:
    address = {
        "AddressID": f"{n}", "StreetName": "테헤란로 1", "CityName": CITY, "PostalCode": "06236", "Country": "KR",
        "to_MobilePhoneNumber": {"results": [{"PhoneNumber": RAW_PHONE, "DestinationLocationCountry": "KR"}]},
        "to_PhoneNumber": {"results": []}, "to_EmailAddress": {"results": [{"EmailAddress": EMAIL}]},
        "to_AddressUsage": {"results": [{"AddressUsage": "XXDEFAULT"}]},
    }  # fmt: skip
    entity = {
        "BusinessPartner": f"{1_000_000 + n}", "BusinessPartnerCategory": "1", "LastName": FAMILY, "FirstName": GIVEN,
        "BirthDate": "/Date(547084800000)/", "IsMale": True, "LastChangeDate": day(changed), "LastChangeTime": clock,
        "CreationDate": day("2026-11-01"), "CreationTime": "PT08H00M00S",
        "to_BusinessPartnerAddress": [address], "to_BusinessPartnerRole": [], "to_Customer": None,
        "to_BuPaIdentification": [{"BPIdentificationType": "ZMRN", "BPIdentificationNumber": number(n)}],
    }  # fmt: skip
    return entity | more


def tell(peer: SapPeer, n: int) -> None:
    peer.put(SET, KEY, partner(n))


def _peer(tls: Any) -> SapPeer:
    peer = SapPeer(tls)
    peer.keys[SET], peer.sets[SET] = KEY, {}
    peer.page_size = 2  # several pages of a few
    return peer


CASE = PolledCase(
    name="erp.odata_in",
    module=odata_in,
    peer=_peer,
    table=lambda peer: {"url": peer.url, "set": SET, "identification_type": "ZMRN", "page": 3, "timeout_seconds": 0.5},
    tell=tell,
    number=number,
    system="erp",
    expected={Fault.REFUSE: Misconfigured},  # a question that is refused: the service has changed
)
