"""Every table of the hub, for SQLite and PostgreSQL alike.

Times are µs since 1970 UTC (BIGINT); documents are JSON text; ids of resources are UUIDv7 text. Rows that live
differently are in tables of their own: `message` is immutable, `work` is small and hot, `dedupe` is a window, `outcome`
is what became of a message whose work is over.
Tables of narrow rows are without rowid on SQLite (one tree instead of two); wide rows are not, because there a row of
more than a quarter of a page costs a page of its own (sqlite.org/withoutrowid.html).

`tx` is the PostgreSQL transaction id (0 on SQLite): a reader that wants
to miss nothing reads in the order (tx, id) and only below the oldest transaction still running (ADR 0003).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text, text

metadata = MetaData()

# Text is compared by its bytes on both databases, as SQLite does: faster than by a language's rules, and no index is wrong
# once the system's locales are upgraded (PostgreSQL 15, 24.2).
TEXT = Text().with_variant(Text(collation="C"), "postgresql")


def _where(condition: str) -> dict[str, Any]:
    """Of an index that has a place only for the rows that somebody looks for by it."""
    return {f"{dialect}_where": text(condition) for dialect in ("sqlite", "postgresql")}


PRESENT = _where("resource_id IS NOT NULL")  # most messages and many entries are about no resource
# Imaging orders that are still to be done, and few of all resources: a worklist asks for them every minute, for each modality.
# A query finds the index by saying the same; documents are written by orjson, so without spaces.
OPEN_IMAGING = (
    "kind = 'ServiceRequest' AND status = 'active'"
    """ AND data LIKE '%"category":"imaging"%' AND data LIKE '%"status":"active"%'"""
    """ AND data NOT LIKE '%"state":"completed"%' AND data NOT LIKE '%"state":"discontinued"%'"""
)

message = Table(
    "message",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("channel", TEXT, nullable=False),
    Column("direction", TEXT, nullable=False),  # in | out
    Column("at", BigInteger, nullable=False),
    Column("sender", TEXT, nullable=False, default=""),  # MSH-3|MSH-4
    Column("control_id", TEXT, nullable=False, default=""),
    Column("type", TEXT, nullable=False, default=""),  # ADT^A08, patient.updated
    Column("patient_no", TEXT, nullable=False, default=""),  # inbound: number without assigner; a keyed digest if it is an RRN
    Column("lane", TEXT, nullable=False, default=""),
    Column("bucket", Integer, nullable=False, default=0),
    Column("body", LargeBinary),  # AEAD, see hub/db/crypt.py; NULL for outbound built at send time, and once purged
    Column("charset", TEXT, nullable=False, default=""),
    Column("answer_owed", Boolean, nullable=False, default=False),
    Column("code", TEXT, nullable=False, default=""),  # the answer given: AA, CE, 202 …
    Column("cause", BigInteger),  # outbound: the inbound message that caused it
    Column("change_id", BigInteger),  # outbound: the change that it carries
    Column("resource_id", TEXT),
    Index("message_by_channel", "channel", "id"),
    Index("message_by_patient", "patient_no", "id", **_where("patient_no <> ''")),  # no outbound message has these two
    Index("message_by_control", "control_id", **_where("control_id <> ''")),
    Index("message_by_resource", "resource_id", "id", **PRESENT),
)

answered = Table(  # the answers to messages first..last went out, but for those listed: one row a group commit
    "answered",
    metadata,
    Column("first_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("last_id", BigInteger, nullable=False),
    Column("undelivered", TEXT, nullable=False, default="[]"),
)

dedupe = Table(
    "dedupe",
    metadata,
    Column("channel", TEXT, nullable=False),
    Column("sender", TEXT, nullable=False),
    Column("control_id", TEXT, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # keyed, of the content without MSH-7
    Column("message_id", BigInteger, nullable=False),
    Column("code", TEXT, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("channel", "sender", "control_id", "digest"),
    Index("dedupe_by_age", "at"),
    sqlite_with_rowid=False,
)

work = Table(
    "work",
    metadata,
    Column("direction", TEXT, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("message_id", BigInteger, nullable=False),
    Column("lane", TEXT, nullable=False),
    Column("channel", TEXT, nullable=False),
    Column("state", TEXT, nullable=False, default="queued"),  # queued | in_flight | uncertain | dead
    Column("barrier", Boolean, nullable=False, default=False),  # the second lane of a merge or move: goes when the first goes
    Column("paired", Boolean, nullable=False, default=False),  # the first lane of such a message: waits for its barrier's lane
    Column("attempts", Integer, nullable=False, default=0),  # attempts that reached the target
    Column("due", BigInteger, nullable=False, default=0),  # a row holds its lane back until then: retry, lease, or for ever
    Column("reason", TEXT, nullable=False, default=""),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("direction", "bucket", "message_id", "lane"),
    Index("work_by_message", "message_id"),
    Index("work_by_lane", "lane", "message_id"),
    sqlite_with_rowid=False,
)

outcome = Table(
    "outcome",
    metadata,
    Column("message_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("state", TEXT, nullable=False),  # done | discarded | refused
    Column("outcome", TEXT, nullable=False, default=""),  # applied | ignored | stale | delivered
    Column("reason", TEXT, nullable=False, default=""),
    Column("at", BigInteger, nullable=False),
    # what operators look for is rare among what went well
    Index(
        "outcome_rare", "state", "outcome", "message_id",
        **_where("outcome NOT IN ('applied', 'delivered')"),
    ),
)  # fmt: skip

tally = Table(  # counts of final states, so that no status page ever counts the history
    "tally",
    metadata,
    Column("channel", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),  # received | applied | ignored | stale | delivered | refused | discarded | duplicate
    Column("shard", Integer, nullable=False),  # one a writing process, so that writers do not queue for a row
    Column("n", BigInteger, nullable=False),
    PrimaryKeyConstraint("channel", "state", "shard"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("message_id", BigInteger, nullable=False),
    Column("n", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("verdict", TEXT, nullable=False),  # delivered | not_delivered | outcome_unknown | refused | misconfigured
    Column("detail", TEXT, nullable=False, default=""),
    Column("sent", LargeBinary),  # AEAD
    Column("answer", LargeBinary),  # AEAD
    PrimaryKeyConstraint("message_id", "n", "at"),
)

lease = Table(
    "lease",
    metadata,
    Column("name", TEXT, primary_key=True),  # in:7, out:3, sequencer
    Column("owner", TEXT, nullable=False, default=""),
    Column("token", BigInteger, nullable=False, default=0),  # fencing: grows with every new owner
    Column("until", BigInteger, nullable=False, default=0),  # by the database's clock
)

channel_state = Table(
    "channel_state",
    metadata,
    Column("channel", TEXT, primary_key=True),
    Column("paused", Boolean, nullable=False, default=False),
    Column("stopped", TEXT, nullable=False, default=""),  # a reason: Misconfigured, or the peer said 410
    Column("breaker", TEXT, nullable=False, default="closed"),  # closed | open | half_open
    Column("breaker_until", BigInteger, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("updated_at", BigInteger, nullable=False, default=0),
)

source_record = Table(
    "source_record",
    metadata,
    Column("kind", TEXT, nullable=False),
    Column("system", TEXT, nullable=False),  # the channel's system: ocs, emr, erp, pacs, crm
    Column("key", TEXT, nullable=False),  # assigner|value
    Column("resource_id", TEXT, nullable=False),
    Column("patient_key", TEXT),  # assigner|value of the patient it was told under
    Column("data", TEXT, nullable=False),  # JSON: field -> value, as that system last said it
    Column("lineage", TEXT, nullable=False),  # JSON: field -> [path, message id, map version, changed at µs]
    Column("event_at", BigInteger, nullable=False),  # of what is kept; a later repetition stands in source_heard
    Column("message_id", BigInteger),
    Column("channel", TEXT, nullable=False, default=""),
    PrimaryKeyConstraint("kind", "system", "key"),
    Index("source_by_resource", "resource_id"),
)

source_heard = Table(  # the source said the same again: narrow rows, because nearly every message of a known patient writes some
    "source_heard",
    metadata,
    Column("kind", TEXT, nullable=False),
    Column("system", TEXT, nullable=False),
    Column("key", TEXT, nullable=False),
    Column("event_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("kind", "system", "key"),
    sqlite_with_rowid=False,
)

resource = Table(
    "resource",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("kind", TEXT, nullable=False),
    Column("patient_id", TEXT),  # whose it is; its own id for a Patient; NULL for Practitioner, Organization
    Column("patient_key", TEXT),  # the patient number it was told under, so that a merge can be taken back
    Column("version", Integer, nullable=False),
    Column("status", TEXT, nullable=False, default="active"),  # active | merged | removed
    Column("sort_at", BigInteger, nullable=False, default=0),  # start of a visit or booking, for the timeline
    Column("data", TEXT, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index("resource_by_patient", "patient_id", "kind", "sort_at"),
    Index("resource_by_start", "kind", "sort_at", "id", **_where("sort_at > 0")),  # everybody's bookings of a day
    Index("resource_to_image", "sort_at", "id", **_where(OPEN_IMAGING)),
)

identifier = Table(
    "identifier",
    metadata,
    Column("kind", TEXT, nullable=False),
    Column("assigner", TEXT, nullable=False),
    Column("value", TEXT, nullable=False),
    Column("resource_id", TEXT, nullable=False),
    Column("home_id", TEXT, nullable=False),  # the resource it was first given to: where an unmerge takes it back to
    Column("type", TEXT, nullable=False, default=""),
    PrimaryKeyConstraint("kind", "assigner", "value"),
    Index("identifier_by_value", "value"),
    Index("identifier_by_resource", "resource_id"),
    Index("identifier_by_home", "home_id", **_where("home_id <> resource_id")),  # what a merge or move took elsewhere
    sqlite_with_rowid=False,
)

awaited = Table(  # what names another thing by a number under which nothing is known yet: found when that is told of
    "awaited",
    metadata,
    Column("kind", TEXT, nullable=False),
    Column("assigner", TEXT, nullable=False),
    Column("value", TEXT, nullable=False),
    Column("resource_id", TEXT, nullable=False),
    PrimaryKeyConstraint("kind", "assigner", "value", "resource_id"),
    sqlite_with_rowid=False,
)

term = Table(  # what a patient can be searched by: normalised
    "term",
    metadata,
    Column("kind", TEXT, nullable=False),  # name | phone | birthDate
    Column("value", TEXT, nullable=False),  # by its bytes: a prefix is a range
    Column("patient_id", TEXT, nullable=False),
    PrimaryKeyConstraint("kind", "value", "patient_id"),
    Index("term_by_patient", "patient_id"),
    sqlite_with_rowid=False,
)

change = Table(  # one row a new version of a resource: history, delta feed and webhook body in one
    "change",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("tx", BigInteger, nullable=False, default=0),
    Column("at", BigInteger, nullable=False),
    Column("type", TEXT, nullable=False),  # encounter.created
    Column("kind", TEXT, nullable=False),
    Column("resource_id", TEXT, nullable=False),
    Column("patient_id", TEXT),
    Column("version", Integer, nullable=False),
    Column("fields", TEXT, nullable=False),  # JSON list of changed fields
    Column("data", TEXT, nullable=False),  # the whole document after the change
    Column("message_id", BigInteger),  # the message that caused it, or NULL for the API
    Column("origin", TEXT, nullable=False, default=""),  # channel, or api:<token name>
    Index("change_by_feed", "tx", "id"),
    Index("change_by_resource", "resource_id", "version"),
    Index("change_by_patient", "patient_id", "id"),
    Index("change_by_message", "message_id"),
)

link_history = Table(
    "link_history",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("act", TEXT, nullable=False),  # merge | unmerge | link | unlink | move | change_identifier
    Column("kind", TEXT, nullable=False),
    Column("assigner", TEXT, nullable=False),
    Column("value", TEXT, nullable=False),
    Column("from_id", TEXT, nullable=False),
    Column("to_id", TEXT, nullable=False),
    Column("message_id", BigInteger),
    Column("actor", TEXT, nullable=False, default=""),
    Index("link_history_by_from", "from_id"),
    Index("link_history_by_to", "to_id"),
)

link_key = Table(  # how a target names what is ours
    "link_key",
    metadata,
    Column("channel", TEXT, nullable=False),
    Column("resource_id", TEXT, nullable=False),
    Column("peer_id", TEXT, nullable=False),
    Column("etag", TEXT, nullable=False, default=""),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("channel", "resource_id"),
)

sent_field = Table(  # what we last told a system of one field: its echo is no news
    "sent_field",
    metadata,
    Column("system", TEXT, nullable=False),
    Column("resource_id", TEXT, nullable=False),
    Column("field", TEXT, nullable=False),
    Column("value", TEXT, nullable=False),  # JSON
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("system", "resource_id", "field"),
)

mark = Table(  # what a polled source was last seen to hold, so that only what changed becomes a message
    "mark",
    metadata,
    Column("channel", TEXT, nullable=False),
    Column("key", LargeBinary, nullable=False),  # keyed digest of event and key columns; or "place:NAME"
    Column("value", LargeBinary, nullable=False),  # keyed digest of the row, empty: it is gone; or the place itself
    Column("n", Integer, nullable=False),  # how often it changed: part of the control id, so that a row may change back
    Column("name", LargeBinary),  # the key columns, AEAD: what a vanished row is told by
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("channel", "key"),
    sqlite_with_rowid=False,
)

entry = Table(  # the audit log: written in the transaction of the act, never changed
    "entry",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("tx", BigInteger, nullable=False, default=0),
    Column("at", BigInteger, nullable=False),
    Column("action", TEXT, nullable=False),  # hub/audit/actions.py
    Column("actor", TEXT, nullable=False),  # system | token:<name> | cli:<user>
    Column("channel", TEXT, nullable=False, default=""),
    Column("message_id", BigInteger),
    Column("resource_id", TEXT),
    Column("detail", TEXT, nullable=False, default="{}"),  # JSON: codes, field names, keyed digests; no patient data
    Index("entry_by_order", "tx", "id"),
    Index("entry_by_message", "message_id"),
    Index("entry_by_resource", "resource_id", "id", **PRESENT),
)

tile = Table(  # leaf hashes of the log, a run of entries a row, in the log's order
    "tile",
    metadata,
    # index of the first leaf
    Column("first", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("ids", LargeBinary, nullable=False),  # count big-endian int64 entry ids
    Column("hashes", LargeBinary, nullable=False),  # count × 32 bytes, RFC 6962 leaf hashes
    Column("last_tx", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("frontier", LargeBinary, nullable=False),  # right edge of the tree: what the next root is computed from
    Column("note", TEXT, nullable=False),  # the signed note as appended to the checkpoint file
)

token = Table(
    "token",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("name", TEXT, nullable=False, unique=True),
    Column("role", TEXT, nullable=False),  # crm | operator | auditor | admin | sender
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

session = Table(
    "session",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("token_id", TEXT, nullable=False),
    Column("csrf", TEXT, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("token_id", TEXT, nullable=False),
    Column("key", TEXT, nullable=False),
    Column("request", LargeBinary, nullable=False),  # digest of method, path and body
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # AEAD
    Column("headers", TEXT, nullable=False, default="{}"),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("token_id", "key"),
)

map_version = Table(
    "map_version",
    metadata,
    Column("hash", TEXT, primary_key=True),
    Column("name", TEXT, nullable=False),
    Column("text", TEXT, nullable=False),
    Column("at", BigInteger, nullable=False),
)

alert = Table(
    "alert",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("kind", TEXT, nullable=False),  # breaker_open | control_id_reused | channel_stopped | disk_full …
    Column("channel", TEXT, nullable=False, default=""),
    Column("text", TEXT, nullable=False),
    Column("cleared_at", BigInteger),
)

counter = Table(  # SQLite only: the next ids; PostgreSQL has sequences of the same names
    "counter",
    metadata,
    Column("name", TEXT, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

COUNTERS = ("message", "change", "entry", "link_history")
