"""The fault harness: a real hub under load, its processes killed, its broker flushed or absent; then everything is counted.

Sender, sink and ledger are independent programs (mllp_load.py, http_sink.py, ledger.py, standard library only) that know
nothing of the hub's code; they lie in $HUB_TOOLS, else in ../shared/tools beside the project. This file starts them and a
hub, does the harm, and holds what the ledger, `hub status` and `hub audit verify` say against the promises.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests import servers
from tests.chaos.hub_process import Hub
from tests.chaos.probe import Probe

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("mllp_load.py", "http_sink.py", "ledger.py")
NEW_ACKS = 200  # new acknowledgements before the next kill, at least
FLUSH_SECONDS = 2.0
START_SECONDS = 90.0  # a fifth of that on a machine with nothing else to do would be much


@dataclass(frozen=True, slots=True)
class Dose:
    """What is done to one hub. `redis`: none (no broker configured), running, flushed (every 2 s), absent (nobody answers)."""

    name: str
    messages: int
    database: Literal["sqlite", "postgresql"]
    redis: Literal["none", "running", "flushed", "absent"] = "none"
    kills: int = 0
    limit: float = 75.0  # seconds for sending, and again for working off
    tuned: bool = True  # hub_process.WEBHOOK; else hub.toml as `hub init` wrote it
    connections: int = 8
    patients: int = 200
    refuse: float = 0.1
    drop: float = 0.05
    seed: int = 1

    @property
    def total(self) -> int:
        """What the sender makes of `messages`: as many on each connection."""
        return self.messages // self.connections * self.connections

    @property
    def every(self) -> int:
        """New acknowledgements between two kills: spread over the run, never fewer than NEW_ACKS."""
        return max(NEW_ACKS, self.messages // (self.kills + 1))


@dataclass(slots=True)
class Kill:
    """One kill, and how long the hub was away. Seconds; None: not seen."""

    at: float
    whom: str  # all, or the role of the one
    acknowledged: int
    to_ack: float | None = None  # until a fresh message of the probe was acknowledged
    silence: float | None = None  # longest pause between two deliveries that began within a second of the kill


@dataclass(slots=True)
class Report:
    """What came of a dose. `faults` is empty where every promise held."""

    dose: str
    faults: list[str] = field(default_factory=list)
    sender: dict[str, Any] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    flushes: int = 0
    starts: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self.faults.append(fault)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is, for whoever watches."""

    phase: str
    acknowledged: int
    delivered: int
    kills: int


class ToolsMissingError(Exception):
    """The independent tools are not there."""


def tools() -> Path:
    """The folder of the independent tools. Raises ToolsMissingError."""
    folder = Path(os.environ.get("HUB_TOOLS") or ROOT.parent / "shared" / "tools")
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise ToolsMissingError(f"no {', '.join(missing)} in {folder}: set HUB_TOOLS")
    return folder


class Lines:
    """Counts the lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self.count = 0

    def look(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
            self._at += len(data)
            self.count += data.count(b"\n")
        return self.count


def run(
    dose: Dose,
    folder: Path,
    database: str | None,
    redis: servers.Redis | None,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Gives a dose to a fresh hub in `folder` and reports; ends in time (`dose.limit`). `database`: a URL, None for SQLite."""
    where = tools()
    port = servers.free_port()
    broker = {"none": None, "absent": f"redis://127.0.0.1:{servers.free_port()}/0"}.get(dose.redis, redis.url if redis else None)
    hub = Hub(folder, f"http://127.0.0.1:{port}/hooks", database, broker, dose.tuned)
    with contextlib.ExitStack() as stack:
        sink = [sys.executable, str(where / "http_sink.py"), "--port", str(port), "--log", str(folder / "effects.jsonl"),
                "--refuse", str(dose.refuse), "--drop", str(dose.drop), "--seed", str(dose.seed)]  # fmt: skip
        stack.enter_context(_process(sink, folder / "sink.log"))
        hub.start()
        stack.callback(hub.end)
        if not _until(hub.listening, START_SECONDS):
            raise RuntimeError(f"the hub did not come up:\n{(folder / 'run.log').read_text(errors='replace')[-3000:]}")
        flusher = _Flusher(redis if dose.redis == "flushed" else None)
        stack.callback(flusher.stop)
        sender = [sys.executable, str(where / "mllp_load.py"), "--port", str(hub.ports[0]), "--messages", str(dose.messages),
                  "--connections", str(dose.connections), "--patients", str(dose.patients), "--give-up", str(dose.limit),
                  "--ledger", str(folder / "sent.jsonl")]  # fmt: skip
        with (folder / "sender.json").open("wb") as out:
            load = subprocess.Popen(sender, stdout=out, stderr=subprocess.STDOUT)
        stack.callback(servers.stop, load)
        return _Run(dose, hub, load, flusher, where, watch).go()


class _Run:
    """One dose being given."""

    def __init__(
        self,
        dose: Dose,
        hub: Hub,
        load: subprocess.Popen[bytes],
        flusher: _Flusher,
        where: Path,
        watch: Callable[[Progress], None],
    ) -> None:
        self.dose, self.hub, self.load, self.flusher, self.where = dose, hub, load, flusher, where
        self.watch = watch
        self.folder = hub.folder
        self.report = Report(dose.name)
        self.acks, self.effects = Lines(self.folder / "sent.jsonl"), Lines(self.folder / "effects.jsonl")
        self.rnd = random.Random(dose.seed)
        self.probe = Probe(hub.ports[0])

    def go(self) -> Report:
        began = time.monotonic()
        self._harm(began + self.dose.limit)
        sent = time.monotonic()
        settled = self._settle(sent + self.dose.limit)
        done = time.monotonic()
        self.probe.stop()
        self.report.seconds = {"sending": round(sent - began, 2), "working_off": round(done - sent, 2)}
        self.flusher.stop()
        self.report.expect(settled, f"work was left over {self.dose.limit:g} s after the last message was sent")
        self._count()
        return self.report

    # -- harm -----------------------------------------------------------------------------------------------------

    def _harm(self, deadline: float) -> None:
        """Until the sender is through: kills in turn all and one at random, and starts again what ended."""
        next_kill = self.dose.every
        while self.load.poll() is None and time.monotonic() < deadline:
            acknowledged = self.acks.look()
            if len(self.report.kills) < self.dose.kills and acknowledged >= next_kill:
                self._kill(acknowledged)
                next_kill = acknowledged + self.dose.every
            self._look("sending")
            time.sleep(0.05)
        if self.load.poll() is None:
            self.report.faults.append(f"the sender was not through after {self.dose.limit:g} s")
            servers.stop(self.load)

    def _kill(self, acknowledged: int) -> None:
        whom = "all" if len(self.report.kills) % 2 == 0 else "one"
        at = time.time()
        kill = Kill(at, self.hub.kill(whom, self.rnd), acknowledged)
        self.report.kills.append(kill)
        self.hub.keep()
        self.probe.measure(lambda seconds: setattr(kill, "to_ack", round(seconds, 2)))

    def _look(self, phase: str) -> None:
        self.hub.keep()
        self.watch(Progress(phase, self.acks.look(), self.effects.look(), len(self.report.kills)))

    def _settle(self, deadline: float) -> bool:
        """Until nothing waits any more, twice in a row: what one step finished may have made work for the next."""
        quiet = 0
        while time.monotonic() < deadline:
            self._look("working off")
            waiting = sum(c["queued"] + c["in_flight"] for c in self.hub.status()["channels"].values())
            quiet = quiet + 1 if waiting == 0 and not self.probe.busy else 0
            if quiet == 3:
                return True
            time.sleep(0.2)
        return False

    # -- counting -------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        report, dose = self.report, self.dose
        report.sender = _json_of((self.folder / "sender.json").read_text(errors="replace"))
        report.expect(report.sender.get("accepted") == dose.total, f"not every message was acknowledged: {report.sender}")
        report.expect(
            len(report.kills) == dose.kills, f"{len(report.kills)} kills instead of {dose.kills}: the sender was through"
        )
        self._ledger()
        self._silences()
        self._balance()
        self._reasons()
        code = self.hub.stop()
        report.expect(code == 0, f"hub run ended with {code} on SIGTERM")
        code, report.audit = self.hub.ask("audit", "verify")
        report.expect(code == 0 and bool(report.audit.get("ok")), f"hub audit verify: exit {code}, {report.audit}")
        report.flushes, report.starts = self.flusher.count, self.hub.starts

    def _reasons(self) -> None:
        """Why messages are dead or wait for a person."""
        for state in ("dead", "uncertain"):
            if any(one[state] for one in self.report.status.get("channels", {}).values()):
                ran = self.hub.command("messages", "--state", state, "--limit", "1000")
                with contextlib.suppress(ValueError):
                    counted = Counter(f"{row['channel']}: {row['reason']}" for row in json.loads(ran.stdout))
                    self.report.faults += [f"{state}, {count} times: {reason}" for reason, count in counted.most_common(3)]

    def _ledger(self) -> None:
        command = [sys.executable, str(self.where / "ledger.py"), "--sent", str(self.folder / "sent.jsonl"),
                   "--effects", str(self.folder / "effects.jsonl")]  # fmt: skip
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
        self.report.ledger = _json_of(ran.stdout + ran.stderr)
        for what in ("lost", "doubled", "inversions"):
            found = self.report.ledger.get(what)
            self.report.expect(found == 0, f"{what}: {found}, {self.report.ledger.get('examples')}")

    def _balance(self) -> None:
        """Everything received came to an end, and no end is one that a person must look at."""
        for name, one in self.report.status.get("channels", {}).items():
            for state in ("queued", "in_flight", "uncertain", "dead", "refused"):
                self.report.expect(one[state] == 0, f"{name}: {one[state]} messages are {state}")
            if name == "ocs-in":
                ended = one["done"] + one["ignored"] + one["refused"] + one["discarded"]
                self.report.expect(one["received"] == ended, f"{name}: {one['received']} received, {ended} ended")
                told = self.dose.total + self.probe.sent
                self.report.expect(one["received"] >= told, f"{name}: {one['received']} received, {told} acknowledged")

            if name == "crm-webhook":
                seen = self._seen()
                self.report.expect(one["done"] == seen, f"{name}: {one['done']} delivered, {seen} seen by the receiver")

    def _seen(self) -> int:
        """Different webhook ids that the receiver acted on."""
        with (self.folder / "effects.jsonl").open(encoding="utf-8") as file:
            return len({json.loads(line)["headers"].get("webhook-id") for line in file})

    def _silences(self) -> None:
        if not self.report.kills:
            return
        with (self.folder / "effects.jsonl").open(encoding="utf-8") as file:
            times = sorted(float(found.group(1)) for line in file if (found := re.match(r'\{"at": ([\d.]+)', line)))
        for kill in self.report.kills:
            pauses = [b - a for a, b in itertools.pairwise(times) if kill.at - 0.5 <= a <= kill.at + 1]
            kill.silence = round(max(pauses), 2) if pauses else None


class _Flusher:
    """FLUSHALL every two seconds."""

    def __init__(self, redis: servers.Redis | None) -> None:
        self.count = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(redis,), daemon=True) if redis else None
        if self._thread:
            self._thread.start()

    def _run(self, redis: servers.Redis) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            redis.flush()
            self.count += 1

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(5)


@contextlib.contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        yield process
    finally:
        servers.stop(process)


def _until(what: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not what():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True


def _json_of(text: str) -> dict[str, Any]:
    """The last line that is JSON, else the text itself."""
    for line in reversed(text.splitlines()):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return {"error": text[-500:]}
