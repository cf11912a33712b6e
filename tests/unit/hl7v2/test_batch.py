"""One body, many messages."""

from __future__ import annotations

import pytest

from hub.codecs.hl7v2 import peek
from hub.codecs.hl7v2.batch import split

ONE = b"MSH|^~\\&|A|B|||1||ADT^A01|1|P|2.5\rPID|1||1\r"
TWO = ONE.replace(b"|1|P|", b"|2|P|")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (ONE, [ONE]),
        (ONE + TWO, [ONE, TWO]),
        (b"FHS|^~\\&|x\rBHS|^~\\&|y\r" + ONE + TWO + b"BTS|2\rFTS|1\r", [ONE, TWO]),
        (b"\r\nBHS|^~\\&|y\r" + ONE + b"BTS|1\r", [ONE]),
        (ONE + b"BTS|1\r", [ONE]),
        (b"FHS|^~\\&\rFTS|0\r", []),
        (b"nothing of ours", [b"nothing of ours"]),
        (b"/* a comment */\r" + ONE, [b"/* a comment */\r", ONE]),
        (b"\xef\xbb\xbf" + ONE, [ONE]),
        (b"", [b""]),
        (b"MSH", [b"MSH"]),
        (ONE + b"NTE|1||see MSH|here\r", [ONE + b"NTE|1||see MSH|here\r"]),
        (ONE + b"MSHX|1\r", [ONE + b"MSHX|1\r"]),
    ],
)
def test_split(body, expected):
    assert split(body) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_any_line_end(end):
    body = (b"FHS|^~\\&\r" + ONE + TWO + b"FTS\r").replace(b"\r", end)
    assert [peek(piece).control_id for piece in split(body)] == ["1", "2"]
