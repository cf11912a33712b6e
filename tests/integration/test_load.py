"""`hub load` and `hub request` on real tables: everything once, resumable, beside a poll, and no text of a caller in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from hub.bootstrap.load import asked
from hub.cli import app, execute
from hub.domain.errors import HubError, Misconfigured
from hub.domain.ports import Condition
from tests.hub_kit import Kit, make_kit, row_map
from tests.integration import odbc_kit

CHANNEL = """
[channels.ocs-patient]
adapter = "ocs.sql_in"
system = "ocs"
connection = {{ file = "ocs-odbc" }}
database = "{database}"
table = "OPD_PATIENT"
key = ["PANO"]
cursor = ["UPD_DT"]
event = "OPD_PATIENT"
encoding = "{encoding}"
block = 7
overlay = "maps"
"""
MAP = row_map('"SNAME" = { to = "name", as = "latin1_name", each = true }')
ROWS = 50


def prepared(folder: Path, url: str, legacy: odbc_kit.Legacy) -> Kit:
    """A hub in `folder` with a channel for the table, which is filled."""
    (folder / "maps").mkdir()
    (folder / "maps" / "ocs.toml").write_text(MAP, encoding="utf-8")
    legacy.write(f"CREATE TABLE OPD_PATIENT (PANO VARCHAR(8) PRIMARY KEY, SNAME {legacy.text}, UPD_DT VARCHAR(14))")
    for n in range(ROWS):
        name = legacy.bytes_of(legacy.names[n % len(legacy.names)])
        legacy.write(f"INSERT INTO OPD_PATIENT VALUES ('1{n:05d}', {name}, '2026{n % 12 + 1:02d}01120000')")
    (folder / "ocs-odbc").write_text(legacy.connection, encoding="utf-8")
    channel = CHANNEL.format(database=legacy.kind, encoding=legacy.encoding)
    return make_kit(folder, url, more=channel)


@pytest.fixture
def legacy(tmp_path: Path) -> odbc_kit.Legacy:
    return odbc_kit.sqlite(tmp_path, "cp949")


@pytest.fixture
def kit(tmp_path: Path, sqlite_url: str, legacy: odbc_kit.Legacy) -> Iterator[Kit]:
    made = prepared(tmp_path, sqlite_url, legacy)
    yield made
    made.close()


def counts(kit: Kit) -> tuple[int, int]:
    """Messages stored of the channel, patients known."""
    return (
        int(kit.rows("SELECT count(*) FROM message WHERE channel = 'ocs-patient'")[0][0]),
        int(kit.rows("SELECT count(*) FROM identifier WHERE kind = 'Patient'")[0][0]),
    )


def run(kit: Kit, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = CliRunner().invoke(app, [*arguments, "--json", "--config", str(kit.hub.config.path)])
    return done.exit_code, [orjson.loads(line) for line in done.stdout.splitlines()]


def test_all_of_a_table_is_loaded_once(kit: Kit) -> None:
    code, lines = run(kit, "load", "ocs-patient", "--kind", "patient")
    assert code == 0
    assert (lines[-1]["read"], lines[-1]["told"], lines[-1]["total"], lines[-1]["ended"]) == (ROWS, ROWS, ROWS, True)
    kit.apply()
    assert counts(kit) == (ROWS, ROWS)
    assert kit.patient("100001")["name"][0]["text"] == odbc_kit.NAMES[1]
    code, lines = run(kit, "load", "ocs-patient", "--kind", "patient")
    assert (code, lines[-1]["read"], lines[-1]["told"]) == (0, ROWS, 0)
    assert [row[0] for row in kit.rows("SELECT action FROM entry WHERE action LIKE 'load.%' ORDER BY id")] == [
        "load.started", "load.ended",
    ] * 2  # fmt: skip


def test_a_load_goes_on_where_it_stopped(kit: Kit) -> None:
    read = 0
    with asked(kit.hub, "ocs-patient", "patient", lambda: read >= 20) as source:
        for progress in source.load(()).run():
            read = progress.read
    assert read == 21
    with asked(kit.hub, "ocs-patient", "patient") as source:
        steps = list(source.load(()).run())
    assert steps[0].read == 28  # the next block
    assert (steps[-1].read, steps[-1].ended, counts(kit)[0]) == (ROWS, True, ROWS)


def test_conditions_choose_rows(kit: Kit) -> None:
    code, lines = run(
        kit, "load", "ocs-patient", "--kind", "patient", "--where", "UPD_DT >= 20260601", "--where", "PANO < 100030"
    )
    wanted = sum(1 for n in range(30) if n % 12 + 1 >= 6)
    assert (code, lines[-1]["read"], lines[-1]["total"]) == (0, wanted, wanted)


@pytest.mark.parametrize(
    "where",
    ["PANO; DROP TABLE OPD_PATIENT = 1", '"PANO = 1 OR 1" = 1', "1 = 1", "NO_SUCH = 1", "PANO", "PANO = ", "PANO LIKE x"],
)
def test_no_text_of_a_caller_is_sql(kit: Kit, where: str) -> None:
    code = execute(["load", "ocs-patient", "--kind", "patient", "--where", where, "--config", str(kit.hub.config.path)])
    assert code == 2
    assert counts(kit)[0] == 0


def test_a_value_is_only_a_value(kit: Kit, legacy: odbc_kit.Legacy) -> None:
    evil = "x' OR '1'='1"
    with asked(kit.hub, "ocs-patient", "patient") as source:
        assert list(source.load([Condition("PANO", "=", evil)]).run())[-1].read == 0
        assert source.request(evil) == 0
    assert legacy.write("SELECT count(*) FROM OPD_PATIENT").fetchone()[0] == ROWS


def test_one_patient_is_fetched_now(kit: Kit) -> None:
    done = CliRunner().invoke(
        app, ["request", "ocs-patient", "patient", "100003", "--wait", "0", "--json", "--config", str(kit.hub.config.path)]
    )
    said = orjson.loads(done.stdout)
    assert (done.exit_code, said["found"], list(said["messages"].values())) == (0, 1, ["queued"])
    kit.apply()
    done = CliRunner().invoke(
        app, ["request", "ocs-patient", "patient", "100003", "--json", "--config", str(kit.hub.config.path)]
    )
    said = orjson.loads(done.stdout)
    assert (said["found"], said["messages"], said["known_as"]) == (1, {}, [kit.patient_id("100003")])
    assert execute(["request", "ocs-patient", "patient", "999", "--config", str(kit.hub.config.path)]) == 1


def test_what_cannot_be_asked_is_said(kit: Kit) -> None:
    for name, kind in (("ocs-patient", "encounter"), ("ocs-patient", "nonsense"), ("ocs-in", "patient"), ("nobody", "patient")):
        with pytest.raises(HubError), asked(kit.hub, name, kind):
            raise AssertionError("it was asked")
    with asked(kit.hub, "ocs-patient", "patient") as source, pytest.raises(Misconfigured, match="no column"):
        list(source.load([Condition("NO_SUCH", "=", "1")]).run())


TYPED = """CREATE TABLE OPD_PATIENT (PANO CHAR(8) PRIMARY KEY, SNAME {text}, UPD_DT {time}, SEQ BIGINT,
AMT DECIMAL(8, 2), DAY DATE)"""


@pytest.fixture(params=["mariadb", "postgresql"])
def typed(request: pytest.FixtureRequest, tmp_path: Path, sqlite_url: str) -> Iterator[Kit]:
    """A table whose columns have types, in a database that will not compare a number with a text."""
    if request.param == "mariadb":
        legacy = odbc_kit.mariadb(request.getfixturevalue("mariadb"), "d_load", "latin1", "cp949", "cp949")
    else:
        legacy = odbc_kit.postgresql(request.getfixturevalue("postgres"), "d_load", "SQL_ASCII", "cp949", "cp949")
    legacy.write(TYPED.format(text=legacy.text, time="DATETIME" if request.param == "mariadb" else "TIMESTAMP"))
    for n in range(ROWS):
        name = legacy.bytes_of(legacy.names[n % len(legacy.names)])
        legacy.write(
            f"INSERT INTO OPD_PATIENT VALUES ('1{n:05d}', {name}, '2026-01-{n % 28 + 1:02d} 10:00:00', {n}, {n}.5, '2026-02-01')"
        )
    (tmp_path / "maps").mkdir()
    fields = MAP if request.param == "mariadb" else MAP.replace("PANO", "pano").replace("SNAME", "sname")
    (tmp_path / "maps" / "ocs.toml").write_text(fields, encoding="utf-8")
    (tmp_path / "ocs-odbc").write_text(legacy.connection, encoding="utf-8")
    channel = CHANNEL.format(database=legacy.kind, encoding=legacy.encoding)
    kit = make_kit(tmp_path, sqlite_url, more=channel)
    yield kit
    kit.close()


def test_conditions_are_compared_as_what_the_column_holds(typed: Kit) -> None:
    for column, operator, value, wanted in (
        ("SEQ", "<", "9", 9),
        ("AMT", ">=", "40.5", 10),
        ("UPD_DT", ">", "2026-01-28 09:59:59", 1),
        ("UPD_DT", "<", "2026-01-02", 2),
        ("DAY", "!=", "2026-02-01", 0),
        ("SNAME", "=", "똠방각하", len([n for n in range(ROWS) if n % 6 == 1])),
        ("PANO", "=", "100007", 1),
    ):
        with asked(typed.hub, "ocs-patient", "patient") as source:
            assert list(source.load([Condition(column, operator, value)]).run())[-1].read == wanted, column
    with asked(typed.hub, "ocs-patient", "patient") as source, pytest.raises(Misconfigured, match="is no int"):
        list(source.load([Condition("SEQ", "=", "1 OR 1=1")]).run())
    with asked(typed.hub, "ocs-patient", "patient") as source:
        assert source.request("100003") == 1
