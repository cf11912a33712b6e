"""Composing outbound messages: the change that a message carries, and what stands now, loaded set-wise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from hub.domain.ports import Keys, Outbound
from hub.domain.store import OutboundWork, Tx
from hub.sync import passing
from hub.sync.results import counted

if TYPE_CHECKING:
    from hub.sync.crews import OutboundChannel


def event_body(type_: str, at: int, data: dict[str, Any]) -> dict[str, Any]:
    """A Standard Webhooks body."""
    stamp = datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"type": type_, "timestamp": stamp, "data": data}


def event_data(change: Sequence[Any]) -> dict[str, Any]:
    """`data` of an event, from a change row (hub.domain.store.Tx.changes): the whole resource and what changed in it.

    The document goes in as the JSON that it is stored as (orjson.Fragment), neither read nor written anew.
    """
    change_id, _, _, kind, resource_id, patient_id, version, fields, data, message_id, origin = change
    return {
        "id": resource_id, "kind": kind, "patientId": patient_id, "version": version, "changed": orjson.loads(fields),
        "change": change_id, "cause": message_id, "origin": origin, "resource": orjson.Fragment(data),
    }  # fmt: skip


class Now(NamedTuple):
    """A resource as it stands."""

    kind: str
    patient_id: str | None
    version: int
    document: dict[str, Any]


class Past(NamedTuple):
    """What those were told before whose message names slots of a list."""

    said: dict[tuple[str, str], dict[str, Any]]  # (system, resource id) -> field -> value
    documents: dict[tuple[str, int], dict[str, Any]]  # (resource id, version)


class Compose:
    """Outbound messages for claimed work, in its order."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def __call__(
        self, tx: Tx, claimed: Sequence[OutboundWork], channels: Mapping[str, OutboundChannel]
    ) -> Iterator[tuple[OutboundWork, Outbound]]:
        changes = {c[0]: c for c in tx.changes(sorted({w.change_id for w in claimed if w.change_id is not None}))}
        stateful = [w for w in claimed if w.change_id is not None and not channels[w.channel].as_event]
        passed = passing.stored(tx, claimed)
        current = self._current(tx, {changes[w.change_id or 0][4] for w in stateful})
        pairs = {(w.channel, i) for w in stateful for i in _pair(changes[w.change_id or 0], current) if i}
        peers = {(channel, id_): (peer, etag) for channel, id_, peer, etag in tx.link_keys(sorted(pairs))}
        past = _past(tx, [(channels[w.channel].system, changes[w.change_id or 0]) for w in stateful])
        for work in claimed:
            if work.change_id is None:
                yield work, passing.outbound(self._keys, work, passed.get(work.message_id))
                continue
            change = changes[work.change_id]
            message = self._one(work, change, channels[work.channel].as_event, current, peers)
            message.said = past.said.get((channels[work.channel].system, change[4]), {})
            message.before = past.documents.get((change[4], change[6] - 1), {})
            yield work, message

    def _current(self, tx: Tx, ids: set[str]) -> dict[str, Now]:
        """These resources and the patients that they belong to now, survivors of merges included."""
        found: dict[str, Now] = {}
        while ids:
            rows = {r[0]: Now(r[1], r[2], r[4], orjson.loads(r[7])) for r in tx.resources(sorted(ids))}
            found |= rows
            ids = {i for now in rows.values() for i in (now.patient_id, now.document.get("replacedBy")) if i} - found.keys()
        return found

    def _one(
        self,
        work: OutboundWork,
        change: Sequence[Any],
        as_event: bool,
        current: Mapping[str, Now],
        peers: Mapping[tuple[str, str], tuple[str, str]],
    ) -> Outbound:
        _, at, type_, kind, resource_id, patient_id, version, fields, data, _, _ = change
        message = Outbound(
            message_id=work.message_id, channel=work.channel, type=type_, at=at, attempt=counted(work) + 1, kind=kind,
            resource_id=resource_id, version=version, resource={}, changed=[], patient_id=patient_id or "", patient={},
        )  # fmt: skip
        if as_event:
            message.event = event_body(type_, at, event_data(change))
            return message
        now, owner = current.get(resource_id), _owner(resource_id, current)
        message.version, message.resource = (now.version, now.document) if now else (version, orjson.loads(data))
        message.changed = _without_wholes(orjson.loads(fields))
        message.patient_id = owner or message.patient_id
        message.patient = current[owner].document if owner else {}
        message.peer_id, message.peer_etag = peers.get((work.channel, resource_id), (None, None))
        message.patient_peer_id = peers.get((work.channel, owner or ""), (None, None))[0]
        return message


def _past(tx: Tx, pairs: Sequence[tuple[str, Sequence[Any]]]) -> Past:
    """Of changes that name slots of a list, and of a system: what it was last sent, and the document before the change."""
    slotted = [(system, change) for system, change in pairs if any("." in name for name in orjson.loads(change[7]))]
    said: dict[tuple[str, str], dict[str, Any]] = {}
    for system, id_, name, value, _ in tx.told(sorted({(system, change[4]) for system, change in slotted})):
        said.setdefault((system, id_), {})[name] = orjson.loads(value)
    kept = tx.at_version(sorted({(change[4], change[6] - 1) for _, change in slotted}))
    return Past(said, {(id_, version): orjson.loads(data) for id_, version, data in kept})


def _owner(resource_id: str, current: Mapping[str, Now]) -> str | None:
    """Whose it is now: the survivor where that patient was merged (for a merged Patient itself, too)."""
    now, seen = current.get(resource_id), set[str]()
    owner = resource_id if now is not None and now.kind == "Patient" else now.patient_id if now else None
    while owner is not None and owner in current and owner not in seen:
        seen.add(owner)
        survivor = current[owner].document.get("replacedBy")
        if survivor not in current:
            return owner
        owner = survivor
    return None


def _pair(change: Sequence[Any], current: Mapping[str, Now]) -> tuple[str, str | None]:
    return change[4], _owner(change[4], current)


def _without_wholes(fields: Sequence[str]) -> list[str]:
    """`telecom.mobile` says more than the `telecom` beside it."""
    heads = {name.partition(".")[0] for name in fields if "." in name}
    return [name for name in fields if name not in heads]
