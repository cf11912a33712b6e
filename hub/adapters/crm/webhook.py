"""CRM front-ends by webhook: every change as a signed event (Standard Webhooks), each delivered at least once.

The id is made of the message's id and the body of what was stored, so a retry is the same bytes under the same id and
a receiver that drops ids it knows acts once. That is why a resend after a lost answer is safe here.

What an answer means (ADR 0041):

    2xx          delivered                       3xx               not delivered: we do not follow; dead after N attempts
    401          Misconfigured: wrong secret     410               Misconfigured "gone": the channel stops
    408 425 429  not delivered                   503 and other 5xx not delivered; Retry-After (seconds or a date) is kept
    other 4xx    Refused
"""
# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import orjson

from hub.adapters.settings import read_table, wrong
from hub.codecs.http1 import HttpAnswer, framed
from hub.codecs.webhook import ID, SIGNATURE, TIMESTAMP, BadSecretError, secret_bytes, sign
from hub.config import Secret, option
from hub.domain.errors import HubError, Misconfigured, NotDelivered, Refused
from hub.domain.ids import new_id
from hub.domain.ports import Delivered, Manifest, Outbound
from hub.transport.http_lines import HttpLines
from hub.transport.http_peer import HttpPeer, tls_context
from hub.transport.http_pool import HttpPool

MANIFEST = Manifest(
    name="crm.webhook",
    title="CRM front-end (signed webhooks)",
    direction="out",
    system="crm",
    protocol="Standard Webhooks over HTTP/1.1",
    handles=("*",),
)
LONGEST_WAIT = 3600.0  # seconds of Retry-After that are believed
KEPT = 4096  # bytes of an answer that are kept with the attempt


@dataclass(frozen=True, slots=True)
class Settings:
    """One webhook endpoint: the channel's own keys. Which events go there is the channel's `events`."""

    url: str = option(doc="where events are posted: https://crm.example.org/hooks/hub")
    secrets: tuple[Secret, ...] = option(doc='signing secrets: [{ file = "secrets/crm" }], two while rotating')
    timeout_seconds: float = option(15.0, doc="seconds for sending one event and reading the answer", low=0.1, high=60)
    ca_file: Path | None = option(None, doc="authorities trusted for this URL (PEM); default: the system's")

    def __post_init__(self) -> None:
        if not 1 <= len(self.secrets) <= 2:
            raise wrong(f"secrets has {len(self.secrets)} entries", "write one secret, or two while rotating")
        try:
            for secret in self.secrets:
                secret_bytes(secret)
        except BadSecretError as error:
            raise wrong(f"secrets: {error}", "make one of 32 random bytes: whsec_ and their base64") from None

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


def event_body(message: Outbound) -> bytes:
    """The event as sent: JSON with sorted keys, so that one stored event is always the same bytes.

    Without a stored event it is made of the message, in the shape of docs/webhooks.md.
    """
    event = message.event
    if event is None:
        at = datetime.fromtimestamp(message.at / 1_000_000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        data = {
            "id": message.resource_id,
            "kind": message.kind,
            "patientId": message.patient_id,
            "version": message.version,
            "changed": message.changed,
            "resource": message.resource,
        }
        event = {"type": message.type, "timestamp": at, "data": data}
    return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)


class WebhookTarget:
    """Target of the `crm.webhook` adapter. Thread-safe; every call is bounded by connect time-out + `timeout_seconds`."""

    resend_is_safe = True
    at_once = 16  # connections

    def __init__(self, settings: Settings) -> None:
        self._keys = [secret_bytes(secret) for secret in settings.secrets]
        tls = tls_context(settings.ca_file) if settings.url.startswith("https:") else None
        self._peer = HttpPeer(settings.url, timeout=settings.timeout_seconds, tls=tls, limit=1024 * 1024)
        self._start = self._peer.start("POST", "", {"Content-Type": "application/json", "User-Agent": "hospital-hub"})
        self._pool = HttpPool(self._peer)

    def send(self, message: Outbound) -> Delivered:
        body = event_body(message)
        try:
            return _delivered(body, self._pool.request("POST", self.request(f"msg_{message.message_id}", body)))
        except HubError as error:
            error.sent = body
            raise

    def lines(self, most: int) -> WebhookLines:
        return WebhookLines(self, HttpLines(self._peer, most))

    def find(self, message: Outbound) -> Delivered | None:  # noqa: ARG002 - the port's signature
        """A webhook receiver cannot be asked; `resend_is_safe` makes that unnecessary."""
        return None

    def ping(self) -> str:
        """POST an event of type "ping"; a line for people, or raises as `send` does."""
        began = time.perf_counter()
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = orjson.dumps({"type": "ping", "timestamp": at, "data": {}})
        answer = self._pool.request("POST", self.request(f"msg_ping_{new_id()}", body))
        _judge(answer)
        return f"HTTP {answer.status} in {(time.perf_counter() - began) * 1000:.0f} ms"

    def close(self) -> None:
        self._pool.close()

    def request(self, webhook_id: str, body: bytes) -> bytes:
        """The whole request, signed for this second. `webhook_id` is made by us: nothing in it can break a line."""
        stamp = int(time.time())
        signature = sign(self._keys, webhook_id, stamp, body)
        own = f"{ID}: {webhook_id}\r\n{TIMESTAMP}: {stamp}\r\n{SIGNATURE}: {signature}\r\n"
        return framed(self._start + own.encode("ascii"), "POST", body)


class WebhookLines:
    """Many events on their way at once (hub.domain.ports.Lines)."""

    def __init__(self, target: WebhookTarget, http: HttpLines[tuple[Outbound, bytes]]) -> None:
        self._target, self._http = target, http

    def fileno(self) -> int:
        return self._http.fileno()

    def begin(self, message: Outbound) -> None:
        body = event_body(message)
        self._http.begin((message, body), "POST", self._target.request(f"msg_{message.message_id}", body))

    def turn(self) -> list[tuple[Outbound, Delivered | HubError]]:
        return [(message, _outcome(body, came)) for (message, body), came in self._http.turn()]

    def close(self) -> None:
        self._http.close()


def _outcome(body: bytes, came: HttpAnswer | HubError) -> Delivered | HubError:
    if isinstance(came, HubError):
        came.sent = body
        return came
    try:
        return _delivered(body, came)
    except HubError as error:
        error.sent = body
        return error


def _delivered(body: bytes, answer: HttpAnswer) -> Delivered:
    _judge(answer)
    return Delivered(sent=body, answer=answer.body[:KEPT], detail=str(answer.status))


def _judge(answer: HttpAnswer) -> None:
    """Raise what the status means, the answer's body beside it; returns for 2xx."""
    if not 200 <= answer.status < 300:
        error = _meaning(answer.status, answer.headers.get("retry-after"))
        error.answer = answer.body[:KEPT]
        raise error


def _meaning(status: int, wait: str | None) -> HubError:
    if status == 410:
        return Misconfigured("the endpoint says it is gone (410): it wants no more webhooks", code="gone")
    if status == 401:
        return Misconfigured("the endpoint rejects our signature (401): check the secret on both sides", code="unauthorized")
    if 300 <= status < 400:
        return NotDelivered(f"the endpoint redirects ({status}), which is not followed: set the final url", code="redirect")
    if status in (408, 425, 429) or status >= 500:
        return NotDelivered(f"the endpoint answered {status}", code=f"http_{status}", retry_after=retry_after(wait))
    return Refused(f"the endpoint answered {status}", code=f"http_{status}")


def retry_after(value: str | None) -> float | None:
    """Seconds to wait, from delta-seconds or an HTTP date (RFC 9110 §10.2.3); None where absent or unreadable."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, at.timestamp() - time.time()), LONGEST_WAIT)


def build(settings: Settings) -> WebhookTarget:
    """The channel's target. Raises Misconfigured for a wrong URL or CA file; connects only when it sends."""
    return WebhookTarget(settings)
