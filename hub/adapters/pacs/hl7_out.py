"""A PACS (or the broker before it) as a target of HL7 v2 over MLLP: imaging orders, patients that change or become one, bookings.

How it goes out: hub/adapters/hl7/target.py. Orders that are none for a PACS are left aside (hub.domain.imaging.is_imaging).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from hub.adapters.hl7.bookings import booking_message
from hub.adapters.hl7.people import Built, merge_message, patient_message
from hub.adapters.hl7.target import Hl7Settings, Hl7Target
from hub.adapters.pacs.hl7_orders import order_message
from hub.adapters.settings import wrong
from hub.config import option
from hub.domain.ports import Manifest, Outbound

MANIFEST = Manifest(
    name="pacs.hl7_out",
    title="HL7 v2 to the PACS over MLLP",
    direction="out",
    system="pacs",
    protocol="HL7 v2 / MLLP",
    handles=(
        "servicerequest.created", "servicerequest.updated", "servicerequest.cancelled", "patient.updated", "patient.merged",
        "appointment.created", "appointment.updated", "appointment.cancelled",
    ),
)  # fmt: skip
PEER = "the PACS"
VERSIONS = {"OMI^O23": "2.5.1", "ORM^O01": "2.3.1"}  # that IHE gives each of them


@dataclass(frozen=True, slots=True)
class Settings(Hl7Settings):
    """Where the PACS listens, who we are to it, and how it wants to be told of orders."""

    orders: Literal["OMI^O23", "ORM^O01"] = option("OMI^O23", doc="OMI^O23: with IPC; ORM^O01: with ZDS, as older PACS want it")
    version: Literal["", "2.3", "2.3.1", "2.4", "2.5", "2.5.1"] = option(
        "", doc="MSH-12; default: 2.5.1 with OMI^O23, 2.3.1 with ORM^O01"
    )

    def __post_init__(self) -> None:
        Hl7Settings.__post_init__(self)  # super() does not know a class with slots (Python 3.11)
        if self.orders == "OMI^O23" and self.version and self.version < "2.5":
            raise wrong(f'version "{self.version}" has no OMI^O23', 'write "2.5.1", or orders = "ORM^O01"')


def build(settings: Settings) -> Hl7Target:
    """The channel's target. Raises Misconfigured for TLS files that cannot be used; connects only when it sends."""
    s = settings

    def say(message: Outbound, zone: ZoneInfo) -> Built:
        if message.type.startswith("servicerequest."):
            return order_message(message, event=s.orders, assigner=s.assigner, zone=zone)
        if message.type.startswith("appointment."):
            return booking_message(message, assigner=s.assigner, zone=zone)
        if message.type == "patient.merged":
            built = merge_message(message, assigner=s.assigner, zone=zone, peer=PEER)
        else:
            built = patient_message(message, event="ADT^A08", assigner=s.assigner, zone=zone, peer=PEER)
        built.already = frozenset({"204"})  # of somebody whom it never imaged the PACS knows nothing
        return built

    return Hl7Target(settings, PEER, s.version or VERSIONS[s.orders], say)
