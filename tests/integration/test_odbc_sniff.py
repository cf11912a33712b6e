"""A table that nobody has seen, connected by what `hub odbc sniff` proposes and nothing else."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.ocs import sql_in
from hub.adapters.sql import sniff
from hub.cli import execute
from hub.domain.facts import Fact, Key
from hub.mapping import Context, load_maps
from hub.transport.odbc import Database
from tests import servers
from tests.integration import odbc_kit
from tests.integration.odbc_kit import Legacy

TABLE = """CREATE TABLE TB_PTMST (HOSP_CD CHAR(3) NOT NULL, PT_NO CHAR(10) NOT NULL, PT_NAME {text}, BRTH_YMD CHAR(8),
    SEX CHAR(1), HP_NO VARCHAR(20), ADDR {text}, DEL_YN CHAR(1), REG_DT DATETIME, UPD_DT DATETIME,
    PRIMARY KEY (HOSP_CD, PT_NO))"""


def fill(legacy: Legacy) -> None:
    legacy.write(TABLE.format(text=legacy.text))
    for number, text in enumerate(legacy.names):
        born = "00000000" if number else "19800131"
        legacy.write(
            f"INSERT INTO TB_PTMST VALUES ('H01', '{number:08d}', {legacy.bytes_of(text)}, '{born}', 'F',"
            f" '010-1234-567{number}', {legacy.bytes_of('서울특별시 강남구')}, 'N', '2026-01-02 03:04:05', '2026-01-02 03:04:05')"
        )


def test_what_is_proposed_connects_the_table(
    mariadb: servers.MariaDB, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """cp949 in latin1 columns, CHAR(8) dates, a flag, a key of two columns."""
    legacy = odbc_kit.mariadb(mariadb, "d_sniff", "latin1", "cp949", "cp949")
    fill(legacy)
    (tmp_path / "odbc").write_text(legacy.connection, encoding="utf-8")
    channel = '[channels.old]\nadapter = "ocs.sql_in"\nsystem = "ocs"\ndatabase = "mariadb"\nconnection = { file = "odbc" }\n'
    (tmp_path / "hub.toml").write_text(channel, encoding="utf-8")
    assert execute(["odbc", "sniff", "old", "TB_PTMST", "-c", str(tmp_path / "hub.toml")]) == 0
    told = capsys.readouterr().out
    assert not any(text in told for text in (*odbc_kit.NAMES, "010-1234", "강남구"))  # no value of any row

    lines, _, draft = told.partition("\n# hub.toml")[2].partition("\n# maps/")
    settings: dict[str, Any] = tomllib.loads(lines.partition("\n")[2])
    assert settings["encoding"] == "cp949"
    assert settings["key"] == ["HOSP_CD", "PT_NO"]
    assert settings["cursor"] == ["UPD_DT"]
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "old.toml").write_text(draft.partition("\n")[2], encoding="utf-8")
    maps = load_maps([tmp_path / "maps"])
    made = sql_in.build(sql_in.Settings.from_table({"connection": legacy.connection, "database": legacy.kind, **settings}))
    _, rows = made._database.select("SELECT * FROM TB_PTMST ORDER BY PT_NO")
    names, _ = made._database.select("SELECT * FROM TB_PTMST WHERE 1 = 0")
    made.close()
    for row, text in zip(rows, legacy.names, strict=True):
        found = made._cleaner.found(names, row)
        mapped = maps.map_row(settings["event"], found.row, Context("HOSP", "ocs"))
        (fact,) = mapped.facts
        assert isinstance(fact, Fact)
        assert fact.key == Key("HOSP", f"{odbc_kit.NAMES.index(text):08d}")
        assert fact.values["name"][0]["text"] == text
        assert fact.values["gender"] == "female"
        assert fact.values["telecom"][0]["value"].startswith("+82101234")
        assert "강남구" in str(fact.values["address"])
        assert fact.values.get("birthDate") == ("1980-01-31" if text == "홍길동" else None)
        assert mapped.warnings == []


@pytest.mark.parametrize(
    "kind", ["mariadb-utf8", "mariadb-euckr", "postgresql-ascii", "postgresql-utf8", "sqlite-cp949", "sqlite-utf8"]
)
def test_encodings_are_told_apart(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind.startswith("sqlite"):
        legacy = odbc_kit.sqlite(tmp_path, "cp949" if kind.endswith("cp949") else "utf-8")
    elif kind.startswith("mariadb"):
        charset = "utf8mb4" if kind.endswith("utf8") else "euckr"
        legacy = odbc_kit.mariadb(
            request.getfixturevalue("mariadb"), "d_sniff2", charset, "utf-8", "utf-8" if charset == "utf8mb4" else "cp949"
        )
    else:
        ascii_ = kind.endswith("ascii")
        charset, encoding = ("SQL_ASCII", "cp949") if ascii_ else ("UTF8", "utf-8")
        legacy = odbc_kit.postgresql(request.getfixturevalue("postgres"), "d_sniff2", charset, encoding, encoding)
    legacy.write(f"CREATE TABLE t (id INTEGER PRIMARY KEY, sname {legacy.text})")
    for number, text in enumerate(legacy.names):
        legacy.write(f"INSERT INTO t VALUES ({number}, {legacy.bytes_of(text)})")
    found = sniff.sniff(lambda encoding: Database(legacy.connection, legacy.kind, encoding, 10), "t")  # type: ignore[arg-type]
    assert (found.encoding, found.key, found.key_is_declared) == (legacy.encoding, ["id"], True)


def test_a_table_of_visits_is_no_table_of_patients(tmp_path: Path) -> None:
    """A key of which the patient's number is only a part; and one of its own beside the patient's number."""
    legacy = odbc_kit.sqlite(tmp_path, "utf-8")
    legacy.write("CREATE TABLE visit (PANO TEXT, VDATE TEXT, SEQ INTEGER, SNAME TEXT, DEPT TEXT, PRIMARY KEY (PANO, VDATE, SEQ))")
    legacy.write("CREATE TABLE recept (RCPNO INTEGER PRIMARY KEY, PANO TEXT, DEPT TEXT)")
    for number in range(6):
        legacy.write(f"INSERT INTO visit VALUES ('{number // 2:08d}', '2026010{number % 2 + 1}', {number % 3}, '홍길동', 'OBGY')")
        legacy.write(f"INSERT INTO recept VALUES ({number}, '{number // 2:08d}', 'OBGY')")
    for table, key, first in (("visit", ["PANO", "VDATE", "SEQ"], "00000000/20260101/0"), ("recept", ["RCPNO"], "0")):
        found = sniff.sniff(lambda encoding: Database(legacy.connection, "sqlite", encoding, 10), table)
        found.key = key
        draft = sniff.map_lines(found, "VISIT")
        (tmp_path / table).mkdir()
        (tmp_path / table / "old.toml").write_text("\n".join(draft), encoding="utf-8")
        row = {"PANO": "00000000", "VDATE": "20260101", "SEQ": 0, "RCPNO": 0, "SNAME": "홍길동", "DEPT": "OBGY"}
        (fact,) = load_maps([tmp_path / table]).map_row("VISIT", row, Context("HOSP", "ocs")).facts
        assert isinstance(fact, Fact)
        assert (fact.kind, fact.patient) == ("Encounter", Key("HOSP", "00000000"))
        assert fact.key is not None
        assert fact.key.value == first
        assert ("period.start" in "".join(draft)) is (table == "visit")


def test_a_name_is_looked_up_as_the_database_folds_it(postgres: servers.Postgres) -> None:
    legacy = odbc_kit.postgresql(postgres, "d_folded", "UTF8", "utf-8", "utf-8")
    legacy.write("CREATE TABLE chart (cno INTEGER, sno INTEGER, memo TEXT, PRIMARY KEY (sno, cno))")
    legacy.write('CREATE TABLE "Chart" (no INTEGER PRIMARY KEY)')
    for table, key in (("CHART", ["sno", "cno"]), ("public.Chart", ["sno", "cno"]), ('"Chart"', ["no"])):
        found = sniff.sniff(lambda encoding: Database(legacy.connection, "postgresql", encoding, 10), table)
        assert (found.key, found.key_is_declared) == (key, True), table


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "hub.toml"
    config.write_text('[channels.old]\nadapter = "ocs.sql_in"\nsystem = "ocs"\n', encoding="utf-8")
    assert execute(["odbc", "sniff", "old", "T", "-c", str(config)]) == 2
    assert execute(["odbc", "sniff", "new", "T", "-c", str(config)]) == 2
    assert "needs connection or url" in capsys.readouterr().err


def test_hub_check_names_a_table_that_is_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channel = (
        '[channels.old]\nadapter = "ocs.sql_in"\nsystem = "ocs"\nconnection = "DSN=x"\ndatabase = "sqlite"\n'
        'event = "E"\nkey = ["ID"]\ntable = "T; DROP TABLE T"\n'
    )
    (tmp_path / "hub.toml").write_text(channel, encoding="utf-8")
    assert execute(["check", "-c", str(tmp_path / "hub.toml")]) == 2
    assert "cannot be a name in SQL" in " ".join(capsys.readouterr().out.split())
