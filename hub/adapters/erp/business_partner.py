"""ERP, outbound: a canonical patient's changes into SAP's business partner (OData V2, API_BUSINESS_PARTNER).

find (by the number learnt earlier, else by identification number) -> read with address, phones, e-mails -> write what
differs, all of it in one change set, each entity with the ETag read. Nothing differs: nothing is written. A partner that SAP
does not have is created in one request, after a search. Many patients go in one `$batch` (upserts.py).

Why sending again is safe: every attempt reads first. A change that arrived leaves nothing to write; a partner whose
create lost its answer is found by its identification number, at once and again by the next attempt. SAP itself keeps no
such number unique, so a create that SAP finishes only after the next attempt has searched would stand twice: the waits
between attempts (retry.base_seconds) cover that, and two partners with one number are refused as ambiguous from then on.
"""

from __future__ import annotations

from collections.abc import Sequence

from hub.adapters.batches import BatchLines
from hub.adapters.erp import described
from hub.adapters.erp.odata_client import ODataClient
from hub.adapters.erp.partner_wants import wants
from hub.adapters.erp.settings import Settings
from hub.adapters.erp.upserts import Upserts
from hub.domain.errors import HubError
from hub.domain.ports import Delivered, Difference, Manifest, Outbound, Target

__all__ = ["MANIFEST", "BusinessPartner", "Settings", "build"]

MANIFEST = Manifest(
    name="erp.business_partner",
    title="ERP: SAP business partner",
    direction="out",
    system="erp",
    protocol="OData V2, API_BUSINESS_PARTNER",
    handles=("patient.created", "patient.updated", "patient.merged", "patient.unmerged"),
)
PEER = "the ERP"


def build(settings: Settings) -> Target:
    """The channel, ready to send; nothing is connected yet."""
    return BusinessPartner(settings)


class BusinessPartner:
    """`hub.domain.ports.Target` and `ManyAtOnce` for one SAP system."""

    resend_is_safe = True  # see the module's docstring

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sap = ODataClient(settings, peer=PEER, client=settings.sap_client)
        self._upserts = Upserts(settings, self._sap)
        self.at_once = settings.batch * settings.batches

    def close(self) -> None:
        self._sap.close()

    def ping(self) -> str:
        """Fetches a CSRF token: shows that address, user and session work, changes nothing."""
        self._sap.renew()
        return "OData V2, session and CSRF token given"

    def differences(self, *, ask: bool) -> Sequence[Difference] | None:
        """What of the service's $metadata is missing or different; see hub.domain.ports.Described."""
        return described.differences(wants(self._settings), self._settings.metadata, self._sap.metadata, ask=ask)

    def send(self, message: Outbound) -> Delivered:
        """Brings the message's fields into SAP. See hub.domain.ports.Target.send."""
        (came,) = self._upserts.bring([message])
        if isinstance(came, HubError):
            raise came
        return came

    def send_many(self, messages: Sequence[Outbound]) -> list[Delivered | HubError]:
        """The same for many patients in one `$batch`, each with what came of it alone."""
        return self._upserts.bring(messages)

    def lines(self, most: int) -> BatchLines:
        """See hub.domain.ports.ManyAtOnce."""
        size = max(1, min(self._settings.batch, most))
        return BatchLines(self.send_many, size=size, at_once=self._settings.batches, name="erp")

    def find(self, message: Outbound) -> Delivered | None:
        """Whether what `message` says stands in SAP already."""
        return self._upserts.find(message)
