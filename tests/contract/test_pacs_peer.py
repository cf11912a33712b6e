"""The simulated PACS itself, against peers that are not ours: dcmtk's and pynetdicom's."""

from __future__ import annotations

from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyRoot

from hub.simulator.pacs import PacsPeer
from tests import dicom_kit, servers

NAME = "Hong^Gildong=洪^吉洞=홍^길동"


@pytest.mark.parametrize("charset", ["ISO_IR 192", "\\ISO 2022 IR 149"])
def test_what_storescu_stores_findscu_finds(tmp_path: Path, charset: str) -> None:
    files = [
        dicom_kit.image(
            tmp_path / f"{n}.dcm",
            PatientID="P1",
            PatientName=NAME,
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID=f"1.2.3.{n % 2}",
            SOPInstanceUID=f"1.2.3.4.{n}",
            SpecificCharacterSet=charset,
        )
        for n in range(3)
    ]
    with PacsPeer(charset=charset) as peer:
        try:
            assert dicom_kit.echoscu(peer.port, "PACS").ok
            assert dicom_kit.storescu(peer.port, "PACS", files).ok
            (tmp_path / "found").mkdir()
            counts = ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
            empty = ("PatientName", "StudyInstanceUID", "ModalitiesInStudy", *counts)
            keys = {"QueryRetrieveLevel": "STUDY", "PatientID": "P1"} | dict.fromkeys(empty, "")
            (found,) = dicom_kit.findscu(peer.port, "PACS", keys, tmp_path / "found", model="-S")
        except servers.NotInstalledError as missing:
            pytest.skip(str(missing))
    assert str(found.PatientName) == NAME
    assert (found.StudyInstanceUID, found.ModalitiesInStudy) == ("1.2.3", "CT")
    assert (found.NumberOfStudyRelatedSeries, found.NumberOfStudyRelatedInstances) == (2, 3)


def test_pynetdicom_is_rejected_and_answered() -> None:
    ae = AE(ae_title="CT1")
    ae.add_requested_context(StudyRoot)
    with PacsPeer() as peer:
        assert ae.associate("127.0.0.1", peer.port, ae_title="ELSE").is_rejected
        association = ae.associate("127.0.0.1", peer.port, ae_title="PACS")
        assert association.is_established
        association.release()
