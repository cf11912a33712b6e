"""Which elements become columns of a row, under which names: keywords of the standard's dictionary (PS3.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from hub.codecs.dicom.elements import Asked

PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
STUDY = (
    "StudyInstanceUID", "AccessionNumber", *PATIENT, "StudyDate", "StudyTime", "TimezoneOffsetFromUTC", "ModalitiesInStudy",
    "StudyDescription", "StudyID", "ReferringPhysicianName", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    "InstitutionName",
)  # fmt: skip
SERIES = (
    *(name for name in STUDY if not name.startswith(("NumberOf", "Modalities"))),
    "SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "StationName", "BodyPartExamined",
)  # fmt: skip
STEP = ("StudyInstanceUID", "AccessionNumber", "RequestedProcedureID", "ScheduledProcedureStepID")
MPPS = (
    "PerformedProcedureStepStatus", "PerformedProcedureStepID", "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime", "PerformedStationAETitle", "Modality", *PATIENT,
    "TimezoneOffsetFromUTC",
)  # fmt: skip
MPPS_ITEMS = {
    "ScheduledStepAttributesSequence": STEP,
    "PerformedSeriesSequence": ("SeriesInstanceUID", "SeriesDescription"),
}
LISTS = frozenset({"ModalitiesInStudy"})  # columns that are a list however many values there are
NAMING = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "PatientID", "IssuerOfPatientID"})
CHARSET = 0x00080005


@dataclass(frozen=True)
class Column:
    """One element as a column: its keyword, its VR by the dictionary, and what is asked for of its items."""

    keyword: str
    vr: str
    items: Columns | None = None


class Columns(dict[int, Column]):
    """Columns by tag; `asked` is what a walk is to look for, the character set among it."""

    @cached_property
    def asked(self) -> Asked:
        nested: dict[int, Asked | None] = {tag: one.items.asked if one.items else None for tag, one in self.items()}
        return {CHARSET: None, **nested}


def columns(keywords: Sequence[str], items: Mapping[str, Sequence[str]] | None = None) -> Columns:
    """`items`: the sequences, by keyword, and the keywords of their items. KeyError: the dictionary has no such keyword."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # loads the whole dictionary: only who listens needs it

    found = Columns()
    for keyword in (*keywords, *(items or ())):
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise KeyError(keyword)
        inner = columns(items[keyword]) if items and keyword in items else None
        found[int(tag)] = Column(keyword, dictionary_VR(tag), inner)
    return found


@cache
def study() -> Columns:
    """Of a study as a query answers it."""
    return columns(STUDY)


@cache
def series() -> Columns:
    """Of a series as the header of one of its instances tells it."""
    return columns(SERIES)


@cache
def instance() -> Columns:
    """Of a series, and which instance it is that tells it."""
    return columns((*SERIES, "SOPClassUID", "SOPInstanceUID"))


@cache
def mpps() -> Columns:
    """Of a performed procedure step."""
    return columns(MPPS, MPPS_ITEMS)
