"""`hub audit`: proving that the log was not altered, and reading it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from hub.audit.actions import Action
from hub.audit.report import Report
from hub.cli.common import (
    BAD,
    DEFAULT_CONFIG,
    DIM,
    GOOD,
    ConfigOption,
    JsonOption,
    complain,
    database,
    moment,
    parse_moment,
    print_json,
    print_table,
    record,
    say,
)
from hub.config import load
from hub.domain.errors import Misconfigured

app = typer.Typer(no_args_is_help=True, help="The audit log: verify, export, log.", rich_markup_mode=None)
KeyFile = Annotated[
    Path | None, typer.Option("--key", help="The log's public key (audit.pub), as you got it when the hub was set up.")
]
Checkpoints = Annotated[Path | None, typer.Option("--checkpoints", help="Your own copy of the checkpoint file.")]


@app.command()
def verify(
    config: ConfigOption = DEFAULT_CONFIG,
    export: Annotated[Path | None, typer.Option(help="Verify this export offline; needs neither hub.toml nor database.")] = None,
    checkpoints: Checkpoints = None,
    key: KeyFile = None,
    as_json: JsonOption = False,
) -> None:
    """Check that no entry was edited, deleted, inserted, moved or cut off up to the last checkpoint. Exit 1 where one was.

    Entries after the last checkpoint are not covered yet: their number is told.

    Examples:

      hub audit verify

      hub audit verify --checkpoints /elsewhere/audit-checkpoints.txt --key audit.pub

      hub audit verify --export log.jsonl --checkpoints audit-checkpoints.txt --key audit.pub
    """
    report = _offline(export, checkpoints, key) if export is not None else _online(config, checkpoints, key)
    if as_json:
        print_json(report.as_dict())
    else:
        _print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def _online(config: Path, checkpoints: Path | None, key: Path | None) -> Report:
    from hub.db.audit import verify_database
    from hub.db.crypt import KeyRing

    settings = load(config)
    public = _public(key) if key is not None else str(KeyRing.load(settings.keys.folder).verifier)
    with database(settings) as engine:
        with engine.connect() as connection:
            report = verify_database(connection, checkpoints or settings.audit.checkpoint_file, public)
        record(
            engine, Action.AUDIT_VERIFIED, detail={"ok": report.ok, "covered": report.covered, "findings": len(report.findings)}
        )
    return report


def _offline(export: Path, checkpoints: Path | None, key: Path | None) -> Report:
    from hub.audit.export import verify_export

    if checkpoints is None or key is None:
        complain("without your own --checkpoints and --key an export can only be held against itself")
    try:
        return verify_export(export, checkpoints, None if key is None else _public(key))
    except OSError as error:
        raise Misconfigured(f"cannot read {error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise Misconfigured(f"{export} is no export of the audit log, or cut short: {error}") from None


def _public(key: Path) -> str:
    try:
        return key.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter(f"cannot read {key}", param_hint="--key") from None


def _print_report(report: Report) -> None:
    for finding in report.findings:
        say(str(finding), BAD)
    say(
        f"{report.covered:,} entries, {report.checkpoints:,} checkpoints: " + ("as signed" if report.ok else "ALTERED"),
        GOOD if report.ok else BAD,
    )
    if report.tail:
        say(f"{report.tail:,} entries since {moment(report.tail_since)} are not covered by a checkpoint yet", DIM)


@app.command()
def export(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Write the whole log to a file, for an auditor without database access. It holds no patient data.

    Example:  hub audit export log.jsonl
    """
    from hub.db import audit
    from hub.db.crypt import KeyRing

    settings = load(config)
    with database(settings) as engine, Progress(disable=as_json, transient=True) as progress:
        bar = progress.add_task("entries", total=None)
        record(engine, Action.EXPORT_MADE, detail={"what": "audit"})
        with engine.connect() as connection:
            count = audit.export(
                connection,
                target,
                checkpoint_file=settings.audit.checkpoint_file,
                public_key=KeyRing.load(settings.keys.folder).verifier,
                progress=lambda done: progress.update(bar, completed=done),
            )
    if as_json:
        print_json({"file": str(target), "entries": count})
    else:
        say(f"{target}: {count:,} entries", GOOD)


@app.command("log")
def log_(
    config: ConfigOption = DEFAULT_CONFIG,
    action: Annotated[str, typer.Option(help="message.dead, patient.read, …")] = "",
    by: Annotated[str, typer.Option("--actor", help="token:<name>, cli:<user>, system.")] = "",
    resource: Annotated[str, typer.Option(help="Only about this resource (an id).")] = "",
    message: Annotated[int | None, typer.Option(help="Only about this message.")] = None,
    since: Annotated[str | None, typer.Option(help="15m, 2h, 3d (ago), or 2026-11-22T09:00.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Read the log, the newest first; reading it is an entry too.

    Example:  hub audit log --action patient.read --since 1d
    """
    from sqlalchemy import select

    from hub.db.tables import entry

    statement = select(entry).order_by(entry.c.id.desc()).limit(limit)
    wanted: list[tuple[Any, Any]] = [
        (entry.c.action, action),
        (entry.c.actor, by),
        (entry.c.resource_id, resource),
        (entry.c.message_id, message),
    ]
    for column, value in wanted:
        if value not in ("", None):
            statement = statement.where(column == value)
    begin = parse_moment(since)
    if begin is not None:
        statement = statement.where(entry.c.at >= begin)
    with database(load(config)) as engine:
        with engine.connect() as connection:
            rows = [dict(row._mapping) for row in connection.execute(statement)]
        record(engine, Action.AUDIT_READ, detail={"entries": len(rows)})
    if as_json:
        print_json(rows)
        return
    print_table(
        "",
        ("id", "time", "action", "actor", "channel", "message", "resource", "detail"),
        [
            (r["id"], moment(r["at"]), r["action"], r["actor"], r["channel"], r["message_id"], r["resource_id"], r["detail"])
            for r in rows
        ],
        right=("id", "message"),
    )
