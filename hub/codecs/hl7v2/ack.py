"""Answers: which ones a message asks for, with which codes, and their bytes (HL7 v2.5.1 §2.9.2, §2.9.3, §2.15).

Original mode (MSH-15 and MSH-16 both empty): one answer, AA, AE or AR. Enhanced mode: the accept answer CA, CE or CR
where MSH-15 asks for it, then the application answer AA, AE or AR where MSH-16 asks. Ours may follow at once and on the same
connection: both mean "stored and readable", and what fails later goes DEAD here, not back.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from hub.codecs.hl7v2.peek import Peek
from hub.codecs.hl7v2.reader import DEFAULT_DELIMITERS, find_header
from hub.codecs.hl7v2.writer import escape
from hub.domain.errors import Misconfigured, Unreadable, Where


class Reason(StrEnum):
    """Why a message gets the answer it gets."""

    STORED = "stored"
    TRY_AGAIN = "try_again"  # our store is down, busy or full: the same message is welcome later
    UNREADABLE = "unreadable"  # its content must change before it is sent again
    NOT_FOR_US = "not_for_us"  # MSH-9, MSH-11 or MSH-12 is none that this channel takes


ORIGINAL, ACCEPT, APPLICATION = "original", "accept", "application"
Codes = Mapping[tuple[str, Reason], str]

# §2.9.2.2: AE = content is at fault; AR = MSH-9/11/12, or a reason unrelated to content (system down).
# §2.9.3.1: CR = MSH-9/11/12; CE = the message cannot be accepted for any other reason.
ANSWER_CODES: Codes = {
    (ORIGINAL, Reason.STORED): "AA",
    (ORIGINAL, Reason.TRY_AGAIN): "AR",
    (ORIGINAL, Reason.UNREADABLE): "AE",
    (ORIGINAL, Reason.NOT_FOR_US): "AR",
    (ACCEPT, Reason.STORED): "CA",
    (ACCEPT, Reason.TRY_AGAIN): "CE",
    (ACCEPT, Reason.UNREADABLE): "CE",
    (ACCEPT, Reason.NOT_FOR_US): "CR",
    (APPLICATION, Reason.STORED): "AA",
    (APPLICATION, Reason.TRY_AGAIN): "AR",
    (APPLICATION, Reason.UNREADABLE): "AE",
    (APPLICATION, Reason.NOT_FOR_US): "AR",
}

# HL7 table 0357
ERROR_TEXTS = {
    0: "Message accepted", 100: "Segment sequence error", 101: "Required field missing", 102: "Data type error",
    103: "Table value not found", 200: "Unsupported message type", 201: "Unsupported event code",
    202: "Unsupported processing id", 203: "Unsupported version id", 204: "Unknown key identifier",
    205: "Duplicate key identifier", 206: "Application record locked", 207: "Application internal error",
}  # fmt: skip

NO_HEADER = Peek("", "", "", "", "", "P", "2.5.1", "", "", "", None, None, b"", delimiters=DEFAULT_DELIMITERS)


def codes(overrides: Mapping[str, str]) -> Codes:
    """ANSWER_CODES with a channel's changes: `{"try_again": "AE"}` for every mode (CE in accept answers), or
    `{"original.try_again": "AE"}` for one. Raises Misconfigured for what the table does not know."""
    table = dict(ANSWER_CODES)
    for key, code in overrides.items():
        mode, _, reason = key.rpartition(".")
        modes = (mode,) if mode else (ORIGINAL, ACCEPT, APPLICATION)
        if reason not in Reason.__members__.values() or not set(modes) <= {ORIGINAL, ACCEPT, APPLICATION}:
            raise Misconfigured(f"answer_codes: '{key}' is not [original|accept|application.]{'|'.join(Reason)}")
        if len(code) != 2 or code[0] not in "AC" or code[1] not in "AER":
            raise Misconfigured(f"answer_codes: '{code}' is none of AA, AE, AR, CA, CE, CR")
        for one in modes:
            table[one, Reason(reason)] = ("C" if one == ACCEPT else "A") + code[1]
    return table


def due(peek: Peek, reason: Reason, table: Codes = ANSWER_CODES) -> tuple[str, ...]:
    """The codes of the answers that go out, in order; () where none is asked for. An ACK is never answered."""
    if peek.type[:3] in ("ACK", "MCF") and peek.type[3:4] in ("", "^"):
        return ()
    accept, application = peek.accept_ack, peek.application_ack
    if not accept and not application:
        return (table[ORIGINAL, reason],)
    out: tuple[str, ...] = ()
    code = table[ACCEPT, reason]
    if _asked(accept, code):
        out = (code,)
        if code != "CA":
            return out  # what was not accepted is not processed (§2.9.3.1)
    code = table[APPLICATION, reason]
    return (*out, code) if _asked(application, code) else out


def _asked(condition: str, code: str) -> bool:
    """HL7 table 0155. Anything but AL, ER and SU, empty too, is NE."""
    return condition == "AL" or (condition == "SU" and code[1] == "A") or (condition == "ER" and code[1] != "A")


def reason_of(code: str) -> Reason:
    """The class of an answer code that was stored: a replayed answer is built from it."""
    return {"A": Reason.STORED, "E": Reason.UNREADABLE}.get(code[1:2], Reason.NOT_FOR_US)


def answer(peek: Peek, code: str, *, control_id: str, at: str, error: Unreadable | None = None, text: str = "") -> bytes:
    """The body of one answer, in the sender's charset, delimiters and version, addressed back to it.

    `control_id`: MSH-10, the caller keeps it unique. `at`: MSH-7. `text`: MSA-3, written by us, free of patient data.
    `error` adds the ERR segment: where (ERR-2) and why (ERR-3, table 0357); before v2.5 both stand in ERR-1.
    """
    f = peek.delimiters.field
    c = peek.delimiters.component
    version = _version(peek.version)
    kind = "ACK" if version < (2, 3, 1) else _kind(peek.type, c)
    tail = f"{f}{f}{f}NE{f}NE" if peek.accept_ack or peek.application_ack else f"{f}{f}{f}{f}"
    tail = f"{tail}{f}{f}{peek.charset}" if peek.charset else tail.rstrip(f)
    head = (
        f"MSH{f}{''.join(peek.delimiters[1:])}{f}{peek.receiving_application}{f}{peek.receiving_facility}"
        f"{f}{peek.sending_application}{f}{peek.sending_facility}{f}{at}{f}{f}{kind}{f}{control_id}"
        f"{f}{peek.processing_id or 'P'}{f}{peek.version or '2.5.1'}{tail}\rMSA{f}{code}{f}{peek.control_id}"
    )
    if text:
        head += f + escape(text, peek.delimiters)
    if error is not None:
        head += "\r" + _err(peek, error, version)
    try:
        return (head + "\r").encode(peek.codec)
    except UnicodeEncodeError:
        return (head + "\r").encode("utf-8")


def _kind(event: str, component: str) -> str:
    trigger = event.partition("^")[2]
    return f"ACK{component}{trigger}{component}ACK" if trigger and component else "ACK"


def _version(text: str) -> tuple[int, ...]:
    parts = text.split(".")
    return tuple(int(part) for part in parts) if all(part.isascii() and part.isdigit() for part in parts) else (2, 5, 1)


def _err(peek: Peek, error: Unreadable, version: tuple[int, ...]) -> str:
    marks = peek.delimiters
    f, c, s = marks.field, marks.component, marks.subcomponent
    where = error.where
    place = [where.segment or "MSH", str(where.occurrence), *("" if n is None else str(n) for n in (where.field,))]
    meaning = ERROR_TEXTS.get(error.hl7, ERROR_TEXTS[207])
    if version < (2, 5):
        return f"ERR{f}{c.join(place)}{c}{s.join((str(error.hl7), meaning, 'HL70357'))}"
    if where.repetition is not None or where.component is not None:
        place += ["" if where.repetition is None else str(where.repetition)]
        place += [] if where.component is None else [str(where.component)]
    diagnostic = f"byte {where.offset}" if where.offset is not None else ""
    return (
        f"ERR{f}{f}{c.join(place).rstrip(c)}{f}{c.join((str(error.hl7), meaning, 'HL70357'))}{f}E"
        f"{f}{f}{f}{diagnostic}{f}{escape(error.reason, marks)}"
    )


def acknowledged(body: bytes) -> tuple[str, str]:
    """(MSA-1, MSA-2) of an answer as it stands; Unreadable where it has no MSA."""
    start, marks = find_header(body)
    body = body[start:].replace(b"\n", b"\r")
    at = body.find(b"\rMSA" + marks.field.encode())
    if at < 0:
        raise Unreadable("an answer without MSA", where=Where("MSA"), hl7=100, code="no_msa")
    end = body.find(b"\r", at + 1)
    fields = body[at + 1 : end if end >= 0 else len(body)].decode("latin-1").split(marks.field)
    return fields[1], fields[2] if len(fields) > 2 else ""
