"""Protocol data units of the upper layer (PS3.8 section 9.3), as both ends of an association read and write them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from hub.codecs.dicom import uid
from hub.domain.errors import Unreadable, Where

HEAD = 6  # type, reserved, length (4, big endian)
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
# of this hub at either end, under the root of UUIDs (PS3.5 annex B.2)
IMPLEMENTATION_UID = "2.25.270353086419350938437838271843716093391"
IMPLEMENTATION_NAME = b"HOSPITAL_HUB"
MOST_CONTEXTS = 128  # odd numbers up to 255 (PS3.8 section 9.3.2.2)


class Type(IntEnum):
    """PS3.8 table 9-1."""

    ASSOCIATE_RQ = 1
    ASSOCIATE_AC = 2
    ASSOCIATE_RJ = 3
    P_DATA = 4
    RELEASE_RQ = 5
    RELEASE_RP = 6
    ABORT = 7


class Rejection(NamedTuple):
    """Result, source and reason (PS3.8 table 9-21)."""

    result: int
    source: int
    reason: int


CONTEXT_UNKNOWN = Rejection(1, 1, 2)
CALLING_UNKNOWN = Rejection(1, 1, 3)
CALLED_UNKNOWN = Rejection(1, 1, 7)
VERSION_UNKNOWN = Rejection(1, 2, 2)
TOO_MANY = Rejection(2, 3, 2)

ABORT_UNKNOWN, ABORT_UNEXPECTED, ABORT_INVALID = 1, 2, 6  # reasons of a provider's abort (PS3.8 table 9-26)
ACCEPTED, NO_ABSTRACT, NO_TRANSFER = 0, 3, 4  # answers to a presentation context (PS3.8 table 9-18)


class Proposed(NamedTuple):
    """One presentation context that is asked for."""

    abstract: str
    transfers: tuple[str, ...]


class Request(NamedTuple):
    """A-ASSOCIATE-RQ. `longest`: what the other end takes in one PDU, 0: anything."""

    called: str
    calling: str
    contexts: Mapping[int, Proposed]
    longest: int
    version: int
    application: str


class Fragment(NamedTuple):
    """One presentation data value: a piece of a command or of a data set (PS3.8 annex E)."""

    context: int
    command: bool
    last: bool
    data: memoryview


def request(body: bytes) -> Request:
    """An A-ASSOCIATE-RQ behind its head. Raises Unreadable."""
    if len(body) < 68:
        raise _wrong("A-ASSOCIATE-RQ is too short", len(body))
    version = int.from_bytes(body[:2], "big")
    called, calling = _title(body[4:20]), _title(body[20:36])
    contexts: dict[int, Proposed] = {}
    application, longest = "", 0
    for kind, item in _items(body, 68, len(body)):
        if kind == 0x10:
            application = _uid(item)
        elif kind == 0x20:
            number, proposed = _context(item)
            if number in contexts or not number % 2:
                raise _wrong("a presentation context's number comes twice or is even", 68)
            contexts[number] = proposed
        elif kind == 0x50:
            for inner, value in _items(item, 0, len(item)):
                if inner == 0x51 and len(value) == 4:
                    longest = int.from_bytes(value, "big")
    return Request(called, calling, contexts, longest, version, application)


def _context(item: bytes) -> tuple[int, Proposed]:
    if len(item) < 4:
        raise _wrong("a presentation context is too short", 0)
    abstract, transfers = "", []
    for kind, value in _items(item, 4, len(item)):
        if kind == 0x30:
            abstract = _uid(value)
        elif kind == 0x40:
            transfers.append(_uid(value))
    return item[0], Proposed(abstract, tuple(transfers))


def _items(body: bytes, at: int, end: int) -> Iterator[tuple[int, bytes]]:
    while at < end:
        if end - at < 4:
            raise _wrong("an item is too short", at)
        length = int.from_bytes(body[at + 2 : at + 4], "big")
        if length > end - at - 4:
            raise _wrong("an item is longer than what it stands in", at)
        yield body[at], body[at + 4 : at + 4 + length]
        at += 4 + length


def _uid(value: bytes) -> str:
    text = value.decode("ascii", "replace").rstrip("\0 ")
    if not uid.is_uid(text):
        raise _wrong("an association is asked for with a UID that is none", 0)
    return text


def _title(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")


def _wrong(reason: str, at: int) -> Unreadable:
    return Unreadable(reason, where=Where(offset=at), code="not_a_pdu")


def _pdu(kind: Type, body: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(body)) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def accept(called: str, calling: str, answers: Mapping[int, tuple[int, str]], longest: int) -> bytes:
    """A-ASSOCIATE-AC. `answers`: number of the context -> (ACCEPTED …, transfer syntax); `longest`: what we take in one PDU."""
    body = struct.pack(
        ">HH16s16s32x", 1, 0, called.encode("ascii", "replace").ljust(16), calling.encode("ascii", "replace").ljust(16)
    )
    body += _item(0x10, APPLICATION_CONTEXT.encode("ascii"))
    for number, (answer, transfer) in answers.items():
        body += _item(0x21, bytes((number, 0, answer, 0)) + _item(0x40, transfer.encode("ascii")))
    return _pdu(Type.ASSOCIATE_AC, body + _user(longest))


def _user(longest: int) -> bytes:
    """User information (PS3.7 annex D.3.3)."""
    most, who = _item(0x51, struct.pack(">I", longest)), _item(0x52, IMPLEMENTATION_UID.encode("ascii"))
    return _item(0x50, most + who + _item(0x55, IMPLEMENTATION_NAME))


def ask(called: str, calling: str, contexts: Mapping[int, Proposed], longest: int) -> bytes:
    """A-ASSOCIATE-RQ. `longest`: what we take in one PDU."""
    body = struct.pack(">HH16s16s32x", 1, 0, called.encode("ascii").ljust(16), calling.encode("ascii").ljust(16))
    body += _item(0x10, APPLICATION_CONTEXT.encode("ascii"))
    for number, proposed in contexts.items():
        transfers = b"".join(_item(0x40, one.encode("ascii")) for one in proposed.transfers)
        body += _item(0x20, bytes((number, 0, 0, 0)) + _item(0x30, proposed.abstract.encode("ascii")) + transfers)
    return _pdu(Type.ASSOCIATE_RQ, body + _user(longest))


class Accepted(NamedTuple):
    """A-ASSOCIATE-AC. `answers` as of `accept`; `longest`: what the other end takes in one PDU, 0: anything."""

    answers: Mapping[int, tuple[int, str]]
    longest: int


def accepted(body: bytes) -> Accepted:
    """An A-ASSOCIATE-AC behind its head. Raises Unreadable."""
    if len(body) < 68:
        raise _wrong("A-ASSOCIATE-AC is too short", len(body))
    answers, longest = {}, 0
    for kind, item in _items(body, 68, len(body)):
        if kind == 0x21:
            if len(item) < 4:
                raise _wrong("a presentation context is too short", 0)
            # the transfer syntax of one that was not accepted says nothing (PS3.8 section 9.3.3.2)
            inner = () if item[2] else _items(item, 4, len(item))
            answers[item[0]] = (item[2], next((_uid(value) for sub, value in inner if sub == 0x40), ""))
        elif kind == 0x50:
            found = [value for sub, value in _items(item, 0, len(item)) if sub == 0x51 and len(value) == 4]
            longest = int.from_bytes(found[0], "big") if found else 0
    return Accepted(answers, longest)


def rejection(body: bytes) -> Rejection:
    """An A-ASSOCIATE-RJ behind its head. Raises Unreadable."""
    if len(body) != 4:
        raise _wrong("A-ASSOCIATE-RJ is not of four bytes", 0)
    return Rejection(*body[1:4])


def reject(why: Rejection) -> bytes:
    return _pdu(Type.ASSOCIATE_RJ, bytes((0, *why)))


def abort(reason: int = 0, *, provider: bool = True) -> bytes:
    """By the service provider with its reason, or by the service's user."""
    return _pdu(Type.ABORT, bytes((0, 0, 2 if provider else 0, reason if provider else 0)))


def release() -> bytes:
    return _pdu(Type.RELEASE_RQ, bytes(4))


def release_answer() -> bytes:
    return _pdu(Type.RELEASE_RP, bytes(4))


def fragments(body: bytes) -> list[Fragment]:
    """The values in a P-DATA-TF behind its head. Raises Unreadable."""
    found, at, view = [], 0, memoryview(body)
    while at < len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        if len(body) - at < 6 or length < 2 or length > len(body) - at - 4:
            raise _wrong("a presentation data value is not as long as it says", at)
        control = body[at + 5]
        found.append(Fragment(body[at + 4], bool(control & 1), bool(control & 2), view[at + 6 : at + 4 + length]))
        at += 4 + length
    if not found:
        raise _wrong("P-DATA-TF without a value", 0)
    return found


def p_data(context: int, command: bytes, data: bytes, longest: int) -> Iterable[bytes]:
    """A message as P-DATA-TF PDUs of at most `longest` bytes behind their head (0: no limit)."""
    room = (min(longest, 1 << 20) if longest else 1 << 16) - 6
    for part, flag in ((command, 1), (data, 0)):
        for at in range(0, len(part), room):
            piece = part[at : at + room]
            control = flag | (2 if at + room >= len(part) else 0)
            yield _pdu(Type.P_DATA, struct.pack(">IBB", len(piece) + 2, context, control) + piece)


def chosen(proposed: Sequence[str], preferred: Sequence[str]) -> str:
    """The first of `preferred` that is proposed; "" where none is."""
    return next((one for one in preferred if one in proposed), "")
