"""Live traffic at a steady rate, from a process of its own: how long answers and deliveries take while something else goes on.

One process sends ADT^A04 over MLLP and receives the webhooks that they lead to, so that both times are by one clock.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Self

from hub.codecs.mllp import END
from hub.simulator.load import message

CONNECTIONS = 4
PATIENTS = 100
VISIT = re.compile(rb"LV\d{7}-\d{6}")
CREATED = b'"encounter.created"'


@dataclass
class Waits:
    """Milliseconds, one a message: from sending to its answer, from its answer to its webhook."""

    answered: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    missing: int = 0  # answered, and no webhook came
    refused: int = 0

    def told(self) -> dict[str, float]:
        return {
            "messages": len(self.answered), "missing": self.missing, "refused": self.refused,
            **{f"answer p{share}": at(self.answered, share) for share in (50, 95, 99)},
            **{f"delivered p{share}": at(self.delivered, share) for share in (50, 95, 99)},
        }  # fmt: skip


def at(values: list[float], share: int) -> float:
    """The quantile `share` (per cent), ms."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 1) if ordered else 0.0


class Live:
    """`with Live(mllp_port) as live: live.url …; live.begin(50); …; waits = live.end()`."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs,), daemon=True, name="live traffic")

    def __enter__(self) -> Self:
        self._process.start()
        port = self._pipe.recv()
        self.url = f"http://127.0.0.1:{port}/hooks/hub"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join(10)

    def begin(self, port: int, rate: float) -> None:
        """Sends `rate` messages a second to an MLLP port, until `end`."""
        self._pipe.send((port, rate))

    def end(self) -> Waits:
        """No more; what was sent is waited for, 20 s at most."""
        self._pipe.send(None)
        waits: Waits = self._pipe.recv()
        return waits


def _run(pipe: Connection) -> None:
    asyncio.run(_Traffic(pipe).run())


class _Traffic:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._waits = Waits()
        self._answered: dict[bytes, float] = {}  # visit -> when its message was answered
        self._came: dict[bytes, float] = {}  # visit -> when its webhook came
        self._sent = 0
        self._visits = 0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Hooks(self._came), "127.0.0.1", 0, backlog=1024)
        self._pipe.send(server.sockets[0].getsockname()[1])
        while True:
            port, rate = await loop.run_in_executor(None, self._pipe.recv)
            stop = asyncio.Event()
            senders = [asyncio.create_task(self._send(n, port, CONNECTIONS / rate, stop)) for n in range(CONNECTIONS)]
            await loop.run_in_executor(None, self._pipe.recv)
            stop.set()
            await asyncio.gather(*senders)
            self._pipe.send(await self._settle())

    async def _send(self, number: int, port: int, pause: float, stop: asyncio.Event) -> None:
        """Open loop: a late answer makes the next message no later than it must be."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = time.monotonic() + pause * number / CONNECTIONS
        while not stop.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due += pause
            self._visits += 1
            patient = self._visits % PATIENTS
            visit = f"LV{patient:07d}-{self._visits:06d}".encode()
            began = time.monotonic()
            try:
                writer.write(message("L", patient, self._visits, f"L{self._visits}"))
                async with asyncio.timeout(15):
                    answer = await reader.readuntil(END)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):  # the hub was killed
                self._waits.refused += 1
                writer.close()
                reader, writer = await self._again(port, stop)
                due = time.monotonic()
                continue
            now = time.monotonic()
            if b"\rMSA|AA" not in answer and b"\rMSA|CA" not in answer:
                self._waits.refused += 1
                continue
            self._waits.answered.append((now - began) * 1000)
            self._answered[visit] = now

    async def _again(self, port: int, stop: asyncio.Event) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if stop.is_set():
                    raise
                await asyncio.sleep(0.1)

    async def _settle(self) -> Waits:
        until = time.monotonic() + 20
        while self._answered.keys() - self._came.keys() and time.monotonic() < until:
            await asyncio.sleep(0.1)
        waits, self._waits = self._waits, Waits()
        for visit, then in self._answered.items():
            if visit in self._came:
                waits.delivered.append((self._came[visit] - then) * 1000)
            else:
                waits.missing += 1
        self._answered.clear()
        return waits


class _Hooks(asyncio.Protocol):
    """Answers 204 to every webhook and notes when a visit's came."""

    def __init__(self, came: dict[bytes, float]) -> None:
        self._came = came
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            if CREATED in body and (found := VISIT.search(body)):
                self._came.setdefault(found[0], time.monotonic())
            self._transport.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
