"""ERP, outbound: a patient's changes as customers (DEBMAS) by HTTP to SAP's IDoc service (/sap/bc/idoc_xml, SAP Note 1487606).

200 means that SAP has taken the IDoc; what became of it comes back as ALEAUD or STATUS (hub.adapters.erp.idoc_http_in). Sending
again is safe: DEBMAS is a whole customer under his own number, so the same IDoc twice is one customer with the same values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.adapters.erp.idoc_message import EnvelopeSettings, prepared
from hub.adapters.settings import read_table, wrong
from hub.codecs.sap import idoc_xml
from hub.config import option
from hub.domain.errors import HubError, Refused, Unreadable
from hub.domain.ports import Delivered, Manifest, Outbound
from hub.transport.http import HttpClient, HttpSettings, failure

MANIFEST = Manifest(
    name="erp.idoc_http_out", title="ERP: patients as SAP customers, IDocs by HTTP", direction="out", system="erp",
    protocol="SAP IDoc / XML-HTTP", handles=("patient.created", "patient.updated"),
)  # fmt: skip
PEER = "the ERP"
XML = "text/xml; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(EnvelopeSettings, HttpSettings):
    """SAP's IDoc service."""

    sap_client: str = option(
        "", doc="the client (Mandant) that the address is asked for, three digits; default: the service's own"
    )

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        EnvelopeSettings.__post_init__(self)
        if self.sap_client and not re.fullmatch(r"\d{3}", self.sap_client):
            raise wrong('"sap_client" is no client', 'write three digits: "100"')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


class IdocHttp:
    """Thread-safe."""

    resend_is_safe = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = f"?sap-client={settings.sap_client}" if settings.sap_client else ""
        self._http = HttpClient(settings, peer=PEER)

    def send(self, message: Outbound) -> Delivered:
        made = prepared(message, self._settings)
        if isinstance(made, Delivered):
            return made
        try:
            body = idoc_xml.write([made.idoc])
        except Unreadable as error:
            raise Refused(error.reason, code=error.code) from None
        answer = self._http.write("POST", self._path, headers={"Content-Type": XML}, body=body)
        if answer.status != 200:
            raise failure(answer, peer=PEER, writing=True)
        return made.delivered(body, answer.body, "200", self._settings)

    def find(self, message: Outbound) -> Delivered | None:  # noqa: ARG002 - the port's signature
        """Never asked: `resend_is_safe`."""
        return None

    def ping(self) -> str:
        """OPTIONS changes nothing (RFC 9110 §9.3.7); any answer of HTTP is an answer."""
        try:
            return f"answers OPTIONS with {self._http.read('OPTIONS', '').status}"
        except HubError as error:
            error.sent = b""
            raise

    def close(self) -> None:
        self._http.close()


def build(settings: Settings) -> IdocHttp:
    """The channel's target. Raises Misconfigured for TLS files that cannot be used; connects only when it sends."""
    return IdocHttp(settings)
