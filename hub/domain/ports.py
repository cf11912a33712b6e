"""What the core asks of the world outside it: ports as Protocols. `adapters` and `db` fulfil them; tests fake them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from hub.domain.errors import HubError, Refused
from hub.domain.facts import Key
from hub.domain.rows import MarkRow


class Verdict(StrEnum):
    """What intake says of a message that came in."""

    STORED = "stored"  # committed durably (or known already): answer positively
    TRY_AGAIN = "try_again"  # our store is down, busy or full: nothing kept
    NEVER = "never"  # unreadable or not for us: kept as REFUSED, a resend changes nothing


@dataclass(slots=True)
class Received:
    """One message as a listener hands it to intake. `body` is the bytes as received, without transport framing."""

    channel: str
    body: bytes
    sender: str  # MSH-3|MSH-4 (or the like): whose control ids these are
    control_id: str
    type: str  # "ADT^A08"
    patient: Key | None  # cheap read of the first patient number, for lane and search
    other_patient: Key | None = None  # merges and moves: the second lane
    content: bytes = b""  # what makes two messages "the same": body without MSH-7
    answer_owed: bool = True
    code: str = ""  # the answer's code, kept for a replay
    refused: str | None = None  # a reason: keep the bytes as REFUSED
    charset: str = ""
    filtered: bool = False  # the channel's `accept` list does not have it: DONE, ignored
    later: bool = False  # one of many that nobody waits for: what is live goes before it
    followed: bool = False  # nobody is told that it was stored before what follows it is: its commit need not wait for the disk
    mark: MarkRow | None = None  # a polled source: what is now known of it, in the commit that stores this
    mark_before: int | None = None  # n of the mark that it was compared with (0: none): stored only while that one stands


@dataclass(slots=True)
class Receipt:
    """Intake's answer to a Received."""

    verdict: Verdict
    message_id: int | None = None
    duplicate_of: int | None = None  # the same message again: nothing was stored, the first answer stands
    code: str = ""  # the stored answer's code where it is a duplicate
    reused: bool = False  # same control id, other content: stored, and an alert was raised
    reason: str = ""


@dataclass(slots=True)
class Outbound:
    """One message on its way to a target, with all that an adapter needs to build it now, from the current state.

    For a webhook `event` is the event's body as stored. For a system of record `resource` is the *current* canonical
    document, `changed` the fields that this message is about, `patient` the current golden record it belongs to.
    """

    message_id: int
    channel: str
    type: str  # "patient.updated", "appointment.created", …
    at: int  # µs: when the change was made
    attempt: int
    kind: str
    resource_id: str
    version: int
    resource: dict[str, Any]
    changed: list[str]
    patient_id: str
    patient: dict[str, Any]
    event: dict[str, Any] | None = None
    peer_id: str | None = None  # how the target names this resource, learnt from an earlier delivery
    peer_etag: str | None = None
    patient_peer_id: str | None = None
    body: bytes | None = None  # passed through: the message as it was received; then there is no resource
    charset: str = ""  # of `body`, a Python codec
    # Where `changed` names slots of a list (telecom.mobile), so that others' entries beside ours can be told from ours:
    said: Mapping[str, Any] = field(default_factory=dict)  # canonical field -> value that the target's system was last sent
    before: Mapping[str, Any] = field(default_factory=dict)  # the document before this change; {} where it is not kept

    @property
    def as_received(self) -> bytes:
        """What is passed through. Raises Refused where retention has erased it, or where this is a change."""
        if self.body is None:
            raise Refused("there is no body to pass on: it was erased, or this is a change", code="no_body")
        return self.body


@dataclass(slots=True)
class Delivered:
    """The target confirmed. What it told us of itself is kept for the next time."""

    peer_id: str | None = None
    peer_etag: str | None = None
    sent: bytes = b""  # bytes as sent, kept encrypted with the attempt
    answer: bytes = b""  # bytes as answered
    detail: str = ""  # free of patient data: "201", "AA"
    sent_fields: Mapping[str, Any] = field(default_factory=dict)  # canonical field -> value as sent: recognises its echo
    confirms: bool = True  # False: the target took it but has not decided yet


class Target(Protocol):
    """An outbound channel, built from its settings. Thread-safe; blocking; every call bounded in time.

    `send` returns Delivered or raises one of NotDelivered, OutcomeUnknown, Refused, Misconfigured: nothing else.
    """

    resend_is_safe: bool

    def send(self, message: Outbound) -> Delivered: ...

    def find(self, message: Outbound) -> Delivered | None:
        """After OutcomeUnknown, where a resend is not safe: did the target act? None: it did not."""
        ...

    def ping(self) -> str:
        """Ask the target whether it is there: a line for people. Raises as `send` does."""
        ...

    def close(self) -> None: ...


class Lines(Protocol):
    """Many messages on their way to one target at once. Driven by one thread; no call blocks or raises.

    Only for targets whose `resend_is_safe`.
    """

    def fileno(self) -> int:
        """Readable as soon as `turn` has something to do."""
        ...

    def begin(self, message: Outbound) -> None:
        """Takes it on; it goes out with the next `turn`."""
        ...

    def turn(self) -> list[tuple[Outbound, Delivered | HubError]]:
        """Sends and reads what can be sent and read now; what ended. To be called every moment, for the time-outs."""
        ...

    def close(self) -> None:
        """What is still on its way is given up: nobody knows what became of it."""
        ...


@runtime_checkable
class ManyAtOnce(Protocol):
    """A target that needs no thread a message."""

    at_once: int  # how many messages may be on their way

    def lines(self, most: int) -> Lines:
        """Up to `most` messages on their way at once."""
        ...


@runtime_checkable
class OfFiles(Protocol):
    """A target that is built of more than its channel's settings: a map file."""

    def outdated(self) -> bool:
        """Whether those files say something else now; asked at a reload."""
        ...


@dataclass(frozen=True, slots=True)
class ListenerHealth:
    """What a listener says of itself for the console."""

    address: str
    connections: int


class Intake(Protocol):
    """What a listener hands its messages to. Blocking: one durable commit for the whole batch, receipts in order."""

    def store(self, batch: Sequence[Received]) -> list[Receipt]: ...

    def answered(self, first_id: int, last_id: int, undelivered: Sequence[int]) -> None:
        """The answers to messages first_id … last_id went out, but for `undelivered`. Recorded with the next commit."""
        ...


class Listener(Protocol):
    """An inbound channel: runs inside the listener's asyncio loop."""

    async def start(self, intake: Intake) -> None: ...

    async def stop(self) -> None: ...

    def health(self) -> ListenerHealth: ...


class Person(NamedTuple):
    """A patient as a look-up finds him: id and golden record."""

    id: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Traits:
    """What patients are looked up by; all that is given must match. Names and phones match from their beginning."""

    identifier: str = ""  # "assigner|value" or "value"
    name: str = ""
    phone: str = ""
    birth_date: str = ""
    account: str = ""  # a number of an account


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of the imaging orders that are still to be done; all that is given must match."""

    start: int | None = None  # µs
    end: int | None = None  # before this one
    patient: str = ""  # a number of the patient
    order: str = ""  # a number of the order


class Order(NamedTuple):
    """An order, and whose it is. `place`: behind it the next page begins."""

    id: str
    data: Mapping[str, Any]
    patient: Person
    place: tuple[int, str]


class Lookup(Protocol):
    """What a channel that answers other systems' questions may see. Each call is bounded and sees one state of the database.

    Blocking; thread-safe; raises TryAgain where the store is not there.
    """

    def search(self, traits: Traits, *, after: str, limit: int) -> list[Person]:
        """Active patients by id, beginning behind the id `after`; more than the traits say may match."""
        ...

    def bearer(self, number: Key) -> Person | None:
        """Who bears that number now: of one that was merged away, the survivor."""
        ...

    def gives_numbers(self, assigner: str) -> bool:
        """Whether any patient has a number of that assigner."""
        ...

    def to_image(self, wanted: Wanted, *, after: tuple[int, str] | None, limit: int) -> list[Order]:
        """Imaging orders that are active, and not performed, imaged or reported yet (docs/adr/0166), the earliest first,
        beginning behind the place `after`."""
        ...

    def told(self, channel: str, asker: str, address: str, what: str, by: Sequence[str], ids: Sequence[str]) -> None:
        """The access record of one answer, durable before the answer may go out: who asked from where, by which fields, and the
        ids of all patients that he is told of."""
        ...

    def denied(self, channel: str, asker: str, address: str) -> None:
        """Somebody asked who may not."""
        ...


@runtime_checkable
class Answering(Protocol):
    """A listener that answers questions from what the hub knows. Given before `start`."""

    def look_up_in(self, lookup: Lookup) -> None: ...


class Recalled(NamedTuple):
    """What a channel remembers of a thing; n: how often that changed, 0: it knows nothing of it."""

    n: int
    what: Mapping[str, Any]


class Memory(Protocol):
    """What a channel must still know of things after a restart, or on another hub process. Blocking; TryAgain: no store."""

    def recall(self, name: str) -> Recalled: ...

    def mark(self, name: str, n: int, what: Mapping[str, Any]) -> MarkRow:
        """For `Received.mark`, beside `mark_before = n - 1`: remembered with the commit of that message."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A listener, or a door at the web's address, that decides by what it was told before. Given before `start` and first use."""

    def remember_in(self, memory: Memory) -> None: ...


class Found(NamedTuple):
    """A row that a source holds: the columns that tell it from all others, and all of it."""

    key: Mapping[str, Any]
    row: Mapping[str, Any]
    refused: str | None = None  # a reason: it cannot be read, so it is kept as REFUSED


class Feed(Protocol):
    """What a polled source hands its finds to. Each call is durable when it returns; TryAgain where the hub takes nothing."""

    def store(self, batch: Sequence[Received], place: tuple[str, str] | None = None) -> list[Receipt]:
        """Messages of any form, whole. Only after this may the source be told that they were taken.

        `place`: name and text as of `keep`, kept in the same commit.
        """
        ...

    def rows(self, event: str, found: Sequence[Found], seen: set[bytes] | None = None) -> int:
        """Those that are new or changed become messages of type `event`; how many. `seen` gets the digest of every one's key.

        Raises Misconfigured where two of them have one key.
        """
        ...

    def documents(self, found: Sequence[Mapping[str, Any]], place: tuple[str, str] | None = None) -> list[bool]:
        """FHIR resources as their server gave them, each with its id, or tombstones of those that it deleted.

        Those that are new or changed become messages (True); of a deleted one only if it was there when last seen.
        `place`: as of `store`, kept with the last of them.
        """
        ...

    def digest(self, event: str, key: Mapping[str, Any]) -> bytes:
        """What `known` and `gone` call the row that has this key."""
        ...

    def known(self) -> set[bytes]:
        """The digests of the keys of all rows that were there when last seen."""
        ...

    def names(self, digests: Sequence[bytes]) -> list[tuple[bytes, dict[str, Any]]]:
        """The key columns behind digests of `known`."""
        ...

    def gone(self, event: str, digests: Sequence[bytes]) -> int:
        """These rows are no longer there: a message of type `event` with nothing but the key columns; "": only remembered."""
        ...

    def place(self, name: str) -> str:
        """How far the source had come, as last kept; an empty text at the beginning."""
        ...

    def keep(self, name: str, place: str) -> None: ...

    def looking(self) -> None:
        """The source is asked now: what is handed on from here on was read after this moment. Waits while there is no room.

        Called before each poll and each block of a load; an adapter may say so again, before each statement.
        """
        ...

    def ending(self) -> bool:
        """Whether the source shall come to an end soon: asked between two blocks of a long poll."""
        ...


class Source(Protocol):
    """An inbound channel that asks instead of listening. Driven by one thread of the role `poll`; each step bounded in time."""

    pause_seconds: float  # from one poll to the next

    def poll(self, feed: Feed) -> int:
        """Hands all that is new to `feed`; how many messages that made. Raises HubError: closed, built and polled again later."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Pinged(Protocol):
    """A target; or a polled source that can say of its server what it is, and what it cannot do as the channel is set."""

    def ping(self) -> str:
        """A line for people. Raises HubError."""
        ...


class Difference(NamedTuple):
    """What a channel reads or writes there, and its peer describes otherwise, or not at all."""

    where: str  # "A_BusinessPartner/BusinessPartnerDeathDate"
    works: bool  # False: the channel cannot work so; True: something is not carried
    text: str  # what is missing or different, what comes of it, and what instead


@runtime_checkable
class Described(Protocol):
    """A target or polled source whose peer describes itself, so that it can be compared before anything runs ($metadata)."""

    def differences(self, *, ask: bool) -> Sequence[Difference] | None:
        """By the peer's own word, where it may be asked; else by a description that the settings name (None: they name none).

        Raises HubError.
        """
        ...


class Condition(NamedTuple):
    """One condition of a load: a column (or search parameter), and a value that is bound, never written into a statement."""

    column: str
    operator: str  # = != < <= > >=
    value: str


class Loaded(NamedTuple):
    """A block of a load, stored durably."""

    place: str  # where to go on after it, whoever does; means something to its source only
    read: int  # rows or resources in it
    told: int  # how many of them made a message: the others were known as they are


@runtime_checkable
class Loadable(Protocol):
    """A polled source that can also be asked: for all of a kind, and for one thing now.

    Built for itself, beside the one that polls; what both hand to their Feed makes one message. One thread; raises HubError.
    """

    def total(self, kind: str, where: Sequence[Condition]) -> int | None:
        """How many there are, for progress; None where nobody can tell cheaply. Misconfigured: no such kind, no such column."""
        ...

    def load(self, feed: Feed, kind: str, where: Sequence[Condition], place: str) -> Iterator[Loaded]:
        """Hands all of them to `feed`, a block a step, from `place` on ("": from the beginning).

        Nothing is read before the next step is asked for: whoever drives it may wait between two.
        """
        ...

    def request(self, feed: Feed, kind: str, number: str, columns: Sequence[str]) -> int:
        """Hands what is there under a number to `feed`; how many rows or resources that were, 0: there is none.

        `columns`: of rows, where the map reads that number from.
        """
        ...

    def close(self) -> None: ...


MESSAGE = "message"  # of Manifest.handles: messages as they were received ([[routes]] with from_channels)
KIT = 1  # what a site's own adapter is written against: these ports; another number where an old adapter would not do any more


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an adapter module is, for `hub channel kinds`, the docs and the contract suite."""

    name: str  # "ocs.hl7_out": what `adapter = ` in hub.toml says
    title: str
    direction: str  # "in" | "out"
    system: str  # ocs | emr | erp | pacs | crm
    protocol: str
    handles: tuple[str, ...] = ()  # out: change types it can carry ("patient.updated", "appointment.*")
    polled: bool = False  # in: `build` gives a Source, not a Listener
    served: bool = False  # in: what is sent to it comes to the web role's address; `build` gives a Door
    form: str = "hl7v2"  # in: what its messages are, hl7v2, row or fhir; a setting `form` of the adapter wins
    kit: int = 1  # the KIT that it was written for


Clock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Written:
    """What a front-office write did."""

    resource_id: str
    version: int
    change_ids: tuple[int, ...] = ()


class FrontOffice(Protocol):
    """What a CRM front-end may change. Each call is one transaction, applied at once through the same core as messages.

    `actor` is "token:<name>". `expected` is the version of the If-Match header; another current version raises Stale.
    `values` hold canonical fields as in hub/domain/model.py; None deletes a field. Unknown ids raise NotFound; a field
    that the authority rules do not let the CRM set raises Refused with code "not_allowed" and the field in its reason.
    """

    def create_patient(self, values: dict[str, Any], *, actor: str) -> Written: ...

    def change_patient(self, patient_id: str, values: dict[str, Any], *, expected: int, actor: str) -> Written: ...

    def book(self, patient_id: str, values: dict[str, Any], *, actor: str) -> Written: ...

    def change_appointment(self, appointment_id: str, values: dict[str, Any], *, expected: int, actor: str) -> Written: ...

    def cancel_appointment(self, appointment_id: str, *, expected: int, actor: str, reason: str = "") -> Written: ...


class Operations(Protocol):
    """What an operator may do; each is audited with its reason. IllegalStep where the life-cycle has no such step."""

    def replay(self, message_id: int, *, reason: str, actor: str) -> None: ...

    def discard(self, message_id: int, *, reason: str, actor: str) -> None: ...

    def settle(self, message_id: int, *, acted: bool, reason: str, actor: str) -> None:
        """An UNCERTAIN message: a person found out whether the target acted (confirm) or not (deny)."""
        ...

    def pause(self, channel: str, *, reason: str, actor: str) -> None: ...

    def resume(self, channel: str, *, reason: str, actor: str) -> None: ...

    def ping(self, channel: str, *, actor: str) -> str: ...


class AuditWriter(Protocol):
    """Appends one entry of its own transaction; acts with a transaction write theirs inside it."""

    def append(
        self,
        action: str,
        *,
        actor: str,
        channel: str = "",
        message_id: int | None = None,
        resource_id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None: ...


class Keys(Protocol):
    """The hub's secrets in use. `seal`/`open_` are AEAD with the row as associated data; `digest` is keyed."""

    def seal(self, table: str, row: int | str, plain: bytes) -> bytes: ...

    def open_(self, table: str, row: int | str, sealed: bytes) -> bytes: ...

    def digest(self, data: bytes) -> bytes:
        """16 bytes, keyed (HMAC-SHA-256, truncated): equal for equal data, says nothing of it without the key."""
        ...
