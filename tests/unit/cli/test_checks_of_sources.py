"""What `hub check` says of channels that ask, are sent to, or watch a folder, before anything runs."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run

FILES = """
[channels.{name}]
adapter = "files.hl7_in"
system = "ocs"
folder = "{folder}"
"""


def add(hub_toml: Path, text: str) -> None:
    hub_toml.write_text(
        hub_toml.read_text().replace('adapter = "crm.webhook"', 'adapter = "crm.webhook"\nenabled = false') + text
    )


def test_a_missing_drop_folder_fails_a_ping_and_warns_before(run: Run, hub_toml: Path) -> None:
    add(hub_toml, FILES.format(name="lab", folder="drop"))
    assert run("check", "-c", hub_toml).code == 0
    pinged = run("check", "--ping", "-c", hub_toml)
    assert pinged.code == 2
    assert "NO  source lab: there is no folder" in pinged.out
    (hub_toml.parent / "drop").mkdir()
    (hub_toml.parent / "drop" / "A.hl7").touch()
    assert "files to be taken: 1" in run("channel", "ping", "lab", "-c", hub_toml).out


def test_two_channels_cannot_watch_one_folder(run: Run, hub_toml: Path) -> None:
    (hub_toml.parent / "drop").mkdir()
    add(hub_toml, FILES.format(name="lab", folder="drop") + FILES.format(name="lab-too", folder="./drop/"))
    ran = run("check", "-c", hub_toml)
    assert ran.code == 2
    assert '"folder" is that of lab' in ran.out


def test_a_token_that_nobody_has_is_a_warning(run: Run, hub_toml: Path) -> None:
    add(hub_toml, '\n[channels.push]\nadapter = "emr.fhir_in"\nsystem = "emr"\ntokens = ["nobody"]\n')
    ran = run("check", "-c", hub_toml)
    assert ran.code == 0
    assert "there is no token nobody: hub token create nobody --role sender" in ran.out
    assert run("token", "create", "nobody", "--role", "sender", "-c", hub_toml).code == 0
    assert "no token" not in run("check", "-c", hub_toml).out
    assert run("token", "revoke", "nobody", "-c", hub_toml).code == 0
    assert "there is no token nobody" in run("check", "-c", hub_toml).out


def test_a_resource_type_that_fhir_does_not_have_is_an_error(run: Run, hub_toml: Path) -> None:
    add(
        hub_toml,
        '\n[channels.pull]\nadapter = "emr.fhir_pull"\nsystem = "emr"\nurl = "http://127.0.0.1:9/fhir"\nkinds = ["Patiant"]\n',
    )
    ran = run("check", "-c", hub_toml)
    assert ran.code == 2
    assert 'did you mean "Patient"?' in ran.out


def test_a_polled_table_is_really_asked(run: Run, hub_toml: Path) -> None:
    database = hub_toml.parent / "ocs.sqlite"
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE visit (pano INTEGER, seq INTEGER)")
    made.close()
    channel = f"""
[channels.ocs-visit]
adapter = "ocs.sql_in"
system = "ocs"
url = "sqlite:///{database}"
database = "sqlite"
table = "visit"
key = ["pano", "%s"]
event = "OPD_PATIENT"
"""
    before = hub_toml.read_text()
    add(hub_toml, channel % "seq")
    assert "visit (2 columns) can be read" in run("channel", "ping", "ocs-visit", "-c", hub_toml).out
    hub_toml.write_text(before)
    add(hub_toml, channel % "nocol")
    for command in (("check", "--ping"), ("channel", "ping", "ocs-visit")):
        ran = run(*command, "-c", hub_toml)
        assert ran.code == 2
        assert 'no column "nocol", which key names' in ran.out + ran.err


@pytest.mark.parametrize("before", ["[hub]\n", "[channels.ocs-in]\n"])
def test_a_time_zone_that_there_is_not_is_told_with_its_line(run: Run, hub_toml: Path, before: str) -> None:
    text = hub_toml.read_text().replace('timezone = "Asia/Seoul"', "")
    hub_toml.write_text(text.replace(before, before + 'timezone = "Korea/Seoul"\n'))
    line = hub_toml.read_text().splitlines().index('timezone = "Korea/Seoul"') + 1
    ran = run("check", "-c", hub_toml)
    assert ran.code == 2
    assert f'hub.toml:{line}: there is no time zone "Korea/Seoul"; write an IANA name' in ran.err.replace("\n", "")
