"""`hub init`: a folder with everything that `hub run` needs: hub.toml, keys, secrets, database, first token."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from hub.audit.actions import Action
from hub.cli.common import BAD, GOOD, JsonOption, print_json, record, require_folder, say, told
from hub.cli.template import quoted, render
from hub.config import Config, ConfigError, load
from hub.domain.errors import Misconfigured
from hub.domain.ids import now_us

SECRETS = "secrets"
FIRST_TOKEN = "first-admin"  # noqa: S105 - the token's name


def register(app: typer.Typer) -> None:
    app.command("init")(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the hub shall live; may exist.")],
    mllp_port: Annotated[int, typer.Option(min=0, max=65535, help="Port that the OCS sends HL7 v2 to (MLLP).")] = 2575,
    web_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of API and console.")] = 8080,
    crm_url: Annotated[str | None, typer.Option(help="Where the CRM takes webhooks; switches channel crm-webhook on.")] = None,
    database: Annotated[
        str, typer.Option(help="postgresql+psycopg://USER:PASSWORD@HOST/NAME, or sqlite:///FILE.")
    ] = "sqlite:///hub.db",
    broker: Annotated[str | None, typer.Option(help="redis://HOST:PORT/0, for Celery workers.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write hub.toml anew; keys, secrets and database stay.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a hub: hub.toml (commented), keys and secrets (0600), the database's schema and the first admin token.

    The token is printed once and stored as a hash only.

    Examples:

      hub init my-hub

      hub init my-hub --mllp-port 2575 --crm-url https://crm.example.org/hooks/hub

      hub init my-hub --database postgresql+psycopg://hub:secret@db/hub --broker redis://cache:6379/0
    """
    from hub.db.crypt import AUDIT_KEY, DATA_KEY, KeyRing

    config_file = folder / "hub.toml"
    if config_file.exists() and not force:
        raise ConfigError(str(config_file), 0, "is there already", "use it as it is, or write it anew with --force")
    if crm_url is not None:
        check_url(crm_url)
    home = (folder / database.removeprefix("sqlite:///")).parent
    if database.startswith("sqlite:///") and home != folder and not home.is_dir():
        raise typer.BadParameter(f"there is no folder {home}: create it first", param_hint="--database")
    folder.mkdir(parents=True, exist_ok=True)
    vault = folder / SECRETS
    vault.mkdir(mode=0o700, exist_ok=True)
    if not (vault / DATA_KEY).exists() and not (vault / AUDIT_KEY).exists():
        KeyRing.create(vault)
    if crm_url is not None:
        keep_secret(vault / "crm-webhook.secret", "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
    text = render(
        mllp_port=mllp_port,
        web_port=web_port,
        crm_url=crm_url,
        database=url_setting(database, vault / "database-url"),
        broker=None if broker is None else url_setting(broker, vault / "broker-url"),
    )
    write(config_file, text, 0o640)
    config = load(config_file)
    config.hub.data_dir.mkdir(parents=True, exist_ok=True)
    token = prepare_database(config)
    if as_json:
        print_json(
            {
                "config": str(config_file), "token": token, "token_name": FIRST_TOKEN, "mllp_port": mllp_port,
                "web_port": web_port, "webhook_secret_file": str(vault / "crm-webhook.secret") if crm_url else None,
            }
        )  # fmt: skip
        return
    say(f"{config_file} is written; keys and secrets are in {vault}: keep a copy apart from the database's backups.", GOOD)
    if token is None:
        say(f'The database has a token "{FIRST_TOKEN}" already; hub token create makes another.')
    else:
        say("Admin token, shown this once (API: Authorization: Bearer …; console: log in with it):")
        say(token, BAD)
    say(f"Start:  hub run --config {config_file}")
    say(f"Look:   http://127.0.0.1:{web_port}/   and   hub status --config {config_file}")


def check_url(url: str) -> None:
    """Whether a webhook could be posted there; typer.BadParameter where not, before anything is written."""
    from hub.transport.http_peer import HttpPeer

    try:
        HttpPeer(url)
    except Misconfigured as error:
        raise typer.BadParameter(error.reason.removeprefix("url: "), param_hint="--crm-url") from None


def url_setting(url: str, secret_file: Path) -> str:
    """How hub.toml says this URL: in quotes; by file where it holds a password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):
        raise typer.BadParameter("that is no URL: write scheme://USER:PASSWORD@HOST:PORT/NAME") from None
    if not password:
        return quoted(url)
    keep_secret(secret_file, url, replace=True)
    return f'{{ file = "{secret_file.parent.name}/{secret_file.name}" }}'


def keep_secret(path: Path, text: str, *, replace: bool = False) -> None:
    """Write `text` so that only the owner can read it; a secret that is there stays, unless `replace`."""
    if replace or not path.exists():
        write(path, text + "\n", 0o600)


def write(path: Path, text: str, mode: int) -> None:
    """The whole file or nothing, with its mode from the start."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def prepare_database(config: Config) -> str | None:
    """Bring the schema up to date; the first admin token, or None where it was given out before."""
    from hub.db import schema
    from hub.db.auth import AccessStore
    from hub.db.engine import make_engine, parse_url

    require_folder(config)
    url = parse_url(config.database.url)
    if config.database.is_sqlite and url.database:
        Path(url.database).touch(mode=0o600)  # canonical data stand in it; SQLite gives its side files the same mode
    engine = make_engine(url)
    try:
        with told():
            schema.upgrade(engine)
            store = AccessStore(engine)
            if any(token.name == FIRST_TOKEN for token in store.tokens()):
                return None
            token, secret = store.create_token(FIRST_TOKEN, "admin", now=now_us())
            record(engine, Action.TOKEN_CREATED, detail={"token": token.name, "role": token.role})
            return secret
    finally:
        engine.dispose()
