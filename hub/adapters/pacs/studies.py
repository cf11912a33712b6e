"""What every way of asking a PACS for studies shares: the row's key, days, and studies that are gone."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from hub.codecs.dicom import uid
from hub.domain.ports import Feed, Found

KEY = "StudyInstanceUID"
CONDITIONS = ("PatientID", "AccessionNumber", "ModalitiesInStudy", "StudyInstanceUID", "InstitutionName", "StudyID")


def found(row: Mapping[str, Any], refused: str | None = None) -> Found:
    """A study by its UID; what has none that DICOM allows is kept, and refused, under a digest of itself."""
    number = row.get(KEY)
    if refused is None and isinstance(number, str) and uid.is_uid(number):
        return Found({KEY: number}, row)
    digest = hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Found({"unnamed": digest}, row, refused or "a study without a Study Instance UID")


def day_of(text: str) -> dt.date | None:
    """2026-11-22 or 20261122."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


def text_of(day: dt.date) -> str:
    """As DICOM writes it (VR DA)."""
    return f"{day:%Y%m%d}"


def gone_of(feed: Feed, gone_event: str, day: str, seen: set[bytes], still: Callable[[Sequence[str]], set[str]]) -> int:
    """Studies that were of that day when it was last asked for, and are nowhere now; how many messages that made.

    `seen`: digests of what is of that day now. `still` says which of these UIDs the PACS has, whatever their date: a study that
    was given another date is not gone. The digests of a day are its place: they say nothing of anybody.
    """
    before = {bytes.fromhex(digest) for digest in orjson.loads(feed.place(f"day:{day}") or "[]")}
    if before == seen:
        return 0
    told = 0
    named = {digest: str(key.get(KEY, "")) for digest, key in feed.names(sorted(before - seen))}
    if named:
        there = still(sorted(filter(None, named.values())))
        told = feed.gone(gone_event, [digest for digest, number in named.items() if number not in there])
    feed.keep(f"day:{day}", orjson.dumps(sorted(digest.hex() for digest in seen)).decode())
    return told
