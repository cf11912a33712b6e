"""The store port in memory (hub.domain.store.Store): dictionaries, one writer, rolled back by copying.

Held against SQLite and PostgreSQL by tests/contract/test_store_contract.py, so that unit tests may trust it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hub.db.setwise import SPECS, Spec
from hub.db.tables import metadata
from hub.domain import rows as r
from hub.domain.ids import now_us
from hub.domain.store import BEHIND, ChannelStateRow, Conflict, InboundWork, Lease, LeaseLost, OutboundWork

Table = dict[tuple[Any, ...], dict[str, Any]]
_DELETE = re.compile(r"DELETE FROM (\w+) WHERE ((?:\w+ = \?(?: AND )?)+)$")
_ALERTS = re.compile(r"UPDATE alert SET cleared_at = \?")
GENERATED = ("alert", "entry", "link_history")  # tables whose ids the database gives


class FakeStore:
    """All tables as dictionaries by primary key."""

    def __init__(self, buckets: int = 1) -> None:
        self.tables: dict[str, Table] = {name: {} for name in metadata.tables}
        for name in [f"{d}:{b}" for d in ("in", "out") for b in range(buckets)]:
            self.tables["lease"][(name,)] = {"name": name, "owner": "", "token": 0, "until": 0}
        self.counters: dict[str, int] = {}
        self.clock: Callable[[], int] = now_us

    def rows(self, table: str, **where: Any) -> list[dict[str, Any]]:
        return [row for row in self.tables[table].values() if all(row[k] == v for k, v in where.items())]

    @contextmanager
    def transaction(self, *, urgent: bool = False, durable: bool = True) -> Iterator[FakeTx]:
        before = {name: {key: dict(row) for key, row in table.items()} for name, table in self.tables.items()}
        try:
            yield FakeTx(self)
        except BaseException:
            self.tables = before
            raise

    @contextmanager
    def snapshot(self) -> Iterator[FakeTx]:
        yield FakeTx(self)


class FakeTx:
    """hub.domain.store.Tx."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self.now = store.clock()

    def _table(self, name: str) -> Table:
        return self._store.tables[name]

    def _rows(self, name: str) -> list[dict[str, Any]]:
        return list(self._store.tables[name].values())

    def ids(self, name: str, count: int) -> Sequence[int]:
        first = self._store.counters.get(name, 0) + 1
        self._store.counters[name] = first + count - 1
        return range(first, first + count)

    # -- writing --------------------------------------------------------------------------------------------------

    def write(self, rows: Iterable[r.Row]) -> None:
        rows = list(rows)
        for spec in SPECS:
            for row in rows:
                if type(row) is spec.row:
                    self._write(spec, dict(zip(spec.columns, row, strict=True)))

    def _write(self, spec: Spec, values: dict[str, Any]) -> None:
        table = self._table(spec.table)
        if spec.act in ("update", "delete"):
            found = [key for key, row in table.items() if all(row[k] == values[k] for k in spec.keys)]
            for key in found:
                if spec.act == "delete":
                    del table[key]
                else:
                    table[key] |= {c: values[c] for c in spec.update}
            return
        if spec.table in GENERATED:
            values["id"] = self.ids(spec.table, 1)[0]
        key = tuple(values[c.name] for c in metadata.tables[spec.table].primary_key)
        old = table.get(key)
        if old is None:
            table[key] = values
        elif spec.act == "insert":
            raise Conflict(f"{spec.table} has this row already")
        else:
            table[key] = old | {c: values[c] for c in spec.update} | {c: old[c] + values[c] for c in spec.add}

    # -- leases ---------------------------------------------------------------------------------------------------

    def take(self, owner: str, direction: str, buckets: Sequence[int], most: int, seconds: float) -> Lease | None:
        names = {f"{direction}:{b}" for b in buckets}
        free = [x for x in self._rows("lease") if x["name"] in names and (x["until"] <= self.now or x["owner"] == owner)]
        free = sorted(free, key=lambda x: str(x["name"]))[:most]
        if not free:
            return None
        token = max(x["token"] for x in free) + 1
        for x in free:
            x |= {"owner": owner, "token": token, "until": self.now + int(seconds * 1e6)}
        return Lease(owner, tuple(x["name"] for x in free), token)

    def _held(self, lease: Lease) -> list[dict[str, Any]]:
        return [
            x for x in self._rows("lease")
            if x["name"] in lease.names and (x["owner"], x["token"]) == (lease.owner, lease.token)
        ]  # fmt: skip

    def hold(self, lease: Lease, seconds: float) -> None:
        held = self._held(lease)
        if len(held) != len(lease.names):
            raise LeaseLost("somebody else has it")
        for x in held:
            x["until"] = max(x["until"], self.now + int(seconds * 1e6))

    def release(self, lease: Lease) -> None:
        for x in self._held(lease):
            x |= {"owner": "", "until": 0}

    def owners(self) -> list[str]:
        return sorted({x["owner"] for x in self._rows("lease") if x["until"] > self.now})

    def bury(self, owner: str) -> None:
        for x in self._rows("lease"):
            if x["owner"] == owner:
                x |= {"until": 0, "token": x["token"] + 1}
                direction, bucket = x["name"].split(":")
                for w in self._rows("work"):
                    if (w["direction"], w["bucket"], w["state"]) == (direction, int(bucket), "in_flight"):
                        w["due"] = min(w["due"], self.now)

    # -- work -----------------------------------------------------------------------------------------------------

    def loaded(self, most: int) -> dict[str, int]:
        waiting = [w["direction"] for w in self._rows("work") if w["bucket"] >= BEHIND and w["state"] == "queued"]
        return {d: min(most, waiting.count(d)) for d in ("in", "out")}

    def first_loaded(self, direction: str, most: int) -> set[int]:
        buckets: dict[int, list[int]] = {}
        for w in self._rows("work"):
            if w["direction"] == direction and w["bucket"] >= BEHIND and w["state"] != "dead":
                buckets.setdefault(w["bucket"], []).append(w["message_id"])
        return {id_ for ids in buckets.values() for id_ in sorted(ids)[:most]}

    def arrived(self, since: int) -> int:
        return sum(d["at"] > since and d["sender"] != "" for d in self._rows("dedupe"))

    def arrivals(
        self, keys: Sequence[tuple[str, str, str]], count: int, *, presume: bool = False
    ) -> tuple[list[tuple[Any, ...]] | None, Sequence[int]]:
        wanted = {tuple(key) for key in keys}
        columns = ("channel", "sender", "control_id", "digest", "message_id", "code", "at")
        rows = [tuple(d[c] for c in columns) for d in self._rows("dedupe")]
        return [row for row in rows if row[:3] in wanted], self.ids("message", count)

    def _turn(self, w: Mapping[str, Any]) -> bool:
        works = self._rows("work")

        def before(lane: str) -> list[dict[str, Any]]:
            return [e for e in works if e["lane"] == lane and e["message_id"] < w["message_id"]]

        if w["barrier"] or w["due"] > self.now:
            return False
        if any(e["due"] > self.now or ((e["barrier"] or e["paired"]) and e["state"] == "queued") for e in before(w["lane"])):
            return False
        others = [b["lane"] for b in works if b["message_id"] == w["message_id"] and b["barrier"]]
        waits = [e for lane in others for e in before(lane) if not (e["state"] == "dead" and e["due"] <= self.now)]
        return not (w["paired"] and waits)

    def _due(
        self, direction: str, states: Collection[str], buckets: Sequence[int], barred: Sequence[str], limit: int, later: int
    ) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        found: list[tuple[dict[str, Any], dict[str, Any]]] = []
        wanted = [(b, limit) for b in buckets] + [(b + BEHIND, later) for b in buckets if later]
        for bucket, most in wanted:
            due = [
                w
                for w in self._rows("work")
                if (w["direction"], w["bucket"]) == (direction, bucket) and w["state"] in states and w["channel"] not in barred
                if self._turn(w)
            ]
            due.sort(key=lambda w: int(w["message_id"]))
            found += [(w, self._table("message")[w["message_id"],]) for w in due[: max(1, most // len(buckets))]]
        return found

    def due_inbound(self, buckets: Sequence[int], paused: Sequence[str], limit: int, later: int = 0) -> list[InboundWork]:
        return [
            InboundWork(
                w["message_id"], w["channel"], w["lane"], w["bucket"], w["attempts"], m["at"], m["type"], m["sender"],
                m["control_id"], m["body"], w["paired"],
            )
            for w, m in self._due("in", ("queued",), buckets, paused, limit, later)
        ]  # fmt: skip

    def due_outbound(self, buckets: Sequence[int], barred: Sequence[str], limit: int, later: int = 0) -> list[OutboundWork]:
        return [
            OutboundWork(
                w["message_id"], w["channel"], w["lane"], w["bucket"], w["attempts"], w["state"], m["type"], m["at"],
                m["change_id"], m["resource_id"],
            )
            for w, m in self._due("out", ("queued", "in_flight"), buckets, barred, limit, later)
        ]  # fmt: skip

    def ahead(self, direction: str, places: Sequence[tuple[str, int]]) -> list[tuple[int, str, int, str]]:
        return [
            (w["message_id"], w["lane"], w["bucket"], w["channel"])
            for lane, message_id in places
            for w in self._rows("work")
            if w["direction"] == direction and w["state"] in ("queued", "in_flight")
            if w["lane"] == lane and w["message_id"] < message_id
        ]

    def marks(self, channel: str, keys: Sequence[bytes]) -> list[tuple[bytes, bytes, int, int]]:
        return [
            (m["key"], m["value"], m["n"], m["at"]) for m in self._rows("mark") if m["channel"] == channel and m["key"] in keys
        ]

    def neglected(self, direction: str, buckets: int, older_than: int) -> list[int]:
        held = {x["name"] for x in self._rows("lease") if x["owner"] and x["until"] > self.now}
        waiting = {
            w["bucket"] % BEHIND for w in self._rows("work")
            if w["direction"] == direction and w["state"] in ("queued", "in_flight")
            if w["due"] <= older_than and w["at"] <= older_than and not w["barrier"]
        }  # fmt: skip
        return [b for b in range(buckets) if b in waiting and f"{direction}:{b}" not in held]

    def work_of(self, message_id: int) -> tuple[str, str, str, int, int] | None:
        for w in self._rows("work"):
            if w["message_id"] == message_id and not w["barrier"]:
                return w["direction"], w["channel"], w["state"], w["attempts"], 0
        return None

    def replay_lane_ready(self, message_id: int) -> bool:
        lanes = {w["lane"] for w in self._rows("work") if w["message_id"] == message_id and not w["barrier"]}
        return not any(e["lane"] in lanes and e["message_id"] < message_id and e["due"] > self.now for e in self._rows("work"))

    # -- canonical ------------------------------------------------------------------------------------------------

    def identifiers(self, keys: Sequence[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
        return [_identifier(x) for key in keys if (x := self._table("identifier").get(tuple(key)))]

    def identifiers_of(self, resource_ids: Sequence[str]) -> list[tuple[Any, ...]]:
        return [_identifier(x) for x in self._rows("identifier") if {x["resource_id"], x["home_id"]} & set(resource_ids)]

    def awaiting(self, keys: Sequence[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
        wanted = {tuple(key) for key in keys}
        return [key for key in self._table("awaited") if key[:3] in wanted]

    def confirm(self, versions: Mapping[str, tuple[int, str | None]], written: Collection[str]) -> None:
        for id_, (version, patient_id) in versions.items():
            x = self._table("resource").get((id_,))
            if x is None or (x["version"], x["patient_id"]) != (version, patient_id):
                raise Conflict("what this was computed from has changed meanwhile")

    def resources(self, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        return [_resource(x) for i in sorted(set(ids)) if (x := self._table("resource").get((i,)))]

    def children(self, patient_ids: Sequence[str], kinds: Sequence[str]) -> list[tuple[Any, ...]]:
        found = [x for x in self._rows("resource") if x["patient_id"] in patient_ids and x["kind"] in kinds]
        return [_resource(x) for x in sorted(found, key=lambda x: str(x["id"]))]

    def sources(self, resource_ids: Sequence[str]) -> list[tuple[Any, ...]]:
        heard = {(h["kind"], h["system"], h["key"]): h["event_at"] for h in self._rows("source_heard")}
        found = []
        for x in self._rows("source_record"):
            if x["resource_id"] in resource_ids:
                latest = max(x["event_at"], heard.get((x["kind"], x["system"], x["key"]), 0))
                found.append(tuple({**x, "event_at": latest}[c] for c in r.SourceRow._fields))
        return found

    def heard(self, keys: Sequence[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
        heard = {(h["kind"], h["system"], h["key"]): h["event_at"] for h in self._rows("source_heard")}
        found = []
        for key in keys:
            x = self._table("source_record").get(tuple(key))
            if x is not None:
                patient = self._table("resource").get((x["resource_id"],)) if key[0] == "Patient" else None
                owned = (patient["version"], patient["patient_id"]) if patient else (None, None)
                found.append((*key, x["resource_id"], x["message_id"], max(x["event_at"], heard.get(tuple(key), 0)), *owned))
        return found

    def changes(self, ids: Sequence[int]) -> list[tuple[Any, ...]]:
        return [tuple(x[c] for c in r.ChangeRow._fields) for i in ids if (x := self._table("change").get((i,)))]

    def link_keys(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Any, ...]]:
        found = (self._table("link_key").get(tuple(pair)) for pair in pairs)
        return [(x["channel"], x["resource_id"], x["peer_id"], x["etag"]) for x in found if x]

    def told(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Any, ...]]:
        asked = {tuple(pair) for pair in pairs}
        found = [x for x in self._rows("sent_field") if (x["system"], x["resource_id"]) in asked]
        return [(x["system"], x["resource_id"], x["field"], x["value"], x["at"]) for x in found]

    def at_version(self, pairs: Sequence[tuple[str, int]]) -> list[tuple[Any, ...]]:
        asked = {tuple(pair) for pair in pairs}
        found = [x for x in self._rows("change") if (x["resource_id"], x["version"]) in asked]
        return [(x["resource_id"], x["version"], x["data"]) for x in found]

    def versions(self, resource_id: str, since: int) -> list[tuple[int, str, str]]:
        found = [x for x in self._rows("change") if x["resource_id"] == resource_id and x["at"] > since]
        return [(x["at"], x["origin"], x["data"]) for x in sorted(found, key=lambda x: -x["version"])[:20]]

    # -- channels and the rest ------------------------------------------------------------------------------------

    def channel_states(self) -> list[ChannelStateRow]:
        return [ChannelStateRow(*(x[c] for c in ChannelStateRow._fields)) for x in self._rows("channel_state")]

    def set_channel_state(self, channel: str, **columns: Any) -> None:
        if not columns.keys() <= set(ChannelStateRow._fields[1:]):
            raise ValueError("no such column")
        usual = {"paused": False, "stopped": "", "breaker": "closed", "breaker_until": 0, "failures": 0}
        row = self._table("channel_state").setdefault((channel,), {"channel": channel, **usual})
        row |= columns

    def one(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        raise AssertionError("the fake knows no SQL for reading: test this on a database")

    def execute(self, sql: str, *parameters: Any) -> int:
        """What the core says in plain SQL outside retention: deletes by equality, and the clearing of alerts."""
        found = _DELETE.match(sql)
        if found:
            names = re.findall(r"(\w+) = \?", found[2])
            table = self._table(found[1])
            gone = [k for k, row in table.items() if all(row[n] == p for n, p in zip(names, parameters, strict=True))]
            for key in gone:
                del table[key]
            return len(gone)
        if _ALERTS.match(sql):
            kinds = re.findall(r"'(\w+)'", sql)
            open_ = [
                a for a in self._rows("alert") if a["channel"] == parameters[1] and a["kind"] in kinds and a["cleared_at"] is None
            ]
            for alert in open_:
                alert["cleared_at"] = parameters[0]
            return len(open_)
        raise AssertionError(f"the fake does not know: {sql}")


def _identifier(x: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(x[c] for c in ("kind", "assigner", "value", "resource_id", "home_id", "type"))


def _resource(x: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(x[c] for c in ("id", "kind", "patient_id", "patient_key", "version", "status", "sort_at", "data", "created_at"))
