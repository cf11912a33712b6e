"""What intake must know of a message before anything else: a look at the bytes, a few µs, no decoding of the rest.

Reads only fields that stand before any name (MSH, PID-3, MRG-1), so that delimiter bytes inside multi-byte characters
of Big5 or Shift-JIS names cannot mislead it.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from hub.codecs.hl7v2.charset import codec_for, decode
from hub.codecs.hl7v2.reader import Delimiters, find_header, locate, unescape
from hub.domain.errors import Unreadable

_TWO_PIDS = ("A17", "A24", "A37")  # swap, link, unlink: the second patient is a second PID


class Peek(NamedTuple):
    """Header fields as they stand (still escaped), the type cleaned, patient numbers unescaped."""

    sending_application: str  # MSH-3
    sending_facility: str  # MSH-4
    type: str  # "ADT^A08"; "ADT" where no event is given
    structure: str  # MSH-9.3
    control_id: str  # MSH-10
    processing_id: str  # MSH-11.1
    version: str  # MSH-12.1
    accept_ack: str  # MSH-15
    application_ack: str  # MSH-16
    charset: str  # MSH-18
    patient: tuple[str, str] | None  # (assigner, number), the assigner "" where CX.4 is absent
    other_patient: tuple[str, str] | None  # MRG-1, or the second PID of A17, A24, A37
    content: bytes  # the body without MSH-7
    receiving_application: str = ""  # MSH-5
    receiving_facility: str = ""  # MSH-6
    delimiters: Delimiters = Delimiters("|", "^", "~", "\\", "&")
    codec: str = "utf-8"  # the Python codec that MSH-18, or else the channel's default, means


def peek(body: bytes, default_charset: str = "utf-8") -> Peek:
    """Look at one message. Tolerant: absent fields are "". Raises Unreadable where there is no usable MSH."""
    start, marks = find_header(body)
    if start or b"\n" in body:
        body = body[start:].replace(b"\r\n", b"\r").replace(b"\n", b"\r")
    mark = marks.field.encode()
    end = body.find(b"\r")
    head = body[:end] if end >= 0 else body
    parts = head.split(mark)
    if len(parts) < 18:
        parts += [b""] * (18 - len(parts))
    codec = codec_for(parts[17].decode("latin-1"), default_charset)
    try:
        fields = head.decode("ascii").split(marks.field)
    except UnicodeDecodeError:
        try:
            fields = decode(head, codec).split(marks.field)
        except Unreadable as error:
            offset = error.where.offset or 0
            where = locate(head, 0, offset, codec, marks)
            error.where = dataclasses.replace(where, offset=start + offset)
            raise
    if len(fields) < 18:
        fields += [""] * (18 - len(fields))
    component = marks.component
    kind = fields[8].split(component) if component else [fields[8]]
    event = _event(kind, body, mark)
    structure = kind[2] if len(kind) > 2 else ""
    pid = body.find(b"\rPID" + mark)
    patient = _number(body, pid, mark, marks, codec, 3) if pid >= 0 else None
    if patient is None and pid >= 0:
        patient = _number(body, pid, mark, marks, codec, 2)  # v2.2 and before: the external number
    other = None
    mrg = body.find(b"\rMRG" + mark)
    if mrg >= 0:
        other = _number(body, mrg, mark, marks, codec, 1)
    elif pid >= 0 and event[-3:] in _TWO_PIDS:
        second = body.find(b"\rPID" + mark, pid + 4)
        other = _number(body, second, mark, marks, codec, 3) if second >= 0 else None
    before = len(mark.join(parts[:6])) + 1  # where MSH-7 begins
    content = body[:before] + body[before + len(parts[6]) :]
    return Peek(
        fields[2], fields[3], event, structure, fields[9],
        fields[10].split(component, 1)[0] if component else fields[10],
        fields[11].split(component, 1)[0] if component else fields[11],
        fields[14], fields[15], fields[17], patient, other, content, fields[4], fields[5], marks, codec,
    )  # fmt: skip


def _event(kind: list[str], body: bytes, mark: bytes) -> str:
    """MSH-9.1^MSH-9.2; EVN-1 where the event is missing; a soft hyphen and the like are dropped."""
    code = kind[0]
    trigger = kind[1] if len(kind) > 1 else ""
    if not trigger and code not in ("", "ACK"):
        evn = body.find(b"\rEVN" + mark)
        if evn >= 0:
            trigger = body[evn + 5 : evn + 8].decode("latin-1")
            trigger = trigger if trigger.isalnum() else ""
    text = f"{code}^{trigger}" if trigger else code
    if text.isascii() and " " not in text:
        return text
    return "".join(c for c in text if c == "^" or (c.isascii() and (c.isalnum() or c == "_")))


def _number(body: bytes, at: int, mark: bytes, marks: Delimiters, codec: str, field: int) -> tuple[str, str] | None:
    """First repetition of a CX field as (CX.4.1 or CX.4.2, CX.1)."""
    end = body.find(b"\r", at + 1)
    parts = body[at + 1 : end if end >= 0 else len(body)].split(mark, field + 1)
    if len(parts) <= field or not parts[field]:
        return None
    raw = parts[field]
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        text = decode(raw, codec)
    if marks.repetition:
        text = text.split(marks.repetition, 1)[0]
    components = text.split(marks.component) if marks.component else [text]
    number = components[0].split(marks.subcomponent, 1)[0] if marks.subcomponent else components[0]
    if not number or number == '""':
        return None
    assigner = components[3] if len(components) > 3 else ""
    if assigner and marks.subcomponent and marks.subcomponent in assigner:
        namespace, universal = assigner.split(marks.subcomponent)[:2]
        assigner = namespace or universal
    if assigner == '""':
        assigner = ""
    if marks.escape and marks.escape in text:
        return unescape(assigner, marks, codec), unescape(number, marks, codec)
    return assigner, number
