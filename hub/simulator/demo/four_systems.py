"""The act of all four systems: patients are registered, charted, ordered for, imaged, reported, billed and pay.

Each step is taken by the system that takes it in a hospital, through its own protocol, and the clock runs until the CRM has its
webhook. The next step is taken when the CRM has heard of this one of everybody.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hub.simulator.crm import Event
from hub.simulator.demo import scenes
from hub.simulator.demo.api import Api
from hub.simulator.demo.house import EMR_SYSTEM, House
from hub.simulator.demo.verdict import Verdict, wait
from hub.simulator.imaging import CT, Traveller
from hub.simulator.journeys import Step
from hub.simulator.modality import instance, new_uid, step_begun, step_ended

SECONDS = 1.0  # within which the CRM is to know
PATIENCE = 15.0  # seconds until a step counts as lost
WON = 45_000


@dataclass(slots=True)
class Leg:
    """One step of all travellers. `took`: seconds until `who` knew, one a traveller; `late`: who was never heard of."""

    step: str
    system: str
    protocol: str
    who: str = "CRM"
    took: list[float] = field(default_factory=list)
    late: int = 0

    def shown(self) -> dict[str, Any]:
        """For the summary."""
        return {
            "step": self.step, "system": self.system, "protocol": self.protocol, "who": self.who, "patients": len(self.took),
            "median": round(statistics.median(self.took), 2) if self.took else None,
            "slowest": round(max(self.took), 2) if self.took else None,
        }  # fmt: skip


class FourSystems:
    """Plays in a started house in which nothing moves."""

    def __init__(self, house: House, verdict: Verdict) -> None:
        self.house, self.verdict = house, verdict
        self.travellers = [Traveller(one) for one in scenes.TRAVELLERS]
        self.legs: list[Leg] = []
        self._emr = Api(house.url, house.sender)
        self._studies: dict[str, str] = {}  # patient number -> study UID, off the worklist
        self._steps: dict[str, str] = {}  # patient number -> UID of the performed step
        self._bills: dict[str, str] = {}

    def play(self) -> None:
        """All steps; what each system holds in the end; the figures."""
        office, ocs = self.house.office, next(iter(self.house.desks.values()))

        def put(step: Step) -> None:
            ocs.put((step.event, step.segments), step.at)

        self._leg("registered", "OCS", "HL7 v2 ADT^A04, MLLP", lambda one: put(one.registered()), _is("Encounter"))
        self._leg("charted", "EMR", "FHIR R4 transaction", self._chart, _is("Condition"))
        known = lambda: all(office.books.knows(one.number) for one in self.travellers)  # noqa: E731
        self.verdict.until("SAP has every patient as a customer", known)
        self._leg("ordered", "OCS", "HL7 v2 OMI^O23, MLLP", lambda one: put(one.ordered()), _is("ServiceRequest"))
        self._worklist()
        self._image()
        self._leg("reported", "PACS", "HL7 v2 ORU^R01, MLLP", lambda one: self._read(one.reported()), _is("DiagnosticReport"))
        self._leg("billed", "ERP", "OData V2, billing document", self._bill, _is("Invoice"))
        self._leg("paid", "ERP", "OData V2, cleared item", self._pay, _is("Payment"))
        self._in_the_end()
        self._figures()

    # ---- steps ---------------------------------------------------------------------------------------------------------

    def _chart(self, one: Traveller) -> None:
        self._emr.post("/fhir/R4", one.charted(EMR_SYSTEM))

    def _read(self, step: Step) -> None:
        self.house.office.radiologist.put((step.event, step.segments), step.at)

    def _bill(self, one: Traveller) -> None:
        self._bills[one.number] = self.house.office.books.bill(one.number, WON, CT[1])

    def _pay(self, one: Traveller) -> None:
        self.house.office.books.pay(self._bills[one.number])

    def _worklist(self) -> None:
        """The CT asks until every order is on its list, of which the CRM hears nothing; the PACS's own desk has them, too."""
        office = self.house.office
        leg = Leg("on the worklist", "PACS", "DICOM worklist, asked by the CT", who="CT")
        began = time.time()
        missing = {one.number for one in self.travellers}
        with office.modality(office.worklist) as modality:
            while missing and time.time() < began + PATIENCE:
                for row in modality.worklist(Modality="CT"):
                    if row["PatientID"] in missing:
                        missing.discard(str(row["PatientID"]))
                        leg.took.append(time.time() - began)
                        self._studies[str(row["PatientID"])] = str(row["StudyInstanceUID"])
        leg.late = len(missing)
        self.legs.append(leg)
        self.verdict.equal("every order is on the modality's worklist", leg.late, 0)
        ordered = lambda: all(one.accession in office.desk.orders for one in self.travellers)  # noqa: E731
        self.verdict.until("the PACS's order desk has every order", ordered)

    def _image(self) -> None:
        """MPPS begins, two instances a series, MPPS ends; then the archive answers for the study."""
        office = self.house.office
        with office.modality(office.dicom) as modality:

            def begin(one: Traveller) -> None:
                self._steps[one.number] = new_uid()
                begun = step_begun(one.header(), self._studies[one.number], one.accession)
                modality.create_step(begun, self._steps[one.number])

            def store(one: Traveller) -> None:
                for number in (1, 2):
                    modality.store(instance(one.header(), self._studies[one.number], number=number))

            def end(one: Traveller) -> None:
                modality.set_step(step_ended(self._studies[one.number]), self._steps[one.number])

            self._leg("examination begun", "PACS", "DICOM MPPS", begin, _is("ImagingStudy", state="in-progress"))
            self._leg("images taken", "PACS", "DICOM C-STORE, header only", store, _has("ImagingStudy", "series"))
            self._leg("examination done", "PACS", "DICOM MPPS", end, _is("ImagingStudy", state="completed"))
        archive = lambda one: office.archive.tell(one.archived(self._studies[one.number]))  # noqa: E731
        self._leg("archived", "PACS", "DICOM C-FIND, asked by the hub", archive, _has("ImagingStudy", "numberOfInstances"))

    # ---- the clock -----------------------------------------------------------------------------------------------------

    def _leg(
        self, step: str, system: str, protocol: str, act: Callable[[Traveller], object], heard: Callable[[Event], bool]
    ) -> None:
        leg, said, seen = Leg(step, system, protocol), dict[str, float](), len(self.house.crm.received)
        for one in self.travellers:
            said[one.number] = time.time()
            act(one)
        known: dict[str, float] = {}

        def all_heard() -> bool:
            owners = self._owners()
            for event in self.house.crm.received[seen:]:
                number = owners.get(str(event.data.get("patientId") or event.data.get("id")))
                if number in said and heard(event):
                    known.setdefault(number, event.at)
            return len(known) == len(said)

        wait(all_heard, PATIENCE, 0.02)
        leg.took = [known[number] - at for number, at in said.items() if number in known]
        leg.late = len(said) - len(known)
        self.legs.append(leg)
        self.verdict.equal(f"the CRM hears of everybody: {step}", leg.late, 0)

    def _owners(self) -> dict[str, str]:
        """Patient id -> number, as the CRM was told."""
        return {
            event.data["id"]: one["value"]
            for event in list(self.house.crm.received)
            if event.data.get("kind") == "Patient"
            for one in event.data["resource"].get("identifier", ())
            if one["assigner"] == "HOSP" and one.get("type") == "MR"
        }

    def _figures(self) -> None:
        """A machine that is busy with something else may hold up one in twenty."""
        took = sorted(seconds for leg in self.legs for seconds in leg.took if leg.who == "CRM")
        soon = sum(one <= SECONDS for one in took)
        late = [leg.step for leg in self.legs if leg.took and statistics.median(leg.took) > SECONDS]
        self.verdict.equal(f"of each step the CRM knows within {SECONDS:.0f} s", late, [])
        self.verdict.expect("nineteen of twenty are that soon", soon >= 0.95 * len(took) > 0, f"{soon} of {len(took)}")
        self.verdict.facts["four_systems"] = {
            "patients": len(self.travellers), "steps": [leg.shown() for leg in self.legs],
            "within_a_second": f"{soon} of {len(took)}", "median": round(statistics.median(took), 2) if took else None,
            "slowest": round(took[-1], 2) if took else None, "one_of_them": next(iter(self._owners_of(self.travellers[-1])), ""),
        }  # fmt: skip

    def _owners_of(self, one: Traveller) -> Iterator[str]:
        """His patient id."""
        return (patient for patient, number in self._owners().items() if number == one.number)

    # ---- what is there in the end --------------------------------------------------------------------------------------

    def _in_the_end(self) -> None:
        """One study of one order, read, billed and paid; nothing is on the worklist any more."""
        office = self.house.office
        with office.modality(office.worklist) as modality:
            there = {str(row["PatientID"]) for row in modality.worklist(Modality="CT")}
        self.verdict.equal("what was examined is off the worklist", len(there & self._studies.keys()), 0)
        wrong = [what for one in self.travellers for what in self._wrong(one)]
        self.verdict.equal("study, report, bill and payment are joined to order and patient", wrong, [])

    def _wrong(self, one: Traveller) -> Iterator[str]:
        """What is not as it was meant; no patient data."""
        latest: dict[str, dict[str, Any]] = {}
        owners = self._owners()
        for data in list(self.house.crm.latest.values()):
            if owners.get(str(data.get("patientId"))) == one.number:
                latest[str(data["kind"])] = data
        said = {kind: data["resource"] for kind, data in latest.items()}
        needed = ("ServiceRequest", "ImagingStudy", "DiagnosticReport", "Invoice", "Payment", "Condition")
        if any(kind not in said for kind in needed):
            yield "something is missing"
            return
        order, study = f"ServiceRequest/{latest['ServiceRequest']['id']}", said["ImagingStudy"]
        for kind in ("ImagingStudy", "DiagnosticReport"):
            if said[kind].get("basedOn", {}).get("reference") != order:
                yield f"{kind} does not know its order"
        if (study.get("status"), study.get("state"), study.get("description")) != ("available", "completed", CT[1]):
            yield f"study {study.get('status')} {study.get('state')}"
        won = {"value": f"{WON}", "currency": "KRW"}
        if (said["Invoice"].get("status"), said["Invoice"].get("total")) != ("balanced", won):
            yield f"invoice {said['Invoice'].get('status')} {said['Invoice'].get('total')}"
        if said["Payment"].get("amount") != won:
            yield f"payment {said['Payment'].get('amount')}"


def _is(kind: str, **values: str) -> Callable[[Event], bool]:
    """An event of that kind whose resource says so."""
    return lambda event: event.data.get("kind") == kind and all(event.data["resource"].get(k) == v for k, v in values.items())


def _has(kind: str, name: str) -> Callable[[Event], bool]:
    return lambda event: event.data.get("kind") == kind and bool(event.data["resource"].get(name))
