"""Writing back by ODBC, on real databases: Korean text byte for byte, each change once, and what does not fit refused before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyodbc
import pytest

from hub.adapters.ocs import sql_out
from hub.domain.ports import Outbound
from tests.contract.case import patient, patient_updated
from tests.integration.odbc_kit import Legacy
from tests.integration.test_sql_in import SOURCES, legacy_of

MAP = """
target = "row"
[write.patient]
events = ["patient.*"]
table = "if_patient"
do = "upsert"
key = ["pano"]
[write.patient.fields]
"pano" = { from = "identifier.value", with = { assigner = "HOSP" } }
"sname" = { from = "name" }
"birth" = { from = "birthDate", as = "date", empty = "00000000" }
"sex" = { from = "gender", codes = "administrative-sex" }
"hphone" = { from = "telecom.mobile", as = "phone" }
"deceased" = { from = "deceased", as = "yn", empty = "N" }
"who" = { value = "HUB" }
"""
COLUMNS = """pano VARCHAR(20) NOT NULL PRIMARY KEY, sname {text}, birth CHAR(8), sex CHAR(1), hphone VARCHAR(20),
deceased CHAR(1), who VARCHAR(8)"""


class Bench:
    """A table, a channel that writes to it, and a look at what is there."""

    def __init__(self, legacy: Legacy, folder: Path, **settings: Any) -> None:
        self.legacy, self.folder = legacy, folder
        if legacy.kind == "postgresql":  # its ANSI driver gives no SQL_WCHAR
            for kind in (pyodbc.SQL_CHAR, pyodbc.SQL_WCHAR):
                legacy.write.__self__.setdecoding(kind, encoding="utf-8", ctype=pyodbc.SQL_CHAR)  # type: ignore[attr-defined]
        self.table: dict[str, Any] = {
            "connection": legacy.connection, "database": legacy.kind, "encoding": legacy.encoding,
            "map_file": str(folder / "write.toml"), **settings,
        }  # fmt: skip

    def target(self, text: str = MAP, **more: Any) -> sql_out.SqlTarget:
        (self.folder / "write.toml").write_text(text, encoding="utf-8")
        return sql_out.build(sql_out.Settings.from_table(self.table | more))

    def make(self, columns: str = COLUMNS, table: str = "if_patient") -> None:
        self.legacy.write(f"CREATE TABLE {table} ({columns.format(text=self.legacy.text)})")

    def rows(self, sql: str = "SELECT * FROM if_patient ORDER BY pano") -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.legacy.write(sql).fetchall()]

    def hex_of(self, column: str, table: str = "if_patient") -> list[str]:
        """The bytes that the table holds."""
        hex_ = {
            "mariadb": f"HEX({column})", "sqlite": f"HEX({column})",
            "postgresql": f"CAST(UPPER(ENCODE(CONVERT_TO({column}, GETDATABASEENCODING()), 'hex')) AS VARCHAR(200))",
        }[self.legacy.kind]  # fmt: skip
        return [str(row[0]) for row in self.rows(f"SELECT {hex_} FROM {table} ORDER BY pano")]


@pytest.fixture(params=SOURCES)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(legacy_of(request, tmp_path, request.param), tmp_path)


@pytest.fixture(params=["mariadb-utf8mb4", "postgresql-utf8", "sqlite-utf8"])
def utf8(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(legacy_of(request, tmp_path, request.param), tmp_path)


def named(n: int, text: str, **more: Any) -> Outbound:
    """The n-th patient, of this name."""
    record = patient(f"P{n}") | {"name": [{"text": text, "representation": "IDE"}]}
    return patient_updated(n, resource=record, patient=record, changed=["name"], **more)


def test_korean_text_arrives_byte_for_byte(bench: Bench) -> None:
    bench.make()
    target = bench.target()
    for n, text in enumerate(bench.legacy.names):
        done = target.send(named(n, text))
        assert (done.detail, done.sent_fields["name"][0]["text"]) == ("inserted", text)
    stored = "euc_kr" if len(bench.legacy.names) == 3 else bench.legacy.stored
    assert bench.hex_of("sname") == [text.encode(stored).hex().upper() for text in bench.legacy.names]
    assert [target.send(named(n, text)).detail for n, text in enumerate(bench.legacy.names)] == ["unchanged"] * len(
        bench.legacy.names
    )
    assert [target.send(named(n, bench.legacy.names[0])).detail for n in range(2)] == ["unchanged", "updated"]
    target.close()
