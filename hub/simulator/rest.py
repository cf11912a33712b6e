"""What the simulated EMR and ERP share: HTTP peers whose faults can be kept for requests that change something."""

from __future__ import annotations

import socket
import threading
from abc import abstractmethod
from typing import Any

from hub.simulator.http_peer import HttpPeer, Request


class RestPeer(HttpPeer):
    """`received` holds (method, resource) of every change that was made; `status` answers that to everything, without acting."""

    def __init__(self, **where: Any) -> None:
        super().__init__(**where)
        self.status: int | None = None
        self.faults_at_writes = False  # True: reads are answered properly, whatever fault is due

    @abstractmethod
    def writes(self, request: Request) -> bool:
        """Whether this request would change something."""

    def _serve(self, sock: socket.socket, request: Any, stopped: threading.Event) -> bool:
        if self.faults_at_writes and not self.writes(request):
            sock.sendall(self.act(request))
            return True
        return super()._serve(sock, request, stopped)
