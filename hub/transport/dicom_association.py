"""One association of a DICOM peer (PS3.8), the accepting end: PDUs taken apart, messages put together, answers written.

What a peer says of its sizes is believed only up to ours: a PDU's length is looked at before its body is waited for, of a data
set no more than its beginning is kept and the rest is dropped as it comes. So memory is bounded by PDU and header, whatever is
sent. pynetdicom reads whatever length it is told and keeps all of it (docs/adr/0160).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hub.codecs.dicom import command, pdu
from hub.codecs.dicom.command import Command, Operation, Status
from hub.codecs.dicom.pdu import Fragment, Rejection, Type
from hub.domain.errors import Unreadable

if TYPE_CHECKING:
    from hub.transport.dicom_scp import DicomListener

log = logging.getLogger(__name__)
MOST_REQUEST = 256 << 10  # bytes of an A-ASSOCIATE-RQ: 128 contexts with 30 transfer syntaxes each
UNANSWERED = 8  # requests of one association; with more of them nothing more is read of it
CLOSING_SECONDS = 5.0  # that a peer has to close after our last word, which is his to do (PS3.8 section 9.2.2, Sta13)


_WHY: dict[Rejection, str] = {
    pdu.VERSION_UNKNOWN: "another version of the protocol", pdu.CONTEXT_UNKNOWN: "another application context",
    pdu.TOO_MANY: "too many associations",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What one channel's associations may cost us."""

    pdu: int = 128 << 10  # bytes; what we tell the peer, and the most that is taken
    header: int = 1 << 20  # bytes of a data set that are kept
    associations: int = 64
    request_seconds: float = 30.0  # from the connection to a whole A-ASSOCIATE-RQ (ARTIM)
    pdu_seconds: float = 30.0  # from a PDU's first byte to its last
    message_seconds: float = 600.0  # from a message's first byte to its last
    idle_seconds: float = 600.0  # without a PDU
    spared_seconds: float = 10.0  # before it has been silent for so long, no association gives its place to a new one


@dataclass(slots=True)
class Asked:
    """One DIMSE request. `data`: its data set, or of a long one the beginning; `size`: of how many bytes it was."""

    association: Association
    context: int
    abstract: str
    transfer: str
    command: Command
    data: bytes = b""
    size: int = 0
    cancelled: bool = False  # by a C-CANCEL: no more pending answers are wanted

    @property
    def whole(self) -> bool:
        return self.size == len(self.data)

    def answer(self, status: int, data: bytes = b"", *, comment: str = "", instance: str = "") -> bool:
        """One response. All but a pending one are the last. False: the peer is gone."""
        return self.association.answer(self, status, data, comment, instance)


class Service(Protocol):
    """What a listener does with requests. Called in its loop; nothing in it may block but a commit."""

    def transfer(self, abstract: str, proposed: Sequence[str]) -> str | None:
        """The transfer syntax of a presentation context; None: no such abstract syntax, "": none of these transfer syntaxes."""
        ...

    def asked(self, request: Asked) -> None:
        """Answers it, now or later."""
        ...


@dataclass(slots=True)
class Counts:
    """What a listener saw."""

    accepted: int = 0
    rejected: int = 0
    aborted: int = 0  # by us: what they sent was no DICOM, or too long, or too slow
    messages: int = 0
    dropped: int = 0  # bytes of data sets that were not kept


class _Message:
    """A message of which not all fragments are here."""

    __slots__ = ("began", "command", "context", "data", "read", "size")

    def __init__(self, context: int, now: float) -> None:
        self.context = context
        self.began = now
        self.command = bytearray()
        self.read: Command | None = None  # the command set, once it is whole
        self.data = bytearray()
        self.size = 0


class Association(asyncio.Protocol):
    """One peer's connection."""

    def __init__(self, listener: DicomListener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._request: pdu.Request | None = None  # once it is accepted
        self._contexts: dict[int, tuple[str, str]] = {}  # number -> abstract and transfer syntax
        self._message: _Message | None = None
        self._pending: dict[int, Asked] = {}  # by message id
        self._heard = self._began = self._loop.time()
        self._closing = 0.0  # loop time at which we had said our last word; 0: we had not
        self._paused = False
        self._said_all = False  # the peer has closed its half
        self.address = ""

    # -- what the loop tells ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.address = str((transport.get_extra_info("peername") or ("unknown",))[0])
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._listener.admit(self, transport.get_extra_info("ssl_object")):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        buffer = self._buffer
        if not buffer:
            self._began = self._loop.time()
        buffer += data
        while len(buffer) >= pdu.HEAD and not self._closing:
            length = int.from_bytes(buffer[2:6], "big")
            if not self._fits(buffer[0], length):
                return
            if len(buffer) < pdu.HEAD + length:
                return
            kind, body = buffer[0], bytes(buffer[pdu.HEAD : pdu.HEAD + length])
            del buffer[: pdu.HEAD + length]
            self._heard = self._began = self._loop.time()
            try:
                self._pdu(kind, body)
            except Unreadable as error:
                self._give_up(error.reason, pdu.ABORT_INVALID)

    def eof_received(self) -> bool:
        """The peer has said all. What waits for a commit is answered before our side closes too."""
        self._said_all = True
        return bool(self._pending) and not self._closing and not self._tls

    def connection_lost(self, _error: Exception | None) -> None:
        self._closing = self._closing or self._loop.time()
        self._listener.forget(self)
        self._message = None
        self._pending.clear()

    def pause_writing(self) -> None:
        """The peer does not read its answers: nothing more is read of it."""
        self._paused = True
        self._flow()

    def resume_writing(self) -> None:
        self._paused = False
        self._flow()

    # -- PDUs ------------------------------------------------------------------------------------------------------

    def _fits(self, kind: int, length: int) -> bool:
        """Looks at a PDU's head before anything of its body is waited for."""
        most = MOST_REQUEST if self._request is None else max(self._listener.limits.pdu, 64)
        known = kind in set(Type)
        if self._request is None and kind != Type.ASSOCIATE_RQ:
            self._give_up("speaks no DICOM" if not known else "does not begin with A-ASSOCIATE-RQ", pdu.ABORT_UNEXPECTED)
            return False
        if not known:
            self._give_up("a PDU of an unknown type", pdu.ABORT_UNKNOWN)
            return False
        if length > most or (kind in (Type.RELEASE_RQ, Type.ABORT) and length != 4):
            self._give_up(f"a PDU of {length} bytes where {most} are allowed", pdu.ABORT_INVALID)
            return False
        return True

    def _pdu(self, kind: int, body: bytes) -> None:
        if self._request is None:
            self._asked_for(pdu.request(body))
        elif kind == Type.P_DATA:
            for fragment in pdu.fragments(body):
                if self._closing:
                    return
                self._fragment(fragment)
        elif kind == Type.RELEASE_RQ:
            self._last_word(pdu.release_answer())
        elif kind == Type.ABORT:
            self._closing = self._loop.time()
            self._close()
        else:
            self._give_up("a PDU that does not belong here", pdu.ABORT_UNEXPECTED)

    def _asked_for(self, request: pdu.Request) -> None:
        listener = self._listener
        refusal = listener.names.refusal(request.called, request.calling, self.address)
        if not request.version & 1:
            refusal = pdu.VERSION_UNKNOWN
        elif request.application != pdu.APPLICATION_CONTEXT:
            refusal = pdu.CONTEXT_UNKNOWN
        elif refusal is None and not listener.seat(self):
            refusal = pdu.TOO_MANY
        if refusal is not None:
            listener.counts.rejected += 1
            why = _WHY.get(refusal, "")
            if not why:
                code, why = listener.names.why(request.called, request.calling)
                listener.turn_away(self.address, request.calling, code)
            log.warning("%s: association from %s rejected: %s", listener.name, self.address, why)
            self._last_word(pdu.reject(refusal))
            return
        answers = {}
        for number, proposed in list(request.contexts.items())[: pdu.MOST_CONTEXTS]:
            transfer = listener.service.transfer(proposed.abstract, proposed.transfers)
            answer = pdu.NO_ABSTRACT if transfer is None else pdu.ACCEPTED if transfer else pdu.NO_TRANSFER
            answers[number] = (answer, transfer or next(iter(proposed.transfers), "1.2.840.10008.1.2"))
            if transfer:
                self._contexts[number] = (proposed.abstract, transfer)
        self._request = request
        listener.counts.accepted += 1
        self._write([pdu.accept(request.called, request.calling, answers, listener.limits.pdu)])

    # -- messages --------------------------------------------------------------------------------------------------

    def _fragment(self, fragment: Fragment) -> None:
        if fragment.context not in self._contexts:
            raise Unreadable("a message in a presentation context that was not accepted", code="not_a_message")
        message = self._message
        if message is None:
            message = self._message = _Message(fragment.context, self._loop.time())
        if message.context != fragment.context or fragment.command is not (message.read is None):
            raise Unreadable("a message's fragments are out of order", code="not_a_message")
        if fragment.command:
            message.command += fragment.data
            if len(message.command) > command.MOST:
                raise Unreadable(f"a command set of more than {command.MOST} bytes", code="not_a_message")
            if not fragment.last:
                return
            message.read = command.read(bytes(message.command))
            if not message.read.has_data:
                self._whole(message, message.read)
            return
        message.size += len(fragment.data)
        room = self._listener.limits.header - len(message.data)
        message.data += fragment.data[: max(room, 0)]
        if fragment.last and message.read is not None:
            self._whole(message, message.read)

    def _whole(self, message: _Message, what: Command) -> None:
        self._message = None
        counts = self._listener.counts
        counts.messages += 1
        counts.dropped += message.size - len(message.data)
        if what.operation == command.CANCEL:
            one = self._pending.get(what.message_id)
            if one is not None:
                one.cancelled = True
            return
        if what.operation & command.RESPONSE:
            raise Unreadable("a response to nothing that was asked", code="not_a_message")
        abstract, transfer = self._contexts[message.context]
        asked = Asked(self, message.context, abstract, transfer, what, bytes(message.data), message.size)
        if what.message_id in self._pending:
            raise Unreadable("a message id that waits for its answer", code="not_a_message")
        self._pending[what.message_id] = asked
        self._flow()
        if what.operation == Operation.C_ECHO:
            asked.answer(Status.SUCCESS)
        else:
            self._listener.service.asked(asked)

    def answer(self, to: Asked, status: int, data: bytes, comment: str, instance: str) -> bool:
        """One response to `to`."""
        if self._pending.get(to.command.message_id) is not to or self._request is None:
            return False
        if status not in (Status.PENDING, 0xFF01):
            del self._pending[to.command.message_id]
            self._flow()
        body = command.answer(to.command, status, has_data=bool(data), comment=comment, instance=instance)
        written = self._write(list(pdu.p_data(to.context, body, data, self._request.longest)))
        if self._said_all and not self._pending:
            self._close()
        return written

    # -- the connection --------------------------------------------------------------------------------------------

    @property
    def calling(self) -> str:
        """The peer's AE title, once it is accepted."""
        return self._request.calling if self._request is not None else ""

    @property
    def established(self) -> bool:
        return self._request is not None and not self._closing

    @property
    def _tls(self) -> bool:
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is not None

    def silent_since(self) -> float | None:
        """Loop time of the last PDU; None while a message is on its way or an answer is owed."""
        return None if self._buffer or self._message or self._pending else self._heard

    def _flow(self) -> None:
        """Reads on, or not, by what is owed already."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._paused or len(self._pending) >= UNANSWERED:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _write(self, pdus: Sequence[bytes]) -> bool:
        transport = self._transport
        if transport is None or transport.is_closing() or self._closing:
            return False
        transport.write(b"".join(pdus))
        return True

    def _last_word(self, said: bytes) -> None:
        """Says it and waits for the peer to close, for a while."""
        self._write([said])
        self._closing = self._loop.time()
        self._buffer.clear()
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def _give_up(self, why: str, reason: int) -> None:
        """A-ABORT (PS3.8 section 9.3.8)."""
        self._listener.counts.aborted += 1
        log.warning("%s: association from %s aborted: %s", self._listener.name, self.address, why)
        self._message = None
        self._last_word(pdu.abort(reason))

    def abort(self, why: str) -> None:
        """From our side, at once."""
        if not self._closing:
            self._give_up(why, 0)
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def overdue(self, now: float) -> str:
        """Why it must end now; "": it need not."""
        limits = self._listener.limits
        if self._closing:
            return "did not close" if now - self._closing > CLOSING_SECONDS else ""
        if self._request is None:
            return "no A-ASSOCIATE-RQ in time" if now - self._heard > limits.request_seconds else ""
        if self._pending:
            return ""
        if self._buffer and now - self._began > limits.pdu_seconds:
            return "a PDU that does not end"
        if self._message is not None and now - self._message.began > limits.message_seconds:
            return "a message that does not end"
        return "silence" if now - self._heard > limits.idle_seconds else ""

    def kill(self) -> None:
        if self._transport is not None:
            self._transport.abort()
