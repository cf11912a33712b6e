"""EMR, inbound: FHIR R4 resources that its server sends to the hub's own address, one by one (rest-hook) or in bundles.

The web role has the address and the tokens (hub/web/fhir/receive.py); which token is which channel's stands in the channel's
settings. What is taken is one commit, before the answer: of a transaction everything or nothing. The hub is no repository:
an answer says that a resource is stored as a message, and `201` and `200` tell creates from updates as their sender does.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hub.adapters.settings import read_table, wrong
from hub.codecs import fhir_resource
from hub.codecs.fhir import Document
from hub.codecs.fhir_bundle_in import BAD_ID, Entry, Issue, entries, identify, name, partial
from hub.codecs.fhir_incoming import body_of, id_of, read, tombstone
from hub.config import option
from hub.domain.errors import Unmappable, Unreadable
from hub.domain.ports import Intake, Manifest, Receipt, Received, Verdict
from hub.sync.fhir_received import Messages

MANIFEST = Manifest(
    name="emr.fhir_in", title="FHIR R4 at the hub's own address: subscriptions and bundles", direction="in", system="emr",
    protocol="FHIR R4 (REST, JSON)", served=True, form="fhir",
)  # fmt: skip
BUSY = "too many messages are waiting"  # what intake says of a full queue: the sender is to come slower
WAIT_SECONDS = {429: 30, 503: 5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Who may send what."""

    tokens: tuple[str, ...] = option(doc='names of the tokens (role sender) that are this channel\'s: ["emr-push"]')
    accept: tuple[str, ...] = option((), doc='resource types that are taken, ["Patient", "Encounter"]; others end ignored')
    identifier_systems: dict[str, str] = option(
        dict, doc='how it writes the numbers of each assigner: { HOSP = "urn:oid:1.2.410.…" }; default: [fhir] systems'
    )
    validation: Literal["none", "r4"] = option("none", doc="r4: a resource that is not valid R4 is refused; none: what maps need")
    max_body: int = option(16 << 20, doc="bytes of one request", low=1024, high=256 << 20)
    max_entries: int = option(5000, doc="entries of one bundle", low=1, high=100_000)
    body_seconds: float = option(60.0, doc="a request whose body takes longer is given up", low=0.1, high=3600)
    name: str = option("", doc="the channel's name; its table in hub.toml names it")

    def __post_init__(self) -> None:
        if not self.tokens or not all(self.tokens):
            raise wrong('"tokens" names none, so nobody could send', 'write tokens = ["emr-push"], after hub token create')

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as the web hands it over. `kind` and `id` of its path; "" where it went to the base address."""

    method: str
    body: bytes
    sender: str
    kind: str = ""
    id: str = ""
    if_none_exist: str = ""


@dataclass(slots=True)
class Answer:
    """What goes back, and what was stored."""

    status: int
    document: Document | None = None
    headers: dict[str, str] = field(default_factory=dict)
    stored: list[int] = field(default_factory=list)  # message ids, duplicates' first ones included


@dataclass(slots=True)
class Door:
    """One channel. Thread-safe as far as `intake` is."""

    settings: Settings
    messages: Messages

    def take(self, sent: Sent, intake: Intake) -> Answer:
        """Stores what the request brings, in one commit, and says so."""
        if sent.method == "DELETE":
            entry = Entry(0, tombstone(sent.kind, sent.id), "DELETE")
            return self._single(entry, sent, intake)
        try:
            document = read(sent.body)
        except Unreadable as error:
            offset = error.where.offset
            place = "" if offset is None else f" at character {offset}"
            return self._refuse(sent, intake, [Issue(400, "structure", "", f"{error.reason}{place}")])
        if document["resourceType"] == "Bundle" and not sent.kind:
            return self._bundle(document, sent, intake)
        as_sent = dict(document)
        problem = self._prepared(document, sent)
        if problem is not None:
            return self._refuse(sent, intake, [problem], document["resourceType"])
        made = sent.method == "POST" and bool(sent.kind)
        return self._single(Entry(0, document, sent.method, made=made), sent, intake, whole=document == as_sent)

    # -- one resource ---------------------------------------------------------------------------------------------

    def _prepared(self, document: Document, sent: Sent) -> Issue | None:
        kind = document["resourceType"]
        if sent.kind and kind != sent.kind:
            return Issue(400, "invalid", kind, f"the address is of a {sent.kind}, the resource is none")
        if document.get("id") is not None and not id_of(document):
            return Issue(400, "value", f"{kind}.id", BAD_ID)
        if sent.id and document.setdefault("id", sent.id) != sent.id:
            return Issue(400, "invalid", f"{kind}.id", "the id in the address is not the resource's")
        if sent.if_none_exist:
            problem = identify(document, sent.if_none_exist)
            if problem:
                return Issue(412, "not-supported", "", f"If-None-Exist: {problem}")
            partial(document)
        name(document, "", self.messages.new_id)
        return self._invalid(document, kind)

    def _single(self, entry: Entry, sent: Sent, intake: Intake, *, whole: bool = False) -> Answer:
        """`whole`: nothing had to be added, so the bytes are kept as they came."""
        batch = self._received([entry], sent)
        if whole:
            batch[0].body = sent.body
        (receipt,) = intake.store(batch)
        if receipt.verdict is Verdict.TRY_AGAIN:
            return _try_again(receipt)
        if receipt.verdict is Verdict.NEVER:
            return Answer(409, outcome([Issue(409, "conflict", "", receipt.reason)]), stored=_ids([receipt]))
        if entry.method == "DELETE":
            return Answer(204, stored=_ids([receipt]))
        headers = {"Location": _location(entry.document)} if entry.made else {}
        return Answer(201 if entry.made else 200, _stored(receipt), headers, _ids([receipt]))

    # -- bundles --------------------------------------------------------------------------------------------------

    def _bundle(self, bundle: Document, sent: Sent, intake: Intake) -> Answer:
        found = entries(bundle, self.messages.new_id, self.settings.max_entries)
        checked = [self._checked(one) for one in found]
        issues = [one for one in checked if isinstance(one, Issue)]
        whole = bundle.get("type") == "transaction"
        if issues and (whole or issues[0].number is None):
            return self._refuse(sent, intake, issues, "Bundle")
        good = [one for one in checked if isinstance(one, Entry)]
        batch = [*self._received(good, sent), *self._kept(bundle, issues, sent)]
        receipts = intake.store(batch) if batch else []
        if any(receipt.verdict is Verdict.TRY_AGAIN for receipt in receipts):
            return _try_again(receipts[0])
        told = dict(zip((one.number for one in good), receipts, strict=False))
        answers = [_entry_answer(one, told) for one in checked]
        kind = "transaction-response" if whole else "batch-response"
        return Answer(200, {"resourceType": "Bundle", "type": kind, "entry": answers}, stored=_ids(receipts))

    def _checked(self, one: Entry | Issue) -> Entry | Issue:
        if isinstance(one, Issue) or one.method == "DELETE":
            return one
        return self._invalid(one.document, f"Bundle.entry[{one.number}].resource", one.number) or one

    # -- both -----------------------------------------------------------------------------------------------------

    def _invalid(self, document: Document, place: str, number: int | None = None) -> Issue | None:
        if self.settings.validation == "none":
            return None
        try:
            fhir_resource.check(document)
        except (Unmappable, KeyError) as error:
            reason = error.reason if isinstance(error, Unmappable) else "R4 has no such resource type"
            return Issue(422, "invalid", place, reason, number)
        return None

    def _kept(self, bundle: Document, issues: Sequence[Issue], sent: Sent) -> list[Received]:
        """What a batch brought and nobody can take, entry by entry."""
        found = []
        for one in issues:
            entry = bundle["entry"][one.number]
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(resource, dict):
                kind = str(resource.get("resourceType", ""))
                found.append(self.messages.refused(body_of(resource), kind, sent.sender, f"{one.where}: {one.text}"))
        return found

    def _received(self, found: Sequence[Entry], sent: Sent) -> list[Received]:
        made = self.messages.of([one.document for one in found], sent.sender)
        for one in made:
            one.filtered = bool(self.settings.accept) and one.type.partition(".")[0] not in self.settings.accept
        return made

    def _refuse(self, sent: Sent, intake: Intake, issues: Sequence[Issue], kind: str = "") -> Answer:
        """Nothing of it is taken; the bytes are kept with the reason."""
        reason = ": ".join(filter(None, (issues[0].where, issues[0].text)))
        (receipt,) = intake.store([self.messages.refused(sent.body, kind, sent.sender, reason)])
        if receipt.verdict is Verdict.TRY_AGAIN:
            return _try_again(receipt)
        status = issues[0].status if len({one.status for one in issues}) == 1 else 400
        return Answer(status, outcome(issues), stored=_ids([receipt]))


def build(settings: Settings, messages: Messages) -> Door:
    """The door of one channel. `messages`: how what comes becomes a message of it."""
    return Door(settings, messages)


def outcome(issues: Sequence[Issue]) -> Document:
    """An OperationOutcome with the place of each."""
    listed = [
        {"severity": "error", "code": one.code, "diagnostics": one.text, **({"expression": [one.where]} if one.where else {})}
        for one in issues[:50]
    ]
    return {"resourceType": "OperationOutcome", "issue": listed}


def _try_again(receipt: Receipt) -> Answer:
    """429 where the sender is to come slower, 503 where we cannot (http.html#Status-Codes)."""
    status = 429 if receipt.reason == BUSY else 503
    issue = Issue(status, "throttled" if status == 429 else "transient", "", receipt.reason or "nothing is taken now")
    return Answer(status, outcome([issue]), {"Retry-After": str(WAIT_SECONDS[status])})


def _entry_answer(one: Entry | Issue, told: Mapping[int, Receipt]) -> Document:
    if isinstance(one, Issue):
        return {"response": {"status": str(one.status), "outcome": outcome([one])}}
    receipt = told[one.number]
    if receipt.verdict is Verdict.NEVER:
        return {"response": {"status": "409", "outcome": outcome([Issue(409, "conflict", "", receipt.reason)])}}
    if one.method == "DELETE":
        return {"response": {"status": "204"}}
    made = {"status": "201", "location": _location(one.document)} if one.made else {"status": "200"}
    return {"response": {**made, "outcome": _stored(receipt)}}


def _location(document: Document) -> str:
    """The address that its sender may call it by from now on; relative to the base."""
    meta = document.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else None
    number = id_of(document)
    return f"{document['resourceType']}/{number}/_history/{version or 1}" if number else document["resourceType"]


def _stored(receipt: Receipt) -> Document:
    """Informational: taken, or known already."""
    text = "known already" if receipt.duplicate_of is not None else "stored"
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "information", "code": "informational", "diagnostics": text}],
    }


def _ids(receipts: Sequence[Receipt]) -> list[int]:
    return [receipt.message_id for receipt in receipts if receipt.message_id is not None]
