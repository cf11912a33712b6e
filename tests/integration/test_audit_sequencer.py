"""The sequencer on SQLite and PostgreSQL: everything once, in order, below running transactions; crashes; two at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from hub.audit.checkpoint import Signer
from hub.audit.file import CheckpointFile
from hub.db import schema
from hub.db.audit import Sequencer, append, export, verify_database
from hub.db.crypt import KeyRing
from hub.db.engine import make_engine, parse_url, write_turn
from hub.domain.errors import Misconfigured

SIGNER = Signer("hospital-hub", b"s" * 32)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = make_engine(parse_url(database_url))
    schema.upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints.txt"


def sequencer(engine: Engine, file: Path) -> Sequencer:
    return Sequencer(engine, SIGNER, file, "hospital-hub")


def write(engine: Engine, count: int) -> None:
    with engine.begin() as conn:
        for n in range(count):
            append(conn, "patient.read", actor="token:crm", resource_id=f"r{n}", detail={"what": "timeline"})


def test_everything_is_signed_once_and_in_batches(engine: Engine, file: Path) -> None:
    one = sequencer(engine, file)
    assert one.step() == 0
    assert CheckpointFile(file).last() is None
    write(engine, 7)
    assert [one.step(3), one.step(3), one.step(3), one.step(3)] == [3, 3, 1, 0]
    write(engine, 2)
    with engine.connect() as conn:
        report = verify_database(conn, file, str(SIGNER.verifier))
        assert (report.ok, report.covered, report.tail, report.checkpoints) == (True, 7, 2, 3)
        assert report.tail_since == conn.execute(text("SELECT at FROM entry ORDER BY id DESC LIMIT 1 OFFSET 1")).scalar()
    assert sequencer(engine, file).step() == 2  # another process goes on from the database
    with engine.connect() as conn:
        report = verify_database(conn, file, SIGNER.verifier)
    assert (report.ok, report.covered, report.tail, report.tail_since) == (True, 9, 0, None)


def test_an_append_checks_what_it_is_given(engine: Engine) -> None:
    with engine.connect() as conn:
        with pytest.raises(ValueError, match=r"patient\.eaten"):
            append(conn, "patient.eaten", actor="system")
        with pytest.raises(ValueError, match="digests"):
            append(conn, "patient.read", actor="system", detail={"name": "홍길동"})


def test_a_step_costs_the_same_however_long_the_log_is(engine: Engine, file: Path) -> None:
    one, counts = sequencer(engine, file), []
    for history in (10, 500, 2000):
        write(engine, history)
        while one.step():
            pass
        write(engine, 1)
        statements: list[str] = []
        listener = lambda *args, seen=statements: seen.append(args[2])  # noqa: E731
        event.listen(engine, "before_cursor_execute", listener)
        assert one.step() == 1
        event.remove(engine, "before_cursor_execute", listener)
        counts.append(len(statements))
    assert counts[0] == counts[1] == counts[2] <= 8


@pytest.mark.parametrize("lost", [1, 2])
def test_a_crash_between_commit_and_file_is_made_good(
    engine: Engine, file: Path, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(engine, 5)
    assert sequencer(engine, file).step() == 5
    for _ in range(lost):
        write(engine, 5)
        dying = sequencer(engine, file)
        for step in ("_publish", "_catch_up"):
            monkeypatch.setattr(dying, step, lambda *_: None)
        assert dying.step() == 5
    with engine.connect() as conn:
        report = verify_database(conn, file, SIGNER.verifier)
    assert (report.ok, report.covered, report.tail) == (True, 5, 5 * lost)
    assert sequencer(engine, file).step() == 0
    with engine.connect() as conn:
        report = verify_database(conn, file, SIGNER.verifier)
    assert (report.ok, report.covered, report.checkpoints) == (True, 5 + 5 * lost, 1 + lost)


def test_two_sequencers_sign_each_entry_once(engine: Engine, file: Path) -> None:
    turn = write_turn(engine.url)
    done = threading.Event()
    signed = [0, 0]

    def run(me: int) -> None:
        mine = sequencer(engine, file)
        rng = random.Random(me)
        while not done.is_set():
            signed[me] += mine.step(rng.randint(1, 20))
        while count := mine.step():
            signed[me] += count

    threads = [threading.Thread(target=run, args=(me,)) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        if turn is None:
            write(engine, 10)
        else:
            with turn.take():
                write(engine, 10)
    done.set()
    for thread in threads:
        thread.join(30)
    assert sum(signed) == 400
    with engine.connect() as conn:
        report = verify_database(conn, file, SIGNER.verifier)
    assert (report.ok, report.covered) == (True, 400), [str(f) for f in report.findings]


def test_an_altered_head_is_not_signed_on(engine: Engine, file: Path) -> None:
    write(engine, 5)
    one = sequencer(engine, file)
    one.step()
    before = file.read_bytes()
    for sql in (
        "UPDATE checkpoint SET root = ids FROM tile",
        "UPDATE checkpoint SET note = 'x'",
        "DELETE FROM checkpoint",
        "DELETE FROM tile",
    ):
        with engine.begin() as conn:
            conn.execute(text(sql))
        write(engine, 1)
        with pytest.raises(Misconfigured, match="hub audit verify"):
            sequencer(engine, file).step()
    assert file.read_bytes() == before


def test_a_database_older_than_the_file_is_not_signed_on(engine: Engine, file: Path) -> None:
    one = sequencer(engine, file)
    for _ in range(2):
        write(engine, 5)
        one.step()
    with engine.begin() as conn:  # as after restoring yesterday's backup
        conn.execute(text("DELETE FROM entry WHERE id > (SELECT min(last_id) FROM tile)"))
        conn.execute(text("DELETE FROM tile WHERE first > 0"))
        conn.execute(text("DELETE FROM checkpoint WHERE size > 5"))
    write(engine, 3)
    for who in (one, sequencer(engine, file)):
        with pytest.raises(Misconfigured, match="older backup"):
            who.step()
    file.rename(file.with_suffix(".old"))
    assert sequencer(engine, file).step() == 3
    with engine.connect() as conn:
        assert verify_database(conn, file, SIGNER.verifier).ok
        old = verify_database(conn, file.with_suffix(".old"), SIGNER.verifier)
    assert not old.ok


def test_erasing_patients_and_bodies_does_not_touch_the_log(engine: Engine, file: Path, tmp_path: Path) -> None:
    """Lawful erasure: the hashed bytes hold no patient data, so nothing of the log has to go with the patient."""
    keys = KeyRing.create(tmp_path / "keys")
    name, phone = "홍길동", "01012345678"
    with engine.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO message (id, channel, direction, at, sender, control_id, type, patient_no, lane, bucket, body,"
                " charset, answer_owed, code)"
                " VALUES (1, 'ocs-in', 'in', 1, '', '1', 'ADT^A08', '12345', '', 0, :body, '', :no, 'AA')"
            ),
            {"body": keys.seal("message", 1, f"PID|||12345||{name}".encode()), "no": False},
        )
        conn.execute(
            text(
                "INSERT INTO resource (id, kind, patient_id, version, status, sort_at, data, created_at, updated_at)"
                " VALUES ('p1', 'Patient', 'p1', 1, 'active', 0, :data, 1, 1)"
            ),
            {"data": f'{{"name":"{name}"}}'},
        )
        append(conn, "message.stored", actor="system", channel="ocs-in", message_id=1)
        append(
            conn,
            "message.applied",
            actor="system",
            message_id=1,
            detail={"changes": [[1, "patient.created", ["name", "telecom"]]]},
        )
        terms = {"name": keys.digest(name.encode()).hex(), "phone": keys.digest(phone.encode()).hex()}
        append(conn, "patient.searched", actor="token:crm", detail={"terms": terms, "patients": ["p1"]})
        append(conn, "patient.read", actor="token:crm", resource_id="p1", detail={"what": "patient", "from": "10.0.0.7"})
    sequencer(engine, file).step()
    with engine.begin() as conn:
        for sql in ("UPDATE message SET body = NULL", "DELETE FROM resource", "DELETE FROM message"):
            conn.execute(text(sql))
        append(conn, "purge.done", actor="cli:root", detail={"bodies": 1})
    with engine.connect() as conn:
        report = verify_database(conn, file, SIGNER.verifier)
        export(conn, tmp_path / "log.jsonl", checkpoint_file=file, public_key=SIGNER.verifier)
    assert (report.ok, report.covered, report.tail) == (True, 4, 1)
    written = (tmp_path / "log.jsonl").read_text() + file.read_text()
    assert name not in written
    assert phone not in written


KILLED = """
import random, sys
from pathlib import Path
from hub.audit.checkpoint import Signer
from hub.db.audit import Sequencer, append
from hub.db.engine import make_engine, parse_url
engine = make_engine(parse_url(sys.argv[1]))
one = Sequencer(engine, Signer("hospital-hub", b"s" * 32), Path(sys.argv[2]), "hospital-hub")
print("up", flush=True)
while True:
    with engine.begin() as conn:
        for n in range(random.randint(1, 5)):
            append(conn, "patient.read", actor="token:crm", resource_id=f"r{n}")
    one.step()
"""


def test_killed_at_any_moment_the_log_stays_whole(engine: Engine, database_url: str, file: Path) -> None:
    rng = random.Random(7)
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", KILLED, database_url, str(file)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        time.sleep(0.2 + rng.random() * 0.2)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(5)
        process.stdout.close()
    one = sequencer(engine, file)
    while one.step():
        pass
    with engine.connect() as conn:
        report = verify_database(conn, file, SIGNER.verifier)
        entries = conn.execute(text("SELECT count(*) FROM entry")).scalar()
    assert report.ok, [str(f) for f in report.findings]
    assert report.covered == entries
    assert report.checkpoints > 5


@pytest.mark.postgres
def test_nothing_above_a_running_transaction_is_signed(postgres_url: str, file: Path) -> None:
    """An entry's id is taken before its transaction commits: one that commits late must not be passed over."""
    engine = make_engine(parse_url(postgres_url))
    schema.upgrade(engine)
    one = sequencer(engine, file)
    with engine.connect() as late:
        append(late, "patient.read", actor="token:late")
        write(engine, 3)
        assert one.step() == 0
        with engine.connect() as conn:
            assert verify_database(conn, file, SIGNER.verifier).tail == 3
        late.commit()
    assert one.step() == 4
    with engine.connect() as conn:
        report = verify_database(conn, file, SIGNER.verifier)
    assert (report.ok, report.covered) == (True, 4)
    engine.dispose()


@pytest.mark.postgres
def test_on_postgresql_tampers_are_located_too(postgres_url: str, file: Path) -> None:
    engine = make_engine(parse_url(postgres_url))
    schema.upgrade(engine)
    one = sequencer(engine, file)
    for _ in range(10):
        write(engine, 20)
        one.step()
    with engine.connect() as conn:
        for sql, kind, count in (
            ("UPDATE entry SET actor = 'x' WHERE id = {}", "edited", 1),
            ("DELETE FROM entry WHERE id = {}", "deleted", 1),
            ("INSERT INTO entry (id, tx, at, action, actor, channel, detail)"
             " SELECT 900001, tx, 1, 'patient.read', 'x', '', '{{}}' FROM entry WHERE id = {}", "inserted", 1),
            ("UPDATE entry SET tx = tx - 1 WHERE id = {}", "reordered", 1),
            ("UPDATE entry SET tx = 9000000000 WHERE id = {}", "reordered", 1),
            ("DELETE FROM entry WHERE id >= {}", "truncated", 1),
        ):  # fmt: skip
            conn.execute(text(sql.format(107)))
            report = verify_database(conn, file, SIGNER.verifier)
            assert [f.kind for f in report.findings] == [kind] * count, (sql, [str(f) for f in report.findings])
            assert report.findings[0].entry_id == (900001 if kind == "inserted" else 107)
            conn.rollback()
        assert verify_database(conn, file, SIGNER.verifier).ok
    engine.dispose()


@pytest.mark.postgres
def test_a_dump_restored_into_another_cluster_is_said(postgres_url: str, file: Path) -> None:
    engine = make_engine(parse_url(postgres_url))
    schema.upgrade(engine)
    one = sequencer(engine, file)
    write(engine, 2)
    one.step()
    with engine.begin() as conn:
        conn.execute(text("UPDATE tile SET last_tx = 5000000000"))
    with pytest.raises(Misconfigured, match="pg_resetwal --epoch=2"):
        one.step()
    engine.dispose()
