"""Writing back to an old system by ODBC: a canonical change becomes a row of an interface table, or a call of a procedure.

What it becomes is said by a map of its own (`map_file`, hub/mapping/row_out.py); how it is written so that nothing is done twice,
in hub/adapters/sql/write.py. A resend looks first, so it is safe.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import codecs
import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from hub.adapters.first import NAMELESS, is_first, is_nameless, is_unnumbered_prospect, merged_away
from hub.adapters.settings import read_table, wrong
from hub.adapters.sql.fit import Fit
from hub.adapters.sql.write import RowWriter, Task, require_unique
from hub.config import option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, Refused, Unmappable
from hub.domain.model import KINDS
from hub.domain.ports import Delivered, Manifest, Outbound
from hub.mapping import SHIPPED
from hub.mapping.codes import read_codes
from hub.mapping.row_compose import OutRow, about, compose
from hub.mapping.row_out import OutMap, read_out_map
from hub.sync.slots import explode_period
from hub.transport.odbc_write import Session

MANIFEST = Manifest(
    name="ocs.sql_out", title="interface tables and procedures of an old system", direction="out", system="ocs",
    protocol="ODBC", handles=tuple(f"{kind.lower()}.*" for kind in KINDS),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """One database, and the map of what is written there."""

    connection: str = option(doc='ODBC connection string, { file = "secrets/ocs-odbc" }: DRIVER={MariaDB Unicode};SERVER=…')
    database: Literal["mariadb", "postgresql", "sqlite", "sqlserver"] = option(doc="what answers there")
    map_file: Path = option(doc='the outbound map: "maps/ocs-write.toml"; value maps in codes/*.csv beside it')
    encoding: str = option("utf-8", doc="utf-8, or what text columns hold against their declaration: cp949")
    encodings: dict[str, str] = option(dict, doc='of single columns: { SNAME = "cp949" }')
    timezone: str = option("Asia/Seoul", doc="time zone of the times that are written")
    connections: int = option(4, doc="connections at a time; each has one message under way", low=1, high=16)
    connect_timeout_seconds: float = option(5.0, doc="seconds for a connection", low=0.1, high=15)
    timeout_seconds: float = option(10.0, doc="a statement that takes longer is given up", low=0.1, high=20)
    ca_file: Path | None = option(None, doc="authorities trusted for the database's certificate (PEM); switches TLS on")

    def __post_init__(self) -> None:
        for encoding in (self.encoding, *self.encodings.values()):
            try:
                codecs.lookup(encoding)
            except LookupError:
                raise wrong(f'"encoding" cannot be {encoding}', "write utf-8 or cp949") from None
        if self.database == "sqlserver" and (self.encodings or codecs.lookup(self.encoding).name != "utf-8"):
            problem = '"encoding" other than utf-8 cannot be written to SQL Server by FreeTDS'
            raise wrong(problem, "write into NVARCHAR columns, or VARCHAR of a Korean collation")
        try:
            ZoneInfo(self.timezone or "Asia/Seoul")
        except (ZoneInfoNotFoundError, ValueError):
            raise wrong(f'timezone "{self.timezone}" is not known', 'write one like "Asia/Seoul"') from None
        if self.ca_file is not None and self.database not in ("mariadb", "postgresql"):
            raise wrong(f'"ca_file" says nothing to {self.database}', "set TLS up in the driver (FreeTDS: freetds.conf)")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def map_of(settings: Settings) -> OutMap:
    """The channel's map, compiled. Raises Misconfigured: file, line, what to write instead."""
    path = settings.map_file
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f'"map_file": cannot read {path}', code="settings") from None
    found, _ = read_codes([SHIPPED / "codes", path.parent / "codes"])
    return read_out_map(path.name, text, found)


def handles(settings: Settings) -> tuple[str, ...]:
    """The changes that this channel's map knows: no others are queued for it."""
    return map_of(settings).events


class SqlTarget:
    """Target of the `ocs.sql_out` adapter. Thread-safe; threads share `connections` connections and wait for one."""

    resend_is_safe = True  # every write looks for its key first, in its own transaction

    def __init__(self, settings: Settings) -> None:
        self._settings = s = settings
        self._map = map_of(s)
        self._zone = ZoneInfo(s.timezone or "Asia/Seoul")
        self._writer = RowWriter(s.database, Fit(s.database, s.encoding, s.encodings))
        utf8 = codecs.lookup(s.encoding).name == "utf-8"
        ghosts: set[Any] = set()
        self._sessions = [
            Session(
                s.connection, s.database, utf8=utf8, connect_seconds=s.connect_timeout_seconds, seconds=s.timeout_seconds,
                ghosts=ghosts, ca_file=s.ca_file,
            )
            for _ in range(s.connections)
        ]  # fmt: skip
        self._free: queue.LifoQueue[Session] = queue.LifoQueue()
        for session in self._sessions:
            self._free.put(session)
        self._unique: set[str] = set()  # writes whose index was seen

    def send(self, message: Outbound) -> Delivered:
        """See hub.domain.ports.Target.send."""
        task = self._task(message)
        if isinstance(task, Delivered):
            return task
        sent = bytes_of(task.row)
        try:
            with self._session() as session:
                done = self._carry_out(session, task)
        except HubError as error:
            error.sent = sent
            raise
        return Delivered(sent=sent, detail=done, sent_fields=_sent_fields(message, task))

    def find(self, message: Outbound) -> Delivered | None:
        """Whether what the message says stands there."""
        task = self._task(message)
        if isinstance(task, Delivered):
            return task
        with self._session() as session:
            found = self._writer.found(session, task)
        return Delivered(sent=bytes_of(task.row), detail="found", sent_fields=_sent_fields(message, task)) if found else None

    def ping(self) -> str:
        """Connects, and asks whether the tables of the map are there with the columns that it names."""
        with self._session() as session:
            session.query("SELECT 1")
            for write in self._map.writes:
                self._require_unique(session, write.name)
        tables = ", ".join(dict.fromkeys(write.target for write in self._map.writes))
        return f"{self._settings.database}: {tables}"

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    def outdated(self) -> bool:
        """Whether the map file says something else now (hub.domain.ports.OfFiles)."""
        return map_of(self._settings) != self._map

    # -- inside ----------------------------------------------------------------------------------------------------

    def _task(self, message: Outbound) -> Task | Delivered:
        """What is to be done, or that nothing is. Raises Refused where the map cannot say it."""
        if message.kind == "Patient" and message.type != "patient.merged" and merged_away(message):
            return Delivered(detail="nothing to do: merged into another patient")
        waits = message.kind == "Patient" and is_nameless(message.resource)  # what the map can say of him is written all the same
        try:
            row = compose(self._map, message, self._zone)
        except Unmappable as error:
            if waits:
                return Delivered(detail=NAMELESS)
            raise Refused(f"it cannot be written there: {error}", code=error.code) from None
        if row is None:
            return Delivered(detail="nothing to do: no write of the map is for this")
        missing = [value.column.name for value in row.values if value.column.name in row.write.key and value.cell in (None, "")]
        if missing:
            if is_unnumbered_prospect(message.patient):
                return Delivered(detail="nothing to do: a prospect without a number")
            if waits:
                return Delivered(detail=NAMELESS)
            raise Refused(f"the key column {missing[0]} has no value", code="no_key")
        changed = row.values
        if row.write.do == "update" and not is_first(message):
            changed = about(row, message.changed)
            if not changed:
                return Delivered(detail="nothing to do: the map has no column for what changed")
            changed = [value for value in row.values if value in changed or not value.column.fields]
        return Task(row, changed, again=message.attempt > 1)

    def _carry_out(self, session: Session, task: Task) -> str:
        """A connection that was closed while nobody used it is opened again, once: nothing was written on it."""
        was_open = session.is_open
        try:
            self._require_unique(session, task.row.write.name)
            return self._writer.carry_out(session, task)
        except NotDelivered:
            if not was_open or session.is_open:
                raise
        self._require_unique(session, task.row.write.name)
        return self._writer.carry_out(session, task)

    def _require_unique(self, session: Session, name: str) -> None:
        """The table is there, with the map's columns, and keeps its key unique. Asked once."""
        if name in self._unique:
            return
        write = next(write for write in self._map.writes if write.name == name)
        self._writer.learn(session, write)
        if write.do in ("insert", "upsert"):
            require_unique(session, write)
        self._unique.add(name)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            session = self._free.get(timeout=self._settings.timeout_seconds)
        except queue.Empty:
            raise NotDelivered("every connection to the database is at work", code="busy", reached=False) from None
        try:
            yield session
        finally:
            self._free.put(session)


def _sent_fields(message: Outbound, task: Task) -> dict[str, Any]:
    """By these the core knows the echo, where the hub reads this table too (hub/sync/canon.py)."""
    sent = {value.field: value.canonical for value in task.changed if value.field}
    return explode_period(sent) if message.kind == "Encounter" and sent.get("period") else sent


def bytes_of(row: OutRow) -> bytes:
    """What was written, for the attempt's record."""
    cells = {value.column.name: value.cell for value in row.values}
    return orjson.dumps({row.write.do: row.write.target, "values": cells}, default=str)


def build(settings: Settings) -> SqlTarget:
    """The channel's target. Raises Misconfigured for a map with a mistake; connects only when it sends."""
    return SqlTarget(settings)
