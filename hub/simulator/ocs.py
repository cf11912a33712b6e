"""The OCS of the simulated hospital: takes ADT and SIU over MLLP, answers, and confirms bookings by a message of its own.

It keeps what it was told (`patients`, `bookings`). How it speaks: hl7_peer.py; what it sends to the hub goes through `Hl7Sender`.
"""

from __future__ import annotations

import itertools
import ssl
from dataclasses import dataclass
from typing import Any

from hub.codecs.hl7v2 import Message
from hub.codecs.hl7v2.writer import Fields, Repetition
from hub.simulator.hl7_peer import Hl7Peer, Hl7Sender

TAKEN = frozenset({"ADT^A08", "ADT^A31", "ADT^A28", "SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15"})


@dataclass(slots=True)
class Booking:
    """One appointment in the OCS's book. `patient`: number in the OCS; times as HL7 gave them."""

    placer: str
    placer_assigner: str
    filler: str
    patient: str
    status: str
    start: str
    end: str
    body: Message


class OcsPeer(Hl7Peer):
    """`received` holds (event, MSH-10) of each message acted on, once; `counts` has "duplicate" and what it answered."""

    def __init__(
        self,
        *,
        assigner: str = "HOSP",
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        charset: str = "utf-8",
        confirm: Hl7Sender | None = None,
    ) -> None:
        """`confirm`: through whom bookings are confirmed (SIU^S12 with placer and filler number); None: the answer is all."""
        super().__init__("OCS", host=host, port=port, tls=tls, charset=charset)
        self.assigner, self.confirm = assigner, confirm
        self.patients: dict[str, dict[str, str]] = {}
        self.bookings: dict[str, Booking] = {}
        self._numbers = itertools.count(1)

    def do(self, message: Message, control_id: str) -> tuple[str, str]:
        """(MSA-1, error code of table 0357)."""
        header = message.segments[0]
        event = f"{header.value(9)}^{header.value(9, comp=2)}"
        if event not in TAKEN:
            return "AR", "201"
        pid = next((s for s in message.segments if s.name == "PID"), None)
        if pid is None or not pid.value(3):
            return "AE", "101"
        number = self._patient(pid)
        if event.startswith("SIU"):
            code, error = self._book(event, message, number)
            if code != "AA":
                return code, error
        self.received.append((event, control_id))
        return "AA", ""

    def _patient(self, pid: Any) -> str:
        """The OCS's number of the patient: the one under its assigner, else a new one for a number that is not its own."""
        numbers = [(pid.value(3, n), pid.value(3, n, 4) or "") for n in range(1, len(pid.reps(3)) + 1)]
        own = next((value for value, assigner in numbers if assigner == self.assigner), None)
        if own is None:
            first = f"{numbers[0][1]}|{numbers[0][0]}"
            own = next((n for n, p in self.patients.items() if p.get("other") == first), None)
            if own is None:
                own = f"N{next(self._numbers):07d}"
                self.patients[own] = {"other": first}
        name = f"{pid.value(5) or ''}{pid.value(5, comp=2) or ''}"
        record = self.patients.setdefault(own, {})
        record |= {"name": name, "phone": pid.value(13) or record.get("phone", ""), "address": pid.value(11) or ""}
        return own

    def _book(self, event: str, message: Message, patient: str) -> tuple[str, str]:
        sch = next((s for s in message.segments if s.name == "SCH"), None)
        if sch is None or not (sch.value(1) or sch.value(2)):
            return "AE", "101"
        key = sch.value(1) or sch.value(2) or ""
        known = self.bookings.get(key)
        if known is None and event == "SIU^S15" and not sch.value(2):
            return "AE", "204"
        filler = known.filler if known else sch.value(2) or f"A{next(self._numbers):07d}"
        status = "Cancelled" if event == "SIU^S15" else "Booked"
        start, end = sch.value(11, comp=4) or "", sch.value(11, comp=5) or ""
        booking = Booking(key, sch.value(1, comp=2) or "", filler, patient, status, start, end, message)
        self.bookings[key] = booking
        if self.confirm is not None:
            self.confirm.put(self._confirmation(event, booking))
        return "AA", ""

    def _confirmation(self, event: str, booking: Booking) -> tuple[str, list[tuple[str, Fields]]]:
        """The same event back: placer's and filler's number, booked; the patient by the OCS's number."""
        pid = next(s for s in booking.body.segments if s.name == "PID")
        names: list[Repetition] = [
            tuple(pid.value(5, n, part) or "" for part in range(1, 9)) for n in range(1, len(pid.reps(5)) + 1)
        ]
        numbers = [(booking.patient, "", "", self.assigner, "MR")]
        numbers += [
            (pid.value(3, n) or "", "", "", pid.value(3, n, 4) or "", pid.value(3, n, 5) or "")
            for n in range(1, len(pid.reps(3)) + 1)
            if pid.value(3, n, 4) != self.assigner
        ]
        asked = next(s for s in booking.body.segments if s.name == "SCH")
        sch: Fields = {
            1: (booking.placer, booking.placer_assigner),
            2: (booking.filler, self.assigner),
            7: (asked.value(7) or "", asked.value(7, comp=2) or ""),
            11: ("", "", "", booking.start, booking.end),
            16: ("OCS",),
            20: ("OCS",),
            25: booking.status,
        }
        person: Fields = {1: "1", 3: list(numbers), 5: names, 7: pid.value(7) or "", 8: pid.value(8) or ""}
        return event, [("SCH", sch), ("PID", person), ("PV1", {1: "1", 2: "O"}), ("RGS", {1: "1"})]
