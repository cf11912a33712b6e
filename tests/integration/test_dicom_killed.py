"""`hub run` under C-STORE load: fast enough; and killed (SIGKILL) again and again, what was acknowledged is there, once."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import orjson

from hub.bootstrap import open_hub
from hub.config import load
from hub.simulator import dicom_wire
from tests.chaos.dicom import Office, measure

SENDERS, KILLS, BETWEEN = 4, 2, 150  # BETWEEN: new acknowledgements before a kill
FLOOR = 150  # study headers a second on two cores


class Sender(threading.Thread):
    """Stores one series after the other, two instances each, and each again until success is said."""

    def __init__(self, n: int, port: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._n, self._port, self._stop_now = n, port, stop
        self.acknowledged: list[str] = []

    def run(self) -> None:
        sent = 0
        while not self._stop_now.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self._port), 2) as sock:
                    sock.settimeout(5)
                    sock.sendall(dicom_wire.associate())
                    received = b""
                    while not self._stop_now.is_set():
                        study = f"1.2.410.66.{self._n}.{len(self.acknowledged) + 1}"
                        row = dicom_wire.header(f"{self._n:02d}{len(self.acknowledged):06d}", study)
                        for instance in (1, 2):
                            sent += 1
                            sock.sendall(dicom_wire.store(row | {"SOPInstanceUID": f"{study}.1.{instance}"}, sent % 60_000 + 1))
                            received = b""
                            while not dicom_wire.statuses(received):
                                more = sock.recv(65536)
                                if not more:
                                    raise ConnectionResetError
                                received += more
                            if dicom_wire.statuses(received) != [0]:
                                break
                        else:
                            self.acknowledged.append(f"{study}.1")
            except OSError:
                time.sleep(0.05)


def test_it_is_fast_enough_and_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    by, office, stop = random.Random(160), Office(tmp_path / "hub"), threading.Event()
    hub = office.hub
    senders = [Sender(n, office.port, stop) for n in range(SENDERS)]
    try:
        office.start()
        rate, _ = measure(office.port, associations=4, instances=800, per_series=1, pixels=4096)
        for sender in senders:
            sender.start()
        for _ in range(KILLS + 1):
            wanted = sum(len(one.acknowledged) for one in senders) + BETWEEN
            until = time.monotonic() + 40
            while sum(len(one.acknowledged) for one in senders) < wanted:
                assert time.monotonic() < until, "the hub does not answer any more"
                hub.keep()
                time.sleep(0.01)
            hub.kill("all", by)
    finally:
        stop.set()
        hub.kill("all", by)
    told: Counter[str] = Counter()
    opened = open_hub(load(hub.config))
    try:
        with opened.store.snapshot() as tx:
            for number, body in tx.many("SELECT id, body FROM message WHERE channel = 'ct'"):
                told[orjson.loads(opened.keys.open_("message", number, bytes(body)))["row"]["SeriesInstanceUID"]] += 1
    finally:
        opened.close()
    assert rate >= FLOOR
    acknowledged = [series for one in senders for series in one.acknowledged]
    assert len(acknowledged) >= BETWEEN * (KILLS + 1)
    assert [series for series in acknowledged if told[series] != 1] == []
    assert set(told.values()) == {1}
