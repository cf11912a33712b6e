"""`hub run` beside old tables that are being written to, killed with -9 meanwhile: a small dose (docs/testing.md)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.chaos import tables
from tests.chaos.doses import TABLES_SMALL
from tests.chaos.tables import TableDose
from tests.integration import odbc_kit


@pytest.mark.parametrize("dose", TABLES_SMALL, ids=lambda dose: dose.name)
def test_each_row_once_although_the_hub_is_killed(dose: TableDose, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("mariadb" if dose.database == "mariadb" else "postgres")
    report = tables.run(dose, tmp_path, odbc_kit.old_system(server, "d_killed", dose.charset))
    assert report.faults == [], json.dumps(report.as_dict(), ensure_ascii=False, indent=1)
    assert report.ledger["sent"] == dose.messages
    assert report.starts >= 1 + dose.kills // 2
