"""One entry of the audit log as bytes, and its leaf hash: the part that must never change, or old logs stop verifying.

The bytes of an entry are a JSON array of its columns in the order of EntryRow, UTF-8, no spaces; `detail` is in it as the
text that is stored, so nothing is parsed and written again. They hold no patient data: `detail` carries codes, field
names, numbers and keyed digests, and ids are the hub's own. So erasing bodies and patients never touches the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
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


def leaf_hashes(rows: Iterable[Any]) -> list[bytes]:
    """leaf_hash of many rows (any sequences with the columns of EntryRow), without a call a row."""
    dumps, digest = orjson.dumps, sha256
    return [digest(b"\x00" + dumps((*row,))).digest() for row in rows]


def detail_text(detail: dict[str, Any]) -> str:
    """`detail` as it is stored: JSON with sorted keys."""
    return orjson.dumps(detail, option=orjson.OPT_SORT_KEYS).decode() if detail else "{}"


_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@^+*\[\]()\-]{0,79}\Z")
_DIGITS = re.compile(r"\d{5}")
_HEX = re.compile(r"[0-9a-f]{32,64}\Z|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def check_detail(detail: Any, where: str = "detail") -> None:
    """Raise ValueError where `detail` holds what is no code, field name, number, flag or digest.

    Cheap, and so a guard against slips, not a proof: free text, names in any script, phone numbers and registration
    numbers do not pass. `reason`, which an operator writes, does not belong here: it is sealed or a code.
    """
    if detail is None or isinstance(detail, bool | int):
        return
    if isinstance(detail, str):
        if detail and not _HEX.match(detail) and (not _TOKEN.match(detail) or _DIGITS.search(detail)):
            raise ValueError(f"{where}: an audit detail holds codes, field names, numbers and digests only")
    elif isinstance(detail, dict):
        for key, value in detail.items():
            check_detail(key, where)
            check_detail(value, f"{where}.{key}")
    elif isinstance(detail, list | tuple):
        for n, value in enumerate(detail):
            check_detail(value, f"{where}[{n}]")
    else:
        raise ValueError(f"{where}: a {type(detail).__name__} has no place in an audit detail")
