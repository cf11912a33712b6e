"""What we write, read by pydicom: in the character set that was asked for, or in UTF-8 where that lacks something."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pydicom.filereader import read_dataset

from hub.codecs.dicom import columns, header, uid
from hub.codecs.dicom.writer import data_set
from hub.domain.errors import Unmappable

ROW: dict[str, Any] = {
    "PatientName": "Hong^Gildong=洪^吉洞=홍^길동", "PatientID": "00012345", "StudyInstanceUID": "1.2.3", "PatientBirthDate": None,
    "ScheduledProcedureStepSequence": [{"Modality": "CT", "ScheduledProcedureStepDescription": "흉부"}],
}  # fmt: skip


@pytest.mark.parametrize("syntax", [uid.IMPLICIT_LITTLE, uid.EXPLICIT_LITTLE])
@pytest.mark.parametrize("terms", [("ISO_IR 192",), ("", "ISO 2022 IR 149"), ("GB18030",)])
def test_pydicom_reads_what_we_write(syntax: str, terms: tuple[str, ...]) -> None:
    data = data_set(ROW, syntax, terms)
    read = read_dataset(io.BytesIO(data), syntax == uid.IMPLICIT_LITTLE, True)
    assert read.get("SpecificCharacterSet") == (terms[0] if len(terms) == 1 else list(terms))
    assert str(read.PatientName) == ROW["PatientName"]
    assert read.ScheduledProcedureStepSequence[0].ScheduledProcedureStepDescription == "흉부"
    assert read.PatientBirthDate == ""
    assert [int(one.tag) for one in read] == sorted(int(one.tag) for one in read)
    assert header.read(data, syntax, columns.study())["PatientName"] == ROW["PatientName"]


@pytest.mark.parametrize("terms", [("ISO_IR 100",), ("", "ISO 2022 IR 149"), (), ("NONSENSE",), ("ISO_IR 6",)])
def test_where_a_set_lacks_something_utf_8_is_said_and_used(terms: tuple[str, ...]) -> None:
    row = header.read(data_set({"PatientName": "똠방각하"}, uid.IMPLICIT_LITTLE, terms), uid.IMPLICIT_LITTLE, columns.study())
    assert row == {"PatientName": "똠방각하"}


def test_the_nonstandard_set_is_written_as_its_friends_read_it() -> None:
    data = data_set({"PatientName": "홍길동"}, uid.EXPLICIT_LITTLE, ("ISO_IR 149",))
    assert "홍길동".encode("cp949") in data
    assert b"\x1b" not in data


def test_only_little_endian_and_only_keywords() -> None:
    with pytest.raises(Unmappable):
        data_set({}, uid.EXPLICIT_BIG)
    with pytest.raises(KeyError):
        data_set({"NoSuchKeyword": 1}, uid.EXPLICIT_LITTLE)
