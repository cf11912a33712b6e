"""`hub bench --stages`: what one message costs by stage, in this process, without sockets, in full batches."""

from __future__ import annotations

import cProfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hub.bootstrap import Hub, open_hub
from hub.bootstrap.runtime import collect_rarely
from hub.codecs.hl7v2 import peek
from hub.codecs.mllp import END, VT
from hub.config import load
from hub.db import hot
from hub.domain.facts import Key
from hub.domain.ports import Delivered, Outbound, Received
from hub.domain.store import Lease
from hub.simulator.load import message

INTAKE_BATCH = 8
PATIENTS = 500


@dataclass(slots=True)
class Stage:
    """`cpu_us`, `wall_us` and `statements` a message; `top`: the profile's first lines where one was asked for."""

    name: str
    cpu_us: float
    wall_us: float
    statements: float
    top: list[str]


class Nowhere:
    """A target that confirms at once: what is left is our own cost."""

    resend_is_safe = True

    def send(self, _message: Outbound) -> Delivered:
        return Delivered(detail="204")

    def find(self, _message: Outbound) -> Delivered | None:
        return None

    def ping(self) -> str:
        return "nowhere"

    def close(self) -> None:
        return


def measure(config: Path, messages: int, *, run: str, profile: Path | None = None) -> list[Stage]:
    """Intake, apply, deliver and sign `messages` visits; the database keeps them, so a second call measures with history."""
    hub = open_hub(load(config))
    collect_rarely()  # as every process of the hub does
    try:
        return [_one(name, act, messages, profile) for name, act in _stages(hub, messages, run)]
    finally:
        hub.close()


def _stages(hub: Hub, messages: int, run: str) -> list[tuple[str, Callable[[], None]]]:
    bodies = [message(run, n % PATIENTS, n // PATIENTS + 1, f"{run}-{n}")[len(VT) : -len(END)] for n in range(messages)]
    batches = [[_received(b) for b in bodies[n : n + INTAKE_BATCH]] for n in range(0, messages, INTAKE_BATCH)]
    intake, applier, courier, sequencer = hub.intake(), hub.applier(), hub.courier(), hub.sequencer()
    for channel in hub.targets().values():
        channel.target = Nowhere()
    inbound, outbound = _lease(hub, "in"), _lease(hub, "out")

    def store() -> None:
        for batch in batches:
            intake.store(batch)

    def apply() -> None:
        while applier.step(inbound):
            pass

    def deliver() -> None:
        quiet = 0
        while quiet < 3:
            quiet = 0 if courier.step(outbound) or courier.busy else quiet + 1

    def sign() -> None:
        while sequencer.step():
            pass

    return [("intake", store), ("apply", apply), ("deliver", deliver), ("sign", sign)]


def _received(body: bytes) -> Received:
    seen = peek(body)
    assert seen.patient is not None
    sender = f"{seen.sending_application}|{seen.sending_facility}"
    return Received("ocs-in", body, sender, seen.control_id, seen.type, Key(*seen.patient), content=seen.content, code="CA")


def _lease(hub: Hub, direction: str) -> Lease:
    with hub.store.transaction() as tx:
        lease = tx.take("bench", direction, range(hub.buckets), hub.buckets, 600)
    assert lease is not None
    return lease


def _one(name: str, act: Callable[[], None], messages: int, profile: Path | None) -> Stage:
    profiler = cProfile.Profile() if profile is not None else None
    statements, began, clock = hot.statements(), time.process_time(), time.perf_counter()
    if profiler is not None:
        profiler.runcall(act)
    else:
        act()
    wall, cpu, statements = time.perf_counter() - clock, time.process_time() - began, hot.statements() - statements
    top: list[str] = []
    if profiler is not None and profile is not None:
        profiler.dump_stats(str(profile.with_name(f"{profile.name}.{name}")))
        top = _top(profiler, messages)
    return Stage(name, cpu / messages * 1e6, wall / messages * 1e6, statements / messages, top)


def _top(profiler: cProfile.Profile, messages: int, lines: int = 8) -> list[str]:
    """The functions that took most time themselves, µs a message."""
    entries: Sequence[cProfile._ProfileEntry] = profiler.getstats()  # type: ignore[name-defined]
    ordered = sorted(entries, key=lambda e: -e.inlinetime)[:lines]
    return [f"{e.inlinetime / messages * 1e6:7.1f} µs  {_named(e.code)}" for e in ordered]


def _named(code: object) -> str:
    if isinstance(code, str):
        return code.strip("<>")
    path, line, function = code.co_filename, code.co_firstlineno, code.co_name  # type: ignore[attr-defined]
    return f"{Path(path).name}:{line} {function}"
