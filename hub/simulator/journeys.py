"""Patient journeys of the simulated hospital: what its OCS says about each patient, step by step, as HL7 v2 segments.

    for step in journeys(patients=20, seed=7):
        sender.put((step.event, step.segments), step.at)

A journey begins with a registration or a booking and then takes turns: visits, admissions, transfers, corrections, a
cancellation, a merge of a second number. All names are made up and no registration number is a real one (month 13). The
same seed gives the same journeys; steps of different patients alternate, those of one patient are in order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hub.codecs.hl7v2.writer import Field, Fields, Repetition

SEOUL = ZoneInfo("Asia/Seoul")
Segments = list[tuple[str, Fields]]

FAMILY = ("김", "이", "박", "최", "정", "강", "조", "윤", "장", "임", "한", "남궁", "황보", "선우")
GIVEN = ("길동", "민준", "서연", "도윤", "하은", "지호", "수아", "예준", "똠방", "펲시", "뷁", "채원", "영희", "철수")
ROMAN = {"김": "KIM", "이": "LEE", "박": "PARK", "최": "CHOI", "정": "JUNG", "남궁": "NAMGUNG"}
STREETS = ("테헤란로", "강남대로", "세종대로", "올림픽로", "한강대로")
DOCTORS = (("D001", "이", "서준"), ("D002", "박", "지민"), ("D003", "최", "하준"), ("D004", "정", "유나"))
DEPARTMENTS = (("IM", "OPD^101"), ("OS", "OPD^203"), ("DER", "OPD^305"), ("OBGY", "OPD^402"))
COMPLAINTS = ("정기 검진", "급성 비인두염", "요통", "피부 발진", "건강 검진 상담")


@dataclass(frozen=True, slots=True)
class Step:
    """One message to send. `patient`: the number in the OCS; `about`: what happens, for people, without names; `at`: MSH-7."""

    event: str
    segments: Segments
    patient: str
    about: str
    at: str = ""


@dataclass(slots=True)
class Person:
    """A made-up patient."""

    number: str
    family: str
    given: str
    born: str
    sex: str
    phone: str
    street: str
    doctor: tuple[str, str, str]
    department: tuple[str, str]
    visit: str = ""
    spouse: str = ""

    def pid(self, number: str = "") -> Fields:
        names: list[Repetition] = [(self.family, self.given, "", "", "", "", "L", "I")]
        if self.family in ROMAN:
            names.append((ROMAN[self.family], "GILDONG", "", "", "", "", "L", "A"))
        numbers: list[Repetition] = [(number or self.number, "", "", "HOSP", "MR")]
        return {
            1: "1", 3: numbers, 5: names, 7: self.born, 8: self.sex,
            11: [(self.street, "", "서울특별시", "", "06236", "KR", "H")],
            13: [("", "PRN", "CP", "", "82", "10", self.phone)],
            19: f"{self.born[2:4]}13{self.born[6:8]}-{'1' if self.sex == 'M' else '2'}000000",  # month 13: nobody's
        }  # fmt: skip

    def pv1(self, kind: str, at: datetime, location: str = "") -> Fields:
        place: Repetition = tuple((location or self.department[1]).split("^"))
        fields: dict[int, Field] = {
            1: "1", 2: kind, 3: place, 7: self.doctor, 10: self.department[0], 17: self.doctor,
            19: self.visit, 44: _time(at),
        }  # fmt: skip
        return fields


Turn = Callable[["Journey"], Iterator[Step]]


class Journey:
    """One patient's way through the hospital; iterate over it for its steps."""

    def __init__(self, at: int, seed: int, begin: datetime) -> None:
        self.rnd = random.Random(f"{seed}/{at}")
        self.at, self.now = at, begin + timedelta(minutes=at)
        rnd = self.rnd
        self.person = Person(
            number=f"{seed % 100:02d}{at:06d}",
            family=rnd.choice(FAMILY),
            given=rnd.choice(GIVEN),
            born=f"19{rnd.randrange(40, 99)}{rnd.randrange(1, 13):02d}{rnd.randrange(1, 29):02d}",
            sex=rnd.choice("MF"),
            phone=f"{rnd.randrange(10**8):08d}",
            street=f"{rnd.choice(STREETS)} {rnd.randrange(1, 500)}",
            doctor=rnd.choice(DOCTORS),
            department=rnd.choice(DEPARTMENTS),
        )
        self._visits = 0

    def __iter__(self) -> Iterator[Step]:
        turns: tuple[Turn, ...] = (Journey.outpatient, Journey.inpatient, Journey.booked, Journey.corrected, Journey.cancelled)
        yield from turns[self.at % len(turns)](self)
        if self.at % 7 == 3:
            yield from self.merged()

    # ---- the turns -----------------------------------------------------------------------------------------------------

    def outpatient(self) -> Iterator[Step]:
        """Registered, treated, gone; next of kin and insurance told."""
        yield self._visit_step("ADT^A04", "O", "registered as an outpatient")
        yield self._visit_step("ADT^A08", "O", "seen by the doctor")
        yield self._visit_step("ADT^A03", "O", "gone home")

    def inpatient(self) -> Iterator[Step]:
        """Admitted, moved to another ward, discharged."""
        yield self._visit_step("ADT^A01", "I", "admitted", location="W5^501^1")
        yield self._visit_step("ADT^A02", "I", "moved to another ward", location="W7^702^2")
        yield self._visit_step("ADT^A03", "I", "discharged", location="W7^702^2")

    def booked(self) -> Iterator[Step]:
        """Booked, moved to another day, came."""
        day = self.now + timedelta(days=7)
        yield self._booking("SIU^S12", day, "booked")
        yield self._booking("SIU^S13", day + timedelta(days=1), "moved to another day")
        yield self._visit_step("ADT^A04", "O", "came to the appointment")

    def corrected(self) -> Iterator[Step]:
        """Registered with a wrong birth date and phone, then put right."""
        right, self.person.born = self.person.born, "19000101"
        yield self._visit_step("ADT^A04", "O", "registered in a hurry")
        self.person.born, self.person.phone = right, f"{self.rnd.randrange(10**8):08d}"
        yield self._person_step("ADT^A08", "birth date and phone put right")
        yield self._person_step("ADT^A31", "address confirmed")

    def cancelled(self) -> Iterator[Step]:
        """Booked and called off; admitted by mistake and taken back."""
        day = self.now + timedelta(days=3)
        yield self._booking("SIU^S12", day, "booked")
        yield self._booking("SIU^S15", day, "called off")
        yield self._visit_step("ADT^A01", "I", "admitted by mistake", location="W5^502^1")
        yield self._visit_step("ADT^A11", "I", "admission taken back", location="W5^502^1", again=True)

    def merged(self) -> Iterator[Step]:
        """A second number was given out at the night desk, and the two are found to be one person."""
        survivor = self.person.number
        self.person.number = f"9{survivor[1:]}"
        yield self._visit_step("ADT^A04", "E", "registered again at the night desk", location="ER^1")
        second, self.person.number = self.person.number, survivor
        mrg: Fields = {1: [(second, "", "", "HOSP", "MR")]}
        yield self._step("ADT^A40", [("PID", self.person.pid()), ("MRG", mrg)], "two numbers are one person")

    # ---- messages ------------------------------------------------------------------------------------------------------

    def _step(self, event: str, segments: Segments, about: str) -> Step:
        self.now += timedelta(minutes=self.rnd.randrange(5, 40))
        head: Segments = [] if event.startswith("SIU") else [("EVN", {1: event[4:], 2: _time(self.now)})]
        return Step(event, head + segments, self.person.number, about, _time(self.now))

    def _person_step(self, event: str, about: str) -> Step:
        return self._step(event, [("PID", self.person.pid()), ("PV1", {1: "1", 2: "N"})], about)

    def _visit_step(self, event: str, kind: str, about: str, *, location: str = "", again: bool = False) -> Step:
        if event in ("ADT^A01", "ADT^A04") and not again:
            self._visits += 1
            self.person.visit = f"V{self.person.number}-{self._visits:03d}"
        visit = dict(self.person.pv1(kind, self.now, location))
        if event == "ADT^A03":
            visit[45] = _time(self.now + timedelta(minutes=30))
        segments: Segments = [("PID", self.person.pid())]
        if event in ("ADT^A01", "ADT^A04"):
            kin: Fields = {1: "1", 2: (self.person.family, "영자"), 3: "SPO", 5: [("", "PRN", "CP", "", "82", "10", "00000000")]}
            segments.append(("NK1", kin))
        segments.append(("PV1", visit))
        if event == "ADT^A04":
            segments.append(("IN1", {1: "1", 2: "4", 3: "NHIS", 4: "국민건강보험공단"}))
        return self._step(event, segments, about)

    def _booking(self, event: str, start: datetime, about: str) -> Step:
        number = f"A{self.person.number}"
        begin, end = _time(start), _time(start + timedelta(minutes=30))
        sch: Fields = {
            1: (f"P{self.person.number}", "OCS"), 2: (number, "HOSP"), 6: ("", self.rnd.choice(COMPLAINTS)), 9: "30", 10: "min",
            11: ("", "", "", begin, end), 16: self.person.doctor, 20: ("U001", "원", "무"),
            25: "Cancelled" if event == "SIU^S15" else "Booked",
        }  # fmt: skip
        segments: Segments = [
            ("SCH", sch),
            ("PID", self.person.pid()),
            ("PV1", {1: "1", 2: "O", 10: self.person.department[0]}),
            ("RGS", {1: "1"}),
            ("AIP", {1: "1", 3: self.person.doctor, 4: "PERFORMER"}),
        ]
        return self._step(event, segments, about)


def journeys(*, patients: int, seed: int = 1, begin: datetime | None = None) -> Iterator[Step]:
    """The steps of `patients` journeys: round after round, one step of each patient that has one left."""
    start = begin or datetime.now(SEOUL).replace(second=0, microsecond=0) - timedelta(days=1)
    running = [iter(Journey(at, seed, start)) for at in range(patients)]
    while running:
        for journey in list(running):
            step = next(journey, None)
            if step is None:
                running.remove(journey)
            else:
                yield step


def poison(number: str = "99999999") -> Step:
    """A message that reads but that no map can apply: a registration without any patient number."""
    pid: Fields = {1: "1", 5: [("무", "번호")]}
    segments: Segments = [("EVN", {1: "A04"}), ("PID", pid), ("PV1", {1: "1", 2: "O", 19: f"V{number}"})]
    return Step("ADT^A04", segments, "", "no patient number: dead, for a person")


def _time(at: datetime) -> str:
    return at.strftime("%Y%m%d%H%M%S%z")
