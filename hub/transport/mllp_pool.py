"""A few MLLP connections to one peer, each with one message in flight; threads wait for a free one."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hub.domain.errors import NotDelivered
from hub.transport.mllp_client import MllpClient


class MllpPool:
    """Thread-safe. Connects only when something is sent."""

    def __init__(self, make: Callable[[], MllpClient], connections: int, wait_seconds: float, *, peer: str) -> None:
        """`peer` is how errors call it: "the OCS"."""
        self._clients = [make() for _ in range(connections)]
        self._wait = wait_seconds
        self._peer = peer
        self._free: queue.LifoQueue[MllpClient] = queue.LifoQueue()
        for client in self._clients:
            self._free.put(client)

    @contextmanager
    def client(self) -> Iterator[MllpClient]:
        """Raises NotDelivered where none gets free in time."""
        try:
            client = self._free.get(timeout=self._wait)
        except queue.Empty:
            reason = f"every connection to {self._peer} is waiting for an answer"
            raise NotDelivered(reason, code="busy", reached=False) from None
        try:
            yield client
        finally:
            self._free.put(client)

    def close(self) -> None:
        for client in self._clients:
            client.close()
