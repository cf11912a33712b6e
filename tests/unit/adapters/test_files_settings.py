"""Drop folders: what their settings refuse, and that docs/files.md says every one of them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hub.adapters.files import csv_in, fixed_in, hl7_in
from hub.domain.errors import Misconfigured

PAGE = (Path(__file__).parents[3] / "docs" / "files.md").read_text(encoding="utf-8")
COMMON = {"folder": "/drop"}
ROWS = {**COMMON, "event": "X"}
FIXED = {**ROWS, "columns": {"A": [1, 8]}}


@pytest.mark.parametrize("module", [hl7_in, csv_in, fixed_in])
def test_every_setting_is_explained(module: ModuleType) -> None:
    for field in fields(module.Settings):
        assert f"`{field.name}`" in PAGE
        assert field.metadata["doc"]


@pytest.mark.parametrize(
    ("module", "table", "says"),
    [
        (hl7_in, {}, "folder"),
        (hl7_in, {**COMMON, "charset": "klingon"}, "utf-8 or cp949"),
        (hl7_in, {**COMMON, "ready": "soon"}, '"quiet", "marker", "rename"'),
        (hl7_in, {**COMMON, "patern": ["*"]}, 'did you mean "pattern"'),
        (hl7_in, {**COMMON, "pattern": []}, "no file would be taken"),
        (hl7_in, {**COMMON, "ready": "marker", "marker_suffixes": [""]}, "an empty one"),
        (csv_in, COMMON, "event"),
        (csv_in, {**ROWS, "delimiter": ";;"}, "one character"),
        (csv_in, {**ROWS, "charset": "utf-16"}, "several bytes"),
        (csv_in, {**ROWS, "columns": ["A", "A"]}, "names A twice"),
        (csv_in, {**ROWS, "columns": ["A"], "keys": ["B"]}, "has no B"),
        (fixed_in, ROWS, "columns"),
        (fixed_in, {**ROWS, "columns": {"A": [0, 8]}}, "first byte and width for A"),
        (fixed_in, {**ROWS, "columns": {"A": [1]}}, "first byte and width for A"),
        (fixed_in, {**FIXED, "keys": ["B"]}, "has no B"),
    ],
)
def test_a_wrong_setting_says_what_to_write(module: ModuleType, table: dict[str, Any], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        module.Settings.from_table(table)


def test_the_defaults_are_enough() -> None:
    assert hl7_in.Settings.from_table(COMMON).quiet_seconds == 10
    assert csv_in.Settings.from_table(ROWS).delimiter == ","
    assert fixed_in.Settings.from_table(FIXED).columns == {"A": (1, 8)}
