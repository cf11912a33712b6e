"""Modality performed procedure steps (PS3.4 annex F.7): N-CREATE and N-SET as messages, and the state machine between them.

IN PROGRESS -> COMPLETED | DISCONTINUED; a final one is not changed again (PS3.4 section F.7.2.2). What a step has said so far is
remembered with the commit of its messages, so that an N-SET finds its N-CREATE after a restart and on any process of the hub; and
since an N-SET says nothing of patient and order, each message carries all that is known of the step. Once it has ended,
nothing of the patient is remembered any more: only that it has, and what was said last.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from hub.adapters.pacs import told
from hub.adapters.pacs.dicom_desk import Desk
from hub.adapters.pacs.told import LAST, TRIES
from hub.codecs.dicom import columns, header
from hub.codecs.dicom.command import Operation, Status
from hub.domain.errors import HubError, Unreadable
from hub.domain.ports import Memory
from hub.sync.polled import row_body
from hub.transport.dicom_scp import Asked

EVENT = "dicom.mpps"
STATUS = "PerformedProcedureStepStatus"
BEGUN = "IN PROGRESS"
FINAL = frozenset({"COMPLETED", "DISCONTINUED"})
FIXED = frozenset(
    {*columns.PATIENT, "SOPInstanceUID", "ScheduledStepAttributesSequence", "Modality"}
)  # an N-SET may not set these
ROW = "row"  # of what is remembered, beside LAST: all that is known, while it is in progress
NO_CHANGE = "Performed Procedure Step Object may no longer be updated"  # the standard's own words


class Steps:
    """The performed steps of one channel."""

    def __init__(self, desk: Desk, charset: str, memory: Memory) -> None:
        self._desk = desk
        self._charset = charset
        self._memory = memory

    def asked(self, request: Asked, tries: int = TRIES) -> None:
        """One N-CREATE or N-SET."""
        try:
            said = header.read(
                request.data,
                request.transfer,
                columns.mpps(),
                default=self._charset,
                whole=request.whole,
                most=max(request.size, 1),
            )
            if not request.whole:
                raise Unreadable(f"a step of {request.size} bytes: {len(request.data)} are read", code="too_large")
            if request.command.operation == Operation.N_CREATE:
                self._create(request, said, tries)
            else:
                self._set(request, said, tries)
        except _WrongStepError as error:
            self._desk.refuse(request, error, error.status, EVENT)
        except Unreadable as error:
            self._desk.refuse(request, error, Status.PROCESSING_FAILURE, EVENT)
        except HubError:  # the store is not there: N-CREATE and N-SET have no status of their own for it
            request.answer(Status.RESOURCES, comment="not stored, send again later")

    def _create(self, request: Asked, said: dict[str, Any], tries: int) -> None:
        state = said.get(STATUS)
        if state != BEGUN:
            raise _WrongStepError(f"{STATUS} is not {BEGUN}", Status.INVALID_ATTRIBUTE if state else Status.MISSING_ATTRIBUTE)
        steps = said.get("ScheduledStepAttributesSequence") or []
        if not any("StudyInstanceUID" in step for step in steps):
            raise _WrongStepError("ScheduledStepAttributesSequence names no study", Status.MISSING_ATTRIBUTE)
        instance = (
            request.command.sop_instance or f"2.25.{uuid.uuid4().int}"
        )  # ours to name where it is not named (PS3.7 10.1.5.1.4)
        row = {"SOPInstanceUID": instance, **said}
        before = self._memory.recall(instance)
        if before.n == 1 and before.what[LAST] == _digest(said):  # it did not hear our answer
            request.answer(Status.SUCCESS, instance=instance)
            return
        if before.n:
            raise _WrongStepError("this step was created before", Status.DUPLICATE_INSTANCE)
        self._take(request, instance, 1, row, said, tries)

    def _set(self, request: Asked, said: dict[str, Any], tries: int) -> None:
        instance = request.command.sop_instance
        before = self._memory.recall(instance)
        if not before.n:
            raise _WrongStepError("no N-CREATE of this step was heard", Status.NO_SUCH_INSTANCE)
        if before.what[LAST] == _digest(said):  # it did not hear our answer
            request.answer(Status.SUCCESS)
            return
        if ROW not in before.what:
            raise _WrongStepError(NO_CHANGE, Status.PROCESSING_FAILURE)
        row = {**before.what[ROW], **{name: value for name, value in said.items() if name not in FIXED}}
        if row.get(STATUS) != BEGUN and row.get(STATUS) not in FINAL:
            raise _WrongStepError(f"{STATUS} is none of its three", Status.INVALID_ATTRIBUTE)
        self._take(request, instance, before.n + 1, row, said, tries)

    def _take(
        self, request: Asked, instance: str, n: int, row: Mapping[str, Any], said: Mapping[str, Any], tries: int
    ) -> None:  # fmt: skip
        received = self._desk.received(request, EVENT, row, row_body(EVENT, row), f"{instance}.{n}")
        kept = {LAST: _digest(said)} if row[STATUS] in FINAL else {LAST: _digest(said), ROW: row}
        received.mark, received.mark_before = self._memory.mark(instance, n, kept), n - 1
        again = (lambda: self.asked(request, tries - 1)) if tries > 1 else None
        self._desk.add(request, received, lambda: None, overtaken=again)


def _digest(said: Mapping[str, Any]) -> str:
    """Of what one request said."""
    return told.digest(row_body(EVENT, said))


class _WrongStepError(Unreadable):
    """What the state machine forbids, with the status that says so."""

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason, code="wrong_step")
        self.status = status
