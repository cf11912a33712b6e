"""`hub check --ping` and `hub channel ping` of what is polled: whatever hub.toml names must be there, and is named if not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.domain.errors import HubError, Misconfigured
from hub.domain.ports import Pinged
from tests.integration import odbc_kit
from tests.integration.odbc_kit import Legacy, legacy_of

KINDS = ["mariadb-utf8mb4", "postgresql-utf8", "sqlite-utf8"]


@pytest.fixture(params=KINDS)
def legacy(request: pytest.FixtureRequest, tmp_path: Path) -> Legacy:
    made = legacy_of(request, tmp_path, request.param)
    made.write(f"CREATE TABLE patient (pano INTEGER PRIMARY KEY, sname {made.text}, seq INTEGER, if_yn CHAR(1))")
    made.write("CREATE TABLE patient_log (log_id INTEGER PRIMARY KEY, pano INTEGER, op CHAR(1))")
    return made


def ping(legacy: Legacy, **settings: Any) -> str:
    source = odbc_kit.source(legacy, **settings)
    assert isinstance(source, Pinged)
    try:
        return source.ping()
    finally:
        source.close()


def test_what_is_there_is_said(legacy: Legacy) -> None:
    assert ping(legacy, cursor=["SEQ"]) == f"{legacy.kind}: patient (4 columns) can be read"
    assert ping(legacy, flag={"column": "if_yn"}, columns=["pano", "sname"]).endswith("patient (2 columns) can be read")
    log = {"table": "patient_log", "order": "log_id", "action": "op"}
    assert ping(legacy, log=log).endswith("patient (4 columns), log patient_log can be read")
    assert ping(legacy, log=log, table="").endswith(": log patient_log can be read")
    assert "query" in ping(legacy, table="", query="SELECT pano, sname FROM patient")
    assert ping(legacy, encodings={"SNAME": "utf-8"})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"table": "NOTABLE"}, 'table = "NOTABLE"'),
        ({"key": ["NOCOL"]}, '"NOCOL", which key names'),
        ({"cursor": ["sec"]}, '"sec", which cursor names; did you mean "seq"'),
        ({"columns": ["pano", "sneam"]}, '"sneam", which columns names; did you mean "sname"'),
        ({"columns": ["sname"]}, '"pano", which key names'),
        ({"flag": {"column": "fi_yn"}}, '"fi_yn"'),
        ({"log": {"table": "NOLOG", "order": "log_id"}}, 'log.table = "NOLOG"'),
        ({"log": {"table": "patient_log", "order": "no_id"}}, '"no_id", which log.order names'),
        ({"log": {"table": "patient_log", "order": "log_id", "action": "do"}}, '"do", which log.action names'),
        ({"encodings": {"memo": "cp949"}}, '"memo", which encodings names'),
        ({"connection": "DRIVER={SQLite3};Database=/no/such/folder/x.db", "database": "sqlite"}, "connecting to sqlite"),
        ({"connection": "DRIVER={No Such Driver}"}, "ODBC driver"),
    ],
)
def test_what_is_missing_is_named_with_the_setting(legacy: Legacy, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(HubError) as caught:
        ping(legacy, **settings)
    assert says in str(caught.value)
    if "Database=" not in str(settings) and not (legacy.kind == "sqlite" and "NO" in says and "which" not in says):
        assert isinstance(caught.value, Misconfigured)  # SQLite's driver has one code for all
