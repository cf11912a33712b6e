"""`hub db`, `hub backup`, `hub purge`: the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from hub.audit.actions import Action
from hub.cli.backup import back_up
from hub.cli.common import (
    DEFAULT_CONFIG,
    GOOD,
    ConfigOption,
    JsonOption,
    actor,
    database,
    opened,
    print_json,
    record,
    require_folder,
    say,
    told,
)
from hub.config import load

app = typer.Typer(no_args_is_help=True, help="The database's schema: upgrade, check.", rich_markup_mode=None)


def register(main: typer.Typer) -> None:
    main.command()(backup)
    main.command()(purge)


@app.command()
def upgrade(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Bring the schema to this version's; in one transaction. Stop the hub and make a backup first.

    Example:  hub db upgrade
    """
    from hub.db import schema
    from hub.db.engine import make_engine, parse_url

    settings = load(config)
    require_folder(settings)
    engine = make_engine(parse_url(settings.database.url))
    try:
        with told():
            before = schema.current(engine)
            now = schema.upgrade(engine)
    finally:
        engine.dispose()
    say(f"schema {now}" + (" as before" if now == before else f", was {before or 'none'}"), GOOD)


@app.command()
def check(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Say whether the database has this version's schema. Exit 2 where not.

    Example:  hub db check
    """
    from hub.db import schema
    from hub.db.engine import make_engine, parse_url

    settings = load(config)
    require_folder(settings)
    engine = make_engine(parse_url(settings.database.url))
    try:
        with told():
            have, want = schema.current(engine), schema.newest()
    finally:
        engine.dispose()
    if as_json:
        print_json({"good": have == want, "have": have, "want": want})
    else:
        say(f"schema {have or 'none'}" + ("" if have == want else f"; this version needs {want}: hub db upgrade"))
    if have != want:
        raise typer.Exit(2)


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; must not exist.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Copy the database while the hub runs: a consistent SQLite file, or pg_dump's custom format. Mode 0600.

    Keys are not in it, message bodies in it are sealed: keep secrets/ in another place.

    Example:  hub backup /backup/hub-2026-11-22.db
    """
    settings = load(config)
    with told():
        size = back_up(settings.database.url, target)
    with database(settings) as engine:
        record(engine, Action.BACKUP_MADE, detail={"bytes": size})
    if as_json:
        print_json({"file": str(target), "bytes": size})
    else:
        say(f"{target}: {size:,} bytes", GOOD)


def purge(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Delete message bodies that are older than [retention] says; hub run does so by itself. What is undelivered stays.

    Example:  hub purge
    """
    from hub.sync.retention import Retention

    with opened(config) as hub, Progress(disable=as_json, transient=True) as progress:
        bar = progress.add_task("deleting", total=None)
        gone = Retention(hub.store, hub.config.retention, {n: c.dedupe_days for n, c in hub.config.channels.items()}).purge(
            actor=actor(), progress=lambda done: progress.update(bar, completed=done)
        )
    if as_json:
        print_json({"gone": gone})
    else:
        say("deleted: " + ", ".join(f"{kind} {n:,}" for kind, n in gone.items()), GOOD)
