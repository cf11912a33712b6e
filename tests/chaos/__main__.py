"""`python -m tests.chaos`: doses of faults for a hub, with a progress bar; exit 1 where a promise did not hold."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests import servers
from tests.chaos import harness, tables
from tests.chaos.doses import DOSES
from tests.chaos.harness import Dose, Report
from tests.chaos.tables import TableDose
from tests.integration import odbc_kit

screen = Console(stderr=True)


def main() -> int:
    options = _options()
    doses = _chosen(options)
    try:
        if any(isinstance(dose, Dose) for dose in doses):
            harness.tools()
    except harness.ToolsMissingError as missing:
        screen.print(f"[red]{missing}")
        return 2
    reports = []
    with Servers() as real:
        for dose in doses:
            report = _give(dose, real, Path(options.folder) if options.folder else None)
            reports.append(report)
            _tell(report)
    if options.json:
        print(json.dumps([report.as_dict() for report in reports], ensure_ascii=False, indent=1))
    screen.print(_table(reports))
    return 1 if any(report.faults for report in reports) else 0


def _options() -> argparse.Namespace:
    cli = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    cli.add_argument("--dose", choices=sorted(DOSES), default="small", help="which list of doses")
    cli.add_argument("--only", default="", help="only doses whose name holds this text")
    cli.add_argument("--messages", type=int, help="another number of messages")
    cli.add_argument("--kills", type=int, help="another number of kills")
    cli.add_argument("--seed", type=int, default=1, help="whom the kills hit, and which requests the sink refuses")
    cli.add_argument("--folder", help="keep hub, logs and ledgers in this folder; default: a temporary one")
    cli.add_argument("--json", action="store_true", help="everything that was counted, on stdout")
    return cli.parse_args()


def _chosen(options: argparse.Namespace) -> list[Dose | TableDose]:
    from dataclasses import replace

    given = {"messages": options.messages, "kills": options.kills, "seed": options.seed}
    changes = {name: value for name, value in given.items() if value is not None}
    return [replace(dose, **changes) for dose in DOSES[options.dose] if options.only.lower() in dose.name.lower()]


class Servers:
    """PostgreSQL, MariaDB and Redis, started when a dose needs them."""

    def __init__(self) -> None:
        self._postgres: servers.Postgres | None = None
        self._mariadb: servers.MariaDB | None = None
        self._redis: servers.Redis | None = None

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._postgres, self._mariadb, self._redis):
            if server is not None:
                server.stop()

    def old_system(self, dose: TableDose) -> odbc_kit.Legacy:
        if dose.database == "mariadb":
            self._mariadb = self._mariadb or servers.MariaDB().start()
            return odbc_kit.old_system(self._mariadb, "chaos", dose.charset)
        self._postgres = self._postgres or servers.Postgres(fsync=True).start()
        return odbc_kit.old_system(self._postgres, "chaos", dose.charset)

    def database(self, dose: Dose) -> str | None:
        if dose.database == "sqlite":
            return None
        self._postgres = self._postgres or servers.Postgres(fsync=True).start()
        return self._postgres.create()

    def redis(self, dose: Dose) -> servers.Redis | None:
        if dose.redis not in ("running", "flushed"):
            return None
        self._redis = self._redis or servers.Redis().start()
        self._redis.flush()
        return self._redis


def _give(dose: Dose | TableDose, real: Servers, keep: Path | None) -> Report:
    columns = (
        TextColumn("{task.description:44}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[more]}"),
        TimeElapsedColumn(),
    )
    with tempfile.TemporaryDirectory(prefix="hubchaos-") as temporary, Progress(*columns, console=screen) as bar:
        folder = Path(temporary)
        if keep is not None:
            folder = keep / dose.name.replace(", ", "-").replace(" ", "_")
            folder.mkdir(parents=True)
        task = bar.add_task(dose.name, total=dose.messages, more="")
        if isinstance(dose, TableDose):
            return tables.run(dose, folder, real.old_system(dose), _shown(bar, task))
        return harness.run(dose, folder, real.database(dose), real.redis(dose), _shown(bar, task))


def _shown(bar: Progress, task: object) -> Callable[[harness.Progress], None]:
    def show(now: harness.Progress) -> None:
        more = f"{now.phase}, {now.delivered} deliveries, {now.kills} kills"
        bar.update(task, completed=now.acknowledged, more=more)  # type: ignore[arg-type]

    return show


def _tell(report: Report) -> None:
    for fault in report.faults:
        screen.print(f"[red]  {fault}")


def _table(reports: list[Report]) -> Table:
    heads = (
        "dose",
        "sent",
        "lost",
        "doubled",
        "resent",
        "inversions",
        "msg/s",
        "worked off s",
        "kills",
        "to ACK s",
        "silence s",
        "",
    )
    table = Table(*heads)
    for one in reports:
        acks = [kill.to_ack for kill in one.kills if kill.to_ack is not None]
        silences = [kill.silence for kill in one.kills if kill.silence is not None]
        cells = [one.ledger.get(name) for name in ("sent", "lost", "doubled", "resent", "inversions")]
        cells += [one.sender.get("per_second"), one.seconds.get("working_off"), len(one.kills), _span(acks), _span(silences)]
        table.add_row(one.dose, *map(str, cells), "[red]NO" if one.faults else "[green]ok")
    return table


def _span(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} (max {max(values):.1f})" if values else "-"


if __name__ == "__main__":
    sys.exit(main())
