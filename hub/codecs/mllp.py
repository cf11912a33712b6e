"""MLLP framing (HL7 v2.5.1 Appendix C; Transport MLLP Release 1): VT, the message, FS, CR. No sockets, no clock.

What senders do wrong and we still take: no CR after the FS, LF or blanks between frames, several frames in one packet,
one byte a packet. What we cannot take is counted, never answered as if it were a message: bytes outside any frame, and a frame
that a new VT cut short (the sender gave up on it, and sends it again because it got no answer).
"""

from __future__ import annotations

VT = b"\x0b"
FS = b"\x1c"
CR = b"\r"
END = FS + CR
_HARMLESS = b"\r\n \t\0"


def frame(body: bytes) -> bytes:
    """One message ready for the wire. ValueError where the body itself holds VT or FS."""
    if VT in body or FS in body:
        raise ValueError("a body that holds VT or FS cannot be framed")
    return VT + body + END


class Splitter:
    """Bytes as they come -> bodies of complete frames. One a connection and direction.

    Counted until the owner sets them back: `junk`, bytes that stood outside any frame; `broken`, frames that a new VT cut
    short; `oversize`, frames of more than `limit` bytes, counted as soon as they are, dropped up to their end.
    """

    __slots__ = ("_buffer", "_dropping", "_inside", "broken", "junk", "limit", "oversize")

    def __init__(self, limit: int = 1 << 20) -> None:
        self.limit = limit
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

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that `data` completes, in order."""
        if not self._inside and data[:1] == VT and data.endswith(END) and data.find(FS) == len(data) - 2:
            body = data[1:-2]  # the common case: one packet, one frame
            if VT not in body and len(body) <= self.limit:
                return [body]
        return self._feed(data)

    def _feed(self, data: bytes) -> list[bytes]:
        found: list[bytes] = []
        at = 0
        while at < len(data):
            if not self._inside:
                at = self._seek_start(data, at)
                continue
            end = data.find(FS, at)
            stop = end if end >= 0 else len(data)
            restart = data.rfind(VT, at, stop)
            if restart >= 0:
                self.broken += data.count(VT, at, stop)
                self._buffer.clear()
                self._dropping = False
                at = restart + 1
            if not self._dropping and len(self._buffer) + stop - at > self.limit:
                self._dropping = True
                self.oversize += 1
                self._buffer.clear()
            if not self._dropping:
                self._buffer += data[at:stop]
            if end < 0:
                break
            if not self._dropping:
                found.append(bytes(self._buffer))
            self._buffer.clear()
            self._inside = False
            at = end + 1
        return found

    def _seek_start(self, data: bytes, at: int) -> int:
        """Skip to behind the next VT; what is skipped is junk unless it is white space (or the CR that follows an FS)."""
        start = data.find(VT, at)
        skipped = data[at : start if start >= 0 else len(data)]
        self.junk += len(skipped.translate(None, _HARMLESS))
        if start < 0:
            return len(data)
        self._inside = True
        self._dropping = False
        return start + 1
