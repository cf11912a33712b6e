"""`hub db`, `hub backup`, `hub purge`: the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hub.audit.actions import Action
from hub.cli.backup import back_up
from hub.cli.common import DEFAULT_CONFIG, DIM, GOOD, ConfigOption, JsonOption, database, print_json, record, say, told
from hub.config import Config, load

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

    engine = make_engine(parse_url(load(config).database.url))
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


def days_of(config: Config) -> dict[str, int]:
    """[retention] by class, as `retention.purge` takes it."""
    kept = config.retention
    return {"done": kept.done_days, "ignored": kept.ignored_days, "refused": kept.refused_days, "discarded": kept.dead_days}


def purge(
    config: ConfigOption = DEFAULT_CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete message bodies that are older than [retention] says; hub run does so every hour. What is undelivered stays.

    Example:  hub purge --dry-run
    """
    from hub.db import retention

    settings = load(config)
    longest = max((channel.dedupe_days for channel in settings.channels.values()), default=7)
    with database(settings) as engine:
        gone = retention.purge(engine, days_of(settings), dedupe_days=longest, dry_run=dry_run)
        if not dry_run:
            record(engine, Action.PURGE_DONE, detail={**gone})
    if as_json:
        print_json({"dry_run": dry_run, "gone": gone})
    else:
        say(
            f"{'would delete' if dry_run else 'deleted'}: " + ", ".join(f"{kind} {n:,}" for kind, n in gone.items()),
            DIM if dry_run else GOOD,
        )
