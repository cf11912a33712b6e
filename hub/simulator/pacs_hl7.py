"""The order desk of a simulated PACS: takes imaging orders, merges and bookings by HL7 v2 over MLLP, as its broker would."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from hub.codecs.hl7v2 import Message
from hub.simulator.hl7_peer import Hl7Peer

ORDERS = ("OMI^O23", "ORM^O01")
PATIENTS = ("ADT^A08", "ADT^A40")
BOOKINGS = ("SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15")
Patient = dict[str, str]


@dataclass(slots=True)
class ImagingOrder:
    """An order as the PACS knows it. `control`: ORC-1 of the last message about it; `start` as HL7 gave it."""

    accession: str
    study_uid: str
    placer: str
    patient: str
    control: str
    modality: str
    start: str
    body: Message


class PacsHl7Peer(Hl7Peer):
    """What it was told: `orders` by accession number, `patients` by number, `bookings` (SCH-1 -> event, start)."""

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None, charset: str = "utf-8"
    ) -> None:
        super().__init__("PACS", host=host, port=port, tls=tls, charset=charset)
        self.orders: dict[str, ImagingOrder] = {}
        self.patients: dict[str, Patient] = {}
        self.merged: dict[str, str] = {}  # prior number -> survivor's
        self.bookings: dict[str, tuple[str, str]] = {}

    def do(self, message: Message, control_id: str) -> tuple[str, str]:
        header = message.segments[0]
        event = f"{header.value(9)}^{header.value(9, comp=2)}"
        pid = _segment(message, "PID")
        if pid is None or not pid.value(3):
            return "AE", "101"
        act = {
            **dict.fromkeys(ORDERS, self._order), "ADT^A08": self._changed, "ADT^A40": self._merge,
            **dict.fromkeys(BOOKINGS, self._book),
        }.get(event)  # fmt: skip
        if act is None:
            return "AR", "201"
        code, error = act(event, message, pid)
        if code == "AA":
            self.received.append((event, control_id))
        return code, error

    def _order(self, event: str, message: Message, pid: Any) -> tuple[str, str]:
        common, request = _segment(message, "ORC"), _segment(message, "OBR")
        if common is None or request is None:
            return "AE", "101"
        procedure, study = _segment(message, "IPC"), _segment(message, "ZDS")
        if event == "OMI^O23" and procedure is not None:
            timing = _segment(message, "TQ1")
            accession, uid = procedure.value(1) or "", procedure.value(3) or ""
            modality, start = procedure.value(5) or "", (timing.value(7) if timing else "") or ""
        else:
            accession, uid = request.value(18) or "", (study.value(1) if study else "") or ""
            modality, start = request.value(24) or "", request.value(27, comp=4) or ""
        control = common.value(1) or ""
        if not accession or not uid:
            return "AE", "101"
        if control == "NW" and accession in self.orders:
            return "AE", "205"
        if control != "NW" and accession not in self.orders:
            return "AE", "204"
        self._know(pid)
        number = pid.value(3) or ""
        self.orders[accession] = ImagingOrder(accession, uid, common.value(2) or "", number, control, modality, start, message)
        return "AA", ""

    def _changed(self, event: str, message: Message, pid: Any) -> tuple[str, str]:  # noqa: ARG002 - as all of `do`
        self._know(pid)
        return "AA", ""

    def _merge(self, event: str, message: Message, pid: Any) -> tuple[str, str]:  # noqa: ARG002 - as all of `do`
        prior = _segment(message, "MRG")
        if prior is None or not prior.value(1):
            return "AE", "101"
        self._know(pid)
        survivor, old = pid.value(3) or "", prior.value(1) or ""
        self.patients.pop(old, None)
        self.merged[old] = survivor
        for order in self.orders.values():
            order.patient = survivor if order.patient == old else order.patient
        return "AA", ""

    def _book(self, event: str, message: Message, pid: Any) -> tuple[str, str]:
        booking = _segment(message, "SCH")
        if booking is None or not booking.value(1):
            return "AE", "101"
        self._know(pid)
        self.bookings[booking.value(1) or ""] = (event, booking.value(11, comp=4) or "")
        return "AA", ""

    def _know(self, pid: Any) -> None:
        name = f"{pid.value(5) or ''}{pid.value(5, comp=2) or ''}"
        self.patients[pid.value(3) or ""] = {"name": name, "phone": pid.value(13) or ""}


def _segment(message: Message, name: str) -> Any | None:
    return next((one for one in message.segments if one.name == name), None)
