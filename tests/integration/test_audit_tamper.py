"""The database's owner alters the log, 100 ways on SQLite: verifying names the entry, or the range between two checkpoints.

The attacker rewrites what he likes in the database, hashes and checkpoint rows too, and signs with a key of his own. He has
neither the signing key nor the checkpoint file. Every case is checked in the database and on an export of it.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from hub.audit.checkpoint import Checkpoint, Signer, body
from hub.audit.entry import leaf_hashes
from hub.audit.export import verify_export
from hub.audit.report import Finding, Report
from hub.audit.sequencer import pack_ids, unpack_ids
from hub.audit.tree import Tree
from hub.db.audit import Sequencer, append, export, verify_database
from hub.db.engine import make_engine, parse_url
from hub.db.tables import metadata

ENTRIES, SPACING = 600, 10  # ids 10, 20, …: so that there is room to insert between two
SIGNER, THIEF = Signer("hospital-hub", b"s" * 32), Signer("hospital-hub", b"t" * 32)
COLUMNS = ("at", "action", "actor", "channel", "message_id", "resource_id", "detail")
SELECT = "SELECT id, at, action, actor, channel, message_id, resource_id, detail FROM entry"
CASES = 100


@dataclass
class Log:
    """A signed log in a file of its own, and how its leaves are spread over checkpoints."""

    path: Path
    checkpoint_file: Path
    sizes: list[int]  # of the checkpoints

    def engine(self) -> Engine:
        return make_engine(parse_url(f"sqlite:///{self.path}"))

    def verified(self, folder: Path) -> Report:
        """Of the database; an export verified offline must say the same."""
        engine = self.engine()
        with engine.connect() as conn:
            report = verify_database(conn, self.checkpoint_file, SIGNER.verifier)
            export(conn, folder / "log.jsonl", checkpoint_file=self.checkpoint_file, public_key=SIGNER.verifier)
        engine.dispose()
        offline = verify_export(folder / "log.jsonl", self.checkpoint_file, str(SIGNER.verifier))
        assert offline.as_dict() == report.as_dict()
        return report

    def batch(self, leaf: int) -> tuple[int, int]:
        """First and last leaf of the range between two checkpoints that holds `leaf`."""
        end = next(size for size in self.sizes if size > leaf)
        return ([0, *self.sizes])[self.sizes.index(end)], end - 1


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder, rng = tmp_path_factory.mktemp("log"), random.Random(1)
    log = Log(folder / "hub.db", folder / "checkpoints.txt", [])
    engine = log.engine()
    metadata.create_all(engine)
    with engine.begin() as conn:
        for n in range(ENTRIES):
            append(
                conn, rng.choice(["message.stored", "patient.read"]), actor=rng.choice(["system", "token:crm"]),
                channel="ocs-in", message_id=n, resource_id=f"r{n}", detail={"n": n}, at=1_790_000_000_000_000 + n,
            )  # fmt: skip
        conn.execute(text(f"UPDATE entry SET id = -id * {SPACING}"))
        conn.execute(text("UPDATE entry SET id = -id"))
    sequencer = Sequencer(engine, SIGNER, log.checkpoint_file, "hospital-hub")
    while sequencer.step(rng.randint(1, 60)):
        pass
    with engine.connect() as conn:
        log.sizes = list(conn.execute(text("SELECT size FROM checkpoint ORDER BY size")).scalars())
    engine.dispose()
    return log


@pytest.fixture
def log(original: Log, tmp_path: Path) -> Log:
    connection = sqlite3.connect(original.path)
    connection.execute(f"VACUUM INTO '{tmp_path / 'hub.db'}'")
    connection.close()
    shutil.copy(original.checkpoint_file, tmp_path / "checkpoints.txt")
    return Log(tmp_path / "hub.db", tmp_path / "checkpoints.txt", original.sizes)


# What the attacker does to the entries. Each returns the leaves that it touched.

Tamper = Callable[[sqlite3.Connection, random.Random], list[int]]


def edit(db: sqlite3.Connection, rng: random.Random) -> list[int]:
    leaf, column = rng.randrange(ENTRIES), rng.choice(COLUMNS)
    value = 5 if column in ("at", "message_id") else "changed"
    db.execute(f"UPDATE entry SET {column} = ? WHERE id = ?", (value, (leaf + 1) * SPACING))
    return [leaf]


def delete(db: sqlite3.Connection, rng: random.Random) -> list[int]:
    leaf = rng.randrange(ENTRIES - 1)  # the last one is `truncate`
    db.execute("DELETE FROM entry WHERE id = ?", ((leaf + 1) * SPACING,))
    return [leaf]


def insert(db: sqlite3.Connection, rng: random.Random) -> list[int]:
    leaf = rng.randrange(ENTRIES)
    new = (leaf + 1) * SPACING - rng.randint(1, SPACING - 1)
    db.execute("INSERT INTO entry VALUES (?, 0, 5, 'patient.read', 'token:crm', '', NULL, NULL, '{}')", (new,))
    return [leaf]


def reorder(db: sqlite3.Connection, rng: random.Random) -> list[int]:
    one, two = rng.sample(range(ENTRIES), 2)
    a, b = (one + 1) * SPACING, (two + 1) * SPACING
    for new, old in ((-1, a), (a, b), (b, -1)):
        db.execute("UPDATE entry SET id = ? WHERE id = ?", (new, old))
    return [one, two]


def truncate(db: sqlite3.Connection, rng: random.Random) -> list[int]:
    leaf = rng.randrange(ENTRIES)
    db.execute("DELETE FROM entry WHERE id >= ?", ((leaf + 1) * SPACING,))
    return [leaf]


TAMPERS: dict[str, Tamper] = {"edited": edit, "deleted": delete, "inserted": insert, "reordered": reorder, "truncated": truncate}


# How he hides it.


def leave(db: sqlite3.Connection, sizes: list[int]) -> None:
    """Not at all."""


def drop_end(db: sqlite3.Connection, sizes: list[int]) -> None:
    """Tiles and checkpoints behind what there is go too, as if the log had never been longer."""
    (last,) = db.execute("SELECT coalesce(max(id), 0) FROM entry").fetchone()
    for first, ids in db.execute("SELECT first, ids FROM tile").fetchall():
        if unpack_ids(ids)[-1] > last:
            db.execute("DELETE FROM tile WHERE first = ?", (first,))
            db.execute("DELETE FROM checkpoint WHERE size > ?", (first,))


def rehash(db: sqlite3.Connection, sizes: list[int]) -> None:
    """Every tile is made anew from the entries as they are now."""
    rows = db.execute(f"{SELECT} ORDER BY id").fetchall()
    db.execute("DELETE FROM tile")
    first = 0
    for end in [*(size for size in sizes if size < len(rows)), len(rows)]:
        part = rows[first:end]
        if part:
            db.execute(
                "INSERT INTO tile VALUES (?, ?, ?, ?, 0, ?)",
                (first, len(part), pack_ids([row[0] for row in part]), leaf_hashes(part), part[-1][0]),
            )
        first = end


def rewrite(db: sqlite3.Connection, sizes: list[int]) -> None:
    """Tiles and checkpoint rows are made anew; signed with the thief's key, as he has no other."""
    rehash(db, sizes)
    db.execute("DELETE FROM checkpoint")
    tree = Tree()
    for (hashes,) in db.execute("SELECT hashes FROM tile ORDER BY first").fetchall():
        tree = tree.extended(hashes)
        note = THIEF.sign(body(Checkpoint("hospital-hub", tree.size, tree.root())))
        db.execute("INSERT INTO checkpoint VALUES (?, 5, ?, ?, ?)", (tree.size, tree.root(), tree.frontier(), note))


def drop_tiles(db: sqlite3.Connection, sizes: list[int]) -> None:
    """No hashes are left at all."""
    db.execute("DELETE FROM tile")
    db.execute("DELETE FROM checkpoint")


HIDINGS = [leave, drop_end, rehash, rewrite, drop_tiles]


def cases() -> list[tuple[str, int]]:
    return [(list(TAMPERS)[n % len(TAMPERS)], n) for n in range(CASES)]


def located(finding: Finding, leaf: int, first: int, last: int) -> bool:
    """It names the entry, or a range no wider than the one between two checkpoints that holds it."""
    if finding.entry_id == finding.last_entry_id == (leaf + 1) * SPACING:
        return True
    return (
        finding.leaf is not None and finding.last_leaf is not None and first <= finding.leaf <= leaf <= finding.last_leaf <= last
    )


@pytest.mark.parametrize(("kind", "seed"), cases())
def test_100_of_100_tampers_are_located(log: Log, tmp_path: Path, kind: str, seed: int) -> None:
    rng = random.Random(seed)
    hide = HIDINGS[seed // len(TAMPERS) % len(HIDINGS)]
    db = sqlite3.connect(log.path)
    touched = TAMPERS[kind](db, rng)
    hide(db, log.sizes)
    db.commit()
    db.close()

    report = log.verified(tmp_path)

    assert not report.ok
    leaf = min(touched)
    if kind == "truncated":
        found = [f for f in report.findings if f.kind in ("truncated", "altered", "deleted")]
        first, last = log.batch(leaf)
        assert any(f.leaf is not None and first <= f.leaf <= leaf for f in found), [str(f) for f in report.findings]
        assert any(f.kind == "truncated" for f in report.findings)
    elif hide in (leave, drop_end):
        named = [f for f in report.findings if f.kind == kind]
        if kind == "inserted":
            assert [f.entry_id for f in named if f.entry_id is not None and f.entry_id // SPACING == leaf] != []
            assert len(named) == 1
        else:
            assert sorted(f.entry_id or 0 for f in named) == sorted((n + 1) * SPACING for n in touched)
        if hide is leave:
            assert len(report.findings) == len(touched), [str(f) for f in report.findings]
    else:
        first, last = log.batch(leaf)
        assert any(located(f, leaf, first, last) for f in report.findings), [str(f) for f in report.findings]


def test_an_untouched_log_is_whole(log: Log, tmp_path: Path) -> None:
    report = log.verified(tmp_path)
    assert report.ok
    assert (report.covered, report.checkpoints, report.tail) == (ENTRIES, len(log.sizes), 0)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE first = {first}", "tile_altered"),
        ("UPDATE tile SET ids = zeroblob(length(ids)) WHERE first = {first}", "tile_altered"),
        ("UPDATE tile SET count = count + 1 WHERE first = {first}", "tile_altered"),
        ("UPDATE tile SET last_id = 5 WHERE first = {first}", None),  # nothing but a hint for the sequencer
        ("DELETE FROM tile WHERE first = {first}", "tile_altered"),
        ("DELETE FROM tile", "tile_altered"),
        ("DELETE FROM checkpoint WHERE size = {size}", "checkpoint_missing"),
        ("DELETE FROM checkpoint", "checkpoint_missing"),
        ("UPDATE checkpoint SET root = zeroblob(32) WHERE size = {size}", "checkpoint_altered"),
        ("UPDATE checkpoint SET frontier = zeroblob(32) WHERE size = {size}", "checkpoint_altered"),
        ("UPDATE checkpoint SET note = 'x' WHERE size = {size}", "checkpoint_altered"),
    ],
)
def test_altered_tiles_and_checkpoints_are_told_from_altered_entries(
    log: Log, tmp_path: Path, sql: str, kind: str | None
) -> None:
    db = sqlite3.connect(log.path)
    db.execute(sql.format(first=log.sizes[3], size=log.sizes[4]))
    db.commit()
    db.close()
    report = log.verified(tmp_path)
    kinds = {f.kind for f in report.findings}
    assert kinds == ({kind} if kind else set()), [str(f) for f in report.findings]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE entry SET {column} = CAST(x'ff41' AS TEXT)", "UPDATE entry SET {column} = x'ff'",
        "UPDATE entry SET {column} = 1.5", "UPDATE entry SET {column} = 9e999",
    ],
)  # fmt: skip
@pytest.mark.parametrize("column", COLUMNS)
def test_values_of_any_type_are_findings_and_no_crash(log: Log, tmp_path: Path, sql: str, column: str) -> None:
    db = sqlite3.connect(log.path)
    db.execute(sql.format(column=column) + " WHERE id = 1000")
    db.commit()
    db.close()
    report = log.verified(tmp_path)
    assert [(f.kind, f.entry_id) for f in report.findings] == [("edited", 1000)]


@pytest.mark.parametrize("value", ["CAST(x'ff41' AS TEXT)", "'text'", "1.5", "x'ff'", "-5"])
@pytest.mark.parametrize(("table", "column"), [
    ("tile", "first"), ("tile", "count"), ("tile", "ids"), ("tile", "hashes"), ("tile", "last_tx"), ("tile", "last_id"),
    ("checkpoint", "size"), ("checkpoint", "root"), ("checkpoint", "frontier"), ("checkpoint", "note"),
])  # fmt: skip
def test_nonsense_in_tiles_and_checkpoints_does_not_stop_verifying(log: Log, table: str, column: str, value: str) -> None:
    db = sqlite3.connect(log.path)
    try:
        db.execute(f"UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT rowid FROM {table} LIMIT 1 OFFSET 3)")
    except sqlite3.IntegrityError:
        return  # an integer key takes integers only
    db.commit()
    db.close()
    engine = log.engine()
    with engine.connect() as conn:
        report = verify_database(conn, log.checkpoint_file, SIGNER.verifier)
    engine.dispose()
    assert report.covered == ENTRIES
    assert report.ok == column.startswith("last_"), [str(f) for f in report.findings]


def test_a_second_tamper_is_found_behind_a_hidden_one(log: Log, tmp_path: Path) -> None:
    """The right edge in the untouched checkpoint rows lets the log be judged on behind a rewritten range."""
    db = sqlite3.connect(log.path)
    for leaf in (5, ENTRIES - 5):
        db.execute("UPDATE entry SET actor = 'nobody' WHERE id = ?", ((leaf + 1) * SPACING,))
    rehash(db, log.sizes)
    db.commit()
    db.close()
    report = log.verified(tmp_path)
    assert [(f.leaf, f.last_leaf) for f in report.findings if f.kind == "altered"] == [log.batch(5), log.batch(ENTRIES - 5)]


def test_with_another_key_no_checkpoint_holds(log: Log) -> None:
    engine = log.engine()
    with engine.connect() as conn:
        report = verify_database(conn, log.checkpoint_file, THIEF.verifier)
    assert {f.kind for f in report.findings} == {"checkpoint_bad_signature"}
    assert report.covered == 0
    engine.dispose()


def test_a_forged_checkpoint_in_the_file_is_named(log: Log, tmp_path: Path) -> None:
    lines = log.checkpoint_file.read_text()
    note = THIEF.sign(body(Checkpoint("hospital-hub", ENTRIES + 7, b"r" * 32)))
    log.checkpoint_file.write_text(f"{lines}{note}\n")
    report = log.verified(tmp_path)
    assert [f.kind for f in report.findings] == ["checkpoint_bad_signature"]
    note = SIGNER.sign(body(Checkpoint("hospital-hub", ENTRIES, b"r" * 32)))
    log.checkpoint_file.write_text(f"{lines}{note}\n")
    assert [f.kind for f in log.verified(tmp_path).findings] == ["checkpoint_altered"]


def test_without_its_file_the_log_is_not_called_whole(log: Log, tmp_path: Path) -> None:
    log.checkpoint_file.unlink()
    report = log.verified(tmp_path)
    assert {f.kind for f in report.findings} == {"checkpoint_missing"}
    assert report.tail == ENTRIES
