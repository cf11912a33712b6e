"""One entry of the audit log as bytes, and its leaf hash: the part that must never change, or old logs stop verifying.

The bytes of an entry are a JSON array of its columns in the order of EntryRow, UTF-8, no spaces; `detail` is in it as the
text that is stored, so nothing is parsed and written again. They hold no patient data: `detail` carries codes, field
names, numbers and keyed digests, and ids are the hub's own. So erasing bodies and patients never touches the log.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson


class EntryRow(NamedTuple):
    """An entry as it stands in the table `entry`, in the order in which its columns are hashed."""

    id: int
    at: int  # µs UTC
    action: str
    actor: str
    channel: str
    message_id: int | None
    resource_id: str | None
    detail: str  # canonical JSON text, see detail_text


def leaf_bytes(row: EntryRow) -> bytes:
    """The canonical bytes of an entry. `row` may be any sequence with the columns of EntryRow."""
    return orjson.dumps((*row,))


def leaf_hash(row: EntryRow) -> bytes:
    """RFC 6962 §2.1: SHA-256(0x00 ‖ entry)."""
    return sha256(b"\x00" + orjson.dumps((*row,))).digest()


def leaf_hashes(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The leaf hashes of many rows, 32 bytes each, in one piece. Rows are plain tuples as the driver gives them (orjson
    takes no named ones): with the columns of EntryRow in its order."""
    dumps, digest = orjson.dumps, sha256
    try:
        return b"".join([digest(b"\x00" + dumps(row)).digest() for row in rows])
    except TypeError:  # a value that this program never writes (SQLite holds any type anywhere): no leaf has such a hash
        return b"".join([_any_hash(row) for row in rows])


def _any_hash(row: tuple[Any, ...]) -> bytes:
    try:
        return sha256(b"\x00" + orjson.dumps(row)).digest()
    except TypeError:
        return sha256(b"\x02" + repr(row).encode("utf-8", "backslashreplace")).digest()


def detail_text(detail: dict[str, Any]) -> str:
    """`detail` as it is stored: JSON with sorted keys."""
    return orjson.dumps(detail, option=orjson.OPT_SORT_KEYS).decode() if detail else "{}"


_TOKEN = re.compile(r"[A-Za-z0-9_*][A-Za-z0-9_.:/@^+*=,\[\]()\-]{0,119}\Z")
_HEX = re.compile(r"[0-9a-f]{16,64}\Z|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_PERSONAL = re.compile(r"\d{6}|\d{2,4}-\d{3,4}-\d{4}")  # registration numbers, dates of birth, telephone numbers
_REASON_MAX = 200


def check_detail(detail: Any, where: str = "detail") -> None:
    """Raise ValueError where `detail` holds what is no code, field name, number, flag or digest.

    Cheap, and so a guard against slips, not a proof: sentences, names in any script, telephone and registration numbers
    do not pass. One key may hold a sentence: `reason`, which an operator typed, at most 200 characters and without long
    numbers; the form that asks for it says that it stays for ever and that no patient is to be named in it.
    """
    if detail is None or isinstance(detail, bool | int):
        return
    if isinstance(detail, str):
        if detail and not _HEX.match(detail) and (not _TOKEN.match(detail) or _PERSONAL.search(detail)):
            raise ValueError(f"{where}: an audit detail holds codes, field names, numbers and digests only")
    elif isinstance(detail, dict):
        for key, value in detail.items():
            check_detail(key, where)
            if key == "reason" and isinstance(value, str):
                _check_reason(value, where)
            else:
                check_detail(value, f"{where}.{key}")
    elif isinstance(detail, list | tuple):
        for n, value in enumerate(detail):
            check_detail(value, f"{where}[{n}]")
    else:
        raise ValueError(f"{where}: a {type(detail).__name__} has no place in an audit detail")


def _check_reason(text: str, where: str) -> None:
    if len(text) > _REASON_MAX or _PERSONAL.search(text):
        raise ValueError(f"{where}.reason: at most {_REASON_MAX} characters and no telephone or registration number")
