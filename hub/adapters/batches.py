"""Targets that carry many messages in one request, as hub.domain.ports.Lines: threads that block, a batch at a time.

What is begun while all threads are busy waits and goes out together with the next: batches grow with the load, and a lone
message waits for nobody. A message that failed twice goes alone from then on, so that one at which the peer breaks does not
take its neighbours with it to the dead letters.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence

from hub.domain.errors import HubError
from hub.domain.ports import Delivered, Outbound
from hub.transport.bell import Bell

_log = logging.getLogger(__name__)
ALONE_FROM = 3  # the attempt

Came = Delivered | HubError
SendMany = Callable[[Sequence[Outbound]], list[Came]]


class BatchLines:
    """Driven by one thread; `send_many` is called by others and gives what came of each message, in their order."""

    def __init__(self, send_many: SendMany, *, size: int, at_once: int, name: str) -> None:
        self._send_many, self._size = send_many, size
        self._bell = Bell()
        self._waiting: deque[Outbound] = deque()
        self._idle = at_once
        self._jobs: queue.SimpleQueue[list[Outbound] | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[list[tuple[Outbound, Came]]] = queue.SimpleQueue()
        self._at_once = at_once
        for number in range(at_once):
            threading.Thread(target=self._work, name=f"batches-{name}-{number}", daemon=True).start()

    def fileno(self) -> int:
        return self._bell.fileno()

    def begin(self, message: Outbound) -> None:
        self._waiting.append(message)

    def turn(self) -> list[tuple[Outbound, Came]]:
        self._bell.silence()
        ended: list[tuple[Outbound, Came]] = []
        while not self._done.empty():
            ended += self._done.get_nowait()
            self._idle += 1
        while self._waiting and self._idle:
            self._idle -= 1
            self._jobs.put(self._next())
        return ended

    def close(self) -> None:
        for _ in range(self._at_once):
            self._jobs.put(None)
        self._bell.close()

    def _next(self) -> list[Outbound]:
        batch = [self._waiting.popleft()]
        while batch[0].attempt < ALONE_FROM and self._waiting and len(batch) < self._size:
            if self._waiting[0].attempt >= ALONE_FROM:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._done.put(list(zip(job, self._sent(job), strict=True)))
            self._bell.ring()

    def _sent(self, messages: list[Outbound]) -> list[Came]:
        try:
            return self._send_many(messages)
        except Exception as error:  # noqa: BLE001 - foreseen by nobody: our bug, UNCERTAIN, never an automatic retry
            if len(messages) > 1:  # of one of them: the others are not to suffer for it
                return [came for message in messages for came in self._sent([message])]
            _log.error("delivery failed", exc_info=error, extra={"message_id": messages[0].message_id})
            return [HubError(f"our bug: {type(error).__name__} while sending", code="bug")]
