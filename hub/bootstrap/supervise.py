"""`hub run`: every role in a process of its own, so that no role waits for another's interpreter; children that die come back.

On SQLite they take turns at writing (hub/db/engine.py, ADR 0002). With a broker Celery workers apply and deliver instead,
and a sweeper here does what no wake-up brought to them. SIGTERM ends all, SIGHUP reads hub.toml again.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from hub import log, metrics
from hub.audit.actions import Action
from hub.bootstrap.assemble import Hub, open_hub
from hub.bootstrap.orphans import Orphans
from hub.bootstrap.priority import BEHIND, step_back
from hub.bootstrap.runtime import Runtime
from hub.config import Config, ConfigError, load

_log = log.get(__name__)
Serve = Callable[[Hub, threading.Event], None]
PR_SET_PDEATHSIG = 1
CHILD = "HUB_CHILD"


def run(
    config: Config, roles: Sequence[str] = (), *, serve: Serve | None = None, wake: Callable[[str], None] | None = None
) -> int:
    """Runs until SIGTERM or SIGINT; exit code 0 when it ended cleanly.

    `roles` empty: all of them, as the database asks for. `serve` is the web role; `wake` tells Celery workers of new work.
    """
    stop, reload_ = threading.Event(), threading.Event()
    _signals(stop, reload_)
    if os.environ.get(CHILD):
        die_with_parent()
        if BEHIND.issuperset(roles):
            step_back()
    hub = open_hub(config)
    mine, children = split(hub, roles)
    if not os.environ.get(CHILD):
        config.pid_file.write_text(f"{os.getpid()}\n")
        hub.audit.append(Action.HUB_STARTED, actor="system")
    orphans = Orphans(hub.store, wake)
    if not os.environ.get(CHILD):
        threading.Thread(target=orphans.run, args=(stop,), name="orphans", daemon=True).start()
    runtime = Runtime(hub, mine, serve, wake)
    runtime.start()
    kin = [Child(command) for command in children]
    for child in kin:
        child.start()
    try:
        _watch(hub, runtime, kin, orphans, stop, reload_)
    finally:
        _end(hub, runtime, kin)
    return 1 if runtime.failed.is_set() else 0


def split(hub: Hub, roles: Sequence[str]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Roles of this process, and the commands of its children."""
    if roles:
        return tuple(roles), []
    base = [sys.executable, "-m", "hub"]
    config = ["--config", str(hub.config.path)]
    children = [[*base, "run", *config, "--role", "listen"], [*base, "run", *config, "--role", "web"]]
    if hub.config.broker.url:
        children += celery_commands(hub.config)
        return ("keep", "sweep"), children
    children += [[*base, "run", *config, "--role", role] for role in ("apply", "deliver")]
    return ("keep",), children


def celery_commands(config: Config) -> list[list[str]]:
    """One worker a direction, so that a slow target never keeps messages from being applied."""
    return [
        [
            sys.executable, "-m", "celery", "-A", "hub.worker", "worker", "--queues", queue, "--concurrency",
            str(max(1, config.broker.workers // 2)), "--loglevel", "WARNING", "--without-gossip", "--without-mingle",
            "--hostname", f"{queue}@%h",
        ]
        for queue in ("apply", "deliver")
    ]  # fmt: skip


@dataclass(slots=True)
class Child:
    """A process of ours that is started again within 2 s of its death."""

    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    env: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        config = self.command[self.command.index("--config") + 1] if "--config" in self.command else ""
        env = {**os.environ, CHILD: str(os.getpid()), **({"HUB_CONFIG": config} if config else {})}
        env.setdefault("HUB_CONFIG", os.environ.get("HUB_CONFIG", ""))
        self.process = subprocess.Popen(self.command, env=env)  # noqa: S603 - a command of ours
        self.started = time.monotonic()

    def revive(self) -> bool:
        """Starts it again where it ended; at once the first time, at most a second later after that. Whether it did."""
        if self.process is None or self.process.poll() is None:
            return False
        if self.deaths and time.monotonic() - self.started < 1.0:
            return False
        self.deaths += 1
        metrics.RESTARTS.labels(role=self.command[-1]).inc()
        _log.error("child process ended, starting it again", extra={"role": self.command[-1], "code": self.process.returncode})
        self.start()
        return True

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, deadline: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _signals(stop: threading.Event, reload_: threading.Event) -> None:
    def on_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    def on_reload(_number: int, _frame: FrameType | None) -> None:
        reload_.set()

    signal.signal(signal.SIGTERM, on_stop)
    signal.signal(signal.SIGINT, on_stop)
    signal.signal(signal.SIGHUP, on_reload)


def die_with_parent() -> None:
    """A supervisor that was killed must not leave children behind that hold its ports (prctl(2), Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(os.environ[CHILD]):
            raise SystemExit(0)


def _watch(
    hub: Hub, runtime: Runtime, kin: Sequence[Child], orphans: Orphans, stop: threading.Event, reload_: threading.Event
) -> None:
    while not stop.wait(0.2):
        if runtime.failed.is_set():
            return
        if reload_.is_set():
            reload_.clear()
            _reload(hub, runtime, kin)
        for child in kin:
            if child.revive():
                orphans.tell()


def _reload(hub: Hub, runtime: Runtime, kin: Sequence[Child]) -> None:
    """Whole or not at all: a mistake leaves the old configuration in force."""
    try:
        hub.reload(load(hub.config.path))
    except ConfigError as error:
        _log.error("configuration not adopted", extra={"reason": str(error)})
        if not os.environ.get(CHILD):
            hub.audit.append(Action.CONFIG_REFUSED, actor="system")
        return
    runtime.reload()
    for child in kin:
        child.signal(signal.SIGHUP)
    if not os.environ.get(CHILD):
        hub.audit.append(Action.CONFIG_RELOADED, actor="system")
    told = logging.DEBUG if os.environ.get(CHILD) else logging.INFO  # once a reload, not once a process
    _log.log(told, "configuration adopted", extra={"role": ",".join(runtime.roles)})


def _end(hub: Hub, runtime: Runtime, kin: Sequence[Child]) -> None:
    deadline = time.monotonic() + 8.0
    for child in kin:
        child.signal(signal.SIGTERM)
    for child in kin:
        child.wait(deadline)
    if not os.environ.get(CHILD):
        hub.audit.append(Action.HUB_STOPPED, actor="system")
        hub.config.pid_file.unlink(missing_ok=True)
    runtime.stop(max(1.0, deadline - time.monotonic()))
    hub.close()
