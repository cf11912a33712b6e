"""The back office of the demo's hospital: the PACS (order desk, worklist, archive, modality) and SAP's books.

Its channels poll every fifth of a second, so that the demo is over in a minute; a hospital's poll every half a minute.
"""

from __future__ import annotations

from collections.abc import Callable

from hub.simulator.erp import ErpPeer
from hub.simulator.erp_data import Entity
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.imaging import STATION
from hub.simulator.modality import Modality
from hub.simulator.pacs import PacsPeer
from hub.simulator.pacs_hl7 import PacsHl7Peer
from hub.simulator.sap_books import SapBooks

HOST = "127.0.0.1"
SENDER = "emr-push"  # the token by which the EMR sends
CHANNELS = """
[channels.emr-push]
adapter = "emr.fhir_in"
system = "emr"
tokens = ["{sender}"]
identifier_systems = {{ HOSP = "{system}" }}

[channels.pacs-out]
adapter = "pacs.hl7_out"
system = "pacs"
host = "127.0.0.1"
port = {desk}
assigner = "HOSP"
retry = {{ base_seconds = 0.3, max_seconds = 1.0 }}

[channels.pacs-reports]
adapter = "pacs.hl7_in"
system = "pacs"
port = {reports}

[channels.pacs-worklist]
adapter = "pacs.worklist"
system = "pacs"
port = {worklist}
peers = {{ {station} = "127.0.0.1" }}

[channels.pacs-dicom]
adapter = "pacs.dicom_in"
system = "pacs"
port = {dicom}
peers = {{ {station} = "127.0.0.1" }}

[channels.pacs-studies]
adapter = "pacs.dicom_poll"
system = "pacs"
host = "127.0.0.1"
port = {archive}
called_ae = "PACS"
poll_seconds = 0.2

[channels.erp-customers]
adapter = "erp.odata_in"
system = "erp"
url = "{books}/API_BUSINESS_PARTNER"
set = "A_BusinessPartner"
identification_type = "ZMRN"
poll_seconds = 0.2

[channels.erp-bills]
adapter = "erp.odata_in"
system = "erp"
url = "{books}/API_BILLING_DOCUMENT_SRV"
set = "A_BillingDocument"
poll_seconds = 0.2

[channels.erp-payments]
adapter = "erp.odata_in"
system = "erp"
url = "{books}/API_OPLACCTGDOCITEMCUBE_SRV"
set = "A_OperationalAcctgDocItemCube"
poll_seconds = 0.2
"""


class BackOffice:
    """Peers that are not started yet; `free_port` gives each its port."""

    def __init__(self, free_port: Callable[[], int]) -> None:
        self.reports, self.worklist, self.dicom = free_port(), free_port(), free_port()
        self.desk = PacsHl7Peer(port=free_port())
        self.archive = PacsPeer(port=free_port())
        self.books = SapBooks(port=free_port())
        self.radiologist = Hl7Sender(HOST, self.reports, application="PACS", facility="RADIOLOGY")

    def channels(self, system: str) -> str:
        """Its piece of hub.toml. `system`: how the EMR writes the hospital's patient numbers."""
        return CHANNELS.format(
            sender=SENDER, system=system, desk=self.desk.port, reports=self.reports, worklist=self.worklist, dicom=self.dicom,
            archive=self.archive.port, books=self.books.url, station=STATION,
        )  # fmt: skip

    def start(self) -> None:
        for peer in (self.desk, self.archive, self.books):
            peer.start()
        self.radiologist.start()

    def stop(self) -> None:
        self.radiologist.stop()
        for peer in (self.desk, self.archive, self.books):
            peer.stop()

    def follow(self, erp: ErpPeer) -> None:
        """SAP's partners are in its books: whoever gets one there is a customer here."""

        def changed(entity: Entity) -> None:
            customer = str(entity.get("BusinessPartner", ""))
            for partner, _, number in erp.data.tables["A_BuPaIdentification"]:
                if partner == customer:
                    self.books.know(number, customer)

        erp.on_change = changed

    def modality(self, port: int) -> Modality:
        """The CT, at the hub's worklist or at its storage."""
        return Modality(HOST, port, title=STATION)
