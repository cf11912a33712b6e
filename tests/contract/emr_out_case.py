"""Bookings into the EMR over FHIR, against the simulated EMR and against a server of npm's behind a proxy that misbehaves.

As with patients, reads come first: faults of a new connection meet a read, those of a request are kept for the write.
"""

from __future__ import annotations

import ssl
from typing import Any, Self

import httpx

from hub.adapters.emr import fhir_out, fhir_patient
from hub.domain.ports import Outbound
from hub.simulator.emr import EmrPeer
from hub.simulator.faults import Fault
from hub.testing.case import CITY, NUMBER, Case, Expect, patient_updated
from tests.contract.emr_case import FOUND, RETRIED, SYSTEM, TIMEOUT
from tests.contract.fhir_proxy import FhirProxy, server


def booking(n: int, **more: Any) -> Outbound:
    """The n-th booking, of the n-th patient."""
    told = patient_updated(n)
    values: dict[str, Any] = {
        "identifier": [{"assigner": "HUB", "value": told.resource_id, "type": "PLAC"}], "status": "pending",
        "start": "2026-12-01T09:00:00+09:00", "minutes": 15, "department": "OS", "location": "외래 3",
        "comment": f"{CITY}에서 오시는 분",
    }  # fmt: skip
    made: dict[str, Any] = {
        "kind": "Appointment", "type": "appointment.created", "resource": values, "changed": sorted(values),
        "patient_id": f"P{n}", "patient": told.patient,
    }  # fmt: skip
    return patient_updated(n, **{**made, **more})


def _simulated(tls: ssl.SSLContext | None) -> EmrPeer:
    peer = EmrPeer(tls=tls)
    peer.faults_at_writes = True
    for n in range(100):
        peer.put({"identifier": [{"system": SYSTEM, "value": f"{NUMBER}-{n}"}], "name": [{"text": "홍길동"}]})
    return peer


def _known(tls: ssl.SSLContext | None) -> EmrPeer:
    peer = _simulated(tls)
    for n in range(100):
        number = {"system": "urn:hospital-hub:assigner:HUB", "value": booking(n).resource_id}
        actor = {"actor": {"reference": "Patient/x"}, "status": "accepted"}
        peer.put({
            "resourceType": "Appointment", "identifier": [number], "status": "booked", "participant": [actor],
            "start": "2026-11-30T00:00:00Z", "end": "2026-11-30T00:15:00Z",
        })  # fmt: skip
    return peer


def _table(peer: Any) -> dict[str, Any]:
    return {"url": peer.url, "identifier_systems": {"HOSP": SYSTEM}, "create": True, "timeout_seconds": TIMEOUT}


def _shared(peer: FhirProxy) -> dict[str, Any]:
    """On a server that all tests share, numbers of this test's own."""
    return _table(peer) | {"identifier_systems": {"HOSP": peer.system, "HUB": f"{peer.system}.1"}}


class _Hospital(FhirProxy):
    """Has the patients already: each message is one write."""

    def start(self) -> Self:
        if not self._filled:
            patients = [
                {"resourceType": "Patient", "identifier": [{"system": self.system, "value": f"{NUMBER}-{n}"}]} for n in range(81)
            ]
            entries = [{"resource": one, "request": {"method": "POST", "url": "Patient"}} for one in patients]
            httpx.post(server().url, json={"resourceType": "Bundle", "type": "batch", "entry": entries}).raise_for_status()
            self._filled = True
        return super().start()

    _filled = False


def _patient(n: int) -> Outbound:
    return patient_updated(n, type="patient.created", changed=[])


def _case(name: str, peer: Any, message: Any, expected: dict[Fault, Expect], table: Any = _table, module: Any = fhir_out) -> Case:
    return Case(
        name=name, module=module, peer=peer, table=table, message=message, effects=lambda peer: len(peer.received),
        expected=expected, same_bytes=False, timeout=TIMEOUT, faults=tuple(Fault) if name == "emr.fhir_out-new" else SOME,
    )  # fmt: skip


# The code is emr.fhir_patient's, and the server's part is played in its own: of the faults those in which they can differ
SOME = (Fault.CLOSED, Fault.SILENT, Fault.ANSWER_LOST, Fault.ANSWER_CUT, Fault.REFUSE, Fault.BUSY, Fault.TLS_WRONG)
CASES = [
    _case("emr.fhir_out-new", _simulated, booking, RETRIED | FOUND),
    _case("emr.fhir_out-known", _known, booking, RETRIED),
    _case("emr.fhir_out-npm", _Hospital, booking, RETRIED, _shared),
    _case("emr.fhir_patient-npm", FhirProxy, _patient, RETRIED, _shared, fhir_patient),
]
