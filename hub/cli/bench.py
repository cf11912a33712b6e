"""`hub bench`: what this machine does in a second, measured from outside on a hub of its own in a temporary folder.

Sender and sink run beside the hub on the same cores (hub/simulator/load.py), as they do where the floors were set.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from hub.cli.common import BAD, GOOD, JsonOption, database, print_json, print_table, say, told
from hub.cli.messages import current
from hub.config import Config, load
from hub.domain.errors import Misconfigured, NotDelivered

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hub.cli.stages import Stage

FLOORS = {"accepted": 3000, "delivered": 1200}  # messages a second on two cores shared with sender and sink
START_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. Rates in messages a second from the first byte sent; CPU of all the hub's processes, µs a message."""

    messages: int
    accepted: float
    applied: float
    delivered: float
    wait_p50_ms: float
    wait_p99_ms: float
    events: int  # webhooks that the sink got
    again: int  # of them, sent more than once
    cpu_us: float


def register(app: typer.Typer) -> None:
    app.command()(bench)


def bench(
    messages: Annotated[int, typer.Option(min=100, help="How many messages a run.")] = 5000,
    connections: Annotated[int, typer.Option(min=1, max=256, help="MLLP connections that send.")] = 8,
    patients: Annotated[int, typer.Option(min=1, help="Patients that they are about.")] = 500,
    runs: Annotated[int, typer.Option(min=1, max=20, help="How often; the medians are told.")] = 1,
    url: Annotated[str | None, typer.Option("--database", help="An empty database; default: SQLite, temporary.")] = None,
    broker: Annotated[str | None, typer.Option(help="redis://…, to measure with Celery workers.")] = None,
    stages: Annotated[bool, typer.Option("--stages", help="Also CPU and statements a message, stage by stage.")] = False,
    profile: Annotated[Path | None, typer.Option(help="With --stages: write a profile a stage to FILE.<stage>.")] = None,
    history: Annotated[
        int, typer.Option(min=0, help="Instead: compare a fresh database with one that holds so many messages.")
    ] = 0,
    history_url: Annotated[
        str | None, typer.Option("--history-database", help="With --history and --database: a second empty database.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure this machine: messages accepted, applied and delivered a second, and the hub's CPU time a message.

    Starts a hub of its own in a temporary folder; yours is not touched. A database that holds messages is refused.

    Examples:

      hub bench

      hub bench --messages 40000 --runs 3

      hub bench --stages --profile /tmp/profile

      hub bench --history 500000

      hub bench --messages 40000 --database postgresql+psycopg://hub:secret@127.0.0.1/bench --json
    """
    from hub.simulator.load import Sink

    for named in (url, history_url):
        if named is not None:
            refuse_used(named)
    if (url is None) != (history_url is None) and history:
        raise typer.BadParameter("--history needs two empty databases or none: --database and --history-database")
    folder = Path(tempfile.mkdtemp(prefix="hub-bench-"))
    if history:
        try:
            _history(folder, (url, history_url), history, as_json)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        with (
            Sink() as sink,
            hub_of_its_own(folder, sink.url, url, broker) as (config, process),
            database(config) as engine,
            Progress(disable=as_json, transient=True) as progress,
        ):
            turns = progress.track(range(runs), description="measuring")
            found = [measure(config, engine, process.pid, sink, messages, connections, patients, f"B{n}") for n in turns]
        costs = _stages(folder / "hub.toml", messages, profile) if stages or profile else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _tell(found, costs, _kind(url), as_json)


def _stages(config: Path, messages: int, profile: Path | None) -> list[Stage]:
    """The same hub, stopped, its parts driven one by one in this process."""
    from hub.cli.stages import measure as measure_stages

    return measure_stages(config, messages, run="S", profile=profile)


def _history(folder: Path, urls: tuple[str | None, str | None], messages: int, as_json: bool) -> None:
    """Two hubs that never run; the second is filled first."""
    from hub.cli import history

    fresh, aged = folder / "fresh" / "hub.toml", folder / "history" / "hub.toml"
    for config, url in zip((fresh, aged), urls, strict=True):
        _init(config.parent, "http://127.0.0.1:9/hooks", url, None)
    with Progress(disable=as_json, transient=True) as progress:
        filling = progress.add_task("storing", total=messages)
        history.fill(aged, messages, lambda n: progress.advance(filling, n))
        comparing = progress.add_task("comparing", total=2 * (history.RUNS + 1))
        found = history.compare(fresh, aged, lambda n: progress.advance(comparing, n))
    history.tell(found, messages, _kind(urls[0]), as_json)


def _kind(url: str | None) -> str:
    return "SQLite" if url is None else url.split(":", 1)[0].split("+")[0]


def refuse_used(url: str) -> None:
    """A database that has messages is somebody's: Misconfigured."""
    from sqlalchemy import inspect, select

    from hub.db.engine import make_engine, parse_url
    from hub.db.tables import message

    engine = make_engine(parse_url(url))
    try:
        with told(), engine.connect() as connection:
            if inspect(connection).has_table("message") and connection.execute(select(message.c.id).limit(1)).first():
                raise Misconfigured("this database holds messages: name an empty one")
    finally:
        engine.dispose()


def _init(folder: Path, crm: str, url: str | None, broker: str | None) -> tuple[int, int]:
    """`hub init` in `folder`; its MLLP and web ports. Misconfigured where it fails."""
    mllp, web = _free_port(), _free_port()
    more = (["--database", url] if url else []) + (["--broker", broker] if broker else [])
    ports = ["--mllp-port", str(mllp), "--web-port", str(web)]
    init = [sys.executable, "-m", "hub", "init", str(folder), *ports, "--crm-url", crm, "--force", *more]
    made = subprocess.run(init, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own command
    if made.returncode:
        raise Misconfigured(f"hub init failed: {made.stderr.strip()}")
    return mllp, web


@contextmanager
def hub_of_its_own(
    folder: Path, crm: str, url: str | None, broker: str | None
) -> Iterator[tuple[Config, subprocess.Popen[bytes]]]:
    """`hub init` and `hub run` in `folder`, ready to take messages; ended with the block."""
    ports = _init(folder, crm, url, broker)
    log = folder / "hub.log"
    with log.open("wb") as out:
        run = [sys.executable, "-m", "hub", "run", "--config", str(folder / "hub.toml"), "--log-level", "WARNING"]
        process = subprocess.Popen(run, stdout=out, stderr=out)  # noqa: S603 - our own command
    try:
        try:
            _until(lambda: process.poll() is None and all(map(_answers, ports)), START_SECONDS, "")
        except NotDelivered:
            raise NotDelivered(f"the hub did not start:\n{log.read_text(errors='replace')[-2000:]}") from None
        yield load(folder / "hub.toml"), process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def measure(
    config: Config, engine: Engine, pid: int, sink: object, messages: int, connections: int, patients: int, run: str
) -> Measured:
    """Send, wait until all is applied, then until all is delivered."""
    from hub.simulator.load import Sink, send

    assert isinstance(sink, Sink)
    port = int(config.channels["ocs-in"].settings["port"])
    done_before, counts_before, cpu_before = _done(config, engine), sink.counts(), cpu_seconds(pid)
    begun = time.perf_counter()
    sent = send("127.0.0.1", port, messages, connections=connections, patients=patients, run=run)
    if sent.unanswered or not sent.accepted:
        raise NotDelivered(f"{sent.unanswered} messages were never answered")
    patience = 60 + messages / 50
    _until(lambda: _done(config, engine) - done_before >= sent.accepted, patience, "not everything was applied in time")
    applied = time.perf_counter() - begun
    _until(lambda: _waiting(config, engine) == 0, patience, "not everything was delivered in time")
    delivered = time.perf_counter() - begun
    counts = sink.counts() - counts_before
    return Measured(
        messages=sent.accepted,
        accepted=sent.per_second,
        applied=sent.accepted / applied,
        delivered=sent.accepted / delivered,
        wait_p50_ms=sent.wait_ms(0.5),
        wait_p99_ms=sent.wait_ms(0.99),
        events=counts["distinct"],
        again=counts["again"],
        cpu_us=(cpu_seconds(pid) - cpu_before) * 1e6 / sent.accepted,
    )


def _done(config: Config, engine: Engine) -> int:
    return next((one.done for one in current(config, engine) if one.channel == "ocs-in"), 0)


def _waiting(config: Config, engine: Engine) -> int:
    return sum(one.queued + one.in_flight for one in current(config, engine))


def _until(what: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise NotDelivered(otherwise)
        time.sleep(0.1)  # a look counts every row that waits: more often, and it is part of what is measured


def cpu_seconds(root: int) -> float:
    """User and system time of a process and all its descendants (proc(5): fields 4, 14 and 15 of stat)."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(entry.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        spent[pid] = (int(fields[11]) + int(fields[12])) / TICKS
    total, open_ = 0.0, [root]
    while open_:
        pid = open_.pop()
        total += spent.get(pid, 0.0)
        open_ += children.get(pid, [])
    return total


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def _tell(found: list[Measured], costs: list[Stage], kind: str, as_json: bool) -> None:
    medians = {name: statistics.median(getattr(one, name) for one in found) for name in Measured.__slots__}
    if as_json:
        print_json(
            {
                "database": kind,
                "cores": os.cpu_count(),
                "runs": [asdict(one) for one in found],
                "median": medians,
                "floors": FLOORS,
                "stages": [asdict(stage) for stage in costs],
            }
        )
        return
    rows = [
        ("accepted", f"{medians['accepted']:,.0f}", "messages a second, committed before the answer"),
        ("applied", f"{medians['applied']:,.0f}", "messages a second, in the canonical model"),
        ("delivered", f"{medians['delivered']:,.0f}", "messages a second, every webhook of theirs confirmed"),
        ("answer, median", f"{medians['wait_p50_ms']:.1f}", "ms"),
        ("answer, 99 %", f"{medians['wait_p99_ms']:.1f}", "ms"),
        ("webhooks", f"{medians['events']:,.0f}", f"for {medians['messages']:,.0f} messages; {medians['again']:,.0f} sent again"),
        ("CPU", f"{medians['cpu_us']:,.0f}", "µs a message, all processes of the hub"),
    ]
    print_table(f"{kind}, {os.cpu_count()} cores shared with sender and sink", ("what", "median", ""), rows, right=("median",))
    if costs:
        lines = [(stage.name, f"{stage.cpu_us:,.0f}", f"{stage.statements:.3f}", "\n".join(stage.top)) for stage in costs]
        print_table("\nA message, stage by stage", ("stage", "CPU µs", "statements", ""), lines, right=("CPU µs", "statements"))
    for name, floor in FLOORS.items():
        good = medians[name] >= floor
        say(f"{name}: floor {floor:,} a second {'held' if good else 'NOT held'}", GOOD if good else BAD)
