"""A CT, by pynetdicom: asks the hub's worklist, says by MPPS what it does, stores its images in the archive and tells the hub."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, Association, evt
from pynetdicom.sop_class import ModalityPerformedProcedureStep, ModalityWorklistInformationFind

from tests.dicom_kit import image_set
from tests.e2e.doors import HOST

PATIENCE = 90.0  # seconds
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)
NOT_NOW = (0xA700, 0x0213)  # out of resources
DONE_BEFORE = (0x0111, 0x0110)  # N-CREATE: duplicate SOP instance; N-SET: may no longer be updated (PS3.4 F.7.2)


class RefusedError(Exception):
    """A peer's status was no success, or it took no association."""


class Modality:
    """One AE. `worklist`, `hub`, `archive`: (AE title, port)."""

    def __init__(self, title: str, worklist: tuple[str, int], hub: tuple[str, int], archive: tuple[str, int]) -> None:
        self.title, self._worklist, self._hub, self._archive = title, worklist, hub, archive

    def scheduled(self, number: str) -> list[Dataset]:
        """The worklist's items of a patient; none where nobody answers now."""
        asked = Dataset()
        asked.SpecificCharacterSet = "ISO_IR 192"
        asked.PatientID, asked.PatientName, asked.PatientBirthDate, asked.PatientSex = number, "", "", ""
        asked.AccessionNumber, asked.StudyInstanceUID, asked.RequestedProcedureID = "", "", ""
        asked.RequestedProcedureDescription = ""
        step = Dataset()
        step.ScheduledStationAETitle, step.Modality, step.ScheduledProcedureStepID = self.title, "", ""
        step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = "", ""
        asked.ScheduledProcedureStepSequence = Items([step])
        found = []
        with suppress(RefusedError), self._associated(self._worklist, ModalityWorklistInformationFind) as link:
            for status, item in link.send_c_find(asked, ModalityWorklistInformationFind):
                code = getattr(status, "Status", None)
                if code in PENDING and item is not None:
                    found.append(item)
                elif code != SUCCESS:
                    return []
        return found

    def images(self, item: Dataset, at: datetime, description: str) -> list[Dataset]:
        """Two slices of one series, as the worklist's item says whose and what for."""
        said = {
            "PatientName": item.PatientName, "PatientID": item.PatientID, "PatientBirthDate": item.PatientBirthDate,
            "PatientSex": item.PatientSex, "StudyInstanceUID": item.StudyInstanceUID, "AccessionNumber": item.AccessionNumber,
            "StudyDate": f"{at:%Y%m%d}", "StudyTime": f"{at:%H%M%S}", "StudyDescription": description,
            "SeriesInstanceUID": generate_uid(), "SeriesDescription": "조영 전", "StationName": self.title,
        }  # fmt: skip
        return [image_set(**said, InstanceNumber=str(n)) for n in (1, 2)]

    def begin(self, item: Dataset, at: datetime) -> str:
        """MPPS N-CREATE, in progress; its UID."""
        uid, scheduled = generate_uid(), item.ScheduledProcedureStepSequence[0]
        step = Dataset()
        step.SpecificCharacterSet = "ISO_IR 192"
        reference = Dataset()
        reference.StudyInstanceUID, reference.AccessionNumber = item.StudyInstanceUID, item.AccessionNumber
        reference.RequestedProcedureID = item.RequestedProcedureID
        reference.ScheduledProcedureStepID = scheduled.ScheduledProcedureStepID
        reference.ScheduledProcedureStepDescription, reference.ReferencedStudySequence = "", Items([])
        reference.ScheduledProtocolCodeSequence, reference.RequestedProcedureDescription = Items([]), ""
        step.ScheduledStepAttributesSequence = Items([reference])
        for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
            setattr(step, name, getattr(item, name, ""))
        step.PerformedProcedureStepID, step.PerformedStationAETitle, step.Modality = "PPS1", self.title, "CT"
        step.PerformedProcedureStepStartDate, step.PerformedProcedureStepStartTime = f"{at:%Y%m%d}", f"{at:%H%M%S}"
        step.PerformedProcedureStepStatus = "IN PROGRESS"
        step.PerformedStationName = step.PerformedLocation = step.PerformedProcedureStepDescription = ""
        step.PerformedProcedureStepEndDate = step.PerformedProcedureStepEndTime = ""
        step.PerformedSeriesSequence = Items([])
        self._until_answered("N-CREATE", self._hub, ModalityPerformedProcedureStep, lambda link: link.send_n_create(
            step, ModalityPerformedProcedureStep, uid)[0])  # fmt: skip
        return str(uid)

    def end(self, uid: str, images: Sequence[Dataset], at: datetime) -> None:
        """MPPS N-SET, completed."""
        change, series = Dataset(), Dataset()
        change.SpecificCharacterSet = "ISO_IR 192"
        change.PerformedProcedureStepStatus = "COMPLETED"
        change.PerformedProcedureStepEndDate, change.PerformedProcedureStepEndTime = f"{at:%Y%m%d}", f"{at:%H%M%S}"
        series.SeriesInstanceUID, series.SeriesDescription = images[0].SeriesInstanceUID, images[0].SeriesDescription
        series.PerformingPhysicianName = series.OperatorsName = series.RetrieveAETitle = ""
        series.ProtocolName = "CHEST"
        series.ReferencedImageSequence = Items([])
        change.PerformedSeriesSequence = Items([series])
        self._until_answered("N-SET", self._hub, ModalityPerformedProcedureStep, lambda link: link.send_n_set(
            change, ModalityPerformedProcedureStep, uid)[0])  # fmt: skip

    def store(self, images: Sequence[Dataset]) -> None:
        """C-STORE of each into the archive, then to the hub, which keeps the header."""
        for where in (self._archive, self._hub):
            for one in images:
                self._until_answered(
                    f"C-STORE to {where[0]}", where, CTImageStorage, lambda link, one=one: link.send_c_store(one)
                )

    def _until_answered(self, what: str, where: tuple[str, int], sop_class: str, send: Callable[[Association], Dataset]) -> None:
        """As modalities do: what was not answered, or not now, is sent again. (pynetdicom's own thread takes an answer away now
        and then.)"""
        deadline, tried = time.monotonic() + PATIENCE, 0
        while True:
            code = None
            with suppress(RefusedError), self._associated(where, sop_class) as link:
                code = getattr(send(link), "Status", None)
            if code == SUCCESS or (tried and code in DONE_BEFORE):
                return
            if code not in (None, *NOT_NOW) or time.monotonic() > deadline:
                raise RefusedError(f"{what} ended with {'no answer' if code is None else f'{code:04X}'}")
            tried += 1
            time.sleep(0.2)

    @contextmanager
    def _associated(self, where: tuple[str, int], sop_class: str) -> Iterator[Association]:
        title, port = where
        ae = AE(self.title)
        ae.add_requested_context(sop_class, SYNTAXES)
        ae.dimse_timeout = 8
        link = ae.associate(HOST, port, ae_title=title, evt_handlers=[(evt.EVT_CONN_OPEN, _no_delay)])
        if not link.is_established:
            raise RefusedError(f"{title} takes no association")
        try:
            yield link
        finally:
            if link.is_established:
                link.release()


def _no_delay(event: Any) -> None:
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
