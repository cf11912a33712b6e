"""`hub init`: a hub that starts, secrets that only their owner can read, nothing overwritten."""

from __future__ import annotations

import re
import sqlite3
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hub.cli import init
from hub.config import load
from hub.domain.errors import Misconfigured

Run = Any  # tests/unit/cli/conftest.py


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_it_makes(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "병원"
    made = run("init", folder, "--mllp-port", 2601, "--web-port", 8601, "--crm-url", "https://crm.example.org/h/1", "--json")
    assert made.code == 0
    config = load(folder / "hub.toml")
    assert (config.web.port, config.channels["ocs-in"].settings["port"]) == (8601, 2601)
    webhook = config.channels["crm-webhook"]
    assert webhook.settings["url"] == "https://crm.example.org/h/1"
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", webhook.settings["secrets"][0])
    assert made.json["token"].startswith("hub_")
    for name in ("data.key", "audit.key", "crm-webhook.secret"):
        assert mode(folder / "secrets" / name) == 0o600
    assert mode(folder / "hub.db") == 0o600
    assert "whsec_" not in (folder / "hub.toml").read_text().replace("whsec_…", "")
    assert run("check", "-c", folder / "hub.toml").code == 0


def test_the_token_is_told_once_and_kept_as_a_hash(run: Run, hub_toml: Path) -> None:
    again = run("init", hub_toml.parent, "--force", "--json")
    assert again.code == 0
    assert again.json["token"] is None
    text = run("init", hub_toml.parent, "--force").out
    assert "hub_" not in text
    dump = b"".join(path.read_bytes() for path in hub_toml.parent.glob("hub.db*"))
    assert b"first-admin" in dump
    assert b"hub_" not in dump


def test_an_existing_hub_is_left_alone(run: Run, hub_toml: Path) -> None:
    before = hub_toml.read_text()
    refused = run("init", hub_toml.parent)
    assert refused.code == 2
    assert "--force" in refused.err
    assert hub_toml.read_text() == before


def test_force_keeps_keys_and_secrets(run: Run, hub_toml: Path) -> None:
    secrets = {path.name: path.read_bytes() for path in (hub_toml.parent / "secrets").iterdir()}
    assert run("init", hub_toml.parent, "--force", "--crm-url", "http://127.0.0.1:9/other", "--mllp-port", 7).code == 0
    assert {path.name: path.read_bytes() for path in (hub_toml.parent / "secrets").iterdir()} == secrets
    assert load(hub_toml).channels["ocs-in"].settings["port"] == 7


def test_passwords_go_into_files(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "prepare_database", lambda config: "hub_x")
    made = run(
        "init", tmp_path, "--database", "postgresql+psycopg://hub:geheim@db:5433/hub", "--broker", "redis://:geheim@cache/0"
    )
    assert made.code == 0
    assert "geheim" not in (tmp_path / "hub.toml").read_text()
    config = load(tmp_path / "hub.toml")
    assert config.database.url == "postgresql+psycopg://hub:geheim@db:5433/hub"
    assert config.broker.url == "redis://:geheim@cache/0"
    assert mode(tmp_path / "secrets/database-url") == 0o600
    assert mode(tmp_path / "secrets/broker-url") == 0o600


def test_urls_without_password_stand_in_the_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "prepare_database", lambda config: "hub_x")
    assert run("init", tmp_path, "--database", "postgresql+psycopg:///hub", "--broker", "redis://cache/0").code == 0
    written = tomllib.loads((tmp_path / "hub.toml").read_text())
    assert written["database"]["url"] == "postgresql+psycopg:///hub"
    assert written["broker"]["url"] == "redis://cache/0"
    assert not (tmp_path / "secrets/database-url").exists()


@pytest.mark.parametrize("url", ["mysql://x/y", "postgresql://x/y"])
def test_a_database_we_do_not_know(run: Run, tmp_path: Path, url: str) -> None:
    refused = run("init", tmp_path, "--database", url)
    assert refused.code == 2
    assert "postgresql+psycopg://" in refused.err


def test_a_database_that_is_not_there(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_engine: object) -> str:
        raise Misconfigured("the database cannot be used (OperationalError): is it running?")

    monkeypatch.setattr("hub.db.schema.upgrade", down)
    refused = run("init", tmp_path)
    assert refused.code == 2
    assert "is it running?" in refused.err


def test_every_commented_channel_is_one_that_loads(run: Run, hub_toml: Path) -> None:
    """Whoever takes the # away gets a channel whose settings are right."""
    text = hub_toml.read_text()
    head, more = text.split("# ---- out: what the front office changes")
    uncommented = re.sub(r"(?m)^# (?=[\[a-z])", "", more.split("\n", 1)[1])
    secrets = hub_toml.parent / "secrets"
    for name in re.findall(r'file = "secrets/([^"]+)"', uncommented):
        (secrets / name).write_text("geheim")
    hub_toml.write_text(head + uncommented)
    ran = run("check", "-c", hub_toml, "--json")
    assert [finding for finding in ran.json["findings"] if not finding["good"]] == []
    systems = {"ocs-in", "crm-webhook", "ocs-out", "emr", "erp", "erp-bills", "modalities", "worklist", "archive"}
    assert set(load(hub_toml).channels) == systems


def test_the_schema_is_there(hub_toml: Path) -> None:
    with sqlite3.connect(hub_toml.parent / "hub.db") as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"message", "work", "resource", "entry", "alembic_version"} <= names


def test_a_missing_folder_of_the_database_is_told_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    refused = run("init", tmp_path / "hub", "--database", "sqlite:///nope/hub.db")
    assert refused.code == 2
    assert "hub/nope: create it first" in refused.err.replace("\n", "")
    assert not (tmp_path / "hub").exists()
    (tmp_path / "hub" / "there").mkdir(parents=True)
    assert run("init", tmp_path / "hub", "--database", "sqlite:///there/hub.db").code == 0
