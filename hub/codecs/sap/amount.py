"""Money as SAP writes it: sign, currency and decimals; amounts in a currency's own decimals and SAP's internal form.

SAP's database keeps every amount (data type CURR) with two decimals, whatever the currency: 12,000 won stand there as 120.00,
and only the currency's entry in table TCURX says that the point belongs elsewhere (ABAP documentation, "currency field").
Screens, BAPIs and OData speak the external form, table extracts and some IDoc segments the internal one; read as the other
form an amount in won is wrong by a hundred. Nothing is rounded and nothing guessed: what cannot be told is refused.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import Literal, NamedTuple

from hub.domain.errors import Unreadable

Form = Literal["external", "internal"]
FORMS: tuple[Form, ...] = ("external", "internal")
INTERNAL_DECIMALS = 2  # of every CURR field, whatever the currency
DIGITS = 31  # the most that a packed number of SAP has; what is longer is no amount
_AMOUNT = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?([+-]?)\Z", re.ASCII)
_EXACT = Context(prec=2 * DIGITS)
# ISO 4217, table A.1, active currencies by the number of decimals of their minor unit
ISO_4217 = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CNY
        COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR
        JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO
        NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS
        TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VES WST XCD YER ZAR ZMW ZWG""",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
# What SAP delivers in TCURX (SAP Note 137626), of currencies in use; those that do not stand in it have two decimals. It is not
# ISO's list: COP, HUF, IDR, LAK and TWD have none there.
TCURX = {
    0: "BIF CLP COP DJF GNF HUF IDR JPY KMF KRW LAK PYG RWF TWD UGX VND VUV XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
}
# Of these ISO says something else than two decimals, and what SAP delivers says nothing: each system has its own entry, or none
UNSETTLED = frozenset({"ISK", "UYI", "XAF", "XOF", "CLF", "UYW"})
_ISO = {currency: places for places, currencies in ISO_4217.items() for currency in currencies.split()}
_SAP = {currency: places for places, currencies in TCURX.items() for currency in currencies.split()}


class Amount(NamedTuple):
    """`value`: decimal text in the currency's own decimals, at least ISO's, a minus in front; `currency`: ISO 4217."""

    value: str
    currency: str


def decimals(currency: str) -> int:
    """Of the currency's minor unit by ISO 4217. Raises Unreadable for what is no currency."""
    if currency not in _ISO:
        code = "unknown_currency" if currency else "no_currency"
        raise Unreadable("no currency of ISO 4217; an amount is worth nothing without one", code=code)
    return _ISO[currency]


def sap_decimals(currency: str) -> int:
    """Of a currency in SAP's tables (TCURX). Raises Unreadable as `decimals`, and for what is UNSETTLED."""
    decimals(currency)
    if currency in UNSETTLED:
        reason = f"how many decimals {currency} has in this SAP nobody can tell from here; it has to come in the external form"
        raise Unreadable(reason, code="no_internal_form")
    return _SAP.get(currency, INTERNAL_DECIMALS)


def read(text: str, currency: str, form: Form = "external", *, side: str = "", where: str = "") -> Amount | None:
    """An amount as it stands in a field of SAP; None where the field is blank.

    `side`: the debit/credit sign beside it, S (debit) or H (credit, made negative), blank where there is none. A value that is
    negative already stays so: CDS views sign it, tables do not. `where` names the field in the error.
    Raises Unreadable with a code: not_an_amount, separators, exponent, two_signs, too_long, too_many_decimals, internal_form,
    no_currency, unknown_currency, no_internal_form, unknown_side, sides_differ.
    """
    stripped = text.strip()
    if not stripped:
        return None
    try:
        currency = currency.strip()
        value = _plain(stripped)
        value = _external(value, currency) if form == "internal" else _checked(value, currency)
        return Amount(_text(_by_side(value, side.strip()), currency), currency)
    except Unreadable as error:
        raise Unreadable(f"{where}: {error.reason}" if where else error.reason, code=error.code) from None


def internal(amount: Amount) -> str:
    """As SAP's tables keep it, two decimals: ("12000", KRW) -> "120.00". Raises Unreadable where it does not fit."""
    there = sap_decimals(amount.currency)
    value = _plain(amount.value).scaleb(there - INTERNAL_DECIMALS, _EXACT)
    if value != round(value, INTERNAL_DECIMALS):
        raise Unreadable(f"more decimals than SAP keeps of {amount.currency}", code="too_many_decimals")
    return format(value, f".{INTERNAL_DECIMALS}f")


def added(one: Amount, other: Amount) -> Amount:
    """Two amounts of one currency. Raises Unreadable where they are not."""
    if one.currency != other.currency:
        raise Unreadable("amounts of two currencies cannot be added", code="two_currencies")
    return Amount(_text(_EXACT.add(_plain(one.value), _plain(other.value)), one.currency), one.currency)


def negated(amount: Amount) -> Amount:
    """The other side's view of it: what a customer's account is credited with, he has paid."""
    value = amount.value
    if not value.strip("0."):
        return amount
    return Amount(value[1:] if value.startswith("-") else f"-{value}", amount.currency)


def is_signed(text: str) -> bool:
    """Whether an amount as it stands in a field of SAP has a minus, in front or behind."""
    return text.strip().startswith("-") or text.strip().endswith("-")


def _plain(text: str) -> Decimal:
    found = _AMOUNT.match(text)
    if found is None:
        raise _why_not(text)
    before, whole, fraction, behind = found.groups()
    if before and behind:
        raise Unreadable("a sign before the amount and one behind it", code="two_signs")
    if len(whole) + len(fraction or "") > DIGITS:
        raise Unreadable(f"more than {DIGITS} digits", code="too_long")
    return Decimal(f"{before or behind}{whole}.{fraction}" if fraction else f"{before or behind}{whole}")


def _why_not(text: str) -> Unreadable:
    if re.fullmatch(r"[+-]?[\d., '’]+[+-]?", text, re.ASCII):
        reason = "thousand separators or a decimal comma; SAP has to send digits with a point before the decimals"
        return Unreadable(reason, code="separators")
    if re.fullmatch(r"[+-]?[\d.]+[eE][+-]?\d+", text, re.ASCII):
        return Unreadable("an exponent; SAP has to send digits with a point before the decimals", code="exponent")
    return Unreadable("not an amount; it has to be digits with a point before the decimals", code="not_an_amount")


def _checked(value: Decimal, currency: str) -> Decimal:
    """In the external form no decimal stands that the currency does not have.

    Zeros that a wide field pads with (OData's scale 3: 12000.000) mean nothing. But exactly two decimals of a currency that has
    none are what the internal form looks like, and 120.00 won may be 12,000: that is refused, zeros or not.
    """
    places = decimals(currency)
    written = -int(value.as_tuple().exponent)
    if places == 0 and written == INTERNAL_DECIMALS:
        raise Unreadable(
            f'two decimals, and {currency} has none: SAP\'s internal form? Then write amounts = "internal"', code="internal_form"
        )
    if written > places and value != round(value, places):
        raise Unreadable(f"more decimals than the {places} of {currency}", code="too_many_decimals")
    return value


def _external(value: Decimal, currency: str) -> Decimal:
    there = sap_decimals(currency)
    if value != round(value, INTERNAL_DECIMALS):
        raise Unreadable(f"more than the two decimals of SAP's internal form: then it is the external one of {currency}?",
                         code="too_many_decimals")  # fmt: skip
    return value.scaleb(INTERNAL_DECIMALS - there, _EXACT)


def _by_side(value: Decimal, side: str) -> Decimal:
    if side not in ("", "S", "H"):
        raise Unreadable("the debit/credit sign is neither S nor H", code="unknown_side")
    if side == "S" and value < 0:
        raise Unreadable("a negative amount under the debit sign S", code="sides_differ")
    return -value if side == "H" and value > 0 else value


def _text(value: Decimal, currency: str) -> str:
    shown = format(value, f".{decimals(currency)}f")
    return shown.removeprefix("-") if not shown.strip("-0.") else shown
