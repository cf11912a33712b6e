"""An order that came without accession number and study: what is imaged under the numbers that the hub gave it finds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from hub.adapters.pacs.order_numbers import order_numbers
from hub.bootstrap.channels import RowMapper
from hub.domain.ports import Received
from hub.mapping import Context
from hub.sync.polled import row_body
from tests.hub_kit import Kit, hl7, make_kit, pid, pv1

PACS = '[channels.pacs]\nadapter = "ocs.hl7_in"\nsystem = "pacs"\nport = 0\n'


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", more=PACS)
    inbound = dict(made.hub._inbound)
    inbound["pacs"] = replace(inbound["pacs"], mapper=RowMapper(made.hub.config.channels["pacs"], made.hub.maps))
    made.hub._inbound = inbound
    yield made
    made.close()


def test_a_step_a_study_and_a_report_find_the_order(kit: Kit) -> None:
    order = ("ORC|NW|P1", "TQ1|||||||20261122093000", "OBR|1|P1||X100^흉부 CT^LOCAL")
    kit.receive(hl7("OMI^O23", pid("1"), pv1("V1"), *order, "IPC|||||CT^^DCM||||CT01"))
    kit.apply()
    [(id_, data)] = docs(kit, "ServiceRequest")
    numbers = order_numbers(data, id_)
    assert "UID" not in {one["type"] for one in data["identifier"]}
    who = {"PatientID": "1", "StudyInstanceUID": numbers.study_uid, "AccessionNumber": numbers.accession}
    step = {name: who[name] for name in ("StudyInstanceUID", "AccessionNumber")}
    told: dict[str, dict[str, Any]] = {
        "dicom.mpps": {**who, "SOPInstanceUID": "1.2.3", "PerformedProcedureStepStatus": "COMPLETED", "Modality": "CT",
                       "ScheduledStepAttributesSequence": [step]},
        "dicom.study": {**who, "ModalitiesInStudy": ["CT"]},
    }  # fmt: skip
    for event, columns in told.items():
        row(kit, event, columns)
        kit.apply()
    request = f"OBR|1||R1^PACS|X100||||||||||||||{numbers.accession}||||||RAD|F"
    kit.receive(hl7("ORU^R01", pid("1"), request, "OBX|1|TX|GDT||ok||||||F"))
    kit.apply()
    [(same, now)] = docs(kit, "ServiceRequest")
    assert (same, now["state"]) == (id_, "completed")
    assert {one["type"]: one["value"] for one in now["identifier"]} == {
        "PLAC": "P1", "ACSN": numbers.accession, "UID": numbers.study_uid,
    }  # fmt: skip
    assert order_numbers(now, id_) == numbers
    for kind in ("ImagingStudy", "DiagnosticReport"):
        [(_, found)] = docs(kit, kind)
        assert found["basedOn"]["reference"] == f"ServiceRequest/{id_}"


@pytest.mark.parametrize("way", ["mpps", "store", "report"])
def test_who_tells_only_the_accession_number_that_was_given_finds_the_order(kit: Kit, way: str) -> None:
    order = ("ORC|NW|P1", "OBR|1|P1||X100^흉부 CT^LOCAL")
    kit.receive(hl7("OMI^O23", pid("1"), pv1("V1"), *order, "IPC|||||CT^^DCM||||CT01"))
    kit.apply()
    [(id_, data)] = docs(kit, "ServiceRequest")
    given = order_numbers(data, id_).accession
    if way == "report":
        request = f"OBR|1||R1^PACS|X100||||||||||||||{given}||||||RAD|F"
        kit.receive(hl7("ORU^R01", pid("1"), request, "OBX|1|TX|GDT||ok||||||F"))
    else:
        columns: dict[str, Any] = {"PatientID": "1", "StudyInstanceUID": "1.2.7", "AccessionNumber": given, "Modality": "CT"}
        if way == "mpps":
            step = {"StudyInstanceUID": "1.2.7", "AccessionNumber": given}
            columns |= {"SOPInstanceUID": "1.2.3", "PerformedProcedureStepStatus": "COMPLETED",
                        "ScheduledStepAttributesSequence": [step]}  # fmt: skip
        else:
            columns["SeriesInstanceUID"] = "1.2.7.1"
        row(kit, "dicom.mpps" if way == "mpps" else "dicom.series", columns)
    kit.apply()
    [(same, now)] = docs(kit, "ServiceRequest")
    assert same == id_
    assert order_numbers(now, id_).accession == given
    assert way != "mpps" or now["state"] == "completed"
    for kind in ("ImagingStudy", "DiagnosticReport"):
        for _, found in docs(kit, kind):
            assert found["basedOn"]["reference"] == f"ServiceRequest/{id_}"


def test_a_number_that_is_gone_again_is_given(kit: Kit) -> None:
    """A RIS numbers the order, and takes the number back: it is known by the one that the PACS is told from then on."""
    common = ("ORC|NW|P1", "OBR|1|P1||X100^흉부 CT^LOCAL")
    kit.receive(hl7("OMI^O23", pid("1"), pv1("V1"), *common, "IPC|A1^RIS|RP1|1.2.8|SPS1|CT^^DCM"))
    kit.apply()
    [(id_, data)] = docs(kit, "ServiceRequest")
    assert order_numbers(data, id_).accession == "A1"
    assert kit.rows("SELECT count(*) FROM identifier WHERE assigner = 'HUB:accession'") == [(0,)]
    kit.receive(hl7("OMI^O23", pid("1"), pv1("V1"), *common, "IPC|12345678901234567|RP1|1.2.8|SPS1|CT^^DCM"))
    kit.apply()
    [(same, now)] = docs(kit, "ServiceRequest")
    [(given,)] = kit.rows("SELECT value FROM identifier WHERE assigner = 'HUB:accession'")
    assert (same, given) == (id_, order_numbers(now, id_).accession)


def row(kit: Kit, event: str, columns: dict[str, Any]) -> None:
    patient = kit.hub.maps.row_patient(event, columns, Context("HOSP", "pacs", "Asia/Seoul"))
    kit.intake.store([Received("pacs", row_body(event, columns), "", event, event, patient, None, answer_owed=False)])


def docs(kit: Kit, kind: str) -> list[tuple[str, dict[str, Any]]]:
    return [(id_, orjson.loads(data)) for id_, data in kit.rows("SELECT id, data FROM resource WHERE kind = ?", kind)]
