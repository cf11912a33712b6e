"""Whose a study, an order and a report are: numbers that two patients share tie nothing, until it turns out that they are one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.hub_kit import Kit, adt, hl7, pid
from tests.integration.test_imaging import Examination, kit, of, row

__all__ = ["kit"]  # the fixture
U = "1.2.840.99.7"
A, B = "00000001", "00000002"


def one_number(first: int = 1, second: int = 2) -> tuple[Examination, Examination]:
    """Examinations of two patients that were given one accession number."""
    a, b = Examination(first), Examination(second)
    b.accession = b.who["AccessionNumber"] = a.accession
    return a, b


def only(kit: Kit, one: Examination, kind: str) -> tuple[str, dict[str, Any]]:
    [found] = of(kit, one.patient, kind)
    return found


def notes(kit: Kit) -> set[str]:
    return {str(reason) for (reason,) in kit.rows("SELECT reason FROM outcome WHERE reason <> ''")}


def tied(kit: Kit, one: Examination) -> None:
    """His order, study and report name each other."""
    (order_id, _), (study_id, study) = only(kit, one, "ServiceRequest"), only(kit, one, "ImagingStudy")
    _, report = only(kit, one, "DiagnosticReport")
    assert study["basedOn"]["reference"] == report["basedOn"]["reference"] == f"ServiceRequest/{order_id}"
    assert report["imagingStudy"]["reference"] == f"ImagingStudy/{study_id}"


def test_a_study_of_another_patient_is_not_based_on_the_order(kit: Kit) -> None:
    a, b = one_number()
    for act in (a.order, b.found):
        act(kit)
        kit.apply()
    _, study = only(kit, b, "ImagingStudy")
    assert study["basedOn"] == {"identifier": {"assigner": "HOSP:accession", "value": a.accession}}
    b.order(kit)
    kit.apply()
    assert only(kit, b, "ImagingStudy")[1]["basedOn"]["reference"] == f"ServiceRequest/{only(kit, b, 'ServiceRequest')[0]}"


def test_a_report_of_another_patient_names_neither_the_order_nor_the_study(kit: Kit) -> None:
    a, b = one_number()
    for act in (a.order, a.found, b.reported):
        act(kit)
        kit.apply()
    _, report = only(kit, b, "DiagnosticReport")
    assert not [name for name in ("basedOn", "imagingStudy") if "reference" in report.get(name, ())]
    for act in (b.order, b.found, a.reported):
        act(kit)
        kit.apply()
    tied(kit, a)
    tied(kit, b)


def test_a_step_of_another_patient_makes_an_order_of_its_own(kit: Kit) -> None:
    a, b = one_number()
    for act in (a.order, b.performed):
        act(kit)
        kit.apply()
    _, order = only(kit, a, "ServiceRequest")
    assert "state" not in order
    assert [one["value"] for one in order["identifier"] if one["type"] == "UID"] == [a.study]
    assert only(kit, b, "ServiceRequest")[1]["state"] == "completed"
    assert notes(kit) == {"servicerequest_of_another_patient"}
    step = {"StudyInstanceUID": b.study, "AccessionNumber": b.accession}
    row(kit, "pacs-mpps", "dicom.mpps", {
        "SOPInstanceUID": "1.2.3.4", "PatientID": b.patient, "PerformedProcedureStepStatus": "IN PROGRESS",
        "ScheduledStepAttributesSequence": [step],
    })  # fmt: skip
    kit.apply()
    assert only(kit, b, "ServiceRequest")[1]["state"] == "in-progress"  # the same order, not a third one


@pytest.mark.parametrize("ordered_first", [True, False])
def test_two_numbers_that_turn_out_to_be_one_person_join_and_part_again(kit: Kit, ordered_first: bool) -> None:
    a, b = one_number()
    b.study = a.study
    b.who["StudyInstanceUID"] = a.study
    acts = [a.order, b.performed, b.found, b.reported]
    for act in acts if ordered_first else [*acts[1:], acts[0]]:
        act(kit)
        kit.apply()
    assert "state" not in only(kit, a, "ServiceRequest")[1]
    kit.tell(adt("A40", a.patient, f"MRG|{b.patient}^^^HOSP", at="20261122120000"))
    tied(kit, a)
    assert only(kit, a, "ServiceRequest")[1]["state"] == "completed"
    kit.tell(hl7("ADT^A37", pid(a.patient), pid(b.patient), at="20261122130000"))
    assert "state" not in only(kit, a, "ServiceRequest")[1]
    tied(kit, b)
    assert kit.rows("SELECT DISTINCT state FROM work WHERE direction = 'in'") == []


def test_an_order_that_has_an_accession_number_only_takes_no_other_patients_order(kit: Kit) -> None:
    def ordered(number: str, channel: str, minute: int) -> None:
        obr = "OBR|1|||X100^흉부 CT"
        kit.receive(
            hl7("ORM^O01", pid(number), "ORC|NW", obr, "IPC|A1||||SPS1|CT", at=f"202611221000{minute:02}"), channel=channel
        )
        kit.apply()

    for minute, (number, channel) in enumerate(((A, "ocs-in"), (B, "pacs-hl7"), (A, "ocs-in"), (B, "pacs-hl7"))):
        ordered(number, channel, minute)
    assert (len(of(kit, A, "ServiceRequest")), len(of(kit, B, "ServiceRequest"))) == (1, 1)
    assert notes(kit) == {"servicerequest_of_another_patient"}
    kit.tell(adt("A40", A, f"MRG|{B}^^^HOSP", at="20261122120000"))
    assert len(of(kit, A, "ServiceRequest")) == 1
    ordered(B, "pacs-hl7", 40)
    assert len(of(kit, A, "ServiceRequest")) == 1
    kit.tell(hl7("ADT^A37", pid(A), pid(B), at="20261122130000"))
    assert (len(of(kit, A, "ServiceRequest")), len(of(kit, B, "ServiceRequest"))) == (1, 1)


def who(number: str) -> dict[str, Any]:
    return {"PatientID": number, "PatientName": f"KIM^{number}", "StudyInstanceUID": U, "StudyDate": "20261122"}


def study(kit: Kit, number: str, series: int = 1) -> None:
    row(kit, "pacs-find", "dicom.study", who(number) | {"NumberOfStudyRelatedSeries": str(series)})
    kit.apply()


def series(kit: Kit, number: str, n: int, uid: str = U) -> None:
    row(kit, "pacs-store", "dicom.series", who(number) | {
        "StudyInstanceUID": uid, "SeriesInstanceUID": f"{U}.{n}", "Modality": "CT", "SeriesNumber": str(n),
    })  # fmt: skip
    kit.apply()


def step(kit: Kit, number: str, state: str = "COMPLETED") -> None:
    row(kit, "pacs-mpps", "dicom.mpps", {
        "SOPInstanceUID": f"{U}.9", "PatientID": number, "PatientName": "X", "PerformedProcedureStepStatus": state,
        "ScheduledStepAttributesSequence": [{"StudyInstanceUID": U}],
    })  # fmt: skip
    kit.apply()


def owner(kit: Kit) -> str:
    [(id_,)] = kit.rows("SELECT patient_id FROM resource WHERE kind = 'ImagingStudy'")
    return next(number for number in (A, B) if kit.patient_id(number) == id_)


def test_a_late_series_or_step_takes_no_study_from_the_patient_that_the_pacs_gave_it_to(kit: Kit) -> None:
    study(kit, A)
    series(kit, A, 1)
    study(kit, B)
    assert owner(kit) == B
    series(kit, A, 2)  # with the header from before
    step(kit, A)  # of the worklist's item from before
    assert owner(kit) == B
    assert "imagingstudy_of_another_patient" in notes(kit)
    study(kit, B, 2)
    assert owner(kit) == B
    study(kit, A, 2)  # corrected back
    assert owner(kit) == A


def test_where_nobody_told_of_the_whole_study_the_series_say_whose_it_is(kit: Kit) -> None:
    step(kit, A)
    series(kit, B, 1)
    assert owner(kit) == B
    step(kit, A, "DISCONTINUED")
    assert owner(kit) == B


def test_a_study_that_was_deleted_and_sent_again_is_whose_the_new_series_says(kit: Kit) -> None:
    study(kit, A)
    row(kit, "pacs-find", "dicom.study_gone", {"StudyInstanceUID": U})
    kit.apply()
    series(kit, B, 1)
    assert owner(kit) == B


def test_a_study_that_was_moved_by_the_hospital_stays_when_the_pacs_repeats_the_old_patient(kit: Kit) -> None:
    study(kit, A)
    kit.tell(adt("A43", B, f"MRG|{A}^^^HOSP", at="20261122120000"))
    assert owner(kit) == B
    study(kit, A, 2)
    series(kit, A, 1)
    assert owner(kit) == B
    study(kit, B, 2)
    study(kit, A, 3)  # it had been told of the move, and says otherwise now
    assert owner(kit) == A


def test_what_named_a_study_that_went_to_another_patient_names_it_no_more(kit: Kit) -> None:
    one, other = Examination(1), Examination(2)
    other.who["StudyInstanceUID"] = one.study
    for act in (one.order, one.found, one.reported):
        act(kit)
        kit.apply()
    tied(kit, one)
    row(kit, "pacs-find", "dicom.study", other.who | {"AccessionNumber": one.accession})
    kit.apply()
    assert "reference" not in only(kit, other, "ImagingStudy")[1]["basedOn"]
    assert "reference" not in only(kit, one, "DiagnosticReport")[1].get("imagingStudy", {})
    one.found(kit)
    kit.apply()
    tied(kit, one)


def test_a_series_that_was_moved_to_another_study_makes_them_no_one_study(kit: Kit) -> None:
    other = "1.2.840.99.8"
    series(kit, A, 1)
    series(kit, A, 2)
    study(kit, A, 2)
    series(kit, A, 1, other)
    row(kit, "pacs-find", "dicom.study", who(A) | {"StudyInstanceUID": other, "NumberOfStudyRelatedSeries": "1"})
    kit.apply()
    listed = {
        one["identifier"][0]["value"]: [s["uid"] for s in one["series"]]
        for (data,) in kit.rows("SELECT data FROM resource WHERE kind = 'ImagingStudy' AND status = 'active'")
        for one in [orjson.loads(data)]
    }
    assert listed == {U: [f"{U}.2"], other: [f"{U}.1"]}
    series(kit, A, 2, other)  # the last one: the PACS has no more of it, and says so itself
    series(kit, A, 1)  # and one back
    found = {one["identifier"][0]["value"]: one for _, one in of(kit, "1".zfill(8), "ImagingStudy")}
    assert {uid: [s["uid"] for s in one["series"]] for uid, one in found.items()} == {U: [f"{U}.1"], other: [f"{U}.2"]}
