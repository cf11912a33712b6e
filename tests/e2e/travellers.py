"""Patients on their way through all four systems: each step taken, and how long until the CRM had heard of it."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydicom import Dataset

from hub.codecs.hl7v2.writer import Fields
from hub.simulator.crm import CrmPeer, Event
from tests.e2e.back_office import BackOffice
from tests.e2e.doors import Hospital
from tests.e2e.guests import DOCTOR, Guest, Segments, stamp
from tests.e2e.truths import kinds

PATIENCE = 120.0  # seconds until the CRM must have heard of a step
STATION = "CT01"  # the modality's AE title
CT = ("CT0101", "흉부 CT 뷁", "OCS")
LOOK = 0.05  # seconds between two looks
TOLD = Counter({
    "Encounter": 1, "Appointment": 1, "ServiceRequest": 1, "ImagingStudy": 1, "DiagnosticReport": 1, "Invoice": 2, "Payment": 1,
})  # fmt: skip
LEGS_IN = {
    "ocs-in",
    "ocs-visits",
    "ocs-bookings",
    "ocs-phones",
    "emr-pull",
    "pacs-studies",
    "pacs-listener",
    "pacs-reports",
    "erp-partners",
}
LEGS_OUT = {
    ("emr-fhir", "patient.created"), ("erp", "patient.created"), ("pacs-orders", "servicerequest.created"),
    *(("crm-webhook", f"{kind.lower()}.created") for kind in ("Patient", "ChargeItem", *TOLD)),
}  # fmt: skip
Test = Callable[[Event], bool]


class Heard:
    """What the CRM was told, by patient number. Thread-safe."""

    def __init__(self, crm: CrmPeer) -> None:
        self._crm, self._read, self._lock = crm, 0, threading.Lock()
        self._ids: dict[str, str] = {}
        self._events: dict[str, list[Event]] = defaultdict(list)

    def of(self, number: str) -> list[Event]:
        """All events of who bears that number, in order of arrival."""
        with self._lock:
            fresh = self._crm.received[self._read :]
            self._read += len(fresh)
            for event in fresh:
                self._events[event.data.get("patientId") or ""].append(event)
                if event.data.get("kind") == "Patient":
                    self._ids |= {one["value"]: event.data["id"] for one in event.data["resource"].get("identifier", ())}
            id_ = self._ids.get(number)
            return list(self._events[id_]) if id_ else []


class Traveller(Guest):
    """One patient. `took`: step -> seconds until the CRM's webhook came."""

    def __init__(self, at: int, base: int, house: Hospital, back: BackOffice, heard: Heard) -> None:
        super().__init__(at, base)
        self.house, self.back, self.heard = house, back, heard
        self.took: dict[str, float] = {}
        self.item = Dataset()  # of the worklist
        self.placer, self.won = f"P{self.number}", 15_000 + at
        self.certificate, self.fee = f"7{base + at:08}", 3_000 + at
        self.bill, self.money = f"9{base + at:08}", f"1{base + at:08}"

    def travel(self) -> None:
        """All of it, each step when the CRM has heard of the one before."""
        self.step("registered", self.comes, told("Encounter", lambda one: bool(one.get("visitKind"))), told("Appointment"))
        self.wait(lambda: self.house.emr_patients(self.number), "the EMR has him")
        self.step("charted", lambda: self.charted(self.house), told("AllergyIntolerance"), told("Coverage"))
        self.wait(lambda: self.back.partners(self.number), "SAP has him")
        self.step("ordered", self.sent_to_imaging, told("ServiceRequest"))
        self.wait(lambda: self.back.order_of(self.number), "the PACS has the order")
        self.wait(self.on_the_worklist, "the modality has it on its worklist")
        self.step(
            "imaged",
            self.imaged,
            told("ImagingStudy", lambda one: one.get("state") == "completed" and "numberOfInstances" in one),
        )
        self.step("certified", lambda: self.back.foundation.bill(self.certificate, self.number, self.fee), told("Invoice"))
        self.step("reported", self.read, told("DiagnosticReport"))
        self.step("billed", self.billed, told("Invoice"))
        self.step("paid", self.paid, told("Payment"), told("Invoice", lambda one: one.get("status") == "balanced"))

    # -- what happens ---------------------------------------------------------------------------------------------------

    def comes(self) -> None:
        """At the reception: the OCS says so by message and in its tables."""
        for say in (self.registered, self.booked_by_message, self.received, self.phoned, self.booked_in_table):
            say(self.house)

    def sent_to_imaging(self) -> None:
        """The OCS orders a CT. To every second one it gives accession number and study UID itself; else the hub does."""
        procedure: Fields = {5: ("CT", "", "DCM"), 9: STATION}
        if self.at % 2:
            procedure |= {
                1: (f"AC{self.number}",),
                2: (f"RP{self.number}",),
                3: (f"1.2.410.9.{self.number}",),
                4: (f"SP{self.number}",),
            }
        start = stamp(self.placed + timedelta(minutes=20))
        number = (self.placer, "OCS")
        segments: Segments = [
            ("PID", self.person.pid()), ("PV1", self.person.pv1("O", self.came)),
            ("ORC", {1: "NW", 2: number, 5: "SC", 9: stamp(self.placed), 12: DOCTOR}), ("TQ1", {1: "1", 7: start, 9: "R"}),
            ("OBR", {1: "1", 2: number, 4: CT, 16: DOCTOR}), ("IPC", procedure),
        ]  # fmt: skip
        self.house.ocs.put(("OMI^O23", segments))

    def imaged(self) -> None:
        """The modality does what its worklist says: it begins, stores two images, and is done."""
        modality = self.back.modality
        images = modality.images(self.item, self.placed, CT[1])
        step = modality.begin(self.item, self.placed)
        modality.store(images)
        modality.end(step, images, self.placed + timedelta(minutes=5))

    def on_the_worklist(self) -> bool:
        """One item, which says who he is and what to take; it stays on the list until it is done."""
        found = self.back.modality.scheduled(self.number)
        assert len(found) < 2, f"{len(found)} items for one order"
        for item in found:
            self.item = item
            assert self.name in str(item.PatientName).replace("^", ""), "a name that is not his"
        return bool(found)

    def billed(self) -> None:
        [customer] = self.back.partners(self.number)
        self.back.bill(self.bill, customer, self.won, self.came)

    def paid(self) -> None:
        [customer] = self.back.partners(self.number)
        self.back.pay(self.bill, self.money, customer, self.won, self.came)

    def read(self) -> None:
        """The radiologist's report, under the order's numbers."""
        order = self.back.order_of(self.number)
        assert order is not None
        request: Fields = {
            1: "1", 2: (self.placer, "OCS"), 3: (f"RR{self.number}", "PACS"), 4: CT,
            7: stamp(self.placed), 18: order.accession, 22: stamp(self.reported), 24: "RAD", 25: "F", 32: "R01",
        }  # fmt: skip
        finding: Fields = {1: "1", 2: "TX", 3: ("GDT", "판독", "L"), 5: "특이 소견 없음 (똠방각하)", 11: "F"}
        segments: Segments = [
            ("PID", self.person.pid()), ("ORC", {1: "RE", 2: (self.placer, "OCS")}), ("OBR", request), ("OBX", finding),
        ]  # fmt: skip
        self.back.radiologist.put(("ORU^R01", segments))

    # -- and is there in the end ----------------------------------------------------------------------------------------

    def arrived(self) -> None:
        """What a CRM developer sees: one patient, each thing once, with its numbers and its money."""
        patient = self.house.patient(self.number)
        assert patient is not None
        assert patient["resource"]["name"][0]["text"] == self.name
        assert [one["value"] for one in patient["resource"]["telecom"]] == [self.e164]
        timeline = self.house.timeline(self.number)
        assert kinds(timeline) == TOLD, (self.number, kinds(timeline))
        found = {one["kind"]: one for one in timeline}
        said = {kind: one["resource"] for kind, one in found.items()}
        order, study, report = said["ServiceRequest"], said["ImagingStudy"], said["DiagnosticReport"]
        assert (order["code"]["display"], order["modality"], order["category"]) == (CT[1], "CT", "imaging")
        assert (
            study["basedOn"]["reference"] == report["basedOn"]["reference"] == f"ServiceRequest/{found['ServiceRequest']['id']}"
        )
        assert (study["status"], study["modality"], study["description"]) == ("available", ["CT"], "흉부 CT 뷁")
        assert (study["state"], study["numberOfSeries"], study["numberOfInstances"]) == ("completed", 1, 2)
        assert [(one["modality"], one["description"], one["station"]) for one in study["series"]] == [("CT", "조영 전", "CT01")]
        assert order["state"] == "completed"
        assert report["status"] == "final"
        self.money_is_right(timeline)

    def money_is_right(self, timeline: list[dict[str, Any]]) -> None:
        """Two bills to the won, the hospital's paid and the foundation's open; one payment, of the bill that it pays."""
        bills = {one["resource"]["total"]["value"]: one for one in timeline if one["kind"] == "Invoice"}
        [payment] = [one["resource"] for one in timeline if one["kind"] == "Payment"]
        assert bills.keys() == {str(self.won), str(self.fee)}
        assert {value: one["resource"]["status"] for value, one in bills.items()} == {
            str(self.won): "balanced",
            str(self.fee): "issued",
        }
        assert {one["resource"]["total"]["currency"] for one in bills.values()} == {"KRW"}
        assert payment["amount"] == {"value": str(self.won), "currency": "KRW"}
        assert payment["invoice"]["reference"] == f"Invoice/{bills[str(self.won)]['id']}"

    def messages(self, direction: str) -> list[dict[str, Any]]:
        """Those that came for one of his numbers, or that went out about him."""
        asked = {"patient": self.number, "direction": direction, "limit": 500}
        return list(self.house.admin.post("/api/v1/messages/search", asked).data["items"])

    def tells_its_story(self) -> None:
        """Every leg of his journey is in the story of a message: what came of it, and who was told."""
        gone = [self._story(one["id"]) for one in self.messages("out")]
        assert {(one["channel"], one["type"]) for one in gone} >= LEGS_OUT, [(one["channel"], one["type"]) for one in gone]
        assert all(one["outcome"] == "delivered" for one in gone)
        causes = {one["carries"]["messageId"] for one in gone} | {one["id"] for one in self.messages("in")}
        came = [self._story(id_) for id_ in causes]
        assert {one["channel"] for one in came} >= LEGS_IN, LEGS_IN - {one["channel"] for one in came}
        for one in came:
            assert one["state"] == "done", one
            assert all(told["state"] == "confirmed" for told in one["deliveries"]), one["deliveries"]
            if one["changes"]:
                assert "crm-webhook" in {told["target"] for told in one["deliveries"]}, one

    def _story(self, message_id: int) -> dict[str, Any]:
        return dict(self.house.admin.get(f"/api/v1/messages/{message_id}"))

    # -- and is waited for ----------------------------------------------------------------------------------------------

    def step(self, name: str, act: Callable[[], Any], *tests: Test) -> None:
        """`act`, then wait until the CRM was told what the tests ask for; the last of them counts."""
        known = len(self.heard.of(self.number))
        began = time.time()
        act()
        came: dict[int, float] = {}

        def all_came() -> bool:
            for event in self.heard.of(self.number)[known:]:
                for n, test in enumerate(tests):
                    if n not in came and test(event):
                        came[n] = event.at
            return len(came) == len(tests)

        self.wait(all_came, f"the CRM hears that he is {name}")
        self.took[name] = max(came.values()) - began

    def wait(self, what: Callable[[], Any], name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not what():
            if time.monotonic() > deadline:
                kinds = [f"{one.type} v{one.data.get('version')}" for one in self.heard.of(self.number)]
                raise AssertionError(
                    f"patient {self.at}: it did not come to pass: {name}; the CRM heard {kinds}\n{self.house.last_words()}"
                )
            time.sleep(LOOK)


def told(kind: str, what: Callable[[dict[str, Any]], bool] = lambda _: True) -> Test:
    """An event of a resource of this kind, which is as `what` wants it."""
    return lambda event: event.data.get("kind") == kind and what(event.data["resource"])
