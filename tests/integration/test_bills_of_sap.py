"""A bill as SAP tells it: the document, its lines in the account and what was sent of it, in any order: one bill, one status."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.bootstrap.channels import RowMapper
from hub.domain.ports import Received
from hub.mapping import Context
from hub.sync.polled import row_body
from tests.hub_kit import Kit, make_kit

DOORS = ("sap-bills", "sap-accounts", "sap-idocs")
CHANNELS = "".join(f'[channels.{name}]\nadapter = "ocs.hl7_in"\nsystem = "erp"\nport = 0\n' for name in DOORS)
BILL = {
    "BillingDocument": "90000001", "SDDocumentCategory": "M", "BillingDocumentType": "F2", "SoldToParty": "500001",
    "TransactionCurrency": "KRW", "TotalGrossAmount": "120000", "BillingDocumentDate": "/Date(1795219200000)/",
    "BillingDocumentIsCancelled": False, "CompanyCode": "1000", "FiscalYear": "2026", "AccountingDocument": "1800000001",
    "to_Item": [{"BillingDocument": "90000001", "BillingDocumentItem": "10", "NetAmount": "120000",
                 "TransactionCurrency": "KRW"}],
}  # fmt: skip
CANCELLED = BILL | {"BillingDocumentIsCancelled": True}
SENT = {
    "E1EDK01": {"BSART": "INVO", "CURCY": "KRW", "BELNR": "0090000001"}, "E1EDK02_009": {"BELNR": "0090000001"},
    "E1EDS01_011": {"SUMME": "120000", "CURCY": "KRW"}, "E1EDP01": [{"POSEX": "000010", "NETWR": "120000", "CURCY": "KRW"}],
    "PATIENT_NUMBER": "00012345",
}  # fmt: skip
SENT_AGAIN = SENT | {"E1EDK03_026": {"DATUM": "20261121"}}


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", more=CHANNELS)
    inbound = dict(made.hub._inbound)
    for name in DOORS:
        inbound[name] = replace(inbound[name], mapper=RowMapper(made.hub.config.channels[name], made.hub.maps))
    made.hub._inbound = inbound
    yield made
    made.close()


_count = itertools.count(1)


def tell(kit: Kit, *told: dict[str, Any]) -> None:
    """Rows one after the other, each by its door."""
    for columns in told:
        door, event = _door(columns)
        patient = kit.hub.maps.row_patient(event, columns, Context("HOSP", "erp", "Asia/Seoul"))
        message = Received(door, row_body(event, columns), "", f"R{next(_count)}", event, patient, None)
        message.answer_owed = False
        kit.intake.store([message])
        kit.apply()


def _door(columns: dict[str, Any]) -> tuple[str, str]:
    if "E1EDK01" in columns:
        return "sap-idocs", "idoc.INVOIC"
    if "AccountingDocumentItem" in columns:
        return "sap-accounts", "A_OperationalAcctgDocItemCube"
    return "sap-bills", "A_BillingDocument"


def line(item: str, type_: str = "RV", **more: Any) -> dict[str, Any]:
    return {
        "CompanyCode": "1000", "FiscalYear": "2026", "AccountingDocument": "1800000001", "AccountingDocumentItem": item,
        "AccountingDocumentType": type_, "FinancialAccountType": "D", "DebitCreditCode": "S", "Customer": "500001",
        "AmountInTransactionCurrency": "60000", "TransactionCurrency": "KRW", "BillingDocument": "90000001",
        "ClearingAccountingDocument": "", "IsReversal": False, "IsReversed": False, **more,
    }  # fmt: skip


def cleared(item: str) -> dict[str, Any]:
    return line(item, ClearingAccountingDocument="1400000001")


def of_kind(kit: Kit, kind: str) -> list[dict[str, Any]]:
    return [orjson.loads(data) for (data,) in kit.rows(f"SELECT data FROM resource WHERE kind = '{kind}'")]


def status(kit: Kit) -> str:
    [invoice] = of_kind(kit, "Invoice")
    return str(invoice["status"])


@pytest.mark.parametrize("first", [(SENT, BILL), (BILL, SENT), (BILL,)], ids=["idoc", "odata", "late"])
def test_what_is_sent_of_a_cancelled_bill_does_not_reopen_it(kit: Kit, first: tuple[dict[str, Any], ...]) -> None:
    tell(kit, *first)
    assert status(kit) == "issued"
    tell(kit, CANCELLED, SENT_AGAIN)
    assert status(kit) == "cancelled"
    [invoice], [charge] = of_kind(kit, "Invoice"), of_kind(kit, "ChargeItem")
    assert invoice["date"] == "2026-11-21"
    assert {"assigner": "HOSP:billing", "value": "90000001"} in invoice["identifier"]
    assert len(invoice["identifier"]) == 1
    assert charge["identifier"] == [{"assigner": "HOSP:billing", "value": "90000001/10"}]
    assert charge["invoice"]["reference"].startswith("Invoice/")


def test_a_bill_that_is_only_sent_is_issued(kit: Kit) -> None:
    tell(kit, SENT)
    assert status(kit) == "issued"


def test_a_bill_that_is_read_after_its_cleared_line_is_balanced(kit: Kit) -> None:
    tell(kit, cleared("1"), BILL, SENT)
    assert status(kit) == "balanced"
    tell(kit, CANCELLED)
    assert status(kit) == "cancelled"


@pytest.mark.parametrize("before", [(), (BILL,)], ids=["account", "bill"])
def test_instalments_balance_their_invoice_when_all_of_them_are_cleared(kit: Kit, before: tuple[dict[str, Any], ...]) -> None:
    said = []
    tell(kit, *before, line("1"), line("2"))
    for told in (cleared("1"), cleared("2"), line("1")):  # the last: a clearing that was reset
        tell(kit, told)
        said.append(status(kit))
    assert said == ["issued", "balanced", "issued"]


def test_a_payment_that_was_reversed_leaves_nothing(kit: Kit) -> None:
    tell(
        kit, line("1", "DZ", DebitCreditCode="H", IsReversed=True),
        line("1", "DZ", AccountingDocument="1800000002", IsReversal=True),
    )  # fmt: skip
    payments = of_kind(kit, "Payment")
    assert [one["status"] for one in payments] == ["cancelled"]
    assert sum(Decimal(one["amount"]["value"]) for one in payments if one["status"] == "active") == 0
