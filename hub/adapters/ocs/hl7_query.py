"""Look-ups of other systems over MLLP: QBP^Q22 (PDQ) and QBP^Q23 (PIX), answered from the canonical model.

A door of its own (docs/adr/0126): who may ask is another question than who may tell, and an answer must never hold up intake.
Questions are answered one after the other by a thread of their own, each from one state of the database, and only after the
access record of what is told is committed: a look-up is a disclosure.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hub import log
from hub.adapters.listening import check_charset, check_tls, health_of, listen
from hub.adapters.ocs.hl7_lookup import Responder, Told
from hub.adapters.settings import read_table
from hub.codecs.hl7v2 import Peek, ack, peek, python_codec, query
from hub.codecs.mllp import Scrap
from hub.config import option
from hub.domain.errors import Misconfigured, TryAgain, Unmappable, Unreadable, Where
from hub.domain.ports import Intake, ListenerHealth, Lookup, Manifest
from hub.domain.unstored import Unstored
from hub.transport.collector import Collector
from hub.transport.mllp import Connection, Limits, MllpListener
from hub.transport.tls import normal_peer, server_context

_log = log.get(__name__)

MANIFEST = Manifest(
    name="ocs.hl7_query", title="PDQ and PIX look-ups over MLLP", direction="in", system="ocs", protocol="HL7 v2 / MLLP"
)
WAITING = 256  # questions that wait for an answer; whoever asks then is told to ask again
DENIALS_SECONDS = 60.0  # one access record a minute of somebody who asks again and again and may not
LOOPBACK = ("127.0.0.1", "::1", "localhost")
WHAT = {query.DEMOGRAPHICS: "hl7.person", query.FIND: "hl7.pdq", query.CROSS_REFERENCE: "hl7.pix"}


@dataclass(frozen=True, slots=True)
class Settings:
    """One address at which may be asked."""

    port: int = option(doc="port to listen on; 0 picks a free one", low=0, high=65535)
    host: str = option("127.0.0.1", doc="address to listen on; 0.0.0.0 is every address of this machine")
    name: str = option("", doc="the channel's name; its table in hub.toml names it")
    askers: tuple[str, ...] = option((), doc='who may ask, by MSH-3 or MSH-3|MSH-4: ["CRM", "PACS|HOSP"]; needed without tls_ca')
    domains: dict[str, str] = option(
        dict,
        doc='whose numbers are told, and their CX.4: { HOSP = "HOSP&1.2.410.1&ISO" }; default: all, by their own names',
    )
    most: int = option(50, doc="patients in one answer; the rest follows by its continuation pointer", low=1, high=500)
    charset: str = option("utf-8", doc="charset where MSH-18 is empty or wrong: utf-8, cp949, KS X 1001 …")
    timezone: str = option("Asia/Seoul", doc="time zone of times in an answer")
    idle_seconds: float = option(3600.0, doc="a connection without a question for so long is closed", low=0.1)
    frame_seconds: float = option(30.0, doc="a question that takes longer from first to last byte ends its connection", low=0.1)
    max_connections: int = option(64, doc="connections at a time", low=1, high=10000)
    tls_cert: Path | None = option(None, doc="certificate chain (PEM): the listener speaks TLS")
    tls_key: Path | None = option(None, doc="its private key (PEM)")
    tls_ca: Path | None = option(None, doc="authority (PEM) that every asker's certificate must come from: mutual TLS")
    tls_peers: tuple[str, ...] = option((), doc="whose certificates are taken: a CN or SAN, or sha256:<fingerprint>")

    def __post_init__(self) -> None:
        check_tls(self)
        if not self.askers and not self.tls_ca:
            raise Misconfigured('askers says who may ask, by MSH-3: write askers = ["CRM"], or ask for certificates with tls_ca')
        check_charset(self.charset)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


class Question(NamedTuple):
    """One frame, and who waits for its answer."""

    connection: Connection
    body: bytes


class Desk:
    """One channel's answers: bytes in, bytes out. No sockets in here; one thread at a time."""

    def __init__(self, settings: Settings, name: str, lookup: Lookup) -> None:
        self._settings = settings
        self._name = name
        self._lookup = lookup
        self._charset = python_codec(settings.charset)
        self._responder = Responder(lookup, settings.domains, settings.most, ZoneInfo(settings.timezone))
        self._zone = ZoneInfo(settings.timezone)
        self._numbers = itertools.count(time.time_ns() // 1000)
        self._process = f"{os.getpid() & 0xFFFF:04x}"
        self._denied: dict[str, float] = {}
        self.answered = 0  # questions

    def answer(self, body: bytes, address: str) -> bytes:
        """The answer to one question, whatever it is; what it tells is recorded before it is returned."""
        try:
            head = peek(body, self._charset)
        except Unreadable as error:
            return self._no(ack.NO_HEADER, "AE", error)
        try:
            return self._answer(head, body, address)
        except Unreadable as error:
            return self._no(head, "AR" if error.where.segment == "MSH" else "AE", error)
        except TryAgain as error:
            _log.warning("look-up: %s", error)
            return self.busy(head)
        except Unmappable as error:  # the asker's charset cannot hold a name: nothing of it goes out, not one letter
            reason = f"the charset of MSH-18 cannot hold {error.where} of the answer"
            return self._no(head, "AE", Unreadable(reason, where=Where("MSH", field=18)))
        except Exception:  # noqa: BLE001 - our bug: the asker is told that there is no answer, and the listener lives on
            _log.exception("a look-up failed in a way that nobody foresaw")
            return self._no(head, "AR", Unreadable("internal error", where=Where("MSH")))

    def busy(self, head: Peek) -> bytes:
        """No answer now."""
        return self._no(head, "AR", Unreadable("not answered, ask again later", where=Where("MSH", field=10)))

    def _answer(self, head: Peek, body: bytes, address: str) -> bytes:
        for field, text in ((9, head.type), (10, head.control_id)):
            if not text:
                raise Unreadable(f"MSH-{field} is missing", where=Where("MSH", field=field), hl7=101)
        asker = self._asker(head)
        if asker is None:
            self._deny(address)
            # MSH-3 is of user-defined table 0361 (v2.5.1 §2.15.9.3), and `askers` is that table; 207 would say "ask again later"
            raise Unreadable("who sends this may not ask here", where=Where("MSH", field=3), hl7=103)
        asked = query.read(head, body, self._charset)
        told = self._responder.told(asked)
        answer = self._written(head, asked, told)
        if asked.event != query.CANCEL:
            self._lookup.told(self._name, asker, address, WHAT[asked.event], told.by, told.ids)
        self.answered += 1
        return answer

    def _written(self, head: Peek, asked: query.Query, told: Told) -> bytes:
        return query.answer(
            head, asked, code=told.code, status=told.status, control_id=self._number(), at=self._now(), faults=told.faults,
            people=told.people, counts=told.counts, pointer=told.pointer,
        )  # fmt: skip

    def _asker(self, head: Peek) -> str | None:
        """As `askers` names him; of a verified certificate alone it is the channel's name. None: he may not ask."""
        if not self._settings.askers:
            return self._name
        mark = head.delimiters.component
        application, facility = (
            text.split(mark)[0] if mark else text for text in (head.sending_application, head.sending_facility)
        )
        return next((one for one in self._settings.askers if one in (application, f"{application}|{facility}")), None)

    def _deny(self, address: str) -> None:
        now = time.monotonic()
        if now - self._denied.get(address, -DENIALS_SECONDS) >= DENIALS_SECONDS:
            if len(self._denied) > 1_000:
                self._denied.clear()
            self._denied[address] = now
            _log.warning("%s: a question from %s was not answered: its sender may not ask", self._name, address)
            self._lookup.denied(self._name, "unknown", address)

    def _no(self, head: Peek, code: str, error: Unreadable) -> bytes:
        """A plain negative answer: what was asked cannot be given back."""
        return ack.answer(head, code, control_id=self._number(), at=self._now(), error=error, text=error.reason)

    def _number(self) -> str:
        return f"{next(self._numbers):x}{self._process}"

    def _now(self) -> str:
        """MSH-7, in the channel's time zone."""
        return datetime.now(self._zone).strftime("%Y%m%d%H%M%S%z")


class QueryListener:
    """The Listener of one query channel."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._listener: MllpListener | None = None
        self._lookup: Lookup | None = None
        self._desk: Desk | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._answered = self._refused = 0  # since the last take_unstored

    def look_up_in(self, lookup: Lookup) -> None:
        """hub.domain.ports.Answering."""
        self._lookup = lookup

    async def start(self, intake: Intake) -> None:  # noqa: ARG002 - the port's shape: a question is not stored
        """Listen. Misconfigured where the address is taken or the TLS files cannot be read."""
        s = self._settings
        if self._lookup is None:
            raise Misconfigured("a query channel was given nothing to look up in")
        tls = server_context(str(s.tls_cert), str(s.tls_key or ""), str(s.tls_ca or "")) if s.tls_cert else None
        self._desk = Desk(s, self._name, self._lookup)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        listener = MllpListener(
            self._name, s.host, s.port, Collector(_read, self._ask), tls=tls,
            limits=Limits(1 << 20, s.idle_seconds, s.frame_seconds, s.max_connections),
            allowed=frozenset(normal_peer(peer) for peer in s.tls_peers),
        )  # fmt: skip
        await listen(listener, s.host, s.port)
        self._listener = listener
        if not s.tls_ca and s.host not in LOOPBACK:
            _log.warning("%s: whoever reaches %s can call himself an asker; ask for certificates with tls_ca", self._name, s.host)

    async def stop(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None

    def take_unstored(self) -> Unstored:
        """hub.domain.unstored.Counting: questions; who may not ask is told by the desk."""
        seen = Unstored(self._answered, self._refused)
        self._answered = self._refused = 0
        return seen

    def health(self) -> ListenerHealth:
        return health_of(self._listener, self._settings.host, self._settings.port)

    def _ask(self, batch: list[Question]) -> None:
        """In the loop: hands the questions over, in order."""
        loop = asyncio.get_running_loop()
        for one in batch:
            if self._thread is None or self._desk is None:
                return
            if self._waiting >= WAITING:
                self._refused += 1
                one.connection.answer(self._busy(one.body))
                continue
            self._waiting += 1
            self._thread.submit(self._answer, self._desk, one, loop)

    def _answer(self, desk: Desk, one: Question, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread: one answer, given back to the loop."""
        before = desk.answered
        body = desk.answer(one.body, one.connection.peer)
        loop.call_soon_threadsafe(self._give, one.connection, body, desk.answered > before)

    def _give(self, connection: Connection, body: bytes, answered: bool) -> None:
        self._waiting -= 1
        if answered:
            self._answered += 1
        else:
            self._refused += 1
        connection.answer(body)

    def _busy(self, body: bytes) -> bytes:
        assert self._desk is not None
        try:
            return self._desk.busy(peek(body))
        except Unreadable:
            return self._desk.busy(ack.NO_HEADER)


def _read(connection: Connection, body: bytes | Scrap) -> list[Question]:
    """What is no frame is no question: it is counted and logged by the listener, and nothing is kept of it."""
    return [] if isinstance(body, Scrap) else [Question(connection, body)]


def build(settings: Settings, name: str = "") -> QueryListener:
    """The listener of the channel `name` (else `settings.name`)."""
    return QueryListener(settings, name or settings.name or MANIFEST.name)
