"""HL7 v2 to the OCS: an ADT update, a booking, and the enhanced mode, against the simulated OCS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hub.adapters.ocs import hl7_out
from hub.domain.ports import Outbound
from hub.simulator.ocs import OcsPeer
from tests.contract.case import Case, patient_updated

TIMEOUT = 0.8


def _table(**more: Any) -> Callable[[OcsPeer], dict[str, Any]]:
    return lambda peer: {
        "host": peer.host,
        "port": peer.port,
        "assigner": "HOSP",
        "connections": 4,
        "timeout_seconds": TIMEOUT,
        "connect_timeout_seconds": TIMEOUT,
        **more,
    }


def booking(n: int, **more: Any) -> Outbound:
    """The n-th booking, of the n-th patient."""
    document = {
        "status": "pending",
        "start": "2026-12-01T09:00:00+09:00",
        "end": "2026-12-01T09:30:00+09:00",
        "minutes": 30,
        "department": "OPD",
        "reason": {"display": "정기 검진"},
        "participant": [{"identifier": {"assigner": "HOSP", "value": "D001"}, "name": "이의사", "role": "performer"}],
    }
    values: dict[str, Any] = {
        "type": "appointment.created",
        "kind": "Appointment",
        "resource_id": f"0199b3a0-0000-7000-9000-{n:012d}",
        "resource": document,
        "changed": ["start"],
        **more,
    }
    return patient_updated(n, **values)


def _case(name: str, message: Callable[[int], Outbound], **more: Any) -> Case:
    return Case(
        name=name,
        module=hl7_out,
        peer=lambda tls: OcsPeer(tls=tls),
        table=_table(**more),
        message=message,
        effects=lambda peer: len(peer.received),
        timeout=TIMEOUT,
    )


CASES = [
    _case("ocs.hl7_out-adt", patient_updated),
    _case("ocs.hl7_out-siu", booking, charset="KS X 1001"),
    _case("ocs.hl7_out-enhanced", patient_updated, mode="enhanced", patient_event="A31", version="2.5.1"),
]
