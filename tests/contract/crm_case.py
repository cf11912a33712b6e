"""CRM webhooks against the simulated CRM."""

from __future__ import annotations

import select
import ssl
import threading
from types import ModuleType
from typing import Any

from hub.adapters.crm import webhook
from hub.adapters.crm.webhook import Settings, WebhookTarget
from hub.config import Secret
from hub.domain.errors import HubError
from hub.domain.ports import Delivered, Lines, Outbound
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


class Driven(WebhookTarget):
    """The same target by its lines: driven by this thread until what was begun has ended."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._mine, self._all = threading.local(), list[Lines]()

    def send(self, message: Outbound) -> Delivered:
        lines = self._of_this_thread()
        lines.begin(message)
        while not (ended := lines.turn()):
            select.select([lines], [], [], 0.02)
        ((_, came),) = ended
        if isinstance(came, HubError):
            raise came
        return came

    def _of_this_thread(self) -> Lines:
        if not hasattr(self._mine, "lines"):
            self._mine.lines = self.lines(4)
            self._all.append(self._mine.lines)
        lines: Lines = self._mine.lines
        return lines

    def close(self) -> None:
        for lines in self._all:
            lines.close()
        super().close()


def _by_lines() -> ModuleType:
    module = ModuleType("webhook_by_lines")
    module.__dict__.update(MANIFEST=webhook.MANIFEST, Settings=Settings, build=Driven)
    return module


CASES = [
    Case(
        name="crm.webhook",
        module=webhook,
        peer=_peer,
        table=_table,
        message=_message,
        effects=lambda peer: len(peer.received),
        timeout=TIMEOUT,
    ),
    Case(
        name="crm.webhook by lines",
        module=_by_lines(),
        peer=_peer,
        table=_table,
        message=_message,
        effects=lambda peer: len(peer.received),
        timeout=TIMEOUT,
    ),
]
