"""C-STORE load on a whole hub: how many study headers a second `hub run` takes, each series' row committed before its answer.

python -m tests.chaos.dicom --associations 8 --instances 1600 --per-series 1 --pixels 512
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hub.simulator import dicom_wire
from tests import servers
from tests.chaos.hub_process import Hub

CHANNEL = """
[channels.ct]
adapter = "pacs.dicom_in"
system = "pacs"
port = {port}
peers = {{ "MODALITY" = "127.0.0.1" }}
"""


def store(port: int, association: int, instances: int, per_series: int, pixels: int) -> list[float]:
    """All of one association, one after the other; seconds until each answer. Raises RuntimeError where one is not taken."""
    waited = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(30)
        sock.sendall(dicom_wire.associate())
        for n in range(instances):
            study = f"1.2.410.55.{association + 1}.{n // per_series + 1}"
            row = dicom_wire.header(f"{association:02d}{n // per_series:06d}", study, SOPInstanceUID=f"{study}.1.{n + 1}")
            message = dicom_wire.store(row, n % 60_000 + 1, bytes(pixels))
            begun, received = time.perf_counter(), b""
            sock.sendall(message)
            while not dicom_wire.statuses(received):
                more = sock.recv(65536)
                if not more:
                    raise RuntimeError("the hub ended the association")
                received += more
            if dicom_wire.statuses(received) != [0]:
                raise RuntimeError(f"answered {dicom_wire.statuses(received)}")
            waited.append(time.perf_counter() - begun)
        sock.sendall(dicom_wire.RELEASE)
    return waited


def measure(port: int, *, associations: int, instances: int, per_series: int, pixels: int) -> tuple[float, list[float]]:
    """Instances a second, and the sorted times to their answers."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(associations) as pool:
        each = instances // associations
        parts = list(pool.map(lambda n: store(port, n, each, per_series, pixels), range(associations)))
    waited = sorted(one for part in parts for one in part)
    return len(waited) / (time.perf_counter() - begun), waited


class Office:
    """A hub in a folder that modalities can send to."""

    def __init__(self, folder: Path) -> None:
        self.port = servers.free_port()
        self.hub = Hub(folder, "http://127.0.0.1:9/", None, None)
        self.hub.config.write_text(self.hub.config.read_text(encoding="utf-8") + CHANNEL.format(port=self.port), encoding="utf-8")

    def start(self) -> None:
        self.hub.start()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("the hub does not listen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("associations", 8), ("instances", 1600), ("per-series", 1), ("pixels", 512)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hub-dicom-") as folder:
        office = Office(Path(folder) / "hub")
        try:
            office.start()
            rate, waited = measure(office.port, **vars(asked))
            p50, p99 = waited[len(waited) // 2] * 1000, waited[int(len(waited) * 0.99)] * 1000
            print(f"{rate:.0f} instances a second, answered after {p50:.1f} ms (p50), {p99:.1f} ms (p99)")
        finally:
            office.hub.end()


if __name__ == "__main__":
    main()
