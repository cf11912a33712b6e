"""A dose of `hub load`: a table of many patients read from a real MariaDB beside live traffic, with kill -9 of loader and hub.

    python -m tests.chaos.load --rows 200000 --database sqlite --kills 4

Says what the load came to a second (applied: in the canonical model), what answers and deliveries of the live traffic took
before it and meanwhile, how fast this machine was, and whether anything was missed or doubled. Exit 1 where it was.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hub.cli.common import database
from hub.config import load
from tests import servers
from tests.chaos.hub_process import HUB, ROOT, Hub
from tests.chaos.live import Live, Waits

MAP = """
source = "row"
[block.patient]
kind = "Patient"
key = "PANO"
[block.patient.fields]
"SNAME" = { to = "name", as = "name_text", each = true }
"BIRTH" = { to = "birthDate", as = "date", empty = ["00000000"] }
"SEX" = { to = "gender", codes = "administrative-sex" }
"HPHONE" = { to = "telecom", as = "phone", each = true }
[event.OPD_PATIENT]
title = "Patient master"
blocks = ["patient"]
"""
CHANNEL = """
[channels.ocs-patient]
adapter = "ocs.sql_in"
system = "ocs"
connection = { file = "secrets/ocs-odbc" }
database = "mariadb"
table = "OPD_PATIENT"
key = ["PANO"]
cursor = ["UPD_DT"]
event = "OPD_PATIENT"
encoding = "cp949"
overlap_seconds = 3600
poll_seconds = 1
overlay = "maps"
"""
TABLE = """CREATE TABLE OPD_PATIENT (PANO CHAR(8) PRIMARY KEY, SNAME VARCHAR(20) CHARACTER SET latin1, BIRTH CHAR(8),
SEX CHAR(1), HPHONE VARCHAR(15), UPD_DT DATETIME, KEY (UPD_DT))"""
FAMILY, GIVEN = "김이박최정강조윤장임한오서신권황안송전홍", "민서연우지훈현준예은하도수빈유진영호경숙자순정희뷁펲똠"


@dataclass
class Report:
    """What a dose came to. `faults` is empty where every promise held."""

    database: str
    rows: int
    seconds: float = 0.0  # until all was applied
    per_second: float = 0.0
    kills: list[str] = field(default_factory=list)
    before: dict[str, float] = field(default_factory=dict)  # the live traffic's waits without a load
    meanwhile: dict[str, float] = field(default_factory=dict)
    loop_ms: tuple[float, float] = (0.0, 0.0)  # a fixed piece of work, before and after: how fast this machine was
    faults: list[str] = field(default_factory=list)

    def expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


def fixed_work() -> float:
    """Milliseconds for a fixed piece of work: the median of five."""
    took = []
    for _ in range(5):
        began = time.perf_counter()
        sum(n * n for n in range(500_000))
        took.append((time.perf_counter() - began) * 1000)
    return round(sorted(took)[2], 1)


def fill(server: servers.MariaDB, rows: int) -> None:
    """The table, with one row that was changed just now, and then `rows` that were not for a year."""
    import pyodbc

    connection = pyodbc.connect(server.odbc("d_dose"), autocommit=True)
    connection.setencoding("utf-8", ctype=pyodbc.SQL_CHAR)
    rnd = random.Random(rows)
    for first in range(0, rows, 2000):
        values = [_row(rnd, 20_000_000 + n) for n in range(first, min(rows, first + 2000))]
        connection.execute(f"INSERT INTO OPD_PATIENT VALUES {','.join(values)}")
    connection.close()


def _row(rnd: random.Random, number: int) -> str:
    name = "".join([rnd.choice(FAMILY), rnd.choice(GIVEN), rnd.choice(GIVEN)]).encode("cp949").hex()
    born = f"19{rnd.randrange(30, 99)}{rnd.randrange(1, 13):02d}{rnd.randrange(1, 29):02d}"
    phone = f"010-{rnd.randrange(1000, 9999)}-{rnd.randrange(1000, 9999)}"
    return f"('{number}', X'{name}', '{born}', '{rnd.choice('MF')}', '{phone}', '2025-01-02 03:04:05')"


def create(server: servers.MariaDB) -> None:
    import pyodbc

    root = pyodbc.connect(server.odbc(), autocommit=True)
    root.execute("CREATE OR REPLACE DATABASE d_dose")
    root.execute("USE d_dose")
    root.execute(TABLE)
    root.execute("INSERT INTO OPD_PATIENT VALUES ('10000001', 'KIM', '19800101', 'M', '', NOW())")
    root.close()


@contextmanager
def hub_of(folder: Path, live: Live, server: servers.MariaDB, url: str | None) -> Iterator[Hub]:
    """A hub that has seen the table when it was nearly empty."""
    hub = Hub(folder, live.url, url, None, tuned=False)
    (folder / "maps").mkdir()
    (folder / "maps" / "ocs.toml").write_text(MAP, encoding="utf-8")
    secret = folder / "secrets" / "ocs-odbc"
    secret.write_text(server.odbc("d_dose"), encoding="utf-8")
    secret.chmod(0o600)
    with hub.config.open("a", encoding="utf-8") as config:
        config.write(CHANNEL)
    hub.start()
    try:
        until(hub.listening, 60)
        until(lambda: ask(hub, APPLIED) == 1, 60)
        yield hub
    finally:
        hub.end()


RECEIVED = "SELECT COALESCE(SUM(n), 0) FROM tally WHERE channel = 'ocs-patient' AND state = 'received'"
APPLIED = "SELECT COALESCE(SUM(n), 0) FROM tally WHERE channel = 'ocs-patient' AND state = 'applied'"


def ask(hub: Hub, sql: str) -> int:
    with database(load(hub.config)) as engine, engine.connect() as connection:
        return int(connection.exec_driver_sql(sql).scalar_one())


def until(what: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come to pass within {seconds:.0f} s")
        time.sleep(0.2)


def start(hub: Hub) -> subprocess.Popen[bytes]:
    command = [*HUB, "load", "ocs-patient", "--kind", "patient", "--json", "--config", str(hub.config)]
    with (hub.folder / "load.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, preexec_fn=lambda: servers.die_with(signal.SIGKILL))  # noqa: PLW1509


def loaded(hub: Hub, kills: int, rnd: random.Random, limit: float, report: Report) -> None:
    """`hub load`, killed with -9 so many times (it, or the hub) and started again, until it ends well."""
    deadline = time.monotonic() + limit
    loader = start(hub)
    try:
        for n in range(kills):
            until(lambda: ask(hub, RECEIVED) > (n + 1) * report.rows // (kills + 1), deadline - time.monotonic())  # noqa: B023
            if n % 2:
                hub.kill("all", rnd)
                hub.start()
                report.kills.append("hub")
            elif loader.poll() is None:
                loader.kill()
                loader.wait()
                report.kills.append("loader")
                loader = start(hub)
        while loader.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError("the load did not end")
            time.sleep(0.1)
        report.expect(
            loader.returncode == 0, f"hub load ended with {loader.returncode}: {(hub.folder / 'load.log').read_text()[-500:]}"
        )
        until(lambda: ask(hub, APPLIED) >= report.rows + 1, deadline - time.monotonic())
    finally:
        loader.kill()
        loader.wait()


def hold(hub: Hub, report: Report) -> None:
    """Nothing missed, nothing doubled."""
    rows = report.rows + 1
    for what, sql, wanted in (
        ("messages of the channel", "SELECT count(*) FROM message WHERE channel = 'ocs-patient'", rows),
        ("different control ids", "SELECT count(DISTINCT control_id) FROM message WHERE channel = 'ocs-patient'", rows),
        ("patients", "SELECT count(*) FROM identifier WHERE kind = 'Patient' AND value BETWEEN '10000001' AND '99999999'", rows),
        ("their first versions", "SELECT count(*) FROM change c JOIN message m ON m.id = c.message_id"
         " WHERE m.channel = 'ocs-patient' AND c.type = 'patient.created'", rows),
        ("their changes", "SELECT count(*) FROM change c JOIN message m ON m.id = c.message_id"
         " WHERE m.channel = 'ocs-patient'", rows),
        ("messages that are not applied", "SELECT count(*) FROM work WHERE channel = 'ocs-patient'", 0),
    ):  # fmt: skip
        found = ask(hub, sql)
        report.expect(found == wanted, f"{what}: {found}, not {wanted}")


def dose(rows: int, server: servers.MariaDB, url: str | None, folder: Path, *, kills: int, rate: float, quiet: float) -> Report:
    """`rate` live messages a second; `quiet` seconds of them without a load first (0: no live traffic)."""
    report = Report("sqlite" if url is None else "postgresql", rows)
    create(server)
    limit = 60 + rows / 100
    with Live() as live, hub_of(folder, live, server, url) as hub:
        fill(server, rows)
        report.loop_ms = (fixed_work(), 0.0)
        if quiet:
            live.begin(hub.ports[0], rate)
            time.sleep(2.0)
            live.end()  # warm by now
            live.begin(hub.ports[0], rate)
            time.sleep(quiet)
            report.before = live.end().told()
            live.begin(hub.ports[0], rate)
        began = time.monotonic()
        loaded(hub, kills, random.Random(1), limit, report)
        report.seconds = round(time.monotonic() - began, 1)
        report.per_second = round(rows / report.seconds, 0)
        if quiet:
            waits: Waits = live.end()
            report.meanwhile = waits.told()
            report.expect(not waits.missing, f"{waits.missing} live messages led to no webhook")
        report.loop_ms = (report.loop_ms[0], fixed_work())
        hold(hub, report)
    return report


def main() -> int:
    cli = argparse.ArgumentParser(
        prog="python -m tests.chaos.load", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    cli.add_argument("--rows", type=int, default=200_000)
    cli.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite", help="the hub's own store")
    cli.add_argument("--kills", type=int, default=0, help="kill -9, of the loader and of the hub by turns")
    cli.add_argument("--rate", type=float, default=40.0, help="live messages a second")
    cli.add_argument(
        "--quiet", type=float, default=30.0, help="seconds of live traffic without a load, to compare with; 0: none at all"
    )
    cli.add_argument("--folder", help="keep the hub in this folder; default: a temporary one")
    options = cli.parse_args()
    server = servers.MariaDB().start()
    store = servers.Postgres(fsync=True).start() if options.database == "postgresql" else None
    try:
        with tempfile.TemporaryDirectory(prefix="hubload-") as temporary:
            report = dose(
                options.rows, server, store.create() if store else None, Path(options.folder or temporary) / "hub",
                kills=options.kills, rate=options.rate, quiet=options.quiet,
            )  # fmt: skip
    finally:
        server.stop()
        if store is not None:
            store.stop()
    print(json.dumps(asdict(report), indent=1, ensure_ascii=False))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
