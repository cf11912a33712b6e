"""The same source by SQLAlchemy URL: the same rows, the same flags and logs, the same names for troubles."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.adapters.ocs import sql_in
from hub.adapters.sql import sniff
from hub.domain.errors import HubError, Misconfigured, NotDelivered
from hub.transport import odbc
from hub.transport.sql_url import UrlDatabase, open_database
from tests import servers
from tests.hub_kit import make_kit
from tests.integration.odbc_kit import Bench, Legacy, legacy_of, poll

BY_URL = [
    "mariadb-utf8mb4", "mariadb-euckr", "mariadb-cp949-in-latin1", "postgresql-utf8", "postgresql-euc-kr",
    "postgresql-cp949-in-sql-ascii", "sqlite-utf8",
]  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path, sqlite_url: str) -> Iterator[Bench]:
    kit = make_kit(tmp_path, sqlite_url)
    yield Bench(kit)
    kit.close()


def url_of(legacy: Legacy) -> str:
    part = {name.upper(): value for name, value in re.findall(r"(\w+)=([^;]+)", legacy.connection)}
    if legacy.kind == "sqlite":
        return f"sqlite:///{part['DATABASE']}"
    driver = "mariadb+pymysql" if legacy.kind == "mariadb" else "postgresql+psycopg"
    return f"{driver}://{part['UID']}:{part['PWD']}@127.0.0.1:{part['PORT']}/{part['DATABASE']}"


def source(legacy: Legacy, **settings: Any) -> sql_in.SqlSource:
    table: dict[str, Any] = {
        "url": url_of(legacy), "database": legacy.kind, "encoding": legacy.encoding, "event": "PATIENT",
        "table": "patient", "key": ["pano"], "overlap_seconds": 0.0, "compare_seconds": 3600.0,
    }  # fmt: skip
    return sql_in.build(sql_in.Settings.from_table(table | settings))


@pytest.fixture(params=BY_URL)
def legacy(request: pytest.FixtureRequest, tmp_path: Path) -> Legacy:
    return legacy_of(request, tmp_path, request.param)


def test_korean_text_and_keys_by_url(legacy: Legacy, bench: Bench) -> None:
    """Byte for byte, in blocks of two over a key of a Korean column and a number; then what is new by a cursor."""
    columns = f"name {legacy.text} NOT NULL, n INTEGER NOT NULL, pad CHAR(9), price DECIMAL(9, 2), seq INTEGER"
    legacy.write(f"CREATE TABLE ward ({columns}, PRIMARY KEY (name, n))")
    for text in legacy.names:
        for number in range(3):
            legacy.write(f"INSERT INTO ward VALUES ({legacy.bytes_of(text)}, {number}, 'A?%s', 1.50, 1)")
    made = source(legacy, table="ward", key=["name", "n"], cursor=["seq"], block=2)
    assert poll(made, bench.feed) == 3 * len(legacy.names)
    rows = bench.rows()
    assert {(row["name"], row["n"]) for row in rows} == {(text, n) for text in legacy.names for n in range(3)}
    assert {(row["pad"], float(row["price"])) for row in rows} == {("A?%s", 1.5)}
    assert poll(made, bench.feed) == 0
    legacy.write(f"UPDATE ward SET seq = 7, pad = NULL WHERE name = {legacy.bytes_of(legacy.names[0])} AND n = 1")
    assert poll(made, bench.feed) == 1
    assert [(row["name"], row["pad"]) for row in bench.rows()] == [(legacy.names[0], None)]
    request = made.request(bench.feed, "Ward", f"{legacy.names[0]}/1", ["name", "n"])
    assert request == 1
    made.close()


@pytest.mark.parametrize("kind", ["mariadb-cp949-in-latin1", "postgresql-utf8", "sqlite-utf8"])
def test_flags_and_logs_by_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path, bench: Bench) -> None:
    legacy = legacy_of(request, tmp_path, kind)
    legacy.write(f"CREATE TABLE patient (pano INTEGER PRIMARY KEY, sname {legacy.text}, if_yn CHAR(1))")
    legacy.write("CREATE TABLE patient_log (log_id INTEGER PRIMARY KEY, op CHAR(1), pano INTEGER)")
    for number, text in enumerate(legacy.names):
        legacy.write(f"INSERT INTO patient VALUES ({number}, {legacy.bytes_of(text)}, 'N')")
    flagged = source(legacy, flag={"column": "if_yn"}, block=4)
    assert poll(flagged, bench.feed) == len(legacy.names)
    assert {row["sname"] for row in bench.rows()} == set(legacy.names)
    assert poll(flagged, bench.feed) == 0
    legacy.write("UPDATE patient SET if_yn = 'X' WHERE pano = 0")
    legacy.write("DELETE FROM patient WHERE pano = 1")
    legacy.write("INSERT INTO patient_log VALUES (1, 'U', 0)")
    legacy.write("INSERT INTO patient_log VALUES (2, 'D', 1)")
    logged = source(legacy, log={"table": "patient_log", "order": "log_id", "action": "op"}, event="P", gone_event="GONE")
    logged.poll(bench.feed)
    assert logged._database.select("SELECT count(*) FROM patient_log")[1] == [(0,)]
    flagged.close()
    logged.close()


@pytest.mark.parametrize("kind", ["mariadb-utf8mb4", "postgresql-utf8", "sqlite-utf8"])
def test_nothing_is_written_unless_declared_and_troubles_have_names(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, bench: Bench
) -> None:
    legacy = legacy_of(request, tmp_path, kind)
    legacy.write("CREATE TABLE patient (pano INTEGER PRIMARY KEY)")
    for table, key in (("nowhere", "pano"), ("patient", "no_such")):
        with pytest.raises(Misconfigured):
            poll(source(legacy, table=table, key=[key]), bench.feed)
    with pytest.raises(HubError):
        source(legacy)._database.execute("INSERT INTO patient VALUES (1)")
    assert source(legacy)._database.select("SELECT count(*) FROM patient")[1] == [(0,)]
    if kind == "sqlite-utf8":
        return
    slow = {"mariadb-utf8mb4": "SELECT SLEEP(20) AS pano", "postgresql-utf8": "SELECT 1 AS pano, pg_sleep(20)::text AS s"}
    began = time.monotonic()
    with pytest.raises(NotDelivered, match="too long"):
        poll(source(legacy, table="", query=slow[kind], statement_seconds=1.0), bench.feed)
    assert time.monotonic() - began < 5
    url = url_of(legacy)
    secret = re.search(r":([^:@/]+)@", url)
    assert secret is not None
    for wrong, kind_of in (
        (url.replace(secret[1], secret[1][::-1]), Misconfigured),
        (url + "nowhere", Misconfigured),
        (re.sub(r":\d+/", f":{servers.free_port()}/", url), NotDelivered),
    ):
        with pytest.raises(kind_of) as caught:
            poll(source(legacy, url=wrong), bench.feed)
        assert secret[1] not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)


def test_a_table_is_looked_into_by_url(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    legacy = legacy_of(request, tmp_path, "mariadb-cp949-in-latin1")
    legacy.write(f"CREATE TABLE t (b INTEGER, a INTEGER, sname {legacy.text}, PRIMARY KEY (b, a))")
    for number, text in enumerate(legacy.names):
        legacy.write(f"INSERT INTO t VALUES ({number}, 1, {legacy.bytes_of(text)})")
    found = sniff.sniff(lambda encoding: UrlDatabase(url_of(legacy), "mariadb", encoding, 10), "t")
    assert (found.encoding, found.key, found.key_is_declared) == ("cp949", ["b", "a"], True)


def test_oracle_that_does_not_answer(bench: Bench) -> None:
    url = f"oracle+oracledb://hub:hidden@127.0.0.1:{servers.free_port()}/?service_name=ocs"
    made = sql_in.build(
        sql_in.Settings.from_table({"url": url, "database": "oracle", "event": "P", "table": "OCS.PATIENT", "key": ["PANO"]})
    )
    with pytest.raises(NotDelivered, match="cannot be reached") as caught:
        made.poll(bench.feed)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("by", ["url", "odbc"])
def test_a_server_that_goes_silent_in_the_middle_is_given_up(
    by: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host still acknowledges each packet, so that no time-out of TCP ends the wait."""
    legacy = legacy_of(request, tmp_path, "postgresql-utf8")
    silent, listener = threading.Event(), socket.create_server(("127.0.0.1", 0))
    port = int(re.search(r"PORT=(\d+)", legacy.connection)[1])  # type: ignore[index]

    def pump(of: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := of.recv(65536):
                if not silent.is_set():
                    to.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                pair = (listener.accept()[0], socket.create_connection(("127.0.0.1", port)))
                open_ones.extend(pair)
                for one in (pair, pair[::-1]):
                    threading.Thread(target=pump, args=one, daemon=True).start()

    open_ones: list[socket.socket] = []
    threading.Thread(target=accept, daemon=True).start()
    through = str(listener.getsockname()[1])
    connection = legacy.connection.replace(str(port), through) if by == "odbc" else ""
    url = url_of(legacy).replace(str(port), through) if by == "url" else ""
    database = open_database(connection, url, "postgresql", "utf-8", 0.5)
    try:
        assert database.select("SELECT 1")[1] == [(1,)]
        silent.set()
        monkeypatch.setattr(odbc, "GRACE", 0.5)
        began = time.monotonic()
        with pytest.raises(NotDelivered, match="does not answer in time"):
            database.select("SELECT 2")
        assert time.monotonic() - began < 5
        silent.clear()
        assert database.select("SELECT 3")[1] == [(3,)]  # by a connection of its own
    finally:
        database.close()
        for one in (listener, *open_ones):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
