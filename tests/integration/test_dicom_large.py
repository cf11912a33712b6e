"""Instances of two gigabytes: the pixels are dropped as they come, and the process stays as small as it was."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hub.codecs.dicom import uid
from hub.codecs.dicom.writer import data_set
from hub.simulator import dicom_wire

LISTENER = """
import asyncio, sys
from hub.adapters.pacs import dicom_in
from hub.domain.ports import Recalled, Receipt, Verdict
class Memory:
    def recall(self, name): return Recalled(0, {})
    def mark(self, *what): return None
class Intake:
    def store(self, batch): return [Receipt(Verdict.STORED, 1) for _ in batch]
    def answered(self, *_): pass
async def main():
    listener = dicom_in.build(dicom_in.Settings.from_table({"port": 0, "peers": {"*": ""}}), "large")
    listener.remember_in(Memory())
    await listener.start(Intake())
    print(listener.health().address.rpartition(":")[2], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await listener.stop()
asyncio.run(main())
"""
PIECE = 128 << 10
GIGABYTE = 1 << 30


def peak(process: int) -> int:
    """KB that it ever had at once."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


def send(port: int, size: int) -> list[int]:
    """The statuses of one C-STORE with `size` bytes of pixels."""
    row = dicom_wire.header("1", "1.2.410.8")
    head = data_set(row, uid.EXPLICIT_LITTLE) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size)
    command = dicom_wire.request(1, 1, row["SOPClassUID"], row["SOPInstanceUID"], head)
    command = command[: -len(head) - 6] + struct.pack(">IBB", len(head) + 2, 1, 0) + head  # its last fragment is not the last
    room = PIECE - 6
    piece = struct.pack(">BBIIBB", 4, 0, room + 6, room + 2, 1, 0) + bytes(room)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(60)
        sock.sendall(dicom_wire.associate() + command)
        left = size
        while left > room:
            sock.sendall(piece)
            left -= room
        sock.sendall(struct.pack(">BBIIBB", 4, 0, left + 6, left + 2, 1, 2) + bytes(left))
        received = b""
        while not dicom_wire.statuses(received) and (more := sock.recv(65536)):
            received += more
        return dicom_wire.statuses(received)


@pytest.mark.slow
def test_two_gigabytes_of_pixels_cost_no_memory() -> None:
    child = subprocess.Popen([sys.executable, "-c", LISTENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        assert send(port, PIECE) == [0]
        before = peak(child.pid)
        assert send(port, 2 * GIGABYTE - (1 << 20)) == [0]
        assert peak(child.pid) - before < 8 << 10, "the pixels were kept"
    finally:
        child.kill()
        child.wait()
