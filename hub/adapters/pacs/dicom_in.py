"""DICOM from modalities and archives: C-ECHO, C-STORE as a notification that a series is there, MPPS.

Of what is stored only the header is kept, and of that one row a series: the other instances are answered with success and make no
message of their own. Success is said after the commit and never before; who gets "out of resources" sends again. Storage
commitment is not offered: the hub keeps no pixels and can promise none (docs/adr/0160).
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from hub.adapters.listening import check_tls, health_of, listen
from hub.adapters.pacs import peers, told
from hub.adapters.pacs.dicom_desk import Desk
from hub.adapters.pacs.mpps import Steps
from hub.adapters.pacs.told import SERIES, TRIES, Last, Said
from hub.adapters.settings import read_table, wrong
from hub.codecs.dicom import columns, header, uid
from hub.codecs.dicom.charset import codec_of
from hub.codecs.dicom.command import Operation, Status
from hub.config import option
from hub.domain.errors import HubError, Unreadable
from hub.domain.ports import Intake, ListenerHealth, Manifest, Memory, Received
from hub.domain.unstored import Unstored
from hub.sync.polled import row_body
from hub.transport.dicom_scp import Asked, DicomListener, Limits, Names
from hub.transport.tls import normal_peer, server_context

MANIFEST = Manifest(
    name="pacs.dicom_in", title="DICOM storage notification and MPPS", direction="in", system="pacs", protocol="DICOM", form="row"
)

VERIFICATION = "1.2.840.10008.1.1"
MPPS = "1.2.840.10008.3.1.2.3.3"
STORAGE_ROOTS = ("1.2.840.10008.5.1.4.1.1.", "1.2.840.10008.5.1.4.34.")  # PS3.4 table B.5-1
DICOM_ROOT = "1.2.840.10008."
SYNTAXES_ROOT = "1.2.840.10008.1.2"
GE_PRIVATE = "1.2.840.113619.5.2"  # implicit VR little endian but for its pixels
LIKED = (uid.EXPLICIT_LITTLE, uid.IMPLICIT_LITTLE)
SEEN = 20_000  # series of which it is known without asking what was said last
TRUSTED = 1.0  # seconds for which it is: another process of the hub may be told of the same series by the same sender


@dataclass(frozen=True, slots=True)
class Settings:
    """One listening address with its AE title."""

    port: int = option(doc="port to listen on, 104 or 11112 by custom; 0 picks a free one", low=0, high=65535)
    peers: dict[str, str] = option(
        doc='who may send: AE title and addresses or networks it comes from, { CT1 = "10.1.2.3", MR = "10.1.3.0/24,10.1.4.7" };'
        ' "" is any address, "*" any title'
    )
    host: str = option("127.0.0.1", doc="address to listen on; 0.0.0.0 is every address of this machine")
    ae_title: str = option("HUB", doc="our AE title: who calls another one is rejected")
    charset: str = option("cp949", doc="character set of data sets that declare none, or a wrong one: cp949, ISO_IR 192 …")
    assigner: str = option("", doc="assigning authority of patient numbers that come without IssuerOfPatientID")
    sop_classes: tuple[str, ...] = option((), doc="UIDs of the storage classes that are taken; default: all, private ones too")
    max_pdu: int = option(
        128 << 10, doc="bytes of one PDU: what we tell peers, and the most that is taken", low=4096, high=1 << 20
    )
    max_header: int = option(1 << 20, doc="bytes of a data set in which its header must be", low=4096, high=16 << 20)
    max_associations: int = option(64, doc="associations at a time", low=1, high=10000)
    request_seconds: float = option(30.0, doc="a connection that asks for no association for so long is closed", low=0.1)
    pdu_seconds: float = option(30.0, doc="a PDU that takes longer from first to last byte ends its association", low=0.1)
    message_seconds: float = option(600.0, doc="an instance that takes longer ends its association", low=0.1)
    idle_seconds: float = option(600.0, doc="an association without a PDU for so long is ended", low=0.1)
    tls_cert: Path | None = option(None, doc="certificate chain (PEM): the listener speaks TLS (PS3.15 annex B)")
    tls_key: Path | None = option(None, doc="its private key (PEM)")
    tls_ca: Path | None = option(None, doc="authority (PEM) that every sender's certificate must come from: mutual TLS")
    tls_peers: tuple[str, ...] = option((), doc="whose certificates are taken: a CN or SAN, or sha256:<fingerprint>")

    def __post_init__(self) -> None:
        peers.check(self.ae_title, self.peers)
        if not codec_of(self.charset) and self.charset not in ("", "ISO_IR 6"):
            raise wrong("charset is none that we know", "write cp949, or ISO_IR 192")
        for one in self.sop_classes:
            if not uid.is_uid(one):
                raise wrong("sop_classes has an entry that is no UID", "write the UIDs of storage classes")
        check_tls(self)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


class Seen(NamedTuple):
    """What is known to be stored of a series: a digest of its last row, and when it was so (monotonic seconds)."""

    digest: str
    at: float


class Storage:
    """hub.transport.dicom_scp.Service of one channel: which contexts are taken, and what becomes of C-STORE."""

    def __init__(self, settings: Settings, desk: Desk, steps: Steps, last: Last) -> None:
        self._settings = settings
        self._desk = desk
        self._steps = steps
        self._last = last
        self._seen: OrderedDict[tuple[str, str], Seen] = OrderedDict()  # by sender and series

    def transfer(self, abstract: str, proposed: Sequence[str]) -> str | None:
        """Compressed ones too, for storage: their pixels are nobody's business here (PS3.5 annex A.4: the header is explicit)."""
        if abstract in (VERIFICATION, MPPS):
            return next((one for one in LIKED if one in proposed), "")
        if not self.takes(abstract):
            return None
        known = [one for one in proposed if one.startswith(SYNTAXES_ROOT) or one == GE_PRIVATE]
        return next((one for one in (*LIKED, *known) if one in known), "")

    def takes(self, abstract: str) -> bool:
        """A storage class: those of the standard by their roots, and every private one."""
        if self._settings.sop_classes:
            return abstract in self._settings.sop_classes
        return abstract.startswith(STORAGE_ROOTS) or not abstract.startswith(DICOM_ROOT)

    def asked(self, request: Asked) -> None:
        operation = request.command.operation
        if operation == Operation.C_STORE and request.abstract not in (VERIFICATION, MPPS):
            self._store(request)
        elif request.abstract == MPPS and operation in (Operation.N_CREATE, Operation.N_SET):
            self._steps.asked(request)
        else:
            request.answer(Status.UNRECOGNISED, comment="not offered here")

    # -- C-STORE ---------------------------------------------------------------------------------------------------

    def _store(self, request: Asked) -> None:
        try:
            row = self._row(request)
        except Unreadable as error:
            self._desk.refuse(request, error, told.status_of(error), SERIES)
            return
        body = row_body(SERIES, row)
        self._tell(request, self._desk.received(request, SERIES, row, body), told.said(row, body), TRIES)

    def _tell(self, request: Asked, received: Received, said: Said, tries: int) -> None:
        """Stored where it is not what was said last of the series."""
        seen = self._seen.get((received.sender, said.series))
        if seen is not None and seen.digest == said.digest and time.monotonic() - seen.at < TRUSTED:
            request.answer(Status.SUCCESS)
            return
        try:
            n, last = self._last.recall(received.sender, said.series)
        except HubError:
            request.answer(Status.RESOURCES, comment="not stored, send again later")
            return
        if last == said.digest:
            self._remember(received.sender, said)
            request.answer(Status.SUCCESS)
            return
        again = (lambda: self._tell(request, received, said, tries - 1)) if tries > 1 else None
        message = self._last.changed(received, said, n + 1)
        self._desk.add(request, message, lambda: self._remember(received.sender, said), overtaken=again)

    def _row(self, request: Asked) -> dict[str, Any]:
        """Raises Unreadable: "mismatch" where the data set is not what the command says (PS3.4 table B.2-1)."""
        s = self._settings
        row = header.read(
            request.data, request.transfer, columns.instance(), default=s.charset, whole=request.whole, most=s.max_header
        )
        told.check(row)
        for keyword, said in (("SOPClassUID", request.command.sop_class), ("SOPInstanceUID", request.command.sop_instance)):
            if row.pop(keyword, said) != said:
                raise Unreadable(f"{keyword} is another one than the command's", code="mismatch")
        return row

    def _remember(self, sender: str, said: Said) -> None:
        """It is stored durably."""
        self._seen[sender, said.series] = Seen(said.digest, time.monotonic())
        self._seen.move_to_end((sender, said.series))
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)


class DicomIn:
    """The Listener of one channel."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._memory: Memory | None = None
        self._listener: DicomListener | None = None

    def remember_in(self, memory: Memory) -> None:
        """hub.domain.ports.Remembering."""
        self._memory = memory

    async def start(self, intake: Intake) -> None:
        """Listen. Misconfigured where the address is taken or the TLS files cannot be read."""
        s, memory = self._settings, self._memory
        assert memory is not None, "what was said before is known by the channel's memory"
        tls = server_context(str(s.tls_cert), str(s.tls_key or ""), str(s.tls_ca or "")) if s.tls_cert else None
        columns.instance(), columns.mpps()  # the dictionary is loaded before anybody waits
        desk = Desk(intake, self._name, s.assigner)
        storage = Storage(s, desk, Steps(desk, s.charset, memory), Last(memory))
        limits = Limits(
            s.max_pdu, s.max_header, s.max_associations, s.request_seconds, s.pdu_seconds, s.message_seconds, s.idle_seconds
        )
        listener = DicomListener(
            self._name, s.host, s.port, Names(s.ae_title, s.peers), storage, limits, tls,
            frozenset(normal_peer(peer) for peer in s.tls_peers),
        )  # fmt: skip
        await listen(listener, s.host, s.port)
        self._listener = listener

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None

    def take_unstored(self) -> Unstored:
        """hub.domain.unstored.Counting: messages are counted where they are stored; who may not send is told."""
        return Unstored(turned_away=self._listener.take_turned_away()) if self._listener is not None else Unstored()

    def health(self) -> ListenerHealth:
        return health_of(self._listener, self._settings.host, self._settings.port)


def build(settings: Settings, name: str = "") -> DicomIn:
    """The listener of the channel `name`."""
    return DicomIn(settings, name or MANIFEST.name)
