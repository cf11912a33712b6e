"""`hub run`: every role in a process of its own, so that no role waits for another's interpreter; children that die come back.

On SQLite they take turns at writing (hub/db/engine.py, ADR 0002). With a broker Celery workers apply and deliver instead,
and a sweeper beside the keeper does what no wake-up brought to them. The supervisor itself only supervises: it has no
thread and no connection, so that it can fork (ADR 0067). SIGTERM ends all, SIGHUP reads hub.toml again.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

from hub import log
from hub.audit.actions import Action
from hub.bootstrap import channels
from hub.bootstrap.assemble import open_hub
from hub.bootstrap.bound import Bound
from hub.bootstrap.child import CHILD, Child, fork, spawn
from hub.bootstrap.orphans import Orphans
from hub.bootstrap.pid_file import PidFile
from hub.bootstrap.priority import BEHIND, step_back
from hub.bootstrap.runtime import Runtime, Serve, Wake
from hub.bootstrap.signals import Signals
from hub.bootstrap.watchdog import STEP_SECONDS, Beat
from hub.config import Config, ConfigError, load

_log = log.get(__name__)
LOOK_SECONDS = 0.5
END_SECONDS, KEEPER_SECONDS = 7.5, 1.5  # SIGTERM ends all within 10 s; the keeper last, so that it signs what the others did


@dataclass(frozen=True, slots=True)
class Outside:
    """What the layers above bring: the web role, how Celery's workers are woken, and who hears that all was begun."""

    serve: Serve | None = None
    waker: Callable[[], Wake] | None = None  # called in the process that wakes
    begun: Callable[[], None] | None = None
    bound: Bound = field(default_factory=Bound)


def run(
    config: Config,
    roles: Sequence[str] = (),
    *,
    serve: Serve | None = None,
    waker: Callable[[], Wake] | None = None,
    begun: Callable[[], None] | None = None,
    bound: Bound | None = None,
) -> int:
    """Runs until SIGTERM or SIGINT; exit code 0 when it ended cleanly.

    `roles` empty: all of them, each a child; else these, in this process. `serve` is the web role, `waker` makes what tells
    Celery workers of new work, `begun` is called when all roles were started, in a process that may have threads. `bound`
    gets the ports of listeners. Where all roles run in the folder already, HubError; some roles may run beside them.
    """
    outside, signals = Outside(serve, waker, begun, bound or Bound()), Signals()
    if roles:
        _open_once(config)
        return Process(config, tuple(roles), outside, signals).run()
    pid_file = PidFile(config.pid_file)
    try:
        _open_once(config)
        return Supervisor(config, outside, signals, pid_file).run()
    finally:
        pid_file.release()


def _open_once(config: Config) -> None:
    """Says what is wrong before anything begins."""
    with closing(open_hub(config)) as hub:
        hub.audit.append(Action.HUB_STARTED, actor="system")


class Process:
    """Some roles in this process. One of all looks for what dead workers left, and speaks for all of them: the keeper, or
    that which is alone."""

    def __init__(
        self, config: Config, roles: tuple[str, ...], outside: Outside, signals: Signals, beats: Mapping[str, Beat] | None = None
    ) -> None:
        self._config = config
        self._roles = roles
        self._outside = outside
        self._signals = signals
        self._beats = beats or {role: Beat() for role in roles}
        self._keeps = beats is None or "keep" in roles
        self._end_seconds = KEEPER_SECONDS if beats is not None and self._keeps else END_SECONDS

    def run(self) -> int:
        """Until SIGTERM, or until a role ends by an error (exit code 1)."""
        if BEHIND.issuperset(self._roles):
            step_back()
        self._hub = hub = open_hub(self._config)
        wake = self._outside.waker() if self._outside.waker else None
        stop, orphans = threading.Event(), Orphans(hub.store, wake)
        if self._keeps:
            threading.Thread(target=orphans.run, args=(stop,), name="orphans", daemon=True).start()
        elif BEHIND.issuperset(self._roles):
            orphans.look_once()  # what the one before this left behind need not wait for the keeper
            hub.store.close()
        self._runtime = Runtime(hub, self._roles, self._outside.serve, wake, self._beats, self._outside.bound)
        self._runtime.start()
        if self._keeps and self._outside.begun:
            self._outside.begun()
        while not self._signals.stop and not self._runtime.failed.is_set():
            self._signals.wait(LOOK_SECONDS)
            if self._signals.reloading():
                self._reload()
        stop.set()
        self._end()
        return 1 if self._runtime.failed.is_set() else 0

    def _reload(self) -> None:
        """Whole or not at all: a mistake leaves the old configuration in force. Said once, not once a process."""
        try:
            self._hub.reload(load(self._hub.config.path))
        except ConfigError as error:
            if self._keeps:
                _log.error("configuration not adopted", extra={"reason": str(error)})
                self._hub.audit.append(Action.CONFIG_REFUSED, actor="system")
            return
        self._runtime.reload()
        if self._keeps:
            self._hub.audit.append(Action.CONFIG_RELOADED, actor="system")
        level = logging.INFO if self._keeps else logging.DEBUG
        _log.log(level, "configuration adopted", extra={"role": ",".join(self._roles)})

    def _end(self) -> None:
        if self._keeps:
            self._hub.audit.append(Action.HUB_STOPPED, actor="system")
        self._runtime.stop(self._end_seconds)
        self._hub.close()


class Supervisor:
    """Starts all roles, starts again what ends, ends what hangs. One thread, no connection."""

    def __init__(self, config: Config, outside: Outside, signals: Signals, pid_file: PidFile) -> None:
        self._config = config
        self._pid_file = pid_file
        self._outside = outside
        self._signals = signals
        self._keeper = self._role("keep", "sweep") if config.broker.url else self._role("keep")
        workers = celery(config) if config.broker.url else [self._role("apply"), self._role("deliver")]
        self._others = [self._role("listen"), self._role("web"), *workers]
        if channels.polled(config):  # a hub without such channels has no process for them
            self._others.append(self._role("poll"))

    def run(self) -> int:
        gc.collect()
        gc.freeze()  # what is loaded is shared with the children until somebody writes to it: no collection may
        for child in self._family():
            child.start()
        self._outside = replace(self._outside, begun=None)  # a keeper that is started again does not say it again
        while not self._signals.stop:
            self._signals.wait(LOOK_SECONDS)
            if self._signals.reloading():
                self._adopt()
                for child in self._family():
                    child.signal(signal.SIGHUP)
            for child in self._family():
                child.end_if_hanging(STEP_SECONDS)
                child.revive()
        self._end()
        return 0

    def _family(self) -> list[Child]:
        return [*self._others, self._keeper]

    def _role(self, *roles: str) -> Child:
        beats = {role: Beat() for role in roles}

        def work() -> int:
            self._signals.forked()
            self._pid_file.forked()
            return Process(self._config, roles, self._outside, self._signals, beats).run()

        return Child(roles[0], partial(fork, roles[0], work), tuple(beats.values()))

    def _adopt(self) -> None:
        """For children that are started from now on; the keeper says what is wrong."""
        try:
            config = load(self._config.path)
            channels.check_all(config)
        except ConfigError:
            return
        self._config = config
        if channels.polled(config) and all(child.name != "poll" for child in self._others):
            self._others.append(self._role("poll"))

    def _end(self) -> None:
        for children, seconds in ((self._others, END_SECONDS), ([self._keeper], KEEPER_SECONDS)):
            deadline = time.monotonic() + seconds
            for child in children:
                child.signal(signal.SIGTERM)
            for child in children:
                child.wait(self._signals, deadline)


def celery(config: Config) -> list[Child]:
    """One worker a direction, so that a slow target never keeps messages from being applied."""
    environment = {CHILD: str(os.getpid()), "HUB_CONFIG": str(config.path)}

    def child(queue: str) -> Child:
        command = [
            sys.executable, "-m", "celery", "-A", "hub.worker", "worker", "--queues", queue, "--concurrency",
            str(max(1, config.broker.workers // 2)), "--loglevel", "WARNING", "--without-gossip", "--without-mingle",
            "--hostname", f"{queue}@%h",
        ]  # fmt: skip
        return Child(queue, partial(spawn, command, environment))

    return [child(queue) for queue in ("apply", "deliver")]
