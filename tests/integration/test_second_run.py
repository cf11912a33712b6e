"""A second `hub run` where one runs already: refused, and the first is left alone; "ready" is said of our own listeners only."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from hub.cli.run import running as pid_of
from hub.config import load
from tests.integration.test_hub_run import HUB, hub, init, running, until


def test_a_second_run_on_the_folder_is_refused_and_a_role_beside_leaves_the_pid_file(tmp_path: Path) -> None:
    _, ports = init(tmp_path)
    command = [*HUB, "run", "--config", str(tmp_path / "hub.toml")]
    with running(tmp_path, ports) as first:
        second = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert second.returncode == 1
        assert f"process {first.pid} runs this folder already" in second.stderr
        assert "hub reload" in second.stderr
        assert "ready: " not in second.stdout
        beside = subprocess.Popen([*command, "--role", "keep"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: hub(tmp_path, "audit", "log", "--json").count('"hub.started"') == 2, 30)
            assert (beside.poll(), pid_of(load(tmp_path / "hub.toml"))) == (None, first.pid)
            beside.send_signal(signal.SIGTERM)
            assert beside.wait(10) == 0
        finally:
            beside.kill()
            beside.wait(5)
        assert str(first.pid) in hub(tmp_path, "reload")
    assert not (tmp_path / "hub.pid").exists()


def test_after_kill_9_the_next_one_starts_at_once(tmp_path: Path) -> None:
    _, ports = init(tmp_path)
    with (tmp_path / "run.log").open("ab") as log:
        killed = subprocess.Popen([*HUB, "run", "--config", str(tmp_path / "hub.toml")], stdout=log, stderr=log)
    try:
        until(lambda: b"ready: " in (tmp_path / "run.log").read_bytes(), 60)
    finally:
        killed.kill()
        killed.wait(5)
    with running(tmp_path, ports) as next_one:
        until(lambda: pid_of(load(tmp_path / "hub.toml")) == next_one.pid)


def test_ready_is_never_said_of_anothers_listeners(tmp_path: Path) -> None:
    _, ports = init(tmp_path / "one")
    init(tmp_path / "two")
    theirs, mine = load(tmp_path / "two/hub.toml"), tmp_path / "two/hub.toml"
    text = mine.read_text().replace(f"port = {theirs.web.port}", f"port = {ports[1]}")
    mine.write_text(text.replace(f"port = {theirs.channels['ocs-in'].settings['port']}", f"port = {ports[0]}"))
    told = tmp_path / "told"
    with running(tmp_path / "one", ports), told.open("wb") as out:
        other = subprocess.Popen([*HUB, "run", "--config", str(mine)], stdout=out, stderr=subprocess.DEVNULL)
        try:
            until(lambda: "another program" in told.read_text(), 30)
            assert "ready: " not in told.read_text()
        finally:
            other.send_signal(signal.SIGTERM)
            other.wait(15)
    assert "ready: " not in told.read_text()
