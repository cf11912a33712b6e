"""HL7 v2 as it was received, over MLLP: every byte of it, MSH-10 included, one message in flight a connection.

A retry is the same bytes under the same MSH-10, so a receiver that keeps to HL7's rule for MSH-10 acts once. What an answer
means: hub/adapters/mllp.py, overridable by the channel's `answers`.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.adapters.mllp import ANSWERS, check_answers, judge, pool, read_answer
from hub.adapters.raw import recode
from hub.adapters.settings import read_table
from hub.codecs.hl7v2 import peek
from hub.config import option
from hub.domain.errors import HubError, Refused, Unreadable
from hub.domain.ports import MESSAGE, Delivered, Manifest, Outbound

MANIFEST = Manifest(
    name="raw.mllp_out",
    title="HL7 v2 messages as they came, over MLLP",
    direction="out",
    system="ocs",
    protocol="HL7 v2 / MLLP",
    handles=(MESSAGE,),
)
PEER = "the receiver"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the receiver listens."""

    host: str = option(doc="where the receiver listens")
    port: int = option(doc="its port", low=1, high=65535)
    charset: str = option("", doc=recode.OPTION)
    answers: dict[str, str] = option(dict, doc='what an answer means here: { "AE.207" = "retry", "AR" = "refused" }')
    connections: int = option(1, doc="connections at a time; each has one message in flight", low=1, high=16)
    connect_timeout_seconds: float = option(5.0, doc="seconds for a connection", low=0.1, high=15)
    timeout_seconds: float = option(30.0, doc="seconds that an answer may take", low=0.1, high=50)
    tls: bool = option(False, doc="true: TLS, its certificate checked against the system's authorities or ca_file")
    ca_file: Path | None = option(None, doc="authorities trusted for it (PEM); switches TLS on")
    cert_file: Path | None = option(None, doc="certificate that we show (PEM), for mutual TLS; switches TLS on")
    key_file: Path | None = option(None, doc="its private key (PEM)")
    tls_peers: tuple[str, ...] = option((), doc='certificates taken: ["sha256:…"] or names; default: the name in `host`')

    def __post_init__(self) -> None:
        check_answers(self.answers)
        recode.check(self.charset)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table. Raises Misconfigured."""
        return read_table(cls, table)


class RawMllpTarget:
    """Thread-safe; threads share `connections` connections."""

    resend_is_safe = True

    def __init__(self, settings: Settings) -> None:
        self._charset = settings.charset
        self._answers = {**ANSWERS, **settings.answers}
        self._pool = pool(settings, PEER)

    def send(self, message: Outbound) -> Delivered:
        charset = self._charset or message.charset or "utf-8"
        body = recode.in_charset(message, self._charset)
        try:
            control_id = peek(body, charset).control_id
        except Unreadable:
            raise Refused("it is no HL7 v2 message: MLLP cannot carry it", code="no_hl7") from None
        try:
            with self._pool.client() as client:
                return self._judge(body, client.send(body, control_id), charset)
        except HubError as error:
            error.sent = body
            raise

    def find(self, message: Outbound) -> Delivered | None:  # noqa: ARG002 - the port's signature
        """HL7 v2 has no question for this; `resend_is_safe` makes it unnecessary."""
        return None

    def ping(self) -> str:
        with self._pool.client() as client:
            return client.ping()

    def close(self) -> None:
        self._pool.close()

    def _judge(self, body: bytes, answer: bytes, charset: str) -> Delivered:
        code, error_code = read_answer(answer, charset, PEER)
        meaning = self._answers.get(f"{code}.{error_code}") or self._answers.get(code)
        detail = f"{code} {error_code}".strip()
        return Delivered(sent=body, answer=answer, detail=detail, confirms=judge(meaning, code, detail, answer, PEER))


def build(settings: Settings) -> RawMllpTarget:
    """The channel's target. Raises Misconfigured for TLS files that cannot be used; connects only when it sends."""
    return RawMllpTarget(settings)
