"""MLLP framing (HL7 v2.5.1 Appendix C; Transport MLLP Release 1): VT, the message, FS, CR. No sockets, no clock.

What senders do wrong and we still take: no CR after the FS, LF or blanks between frames, several frames in one packet,
one byte a packet, an FS in the middle of a message (it stays a byte of it). What we cannot take is counted, never taken for
a message: bytes outside any frame, a frame that a new VT cut short, one beyond the limit. A listener asks for their first
bytes as Scraps, to keep and to answer them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

VT = b"\x0b"
FS = b"\x1c"
CR = b"\r"
END = FS + CR
_HARMLESS = b"\r\n \t\0"
_ENDS = frozenset(bytes([byte]) for byte in _HARMLESS + VT + FS)


def frame(body: bytes) -> bytes:
    """One message ready for the wire. ValueError where the body itself holds VT or FS."""
    if VT in body or FS in body:
        raise ValueError("a body that holds VT or FS cannot be framed")
    return VT + body + END


def _end(data: bytes, at: int) -> int:
    """Where the frame ends: at an FS that CR, white space, a new frame or nothing follows; -1: not in `data`.

    Any other FS is a byte of the message: to end there would acknowledge half a message. A message without a VT of its own,
    or junk up to the next VT, is no part of this frame.
    """
    end = data.find(FS, at)
    while end >= 0:
        after = data[end + 1 : end + 2]
        if not after or after in _ENDS or data.startswith(b"MSH", end + 1):
            return end
        start, following = data.find(VT, end), data.find(FS, end + 1)
        if start >= 0 and (following < 0 or start < following):
            return end
        end = following
    return -1


class Fault(StrEnum):
    """Why bytes are no frame."""

    LOOSE = "loose"  # outside any frame: no VT before them
    CUT = "cut"  # a VT came before the FS, or nothing more came
    OVERSIZE = "oversize"


class Scrap(NamedTuple):
    """What came and is no frame."""

    fault: Fault
    head: bytes  # its first bytes
    size: int  # how many there were, as far as is known
    before: int = 0  # it stood before the frame of this index among those that `feed` returned
    lone: bool = True  # False: a frame followed at once, whose answer is all that its sender waits for


class Splitter:
    """Bytes as they come -> bodies of complete frames. One a connection and direction.

    Counted until the owner sets them back: `junk`, bytes that stood outside any frame; `broken`, frames that a new VT cut
    short; `oversize`, frames of more than `limit` bytes, counted as soon as they are, dropped up to their end.

    With `keep`, `scraps` gets the first `keep` bytes of each of them; the owner empties it. A cut frame that comes again
    whole right after is none: its sender gave up and sent anew. Bytes outside a frame become a scrap where a frame or FS ends
    them, or with `rest`.
    """

    __slots__ = (
        "_buffer", "_cut", "_dropping", "_inside", "_loose", "_loose_size", "broken", "junk", "keep", "limit", "oversize",
        "scraps",
    )  # fmt: skip

    def __init__(self, limit: int = 1 << 20, keep: int = 0) -> None:
        self.limit = limit
        self.keep = keep
        self.scraps: list[Scrap] = []
        self._cut: Scrap | None = None
        self._loose = bytearray()
        self._loose_size = 0
        self.junk = 0
        self.broken = 0
        self.oversize = 0
        self._dropping = False
        self._buffer = bytearray()
        self._inside = False

    @property
    def partial(self) -> bool:
        """Whether a frame has begun that has not ended."""
        return self._inside

    @property
    def loose(self) -> bool:
        """Whether bytes outside any frame have come that are no scrap yet."""
        return self._loose_size > 0

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that `data` completes, in order."""
        if not self._inside and not self._loose_size and data[:1] == VT and data.endswith(END) and data.find(FS) == len(data) - 2:
            body = data[1:-2]  # the common case: one packet, one frame
            if VT not in body and len(body) <= self.limit:
                return [body]
        return self._feed(data)

    def _feed(self, data: bytes) -> list[bytes]:
        found: list[bytes] = []
        at = 0
        while at < len(data):
            if not self._inside:
                at = self._seek_start(data, at, len(found))
                continue
            end = _end(data, at)
            stop = end if end >= 0 else len(data)
            restart = data.rfind(VT, at, stop)
            if restart >= 0:
                self.broken += data.count(VT, at, stop)
                self._cut_short(data, at, restart, len(found))
                self._buffer.clear()
                self._dropping = False
                at = restart + 1
            if not self._dropping and len(self._buffer) + stop - at > self.limit:
                self._dropping = True
                self.oversize += 1
                if self.keep:
                    self._drop_cut(len(found))
                    size = len(self._buffer) + stop - at
                    head = bytes(self._buffer[: self.keep]) + data[at : min(stop, at + self.keep)]
                    self.scraps.append(Scrap(Fault.OVERSIZE, head[: self.keep], size, len(found)))
                self._buffer.clear()
            if not self._dropping:
                self._buffer += data[at:stop]
            if end < 0:
                break
            if not self._dropping:
                if self._cut is not None:
                    self._after_cut(len(found))
                found.append(bytes(self._buffer))
            self._buffer.clear()
            self._inside = False
            at = end + 1
        return found

    def rest(self) -> None:
        """Makes scraps of what has come and will not be ended: the connection is, or has been silent for too long."""
        self._drop_cut(0)
        self._end_loose(0, lone=True)
        if self._inside and self._buffer and self.keep:
            self.scraps.append(Scrap(Fault.CUT, bytes(self._buffer[: self.keep]), len(self._buffer)))
        self._buffer.clear()
        self._inside = False

    def end_loose(self) -> None:
        """Makes a scrap of the bytes outside any frame, as no frame followed them."""
        self._end_loose(0, lone=True)

    def _cut_short(self, data: bytes, at: int, restart: int, before: int) -> None:
        """Between VT and VT; of several in one piece the longest is kept."""
        if not self.keep or self._dropping:
            return
        pieces = (bytes(self._buffer) + data[at:restart]).split(VT)
        piece = max(pieces, key=len)
        if piece.strip(_HARMLESS):
            self._drop_cut(before)
            self._cut = Scrap(Fault.CUT, piece[: self.keep], len(piece), before)

    def _after_cut(self, before: int) -> None:
        """A frame has ended in the buffer: the cut one before it came again in it, or is a scrap."""
        if self._cut is not None and not self._buffer.startswith(self._cut.head):
            self._drop_cut(before)
        self._cut = None

    def _drop_cut(self, before: int) -> None:
        if self._cut is not None:
            self.scraps.append(self._cut._replace(before=before))
            self._cut = None

    def _end_loose(self, before: int, *, lone: bool) -> None:
        if self._loose_size:
            self.scraps.append(Scrap(Fault.LOOSE, bytes(self._loose), self._loose_size, before, lone))
            self._loose.clear()
            self._loose_size = 0

    def _seek_start(self, data: bytes, at: int, before: int) -> int:
        """Skip to behind the next VT; what is skipped is junk unless it is white space (or the CR that follows an FS)."""
        start = data.find(VT, at)
        skipped = data[at : start if start >= 0 else len(data)]
        junk = len(skipped.translate(None, _HARMLESS))
        self.junk += junk
        if self.keep and (junk or self._loose_size):
            self._keep_loose(skipped, before)
        if start < 0:
            return len(data)
        if self._loose_size:
            self._end_loose(before, lone=False)
        self._inside = True
        self._dropping = False
        return start + 1

    def _keep_loose(self, skipped: bytes, before: int) -> None:
        """Each piece up to an FS is what somebody took for a frame, without its VT."""
        for number, piece in enumerate(skipped.split(FS)):
            if number:
                self._end_loose(before, lone=True)
            kept = piece if self._loose_size else piece.lstrip(_HARMLESS)
            if kept:
                self._loose += kept[: self.keep - len(self._loose)]
                self._loose_size += len(kept)
