"""A real hub in a folder: `hub init`, `hub run`, and -9 for any process of it; started again as a service manager would."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from hub.cli.common import database
from hub.cli.messages import snapshot
from hub.config import load
from tests import servers

ROOT = Path(__file__).resolve().parents[2]
HUB = [sys.executable, "-m", "hub"]
# The webhook channel under faults: 15 of 100 attempts fail, so waits are short, nothing dies of bad luck (0.15 ** 40), and
# the breaker does not mistake a misbehaving target for one that is down (five failures in a row come every 13,000 attempts).
WEBHOOK = "max_attempts = 40\nretry = { base_seconds = 0.2, max_seconds = 2.0 }\nbreaker_failures = 50\n"


class Hub:
    """`hub init` and `hub run` in a folder; started again when it ends, as a service manager would."""

    def __init__(self, folder: Path, crm_url: str, database_url: str | None, broker: str | None, tuned: bool = True) -> None:
        self.folder = folder
        self.config = folder / "hub.toml"
        self.ports = servers.free_port(), servers.free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        command = [
            *HUB,
            "init",
            str(folder),
            "--mllp-port",
            str(self.ports[0]),
            "--web-port",
            str(self.ports[1]),
            "--crm-url",
            crm_url,
        ]
        command += [*(["--database", database_url] if database_url else []), *(["--broker", broker] if broker else [])]
        made = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
        if made.returncode:
            raise RuntimeError(f"hub init: {made.stdout}{made.stderr}")
        if tuned:
            text = self.config.read_text()
            self.config.write_text(text.replace("[channels.crm-webhook]\n", f"[channels.crm-webhook]\n{WEBHOOK}", 1))

    def start(self) -> None:
        with (self.folder / "run.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*HUB, "run", "--config", str(self.config), "--log-level", "WARNING"],
                stdout=log, stderr=log, cwd=self.folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
                preexec_fn=lambda: servers.die_with(signal.SIGKILL),  # noqa: PLW1509 - a call into libc that takes no lock
            )  # fmt: skip
        self.starts += 1

    def keep(self) -> None:
        """Starts it again where it ended."""
        if self.process is not None and self.process.poll() is not None:
            self.start()

    def family(self) -> dict[int, str]:
        """Process id -> role of `hub run` and everything that descends from it."""
        assert self.process is not None
        parents: dict[int, int] = {}
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                state, parent = Path(f"/proc/{int(entry)}/stat").read_text().rsplit(")", 1)[1].split()[:2]
                if state != "Z":
                    parents[int(entry)] = int(parent)
        found = {self.process.pid: "supervisor"} if self.process.poll() is None else {}
        grown = True
        while grown:
            fresh = {pid: _role(pid) for pid, parent in parents.items() if parent in found and pid not in found}
            found |= fresh
            grown = bool(fresh)
        return found

    def kill(self, whom: str, rnd: random.Random) -> str:
        """-9 to all of them, or to one at random; returns whom it hit."""
        family = self.family()
        chosen = list(family) if whom == "all" else [rnd.choice(sorted(family))]
        for pid in chosen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process is not None
        if self.process.pid in chosen:
            self.process.wait(10)
        return "all" if whom == "all" else family[chosen[0]]

    def status(self) -> dict[str, Any]:
        """What `hub status --json` prints, without the start of a process for each look."""
        config = load(self.config)
        with database(config) as engine:
            return snapshot(config, engine)

    def ask(self, *arguments: str, timeout: float = 120) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON of a command."""
        ran = self.command(*arguments, timeout=timeout)
        try:
            return ran.returncode, json.loads(ran.stdout)
        except ValueError:
            return ran.returncode, {"error": (ran.stdout + ran.stderr)[-500:]}

    def command(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [*HUB, *arguments, "--json", "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT)

    def listening(self) -> bool:
        """Whether its MLLP port takes connections."""
        try:
            socket.create_connection(("127.0.0.1", self.ports[0]), 0.5).close()
        except OSError:
            return False
        return True

    def end(self) -> None:
        """Nothing of it is left, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.kill("all", random.Random(0))

    def stop(self) -> int | None:
        """SIGTERM; its exit code, or None where it had to be killed after 10 s."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill("all", random.Random(0))
            return None


def _role(pid: int) -> str:
    """What a process of the hub does, from its name (`hub listen`) or its command line."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        if name.startswith("hub "):
            return name.removeprefix("hub ")
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "gone"
    if "--queues" in words:
        return f"celery {words[words.index('--queues') + 1]}"
    return Path(words[0]).name or "child"
