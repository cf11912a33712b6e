"""10,000 mangled messages: read or refused, within a second each, and nothing else ever happens."""

from __future__ import annotations

import random
import time

from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.hl7v2 import ack, batch, parse, peek, unescape
from hub.codecs.hl7v2.ack import Reason
from hub.codecs.hl7v2.reader import DEFAULT_DELIMITERS
from hub.domain.errors import Unreadable

SEEDS = [
    "MSH|^~\\&|OCS|H|HUB||1||ADT^A40^ADT_A39|1|P|2.5|||AL|AL||KS X 1001\rPID|1||1^^^H~2||홍^길\\T\\\rMRG|9^^^H\r".encode("cp949"),
    "FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&#|A|B|||1||ADT^A01|1|P|2.8\rPID|1||똠\\X41\\\\.br\\\rBTS|1\rFTS\r".encode(),
    b"\xef\xbb\xbfMSH#*~:%#A#B#C#D#1##SIU*S12#7#P#2.3.1\r\nSCH#1\r\nZAB#x%y*z~w\r\n",
]  # fmt: skip


def handle(body: bytes) -> None:
    """What intake does with a body, without sockets and store."""
    for piece in batch.split(body):
        head, error = ack.NO_HEADER, None
        try:
            head = peek(piece)
            for segment in parse(piece, "cp949").segments:
                for n in range(len(segment.fields)):
                    for rep in range(len(segment.reps(n))):
                        segment.value(n, rep + 1)
        except Unreadable as unreadable:
            error = unreadable
            str(error), str(error.where)
        for code in ack.due(head, Reason.UNREADABLE if error else Reason.STORED):
            ack.acknowledged(ack.answer(head, code, control_id="1", at="2", error=error))


def test_ten_thousand_fuzzed_messages():
    rng = random.Random(11)
    for _ in range(10_000):
        data = bytearray(rng.choice(SEEDS))
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(len(data))
            choice = rng.random()
            if choice < 0.4:
                data[at] = rng.choice((*b"|^~\\&\r\n#", 0, 0xFF, rng.randrange(256)))
            elif choice < 0.6:
                del data[at : at + rng.randint(1, 20)]
            elif choice < 0.8:
                data[at:at] = data[at : at + rng.randint(1, 30)]
            else:
                data = data[:at]
            data = data or bytearray(b"M")
        began = time.process_time()
        handle(bytes(data))
        assert time.process_time() - began < 1


@given(st.binary(max_size=200))
def test_any_bytes_after_a_header(tail):
    handle(b"MSH|^~\\&|" + tail)


@given(st.binary(max_size=80))
def test_any_bytes_at_all(body):
    handle(body)


@given(st.text(st.sampled_from("\\XCHNEFSTR.0Aspbr~a"), max_size=60))
def test_unescape_ends_and_keeps_plain_text(text):
    assert isinstance(unescape(text, DEFAULT_DELIMITERS), str)


def test_long_runs_are_linear():
    for text in ("\\" * 200_000, "\\X41" * 50_000, "\\X41\\" * 50_000, "\\.br" * 50_000):
        began = time.process_time()
        unescape(text, DEFAULT_DELIMITERS)
        assert time.process_time() - began < 1
    began = time.process_time()
    handle(b"MSH|^~\\&|A|B|||1||ADT^A01|1|P|2.5\rNTE|1||" + b"\n" * 100_000 + b"x\r")
    handle(b"MSH|^~\\&|A|B|||1||ADT^A01|1|P|2.5\r" + b"\r\n \r" * 100_000 + b"MSH" * 100_000)
    assert time.process_time() - began < 2
