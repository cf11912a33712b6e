"""Headers: pydicom writes them in every encoding, we read them; odd ones are refused with tag and reason."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from hub.codecs.dicom import columns, header, uid
from hub.domain.errors import Unreadable

STUDY_UID = "1.2.410.200001.1.20261122.7"


def instance(**more: Any) -> Dataset:
    one = Dataset()
    one.SpecificCharacterSet = "ISO_IR 192"
    one.SOPClassUID, one.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", STUDY_UID + ".1.1"
    one.StudyDate, one.StudyTime, one.AccessionNumber, one.Modality = "20261122", "090000.5", "A-7", "CT"
    one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientSex = (
        "Hong^Gildong=洪^吉洞=홍^길동",
        "00012345",
        "19870504",
        "M",
    )
    one.StudyInstanceUID, one.SeriesInstanceUID, one.SeriesNumber = STUDY_UID, STUDY_UID + ".1", 3
    one.ReferencedStudySequence = [Dataset(), Dataset()]
    one.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "1.2.3"
    for keyword, value in more.items():
        setattr(one, keyword, value)
    return one


def encoded(one: Dataset, syntax: str) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax != uid.EXPLICIT_BIG, syntax == uid.IMPLICIT_LITTLE
    write_dataset(buffer, one)
    plain = buffer.getvalue()
    if syntax != uid.DEFLATED_LITTLE:
        return plain
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return machine.compress(plain) + machine.flush()


SYNTAXES = [uid.IMPLICIT_LITTLE, uid.EXPLICIT_LITTLE, uid.EXPLICIT_BIG, uid.DEFLATED_LITTLE]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_every_encoding_reads_alike(syntax: str, undefined: bool) -> None:
    one = instance(Rows=2, Columns=2, BitsAllocated=8, PixelData=b"\1\2\3\4")
    one["PixelData"].VR = "OB"
    one["ReferencedStudySequence"].is_undefined_length = undefined
    row = header.read(encoded(one, syntax), syntax, columns.series())
    assert row == {
        "StudyInstanceUID": STUDY_UID, "AccessionNumber": "A-7", "PatientID": "00012345",
        "PatientName": "Hong^Gildong=洪^吉洞=홍^길동", "PatientBirthDate": "19870504", "PatientSex": "M", "StudyDate": "20261122",
        "StudyTime": "090000.5", "SeriesInstanceUID": STUDY_UID + ".1", "Modality": "CT", "SeriesNumber": 3,
    }  # fmt: skip


def test_a_syntax_that_is_declared_wrongly_is_seen() -> None:
    data = encoded(instance(), uid.IMPLICIT_LITTLE)
    assert header.read(data, uid.EXPLICIT_LITTLE, columns.series())["PatientID"] == "00012345"
    data = encoded(instance(), uid.EXPLICIT_LITTLE)
    assert header.read(data, uid.IMPLICIT_LITTLE, columns.series())["PatientID"] == "00012345"


def test_a_file_and_what_lacks_its_preamble() -> None:
    one, buffer = instance(), io.BytesIO()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = uid.EXPLICIT_LITTLE
    one.save_as(buffer, enforce_file_format=True)
    for data in (
        buffer.getvalue(),
        buffer.getvalue()[132:],
        encoded(one, uid.EXPLICIT_LITTLE),
        encoded(one, uid.EXPLICIT_BIG),
        encoded(one, uid.IMPLICIT_LITTLE),
    ):
        assert header.read_file(data, columns.series())["StudyInstanceUID"] == STUDY_UID


def test_sequences_that_are_asked_for_become_rows() -> None:
    one = Dataset()
    one.SpecificCharacterSet = ["", "ISO 2022 IR 149"]
    one.PerformedProcedureStepStatus, one.PatientName = "IN PROGRESS", "홍^길동"
    step = Dataset()
    step.StudyInstanceUID, step.AccessionNumber, step.ScheduledProcedureStepID = STUDY_UID, "A-7", "S1"
    one.ScheduledStepAttributesSequence, one.PerformedSeriesSequence = [step], []
    row = header.read(encoded(one, uid.EXPLICIT_LITTLE), uid.EXPLICIT_LITTLE, columns.mpps())
    assert row["ScheduledStepAttributesSequence"] == [
        {"StudyInstanceUID": STUDY_UID, "AccessionNumber": "A-7", "ScheduledProcedureStepID": "S1"}
    ]
    assert "PerformedSeriesSequence" not in row
    assert row["PatientName"] == "홍^길동"
    assert header.of_dataset(one, columns.mpps()) == row


def test_what_is_empty_is_not_said() -> None:
    row = header.read(
        encoded(instance(PatientBirthDate="", StudyID=None), uid.EXPLICIT_LITTLE), uid.EXPLICIT_LITTLE, columns.series()
    )
    assert not {"PatientBirthDate", "StudyID", "StudyDescription"} & row.keys()


def test_lists_stay_lists() -> None:
    one = Dataset()
    one.ModalitiesInStudy = "CT"
    assert header.of_dataset(one, columns.study()) == {"ModalitiesInStudy": ["CT"]}
    one.ModalitiesInStudy = ["CT", "SR"]
    assert header.of_dataset(one, columns.study()) == {"ModalitiesInStudy": ["CT", "SR"]}


def test_two_numbers_are_no_number() -> None:
    with pytest.raises(Unreadable, match=r"\(0010,0020\) PatientID: more than one value"):
        header.of_dataset(instance(PatientID=["1", "2"]), columns.series())
    assert header.of_dataset(instance(StationName=["A", "B"]), columns.series())["StationName"] == "A\\B"


def test_a_uid_that_is_a_path_is_none() -> None:
    one = instance()
    data = encoded(one, uid.EXPLICIT_LITTLE).replace(
        STUDY_UID.encode() + b"\0" * (len(STUDY_UID) % 2), b"../../../etc/passwd".ljust(len(STUDY_UID) + len(STUDY_UID) % 2)
    )
    with pytest.raises(Unreadable, match=r"\(0020,000D\) StudyInstanceUID: no UID") as caught:
        header.read(data, uid.EXPLICIT_LITTLE, columns.series())
    assert "passwd" not in str(caught.value)
    assert not uid.is_uid("1" * 65)
    assert not uid.is_uid("1..2")
    assert uid.is_uid("1.02")  # a zero too many: old modalities write it, and it names what it names


def test_pixels_are_never_needed_and_a_long_header_is_said() -> None:
    data = encoded(instance(), uid.EXPLICIT_LITTLE) + b"\xe0\x7f\x10\x00OW\0\0\xff\xff\xff\xff" + b"\0" * 40
    assert header.read(data, uid.EXPLICIT_LITTLE, columns.series(), whole=False)["SeriesNumber"] == 3
    with pytest.raises(Unreadable) as caught:
        header.read(data, uid.EXPLICIT_LITTLE, columns.series(), most=60)
    assert caught.value.code == "header_too_long"


def bomb(inflated: int) -> bytes:
    """A thousand to one: a private element before all that is asked for."""
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = b"\x07\x00\x10\x00OB\0\0" + struct.pack("<I", inflated)
    return machine.compress(head) + b"".join(machine.compress(bytes(1 << 20)) for _ in range(inflated >> 20)) + machine.flush()


def test_a_deflate_bomb_is_refused_and_not_inflated() -> None:
    data = bomb(64 << 20)
    assert (64 << 20) // len(data) > 900
    with pytest.raises(Unreadable) as caught:
        header.read(data, uid.DEFLATED_LITTLE, columns.series())
    assert caught.value.code == "header_too_long"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "fewer bytes"),
        (b"GET / HTTP/1.1\r\n\r\n", "no DICOM"),
        (b"\x08\x00\x05\x00CS\xff\xff", "says 65535 bytes"),
        (b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 40, "nested more than"),
        (b"\x08\x00\x05\x00CS\x02\x00AB\x08\x00\x06", "in the middle of an element"),
    ],
)
def test_odd_data_is_refused_with_tag_and_reason(data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        header.read_file(data, columns.series())


@settings(max_examples=300)
@given(st.binary(max_size=40), st.integers(0, 400), st.sampled_from(SYNTAXES))
def test_damaged_headers_are_read_or_refused(junk: bytes, at: int, syntax: str) -> None:
    data = encoded(instance(), syntax)
    damaged = data[:at] + junk + data[at + len(junk) // 2 :]
    try:
        assert isinstance(header.read(damaged, syntax, columns.series(), default="cp949"), dict)
    except Unreadable:
        pass
