"""Every HL7 v2 file of the corpus: read or refused for a reason, held against hl7apy, and answered over MLLP."""

from __future__ import annotations

import time
from collections import Counter
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pytest

from hub.adapters.ocs.hl7_in import Channel, Settings
from hub.codecs.hl7v2 import ack, parse, peek, unescape
from hub.codecs.hl7v2.batch import split
from hub.codecs.hl7v2.standard import oracle
from hub.codecs.mllp import Splitter
from hub.domain.errors import Unreadable

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def bodies(corpus: Path) -> list[tuple[str, bytes]]:
    """Every message of every file, batches split; MLLP framing bytes of its own taken off."""
    found = []
    for file in sorted((corpus / "hl7v2").rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            framed = Splitter(len(data) + 1).feed(data) if data[:1] == b"\x0b" else []
            for n, piece in enumerate(one for body in framed or [data] for one in split(body)):
                found.append((f"{file.relative_to(corpus)}#{n}", piece))
    assert len(found) > 800
    return found


def test_what_is_refused_is_refused_for_a_reason(bodies):
    refused = Counter()
    for _name, body in bodies:
        try:
            peek(body)
            parse(body)
        except Unreadable as error:
            refused[error.code, error.hl7 in ack.ERROR_TEXTS] += 1
    assert set(refused) <= {(code, True) for code in ("no_msh", "delimiters", "not_a_segment", "undecodable")}
    assert refused.total() <= 40, refused


@pytest.mark.slow
def test_field_values_agree_with_hl7apy_wherever_it_can_read(bodies):
    """Every value that hl7apy finds stands at the same place for our reader: segment, field, repetition, component, part."""
    compared = values = 0
    for name, body in bodies:
        try:
            message = parse(body)
            names, leaves = oracle(_for_hl7apy(message))
        except Exception:  # hl7apy raises many kinds on what it cannot read: those messages are not compared
            continue
        assert names == [segment.name for segment in message.segments], name
        for index, n, rep, comp, sub, text in leaves:
            segment = message.segments[index]
            if (
                n == 0
                or (n <= 2 and index == 0)
                or ((comp == 0 or sub == 0) and _has_parts(segment.reps(n)[rep - 1], comp, message))
            ):
                continue  # hl7apy does not say where it found it
            ours = segment.value(n, rep, comp or 1, sub or 1) or ""
            theirs = unescape(text, message.delimiters, message.charset)
            assert _same(ours.strip(), theirs.strip()), f"{name} {segment.name}-{n}({rep}).{comp}.{sub}"
            values += 1
        compared += 1
    assert compared >= 500, compared
    assert values > 20_000, values


def _has_parts(text, comp, message):
    """Whether a place without a number could be more than one: the parts are in the field, or in its component."""
    marks = message.delimiters
    if comp == 0:
        return marks.component in text or marks.subcomponent in text
    return marks.subcomponent in text


def _same(ours, theirs):
    """hl7apy gives a number as a number: `.5` is `0.5`, `+1` is `1`."""
    try:
        return ours == theirs or Decimal(ours) == Decimal(theirs)
    except InvalidOperation:
        return False


def _for_hl7apy(message):
    """The text with CR line ends; MSH-1 is the separator between the name and MSH-2."""
    mark = message.delimiters.field
    lines = [mark.join(segment.fields) for segment in message.segments[1:]]
    header = message.segments[0].fields
    return "\r".join([mark.join([header[0], *header[2:]]), *lines])


def test_every_file_as_it_stands_is_answered_within_a_second_where_it_asks(corpus):
    channel = Channel(Settings(port=0), "corpus")
    outcomes = Counter()
    for file in sorted((corpus / "hl7v2").rglob("*")):
        if not file.is_file():
            continue
        began = time.perf_counter()
        for item in channel.items(None, file.read_bytes()):
            outcomes[item.reason] += 1
            for code in ack.due(item.head, item.reason, channel.codes):
                body = ack.answer(item.head, code, control_id="1", at="2", error=item.error, text="")
                answered = ack.acknowledged(body)
                assert answered[0] == code
                if item.error is None:
                    assert parse(body).first("MSA").raw(2) == item.head.control_id
        assert time.perf_counter() - began < 1, file
    assert outcomes["stored"] > 700, outcomes
