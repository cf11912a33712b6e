"""Order, study, series, performed steps and report, told in any order by whoever knows them: one of each, tied together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.bootstrap.channels import RowMapper
from hub.domain.ports import Received, Wanted
from hub.mapping import Context
from hub.sync.polled import row_body
from tests.hub_kit import Kit, adt, hl7, make_kit, pid, pv1

PACS = "".join(
    f'[channels.{name}]\nadapter = "ocs.hl7_in"\nsystem = "pacs"\nport = 0\n'
    for name in ("pacs-find", "pacs-store", "pacs-mpps", "pacs-hl7")
)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", more=PACS)
    inbound = dict(made.hub._inbound)
    for name in ("pacs-find", "pacs-store", "pacs-mpps"):
        inbound[name] = replace(inbound[name], mapper=RowMapper(made.hub.config.channels[name], made.hub.maps))
    made.hub._inbound = inbound
    yield made
    made.close()


_count = itertools.count(1)


def row(kit: Kit, channel: str, event: str, columns: dict[str, Any]) -> None:
    patient = kit.hub.maps.row_patient(event, columns, Context("HOSP", "pacs", "Asia/Seoul"))
    message = Received(channel, row_body(event, columns), "", f"R{next(_count)}", event, patient, None)
    message.answer_owed = False
    kit.intake.store([message])


class Examination:
    """One examination of one patient: what each system says of it."""

    def __init__(self, number: int) -> None:
        self.patient, self.accession, self.study = f"{number:08}", f"A{number}", f"1.2.840.99.{number}"
        self.who = {
            "PatientID": self.patient, "PatientName": "HONG^GILDONG", "PatientBirthDate": "19800101", "PatientSex": "M",
            "StudyInstanceUID": self.study, "AccessionNumber": self.accession, "StudyDate": "20261122", "StudyTime": "093000",
        }  # fmt: skip

    def order(self, kit: Kit) -> None:
        ipc = f"IPC|{self.accession}^RIS|RP1|{self.study}|SPS1|CT||CT01||CT01AE"
        kit.receive(
            hl7("OMI^O23", pid(self.patient), pv1(f"V{self.patient}"), f"ORC|NW|P{self.patient}||||||||||D1^이^의사",
                "TQ1|||||||20261122093000", f"OBR|1|P{self.patient}||X100^흉부 CT^LOCAL", ipc)
        )  # fmt: skip

    def found(self, kit: Kit) -> None:
        row(kit, "pacs-find", "dicom.study", self.who | {
            "ModalitiesInStudy": ["CT"], "NumberOfStudyRelatedSeries": "2", "NumberOfStudyRelatedInstances": "120",
            "StudyDescription": "흉부 CT",
        })  # fmt: skip

    def stored(self, kit: Kit) -> None:
        for number, modality in ((1, "CT"), (2, "SR"), (1, "CT")):
            row(kit, "pacs-store", "dicom.series", self.who | {
                "SeriesInstanceUID": f"{self.study}.{number}", "Modality": modality, "SeriesNumber": str(number),
                "StationName": "CT01",
            })  # fmt: skip

    def begun(self, kit: Kit) -> None:
        self.performed(kit, "IN PROGRESS")

    def performed(self, kit: Kit, *states: str) -> None:
        step = {"StudyInstanceUID": self.study, "AccessionNumber": self.accession, "ScheduledProcedureStepID": "SPS1"}
        for state in states or ("IN PROGRESS", "COMPLETED"):
            row(kit, "pacs-mpps", "dicom.mpps", {
                "SOPInstanceUID": f"{self.study}.9", "PatientID": self.patient, "PatientName": "HONG^GILDONG", "Modality": "CT",
                "PerformedProcedureStepStatus": state, "PerformedProcedureStepStartDate": "20261122",
                "PerformedProcedureStepStartTime": "092800", "ScheduledStepAttributesSequence": [step],
                "PerformedStationAETitle": "CT01AE", "PerformedSeriesSequence": [{"SeriesInstanceUID": f"{self.study}.1"}],
            })  # fmt: skip

    def reported(self, kit: Kit) -> None:
        obr = f"OBR|1||{self.patient}R|X100^흉부 CT^LOCAL|||20261122093000|||||||||||{self.accession}||||||CT|F"
        kit.receive(
            hl7("ORU^R01", pid(self.patient), obr, f"OBX|1|HD|113014^DICOM Study^DCM||{self.study}||||||F"), channel="pacs-hl7"
        )

    @property
    def acts(self) -> tuple[Any, ...]:
        return (self.order, self.found, self.stored, self.performed, self.reported)


def of(kit: Kit, number: str, kind: str) -> list[tuple[str, dict[str, Any]]]:
    sql = "SELECT id, data FROM resource WHERE kind = ? AND patient_id = ? AND status = 'active'"
    return [(str(id_), orjson.loads(data)) for id_, data in kit.rows(sql, kind, kit.patient_id(number))]


def picture(kit: Kit, one: Examination) -> dict[str, Any]:
    """What stands in the end, without ids; every reference is checked against what it names."""
    [(order_id, order)], [(study_id, study)] = of(kit, one.patient, "ServiceRequest"), of(kit, one.patient, "ImagingStudy")
    [(_, report)] = of(kit, one.patient, "DiagnosticReport")
    assert study["basedOn"].pop("reference") == report["basedOn"].pop("reference") == f"ServiceRequest/{order_id}"
    assert report["imagingStudy"].pop("reference") == f"ImagingStudy/{study_id}"
    patient = kit.patient(one.patient)
    for document in (order, study, report):
        document["identifier"].sort(key=lambda i: (i["assigner"], i["value"]))
    found = {
        "order": order,
        "study": study,
        "report": report,
        "patient": {n: patient[n] for n in ("name", "birthDate", "gender")},
    }
    text = orjson.dumps(found).decode().replace(one.patient, "P").replace(one.study, "U").replace(f'"{one.accession}"', '"A"')
    plain: dict[str, Any] = orjson.loads(text)
    return plain


def test_in_every_order_they_end_as_one(kit: Kit) -> None:
    pictures = []
    for number, turns in enumerate(itertools.permutations(range(5)), 1):
        one = Examination(number)
        for turn in turns:
            one.acts[turn](kit)
            kit.apply()
        pictures.append((turns, picture(kit, one)))
    assert kit.rows("SELECT DISTINCT state FROM work WHERE direction = 'in'") == []
    assert kit.rows("SELECT DISTINCT outcome FROM outcome o JOIN message m ON m.id = o.message_id WHERE m.direction = 'in'") == [
        ("applied",)
    ]
    _, first = pictures[0]
    for turns, other in pictures:
        assert other == first, turns
    study, order = first["study"], first["order"]
    assert (study["modality"], study["numberOfSeries"], study["numberOfInstances"]) == (["CT", "SR"], 2, 120)
    assert [(one["uid"], one["number"], one["station"]) for one in study["series"]] == [("U.1", 1, "CT01"), ("U.2", 2, "CT01")]
    assert (study["status"], study["state"], study["started"]) == ("available", "completed", "2026-11-22T09:30:00+09:00")
    assert (order["state"], order["category"], order["modality"], order["station"]) == ("completed", "imaging", "CT", "CT01AE")
    assert order["occurrence"] == "2026-11-22T09:30:00+09:00"
    assert first["patient"]["name"][0]["text"] == "홍길동"  # the OCS's, whatever the PACS wrote
    assert kit.rows("SELECT COUNT(*) FROM awaited WHERE kind = 'ServiceRequest' AND value = ?", "1.2.840.99.1") == [(0,)]


def test_told_again_it_is_no_news(kit: Kit) -> None:
    one = Examination(1)
    for act in one.acts:
        act(kit)
        kit.apply()
    changes = kit.rows("SELECT COUNT(*) FROM change")
    one.found(kit)
    one.stored(kit)
    kit.apply()
    assert kit.rows("SELECT COUNT(*) FROM change") == changes


def test_whoever_the_pacs_alone_knows_is_a_patient_and_goes_with_a_merge(kit: Kit) -> None:
    one = Examination(1)
    one.stored(kit)
    kit.apply()
    assert kit.patient(one.patient)["name"][0]["text"] == "GILDONG HONG"
    [(_, study)] = of(kit, one.patient, "ImagingStudy")
    assert "basedOn" not in study or "reference" not in study["basedOn"]
    kit.tell(adt("A04", "77", at="20261122100000"), adt("A40", "77", f"MRG|{one.patient}^^^HOSP", at="20261122100100"))
    assert len(of(kit, "77", "ImagingStudy")) == 1


def test_an_order_told_with_its_study_alone_and_a_study_without_an_accession_number_find_each_other(kit: Kit) -> None:
    """ORM^O01 with ZDS, as IHE's Scheduled Workflow had it before IPC."""
    one = Examination(1)
    one.who["AccessionNumber"] = ""
    zds = f"ZDS|{one.study}^HOSP^Application^DICOM"
    order = hl7("ORM^O01", pid(one.patient), "ORC|NW|P1", "OBR|1|P1||X100^흉부 CT" + "|" * 14 + "A1||||||RAD", zds)
    for act in (lambda: one.found(kit), lambda: kit.receive(order)):
        act()
        kit.apply()
    [(order_id, told)], [(_, study)] = of(kit, one.patient, "ServiceRequest"), of(kit, one.patient, "ImagingStudy")
    assert study["basedOn"] == {
        "identifier": {"assigner": "DICOM", "value": one.study}, "reference": f"ServiceRequest/{order_id}",
    }  # fmt: skip
    assert {(i["assigner"], i["value"]) for i in told["identifier"]} == {
        ("HOSP:placer", "P1"), ("HOSP:accession", "A1"), ("DICOM", one.study),
    }  # fmt: skip


def test_an_accession_number_is_no_placers_or_fillers_number(kit: Kit) -> None:
    """A laboratory's order of the same number, and its OBR-18, which is the placer's own field, stay what they are."""
    one = Examination(1)
    lab = hl7("ORM^O01", pid(one.patient), "ORC|NW|A1|A1", "OBR|1|A1|A1|L001^혈당" + "|" * 14 + "A1||||||CH")
    kit.receive(lab)
    kit.apply()
    one.found(kit)
    kit.apply()
    [(lab_id, laboratory)], [(_, study)] = of(kit, one.patient, "ServiceRequest"), of(kit, one.patient, "ImagingStudy")
    assert "category" not in laboratory
    assert study["basedOn"].get("reference") is None
    one.order(kit)
    kit.apply()
    [(_, study)] = of(kit, one.patient, "ImagingStudy")
    assert study["basedOn"]["reference"] not in (None, f"ServiceRequest/{lab_id}")


def test_two_studies_of_one_accession_number_stay_two(kit: Kit) -> None:
    first, second = Examination(1), Examination(1)
    second.study = second.who["StudyInstanceUID"] = "1.2.840.99.2"
    for one in (first, second):
        one.found(kit)
        one.stored(kit)
        kit.apply()
    studies = of(kit, first.patient, "ImagingStudy")
    assert sorted(len(study["series"]) for _, study in studies) == [2, 2]


def test_a_study_that_the_pacs_has_no_more_is_withdrawn_and_comes_back(kit: Kit) -> None:
    one = Examination(1)
    one.found(kit)
    kit.apply()
    row(kit, "pacs-find", "dicom.study_gone", {"StudyInstanceUID": one.study})
    kit.apply()
    assert of(kit, one.patient, "ImagingStudy") == []
    one.found(kit)
    kit.apply()
    assert len(of(kit, one.patient, "ImagingStudy")) == 1
    kit.deliver()
    types = [type_ for type_ in kit.target().types() if type_.startswith("imagingstudy")]
    assert types == ["imagingstudy.created", "imagingstudy.removed", "imagingstudy.updated"]


def test_a_second_step_keeps_the_study_in_progress_until_it_ends(kit: Kit) -> None:
    one = Examination(1)
    one.performed(kit)
    kit.apply()
    other = {"StudyInstanceUID": one.study, "AccessionNumber": one.accession}
    for state, stands in (("IN PROGRESS", "in-progress"), ("DISCONTINUED", "completed")):
        row(kit, "pacs-mpps", "dicom.mpps", {
            "SOPInstanceUID": "1.2.3.4", "PatientID": one.patient, "PerformedProcedureStepStatus": state,
            "ScheduledStepAttributesSequence": [other],
        })  # fmt: skip
        kit.apply()
        [(_, order)], [(_, study)] = of(kit, one.patient, "ServiceRequest"), of(kit, one.patient, "ImagingStudy")
        assert order["state"] == study["state"] == stands
        assert "status" not in order


def test_the_story_of_a_row_says_what_the_map_made_of_it(kit: Kit) -> None:
    mapper = kit.hub.inbound()["pacs-mpps"].mapper
    assert isinstance(mapper, RowMapper)
    step = {"StudyInstanceUID": "1.2.3", "AccessionNumber": "A1"}
    body = row_body("dicom.mpps", {"SOPInstanceUID": "1.2.4", "PatientID": "1", "ScheduledStepAttributesSequence": [step]})
    said = {(rule["fact"], rule["path"], rule["to"]) for rule in mapper.explain(body) if rule["present"]}
    assert {("Patient", "PatientID", "key"), ("ServiceRequest 1", "*.AccessionNumber", "identifier")} <= said
    assert mapper.explain(row_body("nobody.knows", {})) == []


def offered(kit: Kit, wanted: Wanted) -> list[str]:
    return [one.data["identifier"][0]["value"] for one in kit.hub.lookup.to_image(wanted, after=None, limit=10)]


@pytest.mark.parametrize("acts", [("found",), ("stored",), ("reported",), ("found", "stored", "reported")])
def test_without_mpps_an_order_is_off_the_worklist_when_it_was_imaged_or_reported(kit: Kit, acts: tuple[str, ...]) -> None:
    """In a hospital whose modalities tell no steps and whose RIS never closes an order."""
    one, other = Examination(5), Examination(6)
    one.order(kit)
    other.order(kit)
    kit.apply()
    assert len(offered(kit, Wanted())) == 2
    for act in acts:
        getattr(one, act)(kit)
    kit.apply()
    for asked in (Wanted(), Wanted(patient=one.patient)):
        assert one.accession not in str(kit.hub.lookup.to_image(asked, after=None, limit=10)), asked
    assert len(offered(kit, Wanted())) == 1
    assert len(offered(kit, Wanted(order=one.accession))) == 1  # who asks for it by its number wants it


def test_with_mpps_an_order_stays_while_its_step_is_in_progress(kit: Kit) -> None:
    one = Examination(5)
    one.order(kit)
    one.begun(kit)
    one.stored(kit)
    kit.apply()
    assert len(offered(kit, Wanted())) == 1
    one.performed(kit)
    kit.apply()
    assert offered(kit, Wanted()) == []
