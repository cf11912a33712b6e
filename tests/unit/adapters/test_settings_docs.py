"""A how-to says every setting of its adapters, with its default."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hub.adapters.emr import fhir_out, fhir_patient, fhir_pull
from hub.adapters.erp import odata_in, tryton, tryton_in
from hub.adapters.pacs import hl7_out

DOCS = Path(__file__).parents[3] / "docs"
PAGES: dict[str, tuple[ModuleType, ...]] = {
    "emr-fhir.md": (fhir_pull, fhir_out, fhir_patient),
    "erp-sap-in.md": (odata_in,),
    "erp-tryton.md": (tryton, tryton_in),
    "pacs-hl7.md": (hl7_out,),
}


def _settings() -> Iterator[Any]:
    for page, modules in PAGES.items():
        lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
        rows = {name: line for line in lines if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}
        for field in {one.name: one for module in modules for one in dataclasses.fields(module.Settings)}.values():
            yield pytest.param(field, rows.get(field.name, ""), id=f"{page} {field.name}")


@pytest.mark.parametrize(("field", "row"), list(_settings()))
def test_every_setting_is_explained_with_its_default(field: dataclasses.Field[Any], row: str) -> None:
    assert field.metadata["doc"]
    assert row
    default = row.split("|")[2]
    if isinstance(field.default, bool):
        assert f"`{str(field.default).lower()}`" in default
    elif isinstance(field.default, int | float):
        assert f"{field.default:g}" in default
