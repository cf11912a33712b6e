"""HL7 times and the times of old databases: text -> ISO 8601 with as much precision and zone as the source gave.

HL7 v2.5.1 §2.A.77 (TS), v2.8 §2.A.22 (DTM): YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ].
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

_TS = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,6})?)?)?)?)?)?(?:([+-])(\d\d):?(\d\d))?\Z", re.ASCII
)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,6})?)?\d*)?\s*(?:Z|([+-])(\d\d):?(\d\d))?\Z", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class BadValue(ValueError):
    """A value that a function cannot read; `code` says why and never holds the value."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@lru_cache(maxsize=64)
def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name; raises KeyError-like ZoneInfoNotFoundError where there is none."""
    return ZoneInfo(name)


@lru_cache(maxsize=4096)
def _offset_of_day(day: str, zone_name: str) -> str | None:
    """`+09:00` where that day (YYYYMMDD) has one offset from midnight to midnight in that zone, else None."""
    midnight = datetime(int(day[:4]), int(day[4:6]), int(day[6:8]), tzinfo=zone(zone_name))
    first, last = midnight.utcoffset(), midnight.replace(hour=23, minute=59).utcoffset()
    return _offset_text(midnight) if first == last else None


def _offset_text(moment: datetime) -> str:
    text = moment.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def iso_date(text: str) -> str:
    """`19800101…` -> `1980-01-01`, `198001` -> `1980-01`, `1980` -> `1980`. Raises BadValue. A time of day is cut off."""
    head = text[:8]
    if len(head) == 8 and head.isdecimal() and head.isascii():
        if not _is_day(head):
            raise BadValue("not a date")
        if len(text) > 8 and not _TS.match(text):
            raise BadValue("not a date")
        return f"{head[:4]}-{head[4:6]}-{head[6:]}"
    match = _TS.match(text) or _ISO.match(text)
    if match is None:
        raise BadValue("not a date")
    year, month, day = match.group(1, 2, 3)
    if year == "0000":
        raise BadValue("not a date")
    if day is not None:
        if not _is_day(year + month + day):
            raise BadValue("not a date")
        return f"{year}-{month}-{day}"
    if month is not None:
        if not "01" <= month <= "12":
            raise BadValue("not a date")
        return f"{year}-{month}"
    return year


@lru_cache(maxsize=8192)
def _is_day(compact: str) -> bool:
    try:
        date(int(compact[:4]), int(compact[4:6]), int(compact[6:8]))
    except ValueError:
        return False
    return True


def iso_time(text: str, zone_name: str) -> str:
    """A TS with time of day -> `2026-11-22T09:00:00+09:00` (zone of the source, else `zone_name`); a shorter one as a date.

    24:00 is midnight of the next day. Raises BadValue.
    """
    if 10 <= len(text) <= 14 and text.isdecimal() and text.isascii() and text[8:10] < "24":
        day = text[:8]
        if not _is_day(day) or len(text) % 2 or text[10:12] > "59" or text[12:14] > "59":
            raise BadValue("not a time")
        offset = _offset_of_day(day, zone_name)
        if offset is not None:
            minute, second = text[10:12] or "00", text[12:14] or "00"
            return f"{day[:4]}-{day[4:6]}-{day[6:]}T{text[8:10]}:{minute}:{second}{offset}"
    match = _TS.match(text) or _ISO.match(text)
    if match is None:
        raise BadValue("not a time")
    if match.group(4) is None:
        return iso_date(text)
    moment = _moment(match, zone_name)
    fraction = match.group(7) or ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + fraction + _offset_text(moment)


def _moment(match: re.Match[str], zone_name: str) -> datetime:
    year, month, day, hour, minute, second = (int(group) if group else None for group in match.group(1, 2, 3, 4, 5, 6))
    sign, off_hours, off_minutes = match.group(8, 9, 10)
    next_day = hour == 24
    try:
        moment = datetime(year or 0, month or 1, day or 1, 0 if next_day else hour or 0, minute or 0, second or 0)  # noqa: DTZ001 zone follows
        if sign:
            shift = timedelta(hours=int(off_hours), minutes=int(off_minutes))
            moment = moment.replace(tzinfo=timezone(-shift if sign == "-" else shift))
        else:
            ends_utc = match.re is _ISO and match.string.rstrip().endswith("Z")
            moment = moment.replace(tzinfo=UTC if ends_utc else zone(zone_name))
        return moment + timedelta(days=1) if next_day else moment
    except (ValueError, OverflowError):
        raise BadValue("not a time") from None


@lru_cache(maxsize=1024)
def _midnight(day: str, zone_name: str) -> int | None:
    """µs of the first moment of a day (YYYYMMDD) that has one offset throughout; None where it has two, or is no day."""
    if not _is_day(day) or _offset_of_day(day, zone_name) is None:
        return None
    return (datetime(int(day[:4]), int(day[4:6]), int(day[6:8]), tzinfo=zone(zone_name)) - _EPOCH) // _MICROSECOND


def micros(text: str, zone_name: str) -> int:
    """A TS as µs since 1970 UTC; what it does not say (month … second) counts as the first. Raises BadValue."""
    if len(text) == 14 and text.isdecimal() and text.isascii() and text[8:10] < "24" and text[10:12] < "60" and text[12:] < "60":
        midnight = _midnight(text[:8], zone_name)
        if midnight is not None:
            return midnight + (int(text[8:10]) * 3600 + int(text[10:12]) * 60 + int(text[12:])) * 1_000_000
    match = _TS.match(text) or _ISO.match(text)
    if match is None:
        raise BadValue("not a time")
    fraction = match.group(7)
    extra = int(fraction[1:].ljust(6, "0")) if fraction else 0
    return (_moment(match, zone_name) - _EPOCH) // _MICROSECOND + extra


def later(iso: str, minutes: int) -> str:
    """An ISO time with offset, `minutes` later in the same offset; raises BadValue where it has no time of day."""
    try:
        moment = datetime.fromisoformat(iso)
        if moment.tzinfo is None:
            raise BadValue("not a time")
        return (moment + timedelta(minutes=minutes)).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise BadValue("not a time") from None
