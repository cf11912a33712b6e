"""`hub bench --history N`: does a message cost the same in a database that holds N messages as in a fresh one?

Two hubs of their own in temporary folders, one filled through the real stages; then the same load in one and the other by
turns, stage by stage in this process, so that both meet the same disk and the same neighbours. Told are medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import text

from hub.bootstrap import open_hub
from hub.cli.common import BAD, GOOD, print_json, print_table, say
from hub.cli.stages import Stage, measure
from hub.config import load

RUNS = 5
VISITS = 2_000  # of one run
BLOCK = 5_000  # visits stored between two looks at the write-ahead log
MESSAGES_A_VISIT = 2  # what came in, and the webhook that went out
SLOWER = 0.25  # a rate that is lower by so much is not the same any more


@dataclass(frozen=True, slots=True)
class Compared:
    """One stage, fresh and with history: medians of statements, µs of processor and messages a second."""

    stage: str
    fresh_statements: float
    history_statements: float
    fresh_cpu_us: float
    history_cpu_us: float
    fresh_rate: float
    history_rate: float

    @property
    def same(self) -> bool:
        """Statements unchanged (but for where a batch ended), rate within SLOWER."""
        statements = abs(self.history_statements - self.fresh_statements) <= 0.02 + 0.02 * self.fresh_statements
        return statements and self.history_rate >= (1 - SLOWER) * self.fresh_rate


def fill(config: Path, messages: int, advance: Callable[[int], None]) -> None:
    """Stores, applies, delivers and signs until there are `messages`; `advance` hears how many came with each block."""
    for number in range(-(-messages // (BLOCK * MESSAGES_A_VISIT))):
        measure(config, BLOCK, run=f"F{number}")
        tidy(config)
        advance(BLOCK * MESSAGES_A_VISIT)
    settle(config)


def tidy(config: Path) -> None:
    """What the keeper does twice a second in a hub that runs."""
    hub = open_hub(load(config))
    try:
        hub.store.tidy()
    finally:
        hub.close()


def settle(config: Path) -> None:
    """What autovacuum is still busy with after so many rows at once: a history that grew over years has that behind it."""
    hub = open_hub(load(config))
    try:
        if not hub.sqlite:
            with hub.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM (ANALYZE)"))
    finally:
        hub.close()


def compare(fresh: Path, aged: Path, advance: Callable[[int], None]) -> list[Compared]:
    """By turns; a first run of each is not counted."""
    found: dict[Path, list[list[Stage]]] = {fresh: [], aged: []}
    for number in range(RUNS + 1):
        for config in (fresh, aged) if number % 2 else (aged, fresh):
            stages = measure(config, VISITS, run=f"C{number}")
            tidy(config)
            if number:
                found[config].append(stages)
            advance(1)
    return [_compared(name, [found[config] for config in (fresh, aged)]) for name in (s.name for s in found[fresh][0])]


def _compared(name: str, runs: list[list[list[Stage]]]) -> Compared:
    mine = [[stage for run in one for stage in run if stage.name == name] for one in runs]
    fresh, aged = (
        [statistics.median(values) for values in zip(*((s.statements, s.cpu_us, 1e6 / s.wall_us) for s in one), strict=True)]
        for one in mine
    )
    return Compared(name, fresh[0], aged[0], fresh[1], aged[1], fresh[2], aged[2])


def tell(compared: list[Compared], messages: int, kind: str, as_json: bool) -> None:
    """The table, and whether a message costs the same."""
    if as_json:
        found = [asdict(one) | {"same": one.same} for one in compared]
        print_json({"database": kind, "messages": messages, "runs": RUNS, "visits": VISITS, "stages": found})
        return
    rows = [
        (
            one.stage, f"{one.fresh_statements:.3f}", f"{one.history_statements:.3f}", f"{one.fresh_cpu_us:,.0f}",
            f"{one.history_cpu_us:,.0f}", f"{one.fresh_rate:,.0f}", f"{one.history_rate:,.0f}",
            f"{one.history_rate / one.fresh_rate:.2f}",
        )
        for one in compared
    ]  # fmt: skip
    numbers = ("statements", "with history", "CPU µs", "with history ", "a second", " with history", "ratio")
    title = f"{kind}: fresh, and with {messages:,} messages stored; medians of {RUNS} by turns"
    print_table(title, ("stage", *numbers), rows, right=numbers)
    same = all(one.same for one in compared)
    say("a message costs the same" if same else "a message does NOT cost the same", GOOD if same else BAD)
