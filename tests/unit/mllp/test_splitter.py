"""MLLP framing without sockets: whatever packets, whatever junk."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.mllp import Fault, Splitter, frame

BODY = st.binary(max_size=60).map(lambda b: b.replace(b"\x0b", b"").replace(b"\x1c", b""))


@given(st.lists(BODY, max_size=6), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(bodies, data):
    stream = b"".join(frame(body) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter, out = Splitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        out += splitter.feed(stream[start:end])
    assert out == bodies
    assert (splitter.junk, splitter.broken, splitter.oversize, splitter.partial) == (0, 0, 0, False)


def test_one_byte_packets():
    splitter = Splitter()
    out = [body for byte in frame(b"MSH|1\rPID|2\r") + frame(b"two") for body in splitter.feed(bytes([byte]))]
    assert out == [b"MSH|1\rPID|2\r", b"two"]


@pytest.mark.parametrize(
    ("stream", "bodies", "junk", "broken"),
    [
        (b"\x0bA\x1c\r\x0bB\x1c\r", [b"A", b"B"], 0, 0),
        (b"\x0bA\x1c\x0bB\x1c", [b"A", b"B"], 0, 0),  # no CR after FS
        (b"\x0bA\x1c\r\n\r\n \x0bB\x1c\n", [b"A", b"B"], 0, 0),  # white space between frames
        (b"xyz\x0bA\x1c\rjunk\x0bB\x1c\r", [b"A", b"B"], 7, 0),
        (b"\x0bcut \x0bA\x1c\r", [b"A"], 0, 1),  # the sender gave up on one and sends anew
        (b"\x0b\x0b\x0bA\x1c\r", [b"A"], 0, 2),
        (b"\x0b\x1c\r", [b""], 0, 0),
        (b"\x1c\r", [], 1, 0),
        (b"MSH|no frame at all\r", [], 16, 0),
        (b"", [], 0, 0),
    ],
)
def test_what_senders_do_wrong(stream, bodies, junk, broken):
    for size in (1, 3, len(stream) or 1):
        splitter = Splitter()
        out = [body for at in range(0, len(stream), size) for body in splitter.feed(stream[at : at + size])]
        assert out == bodies
        assert (splitter.junk, splitter.broken) == (junk, broken)


@pytest.mark.parametrize(
    ("packets", "bodies"),
    [
        ([b"\x0bMSH|a\x1cb\x1c\r"], [b"MSH|a\x1cb"]),  # it would be answered AA, and `b` lost, if it ended at the first FS
        ([b"\x0bMSH|a\x1cb", b"c\x1cd\x1c\r"], [b"MSH|a\x1cbc\x1cd"]),
        ([b"\x0bA\x1cjunk\x0bB\x1c\r"], [b"A", b"B"]),
        ([b"\x0bA\x1cMSH|no frame\x1c\r"], [b"A"]),
        ([b"\x0bA\x1c\x1c\r\x0bB\x1c\r"], [b"A", b"B"]),
        ([b"\x0bA\x1c", b"\r\x0bB\x1c", b"\r"], [b"A", b"B"]),
    ],
)
def test_an_fs_inside_a_message_is_a_byte_of_it(packets, bodies):
    splitter = Splitter()
    assert [body for packet in packets for body in splitter.feed(packet)] == bodies


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_frame_beyond_the_limit_is_dropped_and_the_next_one_read(size):
    splitter = Splitter(limit=10)
    stream = frame(b"x" * 500) + frame(b"fits")
    out = []
    for at in range(0, len(stream), size):
        out += splitter.feed(stream[at : at + size])
        assert len(splitter._buffer) <= 10
    assert out == [b"fits"]
    assert splitter.oversize == 1


def test_ten_thousand_mangled_streams_neither_crash_nor_hang():
    rng = random.Random(7)
    good = frame(b"MSH|^~\\&|A|B|||1||ADT^A01|1|P|2.5\rPID|1||1\r")
    for _ in range(10_000):
        data = bytearray(good * rng.randint(1, 3))
        for _ in range(rng.randint(0, 6)):
            at = rng.randrange(len(data))
            choice = rng.random()
            if choice < 0.4:
                data[at] = rng.choice((0x0B, 0x1C, 0x0D, rng.randrange(256)))
            elif choice < 0.7:
                del data[at : at + rng.randint(1, 9)]
            else:
                data[at:at] = bytes(rng.choice((0x0B, 0x1C, 0x0D, 0x41)) for _ in range(rng.randint(1, 5)))
            data = data or bytearray(b"\x0b")
        splitter = Splitter(limit=200)
        began = time.process_time()
        while data:
            cut = rng.randint(1, 40)
            for body in splitter.feed(bytes(data[:cut])):
                assert b"\x0b" not in body
            del data[:cut]
        assert time.process_time() - began < 1


@pytest.mark.parametrize("body", [b"a\x0bb", b"\x1c"])
def test_framing_characters_cannot_be_framed(body):
    with pytest.raises(ValueError, match="framed"):
        frame(body)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_is_no_frame_is_kept_as_scraps(size: int) -> None:
    stream = (
        b"\x0bcut one\x0bcut one and more\x1c\r"  # came again whole: nothing was lost
        b"\x0blost\x0bB\x1c\rloose\x1c\r\n\x0bC\x1c\rbefore\x0bD\x1c\x0b" + b"x" * 100 + b"\x1c\rthe end"
    )
    splitter = Splitter(limit=20, keep=30)
    seen: list[object] = []
    for at in range(0, len(stream), size):
        found = splitter.feed(stream[at : at + size])
        for n, body in enumerate([*found, None]):
            seen += [(one.fault, one.head[:6], one.lone) for one in splitter.scraps if one.before == n]
            seen += [body] if body is not None else []
        splitter.scraps.clear()
    splitter.rest()
    seen += [(one.fault, one.head, one.size) for one in splitter.scraps]
    assert seen == [
        b"cut one and more", (Fault.CUT, b"lost", True), b"B", (Fault.LOOSE, b"loose", True), b"C",
        (Fault.LOOSE, b"before", False), b"D", (Fault.OVERSIZE, b"xxxxxx", True), (Fault.LOOSE, b"the end", 7),
    ]  # fmt: skip


def test_scraps_are_bounded_and_nothing_is_kept_unasked() -> None:
    splitter = Splitter(limit=1000, keep=10)
    for _ in range(100):
        splitter.feed(b"junk " * 100)
    splitter.end_loose()
    (one,) = splitter.scraps
    assert (one.head, one.size) == (b"junk junk ", 50_000)
    silent = Splitter(limit=10)
    silent.feed(b"junk\x0bcut\x0bA\x1c" + b"\x0b" + b"x" * 99)
    silent.rest()
    assert silent.scraps == []
