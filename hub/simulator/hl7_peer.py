"""What every simulated system that speaks HL7 v2 over MLLP has: it answers as the standard says, and sends messages of its own.

It repeats its answer to a message that it has had already (same MSH-10), and misbehaves as `faults.py` says.
"""

from __future__ import annotations

import itertools
import queue
import ssl
import threading
import time
from abc import abstractmethod
from datetime import datetime
from typing import Any, BinaryIO, Self
from zoneinfo import ZoneInfo

from hub.codecs.hl7v2 import Message, codec_for, hl7_charset, parse, write
from hub.codecs.hl7v2.writer import Fields
from hub.codecs.mllp import FS, VT, frame
from hub.domain.errors import HubError, NotDelivered, OutcomeUnknown, Unreadable
from hub.simulator.faults import Peer
from hub.transport.mllp_client import MllpClient

SEOUL = ZoneInfo("Asia/Seoul")


class Hl7Peer(Peer):
    """`received` holds (event, MSH-10) of each message acted on, once; `counts` has "duplicate" and what it answered."""

    def __init__(
        self,
        application: str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        charset: str = "utf-8",
    ) -> None:
        """`application`: MSH-3 of its answers."""
        super().__init__(host=host, port=port, tls=tls)
        self.application, self.charset = application, charset
        self._answers: dict[str, bytes] = {}

    @abstractmethod
    def do(self, message: Message, control_id: str) -> tuple[str, str]:
        """Act on it, note it in `received`: (MSA-1, error code of table 0357)."""

    def read(self, stream: BinaryIO) -> bytes | None:
        while (byte := stream.read(1)) != VT:
            if not byte:
                return None
        body = bytearray()
        while (byte := stream.read(1)) != FS:
            if not byte:
                return None
            body += byte
        stream.read(1)  # the CR behind the FS
        return bytes(body)

    def act(self, request: Any) -> bytes:
        try:
            message = parse(request, self.charset)
        except Unreadable:
            return frame(self._answer(None, "AR", "207", "unreadable"))
        control_id = message.segments[0].value(10) or ""
        with self.lock:
            known = self._answers.get(control_id)
            if known is not None:
                self.counts["duplicate"] += 1
                return known
            code, error = self.do(message, control_id)
            self.counts[code] += 1
            answer = frame(self._answer(message, code, error))
            if code == "AA":
                self._answers[control_id] = answer
        return answer

    def refusal(self, request: Any) -> bytes:
        return frame(self._answer(parse(request, self.charset), "AE", "102", _said(request, self.charset)))

    def busy(self, request: Any) -> bytes:
        return frame(self._answer(parse(request, self.charset), "AR", "207", _said(request, self.charset)))

    def wrong(self, request: Any) -> bytes:
        message = parse(request, self.charset)
        return frame(self._answer(message, "AA", "", acknowledges="ANOTHER-1"))

    def _answer(
        self, message: Message | None, code: str, error: str = "", text: str = "", *, acknowledges: str | None = None
    ) -> bytes:
        header = message.segments[0] if message else None
        charset = codec_for(header.value(18) or "", self.charset) if header else self.charset
        asked = (header.value(15) or header.value(16)) if header else None
        if asked and code == "AA":  # enhanced mode: the accept answer; what it decided follows as a message (§2.9.3)
            code = "CA"
        msa = acknowledges if acknowledges is not None else (header.value(10) if header else "") or ""
        event = (header.value(9, comp=2) or "") if header else ""
        msh: Fields = {
            3: self.application, 5: "HUB", 7: _now(), 9: ("ACK", event, "ACK"), 10: f"K{time.time_ns() // 1000}", 11: "P",
            12: (header.value(12) if header else None) or "2.5", 18: hl7_charset(charset),
        }  # fmt: skip
        segments: list[tuple[str, Fields]] = [("MSH", msh), ("MSA", {1: code, 2: msa})]
        if error:
            segments.append(("ERR", {3: error, 4: "E", 8: text}))
        return write(segments, charset=charset)


class Hl7Sender:
    """Sends a system's own messages to the hub: one connection, in order, each again until the hub takes it."""

    def __init__(
        self, host: str, port: int, *, charset: str = "utf-8", application: str = "OCS", facility: str = "HOSP",
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.charset, self.application, self.facility = charset, application, facility
        self.sent = 0
        self.answers: dict[str, int] = {}
        self._client = MllpClient(host, port, connect_seconds=2, answer_seconds=10, tls=tls)
        self._queue: queue.Queue[tuple[str, list[tuple[str, Fields]], str] | None] = queue.Queue()
        self._run = f"{time.time_ns() // 1000:x}"
        self._ids = itertools.count(1)
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Send what is `put`, in a thread of its own."""
        self._thread = threading.Thread(target=self._work, daemon=True, name="Hl7Sender")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Finish what is being sent and end."""
        self._stopped.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(15)
        self._client.close()

    def put(self, message: tuple[str, list[tuple[str, Fields]]], at: str = "") -> None:
        """Queue (event, segments after MSH). `at`: when the system wrote it (MSH-7); the moment of sending where empty."""
        self._queue.put((*message, at))

    def join(self, seconds: float) -> bool:
        """Wait until all that was put is answered."""
        end = time.monotonic() + seconds
        while self._queue.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.01)
        return not self._queue.unfinished_tasks

    def send(self, event: str, segments: list[tuple[str, Fields]], at: str = "", *, seconds: float = 60) -> str:
        """Send one message now, again with the same MSH-10 until it is answered for good; MSA-1.

        AR with 207 means "not now" (the hub's store is busy). Raises HubError where there was no answer for `seconds`.
        """
        control_id = f"{self._run}-{next(self._ids)}"
        body = self.compose(event, segments, control_id, at)
        end = time.monotonic() + seconds
        while True:
            try:
                answer = parse(self._client.send(body, control_id), self.charset)
            except (NotDelivered, OutcomeUnknown):
                if self._stopped.is_set() or time.monotonic() > end:
                    raise
                time.sleep(0.1)
                continue
            code = answer.segments[1].value(1) or ""
            busy = code == "AR" and any(s.name == "ERR" and s.value(3) == "207" for s in answer.segments)
            if busy and not self._stopped.is_set() and time.monotonic() < end:
                time.sleep(0.1)
                continue
            self.sent += 1
            self.answers[code] = self.answers.get(code, 0) + 1
            return code

    def compose(self, event: str, segments: list[tuple[str, Fields]], control_id: str, at: str = "") -> bytes:
        """The message's bytes: a system of v2.5 that asks for one answer."""
        kind, _, trigger = event.partition("^")
        msh: Fields = {
            3: self.application, 4: self.facility, 5: "HUB", 6: self.facility, 7: at or _now(), 9: (kind, trigger),
            10: control_id, 11: "P", 12: "2.5", 17: "KOR", 18: hl7_charset(self.charset),
        }  # fmt: skip
        return write([("MSH", msh), *segments], charset=self.charset)

    def _work(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                self.send(*message)
            except HubError:  # stopped, or the hub is gone for a minute: counted, the next one is tried
                self.answers["given up"] = self.answers.get("given up", 0) + 1
            finally:
                self._queue.task_done()
        self._queue.task_done()


def _now() -> str:
    """Now with a fraction of a second: which of two changes within one second is the newer one is decided by it."""
    now = datetime.now(SEOUL)
    return f"{now:%Y%m%d%H%M%S}.{now.microsecond // 100:04d}{now:%z}"


def _said(request: bytes, charset: str) -> str:
    """What a careless peer puts into its error text: the patient's segment."""
    return next((s.raw(5) + " " + s.raw(13) for s in parse(request, charset).segments if s.name == "PID"), "")
