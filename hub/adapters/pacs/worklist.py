"""PACS: the modality worklist (PS3.4 annex K), served from the orders that are still to be done.

A door of its own, as the look-ups of other systems are (docs/adr/0166): a modality asks, nothing is stored. Every answer is read
from the database as it stands in that moment, so that an order that was cancelled or performed is gone from the next one; and it
goes out only after the access record of whom it tells is committed. Questions are answered by a thread of the channel's own.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from hub import log
from hub.adapters.listening import check_tls, health_of, listen
from hub.adapters.pacs import peers
from hub.adapters.pacs import worklist_rows as rows
from hub.adapters.settings import read_table
from hub.codecs.dicom import pdu, writer
from hub.codecs.dicom.command import Operation, Status
from hub.codecs.dicom.uid import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hub.config import option
from hub.domain.errors import Misconfigured, TryAgain, Unreadable
from hub.domain.ports import Intake, ListenerHealth, Lookup, Manifest, Order
from hub.domain.unstored import Unstored
from hub.transport.dicom_scp import Asked, DicomListener, Limits, Names
from hub.transport.dicom_scu import VERIFICATION, WORKLIST
from hub.transport.tls import normal_peer, server_context

_log = log.get(__name__)

MANIFEST = Manifest(
    name="pacs.worklist", title="Modality worklist, from imaging orders", direction="in", system="pacs",
    protocol="DICOM (Modality Worklist)", form="row",
)  # fmt: skip
PAGE = 100  # orders read at once, each page from one state of the database
WAITING = 256  # questions that wait for an answer; whoever asks then is told to ask again
SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
TERMS = {"ISO_IR 192": ("ISO_IR 192",), "ISO 2022 IR 149": ("", "ISO 2022 IR 149")}
WHAT = "dicom.worklist"  # in the access record


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One address at which modalities ask."""

    port: int = option(doc="port to listen on; 0 picks a free one", low=0, high=65535)
    host: str = option("127.0.0.1", doc="address to listen on; 0.0.0.0 is every address of this machine")
    ae_title: str = option("HUB", doc="our AE title; whoever calls another is rejected")
    peers: dict[str, str] = option(
        doc='who may ask: AE title and addresses or networks it comes from, { CT1 = "10.1.2.3", MR = "10.1.3.0/24" };'
        ' "" is any address, "*" any title'
    )
    charset: Literal["ISO_IR 192", "ISO 2022 IR 149"] = option(
        "ISO_IR 192", doc="character set of answers to who asks in none that can say Korean names"
    )
    past_days: int = option(
        7,
        doc="an order that was scheduled so long ago is still told, where neither a first day nor its number is asked for",
        low=0,
        high=3650,
    )
    ahead_days: int = option(30, doc="and one that is scheduled so far ahead, where no patient is, either", low=1, high=3650)
    most: int = option(
        1000, doc="answers to one question; with more of them it is told to ask for less (0xA700)", low=1, high=10_000
    )
    assigner: str = option("", doc="whose patient numbers modalities know; default: that of [hub]; another's where there is none")
    timezone: str = option("Asia/Seoul", doc="time zone of dates and times")
    max_associations: int = option(64, doc="associations at a time", low=1, high=10000)
    idle_seconds: float = option(600.0, doc="an association without a question for so long is ended", low=0.1)
    tls_cert: Path | None = option(None, doc="certificate chain (PEM): the listener speaks TLS")
    tls_key: Path | None = option(None, doc="its private key (PEM)")
    tls_ca: Path | None = option(None, doc="authority (PEM) that every asker's certificate must come from: mutual TLS")
    tls_peers: tuple[str, ...] = option((), doc="whose certificates are taken: a CN or SAN, or sha256:<fingerprint>")
    name: str = option("", doc="the channel's name; its table in hub.toml names it")

    def __post_init__(self) -> None:
        peers.check(self.ae_title, self.peers)
        check_tls(self)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


class Page(NamedTuple):
    """Answers that go out together, each a data set; `ids`: the patients that they tell of."""

    data: list[bytes]
    ids: list[str]


class TooManyError(Exception):
    """More orders match than a modality is told at once."""


class Desk:
    """One channel's answers. No sockets in here; one thread at a time."""

    def __init__(self, settings: Settings, name: str, lookup: Lookup) -> None:
        self._s = settings
        self._name = name
        self._lookup = lookup
        self._zone = ZoneInfo(settings.timezone)

    def answers(self, data: bytes, syntax: str, asker: str, address: str) -> Iterator[Page]:
        """Page by page, each recorded before it is given. Unreadable; TryAgain: no store; TooManyError: after `most` of them."""
        asked = rows.read(data, syntax, self._s.charset)
        terms = rows.terms_for(asked, TERMS[self._s.charset])
        told = 0
        by = sorted(key for key, value in {**asked.keys, **(asked.step or {})}.items() if value not in ("", None, []))
        for orders in self._pages(asked):
            full = [(rows.row(order, self._zone, self._s.assigner), order) for order in orders if rows.may_match(order, asked)]
            met = [(row, order) for row, order in full if rows.matches(row, asked)]
            found, ids = [row for row, _ in met[: self._s.most - told]], sorted({order.patient.id for _, order in met})
            if not met:
                continue
            made = [writer.data_set(rows.answer(row, asked, asker), syntax, terms) for row in found]
            self._lookup.told(self._name, asker, address, WHAT, by, ids)
            told += len(made)
            yield Page(made, ids)
            if len(met) > len(found):
                raise TooManyError
        if not told:  # a question that nobody met is a question, too
            self._lookup.told(self._name, asker, address, WHAT, by, [])

    def _pages(self, asked: rows.Asked) -> Iterator[list[Order]]:
        """Page by page, each of its own moment."""
        wanted = rows.wanted(asked, self._zone, self._s.past_days, self._s.ahead_days)
        after: tuple[int, str] | None = None
        while True:
            page = self._lookup.to_image(wanted, after=after, limit=PAGE)
            yield page
            if len(page) < PAGE:
                return
            after = page[-1].place


class Worklist:
    """The Listener of one channel, and its service (hub/transport/dicom_scp.py)."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._s = settings
        self._name = name
        self._listener: DicomListener | None = None
        self._lookup: Lookup | None = None
        self._desk: Desk | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._answered = self._refused = self._rejected = 0  # since the last take_unstored; of rejected ones, at it

    def look_up_in(self, lookup: Lookup) -> None:
        """hub.domain.ports.Answering."""
        self._lookup = lookup

    async def start(self, intake: Intake) -> None:  # noqa: ARG002 - the port's shape: a question is not stored
        """Listen. Misconfigured where the address is taken or the TLS files cannot be read."""
        s = self._s
        if self._lookup is None:
            raise Misconfigured("a worklist channel was given nothing to look up in")
        tls = server_context(str(s.tls_cert), str(s.tls_key or ""), str(s.tls_ca or "")) if s.tls_cert else None
        self._desk = Desk(s, self._name, self._lookup)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        listener = DicomListener(
            self._name, s.host, s.port, Names(s.ae_title, s.peers), self,
            Limits(associations=s.max_associations, idle_seconds=s.idle_seconds), tls, frozenset(map(normal_peer, s.tls_peers)),
        )  # fmt: skip
        await listen(listener, s.host, s.port)
        self._listener = listener

    async def stop(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None

    def take_unstored(self) -> Unstored:
        """hub.domain.unstored.Counting: questions, and associations that were rejected."""
        if self._listener is None:
            return Unstored()
        rejected = self._listener.counts.rejected
        seen = Unstored(self._answered, self._refused + rejected - self._rejected, self._listener.take_turned_away())
        self._answered, self._refused, self._rejected = 0, 0, rejected
        return seen

    def health(self) -> ListenerHealth:
        return health_of(self._listener, self._s.host, self._s.port)

    # -- hub.transport.dicom_scp.Service --------------------------------------------------------------------------

    def transfer(self, abstract: str, proposed: Sequence[str]) -> str | None:
        return pdu.chosen(proposed, SYNTAXES) if abstract in (VERIFICATION, WORKLIST) else None

    def asked(self, request: Asked) -> None:
        """In the loop: hands the question over; it is refused until then."""
        self._refused += 1
        if request.command.operation != Operation.C_FIND or request.abstract != WORKLIST:
            request.answer(Status.UNRECOGNISED)
        elif not request.whole:
            request.answer(Status.MISMATCH, comment="the identifier is too long")
        elif self._waiting >= WAITING or self._thread is None or self._desk is None:
            request.answer(Status.RESOURCES, comment="ask again later")
        else:
            self._waiting += 1
            self._refused -= 1
            self._thread.submit(self._answer, self._desk, request, asyncio.get_running_loop())

    def _answer(self, desk: Desk, request: Asked, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread: one question, page by page; nothing more is read for one that was cancelled."""
        status, comment = Status.SUCCESS, ""
        try:
            for page in desk.answers(request.data, request.transfer, request.association.calling, request.association.address):
                loop.call_soon_threadsafe(_give, request, page.data)
                if request.cancelled:
                    break
        except Unreadable as error:
            status, comment = Status.MISMATCH, error.reason
        except TooManyError:
            status, comment = Status.RESOURCES, "more than are told at once: ask for a day, a station, a modality"
        except TryAgain as error:
            _log.warning("worklist: %s", error)
            status, comment = Status.RESOURCES, "ask again later"
        except Exception:  # noqa: BLE001 - our bug: the modality is told that there is no answer, and the listener lives on
            _log.exception("a worklist question failed in a way that nobody foresaw")
            status, comment = Status.NOT_UNDERSTOOD, "internal error"
        loop.call_soon_threadsafe(self._end, request, status, comment)

    def _end(self, request: Asked, status: Status, comment: str) -> None:
        self._waiting -= 1
        if status == Status.SUCCESS:
            self._answered += 1
        else:
            self._refused += 1
        request.answer(Status.CANCELLED if request.cancelled else status, comment=comment)


def _give(request: Asked, found: Sequence[bytes]) -> None:
    """In the loop. What was cancelled meanwhile is not told (C.4.1.3.1)."""
    for data in found:
        if request.cancelled or not request.answer(Status.PENDING, data):
            return


def build(settings: Settings, name: str = "") -> Worklist:
    """The listener of the channel `name` (else `settings.name`)."""
    return Worklist(settings, name or settings.name or MANIFEST.name)
