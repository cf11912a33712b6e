"""The audit log's SQL: appending an entry, the sequencer that signs them in batches, and reading for verify and export.

The log's order is (tx, id) on PostgreSQL, read only below the oldest transaction still running, because ids are taken
before transactions commit; on SQLite, with its one writer, it is the id (ADR 0003, 0030).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, column, func, insert, literal_column, select, table, text
from sqlalchemy.exc import InterfaceError, OperationalError

from hub.audit.actions import Action
from hub.audit.checkpoint import BadNote, Checkpoint, Signer, Verifier
from hub.audit.entry import check_detail, detail_text
from hub.audit.export import write
from hub.audit.file import CheckpointFile
from hub.audit.report import Report
from hub.audit.sequencer import Batch, make_batch, resume, unpack_ids
from hub.audit.tree import Tree
from hub.audit.verify import Stored, Tile, verify
from hub.db.store import SqlStore
from hub.db.tables import checkpoint as checkpoint_table
from hub.db.tables import tile as tile_table
from hub.domain.errors import Misconfigured, TryAgain
from hub.domain.ids import now_us
from hub.domain.store import Conflict

_PG_TX = "pg_current_xact_id()::text::bigint"
_PG_HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_PAGE = 5_000  # entries
FULL_STEP = _PAGE  # a step that signs so many may have left some

# Columns in the order of audit.entry.EntryRow, then the transaction.
_SELECT = "SELECT id, at, action, actor, channel, message_id, resource_id, detail, tx FROM entry"
_READ = {
    "sqlite": text(f"{_SELECT} WHERE id > :id ORDER BY id LIMIT :n"),
    "postgresql": text(f"{_SELECT} WHERE (tx, id) > (:tx, :id) ORDER BY tx, id LIMIT :n"),
}
_READ_SETTLED = {
    "sqlite": _READ["sqlite"],
    "postgresql": text(f"{_SELECT} WHERE (tx, id) > (:tx, :id) AND tx < {_PG_HORIZON} ORDER BY tx, id LIMIT :n"),
}
_LAST = {
    dialect: text(
        f"SELECT t.last_tx, t.last_id, c.size, c.root, c.frontier, c.note, {horizon} FROM tile t"
        " LEFT JOIN checkpoint c ON c.size = t.first + t.count ORDER BY t.first DESC LIMIT 1"
    )
    for dialect, horizon in (("sqlite", "NULL"), ("postgresql", _PG_HORIZON))
}
_TILES = text(
    "SELECT first, count, ids, hashes, last_tx, last_id FROM tile WHERE first > :after AND first <= :newest"
    " ORDER BY first LIMIT 32"  # a tile of 5,000 entries has 200 kB
)
_CHECKPOINTS = text("SELECT size, root, frontier, note FROM checkpoint WHERE size > :after ORDER BY size LIMIT 1000")
_NEW_ENTRY = table(  # without `id`, which the database fills in
    "entry", *(column(name) for name in ("tx", "at", "action", "actor", "channel", "message_id", "resource_id", "detail"))
)
_NEW_TILE = 'INSERT INTO tile ("first", "count", ids, hashes, last_tx, last_id) VALUES (?, ?, ?, ?, ?, ?)'
_NEW_CHECKPOINT = 'INSERT INTO checkpoint (size, "at", root, frontier, note) VALUES (?, ?, ?, ?, ?)'
_FIRST = (-(2**63), -(2**63))
_EMPTY = (0, Tree().root())  # what a file without a checkpoint vouches for


def append(
    conn: Connection,
    action: Action | str,
    *,
    actor: str,
    channel: str = "",
    message_id: int | None = None,
    resource_id: str | None = None,
    detail: dict[str, Any] | None = None,
    at: int | None = None,
) -> None:
    """One entry in the caller's open transaction. ValueError where the action is not in the list, or `detail` holds what
    has no place in the log."""
    check_detail(detail or {})
    values: dict[str, Any] = {
        "tx": literal_column(_PG_TX) if conn.dialect.name == "postgresql" else 0,
        "at": now_us() if at is None else at,
        "action": str(Action(action)),
        "actor": actor,
        "channel": channel,
        "message_id": message_id,
        "resource_id": resource_id,
        "detail": detail_text(detail or {}),
    }
    conn.execute(insert(_NEW_ENTRY).values(values))


class Sequencer:
    """Makes tiles and signed checkpoints of what was written since. Any number may run; each batch is made once."""

    def __init__(self, engine: Engine, signer: Signer, checkpoint_file: Path, origin: str, store: SqlStore | None = None) -> None:
        """Reads by `engine`, which can read what was tampered with; writes by `store`, whose commit is on the disk when it
        returns and which waits for its turn on SQLite. Reading and hashing are done before that."""
        self._engine = engine
        self._store = store or SqlStore(engine.url)
        self._signer = signer
        self._verifier = signer.verifier
        self._file = CheckpointFile(checkpoint_file)
        self._origin = origin
        self._dialect = engine.dialect.name
        self._known: tuple[str, Tree] | None = None  # the note last checked or made, and its tree

    def step(self, limit: int = _PAGE) -> int:
        """Sign at most `limit` entries: one tile, one checkpoint, one note in the file. Returns how many; 0: none, or
        another sequencer was faster. Costs the same however long the log is.

        Misconfigured where the database's last checkpoint is not the one that was signed, or the file is ahead of it (the
        database was restored from an older backup): going on would vouch for an altered log.
        """
        try:
            return self._step(limit)
        except (OperationalError, InterfaceError) as error:
            raise TryAgain(f"the audit log's store is busy or was lost ({type(error.orig).__name__})") from error

    def _step(self, limit: int) -> int:
        published = self._file.last()  # before the database is read, which is never behind the file
        with self._engine.connect() as conn:
            tree, tx, last_id = self._resume(conn, published)
            rows = _page(conn, _READ_SETTLED, tx, last_id, limit)
        if tree.size > (published.size if published else 0):
            self._catch_up()
        if not rows:
            return 0
        batch = make_batch(tree, [row[:8] for row in rows], self._signer, self._origin)
        if not self._write(batch, rows[-1][8]):
            return 0
        self._known = (batch.note, Tree(batch.size, batch.frontier))
        self._publish(tree, batch)
        return batch.count

    def _resume(self, conn: Connection, published: Checkpoint | None) -> tuple[Tree, int, int]:
        """The tree so far and the (tx, id) of its last entry."""
        rows = _rows(conn, _LAST[self._dialect])
        if not rows:
            if published is not None:
                raise _behind(self._file.path, published.size)
            return Tree(), *_FIRST
        last_tx, last_id, size, root, frontier, note, horizon = rows[0]
        if self._known is None or note != self._known[0]:
            try:
                tree = resume(_int(size), _blob(root), _blob(frontier), _str(note), self._verifier)
            except BadNote as error:
                raise Misconfigured(f"audit log: {error}; run `hub audit verify`", code="audit_altered") from None
            self._known = (note, tree)
        tree = self._known[1]
        if published is not None and (
            tree.size < published.size or (tree.size == published.size and tree.root() != published.root)
        ):
            raise _behind(self._file.path, published.size)
        if horizon is not None:
            _check_clock(horizon, last_tx)
        return tree, last_tx, last_id

    def _write(self, batch: Batch, last_tx: int) -> bool:
        """Tile and checkpoint in one short transaction; False where another sequencer wrote this tile already."""
        try:
            with self._store.transaction() as tx:
                tx.execute(_NEW_TILE, batch.first, batch.count, batch.ids, batch.hashes, last_tx, batch.last_id)
                tx.execute(_NEW_CHECKPOINT, batch.size, now_us(), batch.root, batch.frontier, batch.note)
        except Conflict:
            return False
        return True

    def _publish(self, before: Tree, batch: Batch) -> None:
        """Append the checkpoint of `batch` to the file, if that ends where the batch begins."""
        with self._file.appending() as file:
            last = file.last or Checkpoint(self._origin, *_EMPTY)
            if (last.size, last.root) == (before.size, before.root()):
                file.append([batch.note])
                return
        self._catch_up()

    def _catch_up(self) -> None:
        """Append to the file every checkpoint of the database that it lacks: those of a process that died between its
        commit and the file, and those of another sequencer."""
        with self._file.appending() as file, self._engine.connect() as conn:
            size = 0 if file.last is None else file.last.size
            if file.last is not None:
                root = conn.execute(select(checkpoint_table.c.root).where(checkpoint_table.c.size == size)).scalar()
                if root is None or bytes(root) != file.last.root:
                    raise _behind(self._file.path, size)
            lacking = select(checkpoint_table.c.note).where(checkpoint_table.c.size > size).order_by(checkpoint_table.c.size)
            file.append(self._signed(note) for note in conn.execute(lacking).scalars())

    def _signed(self, note: str) -> str:
        try:
            self._verifier.open_(note)
        except BadNote as error:
            raise Misconfigured(
                f"audit log: a checkpoint in the database: {error}; run `hub audit verify`", code="audit_altered"
            ) from None
        return note


def _check_clock(horizon: int, last_tx: int) -> None:
    """A dump restored into a new PostgreSQL cluster begins to count transactions anew: what is written there would sort
    before what is signed, and be passed over for ever."""
    if horizon <= last_tx:
        raise Misconfigured(
            f"PostgreSQL counts transactions from {horizon}, the audit log is at {last_tx}: the database was restored into"
            f" another cluster. Stop it and run `pg_resetwal --epoch={(last_tx >> 32) + 1} DATADIR`",
            code="transaction_ids_restarted",
        )


def _behind(path: Path, size: int) -> Misconfigured:
    return Misconfigured(
        f"audit log: the last checkpoint in {path.name}, of {size} entries, is not in the database: an older backup was restored,"
        " or the log was altered. Run `hub audit verify`; to go on with a restored backup, move the file aside and keep it",
        code="audit_altered",
    )


def verify_database(conn: Connection, checkpoint_file: Path, public_key: Verifier | str) -> Report:
    """Check the whole log in the database against the checkpoint file. Reads all entries once, in pages."""
    verifier = Verifier.parse(public_key) if isinstance(public_key, str) else public_key
    file = CheckpointFile(checkpoint_file)
    notes = file.notes(file.size())  # as long as it is now: what the hub appends from here on, the reading below may not see
    return verify(groups(conn), notes, stored(conn), verifier)


def export(
    conn: Connection,
    path: Path,
    *,
    checkpoint_file: Path,
    public_key: Verifier,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the whole log to `path` for an auditor (format: docs/audit.md). `progress` hears of entries written. Returns
    their number."""
    file = CheckpointFile(checkpoint_file)
    notes = file.notes(file.size())
    return write(path, groups(conn), notes, stored(conn), public_key, progress)


def groups(conn: Connection) -> Iterator[tuple[Tile | None, list[tuple[Any, ...]]]]:
    """Every entry in the log's order, with the tile that its place belongs to; see audit.verify.verify.

    The log may grow meanwhile: tiles made after the first one was read are left out, so that every entry of a tile was
    there before the first entry is read."""
    newest = conn.execute(select(func.max(tile_table.c.first))).scalar()
    entries = _entries(conn)
    ahead = next(entries, None)
    for tile, bound in _tiles(conn, -1 if newest is None else newest):
        rows = []
        while ahead is not None and _place(conn, ahead) <= bound:
            rows.append(ahead[:8])
            ahead = next(entries, None)
        yield tile, rows
    rows = []
    while ahead is not None:
        rows.append(ahead[:8])
        if len(rows) == _PAGE:
            yield None, rows
            rows = []
        ahead = next(entries, None)
    if rows:
        yield None, rows


def stored(conn: Connection) -> Iterator[Stored]:
    """The rows of `checkpoint` by size."""
    after = -1
    while rows := _rows(conn, _CHECKPOINTS, after=after):
        for size, root, frontier, note in rows:
            yield Stored(_int(size), _blob(root), _blob(frontier), _str(note))
        after = rows[-1][0]


def _tiles(conn: Connection, newest: int) -> Iterator[tuple[Tile, tuple[int, int]]]:
    """Tiles up to `newest`, and the place in the log's order where each ends."""
    after = -1
    while rows := _rows(conn, _TILES, after=after, newest=newest):
        for first, count, ids, hashes, last_tx, last_id in rows:
            tile = Tile(_int(first), _int(count), _blob(ids), _blob(hashes))
            tx = _int(last_tx) if conn.dialect.name == "postgresql" else 0
            yield tile, (tx, max((_int(last_id), *unpack_ids(tile.ids)[-1:])))  # either may be altered
        after = rows[-1][0]


def _place(conn: Connection, row: tuple[Any, ...]) -> tuple[int, int]:
    return (row[8] if conn.dialect.name == "postgresql" else 0, row[0])


def _entries(conn: Connection) -> Iterator[tuple[Any, ...]]:
    """All entries in the log's order; the transaction, by which PostgreSQL sorts, is the ninth column."""
    tx, last_id = _FIRST
    while rows := _page(conn, _READ, tx, last_id, _PAGE):
        yield from rows
        last_id, tx = rows[-1][0], rows[-1][8]


def _page(conn: Connection, statements: dict[str, TextClause], tx: int, last_id: int, limit: int) -> list[tuple[Any, ...]]:
    order = {"tx": tx} if conn.dialect.name == "postgresql" else {}
    return _rows(conn, statements[conn.dialect.name], id=last_id, n=limit, **order)


def _rows(conn: Connection, statement: TextClause, **values: int) -> list[tuple[Any, ...]]:
    """Plain tuples from the driver's own cursor: SQLAlchemy's rows would add a third to the cost of an entry, and its types
    would fail on what a tampered SQLite file may hold in any column, such as text that is not UTF-8."""
    result = conn.execute(statement, values)
    try:
        return list(result.cursor.fetchall())
    except sqlite3.OperationalError:
        connection: Any = conn.connection.driver_connection
        usual, connection.text_factory = connection.text_factory, lambda raw: raw.decode("utf-8", "surrogateescape")
        try:
            return list(conn.execute(statement, values).cursor.fetchall())
        finally:
            connection.text_factory = usual
    finally:
        result.close()


def _int(value: object) -> int:
    return value if isinstance(value, int) else -1


def _blob(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _str(value: object) -> str:
    return value if isinstance(value, str) else ""
