"""A journey that needs all four systems, message by message: ordered by the OCS, charted by the EMR, reported by the PACS.

What modality, archive and SAP do for it stands in modality.py, pacs.py and sap_books.py; numbers are made of the patient's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hub.codecs.hl7v2.writer import Fields
from hub.simulator.journeys import SEOUL, Person, Segments, Step

STATION = "CT1"  # the modality's AE title
CT = ("HA201", "흉부 CT", "EDI")
FINDING = "특이 소견 없음 (똠방각하)"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
COUGH = ("R05", "기침")


@dataclass(frozen=True, slots=True)
class Traveller:
    """A patient who is imaged."""

    person: Person

    @property
    def number(self) -> str:
        return self.person.number

    @property
    def name(self) -> str:
        return f"{self.person.family}{self.person.given}"

    @property
    def placer(self) -> str:
        return f"ORD{self.number}"

    @property
    def accession(self) -> str:
        return f"A{self.number}"

    def registered(self) -> Step:
        """The OCS: a visit begins."""
        now = datetime.now(SEOUL)
        self.person.visit = f"V{self.number}-1"
        segments: Segments = [
            ("EVN", {1: "A04", 2: _stamp(now)}), ("PID", self.person.pid()), ("PV1", self.person.pv1("O", now)),
        ]  # fmt: skip
        return Step("ADT^A04", segments, self.number, "registered")

    def ordered(self) -> Step:
        """The OCS: a CT in half an hour, under an accession number; the hub gives the study its UID."""
        now, number = datetime.now(SEOUL), (self.placer, "OCS")
        common: Fields = {1: "NW", 2: number, 5: "SC", 9: _stamp(now), 12: self.person.doctor}
        request: Fields = {1: "1", 2: number, 4: CT, 16: self.person.doctor, 31: [(*COUGH, "KCD")]}
        procedure: Fields = {
            1: (self.accession,),
            2: (self.accession,),
            3: "",
            4: (self.accession,),
            5: ("CT", "", "DCM"),
            9: STATION,
        }
        segments: Segments = [
            ("PID", self.person.pid()), ("PV1", self.person.pv1("O", now)), ("ORC", common),
            ("TQ1", {1: "1", 7: _stamp(now + timedelta(minutes=30)), 9: "R"}), ("OBR", request), ("IPC", procedure),
        ]  # fmt: skip
        return Step("OMI^O23", segments, self.number, "a CT is ordered")

    def charted(self, system: str) -> dict[str, Any]:
        """The EMR: a diagnosis, as a FHIR transaction that names the patient by his number. `system`: of patient numbers."""
        condition = {
            "resourceType": "Condition", "id": f"dx-{self.number}",
            "clinicalStatus": {"coding": [{"system": f"{TERMINOLOGY}/condition-clinical", "code": "active"}]},
            "code": {"coding": [{"system": "urn:oid:1.2.410.100110.40.2.2.1", "code": COUGH[0], "display": COUGH[1]}]},
            "subject": {"identifier": {"system": system, "value": self.number}},
            "recordedDate": f"{datetime.now(SEOUL):%Y-%m-%d}",
        }  # fmt: skip
        entry = {"resource": condition, "request": {"method": "PUT", "url": f"Condition/dx-{self.number}"}}
        return {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}

    def reported(self) -> Step:
        """The PACS: what the radiologist read."""
        now, number, report = datetime.now(SEOUL), (self.placer, "OCS"), (f"R{self.number}", "PACS")
        request: Fields = {
            1: "1", 2: number, 3: report, 4: CT, 7: _stamp(now), 18: self.accession, 22: _stamp(now), 24: "RAD", 25: "F",
        }  # fmt: skip
        finding: Fields = {1: "1", 2: "TX", 3: ("59776-5", "판독 소견", "LN"), 5: FINDING, 11: "F"}
        segments: Segments = [
            ("PID", self.person.pid()), ("ORC", {1: "RE", 2: number, 3: report}), ("OBR", request), ("OBX", finding),
        ]  # fmt: skip
        return Step("ORU^R01", segments, self.number, "reported")

    def header(self) -> dict[str, str]:
        """Patient and study as a modality writes them into every instance, from the item of its worklist."""
        person = self.person
        return {
            "PatientName": f"{person.family}^{person.given}", "PatientID": self.number, "PatientBirthDate": person.born,
            "PatientSex": person.sex, "AccessionNumber": self.accession, "StudyDescription": CT[1],
            "SeriesDescription": "조영 전",
        }  # fmt: skip

    def archived(self, study: str) -> Mapping[str, str]:
        """The study as the PACS holds it (keywords of C-FIND)."""
        header = {key: value for key, value in self.header().items() if key != "SeriesDescription"}
        now = datetime.now(SEOUL)
        return header | {
            "StudyInstanceUID": study, "StudyDate": f"{now:%Y%m%d}", "StudyTime": f"{now:%H%M%S}", "ModalitiesInStudy": "CT",
            "NumberOfStudyRelatedSeries": "1", "NumberOfStudyRelatedInstances": "2",
        }  # fmt: skip


def _stamp(at: datetime) -> str:
    return at.strftime("%Y%m%d%H%M%S%z")
