"""The back office of the hospital: SAP (OData services of npm's) and the PACS, as `back` of tests.e2e.doors.Hospital.

with Hospital(…, back=BackOffice(cap)) as house:
    house.back.partner(number)
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from hub.codecs.sap import idoc_flat
from hub.codecs.sap.idoc import Idoc
from hub.simulator import idoc
from hub.simulator.demo.api import Api
from hub.simulator.hl7_peer import Hl7Sender
from hub.simulator.idoc import Customers
from hub.simulator.pacs_hl7 import ImagingOrder, PacsHl7Peer
from tests import sap_kit, servers
from tests.e2e.doors import HOSPITAL, HOST
from tests.e2e.modality import Modality

PARTNERS, BILLING = "API_BUSINESS_PARTNER", "API_BILLING_DOCUMENT_SRV"
ITEMS = "API_OPLACCTGDOCITEMCUBE_SRV"
LINES = f"{ITEMS}/A_OperationalAcctgDocItemCube"
COMPANY = "1000"
FLAT = idoc_flat.Format.of("utf-8")


class BackOffice:
    """Its people work from many threads at once."""

    def __init__(self, cap: servers.Cap, orthanc: servers.Orthanc) -> None:
        self.cap, self.orthanc = cap, orthanc
        self._clerks = threading.local()
        self._at_work: list[sap_kit.Clerk] = []
        self._reports, self._listener, self._worklist = (servers.free_port() for _ in range(3))
        self.desk = PacsHl7Peer()  # takes orders
        self.radiologist = Hl7Sender(HOST, self._reports, application="PACS", facility="RADIOLOGY")
        archive = orthanc.aet, orthanc.port
        self.modality = Modality("CT01", ("HUB", self._worklist), ("HUB", self._listener), archive)
        self.desk.start()
        orthanc.knows("HUB")

    # -- as a part of the hospital -------------------------------------------------------------------------------------

    def piece(self) -> str:
        text = (HOSPITAL / "back-office.toml").read_text(encoding="utf-8")
        addresses = {
            "http://127.0.0.1:4004": self.cap.url,
            "http://127.0.0.1:8042": self.orthanc.url,
            "port = 4242": f"port = {self.orthanc.port}",
            "port = 2577": f"port = {self.desk.port}",
            "port = 2578": f"port = {self._reports}",
            "port = 11112": f"port = {self._listener}",
            "port = 11113": f"port = {self._worklist}",
        }
        for there, here in addresses.items():
            assert there in text, there
            text = text.replace(there, here)
        return text

    def furnish(self, folder: Path) -> None:
        self.foundation = Foundation(folder / "drop/debmas", folder / "drop/idoc")

    def start(self, api: Api) -> None:
        self.radiologist.start()
        self.foundation.start()

    def stop(self) -> None:
        self.foundation.stop()
        self.radiologist.stop()
        self.desk.stop()
        for clerk in self._at_work:
            clerk.close()

    # -- SAP -----------------------------------------------------------------------------------------------------------

    @property
    def clerk(self) -> sap_kit.Clerk:
        """Somebody at SAP, one a thread."""
        found: sap_kit.Clerk | None = getattr(self._clerks, "clerk", None)
        if found is None:
            found = self._clerks.clerk = sap_kit.Clerk(self.cap)
            self._at_work.append(found)
        return found

    def partners(self, number: str) -> list[str]:
        """The business partners who bear a patient number."""
        wanted = f"BPIdentificationType eq 'ZMRN' and BPIdentificationNumber eq '{number}'"
        found = _again(lambda: self.clerk.get(f"{PARTNERS}/A_BuPaIdentification", filter=wanted))
        return [one["BusinessPartner"] for one in found["results"]]

    def partner(self, number: str) -> dict[str, Any]:
        """The one business partner who bears a patient number, with his addresses and phones."""
        [partner] = self.partners(number)
        inner = "to_BusinessPartnerAddress"
        wanted = f"{inner}/to_MobilePhoneNumber,{inner}/to_PhoneNumber,to_BusinessPartnerRole"
        return dict(_again(lambda: self.clerk.get(f"{PARTNERS}/A_BusinessPartner('{partner}')", expand=wanted)))

    def mobile(self, number: str) -> str:
        """His one mobile number as SAP has it; "" where it has none."""
        [address] = self.partner(number)["to_BusinessPartnerAddress"]["results"]
        found = address["to_MobilePhoneNumber"]["results"]
        assert len(found) < 2, f"{len(found)} mobile numbers"
        return str(found[0]["PhoneNumber"]) if found else ""

    def bill(self, number: str, customer: str, won: int, at: datetime) -> None:
        """A billing document of one line, and its open line in the customer's account."""
        day = _odata_day(at)
        self._enter(f"{BILLING}/A_BillingDocument", f"'{number}'", {
            "BillingDocument": number, "SDDocumentCategory": "M", "BillingDocumentType": "F2", "BillingDocumentDate": day,
            "CreationDate": day, "LastChangeDateTime": _odata_instant(datetime.now(UTC)), "SoldToParty": customer,
            "PayerParty": customer, "TotalNetAmount": f"{won}.000", "TaxAmount": "0.000", "TransactionCurrency": "KRW",
            "CompanyCode": COMPANY, "FiscalYear": f"{at:%Y}", "AccountingDocument": number, "BillingDocumentIsCancelled": False,
            "to_Item": [{
                "BillingDocumentItem": "10", "BillingDocumentItemText": "흉부 CT 뷁", "Material": "CT0101",
                "BillingQuantity": "1.000", "NetAmount": f"{won}.000", "TaxAmount": "0.000", "TransactionCurrency": "KRW",
            }],
        })  # fmt: skip
        self._enter(LINES, _key_of(number, at), _line(number, customer, "RV", "S", won, at))

    def pay(self, number: str, receipt: str, customer: str, won: int, at: datetime) -> None:
        """The customer pays a bill: a line that is credited to him, and the bill's line is cleared by it."""
        paid = _line(receipt, customer, "DZ", "H", -won, at) | {"PaymentMethod": "C", "BillingDocument": number}
        self._enter(LINES, _key_of(receipt, at), paid)
        cleared = {"ClearingAccountingDocument": receipt, "ClearingDocFiscalYear": f"{at:%Y}", "ClearingDate": _odata_day(at)}
        _again(lambda: self.clerk.change(f"{LINES}({_key_of(number, at)})", cleared | {"IsCleared": "X"}))

    def _enter(self, path: str, key: str, entity: dict[str, Any]) -> None:
        """Once: before it is entered again, somebody looks whether it is there."""

        def entered() -> None:
            try:
                self.clerk.create(path, entity)
            except httpx.HTTPStatusError:
                self.clerk.get(f"{path}({key})")

        _again(entered)

    # -- the PACS ------------------------------------------------------------------------------------------------------

    def order_of(self, number: str) -> ImagingOrder | None:
        """The one order that the PACS's desk has of a patient."""
        with self.desk.lock:
            found = [one for one in self.desk.orders.values() if one.patient == number]
        assert len(found) < 2, f"{len(found)} orders of one"
        return found[0] if found else None


class Foundation:
    """An older SAP with a file port: posts the customers that it is sent, says of each what became of it, and sends bills."""

    def __init__(self, comes: Path, goes: Path) -> None:
        self._comes, self._goes = comes, goes
        for folder in (comes, goes):
            folder.mkdir(parents=True)
        self.customers = Customers()
        self._numbers = itertools.count(1)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, daemon=True, name="Foundation")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def bill(self, number: str, customer: str, won: int) -> None:
        """INVOIC of one item."""
        self._send(idoc.bill(number, self._docnum(), customer.zfill(10), str(won)))

    def of(self, number: str) -> dict[str, str]:
        """What it knows of a customer."""
        with self._lock:
            return dict(self.customers.table.get(number.zfill(10), {}))

    def _docnum(self) -> str:
        with self._lock:
            return f"{next(self._numbers):016d}"

    def _send(self, one: Idoc) -> None:
        being = self._goes / f"{one['DOCNUM']}.idoc.tmp"
        being.write_bytes(idoc_flat.write(one, FLAT))
        being.rename(being.with_suffix(""))

    def _work(self) -> None:
        while not self._stopped.wait(0.1):
            for path in sorted(self._comes.glob("*.txt")):
                body = path.read_bytes()
                with self._lock:
                    answers = [self.customers.post(idoc_flat.read(one.body, FLAT)) for one in idoc_flat.pieces([body], FLAT)]
                path.unlink()
                for answer in answers:
                    self._send(answer)


def _again(act: Callable[[], Any]) -> Any:
    """What a busy SAP does not answer (502 to 504) is asked again, by people as by the hub."""
    for _ in range(20):
        try:
            return act()
        except (httpx.HTTPStatusError, httpx.TransportError):
            time.sleep(0.5)
    return act()


def _key_of(document: str, at: datetime) -> str:
    return f"CompanyCode='{COMPANY}',FiscalYear='{at:%Y}',AccountingDocument='{document}',AccountingDocumentItem='1'"


def _line(document: str, customer: str, kind: str, side: str, won: int, at: datetime) -> dict[str, Any]:
    day = _odata_day(at)
    return {
        "CompanyCode": COMPANY, "FiscalYear": f"{at:%Y}", "AccountingDocument": document, "AccountingDocumentItem": "1",
        "AccountingDocumentType": kind, "FinancialAccountType": "D", "DebitCreditCode": side, "PostingDate": day,
        "DocumentDate": day, "Customer": customer, "AmountInTransactionCurrency": f"{won}.000", "TransactionCurrency": "KRW",
        "AmountInCompanyCodeCurrency": f"{won}.000", "CompanyCodeCurrency": "KRW",
        "LastChangeDate": _odata_day(datetime.now(UTC)), "AccountingDocumentCreationDate": day,
    } | ({"BillingDocument": document} if kind == "RV" else {})  # fmt: skip


def _odata_day(at: datetime) -> str:
    """Edm.DateTime of a day (OData V2 JSON)."""
    return f"/Date({int(datetime(at.year, at.month, at.day, tzinfo=UTC).timestamp()) * 1000})/"


def _odata_instant(at: datetime) -> str:
    """Edm.DateTimeOffset."""
    return f"/Date({int(at.timestamp() * 1000)}+0000)/"
