"""A modality: asks for its worklist, says what it performs by MPPS, stores small made-up instances with Korean names.

It speaks with pynetdicom, at the other end of our own upper layer (docs/adr/0160); who does not behave is in dicom_wire.py.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.association import Association

from hub.codecs.dicom import columns, header
from hub.codecs.dicom.uid import EXPLICIT_LITTLE, IMPLICIT_LITTLE

VERIFICATION = "1.2.840.10008.1.1"
WORKLIST = "1.2.840.10008.5.1.4.31"
MPPS = "1.2.840.10008.3.1.2.3.3"
COMMITMENT = "1.2.840.10008.1.20.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ROOT = "1.2.410.200001.77."  # of what is made up here
UTF8 = "ISO_IR 192"
KOREAN = ["", "ISO 2022 IR 149"]


class NoAssociationError(Exception):
    """The other end rejected or aborted it."""


class Modality:
    """One association, from `with` to its end. Each call waits for its answer, `seconds` at most."""

    def __init__(
        self, host: str, port: int, *, title: str = "CT1", called: str = "HUB", storage: Sequence[str] = (CT_IMAGE,),
        syntaxes: Sequence[str] = (EXPLICIT_LITTLE, IMPLICIT_LITTLE), tls: ssl.SSLContext | None = None, seconds: float = 30.0,
    ) -> None:  # fmt: skip
        self._where = (host, port)
        self._called = called
        self._tls = tls
        self._ae = AE(title)
        self._ae.acse_timeout = self._ae.dimse_timeout = self._ae.network_timeout = self._ae.connection_timeout = seconds
        for abstract in (VERIFICATION, WORKLIST, MPPS, COMMITMENT):
            self._ae.add_requested_context(abstract, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])
        for abstract in storage:
            self._ae.add_requested_context(abstract, list(syntaxes))
        self._association: Association | None = None

    def __enter__(self) -> Self:
        """Raises NoAssociationError."""
        tls = (self._tls, self._where[0]) if self._tls is not None else None
        association = self._ae.associate(*self._where, ae_title=self._called, tls_args=tls)
        if not association.is_established:
            raise NoAssociationError("rejected" if association.is_rejected else "aborted")
        self._association = association
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        association, self._association = self._association, None
        if association is not None and association.is_established:
            if kind is None:
                association.release()
            else:
                association.abort()

    @property
    def _there(self) -> Association:
        assert self._association is not None, "a modality speaks inside `with`"
        return self._association

    def offered(self) -> set[str]:
        """The abstract syntaxes that the other end took."""
        return {str(context.abstract_syntax) for context in self._there.accepted_contexts}

    def echo(self) -> int:
        """The status of C-ECHO; -1: no answer."""
        return _status(self._there.send_c_echo())

    def worklist(self, **query: Any) -> list[dict[str, Any]]:
        """The scheduled steps that match: the columns of each, with those of its step among them."""
        wanted = Dataset()
        wanted.SpecificCharacterSet = UTF8
        for keyword in ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID", "RequestedProcedureID"):
            setattr(wanted, keyword, query.pop(keyword, ""))
        step = Dataset()
        for keyword in ("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepID"):
            setattr(step, keyword, query.pop(keyword, ""))
        wanted.ScheduledProcedureStepSequence = [step]
        found = []
        for status, answer in self._there.send_c_find(wanted, WORKLIST):
            if status and status.Status in (0xFF00, 0xFF01) and answer is not None:
                row = header.of_dataset(answer, columns.columns(("PatientName", "PatientID", *columns.STEP)))
                first = answer.ScheduledProcedureStepSequence[0]
                names = ("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepID")
                found.append({**row, **header.of_dataset(first, columns.columns(names))})
        return found

    def store(self, instance: Dataset) -> int:
        """The status of C-STORE; -1: no answer."""
        return _status(self._there.send_c_store(instance))

    def create_step(self, step: Dataset, uid: str | None) -> int:
        """N-CREATE: what is performed begins."""
        return _status(self._there.send_n_create(step, MPPS, uid)[0])

    def set_step(self, changes: Dataset, uid: str) -> int:
        """N-SET: it goes on, is completed or discontinued."""
        return _status(self._there.send_n_set(changes, MPPS, uid)[0])


def _status(answer: Any) -> int:
    return int(answer.Status) if answer is not None and "Status" in answer else -1


def instance(
    patient: Mapping[str, str], study: str, *, series: int = 1, number: int = 1, charset: str | list[str] = UTF8
) -> Dataset:
    """A CT instance of 16 pixels. `patient`: keywords of the patient and of the study, as texts."""
    one = Dataset()
    one.SpecificCharacterSet = charset
    one.SOPClassUID, one.Modality = CT_IMAGE, "CT"
    one.StudyDate, one.StudyTime = "20261122", "093000"
    for keyword, value in patient.items():
        setattr(one, keyword, value)
    one.StudyInstanceUID, one.SeriesInstanceUID = study, f"{study}.{series}"
    one.SeriesNumber, one.InstanceNumber = series, number
    one.SOPInstanceUID = f"{study}.{series}.{number}"
    one.Rows = one.Columns = 4
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation, one.PixelData = 15, 0, bytes(32)
    one.file_meta = _meta()
    return one


def _meta() -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = EXPLICIT_LITTLE  # type: ignore[assignment]  # pydicom makes a UID of it
    return meta


def step_begun(
    patient: Mapping[str, str], study: str, accession: str, *, station: str = "CT1", charset: str | list[str] = UTF8
) -> Dataset:
    """What an N-CREATE says (PS3.4 table F.7.2-1)."""
    one = Dataset()
    one.SpecificCharacterSet = charset
    for keyword, value in patient.items():
        setattr(one, keyword, value)
    scheduled = Dataset()
    scheduled.StudyInstanceUID, scheduled.AccessionNumber = study, accession
    scheduled.RequestedProcedureID = scheduled.ScheduledProcedureStepID = f"S{accession}"[:16]
    one.ScheduledStepAttributesSequence, one.PerformedSeriesSequence = [scheduled], []
    one.PerformedProcedureStepID, one.PerformedStationAETitle, one.Modality = f"P{accession}"[:16], station, "CT"
    one.PerformedProcedureStepStartDate, one.PerformedProcedureStepStartTime = "20261122", "093000"
    one.PerformedProcedureStepStatus = "IN PROGRESS"
    return one


def step_ended(study: str, status: str = "COMPLETED", *, series: int = 1) -> Dataset:
    """What the last N-SET says."""
    one, told = Dataset(), Dataset()
    told.SeriesInstanceUID, told.SeriesDescription = f"{study}.{series}", "Chest"
    one.PerformedProcedureStepStatus = status
    one.PerformedProcedureStepEndDate, one.PerformedProcedureStepEndTime = "20261122", "094500"
    one.PerformedSeriesSequence = [told]
    return one


def new_uid() -> str:
    """A UID of ours that nobody had before."""
    return str(generate_uid(prefix=ROOT))
