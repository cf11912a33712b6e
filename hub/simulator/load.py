"""Load for `hub bench`: a sender of ADT^A04 over MLLP and a webhook sink, lean enough not to be what is measured.

The sender keeps one message in flight a connection, as a hospital's does; a patient belongs to one connection, so that
the order of a patient's messages is known. The sink runs in a process of its own, answers 204 and counts.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Self

from hub.codecs.mllp import END, VT

FAMILY = "김이박최정강조윤장임한오서신권황안송류홍"
GIVEN = ("민준", "서연", "도윤", "하은", "지호", "수아", "예준", "지우", "현우", "채원", "길동", "영희")
GIVE_UP = 120.0  # seconds that one message is sent again


@dataclass(slots=True)
class Sent:
    """What a run of the sender came to. `seconds`: of the whole run; `waits`: seconds from sending to answer, one a message."""

    answers: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return self.answers["AA"] + self.answers["CA"]

    @property
    def per_second(self) -> float:
        return self.accepted / self.seconds if self.seconds else 0.0

    def wait_ms(self, share: float) -> float:
        """The quantile `share` (0–1) of the waits, in milliseconds."""
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0.0


def message(run: str, patient: int, visit: int, control_id: str) -> bytes:
    """One framed ADT^A04 of v2.5 in UTF-8: visit `visit` of patient `patient`; the same arguments give the same patient."""
    name = f"{FAMILY[patient % len(FAMILY)]}^{GIVEN[patient // 7 % len(GIVEN)]}"
    born, sex = f"19{30 + patient % 69}{1 + patient % 12:02d}{1 + patient % 28:02d}", "MF"[patient % 2]
    now = time.strftime("%Y%m%d%H%M%S")
    text = (
        f"MSH|^~\\&|OCS|HOSP|HUB|HOSP|{now}||ADT^A04^ADT_A01|{control_id}|P|2.5|||AL|NE|KOR|UNICODE UTF-8\r"
        f"EVN|A04|{now}\r"
        f"PID|1||{run}P{patient:07d}^^^HOSP^MR||{name}^^^^^L^I||{born}|{sex}|||"
        f"테헤란로 {patient % 500 + 1}^^서울특별시^^06236^KR^H||^PRN^CP^^82^10^{patient % 10**8:08d}\r"
        f"NK1|1|{name}|SPO||^PRN^CP^^82^10^{(patient + 1) % 10**8:08d}\r"
        f"PV1|1|O|OPD^101^^HOSP||||D{patient % 40:03d}^이^의사|||IM|||||||D{patient % 40:03d}^이^의사|O|"
        f"{run}V{patient:07d}-{visit:06d}"
        f"{'|' * 25}{now}\r"
        "DG1|1||J00^급성 비인두염^KCD|||A\r"
        "IN1|1|4|NHIS|국민건강보험공단\r"
    )
    return VT + text.encode() + END


def send(host: str, port: int, messages: int, *, connections: int = 8, patients: int = 500, run: str = "B") -> Sent:
    """Send about `messages` messages and return what became of them. Blocking; uses one core at most."""
    return asyncio.run(_send(host, port, messages, connections, patients, run))


async def _send(host: str, port: int, messages: int, connections: int, patients: int, run: str) -> Sent:
    sent = Sent()
    began = time.perf_counter()
    share = messages // connections
    await asyncio.gather(
        *(_connection(host, port, _visits(n, connections, patients, share), f"{run}-{n}", run, sent) for n in range(connections))
    )
    sent.seconds = time.perf_counter() - began
    return sent


def _visits(number: int, connections: int, patients: int, share: int) -> Iterator[tuple[int, int]]:
    mine = range(number, max(patients, connections), connections)
    for at in range(share):
        yield mine[at % len(mine)], at // len(mine) + 1


async def _connection(host: str, port: int, visits: Iterator[tuple[int, int]], prefix: str, run: str, sent: Sent) -> None:
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    for at, (patient, visit) in enumerate(visits):
        control_id = f"{prefix}-{at}"
        frame = message(run, patient, visit, control_id)
        marker = b"|" + control_id.encode()
        until = time.monotonic() + GIVE_UP
        while time.monotonic() < until:
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection(host, port)
                began = time.perf_counter()
                writer.write(frame)
                async with asyncio.timeout(10):
                    answer = await reader.readuntil(END)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                sent.unanswered += 1
                if writer is not None:
                    writer.close()
                reader = writer = None
                await asyncio.sleep(0.05)
                continue
            at_msa = answer.find(b"\rMSA|") + 5
            code = answer[at_msa : at_msa + 2].decode("ascii", "replace")
            if marker not in answer[at_msa:]:
                code = "wrong"
            sent.answers[code] += 1
            sent.waits.append(time.perf_counter() - began)
            if code in ("AA", "CA"):
                break
            await asyncio.sleep(0.05)
    if writer is not None:
        writer.close()


class _Receiver(asyncio.Protocol):
    """Counts requests and answers 204; reads no more of a request than its length and its webhook-id."""

    def __init__(self, counts: Counter[str], ids: set[bytes]) -> None:
        self._counts, self._ids = counts, ids
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower() + b"\r\n"
            length = int(_header(head, b"content-length") or 0)
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            webhook_id = _header(head, b"webhook-id")
            self._counts["requests"] += 1
            if webhook_id in self._ids:
                self._counts["again"] += 1
            self._ids.add(webhook_id)
            self._transport.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")


def _header(head: bytes, name: bytes) -> bytes:
    at = head.find(b"\r\n" + name + b":")
    return head[at + len(name) + 3 : head.find(b"\r\n", at + 2)].strip() if at >= 0 else b""


class Sink:
    """A webhook receiver in a process of its own: `with Sink() as sink: sink.url …; sink.counts()`."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host = host
        context = multiprocessing.get_context("spawn")  # a fork would take the caller's threads' locks along
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run_sink, args=(host, port, theirs), daemon=True, name="hub-sink")

    def __enter__(self) -> Self:
        self._process.start()
        if not self._pipe.poll(30):
            raise RuntimeError("the sink did not start within 30 s")
        self.port: int = self._pipe.recv()
        self.url = f"http://{self._host}:{self.port}/hooks/hub"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join(10)

    def counts(self) -> Counter[str]:
        """requests: all that came; again: those whose webhook-id had come before; distinct: different ids."""
        self._pipe.send("counts")
        counts: Counter[str] = self._pipe.recv()
        return counts

    def wait(self, distinct: int, seconds: float) -> float:
        """Wait until so many different ids have come; the seconds that it took. TimeoutError after `seconds`."""
        began = time.perf_counter()
        while self.counts()["distinct"] < distinct:
            if time.perf_counter() - began > seconds:
                raise TimeoutError(f"{self.counts()['distinct']} of {distinct} events within {seconds:g} s")
            time.sleep(0.02)
        return time.perf_counter() - began


def _run_sink(host: str, port: int, pipe: Connection) -> None:
    counts: Counter[str] = Counter()
    ids: set[bytes] = set()

    def asked() -> None:
        try:
            pipe.recv()
        except EOFError:  # who started us is gone
            raise SystemExit(0) from None
        pipe.send(Counter({**counts, "distinct": len(ids)}))

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Receiver(counts, ids), host, port, backlog=1024)
        loop.add_reader(pipe.fileno(), asked)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())
