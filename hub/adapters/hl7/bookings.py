"""A canonical appointment as HL7 v2: SIU^S12, S13, S15 (HL7 v2.5.1 §10.4). Pure, as people.py."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from hub.adapters.hl7.people import HUB, Built, Segments, coded, hl7_time, number_of, pid, xcn
from hub.codecs.hl7v2.writer import Field, Fields
from hub.domain.errors import Refused
from hub.domain.ports import Outbound

Document = Mapping[str, Any]
STATUS = {  # table 0278
    "pending": "Pending", "booked": "Booked", "arrived": "Started", "fulfilled": "Complete", "cancelled": "Cancelled",
    "noshow": "Noshow", "entered-in-error": "Deleted",
}  # fmt: skip
GONE = frozenset({"cancelled", "entered-in-error"})
SCHEDULING = {"created": "SIU^S12", "updated": "SIU^S13", "cancelled": "SIU^S15"}


def booking_message(message: Outbound, *, assigner: str, zone: tzinfo) -> Built:
    """SIU of the appointment as it stands now (§10.4): S15 as soon as it is off, whatever the message was about.

    The placer's number (SCH-1) is the appointment's own, else its id under HUB; the filler's (SCH-2) where it is known.
    """
    document = message.resource
    if not document.get("start"):
        raise Refused("the appointment has no start time", code="no_start")
    action = "cancelled" if document.get("status") in GONE else message.type.rpartition(".")[2]
    placer = number_of(document, "PLAC") or (message.resource_id, HUB)
    segments: Segments = [("SCH", _sch(document, placer, zone))]
    start, end = _span(document, zone)
    segments.append(("TQ1", {1: "1", 7: start, 8: end}))
    if document.get("comment"):
        segments.append(("NTE", {1: "1", 3: str(document["comment"])}))
    visit: Fields = {1: "1", 2: "O", 10: str(document.get("department", ""))}
    segments += [("PID", pid(message, assigner, zone)), ("PV1", visit), ("RGS", {1: "1"}), *_resources(document)]
    sent: dict[str, Any] = {
        key: document[key] for key in ("start", "end", "minutes", "status", "department", "location") if key in document
    }
    event = SCHEDULING.get(action, "SIU^S13")
    return Built(event, segments, sent, placer[0], already=_already(event, message.attempt))


def _already(event: str, attempt: int) -> frozenset[str]:
    """204 Unknown key identifier to a cancellation: there is nothing to cancel. 205 Duplicate key identifier to a booking that
    was sent before: the earlier attempt got through."""
    if event == "SIU^S15":
        return frozenset({"204"})
    return frozenset({"205"} if event == "SIU^S12" and attempt > 1 else ())


def _sch(document: Document, placer: tuple[str, str], zone: tzinfo) -> dict[int, Field]:
    start, end = _span(document, zone)
    status = str(document.get("status", "pending"))
    return {
        1: placer,
        2: number_of(document, "FILL") or "",
        6: coded(document.get("reason")) or STATUS.get(status, "Pending"),  # required; maps read it where SCH-7 is empty
        7: coded(document.get("reason")),
        8: coded(document.get("type")),
        9: str(document["minutes"]) if document.get("minutes") else "",
        10: "min" if document.get("minutes") else "",
        11: ("", "", "", start, end),
        16: (HUB,),  # who stands for the filler's side is not ours to say, but the field is required
        20: (HUB,),
        25: STATUS.get(status, "Pending"),
    }


def _span(document: Document, zone: tzinfo) -> tuple[str, str]:
    return hl7_time(str(document["start"]), zone), hl7_time(str(document.get("end", "")), zone)


def _resources(document: Document) -> Segments:
    """AIL for the place, AIP for each person (§10.6.6, §10.6.7)."""
    segments: Segments = []
    if document.get("location"):
        segments.append(("AIL", {1: "1", 3: tuple(str(document["location"]).split(" ", 2)), 4: "CLINIC"}))
    for n, party in enumerate(document.get("participant", ()), 1):
        segments.append(("AIP", {1: str(n), 3: xcn(party), 4: str(party.get("role", "performer")).upper()}))
    return segments
