"""A CRM front-end of the simulated hospital: receives signed webhooks, verifies them, remembers each event once."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from hub.codecs.webhook import NotAuthenticError, new_secret, secret_bytes, verify
from hub.simulator.http_peer import HttpPeer, Request, response


@dataclass(frozen=True, slots=True)
class Event:
    """One event as the CRM took it in. `at`: seconds since 1970, when it came first."""

    id: str
    type: str
    data: dict[str, Any]
    at: float


class CrmPeer(HttpPeer):
    """`received` holds Events in order of arrival, each id once; `counts` has "duplicate", "ping" and "unauthentic" too."""

    path = "/hooks/hub"

    def __init__(
        self, secrets: Sequence[str] = (), *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        """`secrets`: `whsec_…`, any of which a signature may be made with; a fresh one where none is given."""
        super().__init__(host=host, port=port, tls=tls)
        self.secrets = tuple(secrets) or (new_secret(),)
        self.latest: dict[str, dict[str, Any]] = {}  # resource id -> newest data by version
        self.status: int | None = None  # answer this to everything, without acting: 410, 307, 429 …
        self.retry_after = ""
        self._seen: set[str] = set()
        self._keys = [secret_bytes(secret) for secret in self.secrets]

    def answer(self, request: Request) -> bytes:
        if self.status is not None:
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return response(self.status, b'{"title":"as asked"}', {**headers, "Location": "/elsewhere"})
        try:
            webhook_id = verify(self._keys, request.headers, request.body, now=time.time())
        except NotAuthenticError as error:
            with self.lock:
                self.counts["unauthentic"] += 1
            return response(401, orjson.dumps({"title": error.code}))
        body = orjson.loads(request.body)
        with self.lock:
            if body["type"] == "ping":
                self.counts["ping"] += 1
            elif webhook_id in self._seen:
                self.counts["duplicate"] += 1
            else:
                self._take(Event(webhook_id, body["type"], body["data"], time.time()))
        return response(204)

    def _take(self, event: Event) -> None:
        self._seen.add(event.id)
        self.received.append(event)
        resource_id = event.data.get("id")
        known = self.latest.get(resource_id) if isinstance(resource_id, str) else None
        if isinstance(resource_id, str) and (known is None or event.data.get("version", 0) >= known.get("version", 0)):
            self.latest[resource_id] = event.data
