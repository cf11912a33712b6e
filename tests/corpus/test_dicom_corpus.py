"""Every file of pydicom's test data: what pydicom reads we read, with the same values; the others are refused with a reason."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from hub.codecs.dicom import columns, header
from hub.domain.errors import Unreadable
from hub.simulator.modality import Modality
from hub.testing.listened import Office
from tests.contract.inbound_cases import LISTENED

pytestmark = pytest.mark.corpus
COMPARED = (
    "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate",
    "StudyTime", "AccessionNumber", "Modality", "StudyDescription", "SeriesDescription", "SeriesNumber", "ReferringPhysicianName",
    "InstitutionName",
)  # fmt: skip
# What pydicom does not read either: texts beside the images; and a file whose first byte is missing
REFUSED = {
    "README", "README.txt", "crayons.icc", "no_meta.dcm", "rtplan.dump", "rtstruct.dump", "test1.json", "test_PN.json",
    "zipMR.gz",
}  # fmt: skip
UNSENDABLE = {"SC_rgb_jpeg.dcm"}  # pynetdicom cannot write it again
WITHOUT_MARK = {"ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "rtstruct.dcm"}  # which pydicom reads only when told to


@pytest.fixture
def files(corpus: Path) -> list[Path]:
    return sorted(path for path in (corpus / "dicom" / "pydicom").rglob("*") if path.is_file())


def oracle(path: Path, *, force: bool = False) -> pydicom.Dataset | None:
    """The file as pydicom reads it; None: it does not."""
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, force=force)
    except pydicom.errors.InvalidDicomError:
        return None


def test_what_pydicom_reads_is_read_alike_and_the_rest_is_refused(files: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    warnings.simplefilter("ignore")
    read, forced, refused, different = 0, set[str](), dict[str, str](), list[str]()
    for path in files:
        data = path.read_bytes()
        theirs = oracle(path)
        try:
            ours = header.read_file(data, columns.instance(), default="ISO_IR 100")
        except Unreadable as error:
            if theirs is not None:
                different.append(f"{path.name} {error}")
            refused[path.name] = error.reason
            continue
        if theirs is None:
            forced.add(path.name)
            theirs = oracle(path, force=True)
            assert theirs is not None
        read += 1
        for keyword in COMPARED:
            value = theirs.get(keyword)
            expected = "" if value is None else str(value).strip()
            if keyword.endswith("Date"):
                expected = expected.replace(".", "")  # ACR-NEMA's dates are read as today's
            if str(ours.get(keyword, "")) != expected:
                different.append(f"{path.name} {keyword}")
    assert different == []
    assert refused.keys() == REFUSED
    assert all(reason.startswith("no DICOM") for reason in refused.values())
    assert forced == WITHOUT_MARK
    assert read == len(files) - len(REFUSED) == 156


def test_what_can_be_sent_is_sent_and_taken(files: list[Path], caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Through the socket, in the transfer syntax of each file, deflated, big endian and compressed ones among them."""
    caplog.set_level(logging.CRITICAL)
    warnings.simplefilter("ignore")
    kinds: dict[tuple[str, str], list[pydicom.Dataset]] = {}
    for path in files:
        data = oracle(path)
        if data is not None and "SOPClassUID" in data and "TransferSyntaxUID" in data.file_meta and path.name not in UNSENDABLE:
            kinds.setdefault((str(data.SOPClassUID), str(data.file_meta.TransferSyntaxUID)), []).append(pydicom.dcmread(path))
    office = Office(next(case for case in LISTENED if case.name == "pacs.dicom_in"), tmp_path / "hub", peers={"CT1": "127.0.0.1"})
    office.start()
    told: Counter[int] = Counter()
    try:
        for (abstract, syntax), instances in kinds.items():
            with Modality(*office.address, storage=[abstract], syntaxes=[syntax], seconds=60) as modality:
                told.update(modality.store(one) for one in instances)
        assert set(office.home.unapplied()) == {"StudyInstanceUID is missing"}
    finally:
        office.close()
    assert told == {0: 135, 0xA900: 4}
    assert len(kinds) == 29
