"""`hub load` of a few thousand patients from a real MariaDB, with kill -9 of the loader and of the whole hub: each row once."""

from __future__ import annotations

from pathlib import Path

from tests import servers
from tests.chaos import load

ROWS = 3000


def test_nothing_is_missed_or_doubled_although_loader_and_hub_are_killed(tmp_path: Path, mariadb: servers.MariaDB) -> None:
    report = load.dose(ROWS, mariadb, None, tmp_path / "hub", kills=3, rate=10, quiet=0)
    assert report.faults == []
    assert "hub" in report.kills
    assert "loader" in report.kills
