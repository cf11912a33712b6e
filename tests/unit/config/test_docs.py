"""docs/configuration.md says every key that hub.toml can hold, with the default that the code has."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from hub.bootstrap.kinds import manifests
from hub.config import model

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text(encoding="utf-8")
ROWS = {cell.strip(" `"): line for line in PAGE.splitlines() if line.startswith("| `") for cell in line.split("|")[1].split(",")}
SECTIONS: dict[str, Any] = {
    "hub": model.HubSection, "database": model.DatabaseSection, "broker": model.BrokerSection, "web": model.WebSection,
    "keys": model.KeysSection, "audit": model.AuditSection, "retention": model.RetentionSection, "limits": model.LimitsSection,
    "apply": model.ApplySection, "fhir": model.FhirSection, "authority": model.FieldAuthority, "channels": model.Common,
    "routes": model.RouteSection, "results": model.ResultsSection,
}  # fmt: skip
FIELDS = [(section, field) for section, cls in SECTIONS.items() for field in dataclasses.fields(cls)]


@pytest.mark.parametrize(("section", "field"), FIELDS, ids=[f"{s}.{f.name}" for s, f in FIELDS])
def test_every_key_is_explained(section: str, field: dataclasses.Field[Any]) -> None:
    row = ROWS.get(f"{section}.{field.name}") or ROWS.get(field.name)
    assert row is not None, f"docs/configuration.md does not say {section}.{field.name}"
    if isinstance(field.default, bool | int | float) and not isinstance(field.default, bool):
        assert f"`{field.default:g}`" in row or f"`{field.default}`" in row


def test_every_adapter_is_listed() -> None:
    assert {manifest.name for manifest in manifests()[0]} <= set(ROWS)


def test_every_key_has_a_sentence() -> None:
    for section, field in FIELDS:
        assert field.metadata.get("doc"), f"{section}.{field.name}"


@pytest.mark.parametrize("page", sorted((Path(__file__).parents[3] / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_no_table_of_the_documentation_is_split(page: Path) -> None:
    """Behind a blank line a row is no row: a table begins with its head and a line of dashes."""
    lines = page.read_text(encoding="utf-8").splitlines()
    first = [n for n, line in enumerate(lines) if line.startswith("|") and (n == 0 or not lines[n - 1].startswith("|"))]
    wrong = [n + 1 for n in first if not set(lines[n + 1]) <= set("|-: ")]
    assert not wrong
