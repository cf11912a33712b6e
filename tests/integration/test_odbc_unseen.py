"""A table that nobody here has seen, connected by the steps of docs/odbc.md: sniff, a person's edit, no Python."""

from __future__ import annotations

import json
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hub.cli import execute
from tests import servers
from tests.integration import odbc_kit
from tests.integration.odbc_kit import NAMES, Legacy
from tests.integration.test_hub_run import init, running, status, until

TABLE = """CREATE TABLE TB_OPDRSV (HSP_TP CHAR(2), PT_NO CHAR(10), PT_NM {text}, DR_NM {text}, BRTH_YMD CHAR(8), SEX_GB CHAR(1),
    HP_NO CHAR(16), ADDR {text}, DEATH_YN CHAR(1), RSV_YMD CHAR(8), RSV_HM CHAR(4), LAST_DT DATETIME, DEL_YN CHAR(1),
    IF_YN CHAR(1), REG_DT DATETIME, KEY (IF_YN))"""
# what an old program writes: birth, sex, dead, time of the booking, last visit, deleted
ROWS = [
    ("19800131", "F", "NULL", "2400", "1900-01-01", "N"),
    ("00000000", "M", "'N'", "0930", "2026-01-02", "N"),
    ("19451205", "M", "'Y'", "1330", "1900-01-01", "N"),
    ("20010228", "F", "' '", "0800", "1900-01-01", "Y"),
    ("19991231", "M", "NULL", "2400", "2026-03-04", "N"),
    ("00000000", "F", "'N'", "1100", "1900-01-01", "N"),
]
CHANNEL = """
[channels.old]
adapter = "ocs.sql_in"
system = "ocs"
connection = { file = "secrets/old-odbc" }
database = "mariadb"
overlay = "maps"
poll_seconds = 0.2
"""
BOOKING = """
[block.booking]
kind = "Appointment"
key = [["PT_NO", "RSV_YMD"]]
patient = "PT_NO"

[block.booking.fields]
"RSV_YMD,RSV_HM" = { to = "start", as = "date_time" }
"""


def fill(legacy: Legacy) -> None:
    """Two hospitals share the table, and the numbers; no key is declared."""
    legacy.write(TABLE.format(text=legacy.text))
    for number, (text, row) in enumerate(zip(NAMES, ROWS, strict=True)):
        born, sex, dead, hour, last, deleted = row
        for hospital in ("01", "02")[: 2 if number == 0 else 1]:
            name, doctor, address = (legacy.bytes_of(one) for one in (text, "김의사", "서울특별시 강남구"))
            legacy.write(
                f"INSERT INTO TB_OPDRSV VALUES ('{hospital}', '{number:08d}', {name}, {doctor}, '{born}', '{sex}',"
                f" '010-1234-567{number}', {address}, {dead}, '20261122', '{hour}', '{last}', '{deleted}', 'N',"
                f" '2026-01-0{number + 1} 03:04:05')"
            )
    legacy.write("UPDATE TB_OPDRSV SET IF_YN = 'Y' WHERE HSP_TP = '02'")


def edited(folder: Path, printed: str) -> str:
    """What a person does with what sniff printed; the event's name."""
    lines, _, draft = printed.partition("\n# hub.toml")[2].partition("\n# maps/")
    kept = [line for line in lines.splitlines()[1:] if not line.startswith(("# no cursor", "cursor", "# IF_YN"))]
    with (folder / "hub.toml").open("a", encoding="utf-8") as config:
        config.write("\n".join(line.removeprefix("# ") if line.startswith("# flag") else line for line in kept))
    (folder / "maps").mkdir()
    draft = draft.partition("\n")[2].replace('blocks = ["patient"]', 'blocks = ["patient", "booking"]') + BOOKING
    (folder / "maps" / "old.toml").write_text(draft, encoding="utf-8")
    return lines + draft


def get(port: int, token: str, path: str) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())


def test_a_table_nobody_has_seen_is_connected_without_python(
    tmp_path: Path, mariadb: servers.MariaDB, capsys: pytest.CaptureFixture[str]
) -> None:
    legacy = odbc_kit.mariadb(mariadb, "d_unseen", "latin1", "cp949", "cp949")
    fill(legacy)
    folder = tmp_path / "hub"
    made, ports = init(folder)
    (folder / "secrets" / "old-odbc").write_text(legacy.connection, encoding="utf-8")
    (folder / "secrets" / "old-odbc").chmod(0o600)
    with (folder / "hub.toml").open("a", encoding="utf-8") as config:
        config.write(CHANNEL)
    assert execute(["odbc", "sniff", "old", "TB_OPDRSV", "-c", str(folder / "hub.toml")]) == 0
    printed = capsys.readouterr().out
    assert not any(text in printed for text in (*NAMES, "010-1234", "강남구", "김의사", "00000003"))
    kept = edited(folder, printed)
    assert 'encoding = "cp949"' in kept
    assert 'key = ["HSP_TP", "PT_NO"]' in kept
    assert '"DR_NM" = ' not in kept  # the doctor's name is none of the patient's
    assert execute(["check", "-c", str(folder / "hub.toml")]) == 0
    with running(folder, ports):
        until(lambda: status(folder)["channels"].get("old", {}).get("done") == len(NAMES), 90)
        found, starts = {}, []
        for number in range(len(NAMES)):
            (item,) = get(ports[1], made["token"], f"patients?identifier=HOSP%7C{number:08d}")["items"]
            found[number] = get(ports[1], made["token"], f"patients/{item['id']}")["resource"]
            starts += [
                one["resource"]["start"] for one in get(ports[1], made["token"], f"patients/{item['id']}/appointments")["items"]
            ]
    assert [found[n]["name"][0]["text"] for n in found] == list(NAMES)
    assert [found[n].get("birthDate") for n in found] == ["1980-01-31", None, "1945-12-05", "2001-02-28", "1999-12-31", None]
    assert [found[n].get("deceased") for n in found] == [None, False, True, None, None, False]  # NULL is no answer
    assert [found[n].get("active") for n in found] == [True, True, True, False, True, True]
    assert [found[n]["gender"] for n in found] == ["female", "male", "male", "female", "male", "female"]
    assert found[5]["telecom"][0]["value"] == "+821012345675"
    assert "강남구" in json.dumps(found[1]["address"], ensure_ascii=False)
    assert starts[:2] == ["2026-11-23T00:00:00+09:00", "2026-11-22T09:30:00+09:00"]  # 2400 is the next day
    with closing(odbc_kit.writer(legacy.connection)) as root:  # acknowledged, once what was read had been stored
        assert [tuple(row) for row in root.execute("SELECT DISTINCT IF_YN FROM TB_OPDRSV").fetchall()] == [("Y",)]
