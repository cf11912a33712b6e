"""The entity sets of SAP's standard services that the shipped map reads: their keys, what is expanded, how they tell changes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EntitySet:
    """How a set is polled. Changes are told by `stamp` (Edm.DateTimeOffset), or by `days` (Edm.DateTime, of any of them the
    latest) with, where there are any, the `clocks` (Edm.Time) beside them; by neither: the set is read as a whole."""

    key: tuple[str, ...]
    expand: tuple[str, ...] = ()
    stamp: str = ""
    days: tuple[str, ...] = ()
    clocks: tuple[str, ...] = ()
    select: tuple[str, ...] = ()  # what is asked for, where the set is much wider than what the map reads; empty: all
    where: str = ""  # $filter that always holds


ADDRESS, IDENTIFICATION = "to_BusinessPartnerAddress", "to_BuPaIdentification"
BELOW = ("to_PhoneNumber", "to_MobilePhoneNumber", "to_EmailAddress", "to_AddressUsage")
ONE = frozenset({"to_Customer"})  # navigation to a single entity, which there may not be
KNOWN = {
    "A_BusinessPartner": EntitySet(
        key=("BusinessPartner",),
        expand=(ADDRESS, *(f"{ADDRESS}/{one}" for one in BELOW), IDENTIFICATION, "to_BusinessPartnerRole", "to_Customer"),
        days=("LastChangeDate", "CreationDate"),  # who was never changed has no LastChangeDate
        clocks=("LastChangeTime", "CreationTime"),
        where="BusinessPartnerCategory eq '1'",  # persons
    ),
    "A_BillingDocument": EntitySet(
        key=("BillingDocument",),
        expand=("to_Item",),
        stamp="LastChangeDateTime",
    ),
    "A_OperationalAcctgDocItemCube": EntitySet(
        key=("CompanyCode", "FiscalYear", "AccountingDocument", "AccountingDocumentItem"),
        # an item that is cleared, or a document that is entered, does not always get a LastChangeDate
        days=("LastChangeDate", "AccountingDocumentCreationDate", "ClearingCreationDate"),
        select=(
            "CompanyCode", "FiscalYear", "AccountingDocument", "AccountingDocumentItem", "AccountingDocumentType",
            "FinancialAccountType", "DebitCreditCode", "PostingDate", "DocumentDate", "Customer", "AmountInTransactionCurrency",
            "TransactionCurrency", "ClearingAccountingDocument", "ClearingDocFiscalYear", "ClearingDate", "ClearingCreationDate",
            "IsReversal", "IsReversed", "InvoiceReference", "InvoiceReferenceFiscalYear", "BillingDocument", "PaymentMethod",
            "LastChangeDate", "AccountingDocumentCreationDate",
        ),
        where="FinancialAccountType eq 'D'",  # lines of customers' accounts
    ),
}  # fmt: skip
