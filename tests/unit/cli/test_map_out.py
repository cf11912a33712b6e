"""`hub map out`: a change, and what it would become in an old table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

Run = Any  # tests/unit/cli/conftest.py
MAP = """target = "row"
[write.w]
events = ["patient.*"]
table = "IF_PATIENT"
do = "upsert"
key = ["PANO"]
[write.w.fields]
"PANO" = { from = "identifier", with = { assigner = "HOSP" } }
"BIRTH" = { from = "birthDate", as = "sql_date" }
"SEX" = { from = "gender", codes = { male = "M" } }
"""
PATIENT = {"identifier": [{"assigner": "HOSP", "value": "1"}], "birthDate": "1980-01-31", "gender": "male"}


@pytest.fixture
def out(run: Run, tmp_path: Path) -> Run:
    def call(change: object, *more: str) -> Any:
        (tmp_path / "w.toml").write_text(MAP, encoding="utf-8")
        (tmp_path / "change.json").write_text(json.dumps(change), encoding="utf-8")
        return run("map", "out", tmp_path / "change.json", "--map", tmp_path / "w.toml", *more)

    return call


@pytest.mark.parametrize("body", [{"resource": PATIENT}, {"data": {"id": "x", "version": 2, "resource": PATIENT}}])
def test_it_shows_table_columns_and_values(body: dict[str, object], out: Run) -> None:
    shown = out({"type": "patient.updated", **body}, "--json")
    assert shown.code == 0
    assert shown.json == {
        "write": "w", "do": "upsert", "target": "IF_PATIENT", "values": {"PANO": "1", "BIRTH": "1980-01-31", "SEX": "M"},
    }  # fmt: skip
    assert "1980-01-31" in out({"type": "patient.updated", **body}).out


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"type": "encounter.created", "resource": {}}, 1, "no write of the map is for encounter.created"),
        ({"type": "patient.updated", "resource": PATIENT | {"gender": "other"}}, 1, "would be refused: column SEX"),
        ({"type": "nothing", "resource": {}}, 2, "that is no change"),
        ([], 2, "that is no change"),
    ],
)
def test_what_would_not_be_written_says_why(change: object, code: int, said: str, out: Run) -> None:
    ran = out(change)
    assert ran.code == code
    assert said in " ".join((ran.out + ran.err).split())
