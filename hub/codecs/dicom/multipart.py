"""multipart/related as it streams by (RFC 2387, RFC 2046 5.1.1; PS3.18 8.6.1.2): of each part its head, and of its body the
beginning. What stands behind that is looked through for the next delimiter and dropped: gigabytes cost as much as one header.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from typing import NamedTuple

from hub.domain.errors import Unreadable

MOST_HEAD = 8192  # bytes of a part's header lines
LONGEST_BOUNDARY = 70  # RFC 2046 5.1.1


class Part(NamedTuple):
    """`data`: the beginning of its body; `size`: how many bytes that had."""

    media: str
    data: bytes
    size: int


class ContentType(NamedTuple):
    """A Content-Type's media type in lower case, and the parameters that matter here."""

    media: str
    type: str
    boundary: str


def content_type(text: str) -> ContentType:
    """`multipart/related; type="application/dicom"; boundary=x`. A boundary that is none is "" """
    message = Message()
    message["Content-Type"] = text.replace("\r", "").replace("\n", "")
    boundary = message.get_param("boundary", "")
    kind = message.get_param("type", "")
    named = boundary if isinstance(boundary, str) and 0 < len(boundary) <= LONGEST_BOUNDARY and boundary.isascii() else ""
    return ContentType(message.get_content_type(), kind.lower() if isinstance(kind, str) else "", named)


class Parts:
    """Fed chunk by chunk. Keeps no more than `keep` bytes of a part and a chunk's end."""

    def __init__(self, boundary: str, *, keep: int, most: int) -> None:
        """`most`: parts of one body."""
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._keep = keep
        self._most = most
        self._buffer = bytearray(b"\r\n")  # the first delimiter needs no line before it
        self._media: str | None = None  # of the part in hand; None: between two
        self._data = bytearray()
        self._size = 0
        self._count = 0
        self._in_preamble = True
        self.ended = False

    def feed(self, chunk: bytes) -> Iterator[Part]:
        """The parts that end with this chunk. Raises Unreadable."""
        self._buffer += chunk
        while not self.ended:
            if self._media is None and not self._in_preamble:
                if not self._head():
                    return
                continue
            at = self._buffer.find(self._delimiter)
            if at < 0:
                self._take(max(len(self._buffer) - len(self._delimiter) + 1, 0))
                return
            if len(self._buffer) < at + len(self._delimiter) + 2:  # is it the last one?
                self._take(at)
                return
            self._take(at)
            del self._buffer[: len(self._delimiter)]
            if self._media is not None:
                yield Part(self._media, bytes(self._data), self._size)
            self._media, self._size, self._in_preamble = None, 0, False
            self._data.clear()
            self.ended = bytes(self._buffer[:2]) == b"--"
        self._buffer.clear()  # an epilogue says nothing

    def _take(self, count: int) -> None:
        """Moves so many bytes out of the buffer; what is beyond the beginning is dropped."""
        if self._media is not None:
            self._size += count
            room = self._keep - len(self._data)
            if room > 0:
                self._data += self._buffer[: min(room, count)]
        del self._buffer[:count]

    def _head(self) -> bool:
        """Reads a part's header lines; False: they are not all here."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > MOST_HEAD:
            if len(self._buffer) > MOST_HEAD:
                raise Unreadable("a part's header lines have no end", code="not_multipart")
            return False
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        self._media = ""
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip().lower() == "content-type":
                self._media = value.partition(";")[0].strip().lower()
        self._count += 1
        if self._count > self._most:
            raise Unreadable(f"more than {self._most} parts", code="too_many")
        return True
