"""IDocs that SAP posts to the hub's own address (its XML-HTTP port, WE21; an RFC destination of type G in SM59).

The web role has the address and the tokens (hub/web/idoc.py); which token is which channel's stands in the channel's settings.
What is taken is one commit, before the answer. SAP knows two answers: 200, and anything else, after which the IDoc stays at
status 02 there and is sent again by somebody (RSEOUT00, BD87); what came already is known then. A job that sends again what
is refused must not fill the disk: the same again is answered and not kept again, and of others so many as `Room` says.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hub.adapters.erp.idoc_rules import IdocSettings, Rules
from hub.adapters.refused import REFUSED_BYTES, Room
from hub.adapters.settings import read_table, wrong
from hub.codecs.sap import idoc_xml
from hub.config import option
from hub.domain.errors import Unreadable
from hub.domain.ports import Intake, Manifest, Receipt, Received, Verdict

MANIFEST = Manifest(
    name="erp.idoc_http_in", title="SAP IDocs at the hub's own address: XML over HTTP", direction="in", system="erp",
    protocol="SAP IDoc / XML-HTTP", served=True, form="row",
)  # fmt: skip
WAIT_SECONDS = 5
REMEMBERED = 1000  # refused IDocs that are known when they come again, as long as the process lives


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(IdocSettings):
    """Who may send what."""

    tokens: tuple[str, ...] = option(doc='names of the tokens (role sender) that are this channel\'s: ["sap"]')
    max_body: int = option(32 << 20, doc="bytes of one request", low=1024, high=256 << 20)
    body_seconds: float = option(60.0, doc="a request whose body takes longer is given up", low=0.1, high=3600)

    def __post_init__(self) -> None:
        IdocSettings.__post_init__(self)
        if not self.tokens or not all(self.tokens):
            raise wrong('"tokens" names none, so nobody could send', 'write tokens = ["sap"], after hub token create')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


@dataclass(slots=True)
class Answer:
    """What goes back, and what was stored."""

    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)
    stored: list[int] = field(default_factory=list)  # message ids, duplicates' first ones included


class Door:
    """One channel. Thread-safe as far as `intake` is."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self._room = Room()
        self._refused: OrderedDict[bytes, None] = OrderedDict()  # digests of what was kept
        self._rules = Rules(settings, name)

    def take(self, body: bytes, intake: Intake) -> Answer:
        """Stores what the request brings, in one commit, and says so. What cannot be taken is kept with its reason."""
        try:
            idocs = idoc_xml.read(body, self.settings.max_body)
        except Unreadable as error:
            return self._answer(self._stored([self._rules.refused(body, error.reason)], intake), 400)
        whole = len(idocs) == 1
        batch = [self._rules.received(one, body if whole else idoc_xml.write([one], one["IDOCTYP"] or "IDOC")) for one in idocs]
        return self._answer(self._stored(batch, intake), 422)

    def _stored(self, batch: list[Received], intake: Intake) -> list[Receipt]:
        """Receipts in the order of `batch`, also of what is refused and not kept."""
        digests = [hashlib.sha256(one.body).digest() if one.refused is not None else b"" for one in batch]
        kept = [not digest or (digest not in self._refused and self._room.take()) for digest in digests]
        for one in batch:
            if one.refused is not None:
                one.body = one.body[:REFUSED_BYTES]
        stored = [one for one, keep in zip(batch, kept, strict=True) if keep]
        receipts = intake.store(stored) if stored else []
        if any(receipt.verdict is Verdict.TRY_AGAIN for receipt in receipts):
            return receipts
        self._refused |= dict.fromkeys(digest for digest, keep in zip(digests, kept, strict=True) if digest and keep)
        while len(self._refused) > REMEMBERED:
            self._refused.popitem(last=False)
        found = iter(receipts)
        return [
            next(found) if keep else Receipt(Verdict.NEVER, reason=one.refused or "")
            for one, keep in zip(batch, kept, strict=True)
        ]

    def _answer(self, receipts: list[Receipt], refused: int) -> Answer:
        ids = [receipt.message_id for receipt in receipts if receipt.message_id is not None]
        if any(receipt.verdict is Verdict.TRY_AGAIN for receipt in receipts):
            return Answer(503, receipts[0].reason or "nothing is taken now", {"Retry-After": str(WAIT_SECONDS)})
        never = [receipt.reason for receipt in receipts if receipt.verdict is Verdict.NEVER]
        if never:
            return Answer(refused, f"{len(never)} of {len(receipts)} refused; the first: {never[0]}", stored=ids)
        return Answer(200, f"{len(receipts)} stored", stored=ids)


def build(settings: Settings, name: str) -> Door:
    """The door of the channel `name`."""
    return Door(settings, name)
