"""The second way of reading, on real databases: flags and trigger logs. Nothing lost or told twice wherever the hub dies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hub.domain.errors import Misconfigured
from hub.domain.ports import Found
from hub.sync.polled import PolledFeed
from hub.transport.odbc import Database
from tests.hub_kit import make_kit
from tests.integration.odbc_kit import NAMES, Bench, Legacy, legacy_of, poll, source

FLAG = {"column": "if_yn"}
KINDS = ["mariadb-cp949-in-latin1", "postgresql-utf8", "sqlite-utf8"]


@pytest.fixture(params=KINDS)
def legacy(request: pytest.FixtureRequest, tmp_path: Path) -> Legacy:
    return legacy_of(request, tmp_path, request.param)


@pytest.fixture
def bench(tmp_path: Path, sqlite_url: str) -> Iterator[Bench]:
    kit = make_kit(tmp_path, sqlite_url)
    yield Bench(kit)
    kit.close()


class DyingError(Exception):
    """The hub was killed here."""


class Mortal(PolledFeed):
    """A feed whose process dies before or after the rows are stored."""

    after = True

    def rows(self, event: str, found: Sequence[Found], seen: set[bytes] | None = None) -> int:
        if found and self.after:
            super().rows(event, found, seen)
        if found:
            raise DyingError
        return 0


def dying(bench: Bench, *, after: bool) -> Mortal:
    feed = Mortal("ocs-in", bench.kit.hub.store, bench.kit.hub.keys, bench, lambda event, row: None)
    feed.after = after
    return feed


def ask(legacy: Legacy, sql: str) -> list[tuple[Any, ...]]:
    database = Database(legacy.connection, legacy.kind, legacy.encoding, 10)  # type: ignore[arg-type]
    _, rows = database.select(sql)
    database.close()
    return rows


# -- flags ----------------------------------------------------------------------------------------------------------


def flagged(legacy: Legacy) -> None:
    columns = f"hosp CHAR(4) NOT NULL, pano INTEGER NOT NULL, sname {legacy.text}, if_yn CHAR(1)"
    legacy.write(f"CREATE TABLE patient ({columns}, PRIMARY KEY (hosp, pano))")
    for number, text in enumerate(legacy.names):
        legacy.write(f"INSERT INTO patient VALUES ('H1', {number}, {legacy.bytes_of(text)}, 'N')")


def flags(legacy: Legacy) -> str:
    return "".join(row[0] or "-" for row in ask(legacy, "SELECT if_yn FROM patient ORDER BY pano"))


def by_flag(legacy: Legacy, **settings: Any) -> Any:
    return source(legacy, key=["hosp", "pano"], flag=FLAG, block=2, **settings)


def test_flagged_rows_are_told_and_acknowledged(legacy: Legacy, bench: Bench) -> None:
    flagged(legacy)
    legacy.write("INSERT INTO patient VALUES ('H1', 99, 'old', 'Y')")
    made = by_flag(legacy)
    assert poll(made, bench.feed) == len(NAMES)
    assert {row["sname"] for row in bench.rows()} == set(NAMES)
    assert flags(legacy) == "Y" * (len(NAMES) + 1)
    assert poll(made, bench.feed) == 0
    legacy.write(f"UPDATE patient SET sname = {legacy.bytes_of('뷁')}, if_yn = 'N' WHERE pano = 0")
    legacy.write("UPDATE patient SET if_yn = 'N' WHERE pano = 1")  # the same again: taken, and no news
    assert poll(made, bench.feed) == 1
    assert bench.rows() == [{"hosp": "H1", "pano": 0, "sname": "뷁"}]
    assert flags(legacy) == "Y" * (len(NAMES) + 1)


def test_a_row_that_a_killed_hub_had_claimed_is_taken_again(legacy: Legacy, bench: Bench) -> None:
    flagged(legacy)
    for after in (False, True):
        made = by_flag(legacy, event=f"{after}")
        with pytest.raises(DyingError):
            made.poll(dying(bench, after=after))
        assert flags(legacy) == "PPNNNN"
        poll(by_flag(legacy, event=f"{after}"), bench.feed)
        assert sorted(row["pano"] for row in bench.rows(f"{after}")) == list(range(len(NAMES)))  # each once, stored or not
        assert flags(legacy) == "YYYYYY"
        legacy.write("UPDATE patient SET if_yn = 'N'")


def test_what_its_owner_changes_between_reading_and_acknowledging_is_read_again(legacy: Legacy, bench: Bench) -> None:
    flagged(legacy)

    class Meanwhile(PolledFeed):
        def rows(self, event: str, found: Sequence[Found], seen: set[bytes] | None = None) -> int:
            told = super().rows(event, found, seen)
            if any(one.key["pano"] == 0 for one in found) and flags(legacy).startswith("P"):
                legacy.write(f"UPDATE patient SET sname = {legacy.bytes_of('뷁')}, if_yn = 'N' WHERE pano = 0")
            return told

    made = by_flag(legacy)
    poll(made, Meanwhile("ocs-in", bench.kit.hub.store, bench.kit.hub.keys, bench, lambda event, row: None))
    assert flags(legacy) == "NYYYYY"
    bench.rows()
    assert poll(made, bench.feed) == 1
    assert bench.rows()[0]["sname"] == "뷁"


def test_rows_that_are_done_can_be_deleted_and_null_can_mean_new(legacy: Legacy, bench: Bench) -> None:
    flagged(legacy)
    legacy.write("UPDATE patient SET if_yn = NULL WHERE pano > 2")
    legacy.write("UPDATE patient SET if_yn = ' ' WHERE pano = 2")
    blank = legacy.kind == "sqlite"  # which does not pad
    if blank:
        legacy.write("UPDATE patient SET if_yn = '' WHERE pano = 2")
    made = source(legacy, key=["hosp", "pano"], flag={**FLAG, "new": "", "delete": True})
    assert poll(made, bench.feed) == 4
    assert ask(legacy, "SELECT pano FROM patient ORDER BY pano") == [(0,), (1,)]


def test_a_row_that_somebody_is_writing_is_left_for_later(request: pytest.FixtureRequest, tmp_path: Path, bench: Bench) -> None:
    """A poll that waited there could make a deadlock of the owner's programs."""
    import pyodbc

    for kind in ("mariadb-utf8mb4", "postgresql-utf8"):
        legacy = legacy_of(request, tmp_path, kind)
        flagged(legacy)
        writer = pyodbc.connect(legacy.connection, autocommit=False)
        writer.execute("UPDATE patient SET if_yn = 'N' WHERE hosp = 'H1' AND pano = 1")  # by its key: else all rows are locked
        writer.execute("INSERT INTO patient VALUES ('H1', 50, 'new', 'N')")
        try:
            made = by_flag(legacy, statement_seconds=2.0)
            poll(made, bench.feed)
            assert flags(legacy) == "YNYYYY"
            writer.commit()
            poll(made, bench.feed)
            assert flags(legacy) == "YYYYYYY"
        finally:
            writer.close()
        bench.rows()


# -- logs -----------------------------------------------------------------------------------------------------------

WRITE = "INSERT INTO patient_log (op, no, sname) VALUES ('{op}', {v}.pano, {v}.sname)"
TRIGGERS = {
    "mariadb": ["CREATE TRIGGER {n} AFTER {event} ON patient FOR EACH ROW " + WRITE],
    "sqlite": ["CREATE TRIGGER {n} AFTER {event} ON patient BEGIN " + WRITE + "; END"],
    "postgresql": [
        "CREATE FUNCTION {n}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN " + WRITE.replace("'", "''") + "; RETURN NULL; END'",
        "CREATE TRIGGER {n} AFTER {event} ON patient FOR EACH ROW EXECUTE FUNCTION {n}()",
    ],
}


def logged(legacy: Legacy) -> None:
    number = {"mariadb": "BIGINT AUTO_INCREMENT", "postgresql": "BIGSERIAL", "sqlite": "INTEGER"}[legacy.kind]
    legacy.write(f"CREATE TABLE patient (pano INTEGER PRIMARY KEY, sname {legacy.text}, memo VARCHAR(20))")
    columns = f"log_id {number} PRIMARY KEY, op CHAR(3), no INTEGER, sname {legacy.text}, if_yn CHAR(1) DEFAULT 'N'"
    legacy.write(f"CREATE TABLE patient_log ({columns})")
    for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
        for statement in TRIGGERS[legacy.kind]:
            legacy.write(statement.format(n=f"t_{event.lower()}", event=event, op=event[0], v=row))
    for number_, text in enumerate(legacy.names):
        legacy.write(f"INSERT INTO patient VALUES ({number_}, {legacy.bytes_of(text)}, 'm')")


LOG = {"table": "patient_log", "order": "log_id", "key": ["no"], "action": "op"}


def by_log(legacy: Legacy, **settings: Any) -> Any:
    return source(legacy, log=LOG, block=4, gone_event="GONE", **settings)


def test_what_triggers_wrote_is_told_with_its_row(legacy: Legacy, bench: Bench) -> None:
    logged(legacy)
    flagged_ = source(legacy, log={**LOG, "flag": "if_yn"}, block=4, event="FLAGGED")
    poll(flagged_, bench.feed)
    assert {row["sname"]: row["memo"] for row in bench.rows("FLAGGED")} == dict.fromkeys(NAMES, "m")
    assert ask(legacy, "SELECT if_yn, count(*) FROM patient_log GROUP BY if_yn") == [("Y", len(NAMES))]
    assert poll(flagged_, bench.feed) == 0
    made = by_log(legacy)
    poll(made, bench.feed)
    assert {row["sname"]: row["memo"] for row in bench.rows()} == dict.fromkeys(NAMES, "m")
    legacy.write(f"UPDATE patient SET sname = {legacy.bytes_of('뷁')} WHERE pano = 0")
    legacy.write("UPDATE patient SET memo = 'twice' WHERE pano = 0")
    legacy.write("DELETE FROM patient WHERE pano IN (1, 2)")
    legacy.write("INSERT INTO patient VALUES (2, 'back', 'm')")
    legacy.write("INSERT INTO patient VALUES (70, 'gone at once', 'm')")
    legacy.write("DELETE FROM patient WHERE pano = 70")
    told = poll(made, bench.feed)
    assert sorted((name, row["pano"]) for name, row in bench.taken) == [("GONE", 1), ("PATIENT", 0), ("PATIENT", 2)]
    assert told == 3
    assert ask(legacy, "SELECT count(*) FROM patient_log") == [(0,)]
    assert poll(made, bench.feed) == 0


def test_the_first_compare_finds_what_was_there_before_the_triggers(legacy: Legacy, bench: Bench) -> None:
    logged(legacy)
    legacy.write("DELETE FROM patient_log")
    assert poll(by_log(legacy), bench.feed) == len(NAMES)


def test_a_row_that_comes_back_behind_a_compare_is_not_gone(
    bench: Bench, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    legacy = legacy_of(request, tmp_path, "sqlite-utf8")
    logged(legacy)
    made = by_log(legacy, compare_seconds=1.0)
    poll(made, bench.feed)
    monkeypatch.setattr("hub.adapters.ocs.sql_in.SWEEP_SECONDS", 0.0)  # a block a poll
    bench.feed.keep("compared", "1")
    legacy.write("DELETE FROM patient WHERE pano = 0")
    legacy.write("DELETE FROM patient_log")
    made.poll(bench.feed)  # the compare is past it
    legacy.write(f"INSERT INTO patient VALUES (0, {legacy.bytes_of(legacy.names[0])}, 'm')")
    bench.taken.clear()
    poll(made, bench.feed)
    assert bench.taken == []


def test_entries_that_hold_the_row_need_no_table(legacy: Legacy, bench: Bench) -> None:
    logged(legacy)
    made = by_log(legacy, table="")
    assert poll(made, bench.feed) == len(NAMES)
    assert bench.rows()[0].keys() >= {"no", "sname"}
    for text in ("뷁", "홍길동", "洪吉洞"):
        legacy.write(f"UPDATE patient SET sname = {legacy.bytes_of(text)} WHERE pano IN (0, 1)")
    legacy.write("DELETE FROM patient WHERE pano = 1")
    assert poll(made, bench.feed) == 2
    told = [(name, row["no"], row.get("sname")) for name, row in bench.taken]
    assert sorted(told, key=str) == [("GONE", 1, None), ("PATIENT", 0, "洪吉洞")]
    assert all("op" not in row and "log_id" not in row for _, row in bench.taken)
    with pytest.raises(Misconfigured, match="no table"):
        made.total("Patient", [])


def test_entries_that_a_killed_hub_had_read_are_read_again_and_never_go_back(legacy: Legacy, bench: Bench) -> None:
    logged(legacy)
    for table, after in (("patient", False), ("patient", True), ("", False), ("", True)):
        event = f"{table} {after}"
        legacy.write("DELETE FROM patient_log")
        poll(by_log(legacy, table=table, event=event), bench.feed)
        bench.taken.clear()
        for turn in range(4):
            legacy.write(f"UPDATE patient SET sname = '{turn} {event}' WHERE pano = 0")
            legacy.write(f"UPDATE patient SET sname = '{turn} {event}' WHERE pano = 1")
        with pytest.raises(DyingError):
            by_log(legacy, table=table, event=event).poll(dying(bench, after=after))
        legacy.write(f"UPDATE patient SET memo = '{event}' WHERE pano = 5")
        poll(by_log(legacy, table=table, event=event), bench.feed)
        told = [row["sname"] for row in bench.rows(event)]
        assert sorted(told) == sorted([f"3 {event}", f"3 {event}", legacy.names[5]])  # the newest of each, once
        assert ask(legacy, "SELECT count(*) FROM patient_log") == [(0,)]
