"""By which numbers orders and studies of several systems are one: a FHIR server's beside a PACS's."""

from __future__ import annotations

from functools import cache
from typing import Any

from hub.mapping import Context, MapSet, load_maps
from hub.mapping.fhir_keys import Names
from tests.house import House

UID = {"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.1"}
ACCESSION = {"type": {"coding": [{"code": "ACSN"}]}, "system": "http://hospital.example/accession", "value": "A1"}


@cache
def maps() -> MapSet:
    return load_maps()


def fhir(house: House, kind: str, number: str, **said: Any) -> None:
    document = {"resourceType": kind, "id": number, "subject": {"reference": "Patient/1"}, **said}
    house.tell(*maps().map_fhir(document, Context("H", "emr"), Names("H", "emr")).facts, system="emr")


def pacs(house: House, event: str = "dicom.study", **columns: Any) -> None:
    row = {"StudyInstanceUID": "1.2.840.1", "AccessionNumber": "A1", "PatientID": "1", **columns}
    house.tell(*maps().map_row(event, row, Context("H", "pacs")).facts, system="pacs")


def all_of(house: House, kind: str) -> list[dict[str, Any]]:
    return [row for row in house.store.rows("resource", kind=kind) if row["status"] == "active"]


def test_what_a_fhir_server_and_the_pacs_tell_is_one_study_of_one_order() -> None:
    house = House()
    series = [{"uid": "1.2.840.1.7", "number": 1, "modality": {"code": "CT"}, "description": "as the EMR calls it"}]
    fhir(house, "ServiceRequest", "s1", identifier=[ACCESSION], status="active")
    fhir(house, "ImagingStudy", "i1", identifier=[UID], status="registered", modality=[{"code": "CT"}], series=series)
    pacs(house, ModalitiesInStudy=["CT", "SR"], NumberOfStudyRelatedSeries="2")
    pacs(house, "dicom.series", SeriesInstanceUID="1.2.840.1.8", Modality="SR", SeriesNumber="2")
    [study], [order] = all_of(house, "ImagingStudy"), all_of(house, "ServiceRequest")
    told = house.doc("1.2.840.1", "ImagingStudy")
    assert (told["status"], told["modality"], told["numberOfSeries"]) == ("available", ["CT", "SR"], 2)
    assert [one["uid"] for one in told["series"]] == ["1.2.840.1.7", "1.2.840.1.8"]
    assert told["basedOn"]["reference"] == f"ServiceRequest/{order['id']}"
    fhir(house, "DiagnosticReport", "r1", status="final", imagingStudy=[{"reference": "ImagingStudy/i1"}])
    assert house.doc("DiagnosticReport/r1", "DiagnosticReport")["imagingStudy"]["reference"] == f"ImagingStudy/{study['id']}"


def test_two_orders_of_a_server_that_share_an_accession_number_stay_two() -> None:
    house = House()
    for number in ("s1", "s2", "s1"):
        fhir(house, "ServiceRequest", number, identifier=[ACCESSION], status="active")
    assert len(all_of(house, "ServiceRequest")) == 2


def test_two_studies_of_a_server_that_share_an_accession_number_stay_two() -> None:
    house = House()
    for number, uid in (("i1", "1.2.1"), ("i2", "1.2.2")):
        identifier = [{**UID, "value": f"urn:oid:{uid}"}, ACCESSION]
        fhir(house, "ImagingStudy", number, identifier=identifier, status="available")
    assert len(all_of(house, "ImagingStudy")) == 2


def test_a_uid_that_is_none_is_no_number_of_anything() -> None:
    house = House()
    fhir(house, "ImagingStudy", "i1", identifier=[{"system": "urn:dicom:uid", "value": "urn:oid:../../etc"}], status="strange")
    [study] = all_of(house, "ImagingStudy")
    document = house.doc("ImagingStudy/i1", "ImagingStudy")
    assert ("identifier" not in document, document["status"]) == (True, "unknown")
    assert study["patient_id"] is not None
