"""SAP customers by IDoc: into a folder of its file port, flat in cp949 and XML, and by its XML-HTTP port."""

from __future__ import annotations

from typing import Any

from hub.adapters.erp import idoc_http_out, idoc_out
from hub.domain.ports import Outbound
from hub.simulator.faults import Fault
from hub.simulator.idoc import SapFolder, SapHttp
from hub.testing.case import Case, patient, patient_updated

TIMEOUT = 0.8
COMMON = {"receiver": "LS/SAPCLNT100", "assigner": "HOSP"}


def _message(n: int) -> Outbound:
    """KUNNR has ten characters."""
    record = patient(f"CANARY{n:04d}")
    return patient_updated(n, resource=record, patient=record, changed=["telecom.mobile", "name"])


def _http(peer: SapHttp) -> dict[str, Any]:
    times = {"timeout_seconds": TIMEOUT, "connect_timeout_seconds": TIMEOUT}
    return {**COMMON, "url": peer.url, "sap_client": "100", **times}


def _every_connection(peer: SapHttp, fault: Fault) -> None:
    """A connection that is reset before anything was sent is tried again within the attempt."""
    peer.misbehave(fault, None if fault is Fault.HANG_UP else 1)


def _folder(name: str, charset: str = "utf-8", **more: Any) -> Case:
    return Case(
        name=f"erp.idoc_out-{name}",
        module=idoc_out,
        peer=lambda tls: SapFolder(),
        table=lambda peer: {**COMMON, "folder": str(peer.folder), "charset": charset, **more},
        message=_message,
        effects=lambda peer: len(peer.customers(charset).table),
        faults=(Fault.CLOSED,),
    )


CASES = [
    _folder("flat", "cp949"),
    _folder("xml", form="xml"),
    Case(
        name="erp.idoc_http_out",
        module=idoc_http_out,
        peer=lambda tls: SapHttp(tls=tls),
        table=_http,
        message=_message,
        effects=lambda peer: len(peer.customers.table),
        arm=_every_connection,
        timeout=TIMEOUT,
    ),
]
