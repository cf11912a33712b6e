"""The OCS as a target: what the front office changed, as HL7 v2 over MLLP, one message in flight a connection.

A message is built when it is sent, from the current state. MSH-7 is the time of the change and MSH-10 is made of the
message's id and its content, so an unchanged retry is the same bytes under the same id, and a receiver that keeps to
HL7's rule for MSH-10 acts once. ADT updates and SIU carry whole states: sending one again does no harm.

What an answer means: hub/adapters/mllp.py, overridable by the channel's `answers`.
"""

# ruff: noqa: RUF009 - option() makes a dataclass field; it is no shared default

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hub.adapters.mllp import ANSWERS, DONE, check_answers, judge, pool, read_answer
from hub.adapters.ocs.hl7_build import Built, booking_message, hl7_instant, patient_message
from hub.adapters.settings import read_table, wrong
from hub.codecs.hl7v2 import python_codec
from hub.config import option
from hub.domain.errors import HubError, Refused, Unmappable
from hub.domain.ports import Delivered, Manifest, Outbound

MANIFEST = Manifest(
    name="ocs.hl7_out",
    title="HL7 v2 to the OCS over MLLP",
    direction="out",
    system="ocs",
    protocol="HL7 v2 / MLLP",
    handles=("patient.updated", "appointment.created", "appointment.updated", "appointment.cancelled"),
)
PEER = "the OCS"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the OCS listens, who we are to it, and how it wants to be spoken to."""

    host: str = option(doc="where the OCS listens")
    port: int = option(doc="its port", low=1, high=65535)
    sending_application: str = option("HUB", doc="MSH-3")
    sending_facility: str = option("", doc="MSH-4")
    receiving_application: str = option("", doc="MSH-5")
    receiving_facility: str = option("", doc="MSH-6")
    version: Literal["2.3", "2.3.1", "2.4", "2.5", "2.5.1"] = option("2.5", doc="MSH-12")
    charset: str = option("utf-8", doc='charset of what is sent: "utf-8", or "KS X 1001" (written as cp949)')
    patient_event: Literal["A08", "A31"] = option("A08", doc="ADT event for a changed patient")
    mode: Literal["original", "enhanced"] = option("original", doc="enhanced: MSH-15 AL, MSH-16 AL; the OCS answers CA first")
    assigner: str = option("", doc="assigning authority of the OCS's patient numbers: that number goes first")
    timezone: str = option("Asia/Seoul", doc="time zone of the times that are sent")
    answers: dict[str, str] = option(dict, doc='what an answer means here: { "AE.207" = "retry", "AR" = "refused" }')
    connections: int = option(1, doc="connections at a time; each has one message in flight", low=1, high=16)
    connect_timeout_seconds: float = option(5.0, doc="seconds for a connection", low=0.1, high=15)
    timeout_seconds: float = option(30.0, doc="seconds that an answer may take", low=0.1, high=50)
    tls: bool = option(False, doc="true: TLS, the OCS's certificate checked against the system's authorities or ca_file")
    ca_file: Path | None = option(None, doc="authorities trusted for the OCS (PEM); switches TLS on")
    cert_file: Path | None = option(None, doc="certificate that we show (PEM), for mutual TLS; switches TLS on")
    key_file: Path | None = option(None, doc="its private key (PEM)")
    tls_peers: tuple[str, ...] = option((), doc='certificates taken: ["sha256:…"] or names; default: the name in `host`')

    def __post_init__(self) -> None:
        try:
            python_codec(self.charset)
        except LookupError:
            raise wrong(f'charset "{self.charset}" is not known', 'write "utf-8" or "KS X 1001"') from None
        try:
            ZoneInfo(self.timezone or "Asia/Seoul")
        except (ZoneInfoNotFoundError, ValueError):
            raise wrong(f'timezone "{self.timezone}" is not known', 'write one like "Asia/Seoul"') from None
        check_answers(self.answers)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Settings:
        """From a plain table. Raises Misconfigured."""
        return read_table(cls, table)


class Hl7Target:
    """Target of the `ocs.hl7_out` adapter. Thread-safe; threads share `connections` connections and wait for one."""

    resend_is_safe = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.timezone or "Asia/Seoul")
        self._answers = {**ANSWERS, **settings.answers}
        self._pool = pool(settings, PEER)

    def send(self, message: Outbound) -> Delivered:
        built, body, control_id = self.compose(message)
        if built.event.startswith("ADT") and not built.known:
            return Delivered(detail="nothing to do: a patient without a number of the OCS")
        try:
            with self._pool.client() as client:
                answer = client.send(body, control_id)
            return self._judge(message, built, body, answer)
        except HubError as error:
            error.sent = body
            raise

    def find(self, message: Outbound) -> Delivered | None:  # noqa: ARG002 - the port's signature
        """HL7 v2 has no question for this; `resend_is_safe` makes it unnecessary."""
        return None

    def ping(self) -> str:
        """Connect, with TLS where configured: MLLP has no question of its own."""
        with self._pool.client() as client:
            return client.ping()

    def close(self) -> None:
        self._pool.close()

    def compose(self, message: Outbound) -> tuple[Built, bytes, str]:
        """What would be sent now: (content, bytes, MSH-10). Raises Refused where it cannot be said in HL7 or in the charset."""
        from hub.codecs.hl7v2 import standard  # 300 ms and 20 MB for hl7apy: only where something is built

        s = self._settings
        if message.type.startswith("appointment."):
            built = booking_message(message, assigner=s.assigner, zone=self._zone)
        else:
            built = patient_message(message, event=f"ADT^{s.patient_event}", assigner=s.assigner, zone=self._zone)
        control_id = control_id_of(message.message_id, built)
        asked = "AL" if s.mode == "enhanced" else ""
        try:
            body = standard.build(
                built.event,
                s.version,
                [one for one in built.segments if one[0] != "TQ1" or s.version >= "2.5"],  # TQ1 came with v2.5
                control_id=control_id,
                at=hl7_instant(message.at, self._zone),
                sender=(s.sending_application, s.sending_facility),
                receiver=(s.receiving_application, s.receiving_facility),
                charset=s.charset,
                accept_ack=asked,
                application_ack=asked,
            )
        except Unmappable as error:
            raise Refused(f"it cannot be said to the OCS: {error}", code=error.code) from None
        return built, body, control_id

    def _judge(self, message: Outbound, built: Built, body: bytes, answer: bytes) -> Delivered:
        code, error_code = read_answer(answer, self._settings.charset, PEER)
        meaning = self._answers.get(f"{code}.{error_code}") or self._answers.get(code)
        detail = f"{code} {error_code}".strip()
        if already_so(message, built, error_code):
            meaning = DONE
        decided = judge(meaning, code, detail, answer, PEER)
        return Delivered(built.peer_id, None, body, answer, detail, built.sent_fields, confirms=decided)


def already_so(message: Outbound, built: Built, error_code: str) -> bool:
    """A "no" that says that what we want is so already (table 0357).

    204 Unknown key identifier to a cancellation: there is nothing to cancel. 205 Duplicate key identifier to a booking that was
    sent before: the earlier attempt got through.
    """
    return (error_code == "204" and built.event == "SIU^S15") or (
        error_code == "205" and built.event == "SIU^S12" and message.attempt > 1
    )


def control_id_of(message_id: int, built: Built) -> str:
    """MSH-10 (at most 20 characters): the hub's message id, and a checksum so that other content never goes under a used id."""
    return f"{message_id}-{zlib.crc32(repr(built.segments).encode()) & 0xFFFF:04X}"[-20:]


def build(settings: Settings) -> Hl7Target:
    """The channel's target. Raises Misconfigured for TLS files that cannot be used; connects only when it sends."""
    return Hl7Target(settings)
