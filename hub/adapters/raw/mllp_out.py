"""HL7 v2 as it was received, over MLLP: every byte of it, MSH-10 included, one message in flight a connection.

A retry is the same bytes under the same MSH-10, so a receiver that keeps to HL7's rule for MSH-10 acts once. What an answer
means: hub/adapters/mllp.py, overridable by the channel's `answers`.
"""

from __future__ import annotations

from dataclasses import dataclass

from hub.adapters.mllp import MllpSettings, MllpTarget
from hub.adapters.raw import recode
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
class Settings(MllpSettings):
    """Where the receiver listens."""

    charset: str = option("", doc=recode.OPTION)

    def __post_init__(self) -> None:
        MllpSettings.__post_init__(self)  # super() does not know a class with slots (Python 3.11)
        recode.check(self.charset)


class RawMllpTarget(MllpTarget):
    """Target of one channel."""

    def __init__(self, settings: Settings) -> None:
        MllpTarget.__init__(self, settings, PEER)
        self._charset = settings.charset

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

    def _judge(self, body: bytes, answer: bytes, charset: str) -> Delivered:
        decided, detail = self._judged(answer, charset)
        return Delivered(sent=body, answer=answer, detail=detail, confirms=decided)


def build(settings: Settings) -> RawMllpTarget:
    """The channel's target. Raises Misconfigured for TLS files that cannot be used; connects only when it sends."""
    return RawMllpTarget(settings)
