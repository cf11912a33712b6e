"""What decides about a write by ODBC, without a database: charsets, comparing, errors by stage, SQL Server's own ways."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.ocs import sql_out
from hub.adapters.sql.fit import COLUMNS, Fit, unencodable
from hub.adapters.sql.write import RowWriter, Task, same
from hub.domain.errors import HubError, Misconfigured, NotDelivered, OutcomeUnknown, Refused
from hub.mapping.row_compose import compose
from hub.mapping.row_out import read_out_map
from hub.transport.odbc_errors import DUPLICATE, Stage, named
from hub.transport.odbc_write import Session
from tests.contract.case import patient_updated

MAP = """target = "row"
[write.w]
events = ["patient.*"]
{how}
[write.w.fields]
"PANO" = {{ from = "identifier.value" }}
"SNAME" = {{ from = "name" }}
"""
TABLE = MAP.format(how='table = "dbo.IF_PATIENT"\ndo = "upsert"\nkey = ["PANO"]')
CALL = MAP.format(how='procedure = "dbo.SET_PATIENT"\ncheck = "SELECT PANO, SNAME FROM P WHERE PANO = :PANO"')


@pytest.mark.parametrize(
    ("text", "codec", "bad"),
    [
        ("홍길동 洪吉洞 ABC", "ks_x_1001", ""),
        ("똠방각하", "ks_x_1001", "똠"),
        ("펲시콜라", "ks_x_1001", "펲"),
        ("뷁", "ks_x_1001", "뷁"),
        ("é", "ks_x_1001", "é"),
        ("똠방각하 펲시콜라 뷁", "cp949", ""),
        ("é", "cp949", "é"),
        ("é", "cp1252", ""),
        ("홍", "cp1252", "홍"),
        ("홍\U00020000", "bmp", "\U00020000"),
        ("홍\U00020000", "", ""),
        ("홍\ud800", "bmp", "\ud800"),
        ("홍\ud800", "", "\ud800"),
    ],
)
def test_the_character_that_a_charset_has_no_place_for(text: str, codec: str, bad: str) -> None:
    assert unencodable(text, codec) == bad


@pytest.mark.parametrize(
    ("sent", "kept", "equal"),
    [
        ("홍길동", "홍길동  ", True),
        ("홍길동", "홍길", False),
        ("홍길동", "홍길동\0", True),  # CHAR padding of some drivers
        (None, "", True),
        (None, None, True),
        ("", None, True),
        ("x", None, False),
        (None, 0, False),
        (0, None, False),
        ("1", Decimal("1.00"), True),
        (3, 3, True),
        ("03", 3, True),
        ("3", "03", False),
        ("19800131", dt.date(1980, 1, 31), True),
        ("19800131", dt.date(1980, 1, 30), False),
        (dt.date(1980, 1, 31), "1980-01-31", True),
        (dt.datetime(2026, 1, 2, 3, 4), "2026-01-02 03:04:00", True),  # noqa: DTZ001 - a table's local time
        (dt.datetime(2026, 1, 2), dt.date(2026, 1, 2), True),  # noqa: DTZ001
        (dt.datetime(2026, 1, 2, 3), dt.date(2026, 1, 2), False),  # noqa: DTZ001
        ("", dt.date(2026, 1, 2), False),
    ],
)
def test_whether_a_column_kept_what_was_sent(sent: Any, kept: Any, equal: bool) -> None:
    assert same(sent, kept) is equal


class DriverError(Exception):
    """As pyodbc raises: SQLSTATE and the driver's text."""


MARIA = "[{}] [ma-3.1.15][10.11.19-MariaDB]no ({}) (SQLExecDirectW)"
ERRORS: list[tuple[str, str, str, type[HubError], type[HubError]]] = [  # kind, state, text, before a write, after it
    ("mariadb", "23000", MARIA.format("23000", 1062), Refused, Refused),
    ("mariadb", "HY000", MARIA.format("HY000", 1205), NotDelivered, NotDelivered),
    ("mariadb", "40001", MARIA.format("40001", 1213), NotDelivered, NotDelivered),
    ("mariadb", "HY018", MARIA.format("HY018", 1969), NotDelivered, NotDelivered),
    ("mariadb", "08S01", MARIA.format("08S01", 2013), NotDelivered, OutcomeUnknown),
    ("mariadb", "HY000", MARIA.format("HY000", 2027), NotDelivered, OutcomeUnknown),
    ("mariadb", "42000", MARIA.format("42000", 1142), Misconfigured, Misconfigured),
    ("mariadb", "42S02", MARIA.format("42S02", 1146), Misconfigured, Misconfigured),
    ("mariadb", "45000", MARIA.format("45000", 1644), Refused, Refused),
    ("mariadb", "HY000", MARIA.format("HY000", 1364), Refused, Refused),
    ("mariadb", "HY000", MARIA.format("HY000", 1999), NotDelivered, OutcomeUnknown),  # nobody knows it
    ("postgresql", "23505", "[23505] ERROR: duplicate key;\n(1) (SQLExecDirectW)", Refused, Refused),
    ("postgresql", "22P05", "[22P05] ERROR: no equivalent;\n(1) (SQLExecDirectW)", Refused, Refused),
    ("postgresql", "P0001", "[P0001] ERROR: no;\n(1) (SQLExecDirectW)", Refused, Refused),
    ("postgresql", "40P01", "[40P01] ERROR: deadlock;\n(1) (SQLExecDirectW)", NotDelivered, NotDelivered),
    ("postgresql", "55P03", "[55P03] ERROR: lock;\n(1) (SQLExecDirectW)", NotDelivered, NotDelivered),
    ("postgresql", "42501", "[42501] ERROR: permission;\n(1) (SQLExecDirectW)", Misconfigured, Misconfigured),
    ("postgresql", "57P01", "[57P01] FATAL: terminating\n(35) (SQLExecDirectW)", NotDelivered, OutcomeUnknown),
    ("postgresql", "HY000", "[HY000] The connection has been lost (35) (SQLExecDirectW)", NotDelivered, OutcomeUnknown),
    ("sqlite", "HY000", "[HY000] [SQLite]UNIQUE constraint failed: t.id (19) (19) (SQLExecDirectW)", Refused, Refused),
    ("sqlite", "HY000", "[HY000] [SQLite]CHECK constraint failed: t (19) (19) (SQLExecDirectW)", Refused, Refused),
    ("sqlite", "HY000", "[HY000] [SQLite]database is locked (5) (5) (SQLExecDirectW)", NotDelivered, NotDelivered),
    ("sqlserver", "23000", "[23000] [FreeTDS][SQL Server]Violation (2627) (SQLExecDirectW)", Refused, Refused),
    ("sqlserver", "40001", "[40001] [FreeTDS][SQL Server]deadlock victim (1205) (SQLExecDirectW)", NotDelivered, NotDelivered),
    ("sqlserver", "08S01", "[08S01] [FreeTDS]Write failed (20006) (SQLExecDirectW)", NotDelivered, OutcomeUnknown),
    ("sqlserver", "42S02", "[42S02] [FreeTDS]Invalid object (208) (SQLExecDirectW)", Misconfigured, Misconfigured),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "state", "text", "before", "after"), ERRORS)
def test_what_a_drivers_error_means(kind: Any, state: str, text: str, before: type[HubError], after: type[HubError]) -> None:
    secret = text.replace("no", "홍길동 no")
    for stage, error in ((Stage.ASK, before), (Stage.WRITE, after), (Stage.COMMIT, after)):
        said = named(DriverError(state, secret), kind, stage)
        assert type(said.error) is error
        assert "홍길동" not in str(said.error)
    at_connect = named(DriverError(state, text), kind, Stage.CONNECT)
    assert at_connect.lost
    assert isinstance(at_connect.error, NotDelivered | Misconfigured)


def test_a_duplicate_is_told_from_other_constraints() -> None:
    duplicates = [named(DriverError(s, t), kind, Stage.WRITE).error.code for kind, s, t, *_ in ERRORS]  # type: ignore[arg-type]
    assert duplicates.count(DUPLICATE) == 4  # each database's own


class Scripted(Session):
    """A session that answers from a list and remembers what it was asked."""

    def __init__(self, kind: Any, answers: list[list[tuple[Any, ...]]], columns: Sequence[str] = ("PANO", "SNAME")) -> None:
        super().__init__("DRIVER={x}", kind, utf8=True, connect_seconds=1, seconds=1, ghosts=set())
        self.answers, self.columns, self.asked = answers, list(columns), list[tuple[str, list[Any]]]()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[list[str], list[tuple[Any, ...]]]:
        self.asked.append((sql, list(parameters)))
        return self.columns, self.answers.pop(0) if sql.startswith("SELECT") else []

    def write(self, sql: str, parameters: Sequence[Any]) -> None:
        self.asked.append((sql, list(parameters)))

    def commit(self) -> None:
        self.asked.append(("COMMIT", []))


CATALOGUE = [("PANO", "varchar", 40, "iso_1"), ("SNAME", "nvarchar", 10, "UNICODE")]
SENT = ("CANARY-00012345-1", "홍길동")


def carry_out(text: str, session: Scripted, kind: Any, **encodings: str) -> str:
    row = compose(read_out_map("w.toml", text, {}), patient_updated(1), dt.UTC)
    assert row is not None
    return RowWriter(kind, Fit(kind, "utf-8", encodings)).carry_out(session, Task(row, row.values, again=False))


def test_sql_server_is_written_to_in_its_own_words() -> None:
    session = Scripted("sqlserver", [CATALOGUE, [], [SENT]])
    assert carry_out(TABLE, session, "sqlserver") == "inserted"
    assert session.asked == [
        (COLUMNS["sqlserver"], ["IF_PATIENT", "dbo"]),
        ("BEGIN TRANSACTION", []),
        ("SELECT [PANO], [SNAME] FROM dbo.IF_PATIENT WHERE [PANO] = ?", [SENT[0]]),
        ("INSERT INTO dbo.IF_PATIENT ([PANO], [SNAME]) VALUES (?, ?)", list(SENT)),
        ("SELECT [PANO], [SNAME] FROM dbo.IF_PATIENT WHERE [PANO] = ?", [SENT[0]]),
        ("COMMIT", []),
    ]
    narrow = Scripted("sqlserver", [[CATALOGUE[0], ("SNAME", "varchar", 10, "iso_1")]])
    with pytest.raises(Refused, match=r"column SNAME \(name\).*U\+D64D"):
        carry_out(TABLE, narrow, "sqlserver")
    assert len(narrow.asked) == 1  # nothing but the catalogue


def test_a_procedure_of_sql_server_is_called_and_read_back() -> None:
    session = Scripted("sqlserver", [[], [], [SENT]])
    assert carry_out(CALL, session, "sqlserver") == "called"
    assert [sql for sql, _ in session.asked][2:] == [
        "SELECT PANO, SNAME FROM P WHERE PANO = ?",
        "{CALL dbo.SET_PATIENT(?, ?)}",
        "SELECT PANO, SNAME FROM P WHERE PANO = ?",
        "COMMIT",
    ]


def test_a_write_that_is_not_kept_is_taken_back() -> None:
    session = Scripted("sqlserver", [CATALOGUE, [], [(SENT[0], "홍길")]])
    with pytest.raises(Refused, match="something else than was sent in SNAME"):
        carry_out(TABLE, session, "sqlserver")
    assert ("COMMIT", []) not in session.asked


def test_a_column_of_another_encoding_goes_as_its_bytes() -> None:
    plain = "홍길동".encode("cp949")
    session = Scripted("mariadb", [CATALOGUE, [], [(SENT[0], plain)]])
    assert carry_out(TABLE, session, "mariadb", SNAME="cp949") == "inserted"
    assert ("INSERT INTO dbo.IF_PATIENT (`PANO`, `SNAME`) VALUES (?, UNHEX(?))", [SENT[0], plain.hex()]) in session.asked


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "w.toml").write_text(TABLE, encoding="utf-8")
    return {"connection": "DRIVER={x}", "database": "mariadb", "map_file": str(folder / "w.toml"), **more}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"encoding": "cp94"}, "write utf-8 or cp949"),
        ({"timezone": "Seoul"}, "Asia/Seoul"),
        ({"database": "sqlserver", "encoding": "cp949"}, "write into NVARCHAR"),
        ({"database": "sqlserver", "encodings": {"SNAME": "cp949"}}, "write into NVARCHAR"),
        ({"database": "sqlserver", "ca_file": "x"}, "says nothing to sqlserver"),
        ({"map_file": "nowhere.toml"}, "cannot read .*nowhere.toml"),
    ],
)
def test_a_wrong_setting_says_what_to_write(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=said):
        sql_out.build(sql_out.Settings.from_table(settings(tmp_path, **more)))


def test_the_channel_carries_what_its_map_knows(tmp_path: Path) -> None:
    assert sql_out.handles(sql_out.Settings.from_table(settings(tmp_path))) == ("patient.*",)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"resource": {"replacedBy": "x"}, "patient": {}}, "merged into another"),
        ({"type": "patient.updated", "kind": "Encounter"}, "no write of the map"),
        ({"resource": {"prospect": True}, "patient": {"prospect": True}}, "a prospect without a number"),
    ],
)
def test_where_there_is_nothing_to_do(more: dict[str, Any], said: str, tmp_path: Path) -> None:
    target = sql_out.build(sql_out.Settings.from_table(settings(tmp_path)))
    assert said in target.send(patient_updated(1, **more)).detail
    with pytest.raises(Refused, match="the key column PANO has no value"):
        target.send(patient_updated(1, resource={"name": [{"text": "뷁"}]}, patient={}))


def test_nothing_is_written_or_committed_outside_of_a_transaction() -> None:
    """Another connection than the one that began would commit by itself, or commit nothing and call it done."""
    session = Session("DRIVER={x}", "mariadb", utf8=True, connect_seconds=1, seconds=1, ghosts=set())
    for step in (lambda: session.write("INSERT INTO t VALUES (?)", [1]), session.commit):
        with pytest.raises(NotDelivered, match="connection broke"):
            step()


def test_whom_nobody_has_named_waits_where_the_map_cannot_say_him(tmp_path: Path) -> None:
    """Somebody whom SAP bills and nobody knows: no number of the hospital's, so no key."""
    found = sql_out.build(sql_out.Settings.from_table(settings(tmp_path)))
    message = patient_updated(1)
    message.resource = {**message.resource, "identifier": [], "name": []}
    assert found.send(message).detail == "nothing to do yet: a patient without a name"
    message.resource["name"] = [{"text": "뷁"}]
    with pytest.raises(Refused):
        found.send(message)
