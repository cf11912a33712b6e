"""The OCS as a target: what the front office changed, as HL7 v2 over MLLP. How it goes out: hub/adapters/hl7/target.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from hub.adapters.hl7.bookings import booking_message
from hub.adapters.hl7.people import Built, patient_message
from hub.adapters.hl7.target import Hl7Settings, Hl7Target
from hub.config import option
from hub.domain.ports import Manifest, Outbound

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
class Settings(Hl7Settings):
    """Where the OCS listens, who we are to it, and how it wants to be spoken to."""

    version: Literal["2.3", "2.3.1", "2.4", "2.5", "2.5.1"] = option("2.5", doc="MSH-12")
    patient_event: Literal["A08", "A31"] = option("A08", doc="ADT event for a changed patient")


def build(settings: Settings) -> Hl7Target:
    """The channel's target. Raises Misconfigured for TLS files that cannot be used; connects only when it sends."""
    s = settings

    def say(message: Outbound, zone: ZoneInfo) -> Built:
        if message.type.startswith("appointment."):
            return booking_message(message, assigner=s.assigner, zone=zone)
        return patient_message(message, event=f"ADT^{s.patient_event}", assigner=s.assigner, zone=zone, peer=PEER)

    return Hl7Target(settings, PEER, s.version, say)
