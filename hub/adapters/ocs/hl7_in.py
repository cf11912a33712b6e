"""HL7 v2 from the OCS (or any sender) over MLLP: what makes a frame into stored messages and answers.

A positive answer means stored and readable: every message is read to its end before it is stored. What can be wrong with
a message ends REFUSED with its bytes kept and the negative answer says where; what only later fails goes DEAD here.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import asyncio
import itertools
import os
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hub import log
from hub.adapters.listening import check_charset, check_tls, health_of, listen
from hub.adapters.settings import read_table
from hub.codecs import korean
from hub.codecs.hl7v2 import Peek, ack, batch, parse, peek, python_codec
from hub.codecs.hl7v2.ack import Reason
from hub.codecs.mllp import Fault, Scrap
from hub.config import option
from hub.domain.errors import HubError, Unreadable, Where
from hub.domain.facts import Key
from hub.domain.ports import Intake, ListenerHealth, Manifest, Receipt, Received, Verdict
from hub.transport.collector import Collector
from hub.transport.mllp import Connection, Limits, MllpListener
from hub.transport.tls import normal_peer, server_context

_log = log.get(__name__)

MANIFEST = Manifest(name="ocs.hl7_in", title="HL7 v2 over MLLP", direction="in", system="ocs", protocol="HL7 v2 / MLLP")

# HL7 table 0104
VERSIONS = frozenset(
    "2.0 2.0D 2.1 2.2 2.3 2.3.1 2.3.2 2.4 2.5 2.5.1 2.6 2.7 2.7.1 2.8 2.8.1 2.8.2 2.9 2.9.1".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Settings:
    """One listening address."""

    port: int = option(doc="port to listen on; 0 picks a free one", low=0, high=65535)
    host: str = option("127.0.0.1", doc="address to listen on; 0.0.0.0 is every address of this machine")
    name: str = option("", doc="the channel's name; its table in hub.toml names it")
    charset: str = option("utf-8", doc="charset where MSH-18 is empty or wrong: utf-8, cp949, KS X 1001 …")
    assigner: str = option("", doc="assigning authority of patient numbers that come without one")
    accept: tuple[str, ...] = option((), doc='events that are taken, ["ADT", "SIU^S12"]; default: all')
    production: bool = option(False, doc="true: messages with MSH-11 T or D are refused")
    validation: Literal["none", "strict"] = option("none", doc="strict: hl7apy checks every message against the standard")
    max_frame: int = option(4 << 20, doc="bytes of one message", low=1024, high=1 << 30)
    idle_seconds: float = option(3600.0, doc="a connection without a message for so long is closed", low=0.1)
    frame_seconds: float = option(30.0, doc="a message that takes longer from first to last byte ends its connection", low=0.1)
    max_connections: int = option(64, doc="connections at a time", low=1, high=10000)
    tls_cert: Path | None = option(None, doc="certificate chain (PEM): the listener speaks TLS")
    tls_key: Path | None = option(None, doc="its private key (PEM)")
    tls_ca: Path | None = option(None, doc="authority (PEM) that every sender's certificate must come from: mutual TLS")
    tls_peers: tuple[str, ...] = option((), doc="whose certificates are taken: a CN or SAN, or sha256:<fingerprint>")
    answer_codes: dict[str, str] = option(dict, doc='other answer codes: { try_again = "AE" }, { "original.try_again" = "AE" }')

    def __post_init__(self) -> None:
        ack.codes(self.answer_codes)
        check_tls(self)
        check_charset(self.charset)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


class Item:
    """One message of a batch: what intake gets, and what its answer is made of."""

    __slots__ = ("answered", "connection", "error", "head", "reason", "received")

    def __init__(
        self,
        connection: Connection,
        head: Peek,
        received: Received,
        reason: Reason,
        error: Unreadable | None,
        answered: bool = True,
    ) -> None:
        self.connection = connection
        self.head = head
        self.received = received
        self.reason = reason  # Reason.STORED unless we refuse it
        self.error = error
        self.answered = answered  # False: kept without an answer of its own


class Channel:
    """The rules of one listener: frames -> Items. No sockets in here."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.codes = ack.codes(settings.answer_codes)
        self._accept = frozenset(settings.accept)
        self._charset = python_codec(settings.charset)
        self._strict = settings.validation == "strict"

    def items(self, connection: Connection, body: bytes | Scrap) -> list[Item]:
        """The messages in one frame: one, or those of a batch. What is no frame is kept as far as we have it, and refused."""
        if isinstance(body, Scrap):
            return [self._headless(connection, body.head, self._why(body), answered=body.lone)]
        pieces = batch.split(body)
        if not pieces:
            error = Unreadable("an envelope (FHS, BHS) without a message", where=Where("FHS"), hl7=100, code="no_msh")
            return [self._headless(connection, body, error)]
        return [self._item(connection, piece) for piece in pieces]

    def _item(self, connection: Connection, body: bytes) -> Item:
        try:
            head = peek(body, self._charset)
        except Unreadable as error:
            return self._headless(connection, body, error)
        reason, error_ = self._judge(head, body)
        return Item(connection, head, self._received(head, body, reason, error_), reason, error_)

    def received(self, body: bytes) -> Received:
        """A message that nobody waits for an answer to: from a file."""
        try:
            head = peek(body, self._charset)
        except Unreadable as error:
            return Received(self.name, body, "", "", "", None, content=body, refused=error.reason, answer_owed=False)
        received = self._received(head, body, *self._judge(head, body))
        received.answer_owed, received.code = False, ""
        return received

    def _received(self, head: Peek, body: bytes, reason: Reason, error: Unreadable | None) -> Received:
        positive = ack.due(head, reason, self.codes)
        return Received(
            channel=self.name,
            body=body,
            sender=f"{head.sending_application}|{head.sending_facility}",
            control_id=head.control_id,
            type=head.type,
            patient=self._key(head.patient),
            other_patient=self._key(head.other_patient),
            content=head.content,
            answer_owed=bool(positive),
            code=positive[0] if positive else "",
            refused=error.reason if error is not None else None,
            charset=head.codec,
            filtered=bool(self._accept) and not self._accepts(head.type),
        )

    def _why(self, scrap: Scrap) -> Unreadable:
        """What is wrong with bytes that are no frame, and where."""
        where = Where(offset=0 if scrap.fault is Fault.LOOSE else len(scrap.head))
        if scrap.fault is Fault.OVERSIZE:
            limit = self.settings.max_frame
            return Unreadable(f"a frame of more than {limit} bytes", where=Where(offset=limit), code="too_large")
        if scrap.fault is Fault.CUT:
            return Unreadable("a frame without its end (FS)", where=where, hl7=100, code="cut_frame")
        return Unreadable("bytes outside any MLLP frame: no VT before them", where=where, hl7=100, code="no_frame")

    def _headless(self, connection: Connection, body: bytes, error: Unreadable, answered: bool = True) -> Item:
        """What has no MSH that can be read is kept and answered all the same, from defaults."""
        code = self.codes[ack.ORIGINAL, Reason.UNREADABLE]
        received = Received(
            channel=self.name, body=body, sender="", control_id="", type="", patient=None, content=body, code=code,
            refused=error.reason, answer_owed=answered,
        )  # fmt: skip
        return Item(connection, ack.NO_HEADER, received, Reason.UNREADABLE, error, answered)

    def _judge(self, head: Peek, body: bytes) -> tuple[Reason, Unreadable | None]:
        """Whether the message is one that we take: header first (§2.9.2.2 step 1), then all of it."""
        error = _header_error(head)
        if error is None and self.settings.production and head.processing_id in ("T", "D"):
            error = _msh(11, 202, "a test or debugging message on a production channel")
        if error is not None:
            return (Reason.UNREADABLE if head.control_id == "" and error.where.field == 10 else Reason.NOT_FOR_US), error
        try:
            message = parse(body, self._charset)
            if self._strict:
                from hub.codecs.hl7v2 import standard

                standard.validate(message)
        except Unreadable as unreadable:
            return Reason.UNREADABLE, unreadable
        return Reason.STORED, None

    def _accepts(self, event: str) -> bool:
        return event in self._accept or event.partition("^")[0] in self._accept

    def _key(self, number: tuple[str, str] | None) -> Key | None:
        """For lane and search; a resident registration number is never one (domain.md 2.3)."""
        if number is None or korean.looks_like_rrn(number[1]):
            return None
        return Key(number[0] or self.settings.assigner, number[1])


def _msh(field: int, hl7: int, reason: str) -> Unreadable:
    return Unreadable(reason, where=Where("MSH", field=field), hl7=hl7, code=f"msh_{field}")


def _header_error(head: Peek) -> Unreadable | None:
    """MSH-9, MSH-10 and MSH-12 are required (§2.15.9), and the version must be one of HL7 v2."""
    if not head.type:
        return _msh(9, 101, "MSH-9 is missing")
    if not head.control_id:
        return _msh(10, 101, "MSH-10 is missing")
    if not head.version:
        return _msh(12, 101, "MSH-12 is missing")
    if head.version not in VERSIONS:
        return _msh(12, 203, "MSH-12 is no version of HL7 v2")
    return None


class Desk:
    """Where the batches of one loop and one intake are stored and answered, whatever channel they came by."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._numbers = itertools.count(time.time_ns() // 1000)  # µs: no later run begins where an earlier one has been
        self._process = f"{os.getpid() & 0xFFFF:04x}"
        self._second = 0
        self._stamp = ""

    @staticmethod
    def read(connection: Connection, body: bytes | Scrap) -> list[Item]:
        """By the rules of the connection's channel."""
        channel: Channel = connection.owner
        return channel.items(connection, body)

    def handle(self, items: list[Item]) -> None:
        """One commit for all of it, then the answers, then the note that they went out."""
        try:
            receipts = self._intake.store([item.received for item in items])
        except HubError as error:
            _log.warning("intake: %s", error)
            receipts = [Receipt(Verdict.TRY_AGAIN, reason=error.reason)] * len(items)
        except Exception:  # noqa: BLE001 - our bug: the senders are told to send again, and the listener lives on
            _log.exception("intake failed in a way that nobody foresaw")
            receipts = [Receipt(Verdict.TRY_AGAIN, reason="internal error")] * len(items)
        self._answer(items, receipts)

    def _answer(self, items: list[Item], receipts: list[Receipt]) -> None:
        first = last = 0
        lost: list[int] = []
        for item, receipt in zip(items, receipts, strict=True):
            sent = self._reply(item, receipt)
            number = receipt.message_id
            if number is None or receipt.duplicate_of is not None:
                continue
            first = min(first, number) if first else number
            last = max(last, number)
            if not sent:
                lost.append(number)
        if first:
            self._intake.answered(first, last, lost)

    def _reply(self, item: Item, receipt: Receipt) -> bool:
        """Send what the message asks for; False only where something was due and could not be written."""
        if not item.answered:
            return True
        reason, error, text = _verdict(item, receipt)
        for code in ack.due(item.head, reason, item.connection.owner.codes):
            number = f"{next(self._numbers):x}{self._process}"  # 17 characters; MSH-10 may have 20
            body = ack.answer(item.head, code, control_id=number, at=self._now(), error=error, text=text)
            if not item.connection.answer(body):
                return False
        return True

    def _now(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._stamp = time.strftime("%Y%m%d%H%M%S%z", time.localtime(now))
        return self._stamp


def _verdict(item: Item, receipt: Receipt) -> tuple[Reason, Unreadable | None, str]:
    """Intake's receipt as the answer's reason, its ERR and its MSA-3."""
    if receipt.verdict is Verdict.STORED and item.error is None:
        return (ack.reason_of(receipt.code) if receipt.duplicate_of is not None and receipt.code else Reason.STORED), None, ""
    if receipt.verdict is Verdict.TRY_AGAIN:
        return Reason.TRY_AGAIN, _msh(10, 207, "not stored, send again later"), "not stored, send again later"
    if item.error is not None:
        return item.reason, item.error, item.error.reason
    reused = _msh(10, 205, receipt.reason or "MSH-10 was used before for another message")
    return Reason.UNREADABLE, reused, reused.reason


_collectors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[tuple[Intake, Collector[Item]]]] = (
    weakref.WeakKeyDictionary()
)


def _collector(intake: Intake) -> Collector[Item]:
    """The collector that all channels of this loop and this intake share, so that one commit serves them all."""
    shared = _collectors.setdefault(asyncio.get_running_loop(), [])
    for known, collector in shared:
        if known is intake:
            return collector
    desk = Desk(intake)
    collector = Collector(desk.read, desk.handle)
    shared.append((intake, collector))
    return collector


class Hl7Listener:
    """The Listener of one channel."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._channel = Channel(settings, name)
        self._listener: MllpListener | None = None

    async def start(self, intake: Intake) -> None:
        """Listen. Misconfigured where the address is taken or the TLS files cannot be read."""
        s = self._settings
        tls = server_context(str(s.tls_cert), str(s.tls_key or ""), str(s.tls_ca or "")) if s.tls_cert else None
        listener = MllpListener(
            self._channel.name, s.host, s.port, _collector(intake), owner=self._channel, tls=tls,
            limits=Limits(s.max_frame, s.idle_seconds, s.frame_seconds, s.max_connections),
            allowed=frozenset(normal_peer(peer) for peer in s.tls_peers),
        )  # fmt: skip
        await listen(listener, s.host, s.port)
        self._listener = listener

    async def stop(self) -> None:
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None

    def health(self) -> ListenerHealth:
        return health_of(self._listener, self._settings.host, self._settings.port)


def build(settings: Settings, name: str = "") -> Hl7Listener:
    """The listener of the channel `name` (else `settings.name`)."""
    return Hl7Listener(settings, name or settings.name or MANIFEST.name)
