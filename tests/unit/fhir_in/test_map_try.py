"""`hub map try` of FHIR; and a resource type that the shipped maps do not have: a map file and no Python."""

from __future__ import annotations

import json
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from hub.cli import app
from hub.domain.errors import Misconfigured
from hub.domain.facts import Fact
from hub.mapping import Context, load_maps

BOOK = """
source = "fhir"
[block.immunization]
kind = "Procedure"
key = "own"
patient = { path = "patient", as = "patient_reference" }
[block.immunization.fields]
"vaccineCode" = { to = "code", as = "fhir_concept" }
"occurrenceDateTime" = { to = "performed", as = "fhir_time" }
"status" = { to = "status", codes = "fhir-procedure-status" }
[event.Immunization]
title = "Vaccination"
blocks = ["immunization"]
"""
ROWS = """
source = "row"
[block.site-partner]
kind = "Patient"
key = "BusinessPartner"
[block.site-partner.fields]
"to_Address.CityName" = { to = "note" }
[event.A_BusinessPartner]
blocks = ["site-partner"]
"""
SHOT = {
    "resourceType": "Immunization", "id": "i1", "status": "completed", "patient": {"reference": "Patient/p1"},
    "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "140"}], "text": "독감"},
    "occurrenceDateTime": "2026-10-01",
}  # fmt: skip


def run(tmp_path: Path, document: object, *more: str) -> list[dict[str, object]]:
    (tmp_path / "one.json").write_bytes(orjson.dumps(document))
    ran = CliRunner().invoke(app, ["map", "try", str(tmp_path / "one.json"), "-c", str(tmp_path / "no.toml"), "--json", *more])
    found: list[dict[str, object]] = json.loads(ran.stdout)
    return found


def test_a_new_resource_type_is_a_map_file(tmp_path: Path) -> None:
    assert "no map" in str(run(tmp_path, SHOT)[0]["error"])
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "immunization.toml").write_text(BOOK, encoding="utf-8")
    (found,) = run(tmp_path, SHOT, "--overlay", str(tmp_path / "maps"))
    assert (found["facts"], found["error"], found["warnings"]) == (["Fact Procedure"], "", [])
    (fact,) = load_maps([tmp_path / "maps"]).map_fhir(SHOT, Context("HOSP", "emr")).facts
    assert isinstance(fact, Fact)
    assert fact.values == {
        "code": {"code": "140", "display": "독감", "system": "CVX"}, "performed": "2026-10-01", "status": "completed",
    }  # fmt: skip


def test_every_resource_of_a_bundle(tmp_path: Path) -> None:
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "Patient", "id": "p1", "name": [{"text": "홍길동"}]}}, {"resource": SHOT}, {}]}  # fmt: skip
    patient, shot, empty = run(tmp_path, bundle)
    assert patient["facts"] == ["Fact Patient", "Snapshot RelatedPerson"]
    assert any(row["result"] == [{"text": "홍길동", "family": "홍", "given": ["길동"]}] for row in patient["rows"])  # type: ignore[attr-defined]
    assert "no map" in str(shot["error"])
    assert "Bundle.entry[2].resource" in str(empty["error"])


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('"vaccineCode." = { to = "code" }', "is no FHIR path"),
        ('"a[b" = { to = "code" }', "is no FHIR path"),
        ('"vaccineCode" = { to = "coed" }', "did you mean `code`"),
        ('"vaccineCode" = { to = "code", as = "fhir_conzept" }', "did you mean `fhir_concept`"),
    ],
)
def test_what_is_wrong_in_a_map_is_said_with_its_line(tmp_path: Path, line: str, what: str) -> None:
    (tmp_path / "x.toml").write_text(BOOK.replace('"vaccineCode" = { to = "code", as = "fhir_concept" }', line), encoding="utf-8")
    with pytest.raises(Misconfigured, match=r"x\.toml:8") as error:
        load_maps([tmp_path])
    assert what in error.value.reason


def test_functions_of_fhir_are_for_maps_of_fhir(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        'source = "row"\n[block.a]\nkind = "Patient"\nkey = "NO"\n[block.a.fields]\n'
        '"NM" = { to = "name", as = "fhir_name" }\n[event.T]\nblocks = ["a"]\n'
    )
    with pytest.raises(Misconfigured, match='source = "fhir"'):
        load_maps([tmp_path])


def test_a_row_is_explained_too(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "rows.toml").write_text(ROWS, encoding="utf-8")
    row = {"event": "A_BusinessPartner", "row": {"BusinessPartner": "17", "to_Address": [{"CityName": "서울"}]}}
    (found,) = run(tmp_path, row, "--overlay", str(tmp_path / "maps"))
    assert (found["event"], found["facts"], found["error"]) == ("A_BusinessPartner", ["Fact Patient"], "")
    assert ("to_Address.CityName", "note", "서울") in [(one["path"], one["to"], one["result"]) for one in found["rows"]]  # type: ignore[attr-defined]
    (wrong,) = run(tmp_path, {**row, "row": {"BusinessPartner": {}}}, "--overlay", str(tmp_path / "maps"))
    assert str(wrong["error"]).startswith("BusinessPartner: ")
    (unknown,) = run(tmp_path, {**row, "event": "Other"}, "--overlay", str(tmp_path / "maps"))
    assert "no map for rows of Other" in str(unknown["error"])
