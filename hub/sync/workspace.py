"""The workspace of one transaction: canonical records loaded by sets of keys, changed in memory, written back as rows.

Loading is set-wise (three statements a batch, whatever its size): identifiers, then the resources they point to, locked
in key order, then every source record of these. Whatever a batch touches is read once and written once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from hub.domain.errors import TryAgain, Unmappable
from hub.domain.facts import Key
from hub.domain.model import LISTED, OWNED, REFERENCES
from hub.domain.rows import (
    AwaitedGone,
    AwaitedRow,
    IdentifierNew,
    IdentifierRow,
    ResourceRow,
    Row,
    SourceRow,
    SourceTouched,
    TermRow,
    TermsGone,
)
from hub.domain.search import terms
from hub.domain.store import Tx

NAMED = frozenset(REFERENCES.values())  # kinds that others name by a number


@dataclass(slots=True)
class Source:
    """What one system says of one thing."""

    kind: str
    system: str
    key: str
    resource_id: str
    patient_key: str | None
    data: dict[str, Any]
    lineage_text: str  # JSON, read only where it is needed: most messages change nothing of it
    event_at: int
    message_id: int | None
    channel: str
    dirty: bool = False
    touched: bool = False
    _lineage: dict[str, list[Any]] | None = None

    @property
    def lineage(self) -> dict[str, list[Any]]:
        """field -> [path, message id, map version, changed at µs]."""
        if self._lineage is None:
            self._lineage = orjson.loads(self.lineage_text)
        return self._lineage

    def row(self) -> SourceRow:
        lineage = self.lineage_text if self._lineage is None else _json(self._lineage)
        return SourceRow(
            self.kind, self.system, self.key, self.resource_id, self.patient_key, _json(self.data), lineage, self.event_at,
            self.message_id, self.channel,
        )  # fmt: skip


@dataclass(slots=True)
class Resource:
    """A canonical resource."""

    id: str
    kind: str
    patient_id: str | None
    patient_key: str | None
    version: int
    status: str
    sort_at: int
    data: dict[str, Any]
    created_at: int
    before: dict[str, Any] | None = None  # as loaded, once it was changed; None: not changed in this transaction
    new: bool = False
    moved: bool = False  # owner or status changed, though the document did not
    other_owner: str | None = None  # whose lane its events wait for too: who had it before, or whom it was merged into
    loaded: tuple[int, str | None] = (0, None)  # version and owner as read: what a later write rests on
    text: str = ""  # the document as it is written, once it is known


@dataclass(slots=True)
class Pointer:
    """An identifier: which resource it stands for now, and where it was first given (its home)."""

    resource_id: str
    home_id: str
    type: str
    new: bool = False
    dirty: bool = False


@dataclass(slots=True)
class Workspace:
    """All that a transaction has loaded and made.

    `stood`: patients of whom nothing need be loaded but who stands behind a number: id, version and owner.
    """

    tx: Tx
    pointers: dict[tuple[str, str, str], Pointer] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    by_resource: dict[str, list[Source]] = field(default_factory=dict)
    sources: dict[tuple[str, str, str], Source] = field(default_factory=dict)
    stood: dict[Key, tuple[str, tuple[int, str | None]]] = field(default_factory=dict)
    awaited: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)  # number -> who names it, and nothing is there
    _waits: list[AwaitedRow] = field(default_factory=list)
    _met: set[tuple[str, str, str]] = field(default_factory=set)  # awaited no more
    _asked: set[tuple[str, str, str]] = field(default_factory=set)
    _sourced: set[str] = field(default_factory=set)  # resources whose source records are loaded
    _children: dict[str, list[Resource]] = field(default_factory=dict)
    _grown: set[tuple[str, tuple[str, ...]]] = field(default_factory=set)  # whose children of which kinds are loaded

    # -- loading --------------------------------------------------------------------------------------------------

    def load_keys(self, keys: Iterable[tuple[str, str, str]]) -> None:
        """Loads what these (kind, assigner, value) point to, with all its source records."""
        fresh = [k for k in dict.fromkeys(keys) if k not in self._asked]
        self._asked.update(fresh)
        ids = []
        for kind, assigner, value, resource_id, home_id, type_ in self.tx.identifiers(fresh):
            self.pointers[kind, assigner, value] = Pointer(resource_id, home_id, type_)
            ids.append(resource_id)
        ids += self._load_awaiting([k for k in fresh if k[0] in NAMED and k not in self.pointers])
        self.load_resources(ids)
        away = [k for k in fresh if k in self.pointers and self.pointers[k].resource_id != self.pointers[k].home_id]
        if away and any(self.pointers[r[0], r[1], r[2]].resource_id != r[3] for r in self.tx.identifiers(away)):
            raise TryAgain("a merge was taken back at the same time")

    def _load_awaiting(self, keys: Sequence[tuple[str, str, str]]) -> list[str]:
        """Who has been waiting for numbers that are new."""
        rows = self.tx.awaiting(keys) if keys else []
        for kind, assigner, value, resource_id in rows:
            self.awaited.setdefault((kind, assigner, value), []).append(resource_id)
        return [row[3] for row in rows]

    def load_resources(self, ids: Iterable[str]) -> None:
        """Loads and locks these resources and their source records."""
        wanted = sorted(set(ids))
        fresh = [i for i in wanted if i not in self.resources]
        if fresh:
            for row in self.tx.resources(fresh):
                self._add(row)
        self._load_sources([i for i in wanted if i not in self._sourced and not self._is_new(i)])
        self._load_homes(fresh)
        if fresh:
            self._followed_a_merge(fresh)

    def _load_sources(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        self._sourced.update(ids)
        for kind, system, key, resource_id, patient_key, data, lineage, event_at, message_id, channel in self.tx.sources(ids):
            source = Source(
                kind, system, key, resource_id, patient_key, orjson.loads(data), lineage, event_at, message_id, channel
            )
            self.sources[kind, system, key] = source
            self.by_resource.setdefault(resource_id, []).append(source)

    def _load_homes(self, ids: Sequence[str]) -> None:
        """Where several speak for a thing, who of them is at home decides: their numbers are loaded too."""
        keys: list[tuple[str, str, str]] = []
        for id_ in ids:
            resource = self.resources.get(id_)
            sources = self.sources_of(id_, resource.kind) if resource is not None else []
            if len(sources) > 1:
                keys += [(s.kind, *s.key.partition("|")[::2]) for s in sources]
        fresh = [k for k in dict.fromkeys(keys) if k not in self._asked]
        if fresh:
            self._asked.update(fresh)
            for kind, assigner, value, resource_id, home_id, type_ in self.tx.identifiers(fresh):
                self.pointers[kind, assigner, value] = Pointer(resource_id, home_id, type_)

    def _followed_a_merge(self, ids: Sequence[str]) -> None:
        """A merge that committed between reading a pointer and locking what it pointed to: read again."""
        for key, pointer in self.pointers.items():
            if pointer.resource_id in ids and not pointer.dirty:
                resource = self.resources.get(pointer.resource_id)
                if resource is not None and resource.status == "merged" and key[0] == resource.kind:
                    raise TryAgain("a merge was applied at the same time")

    def _add(self, row: Sequence[Any]) -> Resource:
        id_, kind, patient_id, patient_key, version, status, sort_at, data, created_at = row
        known = self.resources.get(id_)
        if known is not None:
            return known
        resource = Resource(id_, kind, patient_id, patient_key, version, status, sort_at, orjson.loads(data), created_at)
        resource.loaded = (version, patient_id)
        self.resources[id_] = resource
        return resource

    def load_pointers_of(self, resource_ids: Iterable[str]) -> None:
        """Every identifier that points to, or is at home with, these resources."""
        for kind, assigner, value, resource_id, home_id, type_ in self.tx.identifiers_of(list(resource_ids)):
            key = (kind, assigner, value)
            self._asked.add(key)
            self.pointers.setdefault(key, Pointer(resource_id, home_id, type_))

    def children(self, patient_id: str, kinds: Sequence[str]) -> list[Resource]:
        """What belongs to a patient, of these kinds; loaded on demand because most messages do not need it.

        A list of his is compared without what else happened with him, which may be thousands of results.
        """
        owned = self._children.get(patient_id)
        if owned is None:
            owned = [r for r in self.resources.values() if r.patient_id == patient_id and r.id != patient_id]
            self._children[patient_id] = owned
        group = LISTED if set(kinds) <= set(LISTED) else OWNED
        if (patient_id, group) not in self._grown:
            self._grown.add((patient_id, group))
            if not self._is_new(patient_id):
                known = {r.id for r in owned}
                loaded = [self._add(row) for row in self.tx.children([patient_id], group)]
                owned += [r for r in loaded if r.id not in known and r.patient_id == patient_id]
        return [r for r in owned if r.kind in kinds and r.patient_id == patient_id]

    def _is_new(self, resource_id: str) -> bool:
        resource = self.resources.get(resource_id)
        return resource is not None and resource.new

    # -- changing -------------------------------------------------------------------------------------------------

    def find(self, kind: str, key: Key) -> Resource | None:
        pointer = self.pointers.get((kind, key.assigner, key.value))
        return self.resources.get(pointer.resource_id) if pointer else None

    def point(self, kind: str, key: Key, resource_id: str, *, type_: str = "", home: str | None = None) -> None:
        """The identifier stands for this resource from now on."""
        full = (kind, key.assigner, key.value)
        pointer = self.pointers.get(full)
        if pointer is None:
            self.pointers[full] = Pointer(resource_id, home or resource_id, type_, new=True)
        elif pointer.resource_id != resource_id:
            pointer.resource_id, pointer.dirty = resource_id, True

    def wait(self, kind: str, key: Key, resource_id: str) -> None:
        """The resource names a thing by this number: if it was looked up and nothing is known under it, it is remembered."""
        full = (kind, key.assigner, key.value)
        if full in self.pointers or full not in self._asked:
            return
        waiting = self.awaited.setdefault(full, [])
        if resource_id not in waiting:
            waiting.append(resource_id)
            self._waits.append(AwaitedRow(kind, key.assigner, key.value, resource_id))

    def met(self) -> list[Resource]:
        """Those who waited for a number that is known now; each once."""
        found: dict[str, Resource] = {}
        for full in [full for full in self.awaited if full in self.pointers]:
            found |= {id_: self.resources[id_] for id_ in self.awaited.pop(full) if id_ in self.resources}
            self._met.add(full)
        return list(found.values())

    def add(self, resource: Resource) -> Resource:
        self.resources[resource.id] = resource
        if resource.patient_id in self._children and resource.patient_id != resource.id:
            self._children[resource.patient_id].append(resource)
        return resource

    def owned_by(self, child: Resource, patient_id: str) -> None:
        """The child goes to another patient."""
        if child.other_owner is None and child.patient_id != patient_id:
            child.other_owner = child.patient_id
        child.patient_id, child.moved = patient_id, True
        if patient_id in self._children:
            self._children[patient_id].append(child)

    def keep(self, source: Source) -> None:
        self.sources[source.kind, source.system, source.key] = source
        self.by_resource.setdefault(source.resource_id, []).append(source)

    def repoint_source(self, source: Source, resource_id: str) -> None:
        self.by_resource[source.resource_id].remove(source)
        source.resource_id, source.dirty = resource_id, True
        self.by_resource.setdefault(resource_id, []).append(source)

    def sources_of(self, resource_id: str, kind: str) -> list[Source]:
        return [s for s in self.by_resource.get(resource_id, ()) if s.kind == kind]

    # -- writing --------------------------------------------------------------------------------------------------

    def versions(self) -> tuple[dict[str, tuple[int, str | None]], list[str]]:
        """Version and owner that each loaded resource had, and which of them are written anew."""
        loaded = dict(self.stood.values()) | {r.id: r.loaded for r in self.resources.values() if not r.new}
        return loaded, [r.id for r in self.resources.values() if not r.new and (r.moved or r.before is not None)]

    def rows(self, now: int) -> list[Row]:
        """Everything that changed, as rows. Call once, at the end."""
        rows: list[Row] = []
        for r in self.resources.values():
            if not (r.new or r.moved or r.before is not None):
                continue
            r.text = _json(r.data)
            rows.append(
                ResourceRow(r.id, r.kind, r.patient_id, r.patient_key, r.version, r.status, r.sort_at, r.text, r.created_at, now)
            )
            if r.kind == "Patient":
                rows += self._terms(r)
        for (kind, assigner, value), p in self.pointers.items():
            if p.new:
                rows.append(IdentifierNew(kind, assigner, value, p.resource_id, p.home_id, p.type))
            elif p.dirty:
                rows.append(IdentifierRow(kind, assigner, value, p.resource_id, p.home_id, p.type))
        rows += [AwaitedGone(*full) for full in sorted(self._met)]
        rows += [wait for wait in self._waits if wait[:3] not in self._met]
        for source in self.sources.values():
            if source.dirty:
                rows.append(source.row())
            elif source.touched:
                rows.append(SourceTouched(source.kind, source.system, source.key, source.event_at))
        return rows

    def _terms(self, patient: Resource) -> list[Row]:
        """A merged patient is found by its survivor only."""
        new = set(terms(patient.data)) if patient.status == "active" else set()
        if patient.before is not None and not patient.moved and not patient.new and new == set(terms(patient.before)):
            return []
        found: list[Row] = [] if patient.new else [TermsGone(patient.id)]
        found += [TermRow(kind, value, patient.id) for kind, value in sorted(new)]
        return found


_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def _json(value: Any) -> str:
    """The text to store. Raises Unmappable for what no database text can hold: NUL, and halves of surrogate pairs."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        raise Unmappable("a value holds half of a surrogate pair, which is no character") from None
    if "\\u0000" in text and _NUL.search(text):
        raise Unmappable("a value holds NUL, which the store cannot keep")
    return text
