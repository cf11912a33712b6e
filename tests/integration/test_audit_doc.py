"""The program in docs/audit.md, which shares no code with the hub, comes to the same verdict as the hub."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from hub.audit.checkpoint import Signer
from hub.db.audit import Sequencer, append, export
from hub.db.engine import make_engine, parse_url
from hub.db.tables import metadata

ROOT = Path(__file__).resolve().parents[2]


def test_the_program_in_the_docs(sqlite_url: str, tmp_path: Path) -> None:
    program = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "audit.md").read_text(), re.S)[0]
    signer, notes = Signer("hospital-hub", b"s" * 32), tmp_path / "checkpoints.txt"
    (tmp_path / "audit.pub").write_text(f"{signer.verifier}\n")
    engine = make_engine(parse_url(sqlite_url))
    metadata.create_all(engine)
    sequencer = Sequencer(engine, signer, notes, "hospital-hub")

    def write(count: int) -> None:
        with engine.begin() as conn:
            for n in range(count):
                append(conn, "message.replayed", actor="cli:간호사", message_id=n, detail={"reason": '수술실 "3"\n다시'})

    def check() -> subprocess.CompletedProcess[str]:
        with engine.connect() as conn:
            export(conn, tmp_path / "log.jsonl", checkpoint_file=notes, public_key=signer.verifier)
        files = [str(tmp_path / "log.jsonl"), str(notes), str(tmp_path / "audit.pub")]
        return subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, timeout=30)

    for count in (1, 2, 5, 30):
        write(count)
        sequencer.step()
    write(3)
    whole = check()
    assert whole.stdout == "whole: 38 entries in 4 checkpoints; 3 more are not signed yet\n", whole.stderr
    with engine.begin() as conn:
        conn.execute(text("UPDATE entry SET actor = 'nobody' WHERE id = 5"))
    altered = check()
    assert altered.returncode == 1
    assert "ALTERED: between entry 4 and entry 8" in altered.stderr
    with engine.begin() as conn:
        conn.execute(text("UPDATE entry SET actor = 'cli:간호사' WHERE id = 5"))
        conn.execute(text("DELETE FROM entry WHERE id > 8"))
    truncated = check()
    assert "TRUNCATED: 38 entries were signed, 8 are there" in truncated.stderr
    engine.dispose()
