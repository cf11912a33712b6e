"""Messages as they were received, each by one HTTP POST with an Idempotency-Key made of its number in the hub and its bytes.

A retry is the same bytes under the same key. A receiver that drops keys it knows acts once, and then a lost answer is no trouble
(`drops_repeats`); of one that does not, nobody can say whether it acted, and a person decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.adapters.raw import recode
from hub.adapters.settings import read_table
from hub.config import option
from hub.domain.errors import HubError, NotDelivered
from hub.domain.ports import MESSAGE, Delivered, Manifest, Outbound
from hub.transport.http import HttpClient, HttpSettings, failure

MANIFEST = Manifest(
    name="raw.http_out",
    title="Messages as they came, by HTTP POST",
    direction="out",
    system="emr",
    protocol="HTTP/1.1",
    handles=(MESSAGE,),
)
PEER = "the receiver"
KEY = "Idempotency-Key"
HL7 = "x-application/hl7-v2+er7"  # what HL7 over HTTP of HAPI calls it
JSON = "application/json"  # a row of a polled source: {"event": …, "row": …}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(HttpSettings):
    """Where messages are posted."""

    url: str = option(doc="where messages are posted: https://archive.example.org/hl7")
    content_type: str = option("", doc=f"Content-Type; default: {HL7} with its charset, of rows {JSON}")
    drops_repeats: bool = option(True, doc="false: the receiver does not know Idempotency-Key; a lost answer waits for a person")
    charset: str = option("", doc=recode.OPTION)

    def __post_init__(self) -> None:
        HttpSettings.__post_init__(self)
        recode.check(self.charset)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table, secrets already resolved. Raises Misconfigured."""
        return read_table(cls, table)


class RawHttpTarget:
    """Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = HttpClient(settings, peer=PEER)
        self.resend_is_safe = settings.drops_repeats

    def send(self, message: Outbound) -> Delivered:
        body = recode.in_charset(message, self._settings.charset)
        kind = self._settings.content_type or content_type(body, self._settings.charset or message.charset)
        answer = self._http.write("POST", "", headers={KEY: key_of(message, body), "Content-Type": kind}, body=body)
        if not 200 <= answer.status < 300:
            raise failure(answer, peer=PEER, writing=True)
        return Delivered(sent=body, answer=answer.body, detail=str(answer.status))

    def find(self, message: Outbound) -> Delivered | None:  # noqa: ARG002 - the port's signature
        raise NotDelivered("there is no question for it: look there by hand", code="no_question")

    def ping(self) -> str:
        """OPTIONS changes nothing (RFC 9110 §9.3.7); any answer of HTTP is an answer."""
        try:
            return f"answers OPTIONS with {self._http.read('OPTIONS', '').status}"
        except HubError as error:
            error.sent = b""
            raise

    def close(self) -> None:
        self._http.close()


def key_of(message: Outbound, body: bytes) -> str:
    """One message to one channel; its bytes too, as a database from a backup gives numbers out again."""
    return f"{message.message_id}-{hashlib.sha256(body).hexdigest()[:16]}"


def content_type(body: bytes, charset: str) -> str:
    return JSON if body[:1] in (b"{", b"[") else f"{HL7}; charset={charset or 'utf-8'}"


def build(settings: Settings) -> RawHttpTarget:
    """The channel's target. Raises Misconfigured for TLS files that cannot be used; connects only when it sends."""
    return RawHttpTarget(settings)
