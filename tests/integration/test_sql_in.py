"""Old tables through ODBC, on real databases: Korean text byte for byte, and no row missed or told twice."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyodbc
import pytest

from hub.domain.errors import Misconfigured, NotDelivered
from tests import servers
from tests.hub_kit import make_kit
from tests.integration import odbc_kit
from tests.integration.odbc_kit import NAMES, SOURCES, Bench, Legacy, legacy_of, poll, source


@pytest.fixture(params=SOURCES)
def legacy(request: pytest.FixtureRequest, tmp_path: Path) -> Legacy:
    return legacy_of(request, tmp_path, request.param)


@pytest.fixture
def bench(tmp_path: Path, sqlite_url: str) -> Any:
    kit = make_kit(tmp_path, sqlite_url)
    yield Bench(kit)
    kit.close()


def fill(legacy: Legacy, extra: str = "") -> None:
    legacy.write(f"CREATE TABLE patient (pano INTEGER PRIMARY KEY, sname {legacy.text}, pad CHAR(12), seq INTEGER{extra})")
    for number, text in enumerate(legacy.names):
        legacy.write(f"INSERT INTO patient (pano, sname, pad, seq) VALUES ({number}, {legacy.bytes_of(text)}, 'A1', {number})")


def test_korean_text_arrives_byte_for_byte(legacy: Legacy, bench: Bench) -> None:
    fill(legacy)
    made = source(legacy, cursor=["seq"])
    assert poll(made, bench.feed) == len(legacy.names)
    wanted = [{"pano": n, "sname": text, "pad": "A1", "seq": n} for n, text in enumerate(legacy.names)]
    assert sorted(bench.rows(), key=lambda row: row["pano"]) == wanted
    assert poll(made, bench.feed) == 0
    legacy.write(f"UPDATE patient SET sname = {legacy.bytes_of(legacy.names[0])}, seq = 100 WHERE pano = 1")
    assert poll(made, bench.feed) == 1
    assert [row["sname"] for row in bench.rows()] == [legacy.names[0]]
    made.close()
    assert poll(source(legacy, cursor=["seq"]), bench.feed) == 0  # another process goes on where this one was


def test_korean_keys_are_paged_through(legacy: Legacy, bench: Bench) -> None:
    """A key of two columns, one of them Korean: blocks of two rows, in whatever order the database has."""
    legacy.write(f"CREATE TABLE ward (name {legacy.text} NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (name, n))")
    for text in legacy.names:
        for number in range(3):
            legacy.write(f"INSERT INTO ward VALUES ({legacy.bytes_of(text)}, {number})")
    made = source(legacy, table="ward", key=["name", "n"], block=2, event="WARD")
    assert poll(made, bench.feed) == 3 * len(legacy.names)
    assert {(row["name"], row["n"]) for row in bench.rows("WARD")} == {(t, n) for t in legacy.names for n in range(3)}
    assert poll(made, bench.feed) == 0


def _polled_at_last(made: Any, bench: Bench) -> None:
    """What SQLite's driver leaves behind a Korean name is now and then no text at all: the hub says so, and asks again."""
    for _ in range(5):
        with suppress(Misconfigured):
            poll(made, bench.feed)
            return


def test_names_may_be_korean(utf8: Legacy, bench: Bench) -> None:
    """Table, key, cursor and flag; the drivers of PostgreSQL and SQLite say such names with rubbish behind."""
    utf8.write(f"CREATE TABLE 환자 (환자번호 INTEGER PRIMARY KEY, 성명 {utf8.text}, 수정일시 INTEGER, 전송여부 CHAR(1))")
    for number, text in enumerate(NAMES):
        utf8.write(f"INSERT INTO 환자 VALUES ({number}, {utf8.bytes_of(text)}, {number}, 'N')")
    made = source(utf8, table="환자", key=["환자번호"], cursor=["수정일시"], block=2)
    _polled_at_last(made, bench)
    assert {row["환자번호"]: row["성명"] for row in bench.rows()} == dict(enumerate(NAMES))
    flagged = source(utf8, table="환자", key=["환자번호"], flag={"column": "전송여부"}, event="FLAGGED")
    _polled_at_last(flagged, bench)
    assert [set(row) for row in bench.rows("FLAGGED")] == [{"환자번호", "성명", "수정일시"}] * len(NAMES)


KINDS = ["mariadb-utf8mb4", "postgresql-utf8", "sqlite-utf8"]


@pytest.fixture(params=KINDS)
def utf8(request: pytest.FixtureRequest, tmp_path: Path) -> Legacy:
    return legacy_of(request, tmp_path, request.param)


def test_times_as_cursor_and_every_type_of_column(utf8: Legacy, bench: Bench) -> None:
    stamp = {"mariadb": "DATETIME(6)", "postgresql": "TIMESTAMP", "sqlite": "TIMESTAMP"}[utf8.kind]
    fill(utf8, f", upd {stamp}, born DATE, price DECIMAL(10, 2), hhmm CHAR(4), yn CHAR(1)")
    utf8.write("UPDATE patient SET upd = '2026-01-02 03:04:05', born = '1980-01-31', price = 1.5, hhmm = '2400', yn = 'Y'")
    made = source(utf8, cursor=["upd"])
    assert poll(made, bench.feed) == len(utf8.names)
    row = bench.rows()[0]
    assert row["upd"] == "2026-01-02T03:04:05"
    assert row["born"] == "1980-01-31"
    assert float(row["price"]) == 1.5
    assert (row["hhmm"], row["yn"]) == ("2400", "Y")
    utf8.write("UPDATE patient SET upd = '2026-01-02 03:04:06', born = NULL WHERE pano = 1")
    assert poll(made, bench.feed) == 1
    assert bench.rows()[0]["born"] is None
    utf8.write("INSERT INTO patient (pano, upd) VALUES (77, NULL)")
    assert poll(made, bench.feed) == 0  # no cursor shows it: the next compare does
    assert poll(source(utf8), bench.feed) == 1


def test_more_rows_of_one_second_than_a_block_has(utf8: Legacy, bench: Bench) -> None:
    """MariaDB's driver cuts the microseconds of a parameter: the same block came again for ever."""
    stamp = {"mariadb": "DATETIME(6)", "postgresql": "TIMESTAMP", "sqlite": "TIMESTAMP"}[utf8.kind]
    utf8.write(f"CREATE TABLE patient (pano INTEGER PRIMARY KEY, upd {stamp})")
    made = source(utf8, cursor=["upd"], block=2)
    poll(made, bench.feed)
    for number in range(7):
        utf8.write(f"INSERT INTO patient VALUES ({number}, '2026-01-02 03:04:05.00012{number}')")
    assert poll(made, bench.feed) == 7


def test_a_time_in_the_future_hides_nothing(utf8: Legacy, bench: Bench) -> None:
    stamp = {"mariadb": "DATETIME", "postgresql": "TIMESTAMP", "sqlite": "TIMESTAMP"}[utf8.kind]
    fill(utf8, f", upd {stamp}")
    utf8.write("UPDATE patient SET upd = '2026-01-02 03:04:05'")
    made = source(utf8, cursor=["upd"])
    poll(made, bench.feed)
    utf8.write("UPDATE patient SET upd = '2999-12-31 00:00:00' WHERE pano = 0")
    assert [poll(made, bench.feed) for _ in range(3)] == [1, 0, 0]
    now = "datetime('now', '+1 minute', 'localtime')" if utf8.kind == "sqlite" else "LOCALTIMESTAMP"
    utf8.write(f"UPDATE patient SET upd = {now} WHERE pano = 1")
    assert poll(made, bench.feed) == 1


def test_a_compare_finds_what_no_cursor_tells(utf8: Legacy, bench: Bench) -> None:
    fill(utf8)
    made = source(utf8, cursor=["seq"], compare_seconds=1.0, gone_event="PATIENT_GONE")
    poll(made, bench.feed)
    poll(made, bench.feed)
    bench.taken.clear()
    utf8.write("DELETE FROM patient WHERE pano = 2")
    utf8.write("UPDATE patient SET pad = 'B2' WHERE pano = 1")  # and its cursor stays
    assert poll(made, bench.feed) == 0
    time.sleep(1.1)
    assert poll(made, bench.feed) == 2
    assert {name: row["pano"] for name, row in bench.taken} == {"PATIENT": 1, "PATIENT_GONE": 2}
    assert bench.taken[-1][1] == {"pano": 2}
    time.sleep(1.1)
    assert poll(made, bench.feed) == 0


def test_a_table_that_is_suddenly_empty_is_taken_for_a_mistake(utf8: Legacy, bench: Bench) -> None:
    utf8.write("CREATE TABLE patient (pano INTEGER PRIMARY KEY)")
    for number in range(30):
        utf8.write(f"INSERT INTO patient VALUES ({number})")
    assert poll(source(utf8), bench.feed) == 30
    utf8.write("DELETE FROM patient")
    with pytest.raises(Misconfigured, match="30 of 30 rows are gone at once"):
        poll(source(utf8), bench.feed)
    assert poll(source(utf8, most_gone=1.0, gone_event="GONE"), bench.feed) == 30


def test_nothing_can_be_written(utf8: Legacy) -> None:
    utf8.write("CREATE TABLE patient (pano INTEGER PRIMARY KEY)")
    made = source(utf8)
    made._database.select("SELECT pano FROM patient")
    with pytest.raises(pyodbc.Error):
        made._database._connection.execute("INSERT INTO patient VALUES (1)")


MISTAKES: dict[str, Mapping[str, Any]] = {
    "no such table": {"table": "nowhere"},
    "no such key column": {"key": ["nothing"]},
    "no such cursor column": {"cursor": ["nothing"]},
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named(utf8: Legacy, bench: Bench, mistake: Mapping[str, Any]) -> None:
    fill(utf8)
    with pytest.raises((Misconfigured, NotDelivered)) as caught:
        poll(source(utf8, **mistake), bench.feed)
    assert utf8.kind == "sqlite" or isinstance(caught.value, Misconfigured)  # libsqliteodbc calls everything HY000
    assert "nothing" not in caught.value.reason


def test_a_wrong_password_and_a_closed_port(bench: Bench, mariadb: servers.MariaDB, postgres: servers.Postgres) -> None:
    for made in (odbc_kit.mariadb(mariadb, "d_wrong", "utf8mb4", "utf-8", "utf-8"),):
        made.connection = made.connection.replace(mariadb.password, "wrong")
        with pytest.raises(Misconfigured, match="user or password"):
            poll(source(made), bench.feed)
        made.connection = made.connection.replace(f"PORT={mariadb.port}", f"PORT={servers.free_port()}")
        with pytest.raises(NotDelivered):
            poll(source(made), bench.feed)


def test_a_slow_statement_is_given_up(bench: Bench, mariadb: servers.MariaDB, postgres: servers.Postgres) -> None:
    slow = {
        "SELECT SLEEP(20) AS pano": odbc_kit.mariadb(mariadb, "d_slow", "utf8mb4", "utf-8", "utf-8"),
        "SELECT 1 AS pano, pg_sleep(20)::text AS s": odbc_kit.postgresql(postgres, "d_slow", "UTF8", "utf-8", "utf-8"),
    }
    for query, made in slow.items():
        began = time.monotonic()
        with pytest.raises(NotDelivered, match="too long"):
            poll(source(made, table="", query=query, statement_seconds=1.0), bench.feed)
        assert time.monotonic() - began < 5


def test_a_server_that_says_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """MariaDB, at its greeting and in the middle; a server of its own, because it is stopped."""
    monkeypatch.setattr("hub.transport.odbc.CONNECT_SECONDS", 2)
    server = servers.MariaDB().start()
    try:
        made = odbc_kit.mariadb(server, "d_silent", "utf8mb4", "utf-8", "utf-8")
        fill(made)
        polled = source(made, statement_seconds=1.0)
        assert poll(polled, bench.feed) == len(made.names)
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)  # until all of its threads stand
        for seconds in (9.0, 5.0):
            began = time.monotonic()
            with pytest.raises(NotDelivered):
                poll(polled, bench.feed)
            assert time.monotonic() - began < seconds
        server.process.send_signal(signal.SIGCONT)
        assert poll(polled, bench.feed) == 0
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.stop()


def test_one_bad_row_costs_one_row(bench: Bench, tmp_path: Path) -> None:
    """cp949, UTF-8 and rubbish in one table."""
    made = odbc_kit.sqlite(tmp_path, "cp949")
    made.write("CREATE TABLE patient (pano INTEGER PRIMARY KEY, sname TEXT, memo TEXT)")
    made.write("INSERT INTO patient VALUES (1, CAST(? AS TEXT), ?)", ("똠방각하".encode("cp949"), "뷁"))
    made.write("INSERT INTO patient VALUES (2, CAST(? AS TEXT), ?)", (b"\xff\xfe\xfd", "뷁"))
    polled = source(made, encodings={"MEMO": "utf-8"})
    assert poll(polled, bench.feed) == 2
    assert bench.rows()[0] == {"pano": 1, "sname": "똠방각하", "memo": "뷁"}
    assert bench.refused == ["column sname is not cp949"]
    assert [poll(polled, bench.feed) for _ in range(2)] == [0, 0]
    states = bench.kit.rows("SELECT state FROM outcome")
    assert states == [("refused",)]


def test_a_query_with_binary_columns(bench: Bench, mariadb: servers.MariaDB) -> None:
    """A table whose columns hold different encodings: those that lie are cast."""
    made = odbc_kit.mariadb(mariadb, "d_mixed", "utf8mb4", "utf-8", "utf-8")
    made.write("CREATE TABLE patient (pano INT PRIMARY KEY, a VARCHAR(20), b VARCHAR(20) CHARACTER SET latin1)")
    made.write(f"INSERT INTO patient VALUES (1, {made.bytes_of('뷁')}, X'{'펲시콜라'.encode('cp949').hex()}')")
    query = "SELECT pano, a, CAST(b AS BINARY) AS b FROM patient"
    poll(source(made, table="", query=query, encodings={"b": "cp949"}), bench.feed)
    assert bench.rows() == [{"pano": 1, "a": "뷁", "b": "펲시콜라"}]


class Writers:
    """Transactions of different lengths on one table: numbers are taken when a row is written, rows show when it commits."""

    def __init__(self, connect: Callable[[], pyodbc.Connection], count: int, seconds: float, longest: float) -> None:
        self._connect = connect
        self._until = time.monotonic() + seconds
        self._longest = longest
        self.written: dict[int, int] = {}  # id -> value last committed
        self._lock = threading.Lock()
        self.threads = [threading.Thread(target=self._write, args=(n,)) for n in range(count)]

    def _write(self, writer: int) -> None:
        connection = self._connect()
        cursor, turn = connection.cursor(), 0
        while time.monotonic() < self._until:
            turn += 1
            done: dict[int, int] = {}
            for n in range(5):
                key = writer * 100_000 + turn * 10 + n
                cursor.execute("INSERT INTO event (id, val) VALUES (?, 1)", key)
                done[key] = 1
                time.sleep(self._longest * (0.2 if turn % 4 == writer % 4 else 0.01))
            cursor.execute("UPDATE event SET val = 2, seq = NULL WHERE id = ?", key)
            done[key] = 2
            connection.commit()
            with self._lock:
                self.written |= done
        connection.close()


def test_concurrent_writers_with_long_transactions(bench: Bench, postgres: servers.Postgres) -> None:
    """8 writers, transactions up to 1 s, polled meanwhile: nothing missed, nothing twice; `seq > greatest` would miss many."""
    made = odbc_kit.postgresql(postgres, "d_writers", "UTF8", "utf-8", "utf-8")
    made.write("CREATE SEQUENCE event_seq")
    made.write("CREATE TABLE event (id INT PRIMARY KEY, val INT, seq BIGINT)")
    made.write(
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.seq := nextval(''event_seq''); RETURN NEW; END'"
    )
    made.write("CREATE TRIGGER stamped BEFORE INSERT OR UPDATE ON event FOR EACH ROW EXECUTE FUNCTION stamp()")

    def connect() -> pyodbc.Connection:
        return pyodbc.connect(made.connection, autocommit=False)

    writers = Writers(connect, 8, 6.0, 1.0)
    polled = source(made, table="event", key=["id"], cursor=["seq"], overlap_seconds=2.5, event="EVENT", block=500)
    polled.poll(bench.feed)
    for thread in writers.threads:
        thread.start()
    naive, greatest = set[int](), 0
    look = connect()
    polls = 0
    while any(thread.is_alive() for thread in writers.threads):
        polled.poll(bench.feed)
        polls += 1
        if polls == 10:  # another process goes on
            polled.close()
            polled = source(made, table="event", key=["id"], cursor=["seq"], overlap_seconds=2.5, event="EVENT", block=500)
        for key, seq in look.execute("SELECT id, seq FROM event WHERE seq > ? ORDER BY seq", greatest).fetchall():
            naive.add(key)
            greatest = seq
        look.commit()
        time.sleep(0.05)
    polled.poll(bench.feed)
    told: dict[int, list[int]] = {}
    for _, row in bench.taken:
        told.setdefault(row["id"], []).append(row["val"])
    assert len(writers.written) > 200
    assert polled._marks is not None
    assert polled._marks["seq"].low  # it did move
    assert {key: values[-1] for key, values in told.items()} == writers.written
    assert all(len(values) == 1 for values in told.values())  # an insert and an update in one transaction are one row
    assert writers.written.keys() - naive  # what a plain `seq > greatest` missed meanwhile
