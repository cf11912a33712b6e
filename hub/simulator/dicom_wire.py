"""DICOM as bytes, for senders that do not behave: requests whole, to be cut, held back, doubled or spoilt by the sender."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from hub.codecs.dicom import command, pdu, uid
from hub.codecs.dicom.writer import UTF8, data_set

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
RELEASE = bytes((5, 0, 0, 0, 0, 4, 0, 0, 0, 0))
HUGE = bytes((4, 0, 0xFF, 0xFF, 0xFF, 0xFF))  # the head of a P-DATA-TF of 4 GB


def associate(
    called: str = "HUB", calling: str = "MODALITY", abstract: str = SECONDARY_CAPTURE, transfer: str = uid.EXPLICIT_LITTLE
) -> bytes:
    """A-ASSOCIATE-RQ with one presentation context, number 1 (PS3.8 section 9.3.2)."""
    context = bytes((1, 0, 0, 0)) + _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, pdu.IMPLEMENTATION_UID.encode())
    body = struct.pack(">HH16s16s32x", 1, 0, called.encode().ljust(16), calling.encode().ljust(16))
    body += _item(0x10, pdu.APPLICATION_CONTEXT.encode()) + _item(0x20, context) + _item(0x50, user)
    return struct.pack(">BBI", 1, 0, len(body)) + body


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def request(operation: int, message_id: int, sop_class: str, instance: str, data: bytes = b"", *, longest: int = 16384) -> bytes:
    """One DIMSE request in context 1."""
    values = [
        (0x0002, sop_class.encode() + b"\0" * (len(sop_class) % 2)), (0x0100, struct.pack("<H", operation)),
        (0x0110, struct.pack("<H", message_id)), (0x0700, b"\0\0"), (0x0800, struct.pack("<H", 1 if data else command.NO_DATA)),
        (0x1000, instance.encode() + b"\0" * (len(instance) % 2)),
    ]  # fmt: skip
    body = b"".join(struct.pack("<HHI", 0, element, len(value)) + value for element, value in values)
    body = struct.pack("<HHII", 0, 0, 4, len(body)) + body
    return b"".join(pdu.p_data(1, body, data, longest))


def header(number: str, study: str, *, name: str = "Hong^Gildong=洪^吉洞=홍^길동", **more: Any) -> dict[str, Any]:
    """The columns of a made-up instance, the first of the only series of its study."""
    return {
        "SOPClassUID": SECONDARY_CAPTURE, "SOPInstanceUID": f"{study}.1.1", "StudyDate": "20261122", "StudyTime": "090000",
        "AccessionNumber": f"A{number}"[:16], "Modality": "OT", "PatientName": name, "PatientID": number,
        "PatientBirthDate": "19870504", "PatientSex": "M", "StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1",
        "SeriesNumber": 1, **more,
    }  # fmt: skip


def store(row: Mapping[str, Any], message_id: int = 1, pixels: bytes = b"", *, terms: tuple[str, ...] = UTF8) -> bytes:
    """C-STORE of an instance in explicit VR little endian."""
    data = data_set(row, uid.EXPLICIT_LITTLE, terms)
    if pixels:
        data += struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(pixels)) + pixels
    return request(command.Operation.C_STORE, message_id, row["SOPClassUID"], row["SOPInstanceUID"], data)


def pdus(received: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole PDUs among received bytes: type and body."""
    at = 0
    while len(received) - at >= pdu.HEAD:
        length = int.from_bytes(received[at + 2 : at + 6], "big")
        if len(received) - at - pdu.HEAD < length:
            return
        yield received[at], received[at + pdu.HEAD : at + pdu.HEAD + length]
        at += pdu.HEAD + length


def statuses(received: bytes) -> list[int]:
    """The status of each DIMSE response among them."""
    return [status for kind, body in pdus(received) if kind == pdu.Type.P_DATA and (status := _status(body)) is not None]


def _status(body: bytes) -> int | None:
    """(0000,0900) of a P-DATA-TF that holds a whole command set."""
    at = 6
    while len(body) - at >= 8:
        group, element, length = struct.unpack_from("<HHI", body, at)
        if (group, element) == (0x0000, 0x0900):
            return int.from_bytes(body[at + 8 : at + 8 + length], "little")
        at += 8 + length
    return None
