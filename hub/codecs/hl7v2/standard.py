"""The standard's own tables, by hl7apy: strict validation, building what we send, and the oracle of the tests.

The sole importer of hl7apy (about 300 ms to load, 6–20 ms a message): never on the hot path. hl7apy checks structure,
cardinality and data types; the bytes are our writer's, because hl7apy 1.3.5 escapes a second time what is escaped already
(`\\X0D\\` becomes `\\E\\X0D\\E\\`) and drops Z segments when it finds groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from hl7apy import SUPPORTED_LIBRARIES, load_library
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException, MaxChildLimitReached, ValidationError
from hl7apy.parser import parse_message, parse_segment

from hub.codecs.hl7v2.reader import Message, Segment, parse
from hub.codecs.hl7v2.writer import Field, Fields, hl7_charset, write
from hub.domain.errors import Unmappable, Unreadable, Where

# HL7 table 0354: the structure that each event's message has (v2.5.1); what is not listed has one named like itself.
_SHARED = {
    "ADT_A01": "A01 A04 A08 A13", "ADT_A05": "A05 A14 A28 A31", "ADT_A06": "A06 A07", "ADT_A09": "A09 A10 A11",
    "ADT_A21": "A21 A22 A23 A25 A26 A27 A29 A32 A33", "ADT_A30": "A30 A34 A35 A36 A46 A47 A48 A49",
    "ADT_A39": "A39 A40 A41 A42", "ADT_A43": "A43 A44", "ADT_A50": "A50 A51", "ADT_A52": "A52 A53", "ADT_A54": "A54 A55",
    "ADT_A61": "A61 A62", "SIU_S12": "S12 S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26",
}  # fmt: skip
NO_STRUCTURE = ("2.1", "2.2", "2.3")  # MSH-9.3 came with v2.3.1
STRUCTURES = {f"{name[:3]}^{event}": name for name, events in _SHARED.items() for event in events.split()}


def structure_of(event: str, version: str = "2.5.1") -> str:
    """Message structure (MSH-9.3) of an event like "ADT^A08"; "" where the version has none (v2.3 has no ADT_A05)."""
    known = load_library(version).MESSAGES
    named = event.replace("^", "_")
    for name in (STRUCTURES.get(event, named), named, f"{event[:3]}_A01" if event[:4] == "ADT^" else named):
        if name in known:
            return name
    return ""


def validate(message: Message) -> None:
    """Hold a message against the standard of its version: segments, order, required fields, repetitions, data types.

    Raises Unreadable with the first thing found (code 100 structure, 101 required, 102 data type, 200 type, 203 version);
    its reason never quotes a value. Z segments and table values that a site adds are no error.
    """
    header = message.segments[0]
    version = header.value(12) or ""
    if version not in SUPPORTED_LIBRARIES:
        raise Unreadable("no tables for this version", where=Where("MSH", field=12), hl7=203, code="not_standard")
    event = f"{header.value(9) or ''}^{header.value(9, comp=2) or ''}".rstrip("^")
    structure = structure_of(event, version)
    if not structure:
        raise Unreadable("no structure for this message type", where=Where("MSH", field=9), hl7=200, code="not_standard")
    _ease_choices(version)
    try:
        parse_message(_as_er7(message, event, structure), validation_level=VALIDATION_LEVEL.STRICT, force_validation=True)
    except (ValidationError, MaxChildLimitReached) as error:
        raise _explained(error) from None
    except (
        HL7apyException,
        ValueError,
        KeyError,
        AttributeError,
        IndexError,
        TypeError,
    ):  # hl7apy's ways to say "not this data type"
        raise _located(message, version) from None


@cache
def _ease_choices(version: str) -> None:
    """hl7apy 1.3.5 wants every segment of a choice, so that no ORM^O01 is ever right: an order is an OBR or an RXO, RQD … there.

    Only the choices that begin with OBR: some of v2.6 and later are sequences that it calls choices.
    """
    for kind, children, *_ in load_library(version).GROUPS.values():
        if kind == "choice" and children[0][0] == "OBR":
            for child in children:
                child[2] = (0, child[2][1])


def build(
    event: str, version: str, segments: Sequence[tuple[str, Fields]], *, control_id: str, at: str,
    sender: tuple[Field, Field] = ("HUB", ""), receiver: tuple[Field, Field] = ("", ""), processing_id: str = "P",
    charset: str = "utf-8", accept_ack: str = "", application_ack: str = "", country: str = "KOR",
) -> bytes:  # fmt: skip
    """One message that we send, held against the standard before it leaves.

    `event`: "ADT^A08". `segments`: those after MSH, in order, with values as in writer.py (list = repetitions, tuple =
    components, inner tuple = sub-components): `("PID", {3: [("123", "", "", "HOSP", "MR")], 5: [("홍", "길동")]})`. `at`: MSH-7.
    `sender`: MSH-3 and 4, `receiver`: MSH-5 and 6. MSH-15/16 empty asks for one answer in original mode. Raises Unmappable
    where the standard, the charset or MLLP does not allow what is asked; it names the place, never the value.
    """
    structure = structure_of(event, version) if version in SUPPORTED_LIBRARIES else ""
    if not structure:
        raise Unmappable(f"HL7 {version} has no {event}", where="MSH-9", code="not_standard")
    code, _, trigger = event.partition("^")
    kind = (code, trigger) if version in NO_STRUCTURE else (code, trigger, structure)
    header: dict[int, Field] = {
        3: sender[0], 4: sender[1], 5: receiver[0], 6: receiver[1], 7: at, 9: kind, 10: control_id,
        11: processing_id, 12: version, 15: accept_ack, 16: application_ack, 17: country, 18: hl7_charset(charset),
    }  # fmt: skip
    body = write([("MSH", header), *segments], charset=charset)
    try:
        validate(parse(body, charset))
    except Unreadable as error:
        raise Unmappable(error.reason, where=str(error.where), code="not_standard") from None
    return body


Leaf = tuple[int, int, int, int, int, str]  # segment (from 0), field, repetition, component, sub-component, text as it stands


def oracle(text: str) -> tuple[list[str], list[Leaf]]:
    """A message as hl7apy reads it, tolerant: the names of its segments, and every value that is not empty, still escaped.
    A place of 0: hl7apy does not say which (a base data type, or what exceeds a data type).

    For tests: the reader is held against it. Raises HL7apyException and others on what hl7apy cannot read.
    """
    message = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=False)
    leaves = [leaf for index, segment in enumerate(message.children) for leaf in _leaves(index, segment)]
    return [segment.name for segment in message.children], leaves


def _leaves(index: int, segment: Any) -> Iterator[Leaf]:
    counts: dict[int, int] = {}
    for field in segment.children:
        n = _position(field)
        counts[n] = counts.get(n, 0) + 1
        for component in field.children:
            for sub in component.children:
                value = getattr(sub.value, "value", sub.value)
                text = value if isinstance(value, str) else sub.to_er7()  # dates and numbers as they go out
                if text:
                    yield index, n, counts[n], _position(component), _position(sub), text


def _position(element: Any) -> int:
    """PID_5 -> 5, XPN_1 -> 1; 0 for what hl7apy leaves without a number: a base data type, and what exceeds a data type."""
    tail = (element.name or "").rpartition("_")[2]
    return int(tail) if tail.isdigit() else 0


def _as_er7(message: Message, event: str, structure: str) -> str:
    """The text that hl7apy reads: CR line ends, MSH-9 with its structure, MSH-2 without a truncation character, no Z segments."""
    mark, sub = message.delimiters.field, message.delimiters.component
    old = (message.segments[0].value(12) or "") in NO_STRUCTURE
    lines = []
    for segment in message.segments:
        if segment.name[0] == "Z":
            continue
        fields = segment.fields
        if segment.index == 0:
            fields = [fields[0], "".join(message.delimiters[1:5]), *fields[3:]]
            fields[8] = sub.join(structure.split("_") if old else (*event.split("^"), structure))
        lines.append(mark.join(fields))
    return "\r".join(lines) + "\r"


_PLACE = re.compile(r"\b([A-Z][A-Z0-9]{2})(?:_([0-9]+))?\b(?!_)")


def _explained(error: HL7apyException) -> Unreadable:
    """The validator's words without any value: what is missing or too much, and the last element that it names."""
    text = str(error)
    places = _PLACE.findall(text.rpartition(".")[2]) or _PLACE.findall(text)
    segment, field = places[0] if places else ("MSH", "")
    where = Where(segment, field=int(field) if field else None)
    place = f"{segment}-{field}" if field else segment
    if text.startswith("Missing required child"):
        return Unreadable(f"{place} is required", where=where, hl7=101 if field else 100, code="not_standard")
    if isinstance(error, MaxChildLimitReached) or text.startswith("Child limit exceeded"):
        return Unreadable(f"{place} comes too often", where=where, hl7=102 if field else 100, code="not_standard")
    return Unreadable(f"{place} does not belong here", where=where, hl7=102 if field else 100, code="not_standard")


def _located(message: Message, version: str) -> Unreadable:
    """Which field it is whose value its data type does not allow: found by trying one by one, as this is the rare case."""
    occurrences: dict[str, int] = {}
    for segment in message.segments:
        occurrences[segment.name] = occurrences.get(segment.name, 0) + 1
        for n in range(3 if segment.index == 0 else 1, len(segment.fields)):
            if segment.fields[n] and not _field_reads(segment, n, version):
                where = Where(segment.name, occurrences[segment.name], n)
                return Unreadable("a value that its data type does not allow", where=where, hl7=102, code="not_standard")
    return Unreadable("values that the standard does not allow", where=Where("MSH"), hl7=102, code="not_standard")


def _field_reads(segment: Segment, n: int, version: str) -> bool:
    marks = segment.delimiters
    chars = {
        "FIELD": marks.field, "COMPONENT": marks.component, "SUBCOMPONENT": marks.subcomponent, "REPETITION": marks.repetition,
        "ESCAPE": marks.escape, "SEGMENT": "\r", "GROUP": "\r",
    }  # fmt: skip
    alone = marks.field.join([segment.name, *[""] * (n - 1 if segment.index else n - 2), segment.fields[n]])
    if segment.index == 0:
        return True  # MSH cannot be read without its head; its fields are checked at intake
    try:
        parse_segment(alone, version, chars, VALIDATION_LEVEL.STRICT)
    except (HL7apyException, ValueError, KeyError, AttributeError, IndexError, TypeError):
        return False
    return True
