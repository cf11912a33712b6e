"""The contract of sources that are asked (hub/testing/polled.py), for the EMR's FHIR server: the simulated one, and npm's behind
a proxy that misbehaves."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import Any

import httpx

from hub.adapters.emr import fhir_pull
from hub.domain.errors import Refused
from hub.simulator.emr import EmrPeer
from hub.simulator.faults import Fault
from hub.testing.case import BIRTH_DATE, NAME, RAW_PHONE
from hub.testing.inbound_case import PolledCase
from hub.testing.polled import *  # noqa: F403 - the suite's tests
from tests.contract.fhir_proxy import FhirProxy, server

TIMEOUT = 0.3
# All faults in all places are test_fhir_pull.py's; in a whole hub each shows at one of the two
WITH_NPM = (Fault.HANG_UP, Fault.HALF_OPEN, Fault.ANSWER_CUT, Fault.ANSWER_LOST, Fault.GARBAGE, Fault.TLS_WRONG)
SIMULATED = tuple(fault for fault in Fault if fault not in WITH_NPM or fault is Fault.TLS_WRONG)


def _id(n: int) -> str:
    return f"0199b3a0-0000-4000-8000-{n:012d}"


def _patient(n: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient", "id": _id(n), "name": [{"text": NAME}], "birthDate": BIRTH_DATE,
        "telecom": [{"system": "phone", "value": RAW_PHONE, "use": "mobile"}],
    }  # fmt: skip


def _table(peer: Any) -> dict[str, Any]:
    return {"url": peer.url, "kinds": ["Patient"], "timeout_seconds": TIMEOUT, "overlap_seconds": 60.0}


class _Server(FhirProxy):
    """Only what comes after it began is asked for: the server is one for all tests."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.faults_at_writes = False
        self.began = datetime.now(UTC).isoformat()


def _real_table(peer: _Server) -> dict[str, Any]:
    return _table(peer) | {"since": peer.began}


def _tell(_peer: _Server, n: int) -> None:
    httpx.put(f"{server().url}/Patient/{_id(n)}", json=_patient(n) | {"gender": "male"}, timeout=10).raise_for_status()


def _case(name: str, peer: Any, table: Any, tell: Any, faults: tuple[Fault, ...]) -> PolledCase:
    return PolledCase(
        name=name, module=fhir_pull, peer=peer, table=table, tell=tell, number=lambda n: f"Patient/{_id(n)}", system="emr",
        expected={Fault.REFUSE: Refused}, faults=faults, timeout=TIMEOUT,
    )  # fmt: skip


CASES = [
    _case("emr.fhir_pull", lambda tls: EmrPeer(tls=tls), _table, lambda peer, n: peer.put(_patient(n)), SIMULATED),
    _case("emr.fhir_pull-npm", _Server, _real_table, _tell, WITH_NPM),
]
