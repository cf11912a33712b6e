"""Command sets of DIMSE messages (PS3.7 section 6.3 and annex E): implicit VR little endian, group 0000 and nothing else."""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from hub.codecs.dicom import uid
from hub.domain.errors import Unreadable, Where

MOST = 16 << 10  # bytes of a command set; those of the standard stay under one kilobyte
NO_DATA = 0x0101
RESPONSE = 0x8000
CANCEL = 0x0FFF


class Operation(IntEnum):
    """Command Field (0000,0100) of requests."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    N_GET = 0x0110
    N_SET = 0x0120
    N_ACTION = 0x0130
    N_CREATE = 0x0140
    N_DELETE = 0x0150


class Status(IntEnum):
    """Status (0000,0900) as we give it (PS3.7 annex C, PS3.4 annexes B, F and K)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    INVALID_ATTRIBUTE = 0x0106
    DUPLICATE_INSTANCE = 0x0111
    NO_SUCH_INSTANCE = 0x0112
    MISSING_ATTRIBUTE = 0x0120
    NO_SUCH_CLASS = 0x0118
    NOT_SUPPORTED = 0x0122  # SOP class not supported
    UNRECOGNISED = 0x0211
    RESOURCES = 0xA700
    MISMATCH = 0xA900  # identifier or data set does not match the SOP class
    NOT_UNDERSTOOD = 0xC000
    CANCELLED = 0xFE00
    PENDING = 0xFF00


_UIDS = {0x0002, 0x0003, 0x1000, 0x1001}  # affected and requested SOP class and instance
_CLASSES, _INSTANCES = (0x0002, 0x0003), (0x1000, 0x1001)


class Command(NamedTuple):
    """A request's command set: its UIDs and numbers by element of group 0000."""

    operation: int
    message_id: int
    has_data: bool
    sop_class: str
    sop_instance: str
    numbers: dict[int, int]  # the other unsigned shorts


def read(data: bytes) -> Command:
    """Raises Unreadable."""
    at, found = 0, dict[int, bytes]()
    while at < len(data):
        if len(data) - at < 8:
            raise _wrong("a command set ends in the middle of an element", at)
        group, element, length = struct.unpack_from("<HHI", data, at)
        if group or length > len(data) - at - 8:
            raise _wrong("a command set has an element that is none of its own, or longer than it", at)
        found[element] = data[at + 8 : at + 8 + length]
        at += 8 + length
    numbers = {
        element: int.from_bytes(value, "little") for element, value in found.items() if len(value) == 2 and element not in _UIDS
    }
    for element in (0x0100, 0x0800):
        if element not in numbers:
            raise _wrong(f"(0000,{element:04X}) is missing in a command set", 0)
    operation = numbers[0x0100]
    message_id = numbers.get(0x0120 if operation == CANCEL or operation & RESPONSE else 0x0110)
    if message_id is None:
        raise _wrong("(0000,0110) is missing in a command set", 0)
    sop_class, sop_instance = (_first_uid(found, elements) for elements in (_CLASSES, _INSTANCES))
    return Command(operation, message_id, numbers[0x0800] != NO_DATA, sop_class, sop_instance, numbers)


def _first_uid(found: dict[int, bytes], elements: tuple[int, int]) -> str:
    for element in elements:
        text = found.get(element, b"").decode("ascii", "replace").rstrip("\0 ")
        if text and not uid.is_uid(text):
            raise _wrong(f"(0000,{element:04X}) is no UID", 0)
        if text:
            return text
    return ""


def request(operation: int, message_id: int, sop_class: str, *, has_data: bool = False) -> bytes:
    """A request's command set; of a C-CANCEL `message_id` is that of what is cancelled (PS3.7 sections 9.3.2, 9.3.5)."""
    about = (
        [(0x0002, _text(sop_class)), (0x0110, _number(message_id))] if operation != CANCEL else [(0x0120, _number(message_id))]
    )
    priority = [(0x0700, _number(0))] if operation in (Operation.C_FIND, Operation.C_STORE) else []
    data = (0x0800, _number(0x0001 if has_data else NO_DATA))
    body = b"".join(
        _element(element, value) for element, value in sorted([*about, (0x0100, _number(operation)), *priority, data])
    )
    return _element(0x0000, struct.pack("<I", len(body))) + body


def answer(to: Command, status: int, *, has_data: bool = False, comment: str = "", instance: str = "") -> bytes:
    """A response's command set. `comment`: no patient data, cut to the 64 characters of its VR; `instance`: one that we named."""
    elements = [
        (0x0002, _text(to.sop_class)), (0x0100, _number(to.operation | RESPONSE)), (0x0120, _number(to.message_id)),
        (0x0800, _number(0x0001 if has_data else NO_DATA)), (0x0900, _number(status)),
        (0x0902, comment.encode("ascii", "replace")[:64]), (0x1000, _text(instance or to.sop_instance)),
    ]  # fmt: skip
    body = b"".join(_element(element, value) for element, value in elements if value)
    return _element(0x0000, struct.pack("<I", len(body))) + body


def _element(element: int, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HHI", 0, element, len(value)) + value


def _text(text: str) -> bytes:
    raw = text.encode("ascii")
    return raw + b"\0" * (len(raw) % 2)


def _number(value: int) -> bytes:
    return struct.pack("<H", value)


def _wrong(reason: str, at: int) -> Unreadable:
    return Unreadable(reason, where=Where(offset=at), code="not_a_command")
