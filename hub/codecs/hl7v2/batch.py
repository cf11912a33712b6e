"""The batch protocol (HL7 v2.5.1 §2.10.3): one body -> the single messages in it.

FHS, BHS, BTS and FTS are envelopes without content of their own for us: each message inside is stored and answered by
itself. Several messages without any envelope in one body are split the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

_MARK = re.compile(
    rb"(?:\A(?:\xef\xbb\xbf)?[ \t\r\n\0]*|[\r\n][ \t\0]*)(MSH|FHS|BHS|BTS|FTS)(?=[^A-Za-z0-9\r\n]|[\r\n]|\Z)"
)  # each blank is looked at once: linear on any input
_ENVELOPES = (b"FHS", b"BHS", b"BTS", b"FTS")
OVERLAP = 64  # bytes looked at twice, for a header that two chunks share
KEPT = 65536  # bytes of what is too long that are kept
_BLANK = b" \t\r\n\0\xef\xbb\xbf\x1a"


def split(body: bytes) -> list[bytes]:
    """The messages in `body`, bytes as received, in order; [body] where there is but one or none that can be told.

    Text that stands before the first header and belongs to none is a piece of its own, so that it is refused and kept
    instead of vanishing. An envelope without a message gives [].
    """
    if body[:3] == b"MSH" and body.find(b"MSH", 3) < 0 and not any(header in body for header in _ENVELOPES):
        return [body]  # nearly always; a value that holds these letters is looked at more closely
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


class Piece(NamedTuple):
    """One message of a long text."""

    offset: int
    end: int
    body: bytes
    whole: bool  # False: it was longer than allowed, `body` is its beginning


def stream(chunks: Iterable[bytes], offset: int, most: int) -> Iterator[Piece]:
    """As `split`, of a text of any length that begins at `offset`: no more than one chunk and one message is held.

    A message of more than `most` bytes comes cut, and its rest is passed over.
    """
    held, base, kind, scanned = b"", offset, b"", 0
    long: Piece | None = None

    def piece(start: int, at: int) -> Iterator[Piece]:
        if long is not None:
            yield long._replace(end=base + at)
        elif kind == b"MSH" or (not kind and held[start:at].strip(_BLANK)):
            whole = at - start <= most
            yield Piece(base + start, base + at, held[start : at if whole else min(at, start + KEPT)], whole)

    for chunk in chain(chunks, [b""]):
        held += chunk
        start = 0
        for mark in _MARK.finditer(held, max(scanned - OVERLAP, 0)):
            at = mark.start(1)
            if mark.end(1) == len(held) and chunk:
                break  # what comes next tells whether it is one
            if at == 0 and kind:
                continue  # the one that `held` begins with
            yield from piece(start, at)
            start, kind, long = at, mark[1], None
        held, base = held[start:], base + start
        if not chunk:
            yield from piece(0, len(held))
        elif len(held) > most + OVERLAP:  # the beginning of what follows may be among it
            kind = kind or b"..."  # text before the first header
            long = long or Piece(base, base, held[: min(KEPT, most)], whole=False)
            held, base = held[-OVERLAP:], base + len(held) - OVERLAP
        scanned = len(held)
