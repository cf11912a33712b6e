"""A FHIR resource becomes a message, whoever brought it: a bundle, a subscription, a poll of the server.

Body: the resource as JSON, one a message. Type: its resource type (`Encounter`; `Encounter.deleted`). Control id: what stays
the same when the same thing is told again: type, id and version; without a version the time of its last change, without that
a digest of the content; and how often it had changed, where a version alone does not tell: some servers never count theirs.
Patient: whose lane it is in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hub.codecs.fhir_incoming import body_of, id_of, read, same_of, type_of
from hub.domain.ids import now_us
from hub.domain.ports import Keys, Received
from hub.domain.rows import MarkRow
from hub.domain.store import Store
from hub.mapping.fhir_keys import Names

Digest = Callable[[bytes], bytes]


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def of_body(channel: str, names: Names, body: bytes, *, sender: str = "", digest: Digest = _sha256) -> Received:
    """One resource as it came. Raises Unreadable. `digest`: Keys.digest where that is at hand: a control id is kept in clear."""
    return _received(channel, names, read(body), body, sender, digest)


def of_document(
    channel: str, names: Names, document: Mapping[str, Any], *, sender: str = "", digest: Digest = _sha256, nth: int = 0
) -> Received:
    """One resource out of a bundle or search (`hub.codecs.fhir_incoming.tombstone` where it was deleted).

    `nth`: how often it has changed, where somebody counts: what changes back is then news, whatever its version says.
    """
    return _received(channel, names, document, body_of(document), sender, digest, nth)


def version_of(document: Mapping[str, Any]) -> str:
    """Its version, else the time of its last change; "" where its server tells neither."""
    meta = document.get("meta")
    stamps = [meta.get(name) for name in ("versionId", "lastUpdated")] if isinstance(meta, Mapping) else []
    return next((one for one in stamps if isinstance(one, str) and 0 < len(one) <= 64), "") if id_of(document) else ""


def control_id(document: Mapping[str, Any], content: bytes, digest: Digest = _sha256, nth: int = 0) -> str:
    """`Patient/123/4`: type, id, version or what stands for it; `Patient/123/4.2` where that was counted."""
    told = version_of(document) or digest(content).hex()
    return "/".join(filter(None, (type_of(document), id_of(document), told))) + (f".{nth}" if nth else "")


def _received(
    channel: str, names: Names, document: Mapping[str, Any], body: bytes, sender: str, digest: Digest, nth: int = 0
) -> Received:
    content = same_of(document)
    return Received(
        channel=channel, body=body, sender=sender or names.system, control_id=control_id(document, content, digest, nth),
        type=type_of(document), patient=names.patient_of(document), other_patient=names.other_patient_of(document),
        content=content, answer_owed=False, charset="utf-8",
    )  # fmt: skip


class _Mark(NamedTuple):
    """What a resource said last (a MarkRow's value): its version and content, digested, and whether its control id counts."""

    version: bytes  # 8 bytes
    content: bytes  # 7
    counted: bool

    @classmethod
    def of(cls, value: bytes) -> _Mark:
        return cls(value[:8], value[8:15], value[15:] == b"\1")

    def dump(self) -> bytes:
        return self.version + self.content + bytes([self.counted])


class Messages:
    """Resources that somebody sends to a channel, as messages: what their version does not tell apart is counted."""

    def __init__(self, channel: str, names: Names, store: Store, keys: Keys) -> None:
        self._channel = channel
        self._names = names
        self._store = store
        self._keys = keys

    def of(self, documents: Sequence[Mapping[str, Any]], sender: str) -> list[Received]:
        """In their order. A resource that says what it said last has the control id that it had; so has an earlier version that
        is told again."""
        keyed = {at: self._key_of(one) for at, one in enumerate(documents) if id_of(one)}
        marks = self._marks(sorted(set(keyed.values())))
        made = []
        for at, document in enumerate(documents):
            nth, mark = 0, None
            if at in keyed:
                value, n = marks[keyed[at]] = self._counted(document, *marks.get(keyed[at], (b"", 0)))
                mark = MarkRow(self._channel, keyed[at], value, n, None, now_us())
                nth = n if _Mark.of(value).counted else 0
            one = of_document(self._channel, self._names, document, sender=sender, digest=self._keys.digest, nth=nth)
            one.mark = mark
            made.append(one)
        return made

    def _counted(self, document: Mapping[str, Any], before: bytes, n: int) -> tuple[bytes, int]:
        """Its mark now. Counted is what has no version, and what says other things than this very version did."""
        last, told = _Mark.of(before), version_of(document)
        version = self._keys.digest(told.encode())[:8]
        content = self._keys.digest(type_of(document).encode() + same_of(document))[:7]
        if (version, content) == last[:2]:
            return before, n
        return _Mark(version, content, counted=not told or version == last.version).dump(), n + 1

    def refused(self, body: bytes, kind: str, sender: str, reason: str) -> Received:
        """What cannot be taken: kept with the reason, so that somebody can look into it."""
        return Received(
            self._channel, body, sender or self._names.system, "", kind, None, answer_owed=False, charset="utf-8",
            refused=reason[:200],
        )  # fmt: skip

    def new_id(self, document: Mapping[str, Any]) -> str:
        """The id of a resource that has none and no identifier: the same for the same content."""
        return f"h{self._keys.digest(same_of(document)).hex()}"

    def _key_of(self, document: Mapping[str, Any]) -> bytes:
        return self._keys.digest(f"{document.get('resourceType')}/{id_of(document)}".encode())

    def _marks(self, keys: Sequence[bytes]) -> dict[bytes, tuple[bytes, int]]:
        if not keys:
            return {}
        with self._store.snapshot() as tx:
            return {bytes(key): (bytes(value), n) for key, value, n, _ in tx.marks(self._channel, keys)}
