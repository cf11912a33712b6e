"""The command line as a whole: help that teaches, errors in one sentence with the right exit code, JSON that parses."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from hub.bootstrap.pid_file import PidFile
from hub.cli import app
from hub.cli.common import parse_moment
from hub.domain.ids import now_us
from tests.hub_kit import row_map

Run = Any  # tests/unit/cli/conftest.py


def commands(command: Any, name: str = "hub") -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for child, what in command.commands.items():
            yield from commands(what, f"{name} {child}")
    else:
        yield name, command


ALL = dict(commands(typer.main.get_command(app)))


def test_every_command_of_the_issue_is_there() -> None:
    wanted = ["init", "check", "run", "reload", "demo", "status", "messages", "show"]
    wanted += ["send", "replay", "discard", "backup", "purge", "bench"]
    groups = ["map try", "audit verify", "token create", "db upgrade", "channel pause", "channel resume"]
    assert {f"hub {name}" for name in [*wanted, *groups]} <= set(ALL)


@pytest.mark.parametrize("name", sorted(ALL))
def test_help_teaches_by_example(name: str, run: Run) -> None:
    ran = run(*name.split()[1:], "--help")
    assert ran.code == 0
    assert "Example" in ran.out
    assert f"hub {name.split(' ', 1)[1]}" in ran.out


@pytest.mark.parametrize("name", ["status", "messages", "check", "audit log", "token list", "channel list", "db check"])
def test_json_parses_and_a_table_is_not_json(name: str, run: Run, hub_toml: Path) -> None:
    plain = run(*name.split(), "-c", hub_toml, "--json")
    assert plain.code == 0, plain.err
    assert plain.json is not None
    assert run(*name.split(), "--config", hub_toml).code == 0


def test_status_holds_the_counts_of_each_channel(run: Run, hub_toml: Path) -> None:
    status = run("status", "-c", hub_toml, "--json").json
    assert set(status["channels"]) == {"ocs-in", "crm-webhook"}
    for channel in status["channels"].values():
        counts = {name: channel[name] for name in ("queued", "in_flight", "done", "ignored", "uncertain", "dead", "refused")}
        assert counts == dict.fromkeys(counts, 0)
        assert (channel["lag_seconds"], channel["blocked_lanes"]) == (0, 0)
    assert status["running"] is False


def test_status_says_what_to_do_of_a_channel_that_does_not_go(run: Run, hub_toml: Path) -> None:
    with sqlite3.connect(hub_toml.parent / "hub.db") as database:
        for name, stopped, breaker in (("crm-webhook", "gone: HTTP 410", "closed"), ("ocs-in", "", "open")):
            database.execute(
                "INSERT INTO channel_state (channel, paused, stopped, breaker, breaker_until, failures, updated_at)"
                " VALUES (?, 0, ?, ?, ?, 0, 0)",
                (name, stopped, breaker, now_us() + 60_000_000),
            )
    told = run("status", "-c", hub_toml).out
    assert "hub channel resume crm-webhook --reason" in told
    assert "next probe of the target 20" in told


def test_a_running_hub_is_seen_by_its_pid_file(run: Run, hub_toml: Path) -> None:
    held = PidFile(hub_toml.parent / "hub.pid")
    assert run("status", "-c", hub_toml, "--json").json["pid"] == os.getpid()
    held.release()
    (hub_toml.parent / "hub.pid").write_text(f"{os.getpid()}\n")  # as a hub leaves it that was killed; somebody has its id now
    assert run("status", "-c", hub_toml, "--json").json["pid"] is None
    assert run("reload", "-c", hub_toml).code == 1


def test_a_configuration_error_is_one_line_and_exit_2(run: Run, hub_toml: Path) -> None:
    text = hub_toml.read_text().replace("port = 8080", "prot = 8080")
    hub_toml.write_text(text)
    line = text[: text.index("prot")].count("\n") + 1
    for command in ("run", "check", "status", "reload"):
        ran = run(command, "-c", hub_toml)
        assert ran.code == 2
        assert ran.err == f'hub: {hub_toml}:{line}: unknown key "prot" in [web]; did you mean "port"?\n'


def test_an_adapters_error_has_its_line_too(run: Run, hub_toml: Path) -> None:
    text = hub_toml.read_text().replace("port = 2575", "port = 2575\nchrset = 'cp949'")
    hub_toml.write_text(text)
    line = text[: text.index("chrset")].count("\n") + 1
    ran = run("check", "-c", hub_toml)
    assert ran.code == 2
    assert f"hub.toml:{line}:" in ran.out
    assert "charset" in ran.out
    left = run("reload", "-c", hub_toml)
    assert left.code == 2
    assert "left as it is" in left.err


@pytest.mark.parametrize("adapter", ['"ocs.hl7_in"', '"ocs.hl7_query"\naskers = ["CRM"]'])
def test_two_listeners_on_one_port(run: Run, hub_toml: Path, adapter: str) -> None:
    hub_toml.write_text(hub_toml.read_text() + f'\n[channels.second]\nadapter = {adapter}\nsystem = "ocs"\nport = 2575\n')
    ran = run("check", "-c", hub_toml)
    assert ran.code == 2
    assert '"port" 2575 is taken by [channels.ocs-in]' in ran.out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("show", 7), 1, "there is no message 7"),
        (("replay", 7, "--reason", "a test"), 1, "there is no message"),
        (("discard", 7, "--reason", "a test"), 1, "there is no message"),
        (("channel", "pause", "osc-in", "--reason", "a test"), 1, 'no channel "osc-in"'),
        (("token", "revoke", "nobody"), 1, "no such token"),
        (("token", "create", "first-admin", "--role", "crm"), 1, "token of that name"),
        (("messages", "--since", "yesterday"), 2, "15m, 2h, 3d"),
        (("send", "/nowhere.hl7"), 1, "/nowhere.hl7"),
        (("map", "try", "/nowhere.hl7"), 1, "/nowhere.hl7"),
        (("backup", "/nowhere/x.db"), 2, "no folder /nowhere"),
        (("status", "--nonsense"), 2, "--nonsense"),
        (("messages", "--state", "bogus"), 2, "queued, in_flight, done, uncertain"),
        (("send", "/dev/null"), 1, "no HL7 message in /dev/null"),
        (("map", "try", "/dev/null"), 2, "no HL7 message"),
        (("load", "nope", "--kind", "patient"), 2, 'no polled channel "nope"'),
        (("request", "nope", "patient", "1"), 2, 'no polled channel "nope"'),
        (("odbc", "sniff", "nope", "T"), 2, 'no channel "nope"'),
        (("channel", "kinds", "ocs.none"), 1, "hub channel kinds"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, hub_toml: Path, arguments: tuple[object, ...], code: int, text: str) -> None:
    config = () if arguments[:2] == ("channel", "kinds") else ("-c", hub_toml)
    ran = run(*arguments, *config)
    assert ran.code == code, ran
    assert text in ran.err.replace("\n", "")
    assert "Traceback" not in ran.err


def test_a_missing_configuration_says_how_to_make_one(run: Run, tmp_path: Path) -> None:
    ran = run("status", "-c", tmp_path / "none.toml")
    assert ran.code == 2
    assert "hub init DIR" in ran.err


def test_tokens_live_and_end(run: Run, hub_toml: Path) -> None:
    made = run("token", "create", "night", "--role", "operator", "--days", 30, "-c", hub_toml, "--json").json
    assert made["token"].startswith("hub_")
    assert made["expires_at"] - now_us() > 29 * 86400 * 1_000_000
    assert run("token", "revoke", "night", "-c", hub_toml).code == 0
    listed = {one["name"]: one for one in run("token", "list", "-c", hub_toml, "--json").json}
    assert listed["night"]["revoked_at"]
    actions = [one["action"] for one in run("audit", "log", "-c", hub_toml, "--json").json]
    assert actions[:2] == ["token.revoked", "token.created"]
    assert actions.count("token.created") == 2  # init's own is one too


def test_a_backup_is_a_whole_database(run: Run, hub_toml: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    with sqlite3.connect(hub_toml.parent / "hub.db") as writer:
        writer.execute("BEGIN IMMEDIATE")  # somebody writes meanwhile: nobody waits for the other
        writer.execute("INSERT INTO counter VALUES ('x', 1)")
        ran = run_backup(hub_toml, target)
        writer.rollback()
    assert ran > 0
    assert target.stat().st_mode & 0o077 == 0
    with sqlite3.connect(target) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT name FROM token").fetchall() == [("first-admin",)]
    assert run("backup", target, "-c", hub_toml).code == 2  # never written over


def run_backup(hub_toml: Path, target: Path) -> int:
    from hub.cli.backup import back_up
    from hub.config import load

    return back_up(load(hub_toml).database.url, target)


MESSAGE = (
    "MSH|^~\\&|OCS|HOSP|HUB|HOSP|20261122090000||ADT^A08^ADT_A01|C1|P|2.5\rEVN|A08|20261122090000\r"
    "PID|1||00012345^^^HOSP^MR||홍^길동^^^^^L^I||19800131|M\rPV1|1|O\r"
)


def test_map_try_shows_field_by_field(run: Run, hub_toml: Path, tmp_path: Path) -> None:
    file = tmp_path / "a08.hl7"
    file.write_bytes(MESSAGE.encode())
    (result,) = run("map", "try", file, "-c", hub_toml, "--channel", "ocs-in", "--json").json
    assert result["error"] == ""
    assert result["event"] == "ADT^A08"
    assert {"path": "PID-7", "to": "birthDate", "result": "1980-01-31"}.items() <= next(
        row for row in result["rows"] if row["path"] == "PID-7"
    ).items()
    assert "Fact Patient" in result["facts"]
    shown = run("map", "try", file)
    assert shown.code == 0
    assert "1980-01-31" in shown.out


def test_map_try_says_what_has_no_map(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bed.hl7"
    file.write_bytes(MESSAGE.replace("ADT^A08^ADT_A01", "ADT^A20").encode())
    ran = run("map", "try", file)
    assert ran.code == 1
    assert "there is no map for ADT^A20" in ran.out


@pytest.mark.parametrize(("text", "seconds"), [("15m", 900), ("2h", 7200), ("3 d", 259200), ("30s", 30)])
def test_a_span_is_counted_back(text: str, seconds: int) -> None:
    found = parse_moment(text)
    assert found is not None
    assert abs(now_us() - seconds * 1_000_000 - found) < 2_000_000


def test_a_time_is_a_time() -> None:
    assert parse_moment("2026-11-22T09:00:00+09:00") == 1795305600000000
    assert parse_moment(None) is None


@pytest.mark.parametrize("url", ["crm.example.org/hook", "ftp://crm.example.org/", "http://", "http://h:99999/", "http://u:p@h/"])
def test_a_url_that_cannot_be_used_is_found_before_the_hub_starts(url: str, run: Run, hub_toml: Path, tmp_path: Path) -> None:
    text = hub_toml.read_text()
    hub_toml.write_text(text.replace("http://127.0.0.1:9/hook", url))
    for command in ("check", "run", "reload"):
        ran = run(command, "-c", hub_toml)
        assert ran.code == 2, command
        assert "url" in ran.out + ran.err
    fresh = tmp_path / "fresh"
    refused = run("init", fresh, "--crm-url", url)
    assert refused.code == 2
    assert "--crm-url" in refused.err
    assert not fresh.exists()


@pytest.mark.parametrize("reason", ["x 010-1234-5678", "801301-1234567", "ab", "two\nlines", "x" * 201])
@pytest.mark.parametrize("command", [("replay", 1), ("discard", 1), ("settle", 1, "--acted"), ("channel", "pause", "ocs-in")])
def test_a_reason_is_held_to_the_rule_of_the_audit_log(
    command: tuple[object, ...], reason: str, run: Run, hub_toml: Path
) -> None:
    ran = run(*command, "--reason", reason, "-c", hub_toml)
    assert ran.code == 2
    assert "telephone" in ran.err
    assert reason.strip() not in ran.err


@pytest.mark.parametrize("command", [("replay",), ("discard",), ("settle",), ("channel", "pause")])
def test_help_says_what_a_reason_may_be(command: tuple[str, ...], run: Run) -> None:
    shown = " ".join(run(*command, "--help").out.replace("│", " ").split())
    assert "3 to 200 characters" in shown
    assert "six digits in a row are refused" in shown


def test_map_try_of_something_else_is_an_error_without_a_table(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear colleague")
    ran = run("map", "try", file)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "hub: no HL7 message: no MSH segment at the start\n"


def test_check_warns_of_events_that_no_map_has(run: Run, hub_toml: Path) -> None:
    hub_toml.write_text(
        hub_toml.read_text().replace("[channels.ocs-in]", '[channels.ocs-in]\naccept = ["ADTX", "SIU", "ADT^A08"]')
    )
    ran = run("check", "-c", hub_toml)
    assert ran.code == 0, ran
    assert "warning: accept names ADTX, which no map has" in ran.out


def test_check_refuses_rows_that_no_map_has_unless_they_are_passed_on(run: Run, hub_toml: Path) -> None:
    maps = hub_toml.parent / "maps"
    maps.mkdir()
    (maps / "ocs.toml").write_text(row_map('"SNAME" = { to = "name", as = "name_text", each = true }'))
    channel = (
        '\n[channels.table]\nadapter = "ocs.sql_in"\nsystem = "ocs"\nconnection = "DRIVER=x"\ndatabase = "sqlite"\n'
        'overlay = "maps"\ntable = "T"\nkey = ["ID"]\nevent = "OPD_PATIENTS"\n'
    )
    before = hub_toml.read_text()
    hub_toml.write_text(before + channel)
    ran = run("check", "-c", hub_toml, "--json")
    (told,) = [one["text"] for one in ran.json["findings"] if not one["good"]]
    assert ran.code == 2
    assert 'no map has rows of "OPD_PATIENTS"; did you mean OPD_PATIENT' in told.replace('"OPD_PATIENT"', "OPD_PATIENT")
    hub_toml.write_text(before + channel.replace("OPD_PATIENTS", "OPD_PATIENT"))
    assert run("check", "-c", hub_toml).code == 0


@pytest.mark.parametrize("command", ["check", "run", "status", "db check", "db upgrade", "channel pause ocs-in --reason test"])
def test_a_missing_folder_of_the_database_is_named(command: str, run: Run, hub_toml: Path) -> None:
    hub_toml.write_text(hub_toml.read_text().replace("sqlite:///hub.db", "sqlite:///nope/hub.db"))
    ran = run(*command.split(), "-c", hub_toml)
    assert ran.code == 2
    assert f"there is no folder {hub_toml.parent / 'nope'}" in ran.out.replace("\n", "") + ran.err.replace("\n", "")
