"""A second, tiny sender: how long after a kill until a fresh message is acknowledged again.

Each message has a control id of its own and says the same of the same patient, so it makes no change and no delivery
after the first, and its visit number is none that the ledger looks for.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable

MESSAGE = (
    "MSH|^~\\&|PROBE|HOSP|HUB|HOSP|20261122090000||ADT^A08^ADT_A01|{id}|P|2.5|||AL|NE|KOR|UNICODE UTF-8\rEVN|A08|20261122090000\r"
    "PID|1||PROBE^^^HOSP^MR||뷁^똠^^^^^L^I||19800131|F\r"
)


class Probe:
    """One measurement at a time, in a thread of its own; a new one ends the one before."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ids = itertools.count(1)
        self._round = 0
        self.sent = 0  # acknowledged
        self.busy = False

    def measure(self, found: Callable[[float], None]) -> None:
        """Calls `found` with the seconds until a message was acknowledged."""
        self._round += 1
        self.busy = True
        threading.Thread(target=self._measure, args=(self._round, time.monotonic(), found), daemon=True).start()

    def stop(self) -> None:
        self._round += 1

    def _measure(self, number: int, began: float, found: Callable[[float], None]) -> None:
        control_id = f"PROBE-{number}-{next(self._ids)}"  # the same until it is answered
        while number == self._round:
            if self._acknowledged(control_id):
                found(time.monotonic() - began)
                self.sent += 1
                break
            time.sleep(0.05)
        if number == self._round:
            self.busy = False

    def _acknowledged(self, control_id: str) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), 2) as sock:
                sock.settimeout(5)
                sock.sendall(b"\x0b" + MESSAGE.format(id=control_id).encode() + b"\x1c\r")
                answer = b""
                while not answer.endswith(b"\x1c\r"):
                    data = sock.recv(4096)
                    if not data:
                        return False
                    answer += data
        except OSError:
            return False
        return f"MSA|CA|{control_id}".encode() in answer or f"MSA|AA|{control_id}".encode() in answer
