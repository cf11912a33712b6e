"""Patients of the hospital with every door, and what each of its systems says of them: the same people, told in parts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from hub.codecs.hl7v2.writer import Fields, Repetition
from hub.simulator.journeys import SEOUL, Person, Segments
from tests.e2e.doors import SYSTEM, Hospital

Saying = Callable[[Hospital], None]
NAMES = (("홍", "길동"), ("똠방", "각하"), ("펲시", "콜라"), ("뷁", "뷁"), ("남궁", "민수"), ("洪", "吉洞"))
DEPARTMENT, DOCTOR = "IM", ("D001", "이", "서준")


class Guest:
    """One patient. `number` is the hospital's; every other number is made of it."""

    def __init__(self, at: int, base: int) -> None:
        self.at, self.number = at, f"{base + at:08}"
        family, given = NAMES[at % len(NAMES)]
        self.name = family + given
        self.mobile = f"010-5{at % 1000:03}-{1000 + at}"
        self.e164 = "+82" + self.mobile.replace("-", "")[1:]
        phone = self.mobile.replace("-", "")[3:]
        self.person = Person(
            self.number,
            family,
            given,
            f"19{50 + at % 50}0{1 + at % 9}11",
            "MF"[at % 2],
            phone,
            "세종대로 110",
            DOCTOR,
            (DEPARTMENT, "OPD^101"),
        )
        self.visit, self.order, self.sample = f"V{self.number}", base % 100_000 + at, f"L{self.number}"
        self.booking, self.receipt = f"A{self.number}", f"R{self.number}"
        self.person.visit = self.visit
        self.came = datetime.now(SEOUL).replace(second=0, microsecond=0) - timedelta(hours=2)
        self.placed, self.reported = self.came + timedelta(minutes=10), self.came + timedelta(minutes=50)  # maybe of the next day
        self.booked = (self.came + timedelta(days=7)).replace(hour=10, minute=30)

    # -- what each system says -----------------------------------------------------------------------------------------

    def registered(self, house: Hospital) -> None:
        """MLLP: who it is, and that he came."""
        kin: Fields = {1: "1", 2: (self.person.family, "영자"), 3: "SPO", 5: [("", "PRN", "CP", "", "82", "10", "00000000")]}
        house.ocs.put(
            ("ADT^A04", [evn("A04"), ("PID", self.person.pid()), ("NK1", kin), ("PV1", self.person.pv1("O", self.came))])
        )

    def received(self, house: Hospital, state: str = "1") -> None:
        """The OCS's table: the same visit, with its state and kind, which HL7 does not say there."""
        house.maria(
            "OPD_RECEPT", RCPNO=self.visit, PANO=self.number, IOGBN="O", STAT=state, VISITKIND="1", RCPDATE=f"{self.came:%Y%m%d}",
            RCPTIME=f"{self.came:%H%M}", DEPT=DEPARTMENT, DRID=DOCTOR[0], DRNAME="".join(DOCTOR[1:]),
        )  # fmt: skip

    def ordered(self, house: Hospital) -> None:
        house.maria(
            "OCS_ORDER", ORDDATE=f"{self.placed:%Y%m%d}", ORDNO=self.order, PANO=self.number, RCPNO=self.visit, ORDCODE="L0101",
            ORDNAME="혈당 검사 뷁", ORDTIME=f"{self.placed:%H%M}", DEPT=DEPARTMENT, STAT="0",
        )  # fmt: skip

    def phoned(self, house: Hospital) -> None:
        """The OCS's table: his mobile number, as HL7 says it too."""
        house.maria("OPD_PATIENT", PANO=self.number, HPHONE=self.mobile)

    def diagnosed(self, house: Hospital) -> None:
        """The EMR's chart: a diagnosis of that visit."""
        sql = "INSERT INTO emr_diagnosis VALUES (%s, %s, %s, %s, %s, %s, %s)"
        house.pg(sql, f"D{self.number}", self.number, self.visit, "E11.9", "제2형 당뇨병(똠방각하)", self.came.date(), "Y")

    def operated(self, house: Hospital) -> None:
        at = (self.came + timedelta(minutes=30)).replace(tzinfo=None)
        sql = "INSERT INTO emr_surgery VALUES (%s, %s, %s, %s, %s, %s)"
        house.pg(sql, f"O{self.number}", self.number, self.visit, "S4761", "피부 절개", at)

    def booked_by_message(self, house: Hospital) -> None:
        """MLLP: the next appointment."""
        sch: Fields = {
            2: (self.booking, "HOSP"), 7: ("F", "당뇨 추적"), 9: "30", 10: "min", 16: DOCTOR, 20: ("U001", "원", "무"),
            25: "Booked", 11: ("", "", "", stamp(self.booked), stamp(self.booked + timedelta(minutes=30))),
        }  # fmt: skip
        visit: Fields = {1: "1", 2: "O", 10: DEPARTMENT}
        house.ocs.put(("SIU^S12", [("SCH", sch), ("PID", self.person.pid()), ("PV1", visit), ("RGS", {1: "1"})]))

    def booked_in_table(self, house: Hospital) -> None:
        """The OCS's table: the same booking."""
        house.maria(
            "OPD_RESERVE", RSVNO=self.booking, PANO=self.number, RSVDATE=f"{self.booked:%Y%m%d}", RSVTIME=f"{self.booked:%H%M}",
            DEPT=DEPARTMENT, STAT="예약",
        )  # fmt: skip

    def prescribed(self, house: Hospital) -> None:
        """The pharmacy by FHIR: a transaction that names patient and visit by their numbers."""
        prescription = {
            "resourceType": "MedicationRequest", "status": "active", "intent": "order",
            "identifier": [{"system": SYSTEM, "value": f"M{self.number}"}],
            "medicationCodeableConcept": {"text": "메트포르민(뷁)"},
            "subject": {"identifier": {"system": SYSTEM, "value": self.number}},
            "encounter": {"identifier": {"system": SYSTEM, "value": self.visit}},
            "authoredOn": (self.came + timedelta(minutes=40)).isoformat(),
        }  # fmt: skip
        entry = {
            "fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": prescription,
            "request": {"method": "POST", "url": "MedicationRequest"},
        }  # fmt: skip
        house.push({"resourceType": "Bundle", "type": "transaction", "entry": [entry]})

    def sayings(self) -> Iterator[Saying]:
        """Each by itself; in any order they tell the same."""
        yield from (
            self.registered, self.received, self.ordered, self.phoned, self.diagnosed, self.operated,
            self.booked_by_message, self.booked_in_table, self.prescribed,
        )  # fmt: skip

    def charted(self, house: Hospital) -> None:
        """The EMR by FHIR: the visit from its side, an allergy, the insurance; of the patient as the EMR has him."""
        [patient] = house.emr_patients(self.number)
        him = {"reference": f"Patient/{patient['id']}"}
        house.charted({
            "resourceType": "Encounter", "status": "in-progress", "identifier": [{"system": SYSTEM, "value": self.visit}],
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}, "subject": him,
            "reasonCode": [{"text": "갈증과 다뇨"}],
        })  # fmt: skip
        house.charted({
            "resourceType": "AllergyIntolerance", "patient": him, "code": {"text": "페니실린"}, "category": ["medication"],
            "criticality": "high",
        })  # fmt: skip
        house.charted({
            "resourceType": "Coverage", "status": "active", "beneficiary": him, "payor": [{"display": "국민건강보험공단"}],
            "subscriberId": f"S{self.number}",
        })  # fmt: skip

    def result(self) -> dict[str, Any]:
        """A line of the laboratory's file."""
        return {
            "LABNO": self.sample, "PANO": self.number, "RCPNO": self.visit, "ORDDATE": f"{self.placed:%Y%m%d}",
            "ORDNO": self.order, "PANEL": "L0101", "PANELNAME": "혈당 검사",
            "CODE": "GLU", "NAME": "혈당(펲시콜라)", "RESULT": str(100 + self.at),
            "UNIT": "mg/dL", "FLAG": "H", "RSTDATE": f"{self.reported:%Y%m%d}",
            "RSTTIME": f"{self.reported:%H%M}",
        }  # fmt: skip

    def payment(self) -> dict[str, Any]:
        """A line of the cashier's file."""
        paid = self.came + timedelta(minutes=60)
        return {
            "RCTNO": self.receipt, "PANO": self.number, "RCPNO": self.visit, "METHOD": "카드", "PAYDATE": f"{paid:%Y%m%d}",
            "PAYTIME": f"{paid:%H%M}", "AMOUNT": str(15_000 + self.at),
        }  # fmt: skip

    def told_again(self, house: Hospital, mobile: str) -> None:
        """MLLP: an A08 of his details, as an OCS sends it after every change of them, whoever made it."""
        pid = dict(self.person.pid())
        pid[13] = [("", "PRN", "CP", "", "82", "10", mobile.replace("-", "")[3:])]
        house.ocs.put(("ADT^A08", [evn("A08"), ("PID", pid), ("PV1", {1: "1", 2: "N"})]))

    def merged_into(self, house: Hospital, survivor: Guest) -> None:
        """MLLP: this number and the survivor's are one person."""
        prior: list[Repetition] = [(self.number, "", "", "HOSP", "MR")]
        house.ocs.put(("ADT^A40", [evn("A40"), ("PID", survivor.person.pid()), ("MRG", {1: prior})]))


def stamp(at: datetime) -> str:
    """As HL7 writes it, to the second."""
    return at.strftime("%Y%m%d%H%M%S%z")


def evn(trigger: str) -> tuple[str, Fields]:
    fields: Fields = {1: trigger, 2: stamp(datetime.now(SEOUL))}
    return "EVN", fields


def guests(count: int, base: int) -> list[Guest]:
    """As many patients, numbered from `base`."""
    return [Guest(at, base) for at in range(count)]


__all__ = ["Guest", "Saying", "Segments", "guests"]
