"""What a polled source finds becomes messages: of rows, those that are new or have changed, each once.

A mark a row (keyed digests, no patient data in the clear) is written in the commit that stores the row's message, so that a
process may die anywhere: either both are there or neither. The control id counts a row's changes, so that a row that
changes back is news, and the same change found twice (two hubs poll one table) is none.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from hub.codecs import fhir_incoming
from hub.domain.errors import Misconfigured, TryAgain, Unreadable
from hub.domain.facts import Key
from hub.domain.ids import now_us
from hub.domain.ports import Found, Intake, Keys, Receipt, Received, Verdict
from hub.domain.rows import MarkRow
from hub.domain.store import Conflict, Store
from hub.mapping.fhir_keys import Names
from hub.sync import fhir_received
from hub.sync.marks import OVERTAKEN

BLOCK = 500  # rows looked up at a time
PORTION = 50  # of a load, stored in one commit: on SQLite a sender that waits for its answer waits for it
DIGEST = 16  # bytes of Keys.digest
OWN = 10_000  # marks that a feed remembers to have set itself
PatientOf = Callable[[str, Mapping[str, Any]], Key | None]
Known = dict[bytes, tuple[bytes, int, int]]  # key -> (digest of the row, how often it changed, when it was told)
NONE = (b"", 0, -1)


def row_body(event: str, row: Mapping[str, Any]) -> bytes:
    """The row as the message's body: JSON with sorted keys, so that equal rows are equal bytes."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return orjson.dumps({"event": event, "row": row}, default=_plain, option=options)


def read_row(body: bytes) -> tuple[str, dict[str, Any]]:
    """Event and row of such a body."""
    document = orjson.loads(body)
    return document["event"], document["row"]


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    return str(value)


class PolledFeed:
    """hub.domain.ports.Feed of one channel. Used by one thread."""

    def __init__(
        self,
        channel: str,
        store: Store,
        keys: Keys,
        intake: Intake,
        patient_of: PatientOf,
        ending: Callable[[], bool] = lambda: False,
        names: Names | None = None,
        room: Callable[[], None] = lambda: None,
        later: bool = False,
    ) -> None:
        """`names`: how a FHIR server names things; without it there are no `documents`.

        `room` is asked before each portion of many and returns when there is room for it; `later`: whatever comes may wait.
        """
        self._channel = channel
        self._store = store
        self._keys = keys
        self._intake = intake
        self._patient_of = patient_of
        self._names = names
        self._room = room
        self._later = later
        self._looked_at = sys.maxsize  # the store's clock before the source was asked, µs; later than all: nobody said when
        self._ticks = 0  # and ours then, which goes on evenly
        self._own: dict[bytes, int] = {}  # key -> n of the marks that we set: what we told is older than what we read now
        self.ending = ending

    def looking(self) -> None:
        if self._later:
            self._room()
        if len(self._own) > OWN:
            self._own.clear()
        self._ticks = time.monotonic_ns() // 1000
        with self._store.snapshot() as tx:
            self._looked_at = tx.now

    def _at(self) -> int:
        """The store's clock, no earlier than it is: whatever a mark of this time was made of was read before."""
        if self._looked_at == sys.maxsize:
            return now_us()
        return self._looked_at + time.monotonic_ns() // 1000 - self._ticks

    def store(self, batch: Sequence[Received], place: tuple[str, str] | None = None) -> list[Receipt]:
        """Many at once are a load, however they came to be: in portions, and what is live goes before them."""
        many = self._later or len(batch) > PORTION
        receipts: dict[int, Receipt] = {}
        portions = _portions(batch)
        for n, portion in enumerate(portions, 1):
            if many:
                self._room()
                for message in portion:
                    message.later, message.followed = True, n < len(portions)
            if n == len(portions) and place is not None:
                portion[-1].mark = MarkRow(self._channel, _place(place[0]), place[1].encode(), 0, None, now_us())
            receipts |= zip(map(id, portion), self._commit(portion), strict=True)
        if not portions and place is not None:
            self.keep(*place)
        return [receipts[id(message)] for message in batch]

    def _commit(self, batch: Sequence[Received]) -> list[Receipt]:
        receipts = self._intake.store(batch)
        for receipt in receipts:
            if receipt.verdict is Verdict.TRY_AGAIN:
                if receipt.code == Conflict.code:
                    raise Conflict(receipt.reason)
                raise TryAgain(receipt.reason or "intake takes nothing now")
        self._own.update((one.mark.key, one.mark.n) for one in batch if one.mark is not None and one.mark_before is not None)
        return receipts

    # -- rows -----------------------------------------------------------------------------------------------------

    def rows(self, event: str, found: Sequence[Found], seen: set[bytes] | None = None) -> int:
        total, here = 0, set[bytes]()
        for block in _blocks(found):
            keyed = {self.digest(event, one.key): one for one in block}
            if len(keyed) != len(block) or not here.isdisjoint(keyed):
                raise Misconfigured(f"two rows for {event} have the same key: the key columns do not tell rows apart")
            here |= keyed.keys()
            total += self._changed(event, keyed)
        if seen is not None:
            seen |= here
        return total

    def digest(self, event: str, key: Mapping[str, Any]) -> bytes:
        return self._keys.digest(row_body(event, key))

    def _changed(self, event: str, keyed: Mapping[bytes, Found]) -> int:
        known = self._marks(list(keyed))
        batch = []
        for digest, one in keyed.items():
            body = row_body(event, one.row)
            value = self._keys.digest(body)
            if value != known.get(digest, NONE)[0]:
                batch.append(self._message(event, one, body, digest, value, self._next(known, digest)))
        self.store(batch)
        return len(batch)

    def _next(self, known: Known, key: bytes) -> int:
        """n of the mark that comes next. Raises Conflict where somebody else told this thing after we asked for it: his may be
        the newer one, so it is read again."""
        _, n, at = known.get(key, NONE)
        if at >= self._looked_at and self._own.get(key) != n:
            raise Conflict(OVERTAKEN)
        return n + 1

    def _message(self, event: str, one: Found, body: bytes, digest: bytes, value: bytes, n: int) -> Received:
        name = self._keys.seal("mark", self._row_of(digest), orjson.dumps(dict(one.key), default=_plain))
        return Received(
            channel=self._channel,
            body=body,
            sender="",
            control_id=f"{digest.hex()}.{n}.{value[:4].hex()}",
            type=event,
            patient=self._patient_of(event, one.row) if one.refused is None else None,
            answer_owed=False,
            refused=one.refused,
            charset="utf-8",
            mark=MarkRow(self._channel, digest, value, n, name, self._at()),
            mark_before=n - 1,
        )

    def _row_of(self, digest: bytes) -> str:
        return f"{self._channel}:{digest.hex()}"

    def _marks(self, digests: Sequence[bytes]) -> Known:
        with self._store.snapshot() as tx:
            return {bytes(key): (bytes(value), n, at) for key, value, n, at in tx.marks(self._channel, digests)}

    # -- FHIR resources -------------------------------------------------------------------------------------------

    def documents(self, found: Sequence[Mapping[str, Any]], place: tuple[str, str] | None = None) -> list[bool]:
        """The mark of a resource is a digest of all of it but the time of its last change, which some servers make up anew
        with each answer; a version alone is not enough, because others count none."""
        news = [new for block in _blocks(found) for new in self._new_documents(block)]
        if place is not None:
            self.keep(*place)  # a message carries one mark, its own; whoever dies before this reads again what is known
        return news

    def _new_documents(self, block: Sequence[Mapping[str, Any]]) -> list[bool]:
        keys = [self._keys.digest(_name_of(one)) for one in block]
        marks = self._marks(keys)
        news, batch = [], []
        for key, document in zip(keys, block, strict=True):
            before = marks.get(key, NONE)[0]
            value = b"" if fhir_incoming.is_deleted(document) else self._keys.digest(_stable(document))
            news.append(value != before)
            if value != before:
                mark = MarkRow(self._channel, key, value, self._next(marks, key), None, self._at())
                marks[key] = (value, mark.n, -1)
                batch.append(self._document(document, mark))
        self.store(batch)
        return news

    def _document(self, document: Mapping[str, Any], mark: MarkRow) -> Received:
        """What nobody can read, or name, is kept as REFUSED."""
        assert self._names is not None, "a channel of FHIR resources has names"
        body = fhir_incoming.body_of(document)
        try:
            fhir_incoming.read(body)
            refused = "" if fhir_incoming.id_of(document) else "a resource without an id"
        except Unreadable as error:
            refused = error.reason
        if not refused:
            digest = self._keys.digest
            message = fhir_received.of_document(self._channel, self._names, document, digest=digest, nth=mark.n)
        else:
            kind = fhir_incoming.type_of(document)
            message = Received(self._channel, body, self._names.system, mark.value.hex(), kind, None, None)
            message.refused, message.answer_owed, message.charset = refused, False, "utf-8"
        message.mark, message.mark_before = mark, mark.n - 1
        return message

    # -- rows that are gone ---------------------------------------------------------------------------------------

    def known(self) -> set[bytes]:
        with self._store.snapshot() as tx:
            rows = tx.many("SELECT key, value FROM mark WHERE channel = ?", self._channel)
        return {bytes(key) for key, value in rows if len(key) == DIGEST and len(value) == DIGEST}

    def names(self, digests: Sequence[bytes]) -> list[tuple[bytes, dict[str, Any]]]:
        found = []
        for block in _blocks(digests):
            marks = ", ".join("?" * len(block))
            sql = f"SELECT key, name FROM mark WHERE channel = ? AND key IN ({marks}) AND name IS NOT NULL"  # noqa: S608 - as above
            with self._store.snapshot() as tx:
                rows = tx.many(sql, self._channel, *block)
            for key, name in rows:
                plain = self._keys.open_("mark", self._row_of(bytes(key)), bytes(name))
                found.append((bytes(key), orjson.loads(plain)))
        return found

    def gone(self, event: str, digests: Sequence[bytes]) -> int:
        told = 0
        for block in _blocks(digests):
            known = self._marks(block)
            named = [(digest, key) for digest, key in self.names(block) if known[digest][0]]
            if event and named:
                self.store([self._gone(event, digest, key, self._next(known, digest)) for digest, key in named])
                told += len(named)
                continue
            with self._store.transaction() as tx:
                still = {bytes(key): n for key, _, n, _ in tx.marks(self._channel, [digest for digest, _ in named])}
                rows = [MarkRow(self._channel, digest, b"", self._next(known, digest), None, self._at()) for digest, _ in named]
                if any(still.get(row.key) != row.n - 1 for row in rows):
                    raise Conflict(OVERTAKEN)
                tx.write(rows)
        return told

    def _gone(self, event: str, digest: bytes, key: Mapping[str, Any], n: int) -> Received:
        message = self._message(event, Found(key, key), row_body(event, key), digest, b"", n)
        message.control_id = f"{digest.hex()}.{n}.gone"
        return message

    # -- places ---------------------------------------------------------------------------------------------------

    def place(self, name: str) -> str:
        with self._store.snapshot() as tx:
            row = tx.one("SELECT value FROM mark WHERE channel = ? AND key = ?", self._channel, _place(name))
        return bytes(row[0]).decode() if row else ""

    def keep(self, name: str, place: str) -> None:
        with self._store.transaction() as tx:
            tx.write([MarkRow(self._channel, _place(name), place.encode(), 0, None, tx.now)])


def _portions(batch: Sequence[Received]) -> list[list[Received]]:
    """What comes again after a crash between two of them is known by its mark or control id. What is refused is not: it
    stands in the last one, as the place does; nor is what has neither: its order in its lane keeps all in one."""
    if len(batch) <= PORTION:
        return [list(batch)] if batch else []
    again = [m for m in batch if m.mark is not None or (m.refused is None and m.control_id)]
    refused = [m for m in batch if m.mark is None and m.refused is not None]
    if len(again) + len(refused) < len(batch):
        return [list(batch)]
    portions = [again[first : first + PORTION] for first in range(0, len(again), PORTION)] or [[]]
    portions[-1] += refused
    return portions


def _name_of(document: Mapping[str, Any]) -> bytes:
    """`Patient/123`; of one without an id its content."""
    number = fhir_incoming.id_of(document)
    return f"{document.get('resourceType')}/{number}".encode() if number else _stable(document)


def _stable(document: Mapping[str, Any]) -> bytes:
    """A resource without the time of its last change, however its names are ordered."""
    meta = document.get("meta")
    kept = {name: one for name, one in meta.items() if name != "lastUpdated"} if isinstance(meta, Mapping) else meta
    return json.dumps({**document, "meta": kept}, sort_keys=True, default=str).encode()


def _place(name: str) -> bytes:
    key = f"place:{name}".encode()
    return key if len(key) != DIGEST else key + b":"  # never as long as a digest


def _blocks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), BLOCK):
        yield items[first : first + BLOCK]
