"""PACS, inbound: instances that are stored at the hub's own address by STOW-RS (PS3.18 10.5). Their headers are read as they
stream by; pixels are dropped. A series is one message, however many instances tell it.

The web role has the address and the tokens (hub/web/stow.py); which token is which channel's stands in the channel's settings.
The hub is no archive: "stored" means that what the header says is, and nobody can retrieve anything here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hub.adapters.pacs import told
from hub.adapters.pacs.told import SERIES, TRIES, Last, Said
from hub.adapters.refused import REFUSED_BYTES, Room
from hub.adapters.settings import read_table, wrong
from hub.codecs.dicom import columns, header, json
from hub.codecs.dicom.charset import codec_of
from hub.codecs.dicom.command import Status
from hub.codecs.dicom.multipart import Part, Parts, content_type
from hub.config import option
from hub.domain.errors import HubError, Unreadable
from hub.domain.ports import Intake, Manifest, Memory, Receipt, Received, Verdict
from hub.domain.store import Conflict
from hub.sync.polled import row_body

MANIFEST = Manifest(
    name="pacs.dicomweb_in", title="PACS: instances stored at the hub's own address (STOW-RS), headers only", direction="in",
    system="pacs", protocol="DICOMweb (STOW-RS)", served=True, form="row",
)  # fmt: skip
DICOM, DICOM_JSON = "application/dicom", "application/dicom+json"
WAIT_SECONDS = 5
MOST_PARTS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Who may send what."""

    tokens: tuple[str, ...] = option(doc='names of the tokens (role sender) that are this channel\'s: ["pacs"]')
    event: str = option(SERIES, doc="the map's event for a series")
    charset: str = option("cp949", doc="character set of data sets that declare none, or a wrong one: cp949, ISO_IR 192 …")
    assigner: str = option("", doc="assigning authority of patient numbers that come without IssuerOfPatientID")
    max_header: int = option(1 << 20, doc="bytes of an instance in which its header must be", low=4096, high=16 << 20)
    max_body: int = option(16 << 30, doc="bytes of one request; pixels are dropped as they come", low=1024, high=1 << 40)
    body_seconds: float = option(600.0, doc="a request whose body takes longer is given up", low=0.1, high=86400)
    name: str = option("", doc="the channel's name; its table in hub.toml names it")

    def __post_init__(self) -> None:
        if not self.tokens or not all(self.tokens):
            raise wrong('"tokens" names none, so nobody could send', 'write tokens = ["pacs"], after hub token create')
        if not codec_of(self.charset) and self.charset not in ("", "ISO_IR 6"):
            raise wrong("charset is none that we know", "write cp949, or ISO_IR 192")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


class Instance(NamedTuple):
    """One instance of a request: of which class, which one, and what it told: a series, or why it cannot be read."""

    sop_class: str
    sop_instance: str
    said: Said | None  # None where it cannot be taken
    failure: int = 0


@dataclass(slots=True)
class Answer:
    """What goes back, and what was stored."""

    status: int
    document: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    stored: list[int] = field(default_factory=list)  # message ids, duplicates' first ones included
    text: str = ""


class Taking:
    """One request, fed as it comes. Not thread-safe. Memory: a header, a series' row each, and a line an instance."""

    def __init__(self, door: Door, kind: str, parts: Parts | None, study: str, sender: str) -> None:
        self._door = door
        self._kind = kind
        self._parts = parts
        self._study = study
        self._sender = sender
        self._single = bytearray()
        self.instances: list[Instance] = []
        self.messages: dict[Said, Received] = {}  # each row once, in the order in which they were said last
        self.refused: list[Received] = []

    def feed(self, chunk: bytes) -> None:
        """Raises Unreadable where it is not what its Content-Type says."""
        if self._parts is None:
            room = self._door.most_of(self._kind) - len(self._single)
            self._single += chunk[: max(room, 0)]
            return
        for part in self._parts.feed(chunk):
            self._part(part)

    def end(self) -> None:
        """Raises Unreadable where it broke off."""
        if self._parts is None:
            self._part(Part(self._kind, bytes(self._single), len(self._single)))
        elif not self._parts.ended:
            raise Unreadable("the body ends before its last delimiter", code="cut")

    def _part(self, part: Part) -> None:
        kind = part.media or self._kind
        if kind == DICOM:
            self._one(part.data, lambda: header.read_file(
                part.data, columns.instance(), default=self._door.settings.charset, most=self._door.settings.max_header
            ))  # fmt: skip
        elif kind == DICOM_JSON:
            if part.size > len(part.data):
                raise Unreadable(f"metadata of more than {len(part.data)} bytes", code="too_large")
            for document in json.documents(part.data):
                self._one(b"", lambda document=document: json.row(document, columns.instance()))
        # everything else is bulk data of metadata (PS3.18 8.6.1.2): dropped

    def _one(self, data: bytes, read: Any) -> None:
        sop = "", ""
        try:
            row = read()
            sop = str(row.pop("SOPClassUID", "")), str(row.pop("SOPInstanceUID", ""))
            told.check(row)
            if self._study and row["StudyInstanceUID"] != self._study:
                raise Unreadable("it is of another study than the address", code="mismatch")
        except Unreadable as error:
            self.instances.append(Instance(*sop, None, told.status_of(error)))
            self._refuse(data, error)
            return
        body = row_body(self._door.settings.event, row)
        said = told.said(row, body)
        self.instances.append(Instance(*sop, said))
        known = said in self.messages
        self.messages[said] = self.messages.pop(said) if known else self._door.received(self._sender, body, row)

    def _refuse(self, data: bytes, error: Unreadable) -> None:
        if self._door.room.take():
            self.refused.append(self._door.received(self._sender, data[:REFUSED_BYTES], {}, told.reason_of(error)))


class Door:
    """One channel. Thread-safe as far as `intake` is."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.room = Room()
        self._name = name
        self._last: Last | None = None

    def remember_in(self, memory: Memory) -> None:
        """hub.domain.ports.Remembering."""
        self._last = Last(memory)

    def begin(self, content: str, study: str, sender: str) -> Taking:
        """`study`: of the address, "" where it is everybody's. Raises Unreadable: not a body that STOW-RS knows."""
        media, kind, boundary = content_type(content)
        if media == "multipart/related" and kind in (DICOM, DICOM_JSON, ""):
            if not boundary:
                raise Unreadable("multipart/related without a boundary", code="media")
            return Taking(self, kind or DICOM, Parts(boundary, keep=self.most_of(kind), most=MOST_PARTS), study, sender)
        if media in (DICOM, DICOM_JSON):
            return Taking(self, media, None, study, sender)
        raise Unreadable(f'send multipart/related; type="{DICOM}", or "{DICOM_JSON}"', code="media")

    def most_of(self, kind: str) -> int:
        """Bytes that are kept of a part: of metadata all, of an instance its header."""
        return self.settings.max_header * (16 if kind == DICOM_JSON else 1)

    def received(self, sender: str, body: bytes, row: Mapping[str, Any], refused: str | None = None) -> Received:
        return Received(
            channel=self._name, body=body, sender=sender, control_id="", type=self.settings.event,
            patient=told.patient_of(row, self.settings.assigner), answer_owed=False, charset="utf-8", refused=refused,
        )  # fmt: skip

    def take(self, taking: Taking, intake: Intake) -> Answer:
        """Stores what the request brought, in one commit, and says so instance by instance (PS3.18 table 10.5.3-1, I.2)."""
        if not taking.instances:
            return Answer(400, text="there is no instance in it")
        try:
            receipts, others = self._store(taking, intake)
        except HubError as error:
            return _later(error.reason)
        for receipt in (*receipts.values(), *others):
            if receipt.verdict is Verdict.TRY_AGAIN:
                return _later(receipt.reason or "nothing is taken now")
        never = {said for said, receipt in receipts.items() if receipt.verdict is Verdict.NEVER}
        good = [one for one in taking.instances if one.said is not None and one.said not in never]
        bad = [one for one in taking.instances if one.said is None or one.said in never]
        status = 200 if not bad else 202 if good else 409
        return Answer(status, _response(good, bad), stored=_ids([*receipts.values(), *others]))

    def _store(self, taking: Taking, intake: Intake) -> tuple[dict[Said, Receipt], Sequence[Receipt]]:
        """Receipts of the rows that are news, and of what is refused. What another process was told meanwhile is decided anew."""
        receipts: dict[Said, Receipt] = {}
        others: Sequence[Receipt] = []
        waiting, refused = dict(taking.messages), taking.refused
        for _ in range(TRIES):
            news = self._news(waiting)
            found = intake.store([*news.values(), *refused]) if news or refused else []
            receipts |= zip(news, found, strict=False)
            others, refused = [*others, *found[len(news) :]], []
            waiting = {said: waiting[said] for said in news if receipts[said].code == Conflict.code}
            if not waiting:
                break
        return receipts, others

    def _news(self, messages: Mapping[Said, Received]) -> dict[Said, Received]:
        """Those that say another thing of their series than was said before them."""
        assert self._last is not None, "what was said before is known by the channel's memory"
        standing: dict[str, tuple[int, str]] = {}
        news = {}
        for said, received in messages.items():
            n, last = standing.get(said.series) or self._last.recall(received.sender, said.series)
            if last != said.digest:
                n += 1
                news[said] = self._last.changed(received, said, n)
            standing[said.series] = n, said.digest
        return news


def _later(reason: str) -> Answer:
    return Answer(503, headers={"Retry-After": str(WAIT_SECONDS)}, text=reason)


def _response(good: Sequence[Instance], bad: Sequence[Instance]) -> dict[str, Any]:
    """The store instances response, as DICOM JSON."""
    document: dict[str, Any] = {}
    if bad:
        items = [_item(one) | {"00081197": {"vr": "US", "Value": [one.failure or Status.NOT_UNDERSTOOD]}} for one in bad]
        document["00081198"] = {"vr": "SQ", "Value": items}
    if good:
        document["00081199"] = {"vr": "SQ", "Value": [_item(one) for one in good]}
    return document


def _item(one: Instance) -> dict[str, Any]:
    return {
        tag: {"vr": "UI", **({"Value": [value]} if value else {})}
        for tag, value in (("00081150", one.sop_class), ("00081155", one.sop_instance))
    }


def _ids(receipts: Sequence[Receipt]) -> list[int]:
    return [receipt.message_id for receipt in receipts if receipt.message_id is not None]


def build(settings: Settings, name: str) -> Door:
    """The door of the channel `name`."""
    return Door(settings, name)
