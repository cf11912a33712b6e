"""SAP business partners against the simulated SAP: partners that it knows, and partners that it gets to know."""

from __future__ import annotations

import ssl
from typing import Any

from hub.adapters.erp import business_partner
from hub.domain.errors import NotDelivered
from hub.simulator.erp import ErpPeer
from hub.simulator.faults import Fault
from tests.contract.case import NUMBER, Case, Expect, patient_updated

TIMEOUT = 0.5
DONE = Expect(None, acted=True)
# Faults of a new connection meet a read: tried again at once, or given up when it took all the time there is
RETRIED = {Fault.HANG_UP: DONE, Fault.HALF_OPEN: Expect(NotDelivered, acted=False)}
LOST = (Fault.ANSWER_LOST, Fault.ANSWER_CUT, Fault.WRONG_ANSWER, Fault.GARBAGE, Fault.SLOW)
FOUND = dict.fromkeys(LOST, DONE)  # whatever lost its answer is looked up at once


def _empty(tls: ssl.SSLContext | None) -> ErpPeer:
    peer = ErpPeer(tls=tls)
    peer.faults_at_writes = True
    return peer


def _known(tls: ssl.SSLContext | None) -> ErpPeer:
    peer = _empty(tls)
    phone = {"results": [{"PhoneNumber": "010-1111-2222", "PhoneNumberType": "3"}]}
    for n in range(100):
        address = {"results": [{"Country": "KR", "to_MobilePhoneNumber": phone}]}
        peer.add_partner(f"{NUMBER}-{n}", LastName="홍", FirstName="길동", to_BusinessPartnerAddress=address)
    return peer


def _table(peer: ErpPeer) -> dict[str, Any]:
    return {"url": peer.url, "identification_type": "ZMRN", "create": True, "timeout_seconds": TIMEOUT}


def _case(name: str, peer: Any, expected: dict[Fault, Expect]) -> Case:
    return Case(
        name=name,
        module=business_partner,
        peer=peer,
        table=_table,
        message=patient_updated,
        effects=lambda peer: len(peer.received),
        expected=expected,
        same_bytes=False,  # the second time there is nothing to write
        timeout=TIMEOUT,
    )


CASES = [_case("erp.business_partner-known", _known, RETRIED | FOUND), _case("erp.business_partner-new", _empty, RETRIED | FOUND)]
