"""HL7 v2 to the PACS: an imaging order against the simulated order desk. What else it carries: test_pacs_hl7.py."""

from __future__ import annotations

from typing import Any

from hub.adapters.pacs import hl7_out
from hub.domain.ports import Outbound
from hub.simulator.pacs_hl7 import PacsHl7Peer
from tests.contract.case import Case, patient, patient_updated

TIMEOUT = 0.5


def order(n: int, **more: Any) -> Outbound:
    """The n-th imaging order, of the n-th patient."""
    document = {
        "status": "active",
        "category": "imaging",
        "identifier": [
            {"assigner": "OCS", "value": f"ORD{n}", "type": "PLAC"},
            {"assigner": "HOSP", "value": f"A{n:08d}", "type": "ACSN"},
            {"assigner": "DICOM", "value": f"1.2.410.200001.{n}", "type": "UID"},
        ],
        "code": {"code": "HA201", "display": "흉부 CT", "system": "EDI"},
        "priority": "urgent",
        "authoredOn": "2026-11-30T15:00:00+09:00",
        "occurrence": "2026-12-01T09:00:00+09:00",
        "department": "RAD",
        "modality": "CT",
        "station": "CT1",
        "participant": [{"identifier": {"assigner": "HOSP", "value": "D001"}, "name": "이의사", "role": "requester"}],
        "reason": [{"code": "R05", "display": "기침", "system": "KCD"}],
        "encounter": {"identifier": {"assigner": "HOSP", "value": f"V{n}", "type": "VN"}},
    }
    values: dict[str, Any] = {
        "type": "servicerequest.created",
        "kind": "ServiceRequest",
        "resource_id": f"0199b3a0-0000-7000-a000-{n:012d}",
        "resource": document,
        "changed": [],
        **more,
    }
    return patient_updated(n, **values)


def merged(n: int, **more: Any) -> Outbound:
    """A second record of the n-th patient became his."""
    prior = {**patient(f"SECOND-{n}"), "active": False, "replacedBy": f"0199b3a0-0000-7000-8000-{n:012d}"}
    survivor = patient_updated(n).patient
    numbers = [*survivor["identifier"], *prior["identifier"]]
    values: dict[str, Any] = {
        "type": "patient.merged",
        "resource_id": f"0199b3a0-0000-7000-b000-{n:012d}",
        "resource": prior,
        "patient": {**survivor, "identifier": numbers},
        "changed": ["active", "replacedBy"],
        **more,
    }
    return patient_updated(n, **values)


CASES = [
    Case(
        name="pacs.hl7_out",
        module=hl7_out,
        peer=lambda tls: PacsHl7Peer(tls=tls),
        table=lambda peer: {
            "host": peer.host,
            "port": peer.port,
            "assigner": "HOSP",
            "charset": "KS X 1001",
            "connections": 4,
            "timeout_seconds": TIMEOUT,
            "connect_timeout_seconds": TIMEOUT,
        },
        message=order,
        effects=lambda peer: len(peer.received),
        timeout=TIMEOUT,
    )
]
