"""The map language: what it accepts, and what its errors say (file, line, what, what instead)."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.codecs.hl7v2 import parse
from hub.domain.errors import Misconfigured
from hub.mapping import Context, MapSet, load_maps
from hub.mapping.codes import CodeMap
from hub.mapping.language import read_maps

CODES = {name: CodeMap(name, {}) for name in ("administrative-sex", "encounter-class")}
CONTEXT = Context("HOSP", "ocs", received_at=1)


def check(text: str) -> None:
    read_maps([{"site.toml": text}], CODES)


GOOD = """source = "hl7v2"
[block.patient]
kind = "Patient"
key = "PID-3"
[block.patient.fields]
"PID-7" = { to = "birthDate", as = "date" }
[event."ADT^A08"]
blocks = ["patient"]
"""


def test_a_small_map_is_accepted() -> None:
    check(GOOD)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('source = "hl7v2"', 'source = "hl7"', 1, 'source = "hl7v2"'),
        ('"PID-7" = {', "PID-7.1 = {", 6, "must stand in quotes"),
        ('"PID-7" = { to = "birthDate", as = "date" }', '"PID-7" = { to = "birthDate" as = "date" }', 6, "quotes"),
        ('"PID-7"', '"PID.7"', 6, "segment, field"),
        ('to = "birthDate"', 'to = "birthdate"', 6, "did you mean `birthDate`?"),
        ('as = "date"', 'as = "dat"', 6, "did you mean `date`?"),
        ('as = "date"', 'as = "cx_key"', 6, "does not give a value"),
        ('as = "date"', 'codes = "sex"', 6, "no value map `sex`"),
        ('as = "date"', 'default = "x"', 6, "it needs `codes`"),
        ('as = "date"', 'az = "date"', 6, "unknown key `az`"),
        ('to = "birthDate", ', "", 6, "needs `to`"),
        ('as = "date"', "when = { path = 'PID-8' }", 6, "one of `in`, `not_in`, `present`"),
        ('"PID-7" = { to = "birthDate", as = "date" }', '"PID-7,PID-8" = { to = "birthDate", as = "date" }', 6, "takes one"),
        ('"PID-7" = { to = "birthDate", as = "date" }', '"PID-7" = "birthDate"', 6, "to = "),
        ('kind = "Patient"', 'kind = "Pateint"', 3, "did you mean `Patient`?"),
        ('kind = "Patient"\n', "", 2, "exactly one of"),
        ('key = "PID-3"\n', "", 2, "needs `key`"),
        ('kind = "Patient"', 'fact = "merge"', 2, "keys.survivor"),
        ('blocks = ["patient"]', 'blocks = ["patent"]', 8, "did you mean `patient`?"),
        ('blocks = ["patient"]', 'block = ["patient"]', 8, "did you mean `blocks`?"),
        ('blocks = ["patient"]', 'blocks = ["patient"]\nset = { patient = { sex = "x" } }', 9, "no field `sex`"),
        ('blocks = ["patient"]', 'blocks = ["patient"]\nset = { patient = { name = ["x"] } }', 9, "a text, a number"),
    ],
)
def test_an_error_names_file_line_and_remedy(old: str, new: str, line: int, says: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        check(GOOD.replace(old, new, 1))
    text = str(caught.value)
    assert text.startswith(f"site.toml:{line}: "), text
    assert any(part in text for part in says.split("|")), text


def site(folder: Path, text: str, codes: dict[str, str] | None = None) -> MapSet:
    (folder / "site.toml").write_text(text, encoding="utf-8")
    (folder / "codes").mkdir(exist_ok=True)
    for name, rows in (codes or {}).items():
        (folder / "codes" / f"{name}.csv").write_text("from,to,text,source,since\n" + rows, encoding="utf-8")
    return load_maps([folder])


MESSAGE = parse(
    b"MSH|^~\\&|OCS|H|HUB|H|20261122090000||ADT^A08|1|P|2.5\rEVN|A08|20261122090000\r"
    b"PID|1||7^^^HOSP||HONG^GILDONG||19800101|M|||||010-1234-5678\r"
    b"PV1|1|O|||||||||||||||R|N|V7|||||||||||||||||||||||||20261122090000"
)


def facts_of(maps: MapSet, kind: str) -> dict[str, object]:
    return next(fact.values for fact in maps.map(MESSAGE, CONTEXT).facts if getattr(fact, "kind", "") == kind)  # type: ignore[union-attr]


def test_an_overlay_replaces_a_key_and_false_removes_it(tmp_path: Path) -> None:
    maps = site(
        tmp_path,
        'source = "hl7v2"\n[block.patient.fields]\n"PID-13" = false\n"PID-5" = { to = "note" }\n[event]\n"ADT^A14" = false\n',
    )
    patient = facts_of(maps, "Patient")
    assert "telecom" not in patient
    assert patient["note"] == "HONG"
    assert "name" not in patient
    assert not maps.handles("ADT^A14")
    assert maps.handles("ADT^A15")


def test_an_overlay_adds_a_site_code(tmp_path: Path) -> None:
    """초진/재진 in a field of this hospital's choice, with its own value map."""
    maps = site(
        tmp_path,
        'source = "hl7v2"\n[block.encounter.fields]\n"PV1-17" = { to = "visitKind", codes = "visit-kind" }\n',
        {"visit-kind": "N,new-patient,신환,this hospital,2026-01-01\nR,return,재진,this hospital,2026-01-01\n"},
    )
    assert facts_of(maps, "Encounter")["visitKind"] == "return"


def test_a_new_event_is_a_map_file_and_no_python(tmp_path: Path) -> None:
    assert not load_maps().handles("ADT^Z01")
    maps = site(tmp_path, 'source = "hl7v2"\n[event."ADT^Z01"]\neach = "PID"\nblocks = ["patient"]\n')
    assert maps.handles("ADT^Z01")


def test_removing_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"site.toml:3: there is nothing to remove"):
        site(tmp_path, 'source = "hl7v2"\n[block.patient.fields]\n"PID-99" = false\n')


def test_a_value_map_error_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"x.csv:3: "):
        site(tmp_path, 'source = "hl7v2"\n', {"x": "A,a,,here,2026\nB,b\n"})
    with pytest.raises(Misconfigured, match=r"x.csv:3: this code stands in the file twice"):
        site(tmp_path, 'source = "hl7v2"\n', {"x": "A,a,,here,2026\nA,b,,here,2026\n"})


def test_the_version_follows_the_content(tmp_path: Path) -> None:
    shipped = load_maps()
    assert shipped.version == load_maps().version
    changed = site(tmp_path, 'source = "hl7v2"\n[block.patient.fields]\n"PID-13" = false\n')
    assert changed.version != shipped.version
    assert "overlay1/site.toml" in changed.texts
    assert changed.map(MESSAGE, CONTEXT).map_version == changed.version


def test_the_same_key_in_two_shipped_files_is_an_error() -> None:
    with pytest.raises(Misconfigured, match=r"b.toml:3: .* twice"):
        read_maps([{"a.toml": GOOD, "b.toml": 'source = "hl7v2"\n[block.patient]\nkind = "Patient"\n'}], CODES)
