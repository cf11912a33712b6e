"""Making and upgrading the schema (Alembic), and saying whether the database is the one this version expects."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from hub.domain.errors import Misconfigured


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(engine: Engine) -> str:
    """Brings the schema to the newest revision, in one transaction; returns that revision."""
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return newest()


def newest() -> str:
    """The revision that this version of the hub works with."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def current(engine: Engine) -> str:
    """The revision that the database has; empty where it has none."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def check(engine: Engine) -> None:
    """Raises Misconfigured where the schema is missing or another version's."""
    have, want = current(engine), newest()
    if have != want:
        raise Misconfigured(f"the database has schema {have or 'none'}, this version needs {want}: run `hub db upgrade`")
