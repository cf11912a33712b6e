"""An old system at work: writers with transactions of all lengths on one table, and what of it was committed."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pyodbc

from tests.integration.odbc_kit import NAMES, Legacy

TABLE = {
    "mariadb": [
        """CREATE TABLE opd_patient (pano INTEGER PRIMARY KEY, sname {text}, birth CHAR(8), upd_dt DATETIME(6), if_yn CHAR(1),
            KEY (upd_dt), KEY (if_yn))""",
        "CREATE TABLE opd_log (log_id BIGINT AUTO_INCREMENT PRIMARY KEY, op CHAR(1), pano INTEGER)",
        "CREATE TRIGGER t_i AFTER INSERT ON opd_patient FOR EACH ROW INSERT INTO opd_log (op, pano) VALUES ('I', NEW.pano)",
        """CREATE TRIGGER t_u AFTER UPDATE ON opd_patient FOR EACH ROW
            IF NEW.if_yn = OLD.if_yn THEN INSERT INTO opd_log (op, pano) VALUES ('U', NEW.pano); END IF""",
    ],
    "postgresql": [
        """CREATE TABLE opd_patient (pano INTEGER PRIMARY KEY, sname {text}, birth CHAR(8), upd_dt TIMESTAMP, if_yn CHAR(1))""",
        "CREATE INDEX ON opd_patient (upd_dt)",
        "CREATE INDEX ON opd_patient (if_yn)",
        "CREATE TABLE opd_log (log_id BIGSERIAL PRIMARY KEY, op CHAR(1), pano INTEGER)",
        """CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO opd_log (op, pano) VALUES (left(TG_OP, 1), NEW.pano); RETURN NULL; END'""",
        """CREATE TRIGGER t AFTER INSERT OR UPDATE OF sname, birth ON opd_patient FOR EACH ROW EXECUTE FUNCTION noted()""",
    ],
}
NOW = {"mariadb": "NOW(6)", "postgresql": "clock_timestamp()"}  # when the row is written, not when it shows
BATCH = 50  # rows of a transaction; every tenth is written once more in a later one


def birth(version: int) -> str:
    """A column that says how often its row was changed."""
    return f"{1950 + version:04d}0131"


class Writers:
    """Each writes its share of `rows` and changes some of them again; one transaction in `every` is a long one."""

    def __init__(self, legacy: Legacy, rows: int, count: int, longest: float, seed: int) -> None:
        self._legacy, self._longest = legacy, longest
        self._texts = [legacy.bytes_of(name) for name in NAMES]
        self._share = rows // count
        self._every = max(3, self._share // BATCH // 10)  # about ten long ones a writer
        self._lock = threading.Lock()
        self.versions: Counter[int] = Counter()  # of each row: how often a transaction that changed it was committed
        self.undone = 0
        self.longest = 0.0
        self.troubles: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=(n, random.Random(seed * 100 + n)), daemon=True) for n in range(count)
        ]

    def create(self) -> None:
        for statement in TABLE[self._legacy.kind]:
            self._legacy.write(statement.format(text=self._legacy.text))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def alive(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _run(self, writer: int, rnd: random.Random) -> None:
        connection = pyodbc.connect(self._legacy.connection, autocommit=False)
        done, mine, turn = 0, list[int](), 0
        try:
            while done < self._share:
                turn += 1
                new = [writer * 10_000_000 + done + n for n in range(min(BATCH, self._share - done))]
                again = rnd.sample(mine, min(len(mine), BATCH // 10))
                self._transaction(connection, new, again, rnd, long=turn % self._every == writer % self._every)
                mine += new
                done += len(new)
        except pyodbc.Error as error:
            self.troubles.append(str(error.args[0]))
        finally:
            connection.close()

    def _transaction(
        self, connection: pyodbc.Connection, new: list[int], again: list[int], rnd: random.Random, *, long: bool
    ) -> None:
        began = time.monotonic()
        pause = self._longest * rnd.uniform(0.3, 0.95) if long else rnd.uniform(0, 0.02)
        if rnd.random() < 0.05:  # numbers that were drawn and never show
            self._insert(connection, [number + 5_000_000 for number in new], rnd)
            connection.rollback()
            self.undone += 1
        self._insert(connection, new[: len(new) // 2], rnd)
        time.sleep(pause)
        self._insert(connection, new[len(new) // 2 :], rnd)
        now = NOW[self._legacy.kind]
        for number in sorted(again):
            values = f"birth = '{birth(self.versions[number])}', upd_dt = {now}, if_yn = 'N'"
            connection.execute(f"UPDATE opd_patient SET {values} WHERE pano = {number}")
        time.sleep(pause / 20)
        connection.commit()
        self.longest = max(self.longest, time.monotonic() - began)
        with self._lock:
            self.versions.update([*new, *again])

    def _insert(self, connection: pyodbc.Connection, numbers: list[int], rnd: random.Random) -> None:
        now = NOW[self._legacy.kind]
        rows = ", ".join(f"({n}, {rnd.choice(self._texts)}, '{birth(0)}', {now}, 'N')" for n in numbers)
        if rows:
            connection.execute(f"INSERT INTO opd_patient (pano, sname, birth, upd_dt, if_yn) VALUES {rows}")
