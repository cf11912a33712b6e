"""Opening the database: SQLAlchemy engines for reads and set-up, and the write turn that SQLite's one writer needs."""

from __future__ import annotations

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


class WriteTurn:
    """Whose turn it is to write, in this process: first come, first served, but intake before all others.

    SQLite has one writer; its own way of waiting (sleep and try again) was measured to starve the listener.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = False
        self._urgent = 0

    def acquire(self, *, urgent: bool = False) -> None:
        with self._changed:
            self._urgent += urgent
            while self._busy or (self._urgent and not urgent):
                self._changed.wait()
            self._urgent -= urgent
            self._busy = True

    def release(self) -> None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    @contextmanager
    def take(self, *, urgent: bool = False) -> Iterator[None]:
        self.acquire(urgent=urgent)
        try:
            yield
        finally:
            self.release()


def parse_url(text: str, base: Path | None = None) -> URL:
    """A database URL; a relative SQLite path is taken from `base`. Only SQLite and PostgreSQL (psycopg) are known."""
    url = make_url(text)
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:" and base is not None and not Path(url.database).is_absolute():
            url = url.set(database=str(base / url.database))
        return url
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    raise Misconfigured(f"database {url.get_backend_name()} is not known: use sqlite:///hub.db or postgresql+psycopg://user@host/name")


def sqlite_pragmas(connection: Any) -> None:
    """WAL for readers beside the writer; FULL because NORMAL loses acknowledged commits on power loss (reliability.md L)."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MS}", "cache_size=-65536", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def make_write_engine(url: URL, turn: WriteTurn, engine: Engine) -> Engine:
    """For the rare write beside the hot path (tokens, sessions, access records): it waits for its turn on SQLite.

    PostgreSQL needs no turn: there it is `engine` itself.
    """
    if url.get_backend_name() != "sqlite":
        return engine
    writing = create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, connect_args={"check_same_thread": False})

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
