"""docs/pacs-hl7.md says every setting of the PACS's HL7 adapter, with its default."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.pacs import hl7_out

TEXT = (Path(__file__).parents[3] / "docs/pacs-hl7.md").read_text(encoding="utf-8")
ROWS = {name: line for line in TEXT.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}


@pytest.mark.parametrize("field", dataclasses.fields(hl7_out.Settings), ids=lambda field: field.name)
def test_every_setting_is_explained_with_its_default(field: dataclasses.Field[Any]) -> None:
    assert field.metadata["doc"]
    said = ROWS[field.name].split("|")[2]
    if isinstance(field.default, bool):
        assert f"`{str(field.default).lower()}`" in said
    elif isinstance(field.default, int | float):
        assert f"{field.default:g}" in said
    elif field.default in ("OMI^O23", "utf-8", "original"):
        assert f"`{field.default}`" in said
