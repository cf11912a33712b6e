"""`hub demo` as a newcomer starts it: one command, no server beside it, a summary that can be believed ("Done when" 1)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
TARGETS = ("crm", "ocs", "emr", "erp", "pacs")


def demo(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """A demo that keeps its temporary files in `folder`."""
    line = [sys.executable, "-m", "hub", "demo", "--patients", "12", *arguments]
    env = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def finished(process: subprocess.Popen[str], seconds: float = 180) -> tuple[str, str]:
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        pytest.fail(f"the demo did not end within {seconds:.0f} s:\n{out[-2000:]}\n{err[-2000:]}")


def believed(summary: dict[str, Any]) -> None:
    """Every expectation held, and the numbers say so too."""
    assert summary["failed"] == []
    assert summary["ok"] is True
    messages = summary["messages"]
    assert messages["received"] == messages["applied"] + messages["stale"] + messages["ignored"] + messages["refused"] + (
        messages["discarded"] + messages["dead_left"]
    )
    assert messages["refused"] == messages["stale"] == messages["ignored"] == messages["duplicates"] == 1
    assert all(summary["delivered"][name] > 0 for name in TARGETS)
    for change in summary["crm_changes"].values():
        assert set(change.values()) == {"confirmed"}
    assert summary["poison"] == {"dead": True, "neighbours_applied": 6, "replayed_applied": True, "discarded": True}
    assert summary["outage"]["dead_letters"] == 0
    assert summary["outage"]["breaker_opened"]
    assert summary["outage"]["breaker_closed"]
    steps = {one["step"]: one for one in summary["four_systems"]["steps"]}
    assert [one["system"] for one in steps.values()] == ["OCS", "EMR", "OCS", *["PACS"] * 6, "ERP", "ERP"]
    assert all(one["patients"] == summary["four_systems"]["patients"] > 0 for one in steps.values())
    assert all(one["median"] <= 1.0 for one in steps.values())
    assert summary["audit"]["verified"]
    assert summary["audit"]["entries"] > messages["received"]


def test_two_demos_at_once_both_end_well(tmp_path: Path) -> None:
    running = [demo("--once", "--json", "--seed", str(seed), folder=tmp_path) for seed in (7, 8)]
    said = [finished(process) for process in running]
    for process, (out, err) in zip(running, said, strict=True):
        assert out.count("\n") == 1, err
        believed(json.loads(out))
        assert process.returncode == 0
    assert list(tmp_path.iterdir()) == [], "temporary folders are removed"


def test_the_console_stays_open_until_ctrl_c_and_nothing_is_left_behind(tmp_path: Path) -> None:
    process = demo("--json", "--dir", str(tmp_path / "house"), folder=tmp_path)
    assert process.stdout is not None
    believed(json.loads(process.stdout.readline()))
    assert process.poll() is None
    hub = int((tmp_path / "house" / "hub.pid").read_text())
    process.send_signal(signal.SIGINT)
    _, err = finished(process, 40)
    assert process.returncode == 0, err
    assert "log in with" in err
    until = time.monotonic() + 10
    while Path(f"/proc/{hub}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{hub}").exists(), "the hub ends with the demo"


def test_a_folder_that_holds_a_hub_is_left_alone(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "hub", "init", str(tmp_path / "mine"), "--json"], capture_output=True, timeout=60
    )
    assert made.returncode == 0
    before = (tmp_path / "mine" / "hub.toml").read_text()
    process = demo("--once", "--dir", str(tmp_path / "mine"), folder=tmp_path)
    _, err = finished(process, 60)
    assert process.returncode != 0
    assert "holds a hub already" in err
    assert (tmp_path / "mine" / "hub.toml").read_text() == before
