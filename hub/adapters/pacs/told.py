"""What C-STORE, STOW-RS and MPPS have in common: whose a row is, what is refused, and which rows of a series are news.

A series is told by each of its instances. What each sender said of it last is remembered (docs/adr/0161): the same again is no
news; anything else is, also what was said before that, because a header may be corrected and the correction taken back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from hub.codecs import korean
from hub.codecs.dicom.command import Status
from hub.domain.errors import Unreadable
from hub.domain.facts import Key
from hub.domain.ports import Memory, Received

SERIES = "dicom.series"
TRIES = 3  # where another process is told of the same thing at the same time
LAST = "last"  # of what is remembered: a digest of what was said last


class Said(NamedTuple):
    """What an instance says of its series: which series, and a digest of all of its row."""

    series: str
    digest: str


def said(row: Mapping[str, Any], body: bytes) -> Said:
    """`row`: one that `check` let pass; `body`: all of it."""
    return Said(row["SeriesInstanceUID"], digest(body))


def digest(body: bytes) -> str:
    """To know it when it comes again. It stands in what is sealed, or in memory, and nowhere else."""
    return hashlib.sha256(body).hexdigest()


def check(row: Mapping[str, Any]) -> None:
    """Raises Unreadable, "mismatch", where a row names no study or no series."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not isinstance(row.get(keyword), str):
            raise Unreadable(f"{keyword} is missing", code="mismatch")


def patient_of(row: Mapping[str, Any], assigner: str) -> Key | None:
    """For lane and search; a resident registration number is never one. `assigner`: of numbers that come without an issuer."""
    number, issuer = row.get("PatientID"), row.get("IssuerOfPatientID")
    if not isinstance(number, str) or korean.looks_like_rrn(number):
        return None
    return Key(issuer if isinstance(issuer, str) else assigner, number)


def status_of(error: Unreadable) -> Status:
    """Of an instance that cannot be taken (PS3.4 table B.2-1, PS3.18 table I.2-2)."""
    return Status.MISMATCH if error.code == "mismatch" else Status.NOT_UNDERSTOOD


def reason_of(error: Unreadable) -> str:
    return f"{error.reason} ({error.where})" if str(error.where) else error.reason


class Last:
    """What each sender of one channel said last of each series. As thread-safe as its memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def recall(self, sender: str, series: str) -> tuple[int, str]:
        """How often its row has changed (0: never heard of it), and the digest of the last one. TryAgain: no store."""
        n, what = self._memory.recall(_name(sender, series))
        return n, str(what.get(LAST, ""))

    def changed(self, received: Received, what: Said, n: int) -> Received:
        """The message of the n-th row, which is remembered with it. The control id counts: a row that comes back is news."""
        received.control_id = f"{what.series}.{n}"
        received.mark = self._memory.mark(_name(received.sender, what.series), n, {LAST: what.digest})
        received.mark_before = n - 1
        return received


def _name(sender: str, series: str) -> str:
    return f"series {series} {sender}"
