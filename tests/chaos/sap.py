"""How many business partners a second the hub brings into an SAP system (CAP of tests/sap_server) by `$batch`.

    python -m tests.chaos.sap [patients] [batch]

A hub with a real store (SQLite, a folder of its own) and its own delivery loop. Three rounds: all are new, each has a new
phone, and once more by a hub that knows nothing yet (each is found by its number, nothing differs). Says messages a second
by the clock and CPU seconds a thousand messages of the hub and of the server; on a machine that others use, trust the CPU
seconds.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from hub.adapters.erp import business_partner
from tests import servers
from tests.hub_kit import Kit, adt, make_kit

CHANNEL = """
[channels.erp]
adapter = "erp.business_partner"
system = "erp"
url = "{url}"
identification_type = "ZMRN"
create = true
batch = {batch}
"""


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _deliver(kit: Kit) -> None:
    while kit.rows("SELECT COUNT(*) FROM work WHERE channel = 'erp' AND state <> 'DEAD'") != [(0,)]:
        for _ in range(20):
            kit.courier.step(kit.leases["out"])


def _round(name: str, kit: Kit, cap: servers.Cap, bodies: Iterable[bytes]) -> tuple[int, float]:
    count = len(kit.receive(*bodies))
    kit.apply()
    began, own, sap = time.perf_counter(), _own(), _of(cap.process.pid)
    _deliver(kit)
    took, own, sap = time.perf_counter() - began, _own() - own, _of(cap.process.pid) - sap
    print(f"{name:10} {count / took:7.0f}/s   CPU s a thousand: hub {own / count * 1000:.2f}, SAP {sap / count * 1000:.2f}")
    return count, took


def _kit(folder: Path, cap: servers.Cap, batch: int) -> Kit:
    folder.mkdir()
    kit = make_kit(folder, f"sqlite:///{folder}/hub.db", more=CHANNEL.format(url=cap.service(), batch=batch))
    table = {"url": cap.service(), "identification_type": "ZMRN", "create": True, "batch": batch}
    kit.hub.targets()["erp"].target = business_partner.build(business_partner.Settings.from_table(table))
    return kit


def _phones(trigger: str, prefix: str, count: int, area: int) -> list[bytes]:
    return [adt(trigger, f"{prefix}{n}", phone=f"010-{area}-{n % 10000:04}") for n in range(count)]


def main(patients: int = 2000, batch: int = 50) -> None:
    cap = servers.Cap().start()
    with tempfile.TemporaryDirectory() as folder:
        first, second = (_kit(Path(folder) / name, cap, batch) for name in ("first", "second"))
        try:
            _round("warming", first, cap, _phones("A28", "W", 400, 1000))
            rounds = [
                _round("new", first, cap, _phones("A28", "P", patients, 2000)),
                _round("changed", first, cap, _phones("A31", "P", patients, 3000)),
                _round("unchanged", second, cap, _phones("A28", "P", patients, 3000)),
            ]
            print(f"together   {sum(n for n, _ in rounds) / sum(t for _, t in rounds):7.0f}/s")
        finally:
            first.close()
            second.close()
            cap.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
