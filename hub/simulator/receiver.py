"""Who takes what is passed through: by HTTP, each Idempotency-Key once; and a folder that somebody empties."""

from __future__ import annotations

import ssl
import tempfile
from collections import Counter
from pathlib import Path
from typing import Self

from hub.simulator.faults import Fault
from hub.simulator.http_peer import HttpPeer, Request, response

KEY = "idempotency-key"


class Receiver(HttpPeer):
    """`received` holds (key, body) of every POST acted on; one with a known key gets its answer again, and nothing is done."""

    path = "/in"

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(host=host, port=port, tls=tls)
        self._known: dict[str, bytes] = {}

    def answer(self, request: Request) -> bytes:
        if request.method != "POST":
            return response(204, headers={"Allow": "POST"})
        key = request.headers.get(KEY, "")
        with self.lock:
            before = self._known.get(key)
            if before is not None:
                self.counts["duplicate" if before == request.body else "conflict"] += 1
                return response(202 if before == request.body else 409)
            self._known[key] = request.body
            self.received.append((key, request.body))
        return response(202)


class FolderPeer:
    """A folder; `CLOSED` is a share that is not mounted: it is not there. `delay` is of no meaning to a folder."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="hub-folder-")
        self.folder = Path(self._home.name) / "out"
        self.counts: Counter[str] = Counter()
        self.delay = 0.0

    def start(self) -> Self:
        away = self.folder.with_name("away")
        if away.exists():
            away.rename(self.folder)
        self.folder.mkdir(exist_ok=True)
        return self

    def stop(self) -> None:
        if self.folder.exists():
            self.folder.rename(self.folder.with_name("away"))

    def misbehave(self, fault: Fault, times: int | None = 1) -> None:  # noqa: ARG002 - as other peers have it
        if fault is not Fault.CLOSED:
            raise ValueError(f"a folder cannot be {fault}")
        self.stop()

    def behave(self) -> None:
        self.start()

    def files(self) -> dict[str, bytes]:
        """What a receiver would find."""
        here = self.folder if self.folder.exists() else self.folder.with_name("away")
        return {path.name: path.read_bytes() for path in sorted(here.iterdir()) if path.is_file()}
