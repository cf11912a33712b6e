"""The core's store on SQLite and PostgreSQL: one SQL text for both, sets of keys as one JSON parameter."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import URL

from hub.db.engine import WriteTurn, write_turn
from hub.db.hot import BUSY_LOG, LONG_LOG, Hot, SqliteHot, group, keys_json
from hub.db.postgres import NEXT_IDS, PostgresHot
from hub.domain.rows import Row
from hub.domain.store import BEHIND, ChannelStateRow, Conflict, InboundWork, Lease, LeaseLost, OutboundWork

# A set of keys: json_each and jsonb_array_elements both give a column `value` (json_array_elements costs half as much again).
KEYS = {"sqlite": "json_each(?) AS k", "postgresql": "jsonb_array_elements(?::jsonb) AS k(value)"}
LOCK = {"sqlite": "", "postgresql": "FOR UPDATE"}
RESTART_SECONDS = 5.0
PASSES, SHORT_PASS = 4, 0.01  # seconds: what is written in so short a time is soon moved
CROSS = {"sqlite": "CROSS JOIN", "postgresql": "JOIN"}  # SQLite: CROSS JOIN keeps the keys as the outer loop

# Whose turn it is in a lane: nothing earlier in it is waiting for its time, in flight, with a person, or still has to wait
# for another lane (a message in two lanes holds both back); and of a message in two lanes, nothing earlier is left in the
# other one. What died on a channel that skips its dead (due is over) holds nobody back.
_TURN = """
    w.state IN ({states}) AND w.due <= ? AND NOT w.barrier
    AND NOT EXISTS (SELECT 1 FROM work e WHERE e.lane = w.lane AND e.message_id < w.message_id
        AND (e.due > ? OR ((e.barrier OR e.paired) AND e.state = 'queued')))
    AND (NOT w.paired OR NOT EXISTS (
        SELECT 1 FROM work b JOIN work e ON e.lane = b.lane AND e.message_id < b.message_id
        WHERE b.message_id = w.message_id AND b.barrier AND NOT (e.state = 'dead' AND e.due <= ?)))
"""
_RESOURCE = "r.id, r.kind, r.patient_id, r.patient_key, r.version, r.status, r.sort_at, r.data, r.created_at"
_IDENTIFIER = "i.kind, i.assigner, i.value, i.resource_id, i.home_id, i.type"
_CHANNEL_COLUMNS = frozenset({"paused", "stopped", "breaker", "breaker_until", "failures"})


class SqlTx:
    """One open transaction (hub.domain.store.Tx)."""

    def __init__(self, hot: Hot, *, reading: bool = False) -> None:
        self._hot = hot
        self._lock = "" if reading or hot.dialect == "sqlite" else "FOR {} OF r"
        self._keys = KEYS[hot.dialect]
        self._cross = CROSS[hot.dialect]

    @property
    def now(self) -> int:
        return self._hot.now()

    def _set(self, sql: str, keys: Sequence[Any], *more: Any) -> list[tuple[Any, ...]]:
        """Runs `sql`, whose {keys} is the set of keys and {cross} how to join with it."""
        if not keys:
            return []
        return self._hot.query(
            sql.format(keys=self._keys, cross=self._cross, lock=LOCK[self._hot.dialect]), (keys_json(keys), *more)
        )

    def ids(self, name: str, count: int) -> Sequence[int]:
        return self._ids(self._hot.query(*self._next_ids(name, count)), count) if count else ()

    def _next_ids(self, name: str, count: int) -> tuple[str, Sequence[Any]]:
        if self._hot.dialect == "sqlite":
            return "UPDATE counter SET n = n + ? WHERE name = ? RETURNING n", (count, name)
        return NEXT_IDS.format(name), (count,)

    def _ids(self, rows: Sequence[tuple[Any, ...]], count: int) -> Sequence[int]:
        """SQLite tells the last of them, PostgreSQL each: others may have taken some between."""
        return range(rows[0][0] - count + 1, rows[0][0] + 1) if self._hot.dialect == "sqlite" else sorted(row[0] for row in rows)

    def write(self, rows: Iterable[Row]) -> None:
        self._hot.write(group(rows))

    # -- leases ---------------------------------------------------------------------------------------------------

    def take(self, owner: str, direction: str, buckets: Sequence[int], most: int, seconds: float) -> Lease | None:
        skip = "" if self._hot.dialect == "sqlite" else "FOR UPDATE OF l SKIP LOCKED"
        free = self._set(
            "SELECT l.name, l.token, l.owner FROM {keys} {cross} lease l ON l.name = k.value->>0"
            f" WHERE l.until <= ? OR l.owner = ? ORDER BY l.name LIMIT ? {skip}",
            [[f"{direction}:{b}"] for b in buckets], self.now, owner, most,
        )  # fmt: skip
        if not free:
            return None
        token = max(int(row[1]) for row in free) + 1
        mine = tuple(row[0] for row in free)
        self._lease(mine, "owner = ?, token = ?, until = ?", owner, token, self.now + int(seconds * 1e6))
        orphaned = [row[0] for row in free if row[2] not in ("", owner)]
        self._lost(orphaned)
        return Lease(owner, mine, token, bool(orphaned))

    def _lost(self, names: Sequence[str]) -> None:
        """What a holder had on its way that did not give its lease back: due now, and known to be of unknown outcome."""
        for direction, bucket in (name.split(":") for name in names):
            self._hot.execute(
                "UPDATE work SET due = ? WHERE direction = ? AND bucket IN (?, ?) AND state = 'in_flight' AND due > ?",
                (self.now, direction, int(bucket), int(bucket) + BEHIND, self.now),
            )

    def _lease(self, names: Sequence[str], sets: str, *values: Any, where: str = "", more: Sequence[Any] = ()) -> int:
        """How many of these leases were updated."""
        marks = ", ".join("?" * len(names))
        return self._hot.execute(f"UPDATE lease SET {sets} WHERE name IN ({marks}){where}", (*values, *names, *more))

    def hold(self, lease: Lease, seconds: float) -> None:
        """Written only when half of its time is over, so that an idle worker writes next to nothing."""
        share = "" if self._hot.dialect == "sqlite" else "FOR SHARE"
        marks = ", ".join("?" * len(lease.names))
        rows = self._hot.query(
            f"SELECT until FROM lease WHERE name IN ({marks}) AND token = ? AND owner = ? {share}",
            (*lease.names, lease.token, lease.owner),
        )
        if len(rows) != len(lease.names):
            raise LeaseLost(f"{lease.owner} no longer holds {len(lease.names) - len(rows)} of its buckets")
        if min(row[0] for row in rows) - self.now < seconds * 5e5:
            self._lease(lease.names, "until = ?", self.now + int(seconds * 1e6))

    def release(self, lease: Lease, *, clean: bool = True) -> None:
        sets = "until = 0, owner = ''" if clean else "until = 0"
        self._lease(lease.names, sets, where=" AND token = ? AND owner = ?", more=(lease.token, lease.owner))

    def owners(self) -> list[str]:
        return [row[0] for row in self._hot.query("SELECT DISTINCT owner FROM lease WHERE until > ? ORDER BY owner", (self.now,))]

    def bury(self, owner: str) -> None:
        lock = LOCK[self._hot.dialect]
        names = [row[0] for row in self._hot.query(f"SELECT name FROM lease WHERE owner = ? ORDER BY name {lock}", (owner,))]
        if names:
            # The name stays, so that who takes it next knows that its holder died; the token grows, in case it did not.
            self._lease(names, "until = 0, token = token + 1")
        self._lost(names)

    # -- intake ---------------------------------------------------------------------------------------------------

    def arrivals(
        self, keys: Sequence[tuple[str, str, str]], count: int, *, presume: bool = False
    ) -> tuple[list[tuple[Any, ...]] | None, Sequence[int]]:
        source = (
            f"{self._keys} {self._cross} dedupe d"
            " ON d.channel = k.value->>0 AND d.sender = k.value->>1 AND d.control_id = k.value->>2"
        )
        if presume and isinstance(self._hot, PostgresHot):
            ids = self._hot.presume(f"SELECT 1 FROM {source}", (keys_json(keys),), "message", count)
            if ids is not None:
                return None, ids
        known = f"SELECT d.channel, d.sender, d.control_id, d.digest, d.message_id, d.code, d.at FROM {source}"
        rows, fresh = self._hot.ask([(known, (keys_json(keys),)), self._next_ids("message", count)])
        return rows, self._ids(fresh, count)

    # -- work -----------------------------------------------------------------------------------------------------

    def due_inbound(self, buckets: Sequence[int], paused: Sequence[str], limit: int, later: int = 0) -> list[InboundWork]:
        columns = "w.message_id, w.channel, w.lane, w.bucket, w.attempts, m.at, m.type, m.sender, m.control_id, m.body, w.paired"
        return [InboundWork(*row) for row in self._due("in", "'queued'", columns, buckets, paused, limit, later)]

    def due_outbound(self, buckets: Sequence[int], barred: Sequence[str], limit: int, later: int = 0) -> list[OutboundWork]:
        columns = "w.message_id, w.channel, w.lane, w.bucket, w.attempts, w.state, m.type, m.at, m.change_id, m.resource_id"
        return [OutboundWork(*row) for row in self._due("out", "'queued', 'in_flight'", columns, buckets, barred, limit, later)]

    def _due(
        self, direction: str, states: str, columns: str, buckets: Sequence[int], barred: Sequence[str], limit: int, later: int
    ) -> list[tuple[Any, ...]]:
        """The first of each bucket, by its index; on PostgreSQL all buckets in one round trip."""
        turn = _TURN.format(states=states) + self._barred(barred)
        one = (
            f"SELECT {columns} FROM work w JOIN message m ON m.id = w.message_id WHERE w.direction = '{direction}'"
            f" AND w.bucket = {{bucket}} AND {turn} ORDER BY w.message_id LIMIT ?"
        )
        more = (self.now, self.now, self.now, *([keys_json(list(barred))] if barred else []))
        wanted = [(b, max(1, limit // len(buckets))) for b in buckets]
        if later:
            wanted += [(b + BEHIND, max(1, later // len(buckets))) for b in buckets]
        if self._hot.dialect == "postgresql":
            one = one.removesuffix("?") + "CAST(k.value->>1 AS INTEGER)"
            lateral = f"CROSS JOIN LATERAL ({one.format(bucket='CAST(k.value->>0 AS INTEGER)')}) d"
            return self._hot.query(f"SELECT d.* FROM {self._keys} {lateral}", (keys_json(wanted), *more))
        return [row for b, most in wanted for row in self._hot.query(one.format(bucket="?"), (b, *more, most))]

    def _barred(self, channels: Sequence[str]) -> str:
        if not channels:
            return ""
        select = "SELECT value FROM json_each(?)" if self._hot.dialect == "sqlite" else "SELECT json_array_elements_text(?::json)"
        return f" AND w.channel NOT IN ({select})"

    def loaded(self, most: int) -> dict[str, int]:
        one = (
            "SELECT '{0}', (SELECT count(*) FROM (SELECT 1 FROM work WHERE direction = '{0}' AND bucket >= ? AND state = 'queued'"
            " LIMIT ?) AS w)"
        )
        sql = " UNION ALL ".join(one.format(direction) for direction in ("in", "out"))
        return {row[0]: int(row[1]) for row in self._hot.query(sql, (BEHIND, most) * 2)}

    def first_loaded(self, direction: str, most: int) -> set[int]:
        waits = "FROM work WHERE direction = ? AND state <> 'dead' AND bucket"
        sql = (
            f"SELECT bucket, message_id {waits} = (SELECT bucket {waits} > ? ORDER BY bucket LIMIT 1) ORDER BY message_id LIMIT ?"
        )
        found, bucket = set[int](), BEHIND - 1
        while rows := self._hot.query(sql, (direction, direction, bucket, most)):
            bucket = rows[0][0]
            found |= {row[1] for row in rows}
        return found

    def arrived(self, since: int) -> int:
        return int(self._hot.query("SELECT count(*) FROM dedupe WHERE at > ? AND sender <> ''", (since,))[0][0])

    def ahead(self, direction: str, places: Sequence[tuple[str, int]]) -> list[tuple[Any, ...]]:
        return self._set(
            "SELECT w.message_id, w.lane, w.bucket, w.channel FROM {keys} {cross} work w"
            " ON w.lane = k.value->>0 AND w.message_id < CAST(k.value->>1 AS BIGINT)"
            " WHERE w.direction = ? AND w.state IN ('queued', 'in_flight')",
            places, direction,
        )  # fmt: skip

    def neglected(self, direction: str, buckets: int, older_than: int) -> list[int]:
        free = {row[0] for row in self._hot.query("SELECT name FROM lease WHERE until <= ? OR owner = ''", (self.now,))}
        return [
            b
            for b in range(buckets)
            if f"{direction}:{b}" in free
            and self._hot.query(
                "SELECT 1 FROM work w WHERE w.direction = ? AND w.bucket IN (?, ?) AND w.state IN ('queued', 'in_flight')"
                " AND w.due <= ? AND w.at <= ? AND NOT w.barrier LIMIT 1",
                (direction, b, b + BEHIND, older_than, older_than),
            )
        ]

    def work_of(self, message_id: int) -> tuple[str, str, str, int, int] | None:
        rows = self._hot.query(
            "SELECT w.direction, w.channel, w.state, w.attempts, 0 FROM work w WHERE w.message_id = ? AND NOT w.barrier"
            + (" FOR UPDATE" if self._hot.dialect == "postgresql" else ""),
            (message_id,),
        )
        return rows[0] if rows else None

    def replay_lane_ready(self, message_id: int) -> bool:
        return not self._hot.query(
            "SELECT 1 FROM work w JOIN work e ON e.lane = w.lane AND e.message_id < w.message_id AND e.due > ?"
            " WHERE w.message_id = ? AND NOT w.barrier LIMIT 1",
            (self.now, message_id),
        )

    # -- canonical ------------------------------------------------------------------------------------------------

    def identifiers(self, keys: Sequence[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
        return self._set(
            f"SELECT {_IDENTIFIER} FROM {{keys}} {{cross}} identifier i"
            " ON i.kind = k.value->>0 AND i.assigner = k.value->>1 AND i.value = k.value->>2",
            keys,
        )

    def identifiers_of(self, resource_ids: Sequence[str]) -> list[tuple[Any, ...]]:
        pairs = [[i] for i in resource_ids]
        return self._set(
            f"SELECT {_IDENTIFIER} FROM {{keys}} {{cross}} identifier i ON i.resource_id = k.value->>0"
            f" UNION SELECT {_IDENTIFIER} FROM {{keys}} {{cross}} identifier i ON i.home_id = k.value->>0"
            " AND i.home_id <> i.resource_id",  # the others are found already; as the index says it
            pairs, keys_json(pairs),
        )  # fmt: skip

    def awaiting(self, keys: Sequence[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
        return self._set(
            "SELECT a.kind, a.assigner, a.value, a.resource_id FROM {keys} {cross} awaited a"
            " ON a.kind = k.value->>0 AND a.assigner = k.value->>1 AND a.value = k.value->>2",
            keys,
        )

    def resources(self, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        return self._set(
            f"SELECT {_RESOURCE} FROM {{keys}} {{cross}} resource r ON r.id = k.value->>0 ORDER BY r.id"
            f" {self._lock.format('UPDATE')}",
            [[i] for i in sorted(ids)],
        )

    def marks(self, channel: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """On PostgreSQL the keys are one parameter: with hundreds of them each statement would be planned anew."""
        what = "SELECT r.key, r.value, r.n, r.at FROM mark r WHERE r.channel = ? AND r.key"
        if self._hot.dialect == "postgresql":
            array = "{" + ",".join(f'"\\\\x{key.hex()}"' for key in keys) + "}"
            lock = f" ORDER BY r.key {self._lock.format('UPDATE')}" if self._lock else ""
            return self._hot.query(f"{what} = ANY(?::bytea[]){lock}", (channel, array))
        return self._hot.query(f"{what} IN ({', '.join('?' * len(keys))})", (channel, *keys))

    def confirm(self, versions: Mapping[str, tuple[int, str | None]], written: Collection[str]) -> None:
        for lock, ids in (("UPDATE", written), ("SHARE", versions.keys() - set(written))):
            rows = self._set(
                "SELECT r.id, r.version, r.patient_id FROM {keys} {cross} resource r ON r.id = k.value->>0 ORDER BY r.id"
                f" {self._lock.format(lock)}",
                [[i] for i in sorted(ids)],
            )
            found = {row[0]: (row[1], row[2]) for row in rows}
            if any(found.get(i) != versions[i] for i in ids):
                raise Conflict("what this was computed from has changed meanwhile")

    def children(self, patient_ids: Sequence[str], kinds: Sequence[str]) -> list[tuple[Any, ...]]:
        marks = ", ".join("?" * len(kinds))
        return self._set(
            f"SELECT {_RESOURCE} FROM {{keys}} {{cross}} resource r ON r.patient_id = k.value->>0"
            f" WHERE r.kind IN ({marks}) ORDER BY r.id {self._lock.format('UPDATE')}",
            [[i] for i in patient_ids], *kinds,
        )  # fmt: skip

    def sources(self, resource_ids: Sequence[str]) -> list[tuple[Any, ...]]:
        heard = "CASE WHEN h.event_at > s.event_at THEN h.event_at ELSE s.event_at END"
        return self._set(
            f"SELECT s.kind, s.system, s.key, s.resource_id, s.patient_key, s.data, s.lineage, {heard}, s.message_id, s.channel"
            " FROM {keys} {cross} source_record s ON s.resource_id = k.value->>0"
            " LEFT JOIN source_heard h ON h.kind = s.kind AND h.system = s.system AND h.key = s.key",
            [[i] for i in resource_ids],
        )

    def heard(self, keys: Sequence[tuple[str, str, str]]) -> list[tuple[Any, ...]]:
        return self._set(
            "SELECT s.kind, s.system, s.key, s.resource_id, s.message_id,"
            " CASE WHEN h.event_at > s.event_at THEN h.event_at ELSE s.event_at END, r.version, r.patient_id"
            " FROM {keys} {cross} source_record s"
            " ON s.kind = k.value->>0 AND s.system = k.value->>1 AND s.key = k.value->>2"
            " LEFT JOIN source_heard h ON h.kind = s.kind AND h.system = s.system AND h.key = s.key"
            " LEFT JOIN resource r ON s.kind = 'Patient' AND r.id = s.resource_id",
            keys,
        )

    def changes(self, ids: Sequence[int]) -> list[tuple[Any, ...]]:
        return self._set(
            "SELECT c.id, c.at, c.type, c.kind, c.resource_id, c.patient_id, c.version, c.fields, c.data, c.message_id, c.origin"
            " FROM {keys} {cross} change c ON c.id = CAST(k.value->>0 AS BIGINT)",
            [[i] for i in ids],
        )

    def link_keys(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Any, ...]]:
        return self._set(
            "SELECT l.channel, l.resource_id, l.peer_id, l.etag FROM {keys} {cross} link_key l"
            " ON l.channel = k.value->>0 AND l.resource_id = k.value->>1",
            pairs,
        )

    def told(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[Any, ...]]:
        return self._set(
            "SELECT s.system, s.resource_id, s.field, s.value, s.at FROM {keys} {cross} sent_field s"
            " ON s.system = k.value->>0 AND s.resource_id = k.value->>1",
            pairs,
        )

    def at_version(self, pairs: Sequence[tuple[str, int]]) -> list[tuple[Any, ...]]:
        return self._set(
            "SELECT c.resource_id, c.version, c.data FROM {keys} {cross} change c"
            " ON c.resource_id = k.value->>0 AND c.version = CAST(k.value->>1 AS BIGINT)",
            pairs,
        )

    def versions(self, resource_id: str, since: int) -> list[tuple[Any, ...]]:
        return self._hot.query(
            "SELECT at, origin, data FROM change WHERE resource_id = ? AND at > ? ORDER BY version DESC LIMIT 20",
            (resource_id, since),
        )

    # -- channels -------------------------------------------------------------------------------------------------

    def channel_states(self) -> list[ChannelStateRow]:
        rows = self._hot.query("SELECT channel, paused, stopped, breaker, breaker_until, failures FROM channel_state")
        return [ChannelStateRow(r[0], bool(r[1]), *r[2:]) for r in rows]

    def set_channel_state(self, channel: str, **columns: Any) -> None:
        if not set(columns) <= _CHANNEL_COLUMNS:
            raise ValueError(f"channel_state has no column among {sorted(columns)}")
        self._hot.execute(
            "INSERT INTO channel_state (channel, paused, stopped, breaker, breaker_until, failures, updated_at)"
            " VALUES (?, FALSE, '', 'closed', 0, 0, ?) ON CONFLICT (channel) DO NOTHING",
            (channel, self.now),
        )
        sets = ", ".join(f"{name} = ?" for name in columns)
        self._hot.execute(
            f"UPDATE channel_state SET {sets}, updated_at = ? WHERE channel = ?", (*columns.values(), self.now, channel)
        )

    # -- the rest -------------------------------------------------------------------------------------------------

    def one(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        rows = self._hot.query(sql, parameters)
        return rows[0] if rows else None

    def many(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._hot.query(sql, parameters)

    def execute(self, sql: str, *parameters: Any) -> int:
        return self._hot.execute(sql, parameters)


class SqlStore:
    """Transactions for the core (hub.domain.store.Store): a connection a thread, and SQLite's write turn."""

    def __init__(self, url: URL, turn: WriteTurn | None = None) -> None:
        self._url = url
        self._sqlite = url.get_backend_name() == "sqlite"
        self._turn = turn or write_turn(url)
        self._local = threading.local()
        self._restarted = float("-inf")  # when the log was begun anew last

    def _hot(self) -> Hot:
        hot: Hot | None = getattr(self._local, "hot", None)
        if hot is None:
            hot = SqliteHot(self._url) if self._sqlite else PostgresHot(self._url)
            self._local.hot = hot
        return hot

    @contextmanager
    def snapshot(self) -> Iterator[SqlTx]:
        hot = self._hot()
        hot.begin_reading()
        try:
            yield SqlTx(hot, reading=True)
        finally:
            hot.rollback()

    @contextmanager
    def transaction(self, *, urgent: bool = False, durable: bool = True) -> Iterator[SqlTx]:
        if self._turn is not None:
            with self._turn.take(urgent=urgent):
                yield from self._open(durable)
            if durable:
                self._hot().sync()
        else:
            yield from self._open(durable)

    def _open(self, durable: bool) -> Iterator[SqlTx]:
        hot = self._hot()
        hot.begin(durable=durable)
        try:
            yield SqlTx(hot)
            hot.commit()
        except BaseException:
            hot.rollback()
            raise

    def tidy(self) -> None:
        """Upkeep that nobody waits for, or not long (hub/db/hot.py): what was written meanwhile is moved while writers wait, so
        that is to be little."""
        for _ in range(PASSES):
            began = time.monotonic()
            pages = self._hot().tidy()
            if time.monotonic() - began < SHORT_PASS:
                break
        # A long one is begun anew now and then only: writers wait for it, and it is long again in a moment.
        rarely = pages > BUSY_LOG and time.monotonic() - self._restarted < RESTART_SECONDS
        if pages > LONG_LOG and not rarely and self._turn is not None:
            self._restarted = time.monotonic()
            with self._turn.take():
                self._hot().restart_log()

    def log_is_long(self) -> bool:
        """Whether `tidy` should not wait for its time."""
        return self._hot().unmoved() > BUSY_LOG

    def close(self) -> None:
        """Closes this thread's connection."""
        hot: Hot | None = getattr(self._local, "hot", None)
        if hot is not None:
            hot.close()
            self._local.hot = None
