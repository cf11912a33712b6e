"""What the shipped map reads of SAP's entity sets: each property with its type and the canonical field that it is for."""

from __future__ import annotations

from hub.adapters.erp.odata_in_sets import ADDRESS, IDENTIFICATION, EntitySet
from hub.codecs.sap.edmx_wanted import Want

TEXT = ("Edm.String",)
DAY = ("Edm.DateTime",)
STAMP = ("Edm.DateTimeOffset",)
CLOCK = ("Edm.Time",)
MONEY = ("Edm.Decimal",)
FLAG = ("Edm.Boolean",)
_PHONE = {"PhoneNumber": TEXT, "PhoneNumberExtension": TEXT, "DestinationLocationCountry": TEXT, "IsDefaultPhoneNumber": FLAG}
_ADDRESS = (
    "Country", "Region", "PostalCode", "CityName", "District", "StreetName", "HouseNumber", "StreetSuffixName",
    "AdditionalStreetSuffixName",
)  # fmt: skip
# entity set -> canonical field -> properties
READ: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "A_BusinessPartner": {
        "name": {"LastName": TEXT, "FirstName": TEXT, "MiddleName": TEXT},
        "birthDate": {"BirthDate": DAY},
        "deceasedAt": {"BusinessPartnerDeathDate": DAY},
        "gender": {"IsMale": FLAG, "IsFemale": FLAG, "IsSexUnknown": FLAG},
        "language": {"CorrespondenceLanguage": TEXT},
        "the customer's number": {"Customer": TEXT, "to_Customer/Customer": TEXT},
        "telecom.mobile": {f"{ADDRESS}/to_MobilePhoneNumber/{name}": kind for name, kind in _PHONE.items()},
        "telecom.home": {f"{ADDRESS}/to_PhoneNumber/{name}": kind for name, kind in _PHONE.items()},
        "telecom.email": {
            f"{ADDRESS}/to_EmailAddress/EmailAddress": TEXT,
            f"{ADDRESS}/to_EmailAddress/IsDefaultEmailAddress": FLAG,
        },
        "address": {f"{ADDRESS}/{name}": TEXT for name in _ADDRESS},
        "which address is the standard one": {f"{ADDRESS}/AddressID": TEXT, f"{ADDRESS}/to_AddressUsage/AddressUsage": TEXT},
    },
    "A_BillingDocument": {
        "status": {"BillingDocumentIsCancelled": FLAG, "InvoiceClearingStatus": TEXT},
        "type": {"BillingDocumentType": TEXT},
        "date": {"BillingDocumentDate": DAY},
        "total": {"TotalNetAmount": MONEY, "TaxAmount": MONEY, "TotalGrossAmount": MONEY},
        "the currency, and so any amount": {"TransactionCurrency": TEXT},
        "the sign of amounts": {"SDDocumentCategory": TEXT},
        "the payer": {"PayerParty": TEXT},
        "the cancelled document": {"CancelledBillingDocument": TEXT},
        "the journal entry": {"CompanyCode": TEXT, "FiscalYear": TEXT, "AccountingDocument": TEXT},
        "the lines": {"to_Item/BillingDocument": TEXT, "to_Item/BillingDocumentItem": TEXT},
        "code of a line": {"to_Item/Material": TEXT, "to_Item/BillingDocumentItemText": TEXT},
        "occurrence of a line": {"to_Item/ServicesRenderedDate": DAY},
        "quantity of a line": {"to_Item/BillingQuantity": MONEY},
        "amount of a line": {
            "to_Item/NetAmount": MONEY, "to_Item/TaxAmount": MONEY, "to_Item/GrossAmount": MONEY,
            "to_Item/TransactionCurrency": TEXT,
        },
    },
    "A_OperationalAcctgDocItemCube": {
        "amount": {"AmountInTransactionCurrency": MONEY, "TransactionCurrency": TEXT, "DebitCreditCode": TEXT},
        "date": {"PostingDate": DAY},
        "method": {"PaymentMethod": TEXT},
        "status": {"ClearingAccountingDocument": TEXT, "IsReversal": FLAG, "IsReversed": FLAG},
        "what is paid": {"BillingDocument": TEXT, "InvoiceReference": TEXT, "InvoiceReferenceFiscalYear": TEXT},
    },
}  # fmt: skip
# without these no entity of the set says anything
NEEDED = {
    "A_BusinessPartner": {f"{IDENTIFICATION}/BPIdentificationType": TEXT, f"{IDENTIFICATION}/BPIdentificationNumber": TEXT},
    "A_BillingDocument": {"SoldToParty": TEXT},
    "A_OperationalAcctgDocItemCube": {"Customer": TEXT, "AccountingDocumentType": TEXT},
}


def wants(name: str, shape: EntitySet) -> list[Want]:
    """Of a channel that polls `name`, and how it does. Of a set that the shipped map does not read: how it is polled."""
    polled = f"the service refuses what {name} is asked for, and nothing comes"
    found = [Want(name, needed="nothing comes; check url and set")]
    found += [Want(f"{name}/{one}", TEXT, needed=f"{polled}; check key") for one in shape.key]
    found += [Want(f"{name}/{one}", DAY, needed=f"{polled}; write changed_on") for one in shape.days]
    found += [Want(f"{name}/{shape.stamp}", STAMP, needed=f"{polled}; write changed_at")] if shape.stamp else []
    found += [Want(f"{name}/{one}", CLOCK, needed=f"{polled}; write changed_on without changed_time") for one in shape.clocks]
    found += [Want(f"{name}/{one}", needed=f"{polled}; write expand without it") for one in shape.expand]
    known = {path: kinds for fields in READ.get(name, {}).values() for path, kinds in fields.items()}
    found += [Want(f"{name}/{one}", known.get(one, ANY), needed=f"{polled}; write select without it") for one in shape.select]
    found += [Want(f"{name}/{path}", kinds, needed="no entity says whose it is") for path, kinds in NEEDED.get(name, {}).items()]
    for carries, properties in READ.get(name, {}).items():
        found += [Want(f"{name}/{path}", kinds, carries=carries) for path, kinds in properties.items()]
    return found


ANY = (*TEXT, *DAY, *STAMP, *CLOCK, *MONEY, *FLAG, "Edm.Int32", "Edm.Int16", "Edm.Byte", "Edm.Guid", "Edm.Double")
