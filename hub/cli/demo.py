"""`hub demo`: the hub and a small simulated hospital, in a folder of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hub.cli.common import JsonOption


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    once: Annotated[bool, typer.Option("--once", help="End with the summary instead of keeping the console open.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where the demo's hub lives; default: a temporary folder, removed at the end.")
    ] = None,
    patients: Annotated[int, typer.Option(min=3, max=10_000, help="How many patients walk through the hospital.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed tells the same story.")] = 7,
    web_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the console; 0 picks a free one.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Start a hub and a hospital on SQLite: OCS, EMR, ERP, PACS and CRM that speak the real protocols and misbehave.

    Shows a live table, ends with a summary and keeps the console open; nothing else needs to be installed.

    Examples:

      hub demo

      hub demo --once --json        (the last line is the summary)
    """
    from hub.simulator.demo import main as play

    raise typer.Exit(play(once=once, folder=folder, patients=patients, seed=seed, web_port=web_port, as_json=as_json))
