"""CRM webhooks against the simulated CRM."""

from __future__ import annotations

import ssl
from typing import Any

from hub.adapters.crm import webhook
from hub.config import Secret
from hub.domain.ports import Outbound
from hub.simulator.crm import CrmPeer
from tests.contract.case import Case, patient_updated

TIMEOUT = 0.8


def _peer(tls: ssl.SSLContext | None) -> CrmPeer:
    return CrmPeer(tls=tls)


def _table(peer: CrmPeer) -> dict[str, Any]:
    return {"url": peer.url, "secrets": [Secret(peer.secrets[0])], "timeout_seconds": TIMEOUT}


def _message(n: int) -> Outbound:
    message = patient_updated(n)
    data = {"id": message.resource_id, "version": message.version, "changed": message.changed, "resource": message.resource}
    message.event = {"type": message.type, "timestamp": "2026-11-22T00:00:00.000Z", "data": data}
    return message


CASES = [
    Case(
        name="crm.webhook",
        module=webhook,
        peer=_peer,
        table=_table,
        message=_message,
        effects=lambda peer: len(peer.received),
        timeout=TIMEOUT,
    )
]
