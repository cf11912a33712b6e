"""Composing outbound messages: the change that a message carries, and what stands now, loaded set-wise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from hub.domain.ports import Outbound
from hub.domain.store import OutboundWork, Tx

if TYPE_CHECKING:
    from hub.sync.deliver import OutboundChannel


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


class Compose:
    """Outbound messages for claimed work, in its order."""

    def __call__(
        self, tx: Tx, claimed: Sequence[OutboundWork], channels: Mapping[str, OutboundChannel]
    ) -> Iterator[tuple[OutboundWork, Outbound]]:
        changes = {c[0]: c for c in tx.changes(sorted({w.change_id for w in claimed if w.change_id is not None}))}
        current = self._current(tx, [w for w in claimed if not channels[w.channel].as_event], changes)
        peers = self._peers(tx, [w for w in claimed if not channels[w.channel].as_event], changes)
        for work in claimed:
            change = changes[work.change_id or 0]
            yield work, self._one(work, change, channels[work.channel].as_event, current, peers)

    def _current(
        self, tx: Tx, works: Sequence[OutboundWork], changes: Mapping[int, Sequence[Any]]
    ) -> dict[str, tuple[int, dict[str, Any]]]:
        ids = {changes[w.change_id or 0][4] for w in works} | {changes[w.change_id or 0][5] for w in works}
        return {r[0]: (r[4], orjson.loads(r[7])) for r in tx.resources(sorted(i for i in ids if i))}

    def _peers(
        self, tx: Tx, works: Sequence[OutboundWork], changes: Mapping[int, Sequence[Any]]
    ) -> dict[tuple[str, str], tuple[str, str]]:
        pairs = {(w.channel, i) for w in works for i in (changes[w.change_id or 0][4], changes[w.change_id or 0][5]) if i}
        return {(channel, id_): (peer, etag) for channel, id_, peer, etag in tx.link_keys(sorted(pairs))}

    def _one(
        self,
        work: OutboundWork,
        change: Sequence[Any],
        as_event: bool,
        current: Mapping[str, tuple[int, dict[str, Any]]],
        peers: Mapping[tuple[str, str], tuple[str, str]],
    ) -> Outbound:
        _, at, type_, kind, resource_id, patient_id, version, fields, data, _, _ = change
        message = Outbound(
            message_id=work.message_id, channel=work.channel, type=type_, at=at, attempt=work.attempts + 1, kind=kind,
            resource_id=resource_id, version=version, resource={}, changed=[], patient_id=patient_id or "", patient={},
        )  # fmt: skip
        if as_event:
            message.event = event_body(type_, at, event_data(change))
            return message
        message.version, message.resource = current.get(resource_id) or (version, orjson.loads(data))
        message.changed = orjson.loads(fields)
        message.patient = current.get(patient_id, (0, {}))[1] if patient_id else {}
        message.peer_id, message.peer_etag = peers.get((work.channel, resource_id), (None, None))
        message.patient_peer_id = peers.get((work.channel, patient_id or ""), (None, None))[0]
        return message
