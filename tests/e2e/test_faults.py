"""Promises 1, 2, 3 and 5 under load and faults: a small dose here, the full one by `make chaos` (docs/testing.md)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import servers
from tests.chaos import harness
from tests.chaos.doses import SMALL
from tests.chaos.harness import Dose


@pytest.fixture(scope="module", autouse=True)
def tools() -> Path:
    try:
        return harness.tools()
    except harness.ToolsMissingError as missing:
        pytest.skip(str(missing))


def marked(dose: Dose) -> object:
    marks = [pytest.mark.slow]
    if dose.database == "postgresql":
        marks += [pytest.mark.postgres, *([pytest.mark.redis] if dose.redis != "absent" else [])]
    return pytest.param(dose, id=dose.name, marks=marks)


@pytest.mark.parametrize("dose", [marked(dose) for dose in SMALL])
def test_nothing_is_lost_doubled_or_overtaken(dose: Dose, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    database = request.getfixturevalue("postgres_url") if dose.database == "postgresql" else None
    redis: servers.Redis | None = request.getfixturevalue("redis") if dose.redis in ("running", "flushed") else None
    report = harness.run(dose, tmp_path, database, redis)
    assert report.faults == [], json.dumps(report.as_dict(), ensure_ascii=False, indent=1)
    assert report.starts >= 1 + dose.kills // 2  # after a kill of all of them it came back
    assert dose.redis != "flushed" or report.flushes > 1
