"""Money as SAP writes it: the rules one by one, and a property over every currency, sign and number of decimals."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.sap import amount
from hub.codecs.sap.amount import Amount
from hub.domain.errors import Unreadable

CURRENCIES = sorted(" ".join(amount.ISO_4217.values()).split())
KEPT = [one for one in CURRENCIES if one not in amount.UNSETTLED]


@pytest.mark.parametrize(
    ("text", "currency", "form", "side", "value"),
    [
        ("12000", "KRW", "external", "", "12000"),
        ("120.00", "KRW", "internal", "", "12000"),  # the trap: a hundred times as much as it looks
        ("120", "JPY", "internal", "", "12000"),
        ("12000.000", "KRW", "external", "", "12000"),  # padded to a field of scale 3
        ("17.5", "USD", "external", "", "17.50"),
        ("17.50", "USD", "internal", "", "17.50"),
        ("17.550", "EUR", "external", "", "17.55"),
        ("1.234", "KWD", "external", "", "1.234"),
        ("12.34", "KWD", "internal", "", "1.234"),  # three decimals, kept with two
        ("50.00", "TWD", "internal", "", "5000.00"),  # ISO: two decimals; TCURX: none
        ("12.50", "TWD", "external", "", "12.50"),
        ("120.00-", "KRW", "internal", "", "-12000"),
        ("        120.00-", "KRW", "internal", "", "-12000"),
        ("-12000", "KRW", "external", "", "-12000"),
        ("12000", "KRW", "external", "H", "-12000"),
        ("-12000", "KRW", "external", "H", "-12000"),  # signed already
        ("12000", "KRW", "external", "S", "12000"),
        ("0.00-", "KRW", "internal", "", "0"),
        ("-0", "KRW", "external", "H", "0"),
        ("0", "USD", "external", "", "0.00"),
    ],
)
def test_what_is_read(text: str, currency: str, form: amount.Form, side: str, value: str) -> None:
    assert amount.read(text, currency, form, side=side) == Amount(value, currency)


@pytest.mark.parametrize(
    ("text", "currency", "form", "side", "code"),
    [
        ("12,000", "KRW", "external", "", "separators"),
        ("1.200.000", "KRW", "external", "", "separators"),
        ("1 200", "KRW", "external", "", "separators"),
        ("12,50", "EUR", "external", "", "separators"),
        ("1.2E3", "KRW", "external", "", "exponent"),
        ("1e5", "KRW", "external", "", "exponent"),
        ("-120-", "KRW", "external", "", "two_signs"),
        ("NaN", "KRW", "external", "", "not_an_amount"),
        ("١٢", "KRW", "external", "", "not_an_amount"),
        (".50", "USD", "external", "", "separators"),
        ("9" * 32, "KRW", "external", "", "too_long"),
        ("120.00", "KRW", "external", "", "internal_form"),
        ("12000.5", "KRW", "external", "", "too_many_decimals"),
        ("1.234", "USD", "external", "", "too_many_decimals"),
        ("1.234", "USD", "internal", "", "too_many_decimals"),
        ("1.234", "KWD", "internal", "", "too_many_decimals"),
        ("1", "", "external", "", "no_currency"),
        ("1", "WON", "external", "", "unknown_currency"),
        ("1.00", "CLF", "internal", "", "no_internal_form"),
        ("1.00", "XAF", "internal", "", "no_internal_form"),
        ("1", "KRW", "external", "X", "unknown_side"),
        ("-1", "KRW", "external", "S", "sides_differ"),
    ],
)  # fmt: skip
def test_what_is_refused_and_where(text: str, currency: str, form: amount.Form, side: str, code: str) -> None:
    with pytest.raises(Unreadable) as caught:
        amount.read(text, currency, form, side=side, where="TotalNetAmount")
    assert caught.value.code == code
    assert str(caught.value).startswith("TotalNetAmount: ")
    assert len(text) < 3 or text not in str(caught.value)


def test_a_blank_field_says_nothing() -> None:
    assert amount.read("   ", "KRW") is None


def test_the_other_side_of_an_amount() -> None:
    assert amount.negated(Amount("-12000", "KRW")) == Amount("12000", "KRW")
    assert amount.negated(Amount("17.50", "USD")) == Amount("-17.50", "USD")
    assert amount.negated(Amount("0.00", "USD")) == Amount("0.00", "USD")


@given(st.sampled_from(KEPT), st.integers(-(10**15), 10**15), st.booleans())
def test_internal_and_external_are_each_others_inverse(currency: str, units: int, behind: bool) -> None:
    """Over all currencies and signs: as many units of SAP's smallest as there are, written both ways, is one amount."""
    places = amount.sap_decimals(currency)
    shown = f"{Decimal(abs(units)).scaleb(-places):f}"
    kept = f"{Decimal(abs(units)).scaleb(-amount.INTERNAL_DECIMALS):.2f}"
    minus = "-" if units < 0 else ""
    outside = amount.read(shown + minus if behind else minus + shown, currency)
    inside = amount.read(kept + minus if behind else minus + kept, currency, "internal")
    assert outside == inside
    assert outside is not None
    assert Decimal(outside.value) == Decimal(units).scaleb(-places)
    assert amount.internal(outside) == (minus if units else "") + kept
    assert amount.read(amount.internal(outside), currency, "internal") == outside
    written = -int(Decimal(outside.value).as_tuple().exponent)
    assert written == amount.decimals(currency)
    assert "E" not in outside.value


@given(st.sampled_from(CURRENCIES), st.integers(0, 10**9), st.integers(0, 6))
def test_no_more_decimals_than_the_currency_has(currency: str, digits: int, places: int) -> None:
    """Against the rule itself: what the currency cannot say is refused, everything else is kept to the last digit."""
    text = f"{Decimal(digits).scaleb(-places):.{places}f}"
    has = amount.decimals(currency)
    doubtful = has == 0 and places == 2
    fits = Decimal(text) == round(Decimal(text), has)
    if fits and not doubtful:
        found = amount.read(text, currency)
        assert found is not None
        assert Decimal(found.value) == Decimal(text)
    else:
        with pytest.raises(Unreadable, match=currency):
            amount.read(text, currency)


@given(st.text(max_size=40), st.sampled_from(["KRW", "USD", "KWD", "", "?"]), st.sampled_from(amount.FORMS), st.text(max_size=2))
def test_whatever_comes_is_an_amount_or_refused(text: str, currency: str, form: amount.Form, side: str) -> None:
    try:
        found = amount.read(text, currency, form, side=side)
    except Unreadable:
        return
    assert found is None or found.currency == currency.strip()
