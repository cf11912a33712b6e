"""An imaging order as HL7 v2: OMI^O23 with IPC (HL7 v2.5.1 §4.5.6), or ORM^O01 with ZDS (IHE RAD TF-2 §4.4, of v2.3.1).

Pure: documents in, segments out. Numbers that the order came without: hub/adapters/pacs/order_numbers.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any, Literal

from hub.adapters.hl7.people import HUB, Built, Segments, coded, hl7_time, number_of, pid, xcn
from hub.adapters.pacs.order_numbers import OrderNumbers, order_numbers
from hub.codecs.hl7v2.writer import Field, Fields, Repetition
from hub.domain.imaging import is_imaging
from hub.domain.ports import Outbound

Document = Mapping[str, Any]
Event = Literal["OMI^O23", "ORM^O01"]
GONE = frozenset({"revoked", "entered-in-error"})
STATUS = {"revoked": "CA", "entered-in-error": "CA", "completed": "CM", "on-hold": "HD", "active": "SC"}  # table 0038
STATE = {"in-progress": "IP", "completed": "CM", "discontinued": "DC"}
PRIORITY = {"routine": "R", "urgent": "U", "asap": "A", "stat": "S"}  # table 0485; TQ.6 before v2.5 has the same letters


def order_message(message: Outbound, *, event: Event, assigner: str, zone: tzinfo) -> Built:
    """The order as it stands now: NW until the PACS has confirmed one, then XO; CA as soon as it is off.

    A PACS that answers XO with 204 has it no more (a cancelled one is taken up again): then it is placed anew, but never beside
    itself, under a number that it got meanwhile.
    """
    order = message.resource
    if not is_imaging(order):
        return Built(event, [], nothing="no imaging order")
    gone = order.get("status") in GONE
    if gone and message.peer_id is None and message.type.endswith(".created"):
        return Built(event, [], nothing="an order that was never placed")
    if gone:
        return _built(message, "CA", event, assigner, zone)
    new = _built(message, "NW", event, assigner, zone)
    if message.peer_id is None:
        return new
    change = _built(message, "XO", event, assigner, zone)
    change.unknown = new if message.peer_id == new.peer_id else None
    return change


def _built(message: Outbound, control: str, event: Event, assigner: str, zone: tzinfo) -> Built:
    order = message.resource
    numbers = order_numbers(order, message.resource_id)
    build = _omi if event == "OMI^O23" else _orm
    segments = [
        ("PID", pid(message, assigner, zone)),
        ("PV1", _visit(order)),
        *build(order, message.resource_id, numbers, control, zone),
    ]
    sent: dict[str, Any] = {key: order[key] for key in ("status", "occurrence", "priority") if key in order}
    known_as = None if control == "CA" else numbers.accession  # that it has nothing to cancel is not that it has the order
    return Built(event, segments, sent, known_as, already=_already(control, message.attempt))


def _already(control: str, attempt: int) -> frozenset[str]:
    """204 Unknown key identifier to a cancellation: there is nothing to cancel. 205 Duplicate key identifier to an order that
    was sent before: the earlier attempt got through."""
    if control == "CA":
        return frozenset({"204"})
    return frozenset({"205"} if control == "NW" and attempt > 1 else ())


def _omi(order: Document, order_id: str, numbers: OrderNumbers, control: str, zone: tzinfo) -> Segments:
    request = _obr(order, order_id)
    timing: Fields = {1: "1", 7: _start(order, zone), 9: PRIORITY.get(str(order.get("priority")), "")}
    place = str(order.get("location", ""))
    procedure: Fields = {
        1: (numbers.accession,),
        2: (numbers.procedure,),
        3: (numbers.study_uid,),
        4: (numbers.step,),
        5: _modality(order),
        8: [("", place)] if place else "",
        9: str(order.get("station", "")),
    }
    return [("ORC", _orc(order, order_id, control, zone)), ("TQ1", timing), ("OBR", request), ("IPC", procedure)]


def _orm(order: Document, order_id: str, numbers: OrderNumbers, control: str, zone: tzinfo) -> Segments:
    """IHE names OBR-18 … 20 and 24 for what IPC says later; ZDS-1 is a reference pointer (RP) to the study."""
    timing = ("", "", "", _start(order, zone), "", PRIORITY.get(str(order.get("priority")), ""))
    common = {**_orc(order, order_id, control, zone), 7: timing}
    request = {
        **_obr(order, order_id),
        18: numbers.accession,
        19: numbers.procedure,
        20: numbers.step,
        24: str(order.get("modality", "")),
        27: timing,
    }
    study: Fields = {1: (numbers.study_uid, HUB, "Application", "DICOM")}
    return [("ORC", common), ("OBR", request), ("ZDS", study)]


def _orc(order: Document, order_id: str, control: str, zone: tzinfo) -> dict[int, Field]:
    return {
        1: control,
        2: _placer(order, order_id),
        3: number_of(order, "FILL") or "",
        4: _group(order),
        5: STATUS.get(str(order.get("status")), "") if control == "CA" else _status(order),
        9: hl7_time(str(order.get("authoredOn", "")), zone),
        12: _people(order, "requester"),
    }


def _obr(order: Document, order_id: str) -> dict[int, Field]:
    return {
        1: "1",
        2: _placer(order, order_id),
        3: number_of(order, "FILL") or "",
        4: coded(order.get("code")) or ("", "imaging"),  # required
        16: _people(order, "requester"),
        31: [coded(one) for one in order.get("reason", ())],  # type: ignore[misc]  # tuples, as every coding is here
    }


def _placer(order: Document, order_id: str) -> tuple[str, str]:
    return number_of(order, "PLAC") or (order_id, HUB)


def _group(order: Document) -> Field:
    group = order.get("group")
    return (str(group["value"]), str(group.get("assigner", ""))) if group else ""


def _status(order: Document) -> str:
    """What the modality did with it says more than that it was ordered."""
    return STATE.get(str(order.get("state")), "") or STATUS.get(str(order.get("status")), "")


def _start(order: Document, zone: tzinfo) -> str:
    return hl7_time(str(order.get("occurrence", "")), zone)


def _modality(order: Document) -> Field:
    return (str(order["modality"]), "", "DCM") if order.get("modality") else ""


def _people(order: Document, role: str) -> list[Repetition]:
    return [xcn(one) for one in order.get("participant", ()) if one.get("role") == role]


def _visit(order: Document) -> Fields:
    """Only what the order says of its visit: PV1-2 is required, and the order does not know the class (table 0004 U, N)."""
    number = (order.get("encounter") or {}).get("identifier") or {}
    visit = (str(number.get("value", "")), "", "", str(number.get("assigner", "")))
    return {1: "1", 2: "U" if number else "N", 10: str(order.get("department", "")), 19: visit if number else ""}
