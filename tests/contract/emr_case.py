"""EMR over FHIR against the simulated EMR: patients that it knows, and patients that it gets to know.

The adapter reads before it writes, so faults of a new connection meet a read: tried again at once, or given up when it
took all the time there is. The faults of a request are kept for the write.
"""

from __future__ import annotations

import ssl
from typing import Any

from hub.adapters.emr import fhir_patient
from hub.domain.errors import NotDelivered
from hub.simulator.emr import EmrPeer
from hub.simulator.faults import Fault
from tests.contract.case import NUMBER, Case, Expect, patient_updated

TIMEOUT = 0.5
SYSTEM = "urn:oid:1.2.410.99999.1"
RETRIED = {
    Fault.HANG_UP: Expect(None, acted=True),  # it meets a read, which goes out again at once
    Fault.HALF_OPEN: Expect(NotDelivered, acted=False),
}


def _empty(tls: ssl.SSLContext | None) -> EmrPeer:
    peer = EmrPeer(tls=tls)
    peer.faults_at_writes = True
    return peer


def _known(tls: ssl.SSLContext | None) -> EmrPeer:
    peer = _empty(tls)
    for n in range(100):
        peer.put({
            "resourceType": "Patient",
            "identifier": [{"system": SYSTEM, "value": f"{NUMBER}-{n}"}],
            "name": [{"text": "홍길동"}],
            "telecom": [{"system": "phone", "value": "010-1111-2222", "use": "mobile"}],
        })  # fmt: skip
    return peer


def _table(peer: EmrPeer) -> dict[str, Any]:
    return {"url": peer.url, "identifier_systems": {"HOSP": SYSTEM}, "create": True, "timeout_seconds": TIMEOUT}


def _case(name: str, peer: Any, expected: dict[Fault, Expect]) -> Case:
    return Case(
        name=name,
        module=fhir_patient,
        peer=peer,
        table=_table,
        message=patient_updated,
        effects=lambda peer: len(peer.received),
        expected=expected,
        same_bytes=False,  # the second time there is nothing to write
        timeout=TIMEOUT,
    )


# a create answered with 200 means "it was there already": it is read again, and is as we sent it
FOUND = {Fault.WRONG_ANSWER: Expect(None, acted=True)}
CASES = [_case("emr.fhir_patient-known", _known, RETRIED), _case("emr.fhir_patient-new", _empty, RETRIED | FOUND)]
