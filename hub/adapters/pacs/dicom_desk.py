"""Where DICOM requests of one loop turn are stored in one commit and answered after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hub import log
from hub.adapters.pacs.told import patient_of, reason_of
from hub.adapters.refused import REFUSED_BYTES, Room
from hub.codecs.dicom.command import Status
from hub.domain.errors import HubError, Unreadable
from hub.domain.ports import Intake, Receipt, Received, Verdict
from hub.domain.store import Conflict
from hub.transport.dicom_scp import Asked

_log = log.get(__name__)
MOST = 256  # messages in one commit


class Item(NamedTuple):
    """A request that waits for its commit."""

    request: Asked
    received: Received
    stored: Callable[[], None]  # told once it is durable
    overtaken: Callable[[], None] | None  # somebody else changed the thing meanwhile: decide anew
    refusal: tuple[int, str] | None  # the answer of what is kept as REFUSED


class Desk:
    """One a listener. Blocks the loop for its commits on purpose, as hub/transport/collector.py explains."""

    def __init__(self, intake: Intake, channel: str, assigner: str) -> None:
        """`assigner`: of patient numbers that come without an issuer."""
        self._intake = intake
        self._channel = channel
        self._assigner = assigner
        self._room = Room()
        self._loop = asyncio.get_running_loop()
        self._pending: list[Item] = []

    def add(
        self, request: Asked, received: Received, stored: Callable[[], None], *,
        overtaken: Callable[[], None] | None = None, refusal: tuple[int, str] | None = None,
    ) -> None:  # fmt: skip
        """Answered once its commit is through, together with all that comes in the same turn of the loop."""
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(Item(request, received, stored, overtaken, refusal))

    def received(self, request: Asked, event: str, row: Mapping[str, Any], body: bytes, control_id: str = "") -> Received:
        """The message that a request becomes."""
        return Received(
            channel=self._channel, body=body, sender=request.association.calling, control_id=control_id, type=event,
            patient=patient_of(row, self._assigner), charset="utf-8", code=f"{Status.SUCCESS.value:04x}",
        )  # fmt: skip

    def refuse(self, request: Asked, error: Unreadable, status: int, event: str) -> None:
        """What can never be taken: kept as REFUSED with its reason, as far as the bound for such things allows."""
        reason = reason_of(error)
        if not self._room.take():
            _log.warning("%s: refused and not kept, there are too many: %s", self._channel, reason)
            request.answer(status, comment=error.reason)
            return
        received = Received(
            channel=self._channel, body=request.data[:REFUSED_BYTES], sender=request.association.calling,
            control_id=request.command.sop_instance, type=event, patient=None, code=f"{status:04x}", refused=reason,
        )  # fmt: skip
        self.add(request, received, lambda: None, refusal=(status, error.reason))

    def _flush(self) -> None:
        batch, self._pending = self._pending[:MOST], self._pending[MOST:]
        if self._pending:
            self._loop.call_soon(self._flush)
        try:
            receipts = self._intake.store([item.received for item in batch])
        except HubError as error:
            _log.warning("intake: %s", error)
            receipts = [Receipt(Verdict.TRY_AGAIN, reason=error.reason)] * len(batch)
        except Exception:  # noqa: BLE001 - our bug: the senders are told to send again, and the listener lives on
            _log.exception("intake failed in a way that nobody foresaw")
            receipts = [Receipt(Verdict.TRY_AGAIN, reason="internal error")] * len(batch)
        first = last = 0
        lost: list[int] = []
        for item, receipt in zip(batch, receipts, strict=True):
            sent = _answer(item, receipt)
            number = receipt.message_id
            if number is None or receipt.duplicate_of is not None:
                continue
            first, last = min(first or number, number), max(last, number)
            if not sent:
                lost.append(number)
        if first:
            self._intake.answered(first, last, lost)


def _answer(item: Item, receipt: Receipt) -> bool:
    """False only where something was due and could not be written."""
    if receipt.verdict is Verdict.TRY_AGAIN and receipt.code == Conflict.code and item.overtaken is not None:
        item.overtaken()
        return True
    if receipt.verdict is Verdict.TRY_AGAIN:
        return item.request.answer(Status.RESOURCES, comment="not stored, send again later")
    if item.refusal is not None:
        status, reason = item.refusal
        return item.request.answer(status, comment=reason)
    if receipt.verdict is Verdict.NEVER:
        return item.request.answer(Status.NOT_UNDERSTOOD, comment=receipt.reason)
    item.stored()
    return item.request.answer(Status.SUCCESS)
