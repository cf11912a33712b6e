"""`hub token`: who may use API and console."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from hub.audit.actions import Action
from hub.cli.common import (
    BAD,
    DEFAULT_CONFIG,
    DIM,
    GOOD,
    ConfigOption,
    JsonOption,
    database,
    moment,
    print_json,
    print_table,
    record,
    say,
)
from hub.config import load
from hub.domain.ids import now_us

app = typer.Typer(no_args_is_help=True, help="Bearer tokens of API and console: create, list, revoke.", rich_markup_mode=None)
DAY = 86_400 * 1_000_000  # µs


class Role(StrEnum):
    """What a token may do."""

    CRM = "crm"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMIN = "admin"
    SENDER = "sender"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who uses it: stands in the audit log, never given twice.")],
    role: Annotated[
        Role,
        typer.Option(
            help="crm reads and writes patients; operator works on messages; auditor reads the log; admin all; "
            "sender brings messages to the channel that names it, and nothing else."
        ),
    ],
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires; default: never.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make a token. It is printed once; the hub keeps only its hash.

    Examples:

      hub token create call-centre --role crm

      hub token create night-shift --role operator --days 30

      hub token create emr-push --role sender          (then tokens = ["emr-push"] in that channel)
    """
    from hub.db.auth import AccessStore

    now = now_us()
    with database(load(config)) as engine:
        row, secret = AccessStore(engine).create_token(
            name, role.value, now=now, expires_at=None if days is None else now + days * DAY
        )
        record(engine, Action.TOKEN_CREATED, detail={"token": row.name, "role": row.role})
    if as_json:
        print_json({"id": row.id, "name": row.name, "role": row.role, "expires_at": row.expires_at, "token": secret})
        return
    say(f"{row.role} token {row.name}, shown this once:", GOOD)
    say(secret, BAD)


@app.command("list")
def list_(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """All tokens, also expired and revoked ones.

    Example:  hub token list
    """
    from hub.db.auth import AccessStore

    with database(load(config)) as engine:
        found = AccessStore(engine).tokens()
    if as_json:
        print_json([{"id": t.id, "name": t.name, "role": t.role, "created_at": t.created_at, "expires_at": t.expires_at,
                     "revoked_at": t.revoked_at} for t in found])  # fmt: skip
        return
    now = now_us()
    rows = []
    for t in found:
        state = "revoked " + moment(t.revoked_at) if t.revoked_at else "expired" if t.expires_at and t.expires_at <= now else ""
        rows.append((t.name, t.role, moment(t.created_at), moment(t.expires_at) or "never", Text(state, style=DIM)))
    print_table("", ("name", "role", "created", "expires", ""), rows)


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="Name or id.")], config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Let no request with this token pass any more, its browser sessions included.

    Example:  hub token revoke night-shift
    """
    from hub.db.auth import AccessStore

    with database(load(config)) as engine:
        row = AccessStore(engine).revoke_token(name, now=now_us())
        record(engine, Action.TOKEN_REVOKED, detail={"token": row.name, "role": row.role})
    say(f"{row.name} is revoked", GOOD)
