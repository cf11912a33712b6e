"""Functions that read what SAP writes, in OData and IDocs alike: numbers of its own, times, money, addresses, phones.

SAP's numbers (partner, customer, billing document, journal entry) are numberings of their own under the channel's assigner, so
that a partner's number never meets a patient's equal one. Internally they have leading zeros, outside they do not (conversion
exit ALPHA): both are one number. Its dates begin and end nowhere: 0000-00-00 and 9999-12-31 say nothing.
"""

from __future__ import annotations

from typing import Any

from hub.codecs.sap import amount, odata, odata_feed
from hub.codecs.sap.amount import Amount, Form
from hub.domain.errors import Unreadable
from hub.domain.facts import Key
from hub.mapping.composites import as_xpn, contact_point
from hub.mapping.functions import Reader, function
from hub.mapping.keys import number_of
from hub.mapping.times import BadValue, iso_date

PARTNER, CUSTOMER, BILLING, ACCOUNTING = "partner", "customer", "billing", "accounting"
IDOC = "idoc"  # bills as they were sent
NEGATIVE = frozenset({"N", "O", "6"})  # SDDocumentCategory: invoice cancelled, credit memo, intercompany credit memo
FOREVER = "9999-"


def _number(text: str) -> str:
    """Without the leading zeros of the internal form."""
    text = text.strip()
    return (text.lstrip("0") or "") if text.isascii() and text.isdigit() else text


def _key(parts: list[str], reader: Reader, numbering: str) -> Key | None:
    numbers = [_number(number_of(part, reader) or "") for part in parts]
    return Key(f"{reader.assigner}:{numbering}", "/".join(numbers)) if all(numbers) else None


@function("sap_partner_key", "columns", "key")
def key_partner(parts: list[str], reader: Reader) -> Key | None:
    """A business partner's number (BusinessPartner, PARTNER)."""
    return _key(parts, reader, PARTNER)


@function("sap_customer_key", "columns", "key")
def key_customer(parts: list[str], reader: Reader) -> Key | None:
    """A customer's number (Customer, KUNNR, SoldToParty); often, but not always, that of his partner."""
    return _key(parts, reader, CUSTOMER)


@function("sap_billing_key", "columns", "key")
def key_billing(parts: list[str], reader: Reader) -> Key | None:
    """A billing document (VBELN), or with its item a line of it."""
    return _key(parts, reader, BILLING)


@function("sap_idoc_key", "columns", "key")
def key_idoc(parts: list[str], reader: Reader) -> Key | None:
    """A billing document, or a line of it, as an IDoc told it once."""
    return _key(parts, reader, IDOC)


@function("sap_accounting_key", "columns", "key")
def key_accounting(parts: list[str], reader: Reader) -> Key | None:
    """A journal entry: company code, fiscal year, document, and of a line its item."""
    return _key(parts, reader, ACCOUNTING)


@function("sap_partner", "parts", "object")
def as_partner(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """A business partner's number as Identifier."""
    return _identifier(key_partner(parts, reader))


@function("sap_customer", "parts", "object")
def as_customer(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """A customer's number as Identifier."""
    return _identifier(key_customer(parts, reader))


@function("sap_billing", "parts", "object")
def as_billing(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """A billing document's number as Identifier."""
    return _identifier(key_billing(parts, reader))


@function("sap_accounting", "parts", "object")
def as_accounting(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """A journal entry's number as Identifier."""
    return _identifier(key_accounting(parts, reader))


@function("sap_party", "parts", "object")
def as_sap_party(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """A customer named in a document as Party."""
    found = as_customer(parts, reader)
    return {"identifier": found} if found else None


def _identifier(key: Key | None) -> dict[str, Any] | None:
    return {"assigner": key.assigner, "value": key.value} if key else None


@function("sap_date", "text", pure=True)
def as_sap_date(text: str, _reader: Reader) -> str | None:
    """A day: /Date(…)/ of OData, or YYYYMMDD of an IDoc; SAP's first and last day say nothing."""
    if not text or not text.strip("0"):
        return None
    try:
        day = odata.to_day(text) if text.startswith("/") else iso_date(text)
    except Unreadable as error:
        raise BadValue(error.code) from None
    return day if day and not day.startswith(FOREVER) else None


@function("sap_time", "text", pure=True)
def as_sap_time(text: str, _reader: Reader) -> str | None:
    """A moment: Edm.DateTimeOffset, in UTC."""
    if not text:
        return None
    found = odata_feed.changed_at({"at": text}, "at")
    if found is None:
        raise BadValue("not_a_date")
    return f"{found}+00:00"


def _amount(text: str, currency: str, form: str, side: str = "") -> Amount | None:
    try:
        return amount.read(text, currency, _form(form), side=side)
    except Unreadable as error:
        raise BadValue(error.code) from None


def _form(text: str) -> Form:
    return "internal" if text == "internal" else "external"


def _money(found: Amount | None) -> dict[str, Any] | None:
    return {"value": found.value, "currency": found.currency} if found else None


def _texts(parts: list[str], reader: Reader, count: int) -> list[str]:
    return [reader.text(part) for part in parts[:count]] + [""] * (count - len(parts))


@function("sap_money", "parts", "object")
def as_sap_money(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """[amount, currency, form, side] -> Money. `form`: the column hub_amounts ("internal"); `side`: S debit, H credit."""
    text, currency, form, side = _texts(parts, reader, 4)
    return _money(_amount(text, currency, form, side))


@function("sap_paid", "parts", "object")
def as_sap_paid(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """As `sap_money`, of a line of the customer's account: what he is credited with, he has paid."""
    text, currency, form, side = _texts(parts, reader, 4)
    found = _amount(text, currency, form, side)
    return _money(amount.negated(found) if found else None)


@function("sap_billed", "parts", "object")
def as_sap_billed(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """[net, tax, gross, currency, form, SDDocumentCategory, net total of the document] -> Money: gross, else net and tax. Credit
    memos and cancelled invoices SAP keeps as if they were billed: all of such a document is turned, discounts too, unless its
    total has a minus already."""
    net, tax, gross, currency, form, category, total = _texts(parts, reader, 7)
    found = _amount(gross, currency, form) or _sum(_amount(net, currency, form), _amount(tax, currency, form))
    return _money(amount.negated(found) if found and category in NEGATIVE and not amount.is_signed(total) else found)


def _sum(one: Amount | None, other: Amount | None) -> Amount | None:
    return amount.added(one, other) if one and other else one


@function("sap_name", "parts", "object")
def as_sap_name(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """[last name, first name, middle name] -> HumanName."""
    return as_xpn(parts, reader)  # type: ignore[no-any-return]


@function("sap_phone", "parts", "object")
def as_sap_phone(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """[number, extension, country] -> ContactPoint; a number of another country that does not begin with + stays as it came."""
    number, extension, country = _texts(parts, reader, 3)
    if not number:
        return None
    whole = f"{number}x{extension}" if extension else number
    if country not in ("", "KR") and not number.startswith("+"):
        return {"system": "phone", "value": whole}
    return contact_point(whole, "", "PH")


@function("sap_address", "parts", "object")
def as_sap_address(parts: list[str], reader: Reader) -> dict[str, Any] | None:
    """[country, region, postal code, city, district, street, house number, suffix, second suffix] -> Address; its text from the
    large to the small, as it reads in Korea."""
    country, region, postal, city, district, street, house, suffix, second = _texts(parts, reader, 9)
    line = " ".join(filter(None, (street, house, suffix, second)))
    text = " ".join(filter(None, (city, district, line)))
    if not text:
        return None
    said = {"city": city, "district": district, "state": region, "postalCode": postal, "country": country}
    return {"text": text} | ({"line": [line]} if line else {}) | {name: value for name, value in said.items() if value}
