"""What somebody at the terminal sees: a live table of the channels, what happens, the summary; on stderr with --json."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hub.simulator.demo.api import UnexpectedAnswer
from hub.simulator.demo.house import House

COLUMNS = ("done", "queued", "in_flight", "dead", "refused", "ignored", "stale")
FOUR = "four_systems"
STYLES = {"OCS": "cyan", "EMR": "green", "PACS": "magenta", "ERP": "yellow"}
EVERY = 0.5  # seconds between two looks


class Screen:
    """Lines and a live table on a terminal; lines alone elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        """`quiet`: stdout belongs to the summary, so people read on stderr."""
        self.console = Console(stderr=quiet, highlight=False, width=None if sys.stderr.isatty() else 140)
        self._stop = threading.Event()

    def note(self, text: str) -> None:
        """What happens now."""
        self.console.print(Text("• ") + Text(text))

    def complain(self, text: str) -> None:
        """What went wrong, on stderr."""
        Console(stderr=True, highlight=False, soft_wrap=True).print(Text(text, style="bold red"))

    @contextmanager
    def live(self, house: House) -> Iterator[None]:
        """The table, until the block ends; nothing where there is no terminal."""
        if not self.console.is_terminal:
            yield
            return
        self._stop.clear()
        with Live(console=self.console, refresh_per_second=4, transient=True) as shown:
            thread = threading.Thread(target=self._follow, args=(house, shown), daemon=True, name="screen")
            thread.start()
            try:
                yield
            finally:
                self._stop.set()
                thread.join(3)
        self.console.print(_table(house))

    def _follow(self, house: House, shown: Live) -> None:
        while not self._stop.wait(EVERY):
            shown.update(_table(house))

    def summary(self, summary: Mapping[str, Any]) -> None:
        """The same facts as the JSON, for people."""
        table = Table(show_header=False, box=None)
        for name, value in summary.items():
            if name not in ("failed", "ok", FOUR):
                table.add_row(Text(name, style="bold"), _flat(value))
        self.console.print(table)
        if FOUR in summary:
            self.console.print(_four_systems(summary[FOUR]))
        for one in summary["failed"]:
            self.complain(f"failed: {one}")
        self.console.print(
            Text("every expectation held", style="green") if summary["ok"] else Text("NOT as expected", style="bold red")
        )

    def invite(self, house: House, patient_id: str) -> None:
        """Where the console is and how to get in. The token opens nothing but this demo. `patient_id`: whose way to look at."""
        way = f"One patient's way:  {house.url}/patients/{patient_id}/way\n" if patient_id else ""
        text = f"\nConsole:  {house.url}/     log in with  {house.token}\n{way}Folder:   {house.folder}\nCtrl-C ends it."
        self.console.print(text, soft_wrap=True)


def _four_systems(facts: Mapping[str, Any]) -> Table:
    """One patient's way, a line a step: whose step, how it was said, and how soon the CRM knew."""
    count = facts["patients"]
    said = f"{facts['within_a_second']} within a second; half of them in {facts['median']} s, the slowest in {facts['slowest']} s"
    table = Table(
        title=f"{count} patients through all four systems",
        caption=f"the CRM knew {said}",
        title_justify="left",
        caption_justify="left",
    )
    for name in ("", "step", "system", "how it was said", "who knew"):
        table.add_column(name)
    for name in ("half after s", "all after s"):
        table.add_column(name, justify="right")
    for n, leg in enumerate(facts["steps"], 1):
        style = STYLES.get(leg["system"], "")
        shown = ("never" if leg[name] is None else f"{leg[name]:.2f}" for name in ("median", "slowest"))
        table.add_row(str(n), leg["step"], Text(leg["system"], style=style), leg["protocol"], leg["who"], *shown)
    return table


def _table(house: House) -> Table:
    table = Table("channel", *COLUMNS, "lag s", "breaker")
    for name in COLUMNS:
        table.columns[COLUMNS.index(name) + 1].justify = "right"
    try:
        rows = house.operator.get("/api/v1/channels")["items"]
    except (UnexpectedAnswer, httpx.HTTPError):
        return table
    for row in rows:
        counts = [str(row["counts"][name]) for name in COLUMNS]
        breaker = Text(row["breaker"], style="" if row["breaker"] == "closed" else "bold yellow")
        table.add_row(row["name"], *counts, f"{row['lagSeconds']:.1f}", breaker)
    return table


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "   ".join(f"{name} {_flat(one)}" for name, one in value.items())
    return str(value)
