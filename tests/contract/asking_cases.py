"""Adapters that ask databases: a real MariaDB behind a proxy that misbehaves."""

from __future__ import annotations

import secrets
import ssl
import tempfile
from pathlib import Path
from typing import Any

from hub.adapters.ocs import sql_in
from hub.simulator.faults import Fault
from hub.testing.case import NAME
from hub.testing.inbound_case import PolledCase
from tests.contract.inbound_cases import MAP, number
from tests.contract.sql_case import _mariadb
from tests.contract.sql_proxy import MySql, Proxy
from tests.integration.odbc_kit import writer


class Tables(Proxy):
    """A table in a database of its own; faults show when a connection is made."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(MySql(), lambda: _mariadb().port, tls)
        self._name = f"asked_{secrets.token_hex(6)}"
        self._writer = writer(_mariadb().odbc())
        self._run(f"CREATE DATABASE {self._name} CHARACTER SET utf8mb4")
        self._run(f"CREATE TABLE {self._name}.opd_patient (SEQ INTEGER PRIMARY KEY, PANO VARCHAR(40), SNAME VARCHAR(60))")

    def _run(self, sql: str) -> None:
        self._writer.execute(sql)

    def tell(self, n: int) -> None:
        self._run(f"INSERT INTO {self._name}.opd_patient VALUES ({n}, '{number(n)}', '{NAME}')")

    def connection(self) -> str:
        """Through the proxy."""
        return _mariadb().odbc(self._name, PORT=str(self.port))


def _table(peer: Tables) -> dict[str, Any]:
    secret = Path(tempfile.mkdtemp()) / "connection"  # it has a password in it
    secret.touch(0o600)
    secret.write_text(peer.connection(), encoding="utf-8")
    return {
        "connection": {"file": str(secret)}, "database": "mariadb", "table": "opd_patient", "key": ["PANO"],
        "event": "OPD_PATIENT", "cursor": ["SEQ"], "overlap_seconds": 0, "statement_seconds": 1,
    }  # fmt: skip


ASKING = [
    PolledCase(
        name="ocs.sql_in",
        module=sql_in,
        peer=Tables,
        table=_table,
        tell=lambda peer, n: peer.tell(n),
        number=number,
        maps=MAP,
        # Of half an answer to a SELECT Debian's driver makes a crash: that ends the role `poll`, which is begun anew
        # (test_supervise); a server that says nothing is the watch's matter (test_polling)
        faults=(Fault.CLOSED, Fault.HANG_UP),
        timeout=2.0,
    ),
]
