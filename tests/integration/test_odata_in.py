"""An SAP system of npm's (CAP, OData V2, ETags, CSRF, its own paging) is asked for what changed: partners, bills, payments."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.adapters.erp import odata_in
from hub.bootstrap import channels
from hub.bootstrap.load import asked
from hub.bootstrap.poll import Poller
from hub.cli import checks
from hub.domain.errors import Misconfigured
from tests import servers
from tests.hub_kit import Kit, adt, make_kit
from tests.sap_kit import Clerk

PARTNERS, BILLS, ITEMS = "API_BUSINESS_PARTNER", "API_BILLING_DOCUMENT_SRV", "API_OPLACCTGDOCITEMCUBE_SRV"
BILL, ITEM = f"{BILLS}/A_BillingDocument", f"{ITEMS}/A_OperationalAcctgDocItemCube"
NAMES = ("홍길동", "똠방각하", "펲시콜라", "뷁", "남궁민수", "洪吉洞")
CHANNEL = """
[channels.{name}]
adapter = "erp.odata_in"
system = "erp"
url = "{url}"
set = "{set}"
identification_type = "ZMRN"
timezone = "UTC"
page = {page}
since = "{since}"
overlap_seconds = 1
"""
OUT = """
[channels.erp-out]
adapter = "erp.business_partner"
system = "erp"
url = "{url}"
identification_type = "ZMRN"
create = true
roles = ["FLCU01"]
"""


def now() -> str:
    return f"/Date({int(time.time() * 1000)}+0000)/"


def today() -> str:
    return f"/Date({int(time.time() // 86400 * 86_400_000)})/"


class Sap:
    """The server as its clerks see it, with numbers of this test's own: it is one for all."""

    def __init__(self, cap: servers.Cap) -> None:
        self.cap = cap
        self.clerk = Clerk(cap)
        self.mark = f"{secrets.randbelow(10**6):06d}"

    def number(self, n: int) -> str:
        return f"P3{self.mark}{n:03d}"

    def document(self, n: int) -> str:
        return f"9{self.mark}{n:03d}"

    def partner(self, n: int, name: str = "홍길동", **more: Any) -> str:
        body = {
            "BusinessPartnerCategory": "1", "LastName": name, "IsMale": True,
            "to_BuPaIdentification": [{"BPIdentificationType": "ZMRN", "BPIdentificationNumber": self.number(n)}],
            "to_BusinessPartnerRole": [{"BusinessPartnerRole": "FLCU01"}],
            "to_BusinessPartnerAddress": [{"Country": "KR", "to_MobilePhoneNumber": [{"PhoneNumber": "010-1234-5678"}]}], **more,
        }  # fmt: skip
        return str(self.clerk.create(f"{PARTNERS}/A_BusinessPartner", body)["BusinessPartner"])

    def bill(self, n: int, customer: str, kind: str = "F2", category: str = "M", **more: Any) -> None:
        lines = [{"BillingDocumentItem": "10", "Material": "MRI", "NetAmount": "12000", "TransactionCurrency": "KRW"}]
        body = {
            "BillingDocument": self.document(n), "BillingDocumentType": kind, "SDDocumentCategory": category,
            "SoldToParty": customer,
            "TotalNetAmount": "12000", "TaxAmount": "0", "TransactionCurrency": "KRW", "LastChangeDateTime": now(),
            "BillingDocumentDate": today(), "CompanyCode": "1000", "FiscalYear": "2026", "AccountingDocument": self.document(n),
            "to_Item": lines, **more,
        }  # fmt: skip
        self.clerk.create(BILL, body)

    def line(self, document: str, kind: str, customer: str, amount: str, **more: Any) -> None:
        body = {
            "CompanyCode": "1000", "FiscalYear": "2026", "AccountingDocument": document, "AccountingDocumentItem": "1",
            "AccountingDocumentType": kind, "FinancialAccountType": "D", "Customer": customer, "TransactionCurrency": "KRW",
            "AmountInTransactionCurrency": amount, "DebitCreditCode": "H" if amount.startswith("-") else "S",
            "PostingDate": today(), "AccountingDocumentCreationDate": today(), **more,
        }  # fmt: skip
        self.clerk.create(ITEM, body)

    def channels(self, page: int = 3) -> str:
        sets = {"partners": (PARTNERS, "A_BusinessPartner"), "bills": (BILLS, "A_BillingDocument"),
                "items": (ITEMS, "A_OperationalAcctgDocItemCube")}  # fmt: skip
        since = datetime.now(UTC).strftime("%Y-%m-%d")
        return "".join(
            CHANNEL.format(name=name, url=self.cap.service(service), set=entity_set, page=page, since=since)
            for name, (service, entity_set) in sets.items()
        )


@pytest.fixture
def sap(cap: servers.Cap) -> Iterator[Sap]:
    made = Sap(cap)
    yield made
    made.clerk.close()


@contextmanager
def paging(page: int) -> Iterator[servers.Cap]:
    """A server of its own."""
    try:
        server = servers.Cap(page=page).start()
    except servers.NotInstalledError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.stop()


class House:
    """A hub with three channels that ask SAP, and one that writes there."""

    def __init__(self, folder: Path, url: str, sap: Sap, page: int = 3) -> None:
        self.kit: Kit = make_kit(folder, url, more=sap.channels(page) + OUT.format(url=sap.cap.service()))
        config = self.kit.hub.config
        self.out = self.kit.hub.targets()["erp-out"]
        self.out.target = channels.build_target(config.channels["erp-out"])
        self.pollers = {
            name: Poller(self.kit.hub, config.channels[name], lambda: None) for name in ("partners", "bills", "items")
        }

    def poll(self, *names: str) -> None:
        for name in names or tuple(self.pollers):
            self.pollers[name].round()
        self.kit.apply()
        assert self.kit.rows("SELECT text FROM alert WHERE cleared_at IS NULL") == []

    def changes(self, number: str) -> list[set[str]]:
        """What changed of a patient, change by change."""
        sql = "SELECT fields FROM change WHERE resource_id = ? ORDER BY id"
        return [set(orjson.loads(fields)) for (fields,) in self.kit.rows(sql, self.kit.patient_id(number))]

    def bills(self, number: str) -> dict[str, dict[str, Any]]:
        """A patient's, by the numbers of their billing documents."""
        found = [(name, one) for one in self.kit.owned(number, "Invoice") for name in one["identifier"]]
        return {name["value"]: one for name, one in found if name["assigner"] == "HOSP:billing" and "type" not in name}

    def mine(self, sap: Sap) -> int:
        """Messages of this test's patients."""
        return int(
            self.kit.rows("SELECT count(*) FROM message WHERE direction = 'in' AND patient_no LIKE ?", f"P3{sap.mark}%")[0][0]
        )

    def close(self) -> None:
        for poller in self.pollers.values():
            poller._close()
        self.out.target.close()
        self.kit.close()


@pytest.fixture
def house(tmp_path: Path, sap: Sap) -> Iterator[House]:
    made = House(tmp_path, "sqlite:///hub.db", sap)
    yield made
    made.close()


@pytest.fixture
def either(tmp_path: Path, database_url: str, sap: Sap) -> Iterator[House]:
    """On each of the hub's databases."""
    made = House(tmp_path, database_url, sap)
    yield made
    made.close()


def test_partners_bills_and_payments_become_the_patients(either: House, sap: Sap) -> None:
    house = either
    for n, name in enumerate(NAMES):
        sap.partner(n, name)
    customer = sap.partner(10)
    sap.bill(1, customer)
    sap.bill(2, customer, "G2", "O")
    sap.line(sap.document(1), "RV", customer, "12000", BillingDocument=sap.document(1))
    house.poll()
    for n, name in enumerate(NAMES):
        assert house.kit.patient(sap.number(n))["name"][0]["text"] == name
    number = sap.number(10)
    assert house.kit.patient(number)["telecom"][0]["value"] == "+821012345678"
    bills = house.bills(number)
    assert {value: (one["status"], one["total"]["value"]) for value, one in bills.items()} == {
        sap.document(1): ("issued", "12000"), sap.document(2): ("issued", "-12000"),
    }  # fmt: skip
    assert len(house.kit.owned(number, "ChargeItem")) == 2
    sap.clerk.change(
        f"{ITEM}(CompanyCode='1000',FiscalYear='2026',AccountingDocument='{sap.document(1)}',AccountingDocumentItem='1')",
        {"ClearingAccountingDocument": f"14{sap.mark}01", "ClearingCreationDate": today()},
    )
    reference = {"InvoiceReference": sap.document(1), "InvoiceReferenceFiscalYear": "2026"}
    sap.line(f"14{sap.mark}01", "DZ", customer, "-12000", **reference)
    sap.bill(3, customer, "S2", "S", CancelledBillingDocument=sap.document(2))
    house.poll()
    bills = house.bills(number)
    assert {value: one["status"] for value, one in bills.items()} == {sap.document(1): "balanced", sap.document(2): "cancelled"}
    [payment] = house.kit.owned(number, "Payment")
    assert payment["amount"] == {"value": "12000", "currency": "KRW"}
    [(invoice_id,)] = house.kit.rows(
        "SELECT resource_id FROM identifier WHERE kind = 'Invoice' AND assigner = 'HOSP:billing' AND value = ?", sap.document(1)
    )
    assert payment["invoice"]["reference"] == f"Invoice/{invoice_id}"
    told = house.changes(number)
    house.poll()
    assert house.changes(number) == told


def test_what_the_hub_wrote_does_not_come_back_as_a_change(house: House, sap: Sap) -> None:
    number = sap.number(1)
    house.kit.tell(adt("A04", number, name="남궁^민수", phone="010-1234-5678"))
    partner = house.kit.rows("SELECT peer_id FROM link_key WHERE channel = 'erp-out'")
    assert len(partner) == 1, "SAP has the patient now"
    told = house.changes(number)
    house.poll()
    assert house.mine(sap) == 2  # the ADT, and the partner as SAP has him now
    assert house.changes(number) == [*told, {"identifier"}]  # his numbers in SAP, and nothing of what the hub wrote there
    house.kit.tell(adt("A08", number, name="남궁^민수", phone="010-9876-5432", at="20261122100000"))
    told = house.changes(number)
    assert "telecom.mobile" in told[-1]
    house.poll()
    house.kit.deliver()
    assert house.mine(sap) == 4
    assert house.changes(number) == told
    assert house.kit.patient(number)["telecom"][0]["value"] == "+821098765432"


def test_what_a_clerk_changes_in_sap_is_a_change_and_does_not_go_back_there(house: House, sap: Sap) -> None:
    number = sap.number(1)
    house.kit.tell(adt("A04", number, name="홍^길동", phone="010-1234-5678"))
    house.poll()
    [(partner,)] = house.kit.rows("SELECT peer_id FROM link_key WHERE channel = 'erp-out'")
    [address] = sap.clerk.get(f"{PARTNERS}/A_BusinessPartner('{partner}')/to_BusinessPartnerAddress")["results"]
    key = f"AddressID='{address['AddressID']}',Person='',OrdinalNumber='1'"
    sap.clerk.change(f"{PARTNERS}/A_AddressPhoneNumber({key})", {"PhoneNumber": "010-5555-6666"})
    before = house.kit.rows("SELECT count(*) FROM message WHERE direction = 'out' AND channel = 'erp-out'")
    house.poll()
    assert house.kit.patient(number)["telecom"][0]["value"] == "+821055556666"
    assert "telecom.mobile" in house.changes(number)[-1]
    house.kit.deliver()
    assert house.kit.rows("SELECT count(*) FROM message WHERE direction = 'out' AND channel = 'erp-out'") == before


def test_a_server_that_pages_by_itself_is_read_to_the_end(tmp_path: Path) -> None:
    """Two entities a page, whatever is asked for: `__next` says that there is more, and names a host that nobody follows."""
    with paging(2) as server:
        sap = Sap(server)
        for n in range(7):
            sap.partner(n)
        house = House(tmp_path, "sqlite:///hub.db", sap, page=100)
        house.poll("partners")
        assert house.mine(sap) == 7
        house.poll("partners")
        assert house.mine(sap) == 7
        house.close()
        sap.clerk.close()


def test_one_patient_is_fetched_now_and_a_set_is_counted(house: House, sap: Sap) -> None:
    sap.partner(5, "펲시콜라")
    with asked(house.kit.hub, "partners", "patient") as source:
        assert source.request(sap.number(5)) == 1
        assert source.request(sap.number(6)) == 0
        assert isinstance(source.source, odata_in.ODataIn)
        assert (source.source.total("Patient", ()) or 0) >= 1
    house.kit.apply()
    assert house.kit.patient(sap.number(5))["name"][0]["text"] == "펲시콜라"


def test_the_servers_own_metadata_has_all_that_the_channels_need(house: House) -> None:
    found = checks.descriptions(house.kit.hub.config, ask=True)
    assert all(one.good for one in found), [one.text for one in found]
    assert {one.what for one in found} >= {"channel partners", "channel bills", "channel items"}
    assert not [one.text for one in found if checks.WARNING in one.text]
    assert {one.what for one in checks.targets(house.kit.hub.config) if one.good} >= {
        "source partners",
        "source bills",
        "source items",
    }


def test_a_run_against_a_service_that_lacks_what_is_asked_says_so(tmp_path: Path, cap: servers.Cap) -> None:
    table = {
        "url": cap.service(ITEMS),
        "set": "A_OperationalAcctgDocItemCube",
        "changed_on": ["NoSuchDate"],
        "since": "2026-01-01",
    }
    source = odata_in.build(odata_in.Settings.from_table(table))
    found = source.differences(ask=True)
    assert found is not None
    assert [one.where for one in found if not one.works] == ["A_OperationalAcctgDocItemCube/NoSuchDate"]
    with pytest.raises(Misconfigured, match="hub check --ping names what is missing"):
        list(source._pages.walk(source._since("2026-01-01")))
    source.close()
