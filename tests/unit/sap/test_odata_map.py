"""SAP's entities through the shipped map: partners become patients, billing documents bills, lines of accounts payments."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from hub.codecs.hl7v2 import Delimiters
from hub.domain.facts import Fact, Key, Mapped
from hub.mapping import Context, MapSet, load_maps
from hub.mapping.functions import Reader, functions
from hub.mapping.times import BadValue

CONTEXT = Context("HOSP", "erp", "Asia/Seoul", 1_000)
DAY = "/Date(1795219200000)/"  # 2026-11-21


@cache
def maps() -> MapSet:
    return load_maps()


def mapped(event: str, row: dict[str, Any]) -> Mapped:
    return maps().map_row(event, row, CONTEXT)


def facts(event: str, row: dict[str, Any]) -> list[Fact]:
    found = mapped(event, row).facts
    assert all(isinstance(one, Fact) for one in found)
    return found  # type: ignore[return-value]


def partner(**more: Any) -> dict[str, Any]:
    address = {
        "AddressID": "7", "StreetName": "테헤란로 152", "HouseNumber": "", "CityName": "서울특별시",
        "District": "강남구", "PostalCode": "06236", "Region": "", "Country": "KR",
        "StreetSuffixName": "", "AdditionalStreetSuffixName": "",
        "to_MobilePhoneNumber": [{"PhoneNumber": "010-1234-5678", "DestinationLocationCountry": "KR"}],
        "to_PhoneNumber": [{"PhoneNumber": "02-555-0101", "PhoneNumberExtension": "12", "DestinationLocationCountry": "KR"}],
        "to_EmailAddress": [{"EmailAddress": "Gildong@Example.kr"}],
    }  # fmt: skip
    row = {
        "BusinessPartner": "1000001", "Customer": "0000500001", "hub_patient": "00012345",
        "LastName": "남궁", "FirstName": "민수", "BirthDate": "/Date(547084800000)/",
        "IsMale": True, "IsFemale": False, "IsSexUnknown": False,
        "CorrespondenceLanguage": "KO", "to_Customer": {"Customer": "500001"}, "to_BusinessPartnerAddress": [address],
    }  # fmt: skip
    return row | more


def test_a_partner_is_the_patient_of_his_identification_number() -> None:
    [fact] = facts("A_BusinessPartner", partner())
    assert (fact.kind, fact.key) == ("Patient", Key("HOSP", "00012345"))
    assert fact.other_keys == (Key("HOSP:partner", "1000001"), Key("HOSP:customer", "500001"))
    values = fact.values
    assert values["identifier"] == [
        {"assigner": "HOSP", "value": "00012345", "type": "MR"}, {"assigner": "HOSP:partner", "value": "1000001", "type": "XX"}
    ]  # fmt: skip
    assert values["name"] == [{"text": "남궁민수", "family": "남궁", "given": ["민수"]}]
    assert (values["birthDate"], values["gender"], values["language"]) == ("1987-05-04", "male", "ko")
    assert values["telecom"] == [
        {"system": "phone", "value": "+821012345678", "raw": "010-1234-5678", "use": "mobile"},
        {"system": "phone", "value": "02-555-0101x12", "use": "home"},
        {"system": "email", "value": "gildong@example.kr", "raw": "Gildong@Example.kr"},
    ]
    assert values["address"] == [
        {
            "text": "서울특별시 강남구 테헤란로 152", "line": ["테헤란로 152"], "city": "서울특별시", "district": "강남구",
            "postalCode": "06236", "country": "KR",
        }
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["홍길동", "똠방각하", "펲시콜라", "뷁", "洪吉洞"])
def test_a_whole_name_in_the_last_name(name: str) -> None:
    [fact] = facts("A_BusinessPartner", partner(LastName=name, FirstName=""))
    assert fact.values["name"][0]["text"] == name


def test_a_partner_without_a_patient_number_is_no_patient() -> None:
    assert facts("A_BusinessPartner", partner(hub_patient="")) == []


@pytest.mark.parametrize("date", ["/Date(-62135769600000)/", "/Date(253402214400000)/", None, ""])
def test_saps_first_and_last_day_are_no_dates(date: str | None) -> None:
    found = mapped("A_BusinessPartner", partner(BirthDate=date, BusinessPartnerDeathDate=date))
    [fact] = found.facts
    assert isinstance(fact, Fact)
    assert fact.values.get("birthDate") is None
    assert fact.values.get("deceasedAt") is None
    assert found.warnings == []


def test_phones_that_are_gone_are_gone_and_those_not_told_stay() -> None:
    [bare] = facts("A_BusinessPartner", {"BusinessPartner": "1", "hub_patient": "2"})
    assert "telecom" not in bare.values
    gone = {"to_MobilePhoneNumber": [], "to_PhoneNumber": [], "to_EmailAddress": []}
    [fact] = facts("A_BusinessPartner", partner(to_BusinessPartnerAddress=[gone]))
    assert "telecom" in fact.values
    assert not fact.values["telecom"]


def bill(kind: str, category: str, **more: Any) -> dict[str, Any]:
    item = {
        "BillingDocument": "90000001", "BillingDocumentItem": "10", "Material": "MRI-BRAIN", "BillingDocumentItemText": "뇌 MRI",
        "BillingQuantity": "1", "NetAmount": "12000", "TaxAmount": "0", "TransactionCurrency": "KRW",
    }  # fmt: skip
    row = {
        "BillingDocument": "90000001", "BillingDocumentType": kind, "SDDocumentCategory": category, "BillingDocumentDate": DAY,
        "BillingDocumentIsCancelled": False, "CancelledBillingDocument": "", "TotalNetAmount": "12000", "TaxAmount": "1200",
        "TransactionCurrency": "KRW", "SoldToParty": "500001", "PayerParty": "600001", "CompanyCode": "1000",
        "FiscalYear": "2026", "AccountingDocument": "0090000001", "to_Item": [item],
    }  # fmt: skip
    return row | more


def test_an_invoice_and_its_lines() -> None:
    invoice, line = facts("A_BillingDocument", bill("F2", "M"))
    assert (invoice.kind, invoice.key, invoice.patient) == (
        "Invoice", Key("HOSP:billing", "90000001"), Key("HOSP:customer", "500001")
    )  # fmt: skip
    assert invoice.other_keys == (Key("HOSP:accounting", "1000/2026/90000001"),)
    values = invoice.values
    assert (values["status"], values["type"], values["date"]) == ("issued", {"code": "F2"}, "2026-11-21")
    assert values["total"] == {"value": "13200", "currency": "KRW"}
    assert values["participant"] == [{"identifier": {"assigner": "HOSP:customer", "value": "600001"}, "role": "payer"}]
    assert (line.kind, line.key) == ("ChargeItem", Key("HOSP:billing", "90000001/10"))
    assert line.values["code"] == {"code": "MRI-BRAIN", "display": "뇌 MRI"}
    assert line.values["amount"] == {"value": "12000", "currency": "KRW"}
    assert line.values["type"] == "CG"
    assert line.values["invoice"] == {"identifier": {"assigner": "HOSP:billing", "value": "90000001"}}


@pytest.mark.parametrize(("kind", "category", "value"), [("F2", "M", "13200"), ("L2", "P", "13200"), ("G2", "O", "-13200")])
def test_the_sign_of_what_was_billed(kind: str, category: str, value: str) -> None:
    invoice, line = facts("A_BillingDocument", bill(kind, category))
    assert invoice.values["total"]["value"] == value
    assert line.values["amount"]["value"].startswith("-") == (kind == "G2")
    assert line.values["type"] == ("CR" if kind == "G2" else "CG")


@pytest.mark.parametrize(("sign", "amounts"), [("", ("-9000", "-10000", "1000")), ("-", ("-9000", "-10000", "1000"))])
def test_the_lines_of_a_credit_memo_come_to_its_total(sign: str, amounts: tuple[str, ...]) -> None:
    """A discount in it is a charge: the document is turned as a whole, or, where its total has a minus already, not at all."""
    item = {"BillingDocument": "90000001", "TransactionCurrency": "KRW"}
    nets = [f"{sign}10000", "-1000" if not sign else "1000"]
    lines = [item | {"BillingDocumentItem": str(at), "NetAmount": net} for at, net in enumerate(nets, 1)]
    row = bill("G2", "O", TotalNetAmount=f"{sign}9000", TaxAmount="0", to_Item=lines)
    found = facts("A_BillingDocument", row)
    assert tuple((one.values.get("total") or one.values["amount"])["value"] for one in found) == amounts


def test_the_internal_form_of_won_is_read_as_what_it_is() -> None:
    row = bill("F2", "M", TotalNetAmount="120.00", TaxAmount="12.00", hub_amounts="internal")
    assert facts("A_BillingDocument", row)[0].values["total"] == {"value": "13200", "currency": "KRW"}
    found = mapped("A_BillingDocument", bill("F2", "M", TotalNetAmount="120.00"))
    assert isinstance(found.facts[0], Fact)
    assert "total" not in found.facts[0].values  # rather no amount than a hundredth of it
    assert any("TotalNetAmount" in one and "internal_form" in one for one in found.warnings)


def test_gross_goes_before_net_and_tax() -> None:
    assert facts("A_BillingDocument", bill("F2", "M", TotalGrossAmount="13999"))[0].values["total"]["value"] == "13999"


@pytest.mark.parametrize(("kind", "category"), [("S1", "N"), ("S2", "S")])
def test_a_cancellation_cancels_the_document_that_it_names_and_is_no_bill(kind: str, category: str) -> None:
    [fact] = facts("A_BillingDocument", bill(kind, category, BillingDocument="90000009", CancelledBillingDocument="90000001"))
    assert (fact.kind, fact.key, fact.create) == ("Invoice", Key("HOSP:billing", "90000001"), False)
    assert fact.values["status"] == "cancelled"
    assert {"assigner": "HOSP:billing", "value": "90000009", "type": "CNCL"} in fact.values["identifier"]


def test_a_cancelled_invoice_says_so_itself() -> None:
    assert facts("A_BillingDocument", bill("F2", "M", BillingDocumentIsCancelled=True))[0].values["status"] == "cancelled"


def line(kind: str, side: str, **more: Any) -> dict[str, Any]:
    row = {
        "CompanyCode": "1000", "FiscalYear": "2026", "AccountingDocument": "1400000001", "AccountingDocumentItem": "2",
        "AccountingDocumentType": kind, "DebitCreditCode": side, "FinancialAccountType": "D", "PostingDate": DAY,
        "Customer": "500001", "AmountInTransactionCurrency": "-13200", "TransactionCurrency": "KRW", "BillingDocument": "",
        "ClearingAccountingDocument": "", "InvoiceReference": "", "InvoiceReferenceFiscalYear": "0000", "PaymentMethod": "C",
    }  # fmt: skip
    return row | more


def test_a_payment_is_what_the_customer_is_credited_with() -> None:
    reference = {"InvoiceReference": "90000001", "InvoiceReferenceFiscalYear": "2026"}
    for amount in ("-13200", "13200"):  # signed, as the CDS view does, or not
        [fact] = facts("A_OperationalAcctgDocItemCube", line("DZ", "H", AmountInTransactionCurrency=amount, **reference))
        assert (fact.kind, fact.key) == ("Payment", Key("HOSP:accounting", "1000/2026/1400000001/2"))
        assert fact.values["amount"] == {"value": "13200", "currency": "KRW"}
        assert (fact.values["date"], fact.values["method"], fact.values["status"]) == ("2026-11-21", "C", "active")
        assert fact.values["invoice"] == {"identifier": {"assigner": "HOSP:accounting", "value": "1000/2026/90000001"}}


def test_what_is_paid_back_is_negative() -> None:
    [fact] = facts("A_OperationalAcctgDocItemCube", line("DZ", "S", AmountInTransactionCurrency="5000"))
    assert fact.values["amount"] == {"value": "-5000", "currency": "KRW"}
    assert "invoice" not in fact.values


@pytest.mark.parametrize(
    ("more", "status"),
    [({}, "issued"), ({"ClearingAccountingDocument": "1400000001"}, "balanced"),
     ({"ClearingAccountingDocument": "1900000001", "IsReversed": True}, "cancelled")],
)  # fmt: skip
def test_an_open_line_is_issued_a_cleared_one_balanced(more: dict[str, Any], status: str) -> None:
    row = line("RV", "S", AccountingDocument="90000001", AmountInTransactionCurrency="13200", BillingDocument="90000001", **more)
    [fact] = facts("A_OperationalAcctgDocItemCube", row)
    assert (fact.kind, fact.key) == ("Invoice", Key("HOSP:accounting", "1000/2026/90000001/2"))
    assert fact.other_keys == (Key("HOSP:accounting", "1000/2026/90000001"), Key("HOSP:billing", "90000001"))
    assert fact.values["status"] == status
    assert fact.values["identifier"] == [{"assigner": "HOSP:accounting", "value": "1000/2026/90000001"}]


def test_what_reverses_and_what_is_no_receivable_make_nothing() -> None:
    assert facts("A_OperationalAcctgDocItemCube", line("RV", "H", IsReversal=True)) == []
    assert facts("A_OperationalAcctgDocItemCube", line("DZ", "S", IsReversal=True)) == []
    assert facts("A_OperationalAcctgDocItemCube", line("SA", "H")) == []


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("sap_money", ["120.00-", "KRW", "internal", ""], {"value": "-12000", "currency": "KRW"}),
        ("sap_money", ["12000", "KRW", "", "H"], {"value": "-12000", "currency": "KRW"}),
        ("sap_money", ["", "KRW"], None),
        ("sap_customer", ["0000500001"], {"assigner": "HOSP:customer", "value": "500001"}),
        ("sap_customer", ["0000000000"], None),
        ("sap_customer", ["8013011234567"], None),
        ("sap_billed", ["-1000", "", "", "KRW", "", "O"], {"value": "1000", "currency": "KRW"}),
        ("sap_billed", ["-1000", "-100", "", "KRW", "", "O", "-9000"], {"value": "-1100", "currency": "KRW"}),
        ("sap_billed", ["-1000", "", "", "KRW", "", "M", "9000"], {"value": "-1000", "currency": "KRW"}),
        ("sap_accounting", ["1000", "2026", "0090000001"], {"assigner": "HOSP:accounting", "value": "1000/2026/90000001"}),
        ("sap_partner", ["INSURER1"], {"assigner": "HOSP:partner", "value": "INSURER1"}),
        ("sap_time", "/Date(1795219200000+0000)/", "2026-11-21T00:00:00+00:00"),
        ("sap_time", "", None),
        ("sap_date", "20261121", "2026-11-21"),
        ("sap_date", "00000000", None),
        ("sap_date", "99991231", None),
        ("sap_phone", ["212-555-0101", "", "US"], {"system": "phone", "value": "212-555-0101"}),
        ("sap_phone", ["+12125550101", "", "US"], {"system": "phone", "value": "+12125550101"}),
        ("sap_address", ["KR"], None),
        ("sap_address", ["KR", "11", "", "서울"], {"text": "서울", "city": "서울", "state": "11", "country": "KR"}),
    ],
)
def test_the_functions_that_maps_may_use(name: str, raw: Any, value: Any) -> None:
    reader = Reader(Delimiters("", "", "", "", ""), "utf-8", "HOSP", "erp", "Asia/Seoul")
    assert functions()[name].call(raw, reader) == value


@pytest.mark.parametrize(
    ("name", "raw", "code"),
    [
        ("sap_money", ["12,000", "KRW"], "separators"),
        ("sap_paid", ["-1", "KRW", "", "S"], "sides_differ"),
        ("sap_billed", ["1", "1", "", "", "", "M"], "no_currency"),
        ("sap_date", "/Date(x)/", "not_a_date"),
        ("sap_time", "20261121", "not_a_date"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, raw: Any, code: str) -> None:
    reader = Reader(Delimiters("", "", "", "", ""), "utf-8", "HOSP", "erp", "Asia/Seoul")
    with pytest.raises(BadValue) as caught:
        functions()[name].call(raw, reader)
    assert caught.value.code == code


def test_a_bill_told_by_idoc_and_by_odata_is_one_bill_of_one_customer() -> None:
    by_odata = facts("A_BillingDocument", {
        "BillingDocument": "90001", "SDDocumentCategory": "M", "SoldToParty": "500001", "TransactionCurrency": "KRW",
        "to_Item": [{"BillingDocument": "90001", "BillingDocumentItem": "10"}],
    })  # fmt: skip
    by_idoc = facts("idoc.INVOIC", {
        "E1EDK01": {"BELNR": "0000090001"}, "E1EDP01": [{"POSEX": "000010"}], "PATIENT_NUMBER": "500001",
    })  # fmt: skip
    assert {(one.kind, *one.other_keys) for one in by_idoc} == {(one.kind, one.key) for one in by_odata}
    assert not {one.key for one in by_idoc} & {one.key for one in by_odata}  # two records: what was sent once reopens nothing
    shown = [(one.kind, one.values["identifier"]) for one in by_odata]
    assert [(one.kind, one.values["identifier"]) for one in by_idoc] == shown
    [customer] = facts("idoc.DEBMAS", {"E1KNA1M": {"KUNNR": "0000500001", "NAME1": "남궁민수"}})
    assert customer.other_keys == (Key("HOSP:customer", "500001"),)
