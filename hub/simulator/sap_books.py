"""The books of a simulated SAP: its services for reading partners, billing documents and lines of customers' accounts (OData V2).

Where patients become partners is erp.py: what is made there is shown here from then on (`know`). A clerk bills and a cashier
takes the money; the hub asks.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from hub.simulator.http_peer import Request, response
from hub.simulator.rest import RestPeer

Entity = dict[str, Any]
COMPANY = "1000"
_JSON = {"Content-Type": "application/json;charset=utf-8"}
_CONDITION = re.compile(r"(\w+) (eq|gt|ge|lt|le) (?:datetimeoffset|datetime|time)?'((?:[^']|'')*)'")


class SapBooks(RestPeer):
    """`sets`: entity set -> entities, by their keys as one text."""

    path = "/sap/opu/odata/sap"

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(host=host, port=port, tls=tls)
        partner, bill, line = "A_BusinessPartner", "A_BillingDocument", "A_OperationalAcctgDocItemCube"
        self.sets: dict[str, dict[str, Entity]] = {partner: {}, bill: {}, line: {}}
        self._customers: dict[str, str] = {}  # patient number -> customer's

    def knows(self, number: str) -> bool:
        with self.lock:
            return number in self._customers

    # ---- what people do there ------------------------------------------------------------------------------------------

    def know(self, number: str, customer: str) -> None:
        """A patient is a customer from now on, of whom the other service keeps name and address."""
        at = datetime.now(UTC)
        identification = {"BPIdentificationType": "ZMRN", "BPIdentificationNumber": number}
        with self.lock:
            if number in self._customers:
                return
            self._customers[number] = customer
            self.sets["A_BusinessPartner"][customer] = {
                "BusinessPartner": customer, "BusinessPartnerCategory": "1", "Customer": customer,
                "to_BuPaIdentification": [identification], "to_BusinessPartnerAddress": [], "to_BusinessPartnerRole": [],
                "to_Customer": {"Customer": customer}, "LastChangeDate": None, "LastChangeTime": None,
                "CreationDate": _day(at), "CreationTime": f"PT{at:%H}H{at:%M}M{at:%S}S",
            }  # fmt: skip

    def bill(self, patient: str, won: int, what: str) -> str:
        """A billing document of one line, and the open line in the customer's account; its number."""
        customer, at = self._customers[patient], datetime.now(UTC)
        with self.lock:
            number = f"{90_000_000 + len(self.sets['A_BillingDocument'])}"
            item = {
                "BillingDocument": number, "BillingDocumentItem": "10", "BillingDocumentItemText": what, "Material": "CT0101",
                "BillingQuantity": "1.000", "TransactionCurrency": "KRW", **_amounts(won),
            }  # fmt: skip
            self.sets["A_BillingDocument"][number] = {
                "BillingDocument": number, "SDDocumentCategory": "M", "BillingDocumentType": "F2", "SoldToParty": customer,
                "PayerParty": customer, "BillingDocumentDate": _day(at), "CreationDate": _day(at), "CompanyCode": COMPANY,
                "LastChangeDateTime": f"/Date({int(at.timestamp() * 1000)}+0000)/", "FiscalYear": f"{at:%Y}",
                "AccountingDocument": number, "BillingDocumentIsCancelled": False, "InvoiceClearingStatus": "",
                "TotalNetAmount": f"{won}.000", "TotalGrossAmount": f"{won}.000", "TaxAmount": "0.000",
                "TransactionCurrency": "KRW", "to_Item": [item],
            }  # fmt: skip
            self._line(number, "RV", "S", Decimal(won), customer, BillingDocument=number)
            return number

    def pay(self, bill: str) -> None:
        """The customer pays: a line is credited to him, and the bill's own line is cleared by it."""
        with self.lock:
            owed = self.sets["A_OperationalAcctgDocItemCube"][bill]
            receipt, at = f"1{bill[1:]}", datetime.now(UTC)
            self._line(receipt, "DZ", "H", -Decimal(owed["AmountInTransactionCurrency"]), owed["Customer"],
                       PaymentMethod="C", BillingDocument=bill)  # fmt: skip
            owed |= {
                "ClearingAccountingDocument": receipt, "ClearingDocFiscalYear": f"{at:%Y}", "ClearingDate": _day(at),
                "ClearingCreationDate": _day(at), "LastChangeDate": _day(at),
            }  # fmt: skip

    def _line(self, document: str, kind: str, side: str, amount: Decimal, customer: str, **more: Any) -> None:
        at = datetime.now(UTC)
        self.sets["A_OperationalAcctgDocItemCube"][document] = {
            "CompanyCode": COMPANY, "FiscalYear": f"{at:%Y}", "AccountingDocument": document, "AccountingDocumentItem": "1",
            "AccountingDocumentType": kind, "FinancialAccountType": "D", "DebitCreditCode": side, "PostingDate": _day(at),
            "DocumentDate": _day(at), "Customer": customer, "AmountInTransactionCurrency": f"{amount:.3f}",
            "TransactionCurrency": "KRW", "ClearingAccountingDocument": "", "ClearingDocFiscalYear": "0000", "ClearingDate": None,
            "ClearingCreationDate": None, "IsReversal": False, "IsReversed": False, "InvoiceReference": "",
            "InvoiceReferenceFiscalYear": "", "BillingDocument": "", "PaymentMethod": "", "LastChangeDate": None,
            "AccountingDocumentCreationDate": _day(at), **more,
        }  # fmt: skip

    # ---- what it is asked ----------------------------------------------------------------------------------------------

    def writes(self, request: Request) -> bool:
        return request.method != "GET"

    def answer(self, request: Request) -> bytes:
        parts = urlsplit(request.target)
        name = unquote(parts.path).rpartition("/")[2]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if self.writes(request) or name not in self.sets:
            return response(404, b'{"error":{"code":"005056A509B11EE1B9A8FEC11C21178E"}}', _JSON)
        with self.lock:
            found = [one for one in self.sets[name].values() if _fits(query.get("$filter", ""), one)]
            found.sort(key=lambda one: [_inside(str(one[key])) for key in query.get("$orderby", "").split(",") if key])
            shown = [_shown(name, one, query) for one in found[: int(query.get("$top", "50"))]]
        return response(200, orjson.dumps({"d": {"results": shown}}), _JSON)

    def refusal(self, _request: Any) -> bytes:
        return response(400, b'{"error":{"code":"R11/108","message":{"value":"No"}}}', _JSON)


def _fits(text: str, entity: Mapping[str, Any]) -> bool:
    """A `$filter`: conditions on texts and times, joined by `and`, `or` and parentheses. Each is looked at, then the whole."""
    whole = _CONDITION.sub(lambda found: "T" if _holds(entity, *found.groups()) else "F", text) or "T"
    whole = whole.replace(" and ", "&").replace(" or ", "|").replace(" ", "")
    while len(whole) > 1:
        shorter = re.sub(r"\(([TF])\)", r"\1", whole)
        shorter = re.sub(r"([TF])&([TF])", lambda m: "T" if m[0] == "T&T" else "F", shorter, count=1)
        if shorter == whole:  # every `and` that can be is done: `or` binds weaker
            shorter = re.sub(r"(?<![&TF])([TF])\|([TF])(?!&)", lambda m: "F" if m[0] == "F|F" else "T", whole, count=1)
        if shorter == whole:
            raise ValueError(f"no $filter as this SAP reads them: {text}")
        whole = shorter
    return whole == "T"


def _holds(entity: Mapping[str, Any], name: str, compare: str, literal: str) -> bool:
    """Times are compared as their literals are written; what is null fits nothing."""
    value, wanted = entity[name], literal.replace("''", "'")
    if value is None:
        return False
    if moment := re.match(r"/Date\((-?\d+)", str(value)):
        value, wanted = datetime.fromtimestamp(int(moment[1]) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S"), wanted.rstrip("Z")[:19]
    there, wanted = _inside(str(value)), _inside(wanted)
    return {"eq": there == wanted, "gt": there > wanted, "ge": there >= wanted, "lt": there < wanted, "le": there <= wanted}[
        compare
    ]


def _inside(text: str) -> str:
    """A number as SAP keeps it, sorts and compares it: filled up with zeros to ten digits (conversion exit ALPHA)."""
    return text.zfill(10) if text.isascii() and text.isdigit() else text


def _shown(name: str, entity: Mapping[str, Any], query: Mapping[str, str]) -> Entity:
    """What is not expanded is deferred, what is not selected is left out."""
    expand = {one.split("/")[0] for one in query.get("$expand", "").split(",")}
    select = {one for one in query.get("$select", "").split(",") if one}
    shown: Entity = {"__metadata": {"type": name}}
    for key, value in entity.items():
        if key.startswith("to_"):
            shown[key] = ({"results": value} if isinstance(value, list) else value) if key in expand else {"__deferred": {}}
        elif not select or key in select:
            shown[key] = value
    return shown


def _amounts(won: int) -> Entity:
    """As S/4's views write them: three decimals, whatever the currency."""
    return {"NetAmount": f"{won}.000", "TaxAmount": "0.000", "GrossAmount": f"{won}.000"}


def _day(at: datetime) -> str:
    """Edm.DateTime of a day (OData V2 JSON)."""
    return f"/Date({int(datetime(at.year, at.month, at.day, tzinfo=UTC).timestamp()) * 1000})/"
