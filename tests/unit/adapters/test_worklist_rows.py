"""Orders as a worklist tells them: which keys they meet, and what is answered, without sockets."""

from __future__ import annotations

import fnmatch
import re
import time
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.adapters.pacs import worklist_rows as rows
from hub.codecs.dicom import writer
from hub.codecs.dicom.uid import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from hub.domain.ports import Order, Person, Wanted

SEOUL = ZoneInfo("Asia/Seoul")
ID = "0199b3a0-0000-7000-8000-000000000001"
STEP = rows.STEP_SEQUENCE


def order(**more: Any) -> Order:
    data = {
        "identifier": [
            {"assigner": "HOSP:accession", "value": "A1", "type": "ACSN"}, {"assigner": "HOSP", "value": "F1", "type": "FILL"},
        ],
        "status": "active", "category": "imaging", "modality": "CT", "occurrence": "2026-11-22T09:30:00+09:00", **more,
    }  # fmt: skip
    patient = {
        "identifier": [{"assigner": "OTHER", "value": "9", "type": "MR"}, {"assigner": "HOSP", "value": "P1", "type": "MR"}],
        "name": [{"text": "홍길동", "family": "홍", "given": ["길동"]}], "birthDate": "1987-05-04", "gender": "female",
    }  # fmt: skip
    return Order(ID, data, Person("p", patient), (0, ID))


def asked(step: dict[str, Any] | None = None, charset: tuple[str, ...] = (), **keys: Any) -> rows.Asked:
    return rows.Asked(keys, step, charset)


def met(one: Order, step: dict[str, Any] | None = None, **keys: Any) -> bool:
    return rows.matches(rows.row(one, SEOUL, "HOSP"), asked(step, **keys))


def test_what_an_order_says() -> None:
    full = rows.row(order(), SEOUL, "HOSP")
    assert (full["PatientID"], full["IssuerOfPatientID"], full["PatientSex"], full["PatientBirthDate"]) == (
        "P1",
        "HOSP",
        "F",
        "19870504",
    )
    assert full["AccessionNumber"] == "A1"
    assert full["StudyInstanceUID"].startswith("2.25.")  # made of the order's id, and always the same
    assert rows.row(order(), SEOUL, "HOSP")["StudyInstanceUID"] == full["StudyInstanceUID"]
    assert full["FillerOrderNumberImagingServiceRequest"] == "F1"
    (step,) = full[STEP]
    assert (step["ScheduledProcedureStepStartDate"], step["ScheduledProcedureStepStartTime"]) == ("20261122", "093000")
    assert step["ScheduledProcedureStepStatus"] == "SCHEDULED"
    assert rows.row(order(), SEOUL, "NOBODY")["PatientID"] == "9"
    utc = rows.row(order(occurrence="2026-11-22T16:00:00Z"), SEOUL, "")[STEP][0]
    assert utc["ScheduledProcedureStepStartDate"] == "20261123"
    bare = rows.row(order(occurrence="", modality="", identifier=[], authoredOn="2026-11-20"), SEOUL, "")
    assert bare[STEP][0]["ScheduledProcedureStepStartDate"] == "20261120"
    assert bare[STEP][0]["Modality"] == "OT"
    assert len(bare["AccessionNumber"]) == 16


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([{"text": "홍길동"}], "홍길동"),
        ([{"text": "홍길동", "family": "홍", "given": ["길동"]}], "홍^길동"),
        ([{"text": "洪吉洞"}], "洪吉洞"),
        ([{"text": "홍길동"}, {"text": "洪吉洞"}], "홍길동=洪吉洞"),
        ([{"text": "Hong Gildong", "family": "Hong", "given": ["Gildong"]}, {"text": "홍길동"}], "Hong^Gildong==홍길동"),
        ([{"text": "뷁", "use": "old"}, {"text": "펲시콜라"}], "펲시콜라"),
        ([{"text": "A=B\\C\r"}], "A B C "),
        ([], ""),
    ],
)
def test_names_stand_in_the_groups_that_modalities_show(names: list[dict[str, Any]], text: str) -> None:
    assert rows.person_name(names) == text


def test_a_resident_registration_number_is_never_told() -> None:
    one = order()
    secret = {"assigner": "HOSP", "value": "871304-1234567", "type": "MR"}
    patient = Person("p", {**one.patient.data, "identifier": [secret]})
    assert rows.row(one._replace(patient=patient), SEOUL, "HOSP")["PatientID"] == ""


def test_ranges_of_day_and_time_are_one() -> None:
    """K.6.1.2.2: from the first day's first moment to the last day's last one."""
    date, time_ = rows.START
    assert met(order(), {date: "20261121-20261122", time_: "1000-0930"})
    assert not met(order(), {date: "20261122-20261123", time_: "1000-0930"})
    assert met(order(), {date: "20261122", time_: "0900-1000"})
    assert not met(order(), {date: "20261122", time_: "1000-1100"})
    assert met(order(), {date: "-20261122"})
    assert not met(order(), {date: "20261123-"})
    assert met(order(), {time_: "0930"})


def test_sequences_and_lists_match() -> None:
    one = order(code={"code": "CT001", "display": "흉부 CT"})
    assert met(one, RequestedProcedureCodeSequence=[{"CodeValue": "CT*"}])
    assert not met(one, RequestedProcedureCodeSequence=[{"CodeValue": "MR*"}])
    assert not met(order(), RequestedProcedureCodeSequence=[{"CodeValue": "CT001"}])
    uid = rows.row(order(), SEOUL, "")["StudyInstanceUID"]
    assert met(order(), StudyInstanceUID=["1.2.3", uid])
    assert not met(order(), StudyInstanceUID=["1.2.3"])


@pytest.mark.parametrize("syntax", [IMPLICIT_LITTLE, EXPLICIT_LITTLE])
def test_an_identifier_is_read_with_the_keys_that_have_no_value(syntax: str) -> None:
    row = {"PatientName": "홍*", "PatientID": "", STEP: [{"Modality": "CT", "ScheduledStationAETitle": ""}]}
    found = rows.read(writer.data_set(row, syntax), syntax, "")
    assert found == rows.Asked(
        {"PatientName": "홍*", "PatientID": ""}, {"Modality": "CT", "ScheduledStationAETitle": ""}, ("ISO_IR 192",)
    )
    assert found.value("Modality") == "CT"
    empty = rows.read(writer.data_set({STEP: []}, syntax), syntax, "")
    assert set(empty.step or {}) >= set(rows.STEP)  # a sequence without an item: all of it (C.2.2.2.6)
    answer = rows.answer(rows.row(order(), SEOUL, "HOSP"), found, "MR9")
    assert answer == {"PatientName": "홍^길동", "PatientID": "P1", STEP: [{"Modality": "CT", "ScheduledStationAETitle": "MR9"}]}


def test_the_character_set_is_the_one_asked_for_where_it_can_say_korean() -> None:
    default = ("", "ISO 2022 IR 149")
    assert rows.terms_for(asked(charset=("", "ISO 2022 IR 149")), ("ISO_IR 192",)) == default
    assert rows.terms_for(asked(charset=("ISO_IR 100",)), default) == default
    assert rows.terms_for(asked(), default) == default


def test_what_is_read_of_the_orders() -> None:
    day = 86_400_000_000
    by_number = rows.wanted(asked({}, PatientID="P1", AccessionNumber="A1"), SEOUL, 7, 30)
    assert by_number == Wanted(None, None, "P1", "A1")
    by_day = rows.wanted(asked({rows.START[0]: "20261122-20261123"}), SEOUL, 7, 30)
    assert by_day.start is not None
    assert by_day.end is not None
    assert by_day.end - by_day.start == 2 * day + 28 * day // 24
    window = rows.wanted(asked({}, PatientID="P*"), SEOUL, 7, 30)
    assert window.patient == ""
    assert (window.end or 0) - (window.start or 0) == 37 * day
    for begins_nowhere in ("rubbish", "-20261124", "00010101-"):
        assert rows.wanted(asked({rows.START[0]: begins_nowhere}), SEOUL, 7, 30).start == window.start
    assert rows.wanted(asked({rows.START[0]: "20200101-"}), SEOUL, 7, 30).end is None


def test_a_patients_number_alone_does_not_ask_for_all_that_he_ever_had() -> None:
    today = datetime.now(SEOUL).replace(hour=0, minute=0, second=0, microsecond=0)
    by_patient = rows.wanted(asked({}, PatientID="P1"), SEOUL, 7, 30)
    assert by_patient == Wanted(int((today - timedelta(days=7)).timestamp() * 1e6), None, "P1", "")


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_wildcards_mean_what_they_mean(pattern: str, held: str) -> None:
    if "*" in pattern or "?" in pattern:
        assert rows._wild(held, pattern) == bool(re.match(fnmatch.translate(pattern), held))
    else:
        assert rows._wild(held, pattern) == (held == pattern)


def test_a_pattern_of_stars_costs_nothing() -> None:
    began = time.monotonic()
    assert not rows._wild("a" * 200, "*a" * 60 + "b")
    assert time.monotonic() - began < 0.1
