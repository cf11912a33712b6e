"""`hub run` beside old tables that are being written to, killed with -9 meanwhile: each row is one message, one patient."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyodbc

from hub.cli.common import database
from hub.config import load
from tests import servers
from tests.chaos.hub_process import Hub
from tests.hub_kit import row_map
from tests.integration import odbc_kit

MAP = row_map(
    '"SNAME" = { to = "name", as = "latin1_name", each = true }',
    '"BIRTH" = { to = "birthDate", as = "date", empty = ["00000000"] }',
)
CHANNEL = """
[channels.ocs-patient]
adapter = "ocs.sql_in"
system = "ocs"
connection = { file = "secrets/ocs-odbc" }
database = "mariadb"
table = "OPD_PATIENT"
key = ["PANO"]
cursor = ["SEQ"]
event = "OPD_PATIENT"
encoding = "cp949"
overlap_seconds = 2
poll_seconds = 0.1
overlay = "maps"
"""
TABLE = """CREATE TABLE OPD_PATIENT (SEQ BIGINT AUTO_INCREMENT PRIMARY KEY, PANO CHAR(8) UNIQUE,
SNAME VARCHAR(20) CHARACTER SET latin1, BIRTH CHAR(8))"""


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def ask(hub: Hub, sql: str) -> int:
    with database(load(hub.config)) as engine, engine.connect() as connection:
        return int(connection.exec_driver_sql(sql).scalar_one())


def write(connect: Callable[[], pyodbc.Connection], writer: int, until_: float, written: list[str]) -> None:
    """Transactions of up to a second, five rows each."""
    connection = connect()
    rnd, turn = random.Random(writer), 0
    while time.monotonic() < until_:
        numbers = [f"{writer}{turn:04d}{n:02d}" for n in range(5)]
        pause = rnd.choice((0.01, 0.05, 0.2))
        for number in numbers:
            name = odbc_kit.NAMES[turn % len(odbc_kit.NAMES)].encode("cp949").hex()
            connection.execute(f"INSERT INTO OPD_PATIENT (PANO, SNAME, BIRTH) VALUES ('{number}', X'{name}', '00000000')")
            time.sleep(pause)
        connection.commit()
        written += numbers
        turn += 1
    connection.close()


def test_each_row_once_although_the_hub_is_killed(tmp_path: Path, mariadb: servers.MariaDB) -> None:
    legacy = odbc_kit.mariadb(mariadb, "d_killed", "latin1", "cp949", "cp949")
    legacy.write(TABLE)
    hub = Hub(tmp_path / "hub", "http://127.0.0.1:9/hooks", None, None)
    (hub.folder / "maps").mkdir()
    (hub.folder / "maps" / "ocs.toml").write_text(MAP, encoding="utf-8")
    secret = hub.folder / "secrets" / "ocs-odbc"
    secret.write_text(legacy.connection, encoding="utf-8")
    secret.chmod(0o600)
    with hub.config.open("a", encoding="utf-8") as config:
        config.write(CHANNEL)
    written: list[str] = []
    end = time.monotonic() + 10.0

    def connect() -> pyodbc.Connection:
        return pyodbc.connect(legacy.connection, autocommit=False)

    writers = [threading.Thread(target=write, args=(connect, n, end, written)) for n in range(1, 5)]
    hub.start()
    try:
        for writer in writers:
            writer.start()
        until(lambda: "poll" in hub.family().values())
        time.sleep(2.0)
        hub.kill("all", random.Random(1))
        hub.start()
        until(lambda: "poll" in hub.family().values())
        poller = next(pid for pid, role in hub.family().items() if role == "poll")
        os.kill(poller, signal.SIGKILL)  # and that one alone, which the supervisor starts again
        for writer in writers:
            writer.join(30)
        until(lambda: ask(hub, "SELECT count(*) FROM identifier WHERE kind = 'Patient'") == len(written))
        time.sleep(0.5)
        assert len(written) > 100
        assert ask(hub, "SELECT count(*) FROM message WHERE channel = 'ocs-patient'") == len(written)
        assert ask(hub, "SELECT count(DISTINCT patient_no) FROM message WHERE channel = 'ocs-patient'") == len(written)
        assert ask(hub, "SELECT count(*) FROM term WHERE kind = 'name' AND value LIKE '똠방각하%'") > 0
    finally:
        for writer in writers:
            writer.join(30)
        hub.end()
