"""docs/emr-fhir.md says every setting of the EMR's FHIR adapters, with its default."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.emr import fhir_out, fhir_patient, fhir_pull

TEXT = (Path(__file__).parents[3] / "docs/emr-fhir.md").read_text(encoding="utf-8")
ROWS = {name: line for line in TEXT.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}
FIELDS = {
    field.name: field for module in (fhir_pull, fhir_out, fhir_patient) for field in dataclasses.fields(module.Settings)
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_every_setting_is_explained_with_its_default(field: dataclasses.Field[Any]) -> None:
    assert field.metadata["doc"]
    row = ROWS.get(field.name)
    assert row is not None, field.name
    if isinstance(field.default, bool):
        assert f"`{str(field.default).lower()}`" in row.split("|")[2]
    elif isinstance(field.default, int | float):
        assert f"{field.default:g}" in row.split("|")[2]
