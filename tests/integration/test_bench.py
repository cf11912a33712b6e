"""`hub bench` measures a hub of its own, and refuses somebody else's database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import insert

from hub.cli import history
from hub.cli.bench import _init, cpu_seconds, refuse_used
from hub.db import schema
from hub.db.engine import make_engine, parse_url
from hub.db.tables import message
from hub.domain.errors import Misconfigured


@pytest.mark.slow
def test_a_small_run_on_sqlite() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "hub", "bench", "--messages", "200", "--connections", "4", "--patients", "20", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["database"] == "SQLite"
    (run,) = told["runs"]
    assert run["messages"] == 200
    assert run["accepted"] >= run["applied"] >= run["delivered"] > 0
    assert run["events"] >= 200
    assert run["cpu_us"] > 0


def test_fresh_and_with_history_are_compared_stage_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RUNS", 2), ("VISITS", 40), ("BLOCK", 50)):
        monkeypatch.setattr(history, name, value)
    fresh, aged = tmp_path / "fresh" / "hub.toml", tmp_path / "aged" / "hub.toml"
    for config in (fresh, aged):
        _init(config.parent, "http://127.0.0.1:9/hooks", None, None)
    stored: list[int] = []
    history.fill(aged, 150, stored.append)
    assert sum(stored) == 200
    found = history.compare(fresh, aged, stored.append)
    assert [one.stage for one in found] == ["intake", "apply", "deliver", "sign"]
    assert all(one.fresh_rate > 0 and one.history_rate > 0 for one in found)
    assert found[0].fresh_statements == found[0].history_statements > 0


@pytest.mark.parametrize(
    ("statements", "rate", "same"), [(1.0, 100.0, True), (1.0, 75.0, True), (1.0, 74.0, False), (1.1, 100.0, False)]
)
def test_the_same_means_statements_unchanged_and_rate_within_a_quarter(statements: float, rate: float, same: bool) -> None:
    assert history.Compared("apply", 1.0, statements, 10.0, 10.0, 100.0, rate).same is same


def test_a_used_database_is_refused(database_url: str) -> None:
    refuse_used(database_url)  # nothing is there
    engine = make_engine(parse_url(database_url))
    schema.upgrade(engine)
    refuse_used(database_url)  # a schema, and no message
    with engine.begin() as connection:
        connection.execute(insert(message).values(id=1, channel="ocs-in", direction="in", at=1))
    engine.dispose()
    with pytest.raises(Misconfigured, match="holds messages"):
        refuse_used(database_url)


def test_cpu_time_is_that_of_a_whole_family() -> None:
    before = cpu_seconds(os.getpid())
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ntime.sleep(30)"
    parent = subprocess.Popen([sys.executable, "-c", f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])"])
    try:
        deadline = time.monotonic() + 20
        while cpu_seconds(parent.pid) < 0.3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert cpu_seconds(parent.pid) >= 0.3
        assert cpu_seconds(os.getpid()) - before >= 0.3
    finally:
        for child in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split():
            os.kill(int(child), 9)
        parent.kill()
        parent.wait(5)
