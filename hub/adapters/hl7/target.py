"""A system of record as a target of HL7 v2 over MLLP: one message in flight a connection, built when it is sent.

MSH-7 is the time of the change and MSH-10 is made of the message's id and its content, so an unchanged retry is the same
bytes under the same id, and a receiver that keeps to HL7's rule for MSH-10 acts once. What an answer means:
hub/adapters/mllp.py, overridable by the channel's `answers`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hub.adapters.hl7.people import Built, hl7_instant
from hub.adapters.mllp import MllpSettings, MllpTarget, read_answer
from hub.adapters.settings import wrong
from hub.codecs.hl7v2.writer import SENDABLE, is_sendable
from hub.config import option
from hub.domain.errors import HubError, Refused, Unmappable
from hub.domain.ports import Delivered, Outbound

UNKNOWN_KEY = "204"  # HL7 table 0357


@dataclass(frozen=True, slots=True)
class Hl7Settings(MllpSettings):
    """Who we are to the peer, and how it wants to be spoken to."""

    sending_application: str = option("HUB", doc="MSH-3")
    sending_facility: str = option("", doc="MSH-4")
    receiving_application: str = option("", doc="MSH-5")
    receiving_facility: str = option("", doc="MSH-6")
    charset: str = option("utf-8", doc='charset of what is sent: "utf-8", or "KS X 1001" (written as cp949)')
    mode: Literal["original", "enhanced"] = option("original", doc="enhanced: MSH-15 AL, MSH-16 AL; the peer answers CA first")
    assigner: str = option("", doc="assigning authority of the patient numbers that the peer goes by: that number goes first")
    timezone: str = option("Asia/Seoul", doc="time zone of the times that are sent")

    def __post_init__(self) -> None:
        MllpSettings.__post_init__(self)  # super() does not know a class with slots (Python 3.11)
        try:
            sendable = is_sendable(self.charset)
        except LookupError:
            sendable = False
        if not sendable:
            raise wrong(f'charset "{self.charset}" is none of HL7 table 0211 (MSH-18)', f"write one of {', '.join(SENDABLE)}")
        try:
            ZoneInfo(self.timezone or "Asia/Seoul")
        except (ZoneInfoNotFoundError, ValueError):
            raise wrong(f'timezone "{self.timezone}" is not known', 'write one like "Asia/Seoul"') from None


class Hl7Target(MllpTarget):
    """Target of one channel. `say`: what a message becomes in HL7, from what stands now. `version`: MSH-12."""

    def __init__(self, settings: Hl7Settings, peer: str, version: str, say: Callable[[Outbound, ZoneInfo], Built]) -> None:
        MllpTarget.__init__(self, settings, peer)
        self._settings, self._version, self._say = settings, version, say
        self._zone = ZoneInfo(settings.timezone or "Asia/Seoul")

    def send(self, message: Outbound) -> Delivered:
        built = self._say(message, self._zone)
        if built.nothing:
            return Delivered(detail=f"nothing to do: {built.nothing}")
        try:
            return self._sent(message, built)
        except Refused as error:
            if built.unknown is None or not error.answer or self._error_code(error.answer) != UNKNOWN_KEY:
                raise
            return self._sent(message, built.unknown)

    def _sent(self, message: Outbound, built: Built) -> Delivered:
        body, control_id = self._written(message, built)
        try:
            with self._pool.client() as client:
                answer = client.send(body, control_id)
            return self._judge(built, body, answer)
        except HubError as error:
            error.sent = body
            raise

    def compose(self, message: Outbound) -> tuple[Built, bytes, str]:
        """What would be sent now: (content, bytes, MSH-10). Raises Refused where it cannot be said in HL7 or in the charset."""
        built = self._say(message, self._zone)
        return built, *self._written(message, built)

    def _written(self, message: Outbound, built: Built) -> tuple[bytes, str]:
        from hub.codecs.hl7v2 import standard  # 300 ms and 20 MB for hl7apy: only where something is built

        s, control_id = self._settings, control_id_of(message.message_id, built)
        asked = "AL" if s.mode == "enhanced" else ""
        try:
            body = standard.build(
                built.event,
                self._version,
                [one for one in built.segments if one[0] != "TQ1" or self._version >= "2.5"],  # TQ1 came with v2.5
                control_id=control_id,
                at=hl7_instant(message.at, self._zone),
                sender=(s.sending_application, s.sending_facility),
                receiver=(s.receiving_application, s.receiving_facility),
                charset=s.charset,
                accept_ack=asked,
                application_ack=asked,
            )
        except Unmappable as error:
            raise Refused(f"it cannot be said to {self._peer}: {error}", code=error.code) from None
        return body, control_id

    def _error_code(self, answer: bytes) -> str:
        return read_answer(answer, self._settings.charset, self._peer)[1]

    def _judge(self, built: Built, body: bytes, answer: bytes) -> Delivered:
        decided, detail = self._judged(answer, self._settings.charset, built.already)
        return Delivered(built.peer_id, None, body, answer, detail, built.sent_fields, confirms=decided)


def control_id_of(message_id: int, built: Built) -> str:
    """MSH-10 (at most 20 characters): the hub's message id, and a checksum so that other content never goes under a used id."""
    return f"{message_id}-{zlib.crc32(repr(built.segments).encode()) & 0xFFFF:04X}"[-20:]
