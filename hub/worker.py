"""Celery: a task is a debounced wake-up for a direction; workers drain batches from the database (reliability.md 2, 4, 6).

A message of the broker is `{"direction": "in"}`: no patient data, no ids, nothing that is lost when Redis is. Set so
because: acks late and prefetch 1 (a dead worker's task comes back), no result backend, no eta, JSON only, time limits
below the visibility timeout. A drain that goes well never meets a limit: who does hangs in a message, which is dead at the
soft limit where Python still hears it, else after three workers were killed at the hard one (hub/bootstrap/watchdog.py).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging, worker_process_init
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from hub import log
from hub.bootstrap import Hub, open_hub
from hub.bootstrap.child import CHILD
from hub.bootstrap.priority import step_back
from hub.bootstrap.runtime import collect_rarely
from hub.bootstrap.signals import PR_SET_PDEATHSIG, die_with
from hub.config import load
from hub.sync.loops import SHORT_PAUSE, ApplyStepper, DeliverStepper, Loop

_log = log.get(__name__)
QUEUES = {"in": "apply", "out": "deliver"}
VISIBILITY_SECONDS = 120
DRAIN_SECONDS = 30.0
FINISH_SECONDS = 40.0  # a slow target is waited for, so that its answer is written by who asked
LINGER_SECONDS = 0.25
DEBOUNCE_SECONDS = 0.05


def settings(broker: str) -> dict[str, Any]:
    """The whole Celery configuration for a broker URL."""
    return {
        "broker_url": broker,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_SECONDS, "unacked_restore_interval": 5, "unacked_restore_throttle": 1,
            "socket_timeout": 10, "socket_keepalive": True, "health_check_interval": 10, "global_keyprefix": "hub:",
        },
        "visibility_timeout": VISIBILITY_SECONDS,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_time_limit": 90,
        "task_soft_time_limit": 75,
        "task_publish_retry": False,
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,  # a drain holds leases and commits by itself
        "worker_soft_shutdown_timeout": 5,
        "worker_max_tasks_per_child": 1000,
        "worker_hijack_root_logger": False,
        "task_routes": {"hub.drain": {"queue": "apply"}},
    }  # fmt: skip


def broker_url() -> str:
    """From the configuration that the supervisor named, so that no secret stands on a command line."""
    path = os.environ.get("HUB_CONFIG", "")
    return str(load(path).broker.url or "") if path else ""


app = Celery("hub")
app.conf.update(settings(broker_url()))
_process: dict[str, Any] = {}


@setup_logging.connect  # type: ignore[untyped-decorator]
def _logging(**_: Any) -> None:
    """Ours instead of Celery's, whose tracebacks quote what an exception says: that may be a row of a patient."""
    log.setup_child()


@celeryd_init.connect  # type: ignore[untyped-decorator]
def _begun(**_: Any) -> None:
    """A worker that `hub run` started dies with it; one that somebody else started is its own."""
    if os.environ.get(CHILD):
        die_with(int(os.environ[CHILD]))


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _started(**_: Any) -> None:
    """A pool process dies with the worker that owns it, instead of working on without a master."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    step_back()


def _hub() -> Hub:
    if "hub" not in _process:
        _process["hub"] = open_hub(load(os.environ["HUB_CONFIG"]))
        collect_rarely()
    hub: Hub = _process["hub"]
    return hub


def _loop(direction: str) -> Loop:
    if direction not in _process:
        hub = _hub()
        stepper = ApplyStepper(hub.applier()) if direction == "in" else DeliverStepper(hub.courier())
        _process[direction] = Loop(hub.store, stepper, hub.buckets, hub.buckets)
    loop: Loop = _process[direction]
    return loop


@app.task(name="hub.drain")  # type: ignore[untyped-decorator]
def drain(direction: str) -> None:
    """Works until nothing has been due for a moment, or its time is over (the next wake-up goes on)."""
    ends = time.monotonic() + DRAIN_SECONDS
    quiet = 0.0  # nothing moved yet: a wake-up that comes too late costs one look

    def done(moved: int) -> bool:
        nonlocal quiet
        now = time.monotonic()
        if moved:
            quiet = now
            if direction == "in":
                Waker.of(app)("out")
        return now > ends or now - quiet > LINGER_SECONDS

    try:
        _loop(direction).drain(done, wait=lambda: time.sleep(SHORT_PAUSE), finish_seconds=FINISH_SECONDS)
    except Exception:  # noqa: BLE001 - Celery would log what it says, which may be a patient's row; the next wake-up goes on
        _log.exception("drain ended by an error", extra={"role": direction})


class Waker:
    """Publishes wake-ups, at most one a direction in DEBOUNCE_SECONDS, and never lets the broker hold up the caller."""

    _known: dict[int, Waker] = {}  # noqa: RUF012 - one a Celery app

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._asked = {direction: threading.Event() for direction in QUEUES}
        for direction in QUEUES:
            threading.Thread(target=self._publish, args=(direction,), daemon=True, name=f"wake-{direction}").start()

    @classmethod
    def of(cls, celery: Celery) -> Waker:
        if id(celery) not in cls._known:
            cls._known[id(celery)] = cls(celery)
        return cls._known[id(celery)]

    def __call__(self, direction: str) -> None:
        self._asked[direction].set()

    def _publish(self, direction: str) -> None:
        down = False
        while True:
            self._asked[direction].wait()
            self._asked[direction].clear()
            try:
                self._celery.send_task(
                    "hub.drain", args=(direction,), queue=QUEUES[direction], expires=5, ignore_result=True, retry=False
                )
                down = False
            except (OperationalError, RedisError, OSError) as error:
                if not down:
                    _log.warning("broker not reached: the sweeper does it", extra={"reason": type(error).__name__})
                down = True
                time.sleep(1.0)
            time.sleep(DEBOUNCE_SECONDS)
