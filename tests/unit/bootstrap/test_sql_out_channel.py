"""A channel of ocs.sql_out in hub.toml: it is queued what its map names, and `hub check` names a mistake's file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.bootstrap import channels
from hub.cli import checks
from hub.config import Config, ConfigError, parse

CHANNELS = """\
[channels.ocs-in]
adapter = "ocs.hl7_in"
system = "ocs"
port = 2575
[channels.ocs-write]
adapter = "ocs.sql_out"
system = "ocs"
connection = { env = "TEST_SECRET" }
database = "mariadb"
map_file = "maps/write.toml"
"""
MAP = """target = "row"
[write.booking]
events = ["appointment.created", "appointment.cancelled"]
table = "IF_BOOKING"
do = "upsert"
key = ["ID"]
[write.booking.fields]
"ID" = { from = "message.resource" }
"STATUS" = { from = "status" }
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("TEST_SECRET", "DRIVER={x};PWD=s3cret")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "write.toml").write_text(MAP, encoding="utf-8")
    return parse(CHANNELS, tmp_path / "hub.toml")


def test_it_is_queued_what_its_map_names(config: Config) -> None:
    table, _ = channels.routes(config)
    assert [(route.channel, tuple(route.events)) for route in table] == [
        ("ocs-write", ("appointment.created", "appointment.cancelled"))
    ]


def test_a_mistake_of_the_map_is_named_with_its_file_and_line(config: Config, tmp_path: Path) -> None:
    assert all(one.good for one in checks.offline(config) if one.what == "channel ocs-write")
    (tmp_path / "maps" / "write.toml").write_text(MAP.replace('"status"', '"state"'), encoding="utf-8")
    [found] = [one for one in checks.offline(config) if one.what == "channel ocs-write"]
    assert not found.good
    assert "write.toml:9: Appointment has no field `state`" in found.text
    assert "s3cret" not in found.text
    with pytest.raises(ConfigError, match=r"write\.toml:9"):
        channels.check_all(config)


def test_a_reload_takes_a_changed_map_and_keeps_an_unchanged_one(config: Config, tmp_path: Path) -> None:
    first = channels.outbound(config, {})
    assert channels.outbound(config, first)["ocs-write"][1].target is first["ocs-write"][1].target
    (tmp_path / "maps" / "write.toml").write_text(MAP.replace('"STATUS"', '"STATE"'), encoding="utf-8")
    assert channels.outbound(config, first)["ocs-write"][1].target is not first["ocs-write"][1].target
