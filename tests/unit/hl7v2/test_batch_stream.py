"""Messages of a file of any size are those that `split` finds in it, wherever the chunks are cut."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from hub.codecs.hl7v2 import batch

HEADERS = [
    b"MSH|^~\\&|A\rPID|1\r",
    b"MSH|^~\\&|B\n",
    b"FHS|x\r",
    b"BHS|\r\n",
    b"BTS|1\r",
    b"FTS\r",
    b"MSHX|1\r",
    b"MSH",
    b"\rMSH|",
]
PIECES = [*HEADERS, b"\r\n", b" ", b"\0", b"stray\r", "PID|1||똠방각하\r".encode(), b"\xef\xbb\xbf"]


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@example(b"MSH|^~\\&|A\rPID|1\rFHS|x\r", 1)
@example(b"MSH|^~\\&|A\rPID|1\r MSH|^~\\&|A\rPID|1\r", 1)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join), st.integers(1, 200))
def test_the_pieces_of_a_stream_are_those_of_the_whole(data: bytes, size: int) -> None:
    found = list(batch.stream(cut(data, size), 7, 1 << 20))
    whole = batch.split(data)
    if whole == [data]:  # one, or none that can be told; blanks before and after it are its own there
        assert b"".join(p.body for p in found).strip(batch._BLANK) in (data.strip(batch._BLANK), b"")
        assert len(found) <= 1
    else:
        assert [p.body for p in found] == whole
    for piece in found:
        assert data[piece.offset - 7 :].startswith(piece.body)
    again = [p for first in found[:1] for p in batch.stream(cut(data[first.end - 7 :], size), first.end, 1 << 20)]
    assert [p.body for p in again] == [p.body for p in found[1:]]  # begun anew at the end of any of them


@example(3, 9990)
@example(1, 9987)
@example(1, 10052)
@given(st.integers(1, 3000), st.integers(0, 40000))
def test_what_is_too_long_is_cut_and_its_neighbours_are_whole(size: int, length: int) -> None:
    one, two, three = b"MSH|1\rPID|\r", b"MSH|2\rNTE|" + b"x" * length + b"\r", b"MSH|3\rPID|\r"
    found = list(batch.stream(cut(one + two + three, size), 0, 10_000))
    assert [p.whole for p in found] == [True, len(two) <= 10_000, True]
    assert (found[0].body, found[2].body) == (one, three)
    assert two.startswith(found[1].body)
    assert found[1].end == len(one + two)
