"""Opening the database: SQLAlchemy engines for reads and set-up, and the write turn that SQLite's one writer needs."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool

from hub.domain.errors import Misconfigured

BUSY_MS = 5_000


class _Files:
    """A thread's own descriptors (flock belongs to an open file, not to a process); closed when the thread ends."""

    def __init__(self, paths: tuple[Path, Path, Path, Path]) -> None:
        gate, door, haste, turn = (os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for path in paths)
        self.numbers = (gate, door, haste, turn)

    def __del__(self) -> None:
        for number in self.numbers:
            os.close(number)


class WriteTurn:
    """Whose turn it is to write to the SQLite file, among all threads and processes of this host (ADR 0002).

    SQLite has one writer, and its own way of waiting (sleep, try again) was measured to starve the listener to one row a
    second. flock(2) wakes its waiters in order and is given back by the kernel when a process dies. Whoever is not
    urgent queues at the gate first, and gives a turn that he got to all who wait for it in haste, once: intake waits for
    one short transaction at most. Whoever comes in haste meanwhile waits at the door and is behind him, so that haste
    without end starves nobody.
    """

    def __init__(self, folder: Path) -> None:
        gate, door, haste, turn = (folder / f"hub.write-{name}" for name in ("gate", "door", "haste", "turn"))
        self._paths = (gate, door, haste, turn)
        self._local = threading.local()

    def _files(self) -> tuple[int, int, int, int]:
        files: _Files | None = getattr(self._local, "files", None)
        if files is None:
            files = self._local.files = _Files(self._paths)
        return files.numbers

    def acquire(self, *, urgent: bool = False) -> None:
        gate, door, haste, turn = self._files()
        if urgent:
            with _held(door, fcntl.LOCK_SH):
                fcntl.flock(haste, fcntl.LOCK_SH)  # held while waiting
            try:
                fcntl.flock(turn, fcntl.LOCK_EX)
            finally:
                fcntl.flock(haste, fcntl.LOCK_UN)
            return
        with _held(gate):
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not _free(haste):
                with _held(door):  # shut while the turn is ours: nobody in haste can come twice and keep it open
                    fcntl.flock(turn, fcntl.LOCK_UN)
                    with _held(haste):  # each of them has had it
                        pass
                    fcntl.flock(turn, fcntl.LOCK_EX)

    def release(self) -> None:
        fcntl.flock(self._files()[3], fcntl.LOCK_UN)

    @contextmanager
    def take(self, *, urgent: bool = False) -> Iterator[None]:
        self.acquire(urgent=urgent)
        try:
            yield
        finally:
            self.release()


@contextmanager
def _held(file: int, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _free(haste: int) -> bool:
    """Whether nobody waits in haste."""
    try:
        fcntl.flock(haste, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(haste, fcntl.LOCK_UN)
    return True


def write_turn(url: URL) -> WriteTurn | None:
    """The turn for a SQLite file; PostgreSQL needs none."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return WriteTurn(Path(url.database).parent)


def parse_url(text: str, base: Path | None = None) -> URL:
    """A database URL; a relative SQLite path is taken from `base`. Only SQLite and PostgreSQL (psycopg) are known."""
    url = make_url(text)
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:" and base is not None and not Path(url.database).is_absolute():
            url = url.set(database=str(base / url.database))
        return url
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    raise Misconfigured(
        f"database {url.get_backend_name()} is not known: use sqlite:///hub.db or postgresql+psycopg://user@host/name"
    )


def sqlite_pragmas(connection: Any, synchronous: str = "FULL") -> None:
    """WAL for readers beside the writer; FULL because NORMAL loses acknowledged commits on power loss (reliability.md L).

    The hot path says NORMAL and syncs the log itself where it must (hub/db/hot.py).
    """
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        f"busy_timeout={BUSY_MS}",
        "cache_size=-65536",
        "temp_store=MEMORY",
        "mmap_size=268435456",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def make_write_engine(url: URL, turn: WriteTurn | None, engine: Engine) -> Engine:
    """For the rare write beside the hot path (tokens, sessions, access records): it waits for its turn on SQLite.

    PostgreSQL needs no turn: there it is `engine` itself.
    """
    if turn is None:
        return engine
    writing = create_engine(
        url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=5, connect_args={"check_same_thread": False}
    )

    @event.listens_for(writing, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves (SQLAlchemy, "Serializable isolation / Savepoints")
        sqlite_pragmas(connection)

    @event.listens_for(writing, "begin")
    def _begin(connection: Any) -> None:
        turn.acquire()
        connection.info["turn"] = True
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(writing, "checkin")
    def _checkin(_: Any, record: Any) -> None:
        if record.info.pop("turn", False):
            turn.release()

    return writing


def make_engine(url: URL) -> Engine:
    """An engine for reads, set-up and the rare write; the hot path has connections of its own (hub/db/hot.py)."""
    if url.get_backend_name() == "sqlite":
        arguments = {"check_same_thread": False, "timeout": BUSY_MS / 1000}
        engine = create_engine(url, poolclass=QueuePool, pool_size=4, connect_args=arguments)
        event.listen(engine, "connect", lambda connection, _: sqlite_pragmas(connection))
        return engine
    return create_engine(url, pool_size=4, max_overflow=8, pool_pre_ping=True, connect_args={"connect_timeout": 5})
