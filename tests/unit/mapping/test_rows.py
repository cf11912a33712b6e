"""Rows of an old table through the same language: cp949 in a latin-1 column, sentinels, several columns as one value."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.domain.errors import Misconfigured, Unmappable
from hub.domain.facts import Fact, Key
from hub.mapping import Context, MapSet, load_maps

CONTEXT = Context("HOSP", "legacy", "Asia/Seoul", 1_000)
MAP = """source = "row"
[block.patient]
kind = "Patient"
key = "PANO"
[block.patient.fields]
"SNAME" = { to = "name", as = "legacy_name", each = true }
"BIRTH" = { to = "birthDate", as = "date", empty = ["00000000", "19000101"] }
"SEX" = { to = "gender", codes = "administrative-sex" }
"JUMIN1,JUMIN2" = [{ to = "birthDate", as = "rrn_parts_birth_date" }, { to = "gender", as = "rrn_parts_gender" }]
"HPHONE" = { to = "telecom", as = "phone", each = true }
"TEL" = { to = "telecom", as = "phone", each = true, with = { use = "home" } }
"REMARK" = { to = "note", as = "latin1_cp949" }
[event.OPD_PATIENT]
title = "Patient master"
blocks = ["patient"]
"""


@pytest.fixture
def maps(tmp_path: Path) -> MapSet:
    text = MAP.replace('as = "legacy_name"', 'as = "latin1_name"')
    (tmp_path / "legacy.toml").write_text(text, encoding="utf-8")
    return load_maps([tmp_path])


def mangled(text: str) -> str:
    """What a driver hands out that reads cp949 bytes as latin-1."""
    return text.encode("cp949").decode("latin-1")


def test_what_tells_rows_apart_is_the_number_of_the_thing(maps: MapSet) -> None:
    """Else a patient told of by a table alone would have none, and no other system could be told of him."""
    (fact,) = maps.map_row("OPD_PATIENT", {"PANO": "00012345  ", "HPHONE": "010-1234-5678"}, CONTEXT).facts
    assert isinstance(fact, Fact)
    assert fact.values["identifier"] == [{"assigner": "HOSP", "value": "00012345"}]
    assert fact.paths["identifier"] == "PANO"


def test_a_row_of_a_legacy_table(maps: MapSet) -> None:
    row = {
        "PANO": "00012345  ",
        "SNAME": mangled("똠 방각하 "),
        "BIRTH": "19000101",
        "SEX": "M",
        "JUMIN1": "800131",
        "JUMIN2": "1******",
        "HPHONE": "010-1234-5678 ",
        "TEL": "",
        "REMARK": mangled("뷁 펲시콜라"),
    }
    mapped = maps.map_row("OPD_PATIENT", row, CONTEXT)
    (fact,) = mapped.facts
    assert isinstance(fact, Fact)
    assert fact.key == Key("HOSP", "00012345")
    assert fact.values == {
        "identifier": [{"assigner": "HOSP", "value": "00012345"}],
        "name": [{"text": "똠방각하", "family": "똠", "given": ["방각하"]}],
        "gender": "male",
        "birthDate": "1980-01-31",
        "telecom": [{"system": "phone", "value": "+821012345678", "raw": "010-1234-5678", "use": "mobile"}],
        "note": "뷁 펲시콜라",
    }
    assert fact.paths["birthDate"] == "JUMIN1,JUMIN2"
    assert mapped.event_at == 1_000


def test_a_blank_column_deletes_and_an_absent_one_says_nothing(maps: MapSet) -> None:
    (fact,) = maps.map_row("OPD_PATIENT", {"PANO": "1", "SNAME": None, "HPHONE": "  ", "TEL": None}, CONTEXT).facts
    assert isinstance(fact, Fact)
    assert fact.values == {"identifier": [{"assigner": "HOSP", "value": "1"}], "name": None, "telecom": None}


def test_a_row_without_its_number_or_map_is_unmappable(maps: MapSet) -> None:
    with pytest.raises(Unmappable, match="PANO"):
        maps.map_row("OPD_PATIENT", {"PANO": " "}, CONTEXT)
    with pytest.raises(Unmappable, match="no map"):
        maps.map_row("OTHER", {"PANO": "1"}, CONTEXT)
    with pytest.raises(Unmappable, match="no map"):
        load_maps().map_row("OTHER", {"PANO": "1"}, CONTEXT)


def test_values_hold_no_hl7_delimiters(maps: MapSet) -> None:
    (fact,) = maps.map_row("OPD_PATIENT", {"PANO": "A|1^2~3&4", "REMARK": r"\F\ stays"}, CONTEXT).facts
    assert isinstance(fact, Fact)
    assert fact.key.value == "A|1^2~3&4"
    assert fact.values["note"] == r"\F\ stays"


def test_a_key_of_several_columns_is_a_list_in_a_list_and_nothing_else(tmp_path: Path) -> None:
    """`"ORDDATE,ORDNO"` would be the name of a column that no row has: no number, and nobody told."""
    for key in ('"ORDDATE,ORDNO"', '{ path = "ORDDATE, ORDNO" }', '["ORDDATE,ORDNO"]'):
        (tmp_path / "legacy.toml").write_text(MAP.replace('key = "PANO"', f"key = {key}").replace("legacy_name", "latin1_name"))
        with pytest.raises(Misconfigured, match=r'legacy.toml:4: .*`\[\["ORDDATE", "ORDNO"\]\]`'):
            load_maps([tmp_path])
