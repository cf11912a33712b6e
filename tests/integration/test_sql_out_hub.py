"""`hub run` that writes to old tables: a CRM's changes reach MariaDB and PostgreSQL once, kill -9 or not, and are no news."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.cli.common import database
from hub.config import load
from tests import servers
from tests.chaos.hub_process import Hub
from tests.hub_kit import adt, row_map
from tests.integration import odbc_kit
from tests.integration.odbc_kit import Legacy

WRITE = """
target = "row"
[write.patient]
events = ["patient.created", "patient.updated"]
table = "if_patient"
do = "upsert"
key = ["PANO"]
[write.patient.fields]
"PANO" = { from = "identifier.value", with = { assigner = "HOSP" } }
"SNAME" = { from = "name" }
"HPHONE" = { from = "telecom.mobile", as = "phone" }

[write.booking]
events = ["appointment.*"]
table = "if_booking"
do = "upsert"
key = ["HUB_ID"]
[write.booking.fields]
"HUB_ID" = { from = "identifier.value", with = { type = "PLAC" } }
"PANO" = { from = "patient.identifier.value", with = { assigner = "HOSP" } }
"BEGIN_AT" = { from = "start", as = "time" }
"DEPT" = { from = "department" }
"STATUS" = { from = "status", codes = { pending = "R", booked = "B", cancelled = "C" } }
"""
READ = (
    row_map(
        '"SNAME" = { to = "name", as = "name_text", each = true }', '"HPHONE" = { to = "telecom", as = "phone", each = true }'
    )
    + """
[block.booking]
kind = "Appointment"
key = { path = "HUB_ID", as = "hub_key" }
patient = "PANO"
[block.booking.fields]
"BEGIN_AT" = { to = "start", as = "time" }
"DEPT" = { to = "department" }
"STATUS" = { to = "status", codes = "booking" }
[event.IF_BOOKING]
blocks = ["booking"]
"""
)
CODES = "from,to,text,source,since\nR,pending,,site,2026-01-01\nB,booked,,site,2026-01-01\nC,cancelled,,site,2026-01-01\n"
OUT = """
[channels.{name}]
adapter = "ocs.sql_out"
system = "{system}"
connection = {{ file = "secrets/{name}" }}
database = "{kind}"
encoding = "{encoding}"
map_file = "maps/write.toml"
retry = {{ base_seconds = 0.1, max_seconds = 0.5 }}
"""
IN = """
[channels.{name}]
adapter = "ocs.sql_in"
system = "ocs"
connection = {{ file = "secrets/ocs-write" }}
database = "mariadb"
encoding = "cp949"
table = "{table}"
key = ["{key}"]
event = "{event}"
overlay = "maps"
poll_seconds = 0.1
"""


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


class Site:
    """A hub, an old OCS in MariaDB (cp949 in latin1 columns) that it reads and writes, and an EMR in PostgreSQL."""

    def __init__(self, folder: Path, ocs: Legacy, emr: Legacy) -> None:
        self.ocs, self.emr = ocs, emr
        self.hub = Hub(folder / "hub", "http://127.0.0.1:9/hooks", None, None)
        maps = self.hub.folder / "maps"
        (maps / "codes").mkdir(parents=True)
        (maps / "write.toml").write_text(WRITE, encoding="utf-8")
        (maps / "read.toml").write_text(READ, encoding="utf-8")
        (maps / "codes" / "booking.csv").write_text(CODES, encoding="utf-8")
        with self.hub.config.open("a", encoding="utf-8") as config:
            for name, system, legacy in (("ocs-write", "ocs", ocs), ("emr-write", "emr", emr)):
                secret = self.hub.folder / "secrets" / name
                secret.write_text(legacy.connection, encoding="utf-8")
                secret.chmod(0o600)
                config.write(OUT.format(name=name, system=system, kind=legacy.kind, encoding=legacy.encoding))
            config.write(IN.format(name="ocs-patients", table="if_patient", key="PANO", event="OPD_PATIENT"))
            config.write(IN.format(name="ocs-bookings", table="if_booking", key="HUB_ID", event="IF_BOOKING"))

    def start(self) -> None:
        self.hub.start()
        until(self.hub.listening)
        _, made = self.hub.ask("token", "create", f"t{self.hub.starts}", "--role", "crm")
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.hub.ports[1]}/api/v1",
            headers={"Authorization": f"Bearer {made['token']}"},
            timeout=10,
        )
        until(self._answers)

    def _answers(self) -> bool:
        try:
            return self.api.post("/patients/search", json={"name": "없음"}).status_code == 200
        except httpx.TransportError:
            return False

    def tell(self, message: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.hub.ports[0]), 5) as sock:
            sock.sendall(b"\x0b" + message + b"\x1c\r")
            assert b"MSA|AA" in sock.recv(65536)

    def patch(self, path: str, values: dict[str, Any]) -> dict[str, Any]:
        stands = self.api.get(path)
        answer = self.api.patch(
            path, json=values, headers={"If-Match": stands.headers["etag"], "Content-Type": "application/merge-patch+json"}
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def patient(self, number: str) -> dict[str, Any]:
        found = self.api.post("/patients/search", json={"identifier": f"HOSP|{number}"}).json()["items"]
        assert len(found) == 1
        return dict(found[0])

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Of the hub's own database."""
        with database(load(self.hub.config)) as engine, engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

    def rest(self) -> None:
        """Until everything that is to be written is, and read again."""
        waiting = "SELECT count(*) FROM work JOIN message ON message.id = work.message_id WHERE message.channel LIKE '%-write'"
        until(lambda: self.ask(waiting) == [(0,)])
        time.sleep(0.5)  # two polls


@pytest.fixture
def site(tmp_path: Path, mariadb: servers.MariaDB, postgres: servers.Postgres) -> Iterator[Site]:
    ocs = odbc_kit.mariadb(mariadb, "d_out", "latin1", "cp949", "cp949")
    emr = odbc_kit.postgresql(postgres, "d_out", "UTF8", "utf-8", "utf-8")
    for legacy in (ocs, emr):
        legacy.write(f"CREATE TABLE if_patient (PANO VARCHAR(20) PRIMARY KEY, SNAME {legacy.text}, HPHONE VARCHAR(20))")
        legacy.write(
            "CREATE TABLE if_booking (HUB_ID VARCHAR(40) PRIMARY KEY, PANO VARCHAR(20), BEGIN_AT CHAR(14), DEPT VARCHAR(20), "
            "STATUS CHAR(1))"
        )
    made = Site(tmp_path, ocs, emr)
    yield made
    made.hub.end()


def rows(legacy: Legacy, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in legacy.write(sql).fetchall()]


def test_a_crms_phone_and_booking_reach_the_tables_once_and_are_no_news_when_read_back(site: Site) -> None:
    site.start()
    site.tell(adt("A04", "100", name="똠방각하", phone="010-1111-0000"))
    until(lambda: rows(site.emr, "SELECT HPHONE FROM if_patient") == [("010-1111-0000",)])
    assert rows(site.ocs, "SELECT * FROM if_patient") == []  # the OCS does not hear its own word
    patient = site.patient("100")

    site.patch(f"/patients/{patient['id']}", {"telecom": [{"system": "phone", "use": "mobile", "value": "010-2222-0000"}]})
    for legacy in (site.ocs, site.emr):
        until(lambda legacy=legacy: rows(legacy, "SELECT PANO, HPHONE FROM if_patient") == [("100", "010-2222-0000")])
    assert rows(site.ocs, "SELECT HEX(SNAME) FROM if_patient") == [("똠방각하".encode("cp949").hex().upper(),)]

    booked = site.api.post(
        f"/patients/{patient['id']}/appointments", json={"start": "2026-12-01T09:00:00+09:00", "department": "OBGY"}
    ).json()
    site.patch(f"/appointments/{booked['id']}", {"start": "2026-12-01T10:30:00+09:00"})
    for legacy in (site.ocs, site.emr):
        until(
            lambda legacy=legacy: (
                [row[2:] for row in rows(legacy, "SELECT * FROM if_booking")] == [("20261201103000", "OBGY", "R")]
            )
        )
    site.rest()
    stands = site.api.get(f"/appointments/{booked['id']}")
    answer = site.api.post(
        f"/appointments/{booked['id']}/cancel", json={"reason": "the caller asked"}, headers={"If-Match": stands.headers["etag"]}
    )
    assert answer.status_code == 200, answer.text
    for legacy in (site.ocs, site.emr):
        until(lambda legacy=legacy: [row[4] for row in rows(legacy, "SELECT * FROM if_booking")] == ["C"])
    site.rest()

    assert site.ask("SELECT count(*) FROM message WHERE channel IN ('ocs-patients', 'ocs-bookings')")[0][0] >= 3  # it was read
    changes = site.ask("SELECT type, origin FROM change ORDER BY id")
    assert [type_ for type_, _ in changes] == [
        "patient.created", "patient.updated", "appointment.created", "appointment.updated", "appointment.cancelled",
    ]  # fmt: skip
    assert len(site.ask("SELECT DISTINCT id FROM resource WHERE kind IN ('Patient', 'Appointment')")) == 2
    sent = dict(
        site.ask("SELECT channel, count(*) FROM message WHERE direction = 'out' AND channel LIKE '%-write' GROUP BY channel")
    )
    assert sent == {"ocs-write": 4, "emr-write": 5}


JOURNAL = """
target = "row"
[write.patient]
events = ["patient.updated"]
table = "if_journal"
do = "insert"
key = ["MSG"]
[write.patient.fields]
"MSG" = { from = "message.key" }
"HPHONE" = { from = "telecom.mobile", as = "phone" }
"""


def test_each_change_is_one_row_although_the_hub_is_killed_in_the_middle_of_writing(site: Site) -> None:
    """What a trigger does besides, in a table without a key, would show a write that was done twice."""
    for legacy in (site.ocs, site.emr):
        legacy.write("CREATE TABLE if_journal (MSG VARCHAR(90) PRIMARY KEY, HPHONE VARCHAR(20))")
    site.ocs.write("CREATE TABLE effect (MSG VARCHAR(90))")
    site.ocs.write(
        "CREATE TRIGGER e AFTER INSERT ON if_journal FOR EACH ROW BEGIN INSERT INTO effect VALUES (NEW.MSG); DO SLEEP(0.1); END"
    )
    (site.hub.folder / "maps" / "write.toml").write_text(JOURNAL, encoding="utf-8")
    site.start()
    site.tell(adt("A04", "100", phone="010-1111-0000"))
    until(lambda: site.ask("SELECT count(*) FROM resource WHERE kind = 'Patient'") == [(1,)])
    path = f"/patients/{site.patient('100')['id']}"
    for n in range(20):
        site.patch(path, {"telecom": [{"system": "phone", "use": "mobile", "value": f"010-2222-00{n:02d}"}]})
    assert 0 < len(rows(site.ocs, "SELECT * FROM effect")) < 20
    site.hub.kill("all", random.Random(1))
    site.start()
    until(lambda: rows(site.ocs, "SELECT COUNT(*) FROM effect") == [(20,)], 60)
    site.rest()
    sent = site.ask("SELECT count(*) FROM message WHERE channel = 'ocs-write'")[0][0]
    assert sent == 20
    for legacy, table in ((site.ocs, "if_journal"), (site.ocs, "effect"), (site.emr, "if_journal")):
        assert rows(legacy, f"SELECT COUNT(*), COUNT(DISTINCT MSG) FROM {table}") == [(20, 20)]
