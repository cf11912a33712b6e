"""The batch protocol (HL7 v2.5.1 §2.10.3): one body -> the single messages in it.

FHS, BHS, BTS and FTS are envelopes without content of their own for us: each message inside is stored and answered by
itself. Several messages without any envelope in one body are split the same way.
"""

from __future__ import annotations

import re

_MARK = re.compile(
    rb"(?:\A(?:\xef\xbb\xbf)?[ \t\r\n\0]*|[\r\n][ \t\0]*)(MSH|FHS|BHS|BTS|FTS)(?=[^A-Za-z0-9\r\n]|[\r\n]|\Z)"
)  # each blank is looked at once: linear on any input
_BLANK = b" \t\r\n\0\xef\xbb\xbf\x1a"


def split(body: bytes) -> list[bytes]:
    """The messages in `body`, bytes as received, in order; [body] where there is but one or none that can be told.

    Text that stands before the first header and belongs to none is a piece of its own, so that it is refused and kept
    instead of vanishing. An envelope without a message gives [].
    """
    if body[:3] == b"MSH" and body.find(b"\rMSH", 3) < 0 and b"\n" not in body and b"\rBTS" not in body and b"\rFTS" not in body:
        return [body]
    marks = list(_MARK.finditer(body))
    if not marks:
        return [body]
    pieces: list[bytes] = []
    if body[: marks[0].start(1)].strip(_BLANK):
        pieces.append(body[: marks[0].start(1)])
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        if mark[1] == b"MSH":
            pieces.append(body[mark.start(1) : following.start(1) if following else len(body)])
    return pieces
