"""A simulated PACS: an SCP for C-ECHO, C-FIND (Study Root) and C-STORE. Its associations are written by hand, so that no bug of
the hub's own codec hides behind itself; of what is stored it keeps the study, not the pixels.

It misbehaves as the other peers do (hub/simulator/faults.py), and in the ways that only DICOM knows: `Trouble`.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, BinaryIO, NamedTuple

from hub.codecs.dicom import columns, header
from hub.domain.errors import Unreadable
from hub.simulator.faults import Peer
from hub.simulator.pacs_archive import KEYWORDS, TAGS, Archive, Study

VERIFICATION, STUDY_ROOT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
PENDING, PENDING_WARNING, SUCCESS, CANCELLED = 0xFF00, 0xFF01, 0x0000, 0xFE00
STORE_RQ, ECHO_RQ, FIND_RQ, CANCEL_RQ = 0x0001, 0x0030, 0x0020, 0x0FFF
STORAGE = "1.2.840.10008.5.1.4.1.1."  # storage SOP classes begin so (PS3.4 B.5)
PIECE = 64  # matches that are written at once


class Trouble(StrEnum):
    """How a PACS goes wrong. The first are answers to A-ASSOCIATE-RQ, the others show in the middle of a C-FIND."""

    REJECTED = "rejected"  # for good, without a reason
    CALLED_UNKNOWN = "called_unknown"  # that is not its AE title
    CALLING_UNKNOWN = "calling_unknown"  # it does not know ours
    CONGESTED = "congested"  # not now
    NO_SOP_CLASS = "no_sop_class"  # abstract syntax not supported
    NO_SYNTAX = "no_syntax"  # none of the transfer syntaxes
    ABORTED = "aborted"  # A-ABORT after the first match
    RELEASED = "released"  # A-RELEASE-RQ after the first match
    CANCELLED = "cancelled"  # 0xFE00 after the first match, which nobody asked for
    FAILED = "failed"  # 0xC001 after the first match
    WARNED = "warned"  # pending with 0xFF01: a key that it does not support
    HUGE = "huge"  # a PDU that says it has 4 GB
    CUT = "cut"  # half a match, and the connection ends


# result, source, reason of A-ASSOCIATE-RJ (PS3.8 9.3.4)
AT_ASSOCIATION = {
    Trouble.REJECTED: (1, 1, 1),
    Trouble.CALLED_UNKNOWN: (1, 1, 7),
    Trouble.CALLING_UNKNOWN: (1, 1, 3),
    Trouble.CONGESTED: (2, 3, 1),
}


class Request(NamedTuple):
    """One PDU as it came, on which connection."""

    kind: int
    body: bytes
    link: _Link


class _Link:
    """What is known of one association."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.contexts: dict[int, tuple[str, str]] = {}  # accepted: id -> (SOP class, transfer syntax)
        self.command: dict[int, int] = {}
        self.data = bytearray()
        self.context = 0


class PacsPeer(Peer):
    """`archive`: what it holds; `charset`: how it writes texts; `received`: the keys of each C-FIND."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        ae_title: str = "PACS",
        archive: Archive | None = None,
        charset: str = "ISO_IR 192",
    ) -> None:
        super().__init__(host=host, port=port, tls=tls)
        self.ae_title = ae_title
        self.archive = archive or Archive()
        self.charset = charset
        self.callers: frozenset[str] = frozenset()  # AE titles that may ask; empty: all
        self.explicit = True  # it takes Explicit VR where that is offered
        self.trouble: Trouble | None = None
        self.cancelled = threading.Event()  # a C-CANCEL came
        self.sent = 0  # matches that went out
        self._local = threading.local()  # a thread a connection

    def tell(self, study: Study) -> str:
        return self.archive.put(study)

    def behave(self) -> None:
        self.trouble = None
        super().behave()

    # -- PDUs -----------------------------------------------------------------------------------------------------

    def read(self, stream: BinaryIO) -> Request | None:
        link = getattr(self._local, "link", None)
        if link is None or link.stream is not stream:
            self._local.link = link = _Link(stream)
        head = stream.read(6)
        if len(head) < 6:
            return None
        kind, _, length = struct.unpack(">BBL", head)
        body = stream.read(length)
        return Request(kind, body, link) if len(body) == length else None

    def _serve(self, sock: socket.socket, request: Any, stopped: threading.Event) -> bool:
        if request.kind == 1:
            answer = self._associate(request)
            sock.sendall(answer)
            return answer[0] == 2
        if request.kind == 5:
            sock.sendall(pdu(6, bytes(4)))
            return False
        if request.kind != 4:
            return False
        if not self._complete(request.link, request.body):
            return True
        if request.link.command.get(0x0100) == FIND_RQ and self._standing is None and not self._faults and self.trouble is None:
            return self._stream(sock, request.link)
        if self.trouble is not None and request.link.command.get(0x0100) == FIND_RQ:
            return self._troubled(sock, request.link)
        return super()._serve(sock, request, stopped)

    def _associate(self, request: Request) -> bytes:
        """PS3.8 9.3.2, 9.3.3."""
        body = request.body
        called, calling = body[4:20].decode("ascii").strip(), body[20:36].decode("ascii").strip()
        trouble = self.trouble
        if called != self.ae_title:
            trouble = Trouble.CALLED_UNKNOWN
        elif self.callers and calling not in self.callers:
            trouble = Trouble.CALLING_UNKNOWN
        if trouble in AT_ASSOCIATION:
            result, source, reason = AT_ASSOCIATION[trouble]
            return pdu(3, bytes([0, result, source, reason]))
        answers = b""
        for number, sop_class, syntaxes in _proposed(body[68:]):
            chosen = EXPLICIT if self.explicit and EXPLICIT in syntaxes else IMPLICIT if IMPLICIT in syntaxes else ""
            result = 0
            known = sop_class in (VERIFICATION, STUDY_ROOT) or sop_class.startswith(STORAGE)
            if not known or (trouble is Trouble.NO_SOP_CLASS and sop_class == STUDY_ROOT):
                result = 3
            elif not chosen or (trouble is Trouble.NO_SYNTAX and sop_class == STUDY_ROOT):
                result = 4
            else:
                request.link.contexts[number] = (sop_class, chosen)
            answers += item(0x21, bytes([number, 0, result, 0]) + item(0x40, chosen.encode()))
        user = item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"2.25.1"))
        return pdu(2, body[:68] + item(0x10, b"1.2.840.10008.3.1.1.1") + answers + user)

    def _complete(self, link: _Link, body: bytes) -> bool:
        """Takes in one P-DATA; whether a request is whole now."""
        at = 0
        whole = False
        while at < len(body):
            (length,) = struct.unpack_from(">L", body, at)
            link.context, control = body[at + 4], body[at + 5]
            part = body[at + 6 : at + 4 + length]
            if control & 1:
                link.command = {element: int.from_bytes(value, "little") for (_, element), value in elements(part, implicit=True)}
                link.data.clear()
                whole = link.command.get(0x0800) == 0x0101
            else:
                link.data += part
                whole = bool(control & 2)
            at += 4 + length
        return whole

    # -- services -------------------------------------------------------------------------------------------------

    def act(self, request: Any) -> bytes:
        link: _Link = request.link
        if link.command.get(0x0100) == ECHO_RQ:
            return self._response(link, 0x8030, SUCCESS)
        if link.command.get(0x0100) == CANCEL_RQ:
            self.cancelled.set()
            return b""
        if link.command.get(0x0100) == STORE_RQ:
            return self._response(link, 0x8001, self._store(link))
        return b"".join(self._find(link)) + self._response(link, 0x8020, SUCCESS)

    def _find(self, link: _Link, status: int = PENDING) -> Iterator[bytes]:
        implicit = link.contexts[link.context][1] == IMPLICIT
        asked = {KEYWORDS[tag]: self._text(value) for tag, value in elements(bytes(link.data), implicit) if tag in KEYWORDS}
        self.received.append(asked)
        for study in self.archive.matching(asked):
            self.sent += 1
            yield self._response(link, 0x8020, status, self._identifier(study, asked, implicit))

    def _store(self, link: _Link) -> int:
        """The status of a C-STORE; the study that it is of is held from now on."""
        try:
            row = header.read(bytes(link.data), link.contexts[link.context][1], columns.instance())
        except Unreadable:
            return 0xC000
        self.archive.add(row)
        return SUCCESS

    def _stream(self, sock: socket.socket, link: _Link) -> bool:
        """Matches go out as they are found, and a C-CANCEL is heard between them."""
        piece: list[bytes] = []
        status = SUCCESS
        for match in self._find(link):
            piece.append(match)
            if len(piece) == PIECE:
                sock.sendall(b"".join(piece))
                piece.clear()
                if self._cancel_came(sock, link):
                    status = CANCELLED
                    break
        sock.sendall(b"".join(piece) + self._response(link, 0x8020, status))
        return True

    def _cancel_came(self, sock: socket.socket, link: _Link) -> bool:
        if not select.select([sock], [], [], 0)[0]:
            return False
        request = self.read(link.stream)
        if request is None or request.kind != 4:
            raise ConnectionError
        number = link.command[0x0110]
        self._complete(link, request.body)
        link.command[0x0110] = number
        self.cancelled.set()
        return True

    def _troubled(self, sock: socket.socket, link: _Link) -> bool:
        status = PENDING_WARNING if self.trouble is Trouble.WARNED else PENDING
        matches = list(self._find(link, status))
        self.counts[str(self.trouble)] += 1
        if self.trouble is Trouble.WARNED:
            sock.sendall(b"".join(matches) + self._response(link, 0x8020, SUCCESS))
            return True
        first = matches[0] if matches else b""
        endings = {
            Trouble.ABORTED: pdu(7, bytes([0, 0, 2, 0])),
            Trouble.RELEASED: pdu(5, bytes(4)),
            Trouble.CANCELLED: self._response(link, 0x8020, CANCELLED),
            Trouble.FAILED: self._response(link, 0x8020, 0xC001),
            Trouble.HUGE: struct.pack(">BBL", 4, 0, 0xFFFFFFFF) + bytes(100),
            Trouble.CUT: first[: len(first) // 2],
        }
        assert self.trouble is not None
        sock.sendall(first + endings.get(self.trouble, b""))
        return self.trouble in (Trouble.CANCELLED, Trouble.FAILED)

    def refusal(self, request: Any) -> bytes:
        return self._response(request.link, 0x8020, 0x0122)

    def busy(self, request: Any) -> bytes:
        return self._response(request.link, 0x8020, 0xA700)

    def wrong(self, request: Any) -> bytes:
        """Of another request: its message id was never given."""
        link = request.link
        link.command[0x0110] = link.command.get(0x0110, 0) + 77
        return self._response(link, 0x8020, SUCCESS)

    def _response(self, link: _Link, field: int, status: int, identifier: bytes = b"") -> bytes:
        """PS3.7 9.3.2.2: a command set, in a PDU, and a data set in another."""
        sop_class = link.contexts.get(link.context, (VERIFICATION, ""))[0].encode()
        body = element(0x0000, 0x0002, "UI", sop_class, implicit=True)
        numbers = (
            (0x0100, field),
            (0x0120, link.command.get(0x0110, 0)),
            (0x0800, 0x0001 if identifier else 0x0101),
            (0x0900, status),
        )
        for number, value in numbers:
            body += element(0x0000, number, "US", struct.pack("<H", value), implicit=True)
        command = element(0x0000, 0x0000, "UL", struct.pack("<L", len(body)), implicit=True) + body
        return _values(link.context, 3, command) + (_values(link.context, 2, identifier) if identifier else b"")

    # -- data sets ------------------------------------------------------------------------------------------------

    def _identifier(self, study: Study, asked: dict[str, str], implicit: bool) -> bytes:
        """What was asked for, as far as it is held; always the character set, UID and level."""
        found = {key: study.get(key, "") for key in asked if key not in ("SpecificCharacterSet", "QueryRetrieveLevel")}
        found |= {"SpecificCharacterSet": self.charset, "QueryRetrieveLevel": "STUDY"}
        ordered = sorted(found, key=lambda key: TAGS[key][:2])
        return b"".join(element(*TAGS[key], self._bytes(found[key], TAGS[key][2]), implicit=implicit) for key in ordered)

    def _bytes(self, text: str, vr: str) -> bytes:
        if vr not in ("PN", "LO", "SH"):
            return text.encode("ascii")
        if self.charset == "ISO_IR 192":
            return text.encode()
        if self.charset == "ISO_IR 149":  # not the standard's, and common (PS3.3 C.12.1.1.2)
            return text.encode("cp949")
        if "IR 149" not in self.charset:
            return text.encode("latin-1", "replace")
        marks = "^=\\" if vr == "PN" else "\\"  # PS3.5 6.1.2.5.3: after each the first set is in force again
        parts, word = [], ""
        for letter in text + "\0":
            if letter in marks or letter == "\0":
                parts.append(word.encode() if word.isascii() else b"\x1b$)C" + word.encode("euc_kr"))
                parts.append(b"" if letter == "\0" else letter.encode())
                word = ""
            else:
                word += letter
        return b"".join(parts)

    def _text(self, value: bytes) -> str:
        for codec in ("utf-8", "cp949", "latin-1"):
            try:
                return value.replace(b"\x1b$)C", b"").decode(codec).rstrip(" \0")
            except UnicodeDecodeError:
                continue
        return ""


LONG = frozenset({"OB", "OW", "SQ", "UN", "UT", "UC", "UR", "OD", "OF", "OL", "OV", "SV", "UV"})  # PS3.5 7.1.2


def element(group: int, number: int, vr: str, value: bytes, *, implicit: bool) -> bytes:
    """One data element, Little Endian, padded to even length."""
    if len(value) % 2:
        value += b"\0" if vr == "UI" else b" "
    if implicit:
        return struct.pack("<HHL", group, number, len(value)) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value


def elements(data: bytes, implicit: bool) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Those of a data set without sequences of undefined length."""
    at = 0
    while at + 8 <= len(data):
        group, number = struct.unpack_from("<HH", data, at)
        if implicit:
            length, start = struct.unpack_from("<L", data, at + 4)[0], at + 8
        elif data[at + 4 : at + 6].decode("latin-1") in LONG:
            length, start = struct.unpack_from("<L", data, at + 8)[0], at + 12
        else:
            length, start = struct.unpack_from("<H", data, at + 6)[0], at + 8
        yield (group, number), data[start : start + length]
        at = start + length


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _values(context: int, control: int, data: bytes) -> bytes:
    return pdu(4, struct.pack(">LBB", len(data) + 2, context, control) + data)


def _proposed(items: bytes) -> Iterator[tuple[int, str, list[str]]]:
    """(id, SOP class, transfer syntaxes) of each presentation context (PS3.8 9.3.2.2)."""
    for kind, body in _items(items):
        if kind == 0x20:
            inner = list(_items(body[4:]))
            sop_class = next(text.decode("ascii").rstrip("\0") for sub, text in inner if sub == 0x30)
            yield body[0], sop_class, [text.decode("ascii").rstrip("\0") for sub, text in inner if sub == 0x40]


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        kind, _, length = struct.unpack_from(">BBH", data, at)
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length
