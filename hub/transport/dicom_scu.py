"""DICOM, the asking end: one association to a PACS at a time, C-ECHO and C-FIND (PS3.7 9.1.5, 9.1.2; PS3.8 9.3).

Whoever asks reads, so what is not asked for yet waits in TCP: a PACS of any size costs as much memory as a small one. Every PDU
has an end in size and time, and nothing runs beside the caller's thread. pynetdicom reads ahead without end into a queue,
believes a PDU's length field and waits for the rest of one without limit (docs/adr/0165); tests have it at the other end.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from hub import log
from hub.codecs.dicom import command, pdu
from hub.codecs.dicom.command import Operation
from hub.codecs.dicom.pdu import Fragment, Proposed, Type
from hub.codecs.dicom.uid import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hub.config import option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, Refused, Unreadable
from hub.transport.http import wrong
from hub.transport.tls import client_context

_log = log.get(__name__)
VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
WORKLIST = "1.2.840.10008.5.1.4.31"
KNOWN = frozenset(Type)
SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)  # in the order in which we like them
MOST_PDU = 65536  # bytes of P-DATA that we say we take, and take
MOST_MATCH = 1 << 20  # bytes of one match
CANCEL_SECONDS = 5.0  # for the peer's word that it stopped
CLOSING_SECONDS = 5.0  # and that it releases the association
PENDING, PENDING_WARNING, SUCCESS, CANCELLED = 0xFF00, 0xFF01, 0x0000, 0xFE00
_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?\Z")  # PS3.5 6.2, VR AE


@dataclass(frozen=True, slots=True, kw_only=True)
class ScuSettings:
    """Where a PACS is, and who we are to it."""

    host: str = option(doc="the PACS's address")
    port: int = option(104, doc="its DICOM port", low=1, high=65535)
    called_ae: str = option(doc="the PACS's AE title, as it calls itself")
    calling_ae: str = option("HUB", doc="our AE title, as the PACS knows us")
    tls: bool = option(False, doc="true: DICOM over TLS (PS3.15 B)")
    ca_file: Path | None = option(None, doc="authorities trusted for the PACS's certificate (PEM); default: the system's")
    cert_file: Path | None = option(None, doc="certificate that we show the PACS (PEM)")
    key_file: Path | None = option(None, doc="its private key (PEM); default: it stands in cert_file")
    connect_timeout_seconds: float = option(5.0, doc="seconds for a connection", low=0.1, high=60)
    timeout_seconds: float = option(30.0, doc="seconds for the next thing that the PACS has to say", low=0.1, high=600)

    def __post_init__(self) -> None:
        for name in ("called_ae", "calling_ae"):
            if not is_title(getattr(self, name)):
                raise wrong(f'"{name}" is no AE title', 'write 1 to 16 ASCII characters without backslash, "ORTHANC"')
        if (self.ca_file or self.cert_file) and not self.tls:
            raise wrong("ca_file and cert_file stand without tls", "write tls = true beside them")
        if self.key_file and not self.cert_file:
            raise wrong("key_file stands alone", "write cert_file = … beside it")


def is_title(text: str) -> bool:
    """Whether it is an AE title (PS3.5 6.2, VR AE)."""
    return _TITLE.match(text) is not None


class Match(NamedTuple):
    """One pending response: its identifier as it came, and how that is encoded."""

    data: bytes
    syntax: str


class Association:
    """One association, opened when it is entered, released when it is left. One thread; every wait has an end.

    Raises Misconfigured (AE titles, certificate), Refused (the PACS does not do what is asked), NotDelivered (everything else).
    """

    def __init__(self, settings: ScuSettings, *classes: str) -> None:
        """`classes`: the SOP classes that shall be asked for."""
        self._s = settings
        self._classes = classes
        self._wire: _Wire | None = None
        self._contexts: dict[str, tuple[int, str]] = {}  # SOP class -> (presentation context, transfer syntax)
        self._most_sent = 16384
        self._number = 0

    def __enter__(self) -> Self:
        self._wire = _Wire(_connect(self._s), self._s.timeout_seconds)
        try:
            self._negotiate(self._wire)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._release()
        self.close()

    def close(self) -> None:
        """Abort what is still open; may be called again."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()

    def syntax(self, sop_class: str) -> str:
        """The transfer syntax of what goes to and fro for this SOP class: Explicit or Implicit VR Little Endian."""
        return self._contexts[sop_class][1]

    # -- services -------------------------------------------------------------------------------------------------

    def echo(self) -> None:
        """C-ECHO: the PACS is there and talks to us."""
        self._ask(Operation.C_ECHO, VERIFICATION)
        answer = self._answer(Operation.C_ECHO)
        if answer.status != SUCCESS:
            raise _failed(answer.status)

    def find(self, sop_class: str, identifier: bytes) -> Generator[Match]:
        """C-FIND: the matches, as they come. `identifier` is encoded as `syntax` says.

        Whoever stops before the end (closes the iterator) has it cancelled at the peer (C-CANCEL).
        """
        self._ask(Operation.C_FIND, sop_class, identifier)
        ended = warned = False
        try:
            while True:
                answer = self._answer(Operation.C_FIND)
                if answer.status not in (PENDING, PENDING_WARNING):
                    ended = True
                    if answer.status != SUCCESS:
                        raise _failed(answer.status)
                    return
                if answer.status == PENDING_WARNING and not warned:
                    warned = True
                    _log.warning("the PACS does not support a key that was asked for (0xFF01)", extra={"ae": self._s.called_ae})
                yield Match(answer.data, self._contexts[sop_class][1])
        except HubError:
            ended = True
            raise
        finally:
            if not ended:
                self._cancel(sop_class)

    def _cancel(self, sop_class: str) -> None:
        """C-CANCEL; what comes until the peer has stopped is let go. A peer that does not stop is aborted."""
        wire = self._wire
        if wire is None:
            return
        until = time.monotonic() + min(CANCEL_SECONDS, self._s.timeout_seconds)
        try:
            self._send(sop_class, command.request(command.CANCEL, self._number, sop_class), b"")
            while self._answer(Operation.C_FIND).status in (PENDING, PENDING_WARNING):
                if time.monotonic() > until:
                    self.close()
                    return
        except HubError:
            self.close()

    # -- messages -------------------------------------------------------------------------------------------------

    def _ask(self, operation: Operation, sop_class: str, data: bytes = b"") -> None:
        self._number = self._number % 0xFFFF + 1
        self._send(sop_class, command.request(operation, self._number, sop_class, has_data=bool(data)), data)

    def _send(self, sop_class: str, said: bytes, data: bytes) -> None:
        self._open.send(b"".join(pdu.p_data(self._contexts[sop_class][0], said, data, self._most_sent)))

    def _answer(self, operation: Operation) -> _Answer:
        """The next whole message: a command set, and where it says so a data set (PS3.7 6.3.1, PS3.8 E.2)."""
        said, data = bytearray(), bytearray()
        read: command.Command | None = None
        while True:
            for fragment in self._open.data():
                whole = said if fragment.command else data
                whole += fragment.data
                if len(whole) > MOST_MATCH:
                    raise NotDelivered(f"the PACS answered a match of more than {MOST_MATCH} bytes", code="too_large")
                if fragment.command and fragment.last:
                    read = _command(bytes(said))
                    if read.operation != operation | command.RESPONSE or read.message_id != self._number:
                        raise NotDelivered("the PACS answered something that was not asked", code="wrong_answer")
                if read is not None and fragment.last and fragment.command is not read.has_data:
                    return _Answer(read.numbers.get(0x0900, 0xC000), bytes(data))

    @property
    def _open(self) -> _Wire:
        if self._wire is None:
            raise NotDelivered("the association is closed", code="closed")
        return self._wire

    # -- association ----------------------------------------------------------------------------------------------

    def _negotiate(self, wire: _Wire) -> None:
        proposed = {2 * n + 1: Proposed(sop_class, SYNTAXES) for n, sop_class in enumerate(self._classes)}
        wire.send(pdu.ask(self._s.called_ae, self._s.calling_ae, proposed, MOST_PDU))
        kind, body = wire.pdu()
        try:
            if kind == Type.ASSOCIATE_RJ:
                raise self._rejected(pdu.rejection(body))
            if kind != Type.ASSOCIATE_AC:
                raise unexpected(kind)
            found = pdu.accepted(body)
        except Unreadable:
            raise NotDelivered("the PACS answered no readable A-ASSOCIATE-AC or -RJ", code="not_dicom") from None
        for number, (sop_class, _) in proposed.items():
            result, syntax = found.answers.get(number, (None, ""))
            if result != pdu.ACCEPTED or syntax not in SYNTAXES:
                raise _not_taken(sop_class, result)
            self._contexts[sop_class] = (number, syntax)
        if found.longest:
            self._most_sent = max(1024, min(found.longest, MOST_PDU))

    def _rejected(self, why: pdu.Rejection) -> HubError:
        s = self._s
        if why.result == 2 or why.source == 3:  # transient, or its limits (PS3.8 9.3.4)
            return NotDelivered(f"the PACS takes no association now (A-ASSOCIATE-RJ {why.source}/{why.reason})", code="busy")
        if why == pdu.CALLED_UNKNOWN:
            return Misconfigured(f"the PACS does not know its AE title {s.called_ae}: correct called_ae", code="called_ae")
        if why == pdu.CALLING_UNKNOWN:
            return Misconfigured(f"the PACS does not know our AE title {s.calling_ae}: enter it there", code="calling_ae")
        who = f"we called it {s.called_ae} and ourselves {s.calling_ae}"
        return Misconfigured(f"the PACS rejected the association ({why.source}/{why.reason}); {who}", code="rejected")

    def _release(self) -> None:
        """A-RELEASE; a peer that does not agree is left with an abort."""
        wire = self._wire
        if wire is None:
            return
        try:
            wire.send(pdu.release())
            for _ in range(100):  # what it still had to say
                kind, _body = wire.pdu(min(CLOSING_SECONDS, self._s.timeout_seconds))
                if kind == Type.RELEASE_RQ:  # both at once (PS3.8 7.2.2.7)
                    wire.send(pdu.release_answer())
                if kind == Type.RELEASE_RP:
                    wire.close()
                    self._wire = None
                    return
        except HubError:
            return


class _Answer(NamedTuple):
    status: int
    data: bytes


class _Wire:
    """A socket that gives and takes whole PDUs."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds
        self._read = bytearray()

    def send(self, data: bytes) -> None:
        try:
            self._sock.settimeout(self._seconds)
            self._sock.sendall(data)
        except OSError as error:
            raise _broken(error) from None

    def data(self) -> list[Fragment]:
        """The presentation data values of the next P-DATA-TF."""
        kind, body = self.pdu()
        if kind != Type.P_DATA:
            raise unexpected(kind)
        try:
            return pdu.fragments(body)
        except Unreadable as error:
            raise NotDelivered(f"the PACS sent no DICOM: {error.reason}", code="not_dicom") from None

    def pdu(self, seconds: float = 0.0) -> tuple[int, bytes]:
        """Type and body of the next PDU, whole within `seconds`, else within those of the wire."""
        until = time.monotonic() + (seconds or self._seconds)
        head = self._take(pdu.HEAD, until)
        length = int.from_bytes(head[2:], "big")
        if head[0] not in KNOWN or length > MOST_PDU + 4096:
            raise NotDelivered("what the PACS answered is not DICOM, or longer than agreed", code="not_dicom")
        return head[0], self._take(length, until)

    def _take(self, count: int, until: float) -> bytes:
        while len(self._read) < count:
            left = until - time.monotonic()
            if left <= 0:
                raise NotDelivered("the PACS did not answer in time", code="no_answer")
            try:
                self._sock.settimeout(left)
                more = self._sock.recv(65536)
            except OSError as error:
                raise _broken(error) from None
            if not more:
                raise NotDelivered("the PACS closed the connection instead of answering", code="closed")
            self._read += more
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def abort(self) -> None:
        try:
            self._sock.settimeout(0.2)
            self._sock.sendall(pdu.abort(provider=False))
        except OSError:  # it is gone already
            pass
        self.close()

    def close(self) -> None:
        self._sock.close()


def _connect(settings: ScuSettings) -> socket.socket:
    try:
        sock = socket.create_connection((settings.host, settings.port), settings.connect_timeout_seconds)
    except OSError as error:
        reason = f"the PACS cannot be reached at {settings.host}:{settings.port} ({type(error).__name__})"
        raise NotDelivered(reason, code="unreachable", reached=False) from None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Nagle and delayed ACKs cost 40 ms a message (PS3.8 has many)
        return _secured(sock, settings) if settings.tls else sock
    except BaseException:
        sock.close()
        raise


def _secured(sock: socket.socket, settings: ScuSettings) -> socket.socket:
    texts = [str(path or "") for path in (settings.ca_file, settings.cert_file, settings.key_file)]
    context = client_context(*texts)
    try:
        return context.wrap_socket(sock, server_hostname=settings.host)
    except ssl.SSLCertVerificationError as error:
        raise Misconfigured(
            f"the PACS's certificate is not accepted: {error.verify_message}; check ca_file", code="tls"
        ) from None
    except OSError as error:
        raise NotDelivered(f"no TLS session with the PACS ({type(error).__name__})", code="no_tls", reached=False) from None


def _broken(error: OSError) -> HubError:
    if isinstance(error, TimeoutError):
        return NotDelivered("the PACS did not answer in time", code="no_answer")
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):  # TLS 1.3 tells a client only now
        return Misconfigured("the PACS does not take our certificate: check cert_file", code="tls")
    return NotDelivered(f"the connection to the PACS broke ({type(error).__name__})", code="broken")


def unexpected(kind: int) -> HubError:
    """A PDU that is none of those which were to come."""
    if kind == Type.ABORT:
        return NotDelivered("the PACS aborted the association", code="aborted")
    if kind == Type.RELEASE_RQ:
        return NotDelivered("the PACS released the association in the middle", code="released")
    return NotDelivered(f"the PACS sent a PDU of type {kind} out of turn", code="not_dicom")


def _not_taken(sop_class: str, result: int | None) -> HubError:
    """PS3.8 table 9-18."""
    names = {VERIFICATION: "C-ECHO", STUDY_ROOT: "C-FIND (Study Root)", WORKLIST: "C-FIND (Modality Worklist)"}
    name = names.get(sop_class, sop_class)
    if result in (pdu.NO_TRANSFER, pdu.ACCEPTED):
        return Refused(f"the PACS takes none of our transfer syntaxes for {name}", code="transfer_syntax")
    return Refused(f"the PACS does not offer {name} to us: allow it there", code="sop_class")


def _failed(status: int) -> HubError:
    """What a final status means (PS3.4 C.4.1.1.4, PS3.7 C)."""
    text = f"the PACS answered 0x{status:04X}"
    if status == CANCELLED:
        return NotDelivered(f"{text}: it cancelled what we asked", code="cancelled")
    if status == 0x0124:
        return Misconfigured(f"{text}: we may not ask there; allow our AE title", code="not_authorised")
    if status in (0x0122, 0x0118, 0x0211, 0xA900):
        return Refused(f"{text}: it does not do what was asked", code="sop_class")
    return NotDelivered(f"{text}: it could not process what was asked", code=f"status_{status:04x}")


def _command(data: bytes) -> command.Command:
    try:
        return command.read(data)
    except Unreadable as error:
        raise NotDelivered(f"the PACS sent no DICOM: {error.reason}", code="not_dicom") from None


def ask(settings: ScuSettings, classes: Sequence[str] = ()) -> str:
    """C-ECHO, and whether the PACS offers `classes`: a line for people. Raises as Association does."""
    with Association(settings, VERIFICATION, *classes) as association:
        association.echo()
    return f"{settings.called_ae} answers C-ECHO at {settings.host}:{settings.port}"
