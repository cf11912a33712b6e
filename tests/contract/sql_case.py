"""Writing back by ODBC against real databases behind a proxy that misbehaves; a server is started when first needed.

The adapter looks before it writes, so faults of a new connection meet that look. What a COMMIT is answered is what decides.
"""

from __future__ import annotations

import atexit
import secrets
import ssl
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyodbc
import pytest

from hub.adapters.ocs import sql_out
from hub.domain.errors import NotDelivered
from hub.simulator.faults import Fault
from tests import servers
from tests.contract.case import Case, Expect, patient_updated
from tests.contract.sql_proxy import MySql, Postgres, Proxy

TIMEOUT = 0.5
FIELDS = """
"PANO" = { from = "identifier.value", with = { assigner = "HOSP" } }
"SNAME" = { from = "name" }
"HPHONE" = { from = "telecom.mobile", as = "phone" }
"BIRTH" = { from = "birthDate", as = "date" }
"""
UPSERT = f"""
target = "row"
[write.patient]
events = ["patient.*"]
table = "IF_TABLE"
do = "upsert"
key = ["PANO"]
[write.patient.fields]
{FIELDS}
"""
INSERT = f"""
target = "row"
[write.patient]
events = ["patient.*"]
table = "IF_TABLE"
do = "insert"
key = ["MSG"]
[write.patient.fields]
"MSG" = {{ from = "message.key" }}
{FIELDS}
"""
TABLE = """CREATE TABLE {name} (MSG VARCHAR(80) {unique}, PANO VARCHAR(40) {key}, SNAME VARCHAR(40), HPHONE VARCHAR(20),
BIRTH CHAR(8))"""


@cache
def _mariadb() -> servers.MariaDB:
    server: servers.MariaDB = _started(servers.MariaDB)
    connection = pyodbc.connect(server.odbc(), autocommit=True)
    connection.execute("CREATE DATABASE contract")
    connection.close()
    return server


@cache
def _postgres() -> servers.Postgres:
    server: servers.Postgres = _started(servers.Postgres)
    return server


def _started(kind: Callable[[], Any]) -> Any:
    try:
        server = kind().start()
    except servers.NotInstalledError as missing:
        pytest.skip(str(missing))
    atexit.register(server.stop)
    return server


class SqlPeer(Proxy):
    """A table of its own on the shared server, behind a proxy. `string`: how to connect through a port."""

    def __init__(
        self,
        dialect: Any,
        port: Callable[[], int],
        string: Callable[[int], str],
        table: str,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(dialect, port, tls)
        self._string, self._table, self._made = string, table, False
        self.name = f"if_{secrets.token_hex(6)}"
        self.map_file = Path(tempfile.mkdtemp()) / "write.toml"

    def start(self) -> SqlPeer:
        if not self._made:
            self._run(self._table.replace("{name}", self.name))
            self._made = True
        super().start()
        return self

    def connection(self) -> str:
        """Through the proxy."""
        return self._string(self.port)

    def rows(self) -> int:
        """What was committed."""
        return int(self._run(f"SELECT COUNT(*) FROM {self.name}"))

    def _run(self, sql: str) -> Any:
        connection = pyodbc.connect(self._string(self._server_port()), autocommit=True)
        try:
            cursor = connection.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
        finally:
            connection.close()


def _in_mariadb(port: int) -> str:
    return _mariadb().odbc("contract", PORT=str(port))


def _in_postgres(port: int) -> str:
    server = _postgres()
    return f"DRIVER={{PostgreSQL ANSI}};SERVER=127.0.0.1;PORT={port};DATABASE=postgres;UID=hub;PWD={server.password}"


def _mariadb_peer(tls: ssl.SSLContext | None) -> SqlPeer:
    return SqlPeer(
        MySql(), lambda: _mariadb().port, _in_mariadb, TABLE.replace("{key}", "PRIMARY KEY").replace("{unique}", ""), tls
    )


def _postgres_peer(tls: ssl.SSLContext | None) -> SqlPeer:
    return SqlPeer(
        Postgres(), lambda: _postgres().port, _in_postgres, TABLE.replace("{unique}", "PRIMARY KEY").replace("{key}", ""), tls
    )


def _table(kind: str, text: str) -> Callable[[SqlPeer], dict[str, Any]]:
    def table(peer: SqlPeer) -> dict[str, Any]:
        peer.map_file.write_text(text.replace("IF_TABLE", peer.name), encoding="utf-8")
        return {
            "connection": peer.connection(), "database": kind, "map_file": str(peer.map_file), "connections": 4,
            "connect_timeout_seconds": TIMEOUT, "timeout_seconds": TIMEOUT,
        }  # fmt: skip

    return table


ASKED = {  # they meet the connection, before anything is written
    Fault.HANG_UP: Expect(NotDelivered, acted=False),
    Fault.HALF_OPEN: Expect(NotDelivered, acted=False),
}


def _case(name: str, peer: Any, table: Any) -> Case:
    return Case(
        name=name, module=sql_out, peer=peer, table=table, message=patient_updated, effects=lambda peer: peer.rows(),
        expected=ASKED, timeout=TIMEOUT,
    )  # fmt: skip


CASES = [
    _case("ocs.sql_out-mariadb-upsert", _mariadb_peer, _table("mariadb", UPSERT)),
    _case("ocs.sql_out-postgresql-insert", _postgres_peer, _table("postgresql", INSERT)),
]
