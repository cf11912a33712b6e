"""A file of any size needs the memory of a block: 30 MB here, 1 GB measured by hand (docs/files.md)."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from hub.adapters.files import source
from hub.testing.home import Home
from tests.hub_kit import row_map

SIZE, ROW = 30 << 20, 10_000
MAP = row_map('"SNAME" = { to = "name", as = "name_text", each = true }')


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BLOCK_BYTES", 1 << 20)
    drop = tmp_path / "drop"
    drop.mkdir()
    rows = SIZE // ROW
    with (drop / "big.csv").open("wb") as file:
        file.write(b"PANO,SNAME,REMARK\r\n")
        for n in range(rows):
            file.write(f"{n},남궁민수,".encode("cp949") + b"x" * ROW + b"\r\n")
    table = {
        "adapter": "files.csv_in", "system": "ocs", "folder": str(drop), "ready": "rename", "event": "OPD_PATIENT",
        "keys": ["PANO"], "charset": "cp949",
    }  # fmt: skip
    with Home(tmp_path / "hub", table, MAP) as home:
        poller = home.poller()
        tracemalloc.start()
        try:
            while not (drop / "done" / "big.csv").exists() and not home.alerts():
                poller.round()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert home.alerts() == []
        assert len(home.messages()) == rows
        poller._close()
    assert most < 20 << 20, f"{most >> 20} MB"  # of Python's; SQLite's cache has a bound of its own
