"""The named functions of an outbound map (`as = "…"`): a canonical value -> what an old table holds.

The inverse of hub/mapping/functions.py. Each takes a canonical value that is there and the time zone of the table, and
raises BadValue where it cannot be said.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from hub.domain.search import national_digits, national_phone
from hub.mapping.times import BadValue

Cell = str | int | Decimal | dt.date | dt.datetime | None
OutFunction = Callable[[Any, dt.tzinfo], Cell]


def text(value: Any, _zone: dt.tzinfo) -> str:
    return " ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def upper(value: Any, zone: dt.tzinfo) -> str:
    return text(value, zone).upper()


def lower(value: Any, zone: dt.tzinfo) -> str:
    return text(value, zone).lower()


def number(value: Any, _zone: dt.tzinfo) -> int | Decimal:
    """Whole, or a decimal as exact as it was told."""
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise BadValue("not a number") from None
    if not found.is_finite() or abs(found.adjusted()) > 30:
        raise BadValue("not a number")
    return int(found) if found == found.to_integral_value() else found


def yn(value: Any, _zone: dt.tzinfo) -> str:
    if not isinstance(value, bool):
        raise BadValue("not yes or no")
    return "Y" if value else "N"


def phone(value: Any, _zone: dt.tzinfo) -> str:
    """As people in its country write it: 010-1234-5678."""
    return national_phone(str(value))[0]


def digits(value: Any, _zone: dt.tzinfo) -> str:
    """A phone without hyphens: 01012345678."""
    return national_digits(str(value))


def sql_date(value: Any, zone: dt.tzinfo) -> dt.date:
    """For a column of type DATE."""
    if "T" in str(value):
        return sql_time(value, zone).date()
    try:
        return dt.date.fromisoformat(str(value))
    except ValueError:
        raise BadValue("no whole date") from None  # 1980-05 has no day, and none is made up


def sql_time(value: Any, zone: dt.tzinfo) -> dt.datetime:
    """For a column of type DATETIME or TIMESTAMP: the table's local time, without an offset."""
    try:
        moment = dt.datetime.fromisoformat(str(value)) if "T" in str(value) else None
    except ValueError:
        moment = None
    if moment is None:
        raise BadValue("no time of day")
    return (moment.astimezone(zone) if moment.tzinfo else moment).replace(tzinfo=None, microsecond=0)


def date(value: Any, zone: dt.tzinfo) -> str:
    """CHAR(8): 19800131."""
    return f"{sql_date(value, zone):%Y%m%d}".rjust(8, "0")


def time(value: Any, zone: dt.tzinfo) -> str:
    """CHAR(14): 20261122090000."""
    return f"{sql_time(value, zone):%Y%m%d%H%M%S}".rjust(14, "0")


def hhmm(value: Any, zone: dt.tzinfo) -> str:
    """CHAR(4): 0900."""
    return f"{sql_time(value, zone):%H%M}"


FUNCTIONS: dict[str, OutFunction] = {
    "text": text, "upper": upper, "lower": lower, "number": number, "yn": yn, "phone": phone, "digits": digits, "date": date,
    "time": time, "hhmm": hhmm, "sql_date": sql_date, "sql_time": sql_time,
}  # fmt: skip
