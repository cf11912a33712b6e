"""Queries and their answers (v2.5.1 §3.3.56, §5.4): QBP^Q21, Q22 (PDQ, IHE ITI-21), Q23 (PIX, ITI-9), QCN^J01; RSP^K21 to K23.

Reading and writing only: who is found, and what the asker may be told, is the adapter's business.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hub.codecs.hl7v2.peek import Peek
from hub.codecs.hl7v2.reader import Delimiters, Message, Segment, parse, unescape
from hub.codecs.hl7v2.writer import Fields, hl7_charset, write
from hub.domain.errors import Unreadable, Where

DEMOGRAPHICS, FIND, CROSS_REFERENCE, CANCEL = "Q21", "Q22", "Q23", "J01"
ANSWERS = {  # event -> MSH-9 of its answer; IHE's structure for Q22 is RSP_K21 (ITI-21, 3.21.4.2.2.1)
    DEMOGRAPHICS: ("RSP", "K21", "RSP_K21"), FIND: ("RSP", "K22", "RSP_K21"), CROSS_REFERENCE: ("RSP", "K23", "RSP_K23"),
    CANCEL: ("ACK", "J01", "ACK"),
}  # fmt: skip
_PATH = re.compile(r"@?([A-Z][A-Z0-9]{2})\.(\d{1,2})((?:\.\d{1,2})*)\Z")


class Domain(NamedTuple):
    """An assigning authority as it was asked for (an HD): namespace, universal id and its type."""

    namespace: str
    universal: str = ""
    kind: str = ""


class Parameter(NamedTuple):
    """One of QPD-3 of a Q22: `path` as `PID.5.1`, "" where it is none; `repetition` counts from 1."""

    path: str
    value: str
    repetition: int


@dataclass(slots=True)
class Query:
    """A query as read. Only the fields of its own sort are filled."""

    event: str  # Q21 | Q22 | Q23 | J01
    name: str = ""  # QPD-1 (QID-2), raw
    tag: str = ""  # QPD-2 (QID-1)
    qpd: Segment | None = None
    parameters: list[Parameter] = field(default_factory=list)
    number: str = ""  # Q21, Q23: QPD-3.1
    domain: Domain | None = None  # Q21, Q23: QPD-3.4
    domains: list[Domain] = field(default_factory=list)  # Q22: QPD-8, else QPD-4
    limit: int | None = None  # RCP-2
    pointer: str = ""  # DSC-1


class Fault(NamedTuple):
    """One ERR: where (ERR-2: segment, sequence, field, repetition, component), which of table 0357, and a word for people."""

    place: tuple[str, ...]
    code: int
    text: str


def read(head: Peek, body: bytes, charset: str) -> Query:
    """The query in `body`. Raises Unreadable for what is none, or lacks what every one has."""
    kind, _, event = head.type.partition("^")
    if event not in ANSWERS or kind != ("QCN" if event == CANCEL else "QBP"):
        raise Unreadable("no query that is answered here", where=Where("MSH", field=9), hl7=201, code="msh_9")
    message = parse(body, charset)
    if event == CANCEL:
        qid = _needed(message, "QID", 1)
        return Query(event, qid.raw(2), qid.value(1) or "")
    qpd = _needed(message, "QPD", 2)
    query = Query(event, qpd.raw(1), qpd.value(2) or "", qpd)
    rcp, dsc = message.first("RCP"), message.first("DSC")
    limit = (rcp.value(2) or "") if rcp is not None else ""
    query.limit = int(limit) if limit.isascii() and limit.isdecimal() and int(limit[:9]) > 0 else None
    query.pointer = (dsc.value(1) or "") if dsc is not None else ""
    if event == FIND:
        query.parameters = [_parameter(qpd, rep, number) for number, rep in enumerate(qpd.reps(3), 1) if rep]
        query.domains = [found for rep in qpd.reps(8) if (found := _domain(qpd, rep))]
    else:
        query.number = qpd.value(3) or ""
        query.domain = _domain(qpd, next(iter(qpd.reps(3)), ""))
        query.domains = [found for rep in qpd.reps(4) if (found := _domain(qpd, rep))]
    return query


def answer(
    head: Peek, query: Query, *, code: str, status: str, control_id: str, at: str, faults: Sequence[Fault] = (),
    people: Sequence[Fields] = (), counts: tuple[int | None, int, int | None] | None = None, pointer: str = "",
) -> bytes:  # fmt: skip
    """The answer, in the asker's charset, delimiters and version; QPD is given back as it came.

    `code`: MSA-1, `status`: QAK-2 (OK, NF, AE, AR). `people`: PID fields from 3 on. `counts`: how many matched in all (None:
    unknown), how many are in here, how many follow. Raises Unmappable where the charset cannot hold a name.
    """
    marks = head.delimiters
    msh: Fields = {
        3: _again(head.receiving_application, marks), 4: _again(head.receiving_facility, marks),
        5: _again(head.sending_application, marks), 6: _again(head.sending_facility, marks),
        7: at, 9: ANSWERS[query.event], 10: control_id, 11: head.processing_id or "P", 12: head.version or "2.5.1",
        18: hl7_charset(head.codec),
    }  # fmt: skip
    first: list[tuple[str, Fields]] = [("MSH", msh), ("MSA", {1: code, 2: head.control_id})]
    first += [("ERR", {2: one.place, 3: (str(one.code), "", "HL70357"), 4: "E", 8: one.text}) for one in faults]
    if query.event == CANCEL:
        return write(first, charset=head.codec, delimiters=marks)
    qak: dict[int, str | tuple[str, ...]] = {1: query.tag, 2: status, 3: _again(query.name, marks)}
    if counts is not None:
        qak |= {n: str(one) for n, one in zip((4, 5, 6), counts, strict=True) if one is not None}
    first.append(("QAK", qak))
    rest: list[tuple[str, Fields]] = [("PID", {1: str(n), **fields}) for n, fields in enumerate(people, 1)]
    if pointer:
        rest.append(("DSC", {1: pointer, 2: "I"}))
    echo = marks.field.join(query.qpd.fields).encode(head.codec) + b"\r" if query.qpd is not None else b""
    return write(first, charset=head.codec, delimiters=marks) + echo + write(rest, charset=head.codec, delimiters=marks)


def _needed(message: Message, name: str, fields: int) -> Segment:
    found = message.first(name)
    if found is None:
        raise Unreadable(f"a query without {name}", where=Where(name), hl7=100, code=f"no_{name.lower()}")
    for number in range(1, fields + 1):
        if not found.raw(number):
            raise Unreadable(f"{name}-{number} is missing", where=Where(name, field=number), hl7=101, code="missing_field")
    return found


def _parameter(qpd: Segment, rep: str, number: int) -> Parameter:
    """`@PID.5.1^홍` -> PID.5.1 and its value. The path is read as it stands: `@` and `.` are never escaped."""
    marks = qpd.delimiters
    path, _, rest = rep.partition(marks.component) if marks.component else (rep, "", "")
    value = rest.split(marks.component, 1)[0] if marks.component else rest
    found = _PATH.match(path.strip().upper())
    name = f"{found[1]}.{int(found[2])}{found[3]}" if found else ""
    return Parameter(name, unescape(value, marks, qpd.charset).strip(), number)


def _domain(qpd: Segment, rep: str) -> Domain | None:
    """CX.4 of a repetition; None where it is empty."""
    marks = qpd.delimiters
    parts = rep.split(marks.component) if marks.component else [rep]
    if len(parts) < 4 or not parts[3]:
        return None
    pieces = parts[3].split(marks.subcomponent) if marks.subcomponent else [parts[3]]
    texts = [unescape(piece, marks, qpd.charset).strip() for piece in pieces[:3]]
    return Domain(*texts) if any(texts) else None


def _again(text: str, marks: Delimiters) -> str | tuple[str, ...]:
    """A field as it came, to be written once more."""
    parts = text.split(marks.component) if marks.component else [text]
    return tuple(unescape(part, marks) for part in parts)
