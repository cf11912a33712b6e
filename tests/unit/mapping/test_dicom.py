"""What a PACS says: names in any group and script, times, studies, series and performed steps as facts."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.codecs.fhir_resource import check, to_fhir
from hub.codecs.fhir_types import Systems
from hub.codecs.hl7v2 import DEFAULT_DELIMITERS
from hub.domain.errors import Unmappable
from hub.domain.facts import Fact, Key
from hub.mapping import Context, MapSet, load_maps
from hub.mapping.dicom_values import as_da, as_da_tm, as_pn, as_series, key_uid
from hub.mapping.functions import Reader
from hub.mapping.times import BadValue

CONTEXT = Context("HOSP", "pacs", "Asia/Seoul", 1_000)
READER = Reader(DEFAULT_DELIMITERS, "utf-8", "HOSP", "pacs", "Asia/Seoul")
STUDY: dict[str, Any] = {
    "StudyInstanceUID": "1.2.840.1.1", "AccessionNumber": "A1", "PatientID": "00012345",
    "PatientName": "Hong^Gildong=洪^吉洞=홍^길동",
    "PatientBirthDate": "19800131", "PatientSex": "M", "StudyDate": "20261122", "StudyTime": "091500.000000",
    "ModalitiesInStudy": ["CT", "SR"], "StudyDescription": "흉부 CT", "ReferringPhysicianName": "김^의사",
    "NumberOfStudyRelatedSeries": "2", "NumberOfStudyRelatedInstances": 120,
}  # fmt: skip
SERIES = {
    "StudyInstanceUID": "1.2.840.1.1", "AccessionNumber": "A1", "PatientID": "00012345", "SeriesInstanceUID": "1.2.840.1.1.7",
    "Modality": "CT", "SeriesNumber": "3", "SeriesDescription": "뷁", "StationName": "CT01", "BodyPartExamined": "CHEST",
}  # fmt: skip
STEP: dict[str, Any] = {
    "SOPInstanceUID": "1.2.840.9", "PatientID": "00012345", "PerformedProcedureStepStatus": "IN PROGRESS", "Modality": "CT",
    "PerformedProcedureStepStartDate": "20261122", "PerformedProcedureStepStartTime": "0910", "PerformedStationAETitle": "CT01AE",
    "ScheduledStepAttributesSequence": [{"StudyInstanceUID": "1.2.840.1.1", "AccessionNumber": "A1"}],
    "PerformedSeriesSequence": [{"SeriesInstanceUID": "1.2.840.1.1.7", "SeriesDescription": "topogram"}],
}  # fmt: skip


@cache
def maps() -> MapSet:
    return load_maps()


def made(event: str, row: dict[str, Any]) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for fact in maps().map_row(event, row, CONTEXT).facts:
        assert isinstance(fact, Fact)
        found.setdefault(fact.kind, []).append(fact)
    return found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Hong^Gildong=洪^吉洞=홍^길동", ["홍길동", "洪吉洞", "Gildong Hong"]),  # PS3.5 annex I
        ("홍^길동", ["홍길동"]), ("홍길동", ["홍길동"]), ("홍 길동", ["홍길동"]), ("=홍^길동", ["홍길동"]),
        ("==홍^길동", ["홍길동"]),
        ("洪^吉洞=홍^길동", ["홍길동", "洪吉洞"]), ("남궁^민수", ["남궁민수"]), ("남궁민수", ["남궁민수"]), ("뷁", ["뷁"]),
        ("똠방각하", ["똠방각하"]), ("펲시콜라^", ["펲시콜라"]), ("HONG^GILDONG^^Dr.^PhD", ["GILDONG HONG"]),
        ("洪吉洞", ["洪吉洞"]),
        ("", []), ("^^^^", []), ("==", []), ("-", []), ("a=b=c=d", ["a"]),
    ],
)  # fmt: skip
def test_names_whichever_group_hangul_stands_in(text: str, names: list[str]) -> None:
    found = as_pn(text, READER) or []
    assert [one["text"] for one in found] == names
    assert all(("representation" in one) == (len(found) > 1) for one in found)


def test_the_parts_of_a_name() -> None:
    [korean] = as_pn("남궁^민수", READER)
    assert korean == {"text": "남궁민수", "family": "남궁", "given": ["민수"]}
    [western] = as_pn("Hong^Gildong^K^Dr.^PhD", READER)
    assert (western["given"], western["prefix"], western["suffix"]) == (["Gildong", "K"], ["Dr."], ["PhD"])
    assert [one["representation"] for one in as_pn("Hong^Gildong=洪^吉洞=홍^길동", READER)] == ["SYL", "IDE", "ABC"]
    assert as_pn("홍^길동 801301-1234567", READER)[0]["text"].find("1234567") == -1


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (["20261122", "091500.000000"], "2026-11-22T09:15:00+09:00"),
        (["20261122", "091500.120"], "2026-11-22T09:15:00.12+09:00"),
        (["2026.11.22", "09:15:00"], "2026-11-22T09:15:00+09:00"), (["20261122", "0915"], "2026-11-22T09:15:00+09:00"),
        (["20261122", "09", "-0500"], "2026-11-22T09:00:00-05:00"), (["20261122", ""], "2026-11-22"), (["", "0915"], None),
    ],
)  # fmt: skip
def test_date_and_time_are_one(parts: list[str], told: str | None) -> None:
    assert as_da_tm(parts, READER) == told


@pytest.mark.parametrize("parts", [["20261322", "0915"], ["20261122", "2561"], ["202611", "09"], ["20261122", "09.5"], ["x", ""]])
def test_what_is_no_time_is_said_and_left_out(parts: list[str]) -> None:
    with pytest.raises(BadValue):
        as_da_tm(parts, READER)


def test_dates_uids_and_series() -> None:
    assert [as_da(text, READER) for text in ("19800131", "1980.01.31", "")] == ["1980-01-31", "1980-01-31", None]
    assert key_uid(["1.2.840.1\0"], READER) == Key("DICOM", "1.2.840.1")
    for wrong in ("", "1.02.3", "1..2", "3.1", "1." + "1" * 64, "../../etc", "1.2 3"):
        assert key_uid([wrong], READER) is None
    assert as_series(["1.2.3", "x1"[1:], "MR"], READER) == {"uid": "1.2.3", "number": 1, "modality": "MR"}


def test_a_study_says_who_what_and_how_many() -> None:
    found = made("dicom.study", STUDY)
    [patient], [study] = found["Patient"], found["ImagingStudy"]
    assert patient.key == Key("HOSP", "00012345")
    assert patient.values.keys() == {"identifier", "name", "birthDate", "gender"}
    assert (patient.values["name"][0]["text"], patient.values["birthDate"]) == ("홍길동", "1980-01-31")
    assert (study.key, study.other_keys) == (Key("DICOM", "1.2.840.1.1"), (Key("HOSP:accession", "A1"),))
    assert study.values == {
        "identifier": [
            {"assigner": "DICOM", "value": "1.2.840.1.1", "type": "UID"},
            {"assigner": "HOSP:accession", "value": "A1", "type": "ACSN"},
        ],
        "started": "2026-11-22T09:15:00+09:00", "modality": ["CT", "SR"], "description": "흉부 CT", "numberOfSeries": 2,
        "numberOfInstances": 120, "participant": [{"name": "김의사", "role": "referring"}], "status": "available",
        "basedOn": {"identifier": {"assigner": "HOSP:accession", "value": "A1"}},
    }  # fmt: skip
    assert maps().row_patient("dicom.study", STUDY, CONTEXT) == Key("HOSP", "00012345")


def test_the_issuer_of_the_number_is_its_assigner_and_who_is_nameless_cannot_be_filed() -> None:
    [patient] = made("dicom.study", {**STUDY, "IssuerOfPatientID": "OTHER"})["Patient"]
    assert (patient.key, patient.values["identifier"]) == (
        Key("OTHER", "00012345"), [{"assigner": "OTHER", "value": "00012345", "type": "MR"}],
    )  # fmt: skip
    for row in ({**STUDY, "PatientID": ""}, {**STUDY, "PatientID": "801301-1234567"}, {**STUDY, "StudyInstanceUID": "../x"}):
        with pytest.raises(Unmappable):
            made("dicom.study", row)


def test_a_study_that_is_gone() -> None:
    [fact] = made("dicom.study_gone", {"StudyInstanceUID": "1.2.840.1.1"})["ImagingStudy"]
    assert (fact.key, fact.gone, fact.create) == (Key("DICOM", "1.2.840.1.1"), True, False)


def test_a_series_is_a_record_of_its_own_of_its_study() -> None:
    [study] = made("dicom.series", SERIES)["ImagingStudy"]
    assert (study.key, study.other_keys) == (
        Key("DICOM:series", "1.2.840.1.1.7"), (Key("DICOM", "1.2.840.1.1"), Key("HOSP:accession", "A1")),
    )  # fmt: skip
    assert study.values["series"] == [
        {
            "uid": "1.2.840.1.1.7", "number": 3, "modality": "CT", "description": "뷁", "station": "CT01", "bodySite": "CHEST",
        }
    ]  # fmt: skip
    assert [one["value"] for one in study.values["identifier"]] == ["1.2.840.1.1", "A1"]


def test_a_performed_step_says_how_far_study_and_order_are() -> None:
    found = made("dicom.mpps", STEP)
    [order], [study, series] = found["ServiceRequest"], found["ImagingStudy"]
    assert (study.key, study.values["state"], study.values["station"]) == (
        Key("DICOM:mpps", "1.2.840.9/1.2.840.1.1"), "in-progress", "CT01AE",
    )  # fmt: skip
    assert "status" not in study.values
    assert (order.values["state"], order.values["category"], order.other_keys) == (
        "in-progress", "imaging", (Key("HOSP:accession", "A1"), Key("DICOM", "1.2.840.1.1")),
    )  # fmt: skip
    assert "status" not in order.values
    assert series.values["series"] == [{"uid": "1.2.840.1.1.7", "modality": "CT", "description": "topogram"}]


def test_a_step_that_nobody_ordered_makes_no_order() -> None:
    found = made(
        "dicom.mpps", {**STEP, "ScheduledStepAttributesSequence": [{"StudyInstanceUID": "1.2.3", "AccessionNumber": ""}]}
    )
    assert "ServiceRequest" not in found
    assert "basedOn" not in found["ImagingStudy"][0].values


VALUE = st.one_of(
    st.none(), st.sampled_from(["홍^길동", "펲시콜라", "1.2.840.1", "20261122", "0915", "CT", "IN PROGRESS", "M", "A1"]),
    st.just("801301-1234567"),
    st.text(max_size=10), st.integers(), st.floats(), st.booleans(),
)  # fmt: skip
ANYTHING = st.one_of(VALUE, st.lists(st.one_of(VALUE, st.dictionaries(st.sampled_from(sorted(SERIES)), VALUE)), max_size=3))


@given(st.sampled_from([("dicom.study", STUDY), ("dicom.series", SERIES), ("dicom.mpps", STEP)]), st.data())
def test_whatever_a_pacs_sends_is_facts_that_are_valid_r4_or_unmappable(
    told: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    event, row = told
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(row)), ANYTHING, max_size=4))
    with contextlib.suppress(Unmappable):
        for kind, facts in made(event, {**row, **changed}).items():
            for fact in facts:
                said = {name: value for name, value in fact.values.items() if value is not None}
                assert b"801301-1" not in orjson.dumps(said)
                check(to_fhir(kind, "x1", "p1", 1, 0, said, Systems()))
