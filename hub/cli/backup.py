"""A consistent copy of the database while others write: SQLite's backup API, or pg_dump."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from hub.domain.errors import Misconfigured, NotDelivered

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

PAGES = 1000  # copied at a time, so that writers get their turn
LONGEST = 6 * 3600  # seconds that pg_dump may take


def back_up(url: str, target: Path) -> int:
    """Copy the database at `url` to the new file `target`; its size in bytes. Misconfigured, NotDelivered."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if target.exists():
        raise Misconfigured(f"{target} is there already: name a new file")
    if not target.parent.is_dir():
        raise Misconfigured(f"there is no folder {target.parent}")
    partial = target.with_name(target.name + ".partial")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    try:
        if parsed.get_backend_name() == "sqlite":
            _copy_sqlite(str(parsed.database), partial)
        else:
            _dump_postgres(parsed, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def _copy_sqlite(source: str, partial: Path) -> None:
    """One read transaction for the whole copy (a copy in steps starts again with every write), then a check of the copy."""
    with sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30) as reading, sqlite3.connect(partial) as writing:
        reading.execute("BEGIN")
        reading.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()  # takes the snapshot
        reading.backup(writing, pages=PAGES)
        writing.execute("PRAGMA journal_mode=DELETE")
        verdict = writing.execute("PRAGMA quick_check").fetchone()[0]
    reading.close()
    writing.close()
    if verdict != "ok":
        raise NotDelivered("the copy did not pass SQLite's check")


def _dump_postgres(url: URL, partial: Path) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        raise Misconfigured("pg_dump is not installed: apt-get install postgresql-client")
    where = ["--host", url.host or "", "--port", str(url.port or 5432), "--username", url.username or "", str(url.database)]
    command = [program, "--format=custom", "--no-password", "--file", str(partial), *where]
    environment = {**os.environ, "PGPASSWORD": str(url.password or "")}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=LONGEST, check=False)  # noqa: S603 - no shell
    if done.returncode:
        raise NotDelivered(f"pg_dump ended with {done.returncode}; is its version at least the server's?")
