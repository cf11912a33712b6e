"""Large files, read by a process that is killed (SIGKILL) again and again: every message and row once, refused lines too."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from hub.config import load
from tests.hub_kit import Kit, adt, row_map

HL7, ROWS = 2500, 3500
MAP = row_map(
    '"SNAME" = { to = "name", as = "name_text", each = true }',
)
CHANNELS = """
[channels.hl7-files]
adapter = "files.hl7_in"
system = "ocs"
folder = "hl7"
ready = "rename"
overlay = "maps"
[channels.csv-files]
adapter = "files.csv_in"
system = "ocs"
folder = "csv"
ready = "rename"
event = "OPD_PATIENT"
keys = ["PANO"]
charset = "cp949"
"""
CHILD = """
import sys
from hub.bootstrap import open_hub
from hub.bootstrap.poll import Poller
from hub.config import load
hub = open_hub(load(sys.argv[1]))
for name in ("hl7-files", "csv-files"):
    poller = Poller(hub, hub.config.channels[name], lambda: None)
    print("begins", name, flush=True)
    poller.round()
    assert not poller._trouble, poller._trouble
print("ends", flush=True)
"""


@pytest.fixture
def dropped(kit: Kit, tmp_path: Path) -> Kit:
    for name in ("hl7", "csv", "maps"):
        (tmp_path / name).mkdir()
    (tmp_path / "maps" / "legacy.toml").write_text(MAP, encoding="utf-8")
    messages = [adt("A08", f"{n}", name="남궁^민수", control=f"K{n}") for n in range(HL7)]
    messages.insert(HL7 // 2, b"MSH|garbage\r")
    (tmp_path / "hl7" / "big.hl7").write_bytes(b"".join(messages))
    rows = [f"{n:08},홍길동 뷁" for n in range(ROWS)]
    rows.insert(ROWS // 2, "a,b,c")
    (tmp_path / "csv" / "big.csv").write_bytes("\r\n".join(["PANO,SNAME", *rows, ""]).encode("cp949"))
    file = kit.hub.config.path
    file.write_text(file.read_text(encoding="utf-8") + CHANNELS, encoding="utf-8")
    kit.hub.reload(load(file))
    return kit


def test_killed_again_and_again(dropped: Kit, tmp_path: Path) -> None:
    folder, deaths = tmp_path, 0
    command = [sys.executable, "-c", CHILD, str(dropped.hub.config.path)]
    while not ((folder / "csv" / "done" / "big.csv").exists() and (folder / "hl7" / "done" / "big.hl7").exists()):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline().startswith("begins")
        if deaths < 4:
            before = _count(dropped)
            until = time.monotonic() + 20
            while _count(dropped) < before + 600 * (deaths + 1) and child.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            child.kill()
            deaths += 1
        child.wait(60)
        child.stdout.close()
    assert deaths >= 3
    what = "SELECT channel, type, COUNT(*), COUNT(DISTINCT control_id) FROM message"
    sql = f"{what} WHERE direction = 'in' AND patient_no <> '' GROUP BY 1, 2"
    assert sorted(tuple(r) for r in dropped.rows(sql)) == [
        ("csv-files", "OPD_PATIENT", ROWS, ROWS),
        ("hl7-files", "ADT^A08", HL7, HL7),
    ]
    reasons = [str(r) for (r,) in dropped.rows("SELECT reason FROM outcome WHERE state = 'refused' ORDER BY reason")]
    assert [reason.partition(" at ")[0] for reason in reasons] == [f"line {ROWS // 2 + 2}", f"message {HL7 // 2 + 1}"]


def _count(kit: Kit) -> int:
    return int(kit.rows("SELECT COUNT(*) FROM message WHERE direction = 'in'")[0][0])
