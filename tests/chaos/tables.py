"""Doses for polled tables: a real hub reads while eight writers write, its processes are killed; then every row is counted."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from hub.cli.common import database
from hub.config import load
from tests.chaos.harness import Kill, Progress, Report
from tests.chaos.hub_process import Hub
from tests.chaos.table_writers import Writers
from tests.hub_kit import row_map
from tests.integration.odbc_kit import Legacy

MAP = row_map('"sname" = { to = "name", as = "name_text", each = true }', '"birth" = { to = "birthDate", as = "date" }').replace(
    '"PANO"', '"pano"'
)
CHANNEL = """
[channels.ocs-patient]
adapter = "ocs.sql_in"
system = "ocs"
connection = {{ file = "secrets/ocs-odbc" }}
database = "{kind}"
table = "opd_patient"
key = ["pano"]
columns = ["pano", "sname", "birth"{more}]
event = "OPD_PATIENT"
encoding = "{encoding}"
overlap_seconds = {overlap}
poll_seconds = {pause}
overlay = "maps"
{way}
"""
WAYS = {
    "watermark": 'cursor = ["upd_dt"]',
    "flag": 'flag = { column = "if_yn" }',
    "log": 'log = { table = "opd_log", order = "log_id", action = "op" }',
}


Kind = Literal["mariadb", "postgresql"]
Way = Literal["watermark", "flag", "log"]


@dataclass(frozen=True, slots=True)
class TableDose:
    """What is done to one hub that reads one table."""

    name: str
    messages: int  # rows; every tenth is changed again in a later transaction
    database: Kind  # of the old system; the hub's own is SQLite
    way: Way
    kills: int = 0
    longest: float = 20.0  # seconds of the longest transaction
    writers: int = 8
    limit: float = 900.0  # seconds for writing, and again for working off
    seed: int = 1

    @property
    def charset(self) -> str:
        """What the old system's text columns are declared as: cp949 lies in them."""
        return "latin1" if self.database == "mariadb" else "SQL_ASCII"


def run(dose: TableDose, folder: Path, legacy: Legacy, watch: Callable[[Progress], None] = lambda _: None) -> Report:
    """Gives a dose to a fresh hub in `folder`, which reads `legacy`; ends in time."""
    writers = Writers(legacy, dose.messages, dose.writers, dose.longest, dose.seed)
    writers.create()
    hub = _hub(dose, folder, legacy)
    with contextlib.ExitStack() as stack:
        hub.start()
        stack.callback(hub.end)
        return _Run(dose, hub, writers, watch).go()


def _hub(dose: TableDose, folder: Path, legacy: Legacy) -> Hub:
    hub = Hub(folder, "http://127.0.0.1:9/hooks", None, None, tuned=False)
    (folder / "maps").mkdir()
    (folder / "maps" / "ocs.toml").write_text(MAP, encoding="utf-8")
    secret = folder / "secrets" / "ocs-odbc"
    secret.write_text(legacy.connection, encoding="utf-8")
    secret.chmod(0o600)
    config = hub.config.read_text().replace("[channels.crm-webhook]\n", "[channels.crm-webhook]\nenabled = false\n", 1)
    channel = CHANNEL.format(
        kind=legacy.kind, encoding=legacy.encoding, overlap=dose.longest * 1.25, pause=min(1.0, dose.longest / 10),
        way=WAYS[dose.way],
        more={"watermark": ', "upd_dt"', "flag": ', "if_yn"', "log": ""}[dose.way],
    )  # fmt: skip
    hub.config.write_text(config + channel, encoding="utf-8")
    return hub


class _Run:
    """One dose being given."""

    def __init__(self, dose: TableDose, hub: Hub, writers: Writers, watch: Callable[[Progress], None]) -> None:
        self.dose, self.hub, self.writers, self.watch = dose, hub, writers, watch
        self.report = Report(dose.name)
        self.rnd = random.Random(dose.seed)
        self._next_kill = self._every = dose.messages / (dose.kills + 1)

    def go(self) -> Report:
        self._until(lambda: "poll" in self.hub.family().values(), 60)
        began = time.monotonic()
        self.writers.start()
        while self.writers.alive() and time.monotonic() - began < self.dose.limit:
            self._look("writing")
        wrote = time.monotonic()
        settled = self._settle(wrote + self.dose.limit)
        done = time.monotonic()
        self.report.seconds = {"sending": round(wrote - began, 2), "working_off": round(done - wrote, 2)}
        self.report.sender = {
            "per_second": round(len(self.writers.versions) / (done - began)),
            "longest": round(self.writers.longest, 1),
        }
        self.report.expect(settled, f"rows were missing or work was left {self.dose.limit:g} s after the last row was written")
        self.report.expect(not self.writers.troubles, f"writers were disturbed: SQLSTATE {self.writers.troubles}")
        self.report.expect(
            len(self.report.kills) == self.dose.kills, f"{len(self.report.kills)} kills instead of {self.dose.kills}"
        )
        self.report.starts = self.hub.starts
        self._count()
        code = self.hub.stop()
        self.report.expect(code == 0, f"hub run ended with {code} on SIGTERM")
        return self.report

    def _look(self, phase: str) -> None:
        taken = self._ask("SELECT count(*) FROM identifier WHERE kind = 'Patient'")
        if len(self.report.kills) < self.dose.kills and len(self.writers.versions) >= self._next_kill:
            whom = "all" if len(self.report.kills) % 2 == 0 else "one"
            self.report.kills.append(Kill(time.time(), self.hub.kill(whom, self.rnd), taken))
            self._next_kill += self._every
        self.hub.keep()
        self.watch(Progress(phase, len(self.writers.versions), taken, len(self.report.kills)))
        time.sleep(0.2)

    def _settle(self, deadline: float) -> bool:
        """Until every row is there and nothing waits, and that for three polls: what comes twice comes soon."""
        quiet = 0
        while time.monotonic() < deadline:
            self._look("working off")
            waiting = sum(one["queued"] + one["in_flight"] for one in self.hub.status()["channels"].values())
            quiet = quiet + 1 if not waiting and not self._stale() else 0
            if quiet == 3:
                return True
            time.sleep(min(1.0, self.dose.longest / 5))
        return False

    def _stale(self) -> int:
        """Rows whose newest version the hub does not have."""
        versions = self.writers.versions
        if self._ask("SELECT count(*) FROM identifier WHERE kind = 'Patient'") != len(versions):
            return 1
        found = self._rows(
            "SELECT i.value, r.data FROM identifier i JOIN resource r ON r.id = i.resource_id WHERE i.kind = 'Patient'"
        )
        born = {int(number): str(orjson.loads(data).get("birthDate", ""))[:4] for number, data in found}
        return sum(born.get(number) != str(1950 + n - 1) for number, n in versions.items())

    def _count(self) -> None:
        """Missed: a row, or its newest version. Doubled: more messages than versions, or more changes of the patient."""
        versions, report = self.writers.versions, self.report
        told = Counter({int(number): n for number, n in self._rows(
            "SELECT patient_no, count(*) FROM message WHERE channel = 'ocs-patient' GROUP BY patient_no")})  # fmt: skip
        changed = Counter({int(number): n for number, n in self._rows(
            "SELECT i.value, count(*) FROM change c JOIN identifier i ON i.resource_id = c.resource_id"
            " WHERE i.kind = 'Patient' AND c.kind = 'Patient' GROUP BY i.value")})  # fmt: skip
        known = {int(number) for (number,) in self._rows("SELECT value FROM identifier WHERE kind = 'Patient'")}
        report.ledger = {
            "sent": len(versions),
            "versions": versions.total(),
            "messages": told.total(),
            "lost": len(versions.keys() - known) + self._stale(),
            "doubled": sum(told[number] > n or changed[number] > n for number, n in versions.items()),
            "invented": len(known - versions.keys()),
            "resent": 0,
            "inversions": 0,
        }
        for what in ("lost", "doubled", "invented"):
            report.expect(report.ledger[what] == 0, f"{what}: {report.ledger[what]}")
        report.status = self.hub.status()
        for name, one in report.status["channels"].items():
            for state in ("queued", "in_flight", "uncertain", "dead", "refused"):
                report.expect(one[state] == 0, f"{name}: {one[state]} messages are {state}")

    def _ask(self, sql: str) -> int:
        return int(self._rows(sql)[0][0])

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with database(load(self.hub.config)) as engine, engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

    def _until(self, what: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"the hub did not come up:\n{(self.hub.folder / 'run.log').read_text(errors='replace')[-3000:]}"
                )
            time.sleep(0.1)
